"""Layout of every kind of label, of questions and of the case of tokens; label rows of long prompts."""

from types import SimpleNamespace

import pytest
import torch

from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Schema
from ldnet.pruning import SparseLinks

SCHEMA = Schema.from_any(
    {
        "entities": ["person"],
        "relations": ["works for"],
        "hyper_relations": [{"type": "in", "qualifiers": ["place"]}],
        "events": [{"type": "works", "roles": ["person", "in"]}],
        "classes": {"topic": ["person", "place"]},
        "question": "person in the place",
        "spans": True,
    }
)
KINDS = [0, 1, 1, 1, 0, 1, 1, 2, 2, 0, 0]


@pytest.fixture
def prefix(processors):
    return processors["words"]


@pytest.fixture
def make_full(tiny_tokenizer_path):
    """`make_full(max_length)`: a processor of one sequence for prompt and text."""

    def make(max_length=512):
        return LDNetProcessor.from_tokenizer(
            tiny_tokenizer_path, schema_attention="full", max_length=max_length
        )

    return make


# ---- labels of all kinds


def test_every_label_is_a_block_behind_its_marker(prefix, words_of):
    batch = prefix("of", SCHEMA)
    rows = words_of(prefix, batch["schema_input_ids"])
    blocks = [[word for word in row if word != "[PAD]"] for row in rows]
    assert blocks == [
        ["[LM]", "person", "[SEP]"],
        ["[LR]", "works", "for", "[SEP]"],
        ["[LR]", "in", "[SEP]"],
        ["[LR]", "place", "[SEP]"],
        ["[LM]", "works", "[SEP]"],
        ["[LR]", "person", "[SEP]"],
        ["[LR]", "works", ":", "in", "[SEP]"],
        ["[LC]", "person", "[SEP]"],
        ["[LC]", "place", "[SEP]"],
        ["[TP]", "a", "##n", "##s", "##w", "##e", "##r", "[SEP]"],
        ["[TP]", "s", "##p", "##a", "##n", "[SEP]"],
    ]
    assert batch["schema_kinds"].tolist() == KINDS
    assert batch["schema_mentions"].tolist() == 3


def test_one_prompt_holds_every_label(make_full, words_of):
    full = make_full()
    batch = full("of", SCHEMA)
    (row,) = words_of(full, batch["schema_input_ids"])
    markers = [row[column] for _, column in batch["schema_markers"].tolist()]
    assert markers == [["[LM]", "[LR]", "[LC]"][kind] for kind in KINDS[:-2]] + ["[TP]", "[TP]"]
    assert words_of(full, batch["input_ids"]) == [
        ["[TL]", "of", "[SEP]", "person", "in", "the", "place", "[SEP]"]
    ]


@pytest.mark.parametrize(
    ("schema", "mentions"),
    [
        ({"classes": {"topic": ["a"]}}, 0),
        ({"question": "a", "classes": {"topic": ["a"]}}, 1),
        ({"events": [{"type": "a", "roles": ["b"]}]}, 2),
        ({"hyper_relations": ["a"]}, 2),
        ({"hyper_relations": [{"type": "a", "qualifiers": ["b"]}]}, 3),
    ],
)
def test_schema_mentions_is_the_length_of_the_longest_loop(prefix, schema, mentions):
    assert prefix("of", schema)["schema_mentions"].tolist() == mentions


# ---- questions


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_question_stands_behind_the_text_and_bounds_no_span(prefix, make_full, words_of, attention):
    processor, first = (prefix, "[CLS]") if attention == "prefix" else (make_full(), "[TL]")
    batch = processor(["works for", "of"], {"question": "person in"})
    assert words_of(processor, batch["input_ids"]) == [
        [first, "works", "for", "[SEP]", "person", "in", "[SEP]"],
        [first, "of", "[SEP]", "person", "in", "[SEP]", "[PAD]"],
    ]
    assert batch["attention_mask"].tolist() == [[1] * 7, [1] * 6 + [0]]
    assert batch["token_mask"].tolist() == [
        [False, True, True, False, False, False, False],
        [False, True, False, False, False, False, False],
    ]


def test_every_text_may_be_asked_its_own_question_or_none(prefix, words_of):
    texts, questions = (
        prefix.tokenize_texts(rows) for rows in (["of", "of", "of"], ["person", "in the", ""])
    )
    batch = prefix.encode_tokens(texts, 0, [questions[0], None, questions[1]])
    assert words_of(prefix, batch["input_ids"]) == [
        ["[CLS]", "of", "[SEP]", "person", "[SEP]", "[PAD]"],
        ["[CLS]", "of", "[SEP]", "[PAD]", "[PAD]", "[PAD]"],
        ["[CLS]", "of", "[SEP]", "in", "the", "[SEP]"],
    ]
    assert torch.equal(
        prefix.encode_tokens(texts)["input_ids"], prefix.encode_tokens(texts, 0, [None] * 3)["input_ids"]
    )


def test_special_tokens_in_a_question_are_ordinary_characters(prefix):
    batch = prefix("of", {"question": "[SEP] [TP] [CLS]"})
    special = {*prefix.tokenizer.all_special_ids} - {prefix.tokenizer.unk_token_id}
    row = batch["input_ids"][0].tolist()
    assert [i for i, token in enumerate(row) if token in special] == [0, 2, len(row) - 1]


def test_question_takes_room_from_the_text(prefix, make_full):
    (question,) = prefix.tokenize_texts(["person in"])
    assert prefix.room_for(Schema(["person"]), question) == 512 - 2 - 3
    assert prefix("of " * 507, {"question": "person in"})["input_ids"].shape == (1, 512)
    with pytest.raises(ValueError, match="text 0 of the batch: it has 508 tokens, .* room for 507 beside"):
        prefix("of " * 508, {"question": "person in"})
    full = make_full()
    assert full.room_for(Schema(["person"]), question) == 512 - 4 - 2 - 3


def test_answers_come_from_the_links_of_their_label(prefix):
    def links(*rows):
        return torch.tensor(rows, dtype=torch.long).reshape(-1, 3), torch.full((len(rows),), 2.0)

    outputs = SimpleNamespace(
        links=SparseLinks(*links((0, 0, 1)), *links((0, 0, 2)), *links((0, 1, 2)), *links())
    )
    (result,) = prefix.post_process_extraction(outputs, ["works for"], {"question": "of"})
    (answer,) = result["answers"]
    assert (answer["start"], answer["end"], answer["text"]) == (0, 9, "works for")
    assert result["question"] == "of"


# ---- label rows


def test_label_rows_is_one_row_with_prefix_attention_or_a_short_prompt(prefix, make_full):
    schema = Schema([f"person {i}" for i in range(500)])
    assert prefix.label_rows(schema) == [list(range(500))]
    assert make_full().label_rows(SCHEMA) == [list(range(len(SCHEMA.labels)))]
    assert prefix.label_rows(Schema()) == make_full().label_rows(Schema()) == [[]]


def test_label_rows_fill_half_of_the_encoder_and_are_the_same_every_time(make_full):
    full = make_full(40)
    schema = Schema([f"person {i}" for i in range(10)], ["works for", "in"])
    rows = full.label_rows(schema)
    assert rows == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]  # [CLS] [I] and 18 tokens
    assert rows == make_full(40).label_rows(schema)
    for row in rows:
        tensors = full.encode_labels([schema.labels[i] for i in row])
        assert tensors["schema_input_ids"].shape[1] <= 20
        assert tensors["schema_kinds"].tolist() == [int(schema.labels[i].kind) for i in row]


# ---- case of tokens


def test_case_ids_follow_the_tokens_where_the_model_is_told(tiny_tokenizer_path):
    told = LDNetProcessor.from_tokenizer(tiny_tokenizer_path, case_ids=True)
    batch = told(["for The IN 12", "the"], {"entities": ["person"]})
    # [CLS], for, T ##h ##e, I ##N, 1 ##2, [SEP]; 5 more for what follows without a space
    assert batch["case_ids"].tolist()[0] == [0, 1, 2, 6, 6, 2, 7, 0, 5, 0]
    assert batch["case_ids"].tolist()[1] == [0, 1] + [0] * 8
    silent = LDNetProcessor.from_tokenizer(tiny_tokenizer_path)
    assert "case_ids" not in silent("The", {"entities": ["person"]})


def test_case_ids_survive_saving(tiny_tokenizer_path, tmp_path):
    LDNetProcessor.from_tokenizer(tiny_tokenizer_path, case_ids=True).save_pretrained(tmp_path)
    assert LDNetProcessor.from_pretrained(tmp_path).case_ids


def test_case_ids_of_a_question_stand_behind_those_of_the_text(tiny_tokenizer_path):
    told = LDNetProcessor.from_tokenizer(tiny_tokenizer_path, case_ids=True)
    batch = told(["for", "A the"], {"question": "The IN"})
    # [CLS], for, [SEP], T ##h ##e, I ##N, [SEP]
    assert batch["case_ids"].tolist() == [[0, 1, 0, 2, 6, 6, 2, 7, 0, 0], [0, 2, 1, 0, 2, 6, 6, 2, 7, 0]]
