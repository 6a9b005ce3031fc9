"""Schemas of many structures in one pass, questions, and schemas that need several label rows."""

import pytest

from ldnet.processing.links import shares_of_odds
from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.schema import Schema

MIXED = {
    "entities": ["person", "organization"],
    "relations": [{"type": "works for", "head": ["person"]}],
    "hyper_relations": [{"type": "in", "qualifiers": ["place"]}],
    "events": [{"type": "works", "roles": ["person", "of"]}],
    "classes": {"topic": ["works", "place"], "tone": {"labels": ["for", "and"], "multi_label": True}},
    "question": "person of the place",
    "spans": True,
}
KEYS = {"entities", "relations", "hyper_relations", "events", "classes", "question", "answers", "spans"}
TEXT = "Ann works for the organization of Bob in the place."
QUESTION = {"question": "?"}


@pytest.fixture
def make_pipe(make_model, make_processor):
    """`make_pipe(attention, max_length)`: a pipeline whose encoder has so many positions."""

    def make(attention="prefix", max_length=None, **config):
        model = make_model(schema_attention=attention, **config)
        processor = make_processor(model.config)
        processor.max_length = max_length or processor.max_length
        return UniversalIEPipeline(model=model, processor=processor, device="cpu")

    return make


@pytest.fixture(params=["prefix", "full"])
def pipe(make_pipe, request):
    return make_pipe(request.param)


def count_calls(pipe):
    """Rows of each call of the encoder, from now on."""
    calls = []

    def count(module, args, kwargs):
        calls.append(len(kwargs["input_ids"]))

    pipe.model.encoder.register_forward_pre_hook(count, with_kwargs=True)
    return calls


def rounded(value):
    """A result whose scores can be compared."""
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def mentions(value):
    """Every mention in a result, however deep."""
    if isinstance(value, dict):
        if "start" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from mentions(item)


# ---- one schema for everything


def test_mixed_schema_gives_all_keys_from_one_call_on_the_text(pipe):
    calls = count_calls(pipe)
    result = pipe(TEXT, schema=MIXED)
    assert set(result) == KEYS | {"text", "truncated", "windows", "rows"}
    blocks = [len(Schema.from_any(MIXED).labels)] if pipe.processor.schema_attention == "prefix" else []
    assert calls == [*blocks, 1]
    pipe(TEXT, schema=MIXED)
    assert calls == [*blocks, 1, 1]  # label blocks are encoded once a schema
    assert len(list(mentions(result))) > 5
    for mention in mentions(result):
        assert mention["text"] == TEXT[mention["start"] : mention["end"]] != ""


def test_mixed_schema_in_a_batch_gives_what_it_gives_one_by_one(pipe):
    texts = [TEXT, "", "of", "the person of the place", "🙂 for"]
    alone = [pipe(text, schema=MIXED) for text in texts]
    assert pipe(texts, schema=MIXED, batch_size=5) == rounded(alone)
    assert all(alone[0][key] for key in KEYS - {"question"})


def test_single_label_task_always_has_one_class_and_another_those_above_the_threshold(pipe):
    schema = {key: MIXED[key] for key in ("classes",)}
    for text in (TEXT, "", "of the place"):
        low, high = (pipe(text, schema=schema, threshold=t)["classes"] for t in (1e-6, 1 - 1e-6))
        assert len(low["topic"]) == len(high["topic"]) == 1
        assert [item["label"] for item in low["topic"]] == [item["label"] for item in high["topic"]]
        assert (len(low["tone"]), len(high["tone"])) == (2, 0)
        assert low["tone"] == sorted(low["tone"], key=lambda item: -item["score"])


def test_class_labels_never_give_spans(pipe):
    result = pipe(TEXT, schema={"classes": MIXED["classes"]}, threshold=0.01)
    assert list(mentions(result)) == []
    assert set(result) == {"text", "classes", "truncated", "windows", "rows"}


# ---- questions


def asked(question, text=TEXT):
    return {"text": text, "question": question}


def test_every_text_is_asked_its_own_question(pipe):
    inputs = [
        asked("person"),
        asked("of the place of the organization ?"),
        TEXT,
        asked("person", "in the place"),
    ]
    options = {"schema": QUESTION, "threshold": 0.1}
    alone = [pipe(item, **options) for item in inputs]
    assert [result["question"] for result in alone] == [
        "person", "of the place of the organization ?", "?", "person",
    ]  # fmt: skip
    for size in (1, 2, 4):
        assert pipe(inputs, batch_size=size, **options) == rounded(alone)
    assert list(pipe(iter(inputs), batch_size=2, **options)) == rounded(alone)
    assert alone[0]["answers"] != alone[1]["answers"] != alone[2]["answers"]


def test_answers_stand_in_the_text_best_first(pipe):
    question = "the person who works in the organization"
    result = pipe(asked(question, "of the"), schema=QUESTION, threshold=0.01)
    assert result["answers"]
    assert all(answer["end"] <= len("of the") for answer in result["answers"])
    scores = [answer["score"] for answer in result["answers"]]
    assert scores == sorted(scores, reverse=True)
    assert pipe(asked(question, ""), schema=QUESTION, threshold=0.01)["answers"] == []


def test_label_blocks_are_shared_by_all_questions(make_pipe):
    pipe = make_pipe()
    calls = count_calls(pipe)
    pipe([asked("person"), asked("place"), TEXT], schema=QUESTION, batch_size=3)
    pipe(asked("of"), schema={"question": "another one ?"})
    assert calls == [1, 3, 1]  # the block of "answer", then texts


def test_question_about_a_long_text_is_asked_in_every_window(make_pipe):
    pipe = make_pipe(max_length=40)
    text, question = "the person in " * 20, "of the organization"
    calls = count_calls(pipe)
    result = pipe(asked(question, text), schema=QUESTION, threshold=0.6)
    assert result["windows"] == sum(calls[1:]) > 1
    assert any(answer["start"] > 150 for answer in result["answers"])
    without = pipe(text, schema=["person"])["windows"]
    assert result["windows"] >= without  # the question takes its room from every window


def test_question_that_leaves_no_room_is_named_with_its_text(make_pipe):
    pipe = make_pipe(max_length=20)
    with pytest.raises(ValueError, match="^text 1: prompt and question leave no room for a text"):
        pipe([TEXT, asked("of " * 18)], schema=QUESTION)


@pytest.mark.parametrize(
    ("item", "schema", "message"),
    [
        (asked("who"), ["person"], "text 1: it brings the question 'who', but the schema asks none"),
        (asked(" "), QUESTION, "text 1: Schema: question is ' ', not a text"),
        (
            asked(3),
            QUESTION,
            "text 1: 3 is a int, not a string; give strings, or dicts with 'text' and 'question'",
        ),
        ({"question": "who"}, QUESTION, "text 1: None is a NoneType, not a string"),
        (["x"], QUESTION, r"text 1: \['x'\] is a list, not a string"),
    ],
)
def test_input_that_cannot_be_read_is_named_by_its_place(make_pipe, item, schema, message):
    with pytest.raises(ValueError, match=message):
        make_pipe()([TEXT, item], schema=schema)


def test_dict_without_question_is_a_text(make_pipe):
    pipe = make_pipe()
    assert pipe({"text": TEXT, "question": None}, schema=["person"]) == pipe(TEXT, schema=["person"])
    assert pipe([{"text": TEXT, "id": 3}], schema=["person"]) == [pipe(TEXT, schema=["person"])]


# ---- label rows

MANY = {
    "entities": [f"person {i}" for i in range(12)],
    "relations": ["works for"],
    "classes": {"topic": [f"place {i}" for i in range(8)]},
}


def test_schema_that_does_not_fit_is_asked_in_rows(make_pipe):
    short, wide = make_pipe("full", 64, confirm_loops=False), make_pipe("full")
    found = short("of the", schema=MANY, threshold=0.01)
    assert found["rows"] == 3
    assert wide("of the", schema=MANY)["rows"] == 1
    assert make_pipe("prefix", 64)("of the", schema=MANY)["rows"] == 1
    assert short("of the", schema=MANY, threshold=0.01) == found
    types = {entity["type"] for entity in found["entities"]}
    assert types <= set(MANY["entities"])
    assert {"person 10", "person 11"} & types  # of the second row
    assert len(types) > 5
    assert len(found["classes"]["topic"]) == 1


def test_row_finds_what_its_labels_alone_do(make_pipe):
    pipe = make_pipe("full", 64, confirm_loops=False)
    schema = Schema.from_any(MANY)
    rows = pipe.processor.label_rows(schema)
    assert len(rows) == 3
    found = pipe("of the", schema=schema, threshold=0.2)
    entities, classes = [], {}
    for row in rows:
        labels = [schema.labels[i] for i in row]
        part = Schema(
            [label.name for label in labels if label.structure == "entities"],
            [label.name for label in labels if label.structure == "relations"],
            classes=[type(schema.classes[0])("topic", names, multi_label=True)]
            if (names := [label.name for label in labels if label.structure == "classes"])
            else (),
        )
        alone = pipe("of the", schema=part, threshold=0.2)
        assert alone["rows"] == 1
        entities += alone.get("entities", [])
        every = pipe("of the", schema=part, threshold=1e-9).get("classes", {"topic": []})["topic"]
        classes |= {item["label"]: item["score"] for item in every}
    by_place = sorted(entities, key=lambda entity: (entity["start"], entity["end"], entity["type"]))
    assert found["entities"] == rounded(by_place)
    assert entities
    (best,) = found["classes"]["topic"]
    assert best["score"] == pytest.approx(max(shares_of_odds(classes).values()), abs=1e-3)
    assert len(classes) == 8


def test_relation_has_argument_types_of_another_row(make_pipe):
    pipe = make_pipe("full", 64, confirm_loops=False)
    schema = {"entities": [f"person {i}" for i in range(10)], "relations": ["works for", "in"]}
    assert pipe.processor.label_rows(Schema.from_any(schema)) == [list(range(10)), [10, 11]]
    found = pipe("of the in", schema=schema, threshold=0.01)
    best = {}
    for entity in sorted(found["entities"], key=lambda entity: entity["score"]):
        best[entity["start"], entity["end"]] = entity["type"]
    ends = [relation[end] for relation in found["relations"] for end in ("head", "tail")]
    assert best
    assert [end["type"] for end in ends] == [best.get((end["start"], end["end"])) for end in ends]
    assert any(end["type"] for end in ends)


def test_rows_and_windows_are_read_together(make_pipe):
    pipe = make_pipe("full", 64)
    text = "the person in " * 12
    calls = count_calls(pipe)
    found = pipe(text, schema=MANY, threshold=0.9, batch_size=3)
    assert found["rows"] == 3
    assert found["windows"] > 1
    assert sum(calls) == found["rows"] * found["windows"]
    assert found == rounded(pipe(text, schema=MANY, threshold=0.9, batch_size=1))
    assert len(found["classes"]["topic"]) == 1
