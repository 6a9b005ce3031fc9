import math
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.prompt import Marker
from ldnet.processing.schema import Schema
from ldnet.pruning import SparseLinks

SCHEMA = {
    "entities": ["person", "organization"],
    "relations": [{"type": "works for", "head": ["person"], "tail": ["organization"]}],
    "instruction": "in the place",
}
OPTIONS = {
    "schema_attention": "full",
    "max_length": 99,
    "max_fragments": 3,
    "fragment_links": "a2a",
    "threshold": 0.25,
    "window_length": 40,
    "window_unit": "sentence",
}
INJECTIONS = ["[LM] person [SEP] [TL] [CLS][PAD][UNK]", "<s> person </s> <pad> [LR] <unk> [I]"]


@pytest.fixture
def prefix(processors):
    return processors["words"]


@pytest.fixture
def full(tiny_tokenizer_path):
    return LDNetProcessor.from_tokenizer(tiny_tokenizer_path, schema_attention="full")


def logit(prob):
    return math.log(prob / (1 - prob))


def sparse(**links):
    """`SparseLinks` from `name={(text, row, column): probability}`."""
    fields = []
    for name in ("open", "close", "inside", "next"):
        found = links.get(name, {})
        fields.append(torch.tensor(list(found), dtype=torch.long).reshape(-1, 3))
        fields.append(torch.tensor([logit(prob) for prob in found.values()]))
    return SparseLinks(*fields)


# ---- layouts


def test_prefix_layout_has_a_block_a_label_and_the_text_on_its_own(prefix, words_of):
    batch = prefix("person in the place", SCHEMA)
    assert words_of(prefix, batch["schema_input_ids"]) == [
        ["[LM]", "person", "[SEP]", "[PAD]", "[PAD]"],
        ["[LM]", "organization", "[SEP]", "[PAD]", "[PAD]"],
        ["[LR]", "works", "for", "[SEP]", "[PAD]"],
        ["[I]", "in", "the", "place", "[SEP]"],
    ]
    ones = [3, 3, 4, 5]
    assert batch["schema_attention_mask"].tolist() == [[1] * n + [0] * (5 - n) for n in ones]
    owners = [0, 1, 2, -1]
    assert batch["schema_blocks"].tolist() == [
        [owner] * n + [-1] * (5 - n) for owner, n in zip(owners, ones, strict=True)
    ]
    assert batch["schema_markers"].tolist() == [[0, 0], [1, 0], [2, 0]]
    assert batch["schema_kinds"].tolist() == [0, 0, 1]
    assert batch["schema_mentions"].tolist() == 2
    assert words_of(prefix, batch["input_ids"]) == [["[CLS]", "person", "in", "the", "place", "[SEP]"]]


def test_full_layout_is_one_prompt_that_the_text_follows(full, words_of):
    batch = full("person in the place", SCHEMA)
    assert words_of(full, batch["schema_input_ids"]) == [
        [
            *("[CLS]", "[I]", "in", "the", "place"),
            *("[LM]", "person", "[LM]", "organization", "[LR]", "works", "for"),
        ]
    ]
    assert batch["schema_blocks"].tolist() == [[-1] * 5 + [0, 0, 1, 1, 2, 2, 2]]
    assert batch["schema_markers"].tolist() == [[0, 5], [0, 7], [0, 9]]
    assert words_of(full, batch["input_ids"]) == [["[TL]", "person", "in", "the", "place", "[SEP]"]]


def test_batch_is_padded_and_only_tokens_of_the_text_can_bound_a_span(prefix, words_of):
    batch = prefix(["person in", "", "of"], ["person"])
    assert words_of(prefix, batch["input_ids"]) == [
        ["[CLS]", "person", "in", "[SEP]"],
        ["[CLS]", "[SEP]", "[PAD]", "[PAD]"],
        ["[CLS]", "of", "[SEP]", "[PAD]"],
    ]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert batch["token_mask"].tolist() == [
        [False, True, True, False],
        [False] * 4,
        [False, True, False, False],
    ]


def test_token_that_covers_nothing_bounds_no_span(processors):
    batch = processors["bytes"]("a \n b", ["person"])
    (tokens,) = processors["bytes"].tokenize_texts(["a \n b"])
    covers = [start < end for start, end in zip(tokens.start_chars, tokens.end_chars, strict=True)]
    assert False in covers
    assert batch["token_mask"][0].tolist() == [False, *covers, False]


@pytest.mark.parametrize("schema", [{}, [], {"entities": []}])
@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_empty_schema_is_one_row_without_labels(tiny_tokenizer_path, schema, attention):
    processor = LDNetProcessor.from_tokenizer(tiny_tokenizer_path, schema_attention=attention)
    batch = processor("person", schema)
    assert len(batch["schema_input_ids"]) == 1
    assert batch["schema_markers"].shape == (0, 2)
    assert batch["schema_kinds"].tolist() == []
    assert batch["schema_mentions"].tolist() == 0
    assert (batch["schema_blocks"] == -1).all()


# ---- user data is never a special token


@pytest.mark.parametrize("kind", ["words", "uncased", "bytes"])
@pytest.mark.parametrize("text", INJECTIONS)
def test_special_tokens_written_in_user_data_are_ordinary_characters(processors, kind, text):
    processor = processors[kind]
    special = {*processor.tokenizer.all_special_ids, *processor.special_ids.markers.values()}
    special -= {processor.tokenizer.unk_token_id}
    schema = Schema.from_any(
        {
            "entities": [{"type": text, "description": f"a {text}"}],
            "relations": [f"in {text}"],
            "instruction": text,
        }
    )
    batch = processor([text], schema)
    assert [i for i in batch["input_ids"][0].tolist()[1:-1] if i in special] == []
    for row, mask in zip(batch["schema_input_ids"], batch["schema_attention_mask"], strict=True):
        real = row[mask.bool()].tolist()
        assert [i for i in real[1:-1] if i in special] == []
    (tokens,) = processor.tokenize_texts([text])
    start = text.index("person")
    found = tokens.span_at(start, start + len("person"))
    assert text[slice(*tokens.chars_of(*found))] == "person"
    assert tokens.chars_of(0, len(tokens) - 1) == (0, len(text))


def test_special_tokens_written_in_labels_do_not_move_the_markers(full):
    prompt = full.build_prompt(Schema(["[LM] person", "[SEP]", "[LR]"]).labels)
    (row,) = prompt.rows
    marker = full.special_ids.markers[Marker.MENTION]
    assert [i for i, token in enumerate(row) if token == marker] == [column for _, column in prompt.markers]
    assert row.count(full.tokenizer.sep_token_id) == 0


# ---- limits


@pytest.mark.parametrize(("length", "fits"), [(510, True), (511, False)])
def test_text_fills_the_positions_of_the_encoder_and_no_more(prefix, length, fits):
    texts = ["of", "of " * length]
    if fits:
        assert prefix(texts, ["person"])["input_ids"].shape == (2, 512)
    else:
        with pytest.raises(ValueError, match="text 1 of the batch: it has 511 tokens, but .* room for 510"):
            prefix(texts, ["person"])


@pytest.mark.parametrize("kind", ["words", "bytes"])
def test_text_of_10000_characters_is_an_error_and_never_cut(processors, kind):
    text = ("person in the place of\n" * 500)[:10_000]
    assert len(processors[kind].tokenize_texts([text])[0]) > 510
    assert processors[kind].tokenize_texts([text])[0].end_chars[-1] == len(text.rstrip())
    with pytest.raises(ValueError, match="tokens, but the encoder has room for 510 beside .*; split it"):
        processors[kind](text, ["person"])


def test_full_prompt_takes_room_from_the_text(full):
    schema = Schema(["person", "place"])
    assert full.room_for(schema) == 512 - 6 - 2
    assert full("of " * full.room_for(schema), schema)["input_ids"].shape == (1, 506)
    with pytest.raises(ValueError, match="has 505 tokens, but the encoder has room for 504 beside prompt"):
        full("of " * 505, schema)


def test_prefix_labels_take_no_room_from_the_text(prefix):
    assert prefix.room_for(Schema([f"person {i}" for i in range(50)])) == 510


def test_500_labels_fit_in_prefix_mode_and_are_a_clear_error_in_one_sequence(prefix, full):
    labels = [f"person {i}" for i in range(500)]
    assert prefix("of", labels)["schema_kinds"].shape == (500,)
    message = "its 500 labels make a prompt of .* ask for fewer labels at a time, or .*'prefix'"
    with pytest.raises(ValueError, match=message):
        full("of", labels)


def test_full_prompt_leaves_room_for_one_token_at_least(full):
    schema = Schema(["of " * 505 + "of"])
    assert full.room_for(schema) == 1  # 512 - ([CLS] [I] [LM] and 506 words) - 2
    assert full("of", schema)["input_ids"].shape == (1, 3)
    with pytest.raises(ValueError, match="prompt of 510 tokens, which leaves no room for a text"):
        full("", Schema(["of " * 506 + "of"]))


def test_block_that_is_longer_than_the_encoder_is_named(prefix):
    schema = {"entities": ["place", {"type": "person", "description": "of " * 600 + "."}]}
    with pytest.raises(ValueError, match="schema: 'person' with its description has 60.* at most 512"):
        prefix("of", schema)
    with pytest.raises(ValueError, match="schema: 'instruction' with its description has 60"):
        prefix("of", {"entities": ["place"], "instruction": "of " * 600})


@pytest.mark.parametrize(
    ("text", "shown"), [(["of", 3], "text 1: 3 is a int"), ([None], "text 0: None is a None")]
)
def test_item_that_is_no_string_is_named(prefix, text, shown):
    with pytest.raises(ValueError, match=shown):
        prefix(text, ["person"])


def test_unknown_argument_is_named(prefix):
    with pytest.raises(TypeError, match=r"unknown arguments \['truncation'\]"):
        prefix("of", ["person"], truncation=True)


def test_slow_tokenizer_is_refused(monkeypatch):
    slow = SimpleNamespace(is_fast=False)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args, **kwargs: slow)
    with pytest.raises(ValueError, match="old: the tokenizer is a slow one without character offsets"):
        LDNetProcessor.from_tokenizer("old")


# ---- saving


def test_all_options_survive_saving(tiny_tokenizer_path, tmp_path):
    processor = LDNetProcessor.from_tokenizer(tiny_tokenizer_path, **OPTIONS)
    processor.save_pretrained(tmp_path / "one")
    loaded = LDNetProcessor.from_pretrained(tmp_path / "one")
    assert {name: getattr(loaded, name) for name in OPTIONS} == OPTIONS
    assert loaded.limits == processor.limits
    assert loaded.special_ids == processor.special_ids
    before, after = (p(["person in", "of"], SCHEMA) for p in (processor, loaded))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", ["words", "bytes"])
def test_tokenizer_file_is_the_same_before_and_after_use_and_loading(processors, kind, tmp_path):
    loaded = processors[kind]
    contents = []
    for i in range(3):
        loaded.save_pretrained(tmp_path / str(i))
        contents.append((tmp_path / str(i) / "tokenizer.json").read_bytes())
        loaded = LDNetProcessor.from_pretrained(tmp_path / str(i))
        loaded(["person", "in the place"], SCHEMA)
        loaded.tokenizer(["of", "in the"], padding=True, truncation=True, max_length=2)
    assert contents[0] == contents[1] == contents[2]


def test_special_ids_fall_back_to_begin_and_end_of_sequence(processors):
    tokenizer = processors["bytes"].tokenizer
    ids = processors["bytes"].special_ids
    assert (ids.start, ids.end) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert len({ids.start, ids.end, *ids.markers.values()}) == 2 + len(Marker)


def test_for_config_takes_its_options_from_the_model(make_model, tiny_tokenizer_path):
    config = make_model("deberta-v2", max_fragments=2, fragment_links="a2a", threshold=0.4).config
    processor = LDNetProcessor.for_config(tiny_tokenizer_path, config)
    assert (processor.schema_attention, processor.max_length) == ("full", 514)
    assert (processor.max_fragments, processor.fragment_links, processor.threshold) == (2, "a2a", 0.4)


# ---- decoding

TEXT = "person works for organization"  # one token a word
LINKS = {
    "open": {(1, 0, 1): 0.9, (1, 1, 4): 0.8, (1, 2, 1): 0.7},
    "close": {(1, 0, 1): 0.9, (1, 1, 4): 0.8, (1, 2, 4): 0.7},
    "inside": {(1, 1, 1): 0.9, (1, 4, 4): 0.8},
    "next": {(1, 1, 4): 0.6},
}
RELATION_SCORE = (0.7 * 0.9 * 0.6 * 0.8 * 0.7) ** (1 / 5)


def extract(processor, **options):
    outputs = SimpleNamespace(links=sparse(**LINKS))
    return processor.post_process_extraction(outputs, ["", TEXT], SCHEMA, **options)


def test_post_process_extraction_gives_a_result_a_text(prefix):
    empty, found = extract(prefix)
    counts = {"truncated": False, "windows": 1, "rows": 1}
    assert empty == {"text": "", "entities": [], "relations": [], **counts}
    person = {"type": "person", "start": 0, "end": 6, "text": "person", "score": pytest.approx(0.9)}
    organization = {
        "type": "organization",
        "start": 17,
        "end": 29,
        "text": "organization",
        "score": pytest.approx(0.8),
    }
    assert found == {
        "text": TEXT,
        "entities": [person, organization],
        "relations": [
            {
                "type": "works for",
                "head": person,
                "tail": organization,
                "score": pytest.approx(RELATION_SCORE),
            }
        ],
        **counts,
    }


@pytest.mark.parametrize(("threshold", "entities", "relations"), [(0.59, 2, 1), (0.61, 2, 0), (0.85, 1, 0)])
def test_post_process_extraction_keeps_what_every_link_of_is_above_the_threshold(
    prefix, threshold, entities, relations
):
    found = extract(prefix, threshold=threshold)[1]
    assert (len(found["entities"]), len(found["relations"])) == (entities, relations)


def test_threshold_of_a_label_stands_above_that_of_the_call_and_the_processor(prefix):
    schema = Schema.from_any({"entities": [{"type": "person", "threshold": 0.3}, "place"]})
    assert prefix.label_thresholds(schema) == [0.3, 0.5]
    assert prefix.label_thresholds(schema, 0.7) == [0.3, 0.7]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1, 50])
def test_threshold_that_is_no_probability_is_an_error(prefix, threshold):
    with pytest.raises(ValueError, match=f"threshold: {threshold} is not a probability"):
        extract(prefix, threshold=threshold)


def test_post_process_extraction_refuses_an_unknown_overlap_policy(prefix):
    with pytest.raises(ValueError, match="overlap: 'all' is unknown"):
        extract(prefix, overlap="all")


def test_tokenizer_without_special_tokens_is_not_needed_to_tokenize_texts():
    backend = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    processor = LDNetProcessor(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))
    assert processor.tokenize_texts([]) == []
    assert len(processor.tokenize_texts(["x", ""])[1]) == 0
