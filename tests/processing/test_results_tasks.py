"""Results of hyper-relations, events, classes, answers and typeless spans."""

import pytest

from ldnet.processing.alignment import TextTokens
from ldnet.processing.links import Loop
from ldnet.processing.results import build_result
from ldnet.processing.schema import Schema

TEXT = "Ann Lee of Acme met Bob"
TOKENS = TextTokens([1, 2, 3, 4, 5, 6], [0, 4, 8, 11, 16, 20], [3, 7, 10, 15, 19, 23])
ANN, ANN_LEE, ACME, MET, BOB = ((0, 0),), ((0, 1),), ((3, 3),), ((4, 4),), ((5, 5),)
FACTS = Schema.from_any(
    {
        "entities": ["person", "firm"],
        "hyper_relations": [
            {"type": "works for", "head": ["person"], "qualifiers": ["with", "since"]},
            {"type": "owns", "qualifiers": ["with"]},
        ],
    }
)
EVENTS = Schema.from_any(
    {
        "entities": ["meet"],
        "events": [{"type": "meet", "roles": ["who", "where"]}, {"type": "talk", "roles": ["who", "what"]}],
    }
)


def loops(schema, *rows):
    """`(structure, name, mentions, score)`, with the owner of a role or class behind a colon."""
    found = []
    for structure, name, mentions, score in rows:
        owner, _, bare = name.rpartition(": ")
        found.append(Loop(schema.label_id(structure, bare, owner or None), mentions, score))
    return found


def result(schema, *rows, **options):
    return build_result(TEXT, loops(schema, *rows), TOKENS, schema, **options)


def words(mentions, key):
    return [(mention[key], mention["text"], mention["score"]) for mention in mentions]


# ---- hyper-relations


def test_qualifiers_stand_with_the_fact_of_their_head_and_tail():
    found = result(
        FACTS,
        ("hyper_relations", "works for", (ANN_LEE, ACME), 0.7),
        ("qualifiers", "since", (ANN_LEE, ACME, MET), 0.5),
        ("qualifiers", "with", (ANN_LEE, ACME, BOB), 0.6),
        ("qualifiers", "with", (ANN, ACME, BOB), 0.9),  # another head
        ("qualifiers", "with", (ACME, ANN_LEE, BOB), 0.9),  # another direction
    )
    (fact,) = found["hyper_relations"]
    assert list(fact) == ["type", "head", "tail", "qualifiers", "score"]
    assert (fact["type"], fact["head"]["text"], fact["tail"]["text"], fact["score"]) == (
        "works for",
        "Ann Lee",
        "Acme",
        0.7,
    )
    assert words(fact["qualifiers"], "type") == [("since", "met", 0.5), ("with", "Bob", 0.6)]
    assert fact["qualifiers"][0] == {"type": "since", "start": 16, "end": 19, "text": "met", "score": 0.5}


def test_fact_without_qualifiers_has_an_empty_list_and_a_qualifier_without_fact_is_left_out():
    found = result(FACTS, ("hyper_relations", "owns", (ANN, ACME), 0.7))
    assert found["hyper_relations"][0]["qualifiers"] == []
    assert result(FACTS, ("qualifiers", "with", (ANN, ACME, BOB), 0.9))["hyper_relations"] == []


def test_shared_qualifier_stands_with_every_fact_that_may_have_it():
    found = result(
        FACTS,
        ("hyper_relations", "works for", (ANN, ACME), 0.7),
        ("hyper_relations", "owns", (ANN, ACME), 0.8),
        ("qualifiers", "with", (ANN, ACME, BOB), 0.6),
        ("qualifiers", "since", (ANN, ACME, MET), 0.6),
    )
    assert [(fact["type"], words(fact["qualifiers"], "type")) for fact in found["hyper_relations"]] == [
        ("owns", [("with", "Bob", 0.6)]),
        ("works for", [("since", "met", 0.6), ("with", "Bob", 0.6)]),
    ]


def test_ends_of_a_fact_take_the_type_of_their_entity_and_a_wrong_type_rules_it_out():
    fact = ("hyper_relations", "works for", (ANN, ACME), 0.7)
    (found,) = result(FACTS, ("entities", "person", (ANN,), 0.9), fact)["hyper_relations"]
    assert (found["head"]["type"], found["head"]["score"], found["tail"]["type"]) == ("person", 0.9, None)
    assert result(FACTS, ("entities", "firm", (ANN,), 0.9), fact)["hyper_relations"] == []


def test_label_of_relation_hyper_relation_and_qualifier_is_told_apart_by_its_mentions():
    schema = Schema.from_any({"relations": ["r"], "hyper_relations": [{"type": "r", "qualifiers": ["r"]}]})
    assert len(schema.labels) == 1
    found = build_result(TEXT, [Loop(0, (ANN, ACME), 0.7), Loop(0, (ANN, ACME, BOB), 0.6)], TOKENS, schema)
    assert len(found["relations"]) == len(found["hyper_relations"]) == 1
    assert words(found["hyper_relations"][0]["qualifiers"], "type") == [("r", "Bob", 0.6)]


# ---- events


def test_arguments_stand_with_the_event_of_their_type_and_trigger():
    found = result(
        EVENTS,
        ("events", "meet", (MET,), 0.9),
        ("events", "talk", (MET,), 0.8),
        ("roles", "meet: who", (MET, BOB), 0.6),
        ("roles", "meet: who", (MET, ANN_LEE), 0.7),
        ("roles", "meet: where", (MET, ACME), 0.5),
        ("roles", "talk: what", (MET, ANN_LEE), 0.4),
        ("roles", "talk: who", (ACME, BOB), 0.9),  # no such trigger
    )
    meet, talk = found["events"]
    assert meet == {
        "type": "meet",
        "trigger": {"start": 16, "end": 19, "text": "met", "score": 0.9},
        "arguments": [
            {"role": "who", "start": 0, "end": 7, "text": "Ann Lee", "score": 0.7},
            {"role": "where", "start": 11, "end": 15, "text": "Acme", "score": 0.5},
            {"role": "who", "start": 20, "end": 23, "text": "Bob", "score": 0.6},
        ],
        "score": 0.9,
    }
    assert (talk["type"], words(talk["arguments"], "role")) == ("talk", [("what", "Ann Lee", 0.4)])


def test_entity_and_event_type_of_one_name_give_both():
    found = result(EVENTS, ("events", "meet", (MET,), 0.9))
    assert [(e["type"], e["text"]) for e in found["entities"]] == [("meet", "met")]
    assert [(e["type"], e["trigger"]["text"]) for e in found["events"]] == [("meet", "met")]
    flat = result(
        EVENTS, ("events", "meet", (MET,), 0.9), ("events", "meet", (((4, 5),),), 0.8), overlap="flat"
    )
    assert (len(flat["entities"]), len(flat["events"])) == (1, 2)  # an event is no entity that overlaps


def test_a_trigger_has_one_event_type_unless_all_are_kept():
    rows = [
        ("events", "meet", (MET,), 0.6),
        ("events", "talk", (MET,), 0.8),
        ("roles", "talk: who", (MET, BOB), 0.7),
        ("roles", "meet: who", (MET, ANN_LEE), 0.7),
        ("events", "meet", (((4, 5),),), 0.5),
    ]
    schema = Schema(events=EVENTS.events)
    all_of_them = result(schema, *rows)["events"]
    assert [event["type"] for event in all_of_them] == ["meet", "talk", "meet"]
    for overlap in ("one_type", "flat"):
        assert result(schema, *rows, overlap=overlap)["events"] == all_of_them[1:]


def test_events_at_tokens_that_share_a_character_are_one_with_all_arguments():
    tokens = TextTokens([1, 2, 3], [0, 0, 2], [1, 1, 3])
    schema = Schema.from_any({"events": [{"type": "e", "roles": ["who"]}]})
    found = build_result(
        "🙂 x",
        [Loop(0, (((0, 0),),), 0.5), Loop(0, (((1, 1),),), 0.7), Loop(1, (((0, 0),), ((2, 2),)), 0.6)],
        tokens,
        schema,
    )
    (event,) = found["events"]
    assert (event["score"], words(event["arguments"], "role")) == (0.7, [("who", "x", 0.6)])


# ---- classes


def test_classes_are_listed_by_task_best_first_under_their_own_names():
    schema = Schema.from_any(
        {"classes": {"topic": ["news", "sport"], "tone": {"labels": ["news", "good"], "multi_label": True}}}
    )
    found = result(
        schema,
        ("classes", "tone: news", (), 0.6),
        ("classes", "tone: good", (), 0.8),
        ("classes", "topic: news", (), 0.4),
    )
    assert found["classes"] == {
        "topic": [{"label": "news", "score": 0.4}],
        "tone": [{"label": "good", "score": 0.8}, {"label": "news", "score": 0.6}],
    }
    assert result(schema)["classes"] == {"topic": [], "tone": []}


# ---- answers and typeless spans


def test_answers_stand_best_first_with_their_question():
    schema = Schema.from_any({"question": "Who?"})
    found = result(schema, ("answers", "answer", (ANN,), 0.5), ("answers", "answer", (BOB,), 0.9))
    assert found["question"] == "Who?"
    assert found["answers"] == [
        {"start": 20, "end": 23, "text": "Bob", "score": 0.9},
        {"start": 0, "end": 3, "text": "Ann", "score": 0.5},
    ]
    assert result(schema)["answers"] == []


def test_spans_stand_in_text_order_and_flat_ones_do_not_overlap():
    rows = [
        ("spans", "span", (mention,), score) for mention, score in ((BOB, 0.9), (ANN_LEE, 0.5), (ANN, 0.7))
    ]
    nested, flat = (
        result(Schema(spans=True), *rows, overlap=overlap)["spans"] for overlap in ("nested", "flat")
    )
    assert [span["text"] for span in nested] == ["Ann", "Ann Lee", "Bob"]
    assert [span["text"] for span in flat] == ["Ann", "Bob"]
    assert nested[0] == {"start": 0, "end": 3, "text": "Ann", "score": 0.7}


@pytest.mark.parametrize(
    ("schema", "keys"),
    [
        ({"hyper_relations": ["r"]}, {"hyper_relations": []}),
        ({"events": ["e"]}, {"events": []}),
        ({"classes": {"topic": ["news"]}}, {"classes": {"topic": []}}),
        ({"question": "Who?"}, {"question": "Who?", "answers": []}),
        ({"spans": True}, {"spans": []}),
    ],
)
def test_result_has_keys_for_what_was_asked_only(schema, keys):
    assert build_result(TEXT, [], TOKENS, Schema.from_any(schema)) == {
        "text": TEXT,
        **keys,
        "truncated": False,
    }
