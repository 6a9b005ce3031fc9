import pytest

from ldnet.processing.schema import (
    ClassTask,
    EntityType,
    EventType,
    HyperRelationType,
    LabelKind,
    QualifierType,
    RelationType,
    Schema,
    SchemaError,
)
from ldnet.processing.schema_labels import MENTIONS_OF, label_uses

EVERYTHING = Schema.from_any(
    {
        "entities": ["attack"],
        "relations": ["r"],
        "hyper_relations": [{"type": "h", "qualifiers": ["r", "q"]}, {"type": "r", "qualifiers": ["q"]}],
        "events": [{"type": "attack", "roles": ["agent", "r"]}, {"type": "sale", "roles": ["agent"]}],
        "classes": {"topic": ["x"], "tone": ["x", "y"]},
        "question": "Who?",
        "spans": True,
    }
)


def test_labels_shared_by_structures_merge_what_only_one_of_them_says():
    schema = Schema([EntityType("attack", threshold=0.25)], events=[EventType("attack", "a raid")])
    assert [(label.name, label.description, label.threshold) for label in schema.labels] == [
        ("attack", "a raid", 0.25)
    ]


def test_labels_qualifier_of_two_hyper_relations_is_one_label():
    hyper = [HyperRelationType(name, qualifiers=["since"]) for name in ("job", "spouse")]
    schema = Schema(hyper_relations=hyper)
    assert [label.name for label in schema.labels] == ["job", "spouse", "since"]
    assert schema.label_id("qualifiers", "since") == 2


def test_labels_role_of_one_event_type_keeps_its_bare_name():
    schema = Schema(
        events=[EventType("attack", roles=["agent"]), EventType("sale", roles=["agent", "buyer"])]
    )
    roles = [label for label in schema.labels if label.kind is LabelKind.RELATION]
    assert [label.text for label in roles] == ["attack: agent", "sale: agent", "buyer"]


@pytest.mark.parametrize(("fields", "problem"), [
    (
        {"entities": [EntityType("attack", "x")], "events": [EventType("attack", "y")]},
        "the label 'attack' stands in entities and in events, with the description 'x' and 'y'",
    ),
    (
        {"relations": [RelationType("r", threshold=0.25)],
         "hyper_relations": [HyperRelationType("h", qualifiers=[QualifierType("r", threshold=0.5)])]},
        "the label 'r' stands in relations and in qualifiers, with the threshold 0.25 (float)"
        " and 0.5 (float)",
    ),
    (
        {"classes": [ClassTask("a", ["x", "y: z"]), ClassTask("y", ["x", "z"]), ClassTask("w", ["z"])]},
        "the label 'y: z' stands in classes of 'a' and in classes of 'y'",
    ),
])  # fmt: skip
def test_labels_claimed_for_two_meanings_are_an_error(fields, problem):
    with pytest.raises(SchemaError) as caught:
        Schema(**fields)
    assert caught.value.problems == [
        f"Schema: {problem}, but a prompt holds a label once. Make the two equal or rename one."
    ]


def test_places_of_a_label_are_all_where_the_schema_has_it():
    names = [(label.kind.name, label.name) for label in EVERYTHING.labels]
    assert dict(zip(names, EVERYTHING.places, strict=True)) == {
        ("MENTION", "attack"): (("entities", "attack", None), ("events", "attack", None)),
        ("RELATION", "r"): tuple((s, "r", None) for s in ("relations", "hyper_relations", "qualifiers")),
        ("RELATION", "h"): (("hyper_relations", "h", None),),
        ("RELATION", "q"): (("qualifiers", "q", None),),
        ("MENTION", "sale"): (("events", "sale", None),),
        ("RELATION", "attack: agent"): (("roles", "agent", "attack"),),
        ("RELATION", "attack: r"): (("roles", "r", "attack"),),
        ("RELATION", "sale: agent"): (("roles", "agent", "sale"),),
        ("CLASS", "topic: x"): (("classes", "x", "topic"),),
        ("CLASS", "tone: x"): (("classes", "x", "tone"),),
        ("CLASS", "y"): (("classes", "y", "tone"),),
        ("SPAN", "answer"): (("answers", "answer", None),),
        ("SPAN", "span"): (("spans", "span", None),),
    }  # fmt: skip


def test_places_and_label_id_are_inverse_and_give_the_mentions_of_a_label():
    for index, (label, places) in enumerate(zip(EVERYTHING.labels, EVERYTHING.places, strict=True)):
        assert {EVERYTHING.label_id(*place) for place in places} == {index}
        assert label.mentions == {MENTIONS_OF[structure] for structure, _, _ in places}
        assert label.structure == places[0][0]
    assert sum(map(len, EVERYTHING.places)) == len(
        {(label.structure, name, owner) for owner, name, label in label_uses(EVERYTHING)}
    )


def test_mentions_say_through_how_many_a_loop_of_the_label_goes():
    found = {f"{label.kind.name} {label.name}": sorted(label.mentions) for label in EVERYTHING.labels}
    assert found["MENTION attack"] == [1]
    assert found["RELATION r"] == [2, 3]  # a relation and a qualifier
    assert found["RELATION q"] == [3]
    assert found["RELATION h"] == found["RELATION sale: agent"] == [2]
    assert found["CLASS y"] == [0]
    assert found["SPAN answer"] == found["SPAN span"] == [1]
    assert Schema().places == ()


def test_entity_called_answer_is_another_label_than_the_answer_to_a_question():
    schema = Schema(["answer", "span"], question="Who?", spans=True)
    assert [(label.kind.name, label.name) for label in schema.labels] == [
        ("MENTION", "answer"),
        ("MENTION", "span"),
        ("SPAN", "answer"),
        ("SPAN", "span"),
    ]
