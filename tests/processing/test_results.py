import pytest

from ldnet.processing.alignment import TextTokens
from ldnet.processing.links import Loop
from ldnet.processing.results import build_result, keep_flat, keep_one_type, resolve_overlaps
from ldnet.processing.schema import Schema

TEXT = "Ann Lee of Acme met Bob"
TOKENS = TextTokens([1, 2, 3, 4, 5, 6], [0, 4, 8, 11, 16, 20], [3, 7, 10, 15, 19, 23])
SCHEMA = Schema.from_any(
    {
        "entities": ["person", "organization"],
        "relations": [
            {"type": "member of", "head": ["person"], "tail": ["organization"]},
            {"type": "met", "symmetric": True},
        ],
    }
)
PERSON, ORGANIZATION, MEMBER, MET = range(4)
ANN_LEE, LEE, ACME, BOB = ((0, 1),), ((1, 1),), ((3, 3),), ((5, 5),)


def result(*loops, **options):
    return build_result(TEXT, list(loops), TOKENS, SCHEMA, **options)


def test_build_result_gives_every_mention_text_and_score():
    loops = [
        Loop(PERSON, (ANN_LEE,), 0.9),
        Loop(ORGANIZATION, (ACME,), 0.8),
        Loop(MEMBER, (ANN_LEE, ACME), 0.7),
    ]
    assert result(*loops, truncated=True) == {
        "text": TEXT,
        "entities": [
            {"type": "person", "start": 0, "end": 7, "text": "Ann Lee", "score": 0.9},
            {"type": "organization", "start": 11, "end": 15, "text": "Acme", "score": 0.8},
        ],
        "relations": [
            {
                "type": "member of",
                "head": {"type": "person", "score": 0.9, "start": 0, "end": 7, "text": "Ann Lee"},
                "tail": {"type": "organization", "score": 0.8, "start": 11, "end": 15, "text": "Acme"},
                "score": 0.7,
            }
        ],
        "truncated": True,
    }


def test_build_result_has_keys_for_what_was_asked_only():
    schema = Schema(["person"])
    assert build_result(TEXT, [], TOKENS, schema) == {"text": TEXT, "entities": [], "truncated": False}
    assert build_result(TEXT, [], TOKENS, Schema()) == {"text": TEXT, "truncated": False}
    only_relations = build_result(TEXT, [], TOKENS, Schema.from_any({"relations": ["met"]}))
    assert only_relations == {"text": TEXT, "relations": [], "truncated": False}


def test_build_result_shows_the_pieces_of_a_discontinuous_mention():
    (entity,) = result(Loop(PERSON, (((0, 0), (5, 5)),), 0.9))["entities"]
    assert entity == {
        "type": "person",
        "start": 0,
        "end": 23,
        "text": "Ann Bob",
        "fragments": [[0, 3], [20, 23]],
        "score": 0.9,
    }


def test_argument_without_entity_has_no_type_and_the_score_of_its_relation():
    (relation,) = result(Loop(MEMBER, (ANN_LEE, ACME), 0.7))["relations"]
    assert relation["head"] == {"type": None, "score": 0.7, "start": 0, "end": 7, "text": "Ann Lee"}


def test_argument_takes_the_best_declared_type_at_its_place():
    entities = [Loop(ORGANIZATION, (ANN_LEE,), 0.95), Loop(PERSON, (ANN_LEE,), 0.6)]
    (relation,) = result(*entities, Loop(MEMBER, (ANN_LEE, ACME), 0.7))["relations"]
    assert (relation["head"]["type"], relation["head"]["score"]) == ("person", 0.6)
    (relation,) = result(*entities, Loop(MET, (ANN_LEE, BOB), 0.7))["relations"]
    assert (relation["head"]["type"], relation["head"]["score"]) == ("organization", 0.95)


def test_relation_whose_argument_is_of_another_than_the_declared_types_is_left_out():
    loops = [Loop(ORGANIZATION, (ANN_LEE,), 0.95), Loop(MEMBER, (ANN_LEE, ACME), 0.7)]
    assert result(*loops)["relations"] == []
    assert len(result(*loops, Loop(PERSON, (ANN_LEE,), 0.6))["relations"]) == 1


def test_fragments_are_part_of_the_place_of_an_argument():
    whole, pieces = ((0, 5),), ((0, 0), (5, 5))
    loops = [Loop(PERSON, (whole,), 0.9), Loop(MEMBER, (pieces, ACME), 0.7)]
    (relation,) = result(*loops)["relations"]
    assert relation["head"]["type"] is None
    assert relation["head"]["fragments"] == [[0, 3], [20, 23]]


def test_symmetric_relation_found_in_both_directions_stands_once_in_text_order():
    relations = result(Loop(MET, (BOB, ANN_LEE), 0.6), Loop(MET, (ANN_LEE, BOB), 0.5))["relations"]
    (relation,) = relations
    assert (relation["head"]["text"], relation["tail"]["text"]) == ("Ann Lee", "Bob")
    assert relation["score"] == 0.6


def test_directed_relation_found_in_both_directions_stands_twice():
    relations = result(Loop(MEMBER, (BOB, ANN_LEE), 0.6), Loop(MEMBER, (ANN_LEE, BOB), 0.5))["relations"]
    assert [(r["head"]["text"], r["score"]) for r in relations] == [("Ann Lee", 0.5), ("Bob", 0.6)]


def test_tokens_that_share_a_character_give_one_structure_with_the_best_score():
    tokens = TextTokens([1, 2], [0, 0], [1, 1])
    loops = [Loop(PERSON, (((i, j),),), score) for i, j, score in ((0, 0, 0.5), (0, 1, 0.7), (1, 1, 0.6))]
    relations = [Loop(MET, (((0, 0),), ((1, 1),)), 0.5), Loop(MET, (((1, 1),), ((1, 1),)), 0.9)]
    found = build_result("🙂", [*loops, *relations], tokens, SCHEMA)
    assert found["entities"] == [{"type": "person", "start": 0, "end": 1, "text": "🙂", "score": 0.7}]
    assert [relation["score"] for relation in found["relations"]] == [0.9]


def test_flat_keeps_the_better_of_overlapping_entities_and_nested_keeps_both():
    loops = [Loop(PERSON, (ANN_LEE,), 0.6), Loop(ORGANIZATION, (LEE,), 0.8), Loop(PERSON, (BOB,), 0.5)]
    nested, flat = (result(*loops, overlap=overlap)["entities"] for overlap in ("nested", "flat"))
    assert [entity["text"] for entity in nested] == ["Ann Lee", "Lee", "Bob"]
    assert [entity["text"] for entity in flat] == ["Lee", "Bob"]


def test_one_type_keeps_the_better_type_of_a_place_and_what_lies_inside():
    loops = [Loop(PERSON, (ANN_LEE,), 0.6), Loop(ORGANIZATION, (ANN_LEE,), 0.8), Loop(PERSON, (LEE,), 0.5)]
    found = result(*loops, overlap="one_type")["entities"]
    assert [(entity["text"], entity["type"]) for entity in found] == [
        ("Ann Lee", "organization"),
        ("Lee", "person"),
    ]


@pytest.mark.parametrize(("coarse", "fine"), [("person", "writer"), ("Location", "country")])
def test_one_type_and_flat_prefer_a_fine_type_to_a_coarse_one(coarse, fine):
    place = {"start": 0, "end": 2}
    both = [{"type": coarse, **place, "score": 0.9}, {"type": fine, **place, "score": 0.5}]
    assert resolve_overlaps(both, "nested") == both
    for policy in ("one_type", "flat"):
        assert resolve_overlaps(both, policy) == both[1:]
        assert resolve_overlaps(both[:1], policy) == both[:1]


def test_one_type_tells_mentions_of_the_same_extent_apart_by_their_fragments():
    whole = {"type": "a", "start": 0, "end": 9, "score": 0.5}
    pieces = {"type": "b", "start": 0, "end": 9, "fragments": [[0, 2], [6, 9]], "score": 0.9}
    assert keep_one_type([whole, pieces]) == [whole, pieces]
    assert keep_one_type([whole, {**whole, "type": "c"}]) == [whole]


def test_flat_keeps_an_entity_in_the_gap_of_another():
    gap = {"type": "a", "start": 0, "end": 9, "fragments": [[0, 2], [6, 9]], "score": 0.9}
    inside = {"type": "a", "start": 2, "end": 6, "score": 0.5}
    over = {"type": "a", "start": 1, "end": 3, "score": 0.4}
    assert keep_flat([gap, inside, over]) == [gap, inside]


def test_flat_keeps_one_type_of_equal_spans_by_score_then_name():
    spans = [{"type": name, "start": 0, "end": 2, "score": score} for name, score in (("b", 0.5), ("a", 0.5))]
    assert [mention["type"] for mention in keep_flat(spans)] == ["a"]
    assert [mention["type"] for mention in keep_flat([spans[0] | {"score": 0.6}, spans[1]])] == ["b"]


def test_unknown_overlap_policy_is_named():
    with pytest.raises(
        ValueError, match="overlap: 'none' is unknown; use one of 'nested', 'one_type', 'flat'"
    ):
        result(overlap="none")
