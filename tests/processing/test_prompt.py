import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldnet.processing.prompt import Marker, SpecialIds, build_blocks, build_prompt, model_kinds, pack_rows
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


QUESTIONS = Schema.from_any(
    {
        "entities": ["person"],
        "events": [{"type": "news", "roles": ["place"]}],
        "hyper_relations": [{"type": "in", "qualifiers": ["lives"]}],
        "classes": {"topic": ["news"]},
        "question": "who",
        "spans": True,
    }
)


def test_every_kind_of_label_has_its_marker_and_the_kind_that_the_model_knows():
    words = VOCABULARY | {"answer": 26, "span": 27}
    prompt = build_blocks(QUESTIONS.labels, "", lambda texts: [[words[t]] for t in texts], IDS)
    markers = [IDS.markers[m] for m in (Marker.MENTION, Marker.RELATION, Marker.CLASS, Marker.TEXT_SPANS)]
    mention, relation, of_class, span = markers
    assert prompt.rows == [
        [mention, 20, 2],
        [relation, 23, 2],
        [relation, 22, 2],
        [mention, 25, 2],
        [relation, 21, 2],
        [of_class, 25, 2],
        [span, 26, 2],
        [span, 27, 2],
    ]
    # To the model an answer is a mention under another marker.
    assert prompt.kinds == model_kinds(QUESTIONS.labels) == [0, 1, 1, 0, 1, 2, 0, 0]


# ---- label rows


def rows_of(lengths, budget, instruction=1):
    """Label rows of a prompt whose labels have so many tokens, the marker included."""
    schema = Schema([f"l{i}" for i in range(len(lengths))], instruction="x")
    blocks = [[0] * (length - 1) for length in lengths]
    tokenize = iter([[[0] * instruction], blocks] if lengths else [[[0] * instruction]])
    return pack_rows(build_prompt(schema.labels, schema.instruction, lambda _: next(tokenize), IDS), budget)


@pytest.mark.parametrize(
    ("lengths", "budget", "expected"),
    [
        ([2, 2, 2], 9, [[0, 1, 2]]),  # [CLS] [I] instruction and six tokens
        ([2, 2, 2], 8, [[0, 1], [2]]),
        ([2, 2, 2], 5, [[0], [1], [2]]),
        ([2, 2, 2], 1, [[0], [1], [2]]),  # never a row without a label
        ([5, 1, 1, 5, 1], 9, [[0, 1], [2, 3], [4]]),
        ([1], 1, [[0]]),
        ([], 1, [[]]),
    ],
)
def test_pack_rows_takes_as_many_labels_in_their_order_as_the_budget_holds(lengths, budget, expected):
    assert rows_of(lengths, budget) == expected


@given(
    lengths=st.lists(st.integers(1, 9), max_size=30), budget=st.integers(1, 60), instruction=st.integers(1, 9)
)
def test_pack_rows_asks_every_label_once_within_the_budget(lengths, budget, instruction):
    rows = rows_of(lengths, budget, instruction)
    assert [label for row in rows for label in row] == list(range(len(lengths)))
    taken = [2 + instruction + sum(lengths[label] for label in row) for row in rows]
    assert all(used <= budget or len(row) <= 1 for used, row in zip(taken, rows, strict=True))
    for i in range(len(rows) - 1):
        assert taken[i] + lengths[rows[i + 1][0]] > budget  # another label had no room
    assert rows == rows_of(lengths, budget, instruction)
