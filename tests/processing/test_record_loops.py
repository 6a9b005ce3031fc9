import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from random_records import SCHEMA, TEXT, TOKENS, place, records

from ldnet.processing.links import Loop, LoopLimits, RecordLinks, class_loops, decode_links, encode_loops
from ldnet.processing.record_loops import encode_links, mention_tokens, record_loops, structures_of
from ldnet.processing.results import build_result
from ldnet.processing.schema import Schema

LABELS = {label: i for i, label in enumerate((label.kind.name, label.name) for label in SCHEMA.labels)}
ONE, TWO, FOUR = ((0, 1),), ((3, 3),), ((5, 6),)


def keys(loops):
    return {(loop.label, loop.mentions) for loop in loops}


def loops_of(record, max_fragments=1):
    loops, lost = record_loops(record, SCHEMA, TOKENS, max_fragments)
    assert lost == []
    return loops


# ---- the loops of each structure


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"entities": [{"type": "b", **place((0, 1))}]}, [("MENTION", "b", ONE)]),
        (
            {"relations": [{"type": "r", "head": place((3, 3)), "tail": place((0, 1))}]},
            [("RELATION", "r", TWO, ONE)],
        ),
        (
            {
                "hyper_relations": [
                    {
                        "type": "h",
                        "head": place((0, 1)),
                        "tail": place((3, 3)),
                        "qualifiers": [{"type": "q", **place((5, 6))}, {"type": "r", **place((0, 1))}],
                    }
                ]
            },
            [
                ("RELATION", "h", ONE, TWO),
                ("RELATION", "q", ONE, TWO, FOUR),
                ("RELATION", "r", ONE, TWO, ONE),
            ],
        ),
        (
            {
                "events": [
                    {
                        "type": name,
                        "trigger": place((3, 3)),
                        "arguments": [{"role": role, **place((0, 1))} for role in roles],
                    }
                    for name, roles in (("a", ["who", "r"]), ("e", ["who", "where"]))
                ]
            },
            [
                ("MENTION", "a", TWO),
                ("RELATION", "a: who", TWO, ONE),
                ("RELATION", "a: r", TWO, ONE),
                ("MENTION", "e", TWO),
                ("RELATION", "e: who", TWO, ONE),
                ("RELATION", "where", TWO, ONE),
            ],
        ),
        (
            {"classes": {"tone": ["z", "x"], "topic": ["x"]}},
            [("CLASS", "z"), ("CLASS", "tone: x"), ("CLASS", "topic: x")],
        ),
        ({"answers": [place((0, 1)), place((3, 3))]}, [("SPAN", "answer", ONE), ("SPAN", "answer", TWO)]),
        ({"spans": [place((3, 3))]}, [("SPAN", "span", TWO)]),
    ],
    ids=["entity", "relation", "hyper-relation", "events", "classes", "answers", "spans"],
)
def test_record_loops_of_each_structure(record, expected):
    expected = [(LABELS[kind, name], *mentions) for kind, name, *mentions in expected]
    assert [(loop.label, *loop.mentions) for loop in loops_of(record)] == expected


def test_structures_of_a_label_that_is_not_asked_for_are_left_out():
    schema = Schema.from_any({"entities": ["b"], "events": [{"type": "e", "roles": ["where"]}]})
    record = {
        "entities": [{"type": "b", **place((0, 0))}, {"type": "a", **place((1, 1))}],
        "relations": [{"type": "r", "head": place((0, 0)), "tail": place((1, 1))}],
        "events": [
            {"type": "e", "trigger": place((2, 2)), "arguments": [{"role": "who", **place((0, 0))}]},
            {"type": "a", "trigger": place((3, 3)), "arguments": [{"role": "where", **place((0, 0))}]},
        ],
        "classes": {"topic": ["x"]},
        "answers": [place((4, 4))],
        "spans": [place((5, 5))],
    }
    loops, lost = record_loops(record, schema, TOKENS, 1)
    assert loops == [Loop(0, (((0, 0),),)), Loop(1, (((2, 2),),))]
    assert lost == []


@pytest.mark.parametrize("key", ["entities", "relations", "hyper_relations", "events", "classes", "answers"])
def test_record_without_annotation_has_no_loops(key):
    for record in ({}, {key: None}, {key: {} if key == "classes" else []}):
        assert record_loops({"text": TEXT} | record, SCHEMA, TOKENS, 1) == ([], [])


def test_repeated_structures_are_one_loop():
    fact = {"type": "r", "head": place((0, 1)), "tail": place((3, 3))}
    # The relation r and the hyper-relation r of the schema are one label.
    assert loops_of({"relations": [fact, fact], "hyper_relations": [fact]}) == [
        Loop(LABELS["RELATION", "r"], (ONE, TWO))
    ]


def test_symmetric_relation_is_encoded_in_text_order():
    one, two = (
        loops_of({"relations": [{"type": "s", "head": place(head), "tail": place(tail)}]})
        for head, tail in [((4, 5), (0, 1)), ((0, 1), (4, 5))]
    )
    assert one == two == [Loop(LABELS["RELATION", "s"], (((0, 1),), ((4, 5),)))]


def test_mention_tokens_gives_the_tokens_of_each_piece():
    assert mention_tokens(place((0, 1), (4, 4)), TOKENS, 2) == ((0, 1), (4, 4))
    assert mention_tokens(place((3, 5)), TOKENS, 1) == ((3, 5),)


def test_every_structure_that_cannot_be_encoded_is_named_with_cause_and_place():
    good, inside = place((1, 1)), {"start": 1, "end": 5}
    pieces = place((0, 0), (2, 2), (4, 4))
    record = {
        "entities": [{"type": "a", **inside}, {"type": "b", **pieces}],
        "relations": [{"type": "r", "head": good, "tail": inside}],
        "hyper_relations": [
            {"type": "h", "head": good, "tail": good, "qualifiers": [{"type": "q", **inside}]}
        ],
        "events": [{"type": "e", "trigger": inside, "arguments": [{"role": "where", **good}]}],
        "answers": [inside],
        "spans": [pieces],
    }
    links = encode_links(record, SCHEMA, TOKENS, LoopLimits(max_fragments=2))
    assert links.unaligned == [
        "boundary inside a token: entity 'a' at 1-5",
        "3 fragments, max_fragments is 2: entity 'b' at 0-9",
        "boundary inside a token: relation 'r' at 1-5",
        "boundary inside a token: qualifier 'q' at 1-5",
        "boundary inside a token: event 'e' at 1-5",
        "boundary inside a token: argument 'where' at 1-5",
        "boundary inside a token: answer at 1-5",
        "3 fragments, max_fragments is 2: span at 0-9",
    ]
    pair = LABELS["RELATION", "h"]
    assert links == RecordLinks(
        {(pair, 1): 1.0}, {(pair, 1): 1.0}, {(1, 1): 1.0}, {(1, 1): 1.0}, unaligned=links.unaligned
    )


def test_label_that_is_called_like_its_structure_is_named():
    schema = Schema.from_any(["entity"])
    record = {"entities": [{"type": "entity", "start": 1, "end": 3}]}
    assert [name for _, name, _ in structures_of(record, schema)] == ["entity 'entity'"]


# ---- records -> loops -> links -> loops -> results -> loops


@pytest.mark.parametrize("form", ["as", "a2a"])
@pytest.mark.parametrize("max_fragments", [1, 3])
@settings(max_examples=40)
@given(data=st.data())
def test_links_of_a_record_close_all_its_loops_and_confirmed_ones_are_gold(form, max_fragments, data):
    gold = loops_of(data.draw(records(max_fragments)), max_fragments)
    links = encode_loops(gold, form)
    closed, truncated = decode_links(links, SCHEMA, LoopLimits(max_fragments, form))
    closed += class_loops(links.classes, SCHEMA, [0.0] * len(SCHEMA.labels))
    assert not truncated
    assert keys(gold) <= keys(closed)
    event("more loops close" if len(closed) > len(gold) else "as many loops close")
    assert sorted((loop.label, loop.mentions) for loop in closed if loop in gold) == sorted(keys(gold))


@pytest.mark.parametrize("max_fragments", [1, 3])
@settings(max_examples=60)
@given(data=st.data())
def test_result_of_a_record_has_the_loops_of_the_record(max_fragments, data):
    record = data.draw(records(max_fragments))
    gold = loops_of(record, max_fragments)
    result = build_result(TEXT, data.draw(st.permutations(gold)), TOKENS, SCHEMA)
    plain = result | {
        "classes": {task: [item["label"] for item in found] for task, found in result["classes"].items()}
    }
    assert keys(loops_of(plain, max_fragments)) == keys(gold)
    assert all(len(result[key]) == len({str(item) for item in result[key]}) for key in ("events", "spans"))
