import itertools
import json
from collections import Counter

import datasets
import pytest
from transformers import pipeline

from ldnet.processing.alignment import TextTokens
from ldnet.processing.pipeline_ldnet import (
    LOOK_AHEAD,
    MAX_PADDED_TOKENS,
    UniversalIEPipeline,
    _batches,
    _Piece,
    _Text,
)
from ldnet.processing.schema import Schema, SchemaError

SCHEMA = {"entities": ["person", "organization"], "relations": [{"type": "works for", "symmetric": True}]}
TEXTS = [
    "Ann works for the organization of Bob in London.",
    "x",
    "A person in the place: Åse, Émile and José.",
    "",
    "one two three four five six seven eight",
    "of the\r\nperson",
    "🙂",
    "the the the",
    "works for organization",
]


@pytest.fixture
def pipe(tiny_pipeline):
    return tiny_pipeline


@pytest.fixture
def full_pipe(make_model, make_processor):
    model = make_model("deberta-v2")
    return UniversalIEPipeline(model=model, processor=make_processor(model.config), device="cpu")


@pytest.fixture
def expected(pipe):
    return [pipe(text, schema=SCHEMA) for text in TEXTS]


@pytest.fixture
def calls(pipe):
    """Rows of each call of the encoder."""
    rows = []
    pipe.model.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    return rows


def rounded(value):
    """A result whose scores can be compared."""
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-5)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def structures(results):
    return [item for result in results for key in ("entities", "relations") for item in result[key]]


# ---- what goes in and what comes out


def test_results_say_something_to_compare(expected):
    assert len(structures(expected)) > 10
    assert {type(result["truncated"]) for result in expected} == {bool}
    assert all(result["relations"] for result in expected[:1])


@pytest.mark.parametrize("batch_size", [1, 2, 7, 16])
def test_batch_size_changes_nothing(pipe, expected, batch_size):
    assert pipe(TEXTS, schema=SCHEMA, batch_size=batch_size) == rounded(expected)


def test_full_attention_gives_the_same_in_any_batch(full_pipe):
    one_by_one = [full_pipe(text, schema=SCHEMA) for text in TEXTS]
    assert full_pipe(TEXTS, schema=SCHEMA, batch_size=4) == rounded(one_by_one)
    assert structures(one_by_one)


def test_string_gives_a_result_and_list_gives_a_list(pipe):
    assert pipe(TEXTS[0], schema=SCHEMA)["text"] == TEXTS[0]
    assert [result["text"] for result in pipe(TEXTS, schema=SCHEMA, batch_size=2)] == TEXTS
    assert [result["text"] for result in pipe(tuple(TEXTS), schema=SCHEMA)] == TEXTS
    assert pipe([], schema=SCHEMA) == []


def test_generator_gives_an_iterator_in_order(pipe, expected):
    found = pipe((text for text in TEXTS), schema=SCHEMA, batch_size=2)
    assert iter(found) is found
    assert list(found) == rounded(expected)


def test_column_of_a_data_set_is_read(pipe, expected):
    column = datasets.Dataset.from_dict({"text": TEXTS})["text"]
    assert list(pipe(column, schema=SCHEMA)) == rounded(expected)


def test_order_is_kept_over_several_look_aheads(pipe):
    texts = [("of " * (i * 7 % 11 + 1)).strip() for i in range(2 * LOOK_AHEAD + 5)]
    assert [result["text"] for result in pipe(iter(texts), schema=SCHEMA, batch_size=1)] == texts


def test_infinite_generator_is_read_a_bounded_number_of_texts_ahead(pipe):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield f"text {read}"

    found = pipe(endless(), schema=SCHEMA, batch_size=2)
    assert read == 0
    first = list(itertools.islice(found, 3))
    assert [result["text"] for result in first] == ["text 1", "text 2", "text 3"]
    assert read <= 2 * LOOK_AHEAD


@pytest.mark.parametrize("text", ["", "🙂", " \r\n\t", "\u200b", "\x00", "字" * 20])
def test_text_without_much_in_it_gives_a_result(pipe, full_pipe, text):
    for ask in (pipe, full_pipe):
        result = ask(text, schema=SCHEMA)
        assert result["text"] == text
        for entity in result["entities"]:
            assert entity["text"] == text[entity["start"] : entity["end"]] != ""


def test_empty_text_has_no_structures(pipe):
    empty = {"entities": [], "relations": [], "truncated": False, "windows": 1, "rows": 1}
    assert pipe("", schema=SCHEMA) == {"text": "", **empty}


@pytest.mark.parametrize("schema", [{}, [], {"entities": []}, Schema()])
def test_empty_schema_asks_for_nothing(pipe, full_pipe, schema):
    for ask in (pipe, full_pipe):
        nothing = {"truncated": False, "windows": 1, "rows": 1}
        assert ask(["a b", ""], schema=schema) == [{"text": "a b", **nothing}, {"text": "", **nothing}]


def test_schema_may_be_given_in_any_form(pipe, tmp_path):
    (tmp_path / "schema.json").write_text('["person"]')
    forms = [["person"], '["person"]', {"entities": ["person"]}, Schema(["person"]), tmp_path / "schema.json"]
    first, *others = [pipe(TEXTS[0], schema=form) for form in forms]
    assert first["entities"]
    assert others == [first] * 4


def test_repeated_labels_change_nothing(pipe):
    assert pipe(TEXTS[0], schema=["person", "person"]) == pipe(TEXTS[0], schema=["person"])


def test_order_of_labels_changes_no_score(pipe):
    one, two = (
        pipe(TEXTS[0], schema=labels) for labels in (["person", "place", "of"], ["of", "place", "person"])
    )
    assert one == rounded(two)
    assert one["entities"]


def test_500_labels_work_in_one_row_or_several(pipe, full_pipe):
    labels = [f"person {i}" for i in range(500)]
    for ask, one_row in ((pipe, True), (full_pipe, False)):
        result = ask("in the place", schema=labels)
        assert len({entity["type"] for entity in result["entities"]}) > 1
        assert (result["rows"] == 1) is one_row


# ---- options of a call


def test_threshold_of_the_call_holds_for_every_link(make_model, make_processor):
    model = make_model(confirm_loops=False, threshold=0.5)
    pipe = UniversalIEPipeline(model=model, processor=make_processor(model.config), device="cpu")
    counts = []
    for threshold in (0.25, 0.5, 0.9):
        results = pipe(TEXTS, schema=SCHEMA, threshold=threshold)
        assert all(item["score"] > threshold for item in structures(results))
        counts.append(len(structures(results)))
    assert counts[0] > counts[1] > counts[2]
    assert pipe(TEXTS, schema=SCHEMA) == pipe(TEXTS, schema=SCHEMA, threshold=0.5)


def test_threshold_of_a_label_may_be_below_that_of_the_call(pipe):
    schema = {"entities": [{"type": "person", "threshold": 0.05}, "organization"]}
    own, shared = (
        Counter(entity["type"] for entity in pipe(TEXTS[0], schema=ask, threshold=0.9)["entities"])
        for ask in (schema, ["person", "organization"])
    )
    low = pipe(TEXTS[0], schema=["person", "organization"], threshold=0.05)["entities"]
    assert own["person"] == sum(entity["type"] == "person" for entity in low) > shared["person"]
    assert own["organization"] == shared["organization"]


def test_overlap_of_the_call_chooses_nested_or_flat(pipe):
    nested, flat = (pipe(TEXTS, schema=SCHEMA, overlap=policy) for policy in ("nested", "flat"))
    assert nested == pipe(TEXTS, schema=SCHEMA)
    assert 0 < len(structures(flat)) < len(structures(nested))
    for result in flat:
        ends = [0] + [entity["end"] for entity in result["entities"]]
        assert all(e["start"] >= end for e, end in zip(result["entities"], ends, strict=False))


def test_options_of_the_pipeline_hold_where_the_call_has_none(tiny_model, tiny_processor, expected):
    options = {"schema": SCHEMA, "threshold": 0.9, "overlap": "flat"}
    pipe = pipeline("universal-ie", model=tiny_model, processor=tiny_processor, device="cpu", **options)
    assert pipe(TEXTS) == pipe(TEXTS, **options)
    default = tiny_processor.threshold
    assert pipe(TEXTS, threshold=default, overlap="nested") == rounded(expected)


def test_progress_bar_is_shown_when_asked(pipe, expected, capsys):
    assert pipe(TEXTS, schema=SCHEMA, progress=True) == rounded(expected)
    assert f"{len(TEXTS)}/{len(TEXTS)}" in capsys.readouterr().err
    assert list(pipe(iter(TEXTS), schema=SCHEMA, progress=True)) == rounded(expected)
    assert f"{len(TEXTS)}text" in capsys.readouterr().err
    pipe(TEXTS, schema=SCHEMA)
    assert capsys.readouterr().err == ""


# ---- work


def test_label_states_are_computed_once_a_schema(pipe, calls):
    texts, other = TEXTS[:5], ["place"]
    pipe(texts, schema=SCHEMA, batch_size=2)
    assert calls == [3, 2, 2, 1]  # 3 labels, then batches of texts
    pipe(texts, schema=Schema.from_any(SCHEMA), batch_size=5)
    assert calls[4:] == [5]
    pipe(texts, schema=other, batch_size=5)
    assert calls[5:] == [1, 5]
    pipe(texts, schema=SCHEMA, threshold=0.3, batch_size=5)
    assert calls[7:] == [5]


def test_old_schemas_are_forgotten(pipe, calls):
    for i in range(20):
        pipe("x", schema=[f"person {i}"])
    assert len(pipe._schema_cache) <= 8
    calls.clear()
    pipe("x", schema=["person 19"])
    assert calls == [1]


def pieces(*lengths, rows=None, question=None):
    """Pieces of texts of so many tokens, by their place."""
    text = _Text("", TextTokens([], [], []), question, Schema(), [], [], 0)
    rows = rows or [0] * len(lengths)
    return [
        _Piece(text, i, row, TextTokens([0] * n, [0] * n, [0] * n))
        for i, (n, row) in enumerate(zip(lengths, rows, strict=True))
    ]


def places(batches):
    return [[piece.window for piece in batch] for batch in batches]


def test_batches_are_of_like_length_and_long_texts_share_fewer():
    assert places(_batches(pieces(3, 500, 1, 500, 2, 4), 2)) == [[2, 4], [0, 5], [1, 3]]
    assert list(map(len, _batches(pieces(*[MAX_PADDED_TOKENS // 4] * 9), 100))) == [4, 4, 1]
    assert list(_batches([], 2)) == []
    assert places(_batches(pieces(2 * MAX_PADDED_TOKENS), 2)) == [[0]]
    asked = pieces(*[MAX_PADDED_TOKENS // 4] * 4, question=TextTokens([0], [0], [0]))
    assert list(map(len, _batches(asked, 100))) == [3, 1]  # a question takes its place too


def test_batches_are_of_one_label_row():
    found = list(_batches(pieces(3, 1, 2, 5, 4, rows=[1, 0, 0, 1, 0]), 2))
    assert places(found) == [[1, 2], [4], [0, 3]]


def test_results_hold_plain_values(pipe):
    entity = pipe(TEXTS[0], schema=SCHEMA)["entities"][0]
    assert {type(value) for value in entity.values()} == {str, int, float}
    json.dumps(pipe(TEXTS, schema=SCHEMA))


# ---- errors


def test_missing_schema_is_an_error_that_shows_one(pipe):
    with pytest.raises(ValueError, match=r"schema: none is given; pass schema=\['person', 'organization'\]"):
        pipe("x")


def test_unknown_argument_is_a_type_error_that_names_the_known_ones(pipe):
    with pytest.raises(TypeError, match=r"unknown arguments \['labels'\]; known are schema, .* truncation"):
        pipe("x", schema=SCHEMA, labels=["person"])


def test_bad_options_are_named(pipe):
    with pytest.raises(ValueError, match="overlap: 'deep' is unknown"):
        pipe("x", schema=SCHEMA, overlap="deep")
    with pytest.raises(ValueError, match="threshold: 2 is not a probability"):
        pipe("x", schema=SCHEMA, threshold=2)
    with pytest.raises(ValueError, match="batch_size: -1 is not possible"):
        pipe("x", schema=SCHEMA, batch_size=-1)
    with pytest.raises(ValueError, match="truncation: 'cut' is unknown; use one of 'window', 'error'"):
        pipe("x", schema=SCHEMA, truncation="cut")
    with pytest.raises(ValueError, match="window_unit: 'page' is unknown"):
        pipe("x", schema=SCHEMA, window_unit="page")
    with pytest.raises(SchemaError, match="Did you mean 'entities'"):
        pipe("x", schema={"entites": ["person"]})


def test_item_that_is_no_string_is_named_by_its_place(pipe):
    with pytest.raises(ValueError, match="text 1: None is a NoneType, not a string"):
        pipe(["x", None], schema=SCHEMA)
    found = pipe(iter(["x"] * 40 + [5]), schema=SCHEMA, batch_size=1)
    assert len(list(itertools.islice(found, LOOK_AHEAD))) == LOOK_AHEAD
    with pytest.raises(ValueError, match="text 40: 5 is a int, not a string"):
        list(found)


@pytest.mark.parametrize("inputs", [None, 5, b"x"])
def test_input_that_holds_no_texts_is_an_error_at_once(pipe, inputs):
    with pytest.raises(ValueError, match=r"inputs: .* is a \w+; give a text or an iterable of texts"):
        pipe(inputs, schema=SCHEMA)
