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
