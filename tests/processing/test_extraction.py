import math
from types import SimpleNamespace

import pytest
import torch

from ldnet.confirmation import LoopStates
from ldnet.processing.alignment import TextTokens
from ldnet.processing.extraction import (
    Decoded,
    assemble_result,
    confirm_loops,
    decode_batch,
    split_links,
)
from ldnet.processing.links import Loop, LoopLimits, RecordLinks
from ldnet.processing.schema import Schema
from ldnet.processing.windows import Window, split_windows
from ldnet.pruning import SparseLinks

SCHEMA = Schema.from_any(
    {
        "entities": ["person", "place"],
        "relations": ["lives in"],
        "hyper_relations": [{"type": "lives in", "qualifiers": ["since"]}],
        "classes": {"topic": ["news", "sport"], "tone": {"labels": ["good", "new"], "multi_label": True}},
    }
)
PERSON, PLACE, LIVES, SINCE, NEWS, SPORT, GOOD, NEW = range(8)
THRESHOLDS = [0.5] * 8
TEXT = "a b c d e f g h"
TOKENS = TextTokens(list(range(8)), list(range(0, 16, 2)), list(range(1, 17, 2)))


def logit(prob):
    return math.log(prob / (1 - prob))


def sparse(classes=None, **links):
    """`SparseLinks` from `name={(text, row, column): probability}` and rows of class probabilities."""
    fields = []
    for name in ("open", "close", "inside", "next"):
        found = links.get(name, {})
        fields.append(torch.tensor(list(found), dtype=torch.long).reshape(-1, 3))
        fields.append(torch.tensor([logit(prob) for prob in found.values()]))
    if classes is not None:
        classes = torch.tensor([[-math.inf if p is None else logit(p) for p in row] for row in classes])
    return SparseLinks(*fields, classes)


# Text 1 of two, with token i at i + 1: person 0-0, place 2-3, lives in(0-0, 2-3), since 5-5.
LINKS = {
    "open": {(1, PERSON, 1): 0.9, (1, PLACE, 3): 0.8, (1, LIVES, 1): 0.7, (1, SINCE, 1): 0.6},
    "close": {(1, PERSON, 1): 0.9, (1, PLACE, 4): 0.8, (1, LIVES, 4): 0.7, (1, SINCE, 6): 0.6},
    "inside": {(1, 1, 1): 0.9, (1, 3, 4): 0.8, (1, 6, 6): 0.9},
    "next": {(1, 1, 3): 0.7, (1, 4, 6): 0.8},
}
PERSON_AT, PLACE_AT, YEAR_AT = ((0, 0),), ((2, 3),), ((5, 5),)


def decode(links, batch_size=2, thresholds=THRESHOLDS, row=None, **limits):
    outputs = SimpleNamespace(links=links)
    return decode_batch(outputs, batch_size, SCHEMA, LoopLimits(**limits), thresholds, row)


# ---- one pass


def test_split_links_moves_tokens_by_the_leading_special_token():
    empty, found = split_links(sparse(**LINKS), 2)
    assert empty == RecordLinks()
    assert found.open == pytest.approx({(PERSON, 0): 0.9, (PLACE, 2): 0.8, (LIVES, 0): 0.7, (SINCE, 0): 0.6})
    assert found.close == pytest.approx({(PERSON, 0): 0.9, (PLACE, 3): 0.8, (LIVES, 3): 0.7, (SINCE, 5): 0.6})
    assert found.inside == pytest.approx({(0, 0): 0.9, (2, 3): 0.8, (5, 5): 0.9})
    assert found.next == pytest.approx({(0, 2): 0.7, (3, 5): 0.8})
    assert found.classes == {}


def test_split_links_gives_every_class_label_its_probability_and_no_other_label_one():
    rows = [[None] * 4 + [0.1, 0.9, 0.5, 1e-9], [None] * 4 + [0.2, 0.3, 0.4, 0.6]]
    for found, row in zip(split_links(sparse(rows), 2), rows, strict=True):
        assert found.classes == pytest.approx(dict(enumerate(row[4:], NEWS)))


def test_split_links_of_a_label_row_counts_labels_in_the_whole_schema():
    row = [PLACE, SINCE, GOOD]
    links = sparse(
        [[None, None, 0.7]], open={(0, 1, 2): 0.9}, close={(0, 0, 2): 0.8}, inside={(0, 1, 2): 0.6}
    )
    (found,) = split_links(links, 1, row)
    assert found.open == pytest.approx({(SINCE, 1): 0.9})
    assert found.close == pytest.approx({(PLACE, 1): 0.8})
    assert found.inside == pytest.approx({(0, 1): 0.6})
    assert found.classes == pytest.approx({GOOD: 0.7})


def test_decode_batch_gives_loops_classes_and_truncation_of_each_window():
    empty, found = decode(sparse([[None] * 4 + [0.1] * 4, [None] * 4 + [0.2] * 4], **LINKS))
    assert (empty.loops, empty.truncated) == ([], False)
    assert empty.classes == pytest.approx({NEWS: 0.1, SPORT: 0.1, GOOD: 0.1, NEW: 0.1})
    assert [(loop.label, *loop.mentions) for loop in found.loops] == [
        (PERSON, PERSON_AT),
        (PLACE, PLACE_AT),
        (LIVES, PERSON_AT, PLACE_AT),
        (SINCE, PERSON_AT, PLACE_AT, YEAR_AT),
    ]
    scores = [(0.9**3) ** (1 / 3), 0.8, (0.7 * 0.9 * 0.7 * 0.8 * 0.7) ** (1 / 5)]
    assert [loop.score for loop in found.loops[:3]] == pytest.approx(scores)
    assert not found.truncated
    assert decode(sparse(**LINKS), max_steps=1)[1].truncated


def test_decode_batch_uses_the_threshold_of_each_label():
    thresholds = list(THRESHOLDS)
    thresholds[LIVES], thresholds[PERSON] = 0.75, 0.95
    found = decode(sparse(**LINKS), thresholds=thresholds)[1]
    assert [loop.label for loop in found.loops] == [PLACE, SINCE]


def test_decode_batch_of_label_rows_finds_what_one_row_does():
    whole = decode(sparse(**LINKS))[1].loops
    parts = []
    for row in ([PLACE, LIVES], [PERSON], [SINCE]):
        of_row = {
            name: {
                (text, row.index(label) if name in ("open", "close") else label, column): prob
                for (text, label, column), prob in cells.items()
                if name in ("inside", "next") or label in row
            }
            for name, cells in LINKS.items()
        }
        parts += decode(sparse(**of_row), row=row)[1].loops
    assert sorted(parts, key=lambda loop: loop.label) == whole


def test_confirmed_loops_are_those_above_the_threshold_of_the_confirmation():
    flat = torch.zeros(1, 9, 3, 4)
    states = LoopStates(torch.zeros(2, 4), torch.tensor([logit(0.3), logit(0.8)]), flat, flat)
    loops = [[Loop(0, (PERSON_AT,), 0.9), Loop(1, (PLACE_AT,), 0.5)]]
    assert [loop.label for loop in confirm_loops(loops, states)[0]] == [1]
    both = confirm_loops(loops, states, limits=LoopLimits(confirm_threshold=0.2))[0]
    assert [loop.score for loop in both] == pytest.approx([math.sqrt(0.9 * 0.3), math.sqrt(0.5 * 0.8)])


def test_loops_of_fewer_mentions_than_are_judged_keep_their_score():
    flat = torch.zeros(1, 9, 3, 4)
    states = LoopStates(torch.zeros(2, 4), torch.tensor([logit(0.3), logit(0.8)]), flat, flat)
    loops = [[Loop(0, (PERSON_AT,), 0.9), Loop(1, (PERSON_AT, PLACE_AT), 0.5), Loop(0, (PLACE_AT,), 0.4)]]
    found = confirm_loops(loops, states, limits=LoopLimits(confirm_from=2))[0]
    assert [(loop.label, loop.score) for loop in found] == [
        (0, 0.9),
        (1, pytest.approx(math.sqrt(0.5 * 0.8))),
        (0, 0.4),
    ]


# ---- windows and rows -> a result


def window(*loops, classes=None, truncated=False):
    return Decoded(list(loops), classes or {}, truncated)


def test_assemble_result_puts_loops_of_all_windows_and_rows_together():
    windows = split_windows(8, 5, 2)
    assert windows == [Window(0, 5), Window(3, 8)]
    rows = [
        [window(Loop(PERSON, (((1, 1),),), 0.9)), window(Loop(PLACE, (((3, 4),),), 0.8))],
        [window(Loop(LIVES, (((1, 1),), ((3, 3),)), 0.7)), window(truncated=True)],
    ]
    result = assemble_result(TEXT, TOKENS, SCHEMA, THRESHOLDS, windows, rows)
    assert [(entity["type"], entity["text"]) for entity in result["entities"]] == [
        ("person", "b"),
        ("place", "g h"),
    ]
    (relation,) = result["relations"]
    assert (relation["head"]["type"], relation["head"]["text"], relation["tail"]["text"]) == (
        "person",
        "b",
        "d",
    )
    assert (result["truncated"], result["windows"], result["rows"]) == (True, 2, 2)


def test_class_counts_with_its_mean_over_the_windows_and_a_task_is_decided_over_all_rows():
    windows = split_windows(8, 5, 2)
    rows = [
        [window(classes={NEWS: 0.9, GOOD: 0.9}), window(classes={NEWS: 0.3, GOOD: 0.0})],
        [window(classes={SPORT: 0.5, NEW: 0.8}), window(classes={SPORT: 0.8, NEW: 0.4})],
    ]
    result = assemble_result(TEXT, TOKENS, SCHEMA, THRESHOLDS, windows, rows)
    assert result["classes"] == {
        "topic": [{"label": "sport", "score": pytest.approx(0.5532, abs=1e-4)}],  # means 0.65 and 0.6
        "tone": [{"label": "new", "score": pytest.approx(0.6)}],  # 0.45 for good
    }


def test_overlap_policy_holds_over_all_rows():
    rows = [[window(Loop(PERSON, (((1, 3),),), 0.6))], [window(Loop(PLACE, (((2, 2),),), 0.8))]]
    nested, flat = (
        assemble_result(TEXT, TOKENS, SCHEMA, THRESHOLDS, [Window(0, 8)], rows, overlap)["entities"]
        for overlap in ("nested", "flat")
    )
    assert [entity["type"] for entity in nested] == ["person", "place"]
    assert [entity["type"] for entity in flat] == ["place"]


def test_structure_at_tokens_that_share_a_character_stands_once_over_rows():
    tokens = TextTokens([1, 2], [0, 0], [1, 1])
    rows = [[window(Loop(PERSON, (((0, 0),),), 0.6))], [window(Loop(PERSON, (((1, 1),),), 0.8))]]
    result = assemble_result("🙂", tokens, SCHEMA, THRESHOLDS, [Window(0, 2)], rows)
    assert [entity["score"] for entity in result["entities"]] == [0.8]


def test_empty_text_and_empty_schema_give_a_result():
    assert assemble_result("", TextTokens([], [], []), Schema(), [], [Window(0, 0)], [[window()]]) == {
        "text": "",
        "truncated": False,
        "windows": 1,
        "rows": 1,
    }
