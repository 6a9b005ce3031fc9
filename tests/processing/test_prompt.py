import pytest

from ldnet.processing.prompt import Marker, SpecialIds, build_blocks, build_prompt
from ldnet.processing.schema import Schema

IDS = SpecialIds(start=1, end=2, markers={marker: 10 + i for i, marker in enumerate(Marker)})
INSTRUCTION, LM, LR = (IDS.markers[m] for m in (Marker.INSTRUCTION, Marker.MENTION, Marker.RELATION))
VOCABULARY = {"person": 20, "place": 21, "lives": 22, "in": 23, ":": 24, "news": 25}
SCHEMA = Schema.from_any(
    {
        "entities": ["person", {"type": "place", "description": "in news"}],
        "relations": ["lives in"],
        "instruction": "news in place",
    }
)


def tokenize(texts):
    return [[VOCABULARY[word] for word in text.split()] for text in texts]


def test_build_blocks_gives_a_row_a_label_and_one_for_the_instruction():
    prompt = build_blocks(SCHEMA.labels, SCHEMA.instruction, tokenize, IDS)
    assert prompt.rows == [
        [LM, 20, 2],
        [LM, 21, 24, 23, 25, 2],
        [LR, 22, 23, 2],
        [INSTRUCTION, 25, 23, 21, 2],
    ]
    assert prompt.owners == [[0] * 3, [1] * 6, [2] * 4, [-1] * 5]
    assert prompt.markers == [(0, 0), (1, 0), (2, 0)]
    assert prompt.kinds == [0, 0, 1]


def test_build_prompt_gives_one_sequence():
    prompt = build_prompt(SCHEMA.labels, SCHEMA.instruction, tokenize, IDS)
    assert prompt.rows == [[1, INSTRUCTION, 25, 23, 21, LM, 20, LM, 21, 24, 23, 25, LR, 22, 23]]
    assert prompt.owners == [[-1] * 5 + [0] * 2 + [1] * 5 + [2] * 3]
    assert prompt.markers == [(0, 5), (0, 7), (0, 12)]
    assert prompt.kinds == [0, 0, 1]


def test_build_without_instruction_keeps_its_marker_in_the_one_sequence_only():
    labels = Schema(["person"]).labels
    assert build_blocks(labels, "", tokenize, IDS).rows == [[LM, 20, 2]]
    assert build_prompt(labels, "", tokenize, IDS).rows == [[1, INSTRUCTION, LM, 20]]


def test_build_without_labels_gives_one_row_that_no_label_owns():
    blocks, prompt = (build((), "", tokenize_any, IDS) for build in (build_blocks, build_prompt))
    assert blocks.rows == [[INSTRUCTION, 2]]
    assert prompt.rows == [[1, INSTRUCTION]]
    for built in (blocks, prompt):
        assert built.owners == [[-1, -1]]
        assert built.markers == built.kinds == []


def tokenize_any(texts):
    return [[] for _ in texts]


@pytest.mark.parametrize("build", [build_blocks, build_prompt])
def test_build_marks_every_label_at_its_own_token(build):
    schema = Schema.from_any({"entities": ["person", "place"], "relations": ["in", "lives in"]})
    prompt = build(schema.labels, "", tokenize, IDS)
    expected = {0: LM, 1: LR}
    assert [prompt.rows[row][column] for row, column in prompt.markers] == [expected[k] for k in prompt.kinds]
    assert [prompt.owners[row][column] for row, column in prompt.markers] == [0, 1, 2, 3]
    assert [len(row) for row in prompt.rows] == [len(owners) for owners in prompt.owners]
