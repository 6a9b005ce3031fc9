"""What `losses_of` says of every kind of structure."""

import pytest

from ldnet.processing.schema import Schema
from ldnet.train.commands.ceiling import NOT_FOUND, SPURIOUS, WRONG_TYPE, losses_of

SCHEMA = Schema.from_any(
    {
        "entities": ["person", "place"],
        "relations": ["likes"],
        "hyper_relations": [{"type": "works", "qualifiers": ["since"]}],
        "events": [{"type": "meet", "roles": ["who"]}, {"type": "talk", "roles": ["who"]}],
        "classes": {"topic": ["news", "sport"]},
        "question": "Who?",
        "spans": True,
    }
)
ANN, BOB, CYD = ({"start": i, "end": i + 3} for i in (0, 4, 8))
FACT = {"type": "works", "head": ANN, "tail": BOB}
EVENT = {"type": "meet", "trigger": ANN, "arguments": [{"role": "who", **BOB}]}


def mention(start, end, label="person"):
    return {"type": label, "start": start, "end": end}


def relation(head, tail):
    return {"type": "likes", "head": head, "tail": tail}


def losses(gold, predicted, unaligned=()):
    gold = {"text": "ann bob cyd dan eve"} | gold
    return list(losses_of(gold, predicted, SCHEMA, list(unaligned)))


def test_losses_of_equal_structures_is_nothing():
    record = {"entities": [mention(0, 3)], "relations": [relation(mention(0, 3), mention(4, 7))]}
    assert losses(record, record) == []


def test_losses_of_spurious_structure_names_it():
    predicted = {"entities": [], "relations": [relation(mention(0, 3), mention(4, 7))]}
    assert losses({"entities": [], "relations": []}, predicted) == [
        (SPURIOUS, "relation 'likes' at 0-3, 4-7 (ann | bob)")
    ]


def test_losses_of_unencoded_structure_is_not_reported_twice():
    gold = {"entities": [mention(1, 3), mention(4, 7)]}
    line = "boundary inside a token: entity 'person' at 1-3"
    assert losses(gold, {"entities": []}, [line]) == [
        ("boundary inside a token", "entity 'person' at 1-3"),
        (NOT_FOUND, "entity 'person' at 4-7 (bob)"),
    ]


def test_losses_of_wrong_argument_type_is_named_as_such():
    gold = {"relations": [relation(mention(0, 3, "place"), mention(4, 7))]}
    predicted = {"relations": [relation(mention(0, 3), mention(4, 7))]}
    assert losses(gold, predicted) == [(WRONG_TYPE, "relation 'likes' at 0-3, 4-7 (ann | bob)")]


def test_losses_of_discontinuous_mention_shows_its_pieces():
    gold = {"entities": [{**mention(0, 11), "fragments": [[0, 3], [8, 11]]}]}
    assert losses(gold, {"entities": []}) == [(NOT_FOUND, "entity 'person' at 0-11 (ann … cyd)")]


@pytest.mark.parametrize(
    ("more", "less", "shown"),
    [
        (
            {"hyper_relations": [FACT | {"qualifiers": [{"type": "since", **CYD}]}]},
            {"hyper_relations": [FACT | {"qualifiers": []}]},
            ["qualifier 'works: since' at 0-3, 4-7, 8-11 (ann | bob | cyd)"],
        ),
        (
            {"hyper_relations": [FACT | {"qualifiers": [{"type": "since", **CYD}]}]},
            {"hyper_relations": []},
            [
                "qualifier 'works: since' at 0-3, 4-7, 8-11 (ann | bob | cyd)",
                "hyper-relation 'works' at 0-3, 4-7 (ann | bob)",
            ],
        ),
        (
            {"events": [EVENT]},
            {"events": [EVENT | {"arguments": []}]},
            ["argument 'meet: who' at 4-7, 0-3 (bob | ann)"],
        ),
        (
            # The argument of another trigger: the lenient task sees no difference.
            {"events": [EVENT, EVENT | {"trigger": CYD}]},
            {"events": [EVENT, EVENT | {"trigger": CYD, "arguments": []}]},
            ["argument 'meet: who' at 4-7, 8-11 (bob | cyd)"],
        ),
        ({"events": [EVENT | {"arguments": []}]}, {"events": []}, ["event 'meet' at 0-3 (ann)"]),
        ({"classes": {"topic": ["sport"]}}, {"classes": {"topic": []}}, ["class 'topic: sport'"]),
        ({"answers": [ANN, BOB]}, {"answers": [ANN]}, ["answer at 4-7 (bob)"]),
        ({"spans": [ANN, BOB]}, {"spans": [ANN]}, ["span at 4-7 (bob)"]),
    ],
)
def test_losses_of_every_structure_are_named_once(more, less, shown):
    assert losses(more, less) == [(NOT_FOUND, line) for line in shown]
    assert losses(less, more) == [(SPURIOUS, line) for line in shown]
    assert losses(more, more) == losses(less, less) == []


@pytest.mark.parametrize(
    ("gold", "found", "line"),
    [
        ({"events": [EVENT]}, {"events": [EVENT | {"arguments": []}]}, "argument 'who' at 4-7"),
        ({"hyper_relations": [FACT | {"qualifiers": [{"type": "since", **CYD}]}]},
         {"hyper_relations": [FACT | {"qualifiers": []}]}, "qualifier 'since' at 8-11"),
        ({"answers": [BOB]}, {"answers": []}, "answer at 4-7"),
        ({"spans": [BOB]}, {"spans": []}, "span at 4-7"),
        ({"events": [EVENT | {"arguments": []}]}, {"events": []}, "event 'meet' at 0-3"),
    ],
)  # fmt: skip
def test_losses_of_what_could_not_be_encoded_have_that_cause_alone(gold, found, line):
    assert losses(gold, found, [f"boundary inside a token: {line}"]) == [("boundary inside a token", line)]


def test_losses_of_a_place_that_begins_like_an_unencoded_one_is_still_reported():
    gold = {"entities": [mention(4, 7), mention(4, 79)]}
    line = "boundary inside a token: entity 'person' at 4-79"
    assert (NOT_FOUND, "entity 'person' at 4-7 (bob)") in losses(gold, {"entities": []}, [line])
