import contextlib
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ldnet.processing.schema import (
    ClassLabel,
    ClassTask,
    EntityType,
    EventType,
    HyperRelationType,
    Label,
    LabelKind,
    QualifierType,
    RelationType,
    RoleType,
    Schema,
    SchemaError,
)

# The machine may be busy; how long an example takes says nothing.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Names that need care: "::" separates a description in a string, ":" stands in `type: role`.
NAMES = st.text(alphabet="ab :é人-", min_size=1, max_size=6).filter(lambda name: name == name.strip())
THRESHOLDS = st.none() | st.floats(0.01, 0.99)
DESCRIPTIONS = st.none() | NAMES


def named(label_type, **fields):
    options = {"description": DESCRIPTIONS, "threshold": THRESHOLDS, **fields}
    return st.builds(label_type, name=NAMES, **options)


def lists(items, min_size=0):
    return st.lists(items, min_size=min_size, max_size=3, unique_by=lambda item: item.name).map(tuple)


@st.composite
def schemas(draw):
    """Any valid schema; where two parts claim one label differently, the later part is left out."""
    entities = draw(lists(named(EntityType)))
    types = st.sampled_from([entity.name for entity in entities]) if entities else NAMES
    ends = st.none() | st.lists(types, min_size=1, max_size=2, unique=True).map(tuple)
    relation = named(RelationType, head=ends, tail=ends, symmetric=st.booleans())
    hyper = named(HyperRelationType, head=ends, tail=ends, qualifiers=lists(named(QualifierType)))
    task = st.builds(ClassTask, NAMES, lists(named(ClassLabel), min_size=1), st.booleans())
    fields = {
        "entities": entities,
        "relations": draw(lists(relation)),
        "hyper_relations": draw(lists(hyper)),
        "events": draw(lists(named(EventType, roles=lists(named(RoleType))))),
        "classes": draw(lists(task)),
        "question": draw(DESCRIPTIONS),
        "spans": draw(st.booleans()),
        "instruction": draw(st.just("") | NAMES),
    }
    with contextlib.suppress(SchemaError):
        return Schema(**fields)
    return Schema(**fields | {"hyper_relations": (), "events": (), "classes": fields["classes"][:1]})


RECORDS_MD = {
    "entities": ["person", "organization"],
    "relations": [{"type": "work for", "head": ["person"], "tail": ["organization"]}],
    "hyper_relations": [{"type": "employer", "qualifiers": ["start time"]}],
    "events": [{"type": "start position", "roles": ["person", "entity", "time", "place"]}],
    "classes": {"topic": {"labels": ["business", "sports"], "multi_label": False}},
}


@unhurried
@given(schemas())
def test_schema_to_dict_and_json_round_trip_exactly(schema):
    plain = schema.to_dict()
    assert Schema.from_dict(plain) == schema
    assert Schema.from_dict(plain).to_dict() == plain
    assert Schema.from_json(schema.to_json()) == schema
    assert hash(Schema.from_json(schema.to_json(indent=None))) == hash(schema)
    assert Schema.from_any(schema.to_json()) == schema
    assert pickle.loads(pickle.dumps(schema)) == schema


@unhurried
@given(schemas())
def test_schema_labels_are_unique_and_every_definition_has_one(schema):
    pairs = [(label.kind, label.name) for label in schema.labels]
    assert len(set(pairs)) == len(pairs)
    reached = set()
    for structure in ("entities", "relations", "hyper_relations", "events"):
        reached |= {schema.label_id(structure, item.name) for item in getattr(schema, structure)}
    for item in schema.hyper_relations:
        reached |= {schema.label_id("qualifiers", qualifier.name) for qualifier in item.qualifiers}
    owned = [("roles", event.name, role.name) for event in schema.events for role in event.roles]
    owned += [("classes", task.name, label.name) for task in schema.classes for label in task.labels]
    ids = [schema.label_id(structure, name, owner) for structure, owner, name in owned]
    assert len(set(ids)) == len(ids)  # roles and classes are never shared
    for structure, asked in (("answers", schema.question is not None), ("spans", schema.spans)):
        ids += [schema.label_id(structure, structure.removesuffix("s"))] if asked else []
    assert reached.isdisjoint(ids)
    assert reached | set(ids) == set(range(len(schema.labels)))


@unhurried
@given(schemas())
def test_schema_without_descriptions_keeps_everything_else(schema):
    bare = schema.without_descriptions()
    assert all(label.description is None for label in bare.labels)
    assert [(label.kind, label.name, label.threshold) for label in bare.labels] == [
        (label.kind, label.name, label.threshold) for label in schema.labels
    ]
    assert bare.without_descriptions() == bare


@unhurried
@given(schemas(), st.data())
def test_schema_restrict_keeps_exactly_the_named_labels(schema, data):
    keep = {
        key: data.draw(st.lists(st.sampled_from([item.name for item in getattr(schema, key)]), unique=True))
        for key in ("entities", "relations", "events")
        if getattr(schema, key)
    }
    kept = schema.restrict(keep)
    for key in ("entities", "relations", "hyper_relations", "events", "classes"):
        names = [item.name for item in getattr(schema, key)]
        expected = [name for name in names if name in keep.get(key, names)]
        assert [item.name for item in getattr(kept, key)] == expected
    assert schema.restrict({}) == schema


def test_schema_of_records_md_round_trips_with_its_key_order():
    schema = Schema.from_any(RECORDS_MD)
    assert json.dumps(schema.to_dict()) == json.dumps(RECORDS_MD)
    assert schema.relations == (RelationType("work for", head=("person",), tail=("organization",)),)
    assert schema.classes == (ClassTask("topic", (ClassLabel("business"), ClassLabel("sports"))),)


def test_schema_labels_have_the_canonical_order_and_kinds():
    labels = Schema.from_any(RECORDS_MD | {"question": "Who?", "spans": True}).labels
    mention, relation, of_class, span = LabelKind
    assert [(label.kind, label.name, label.structure) for label in labels] == [
        (mention, "person", "entities"),
        (mention, "organization", "entities"),
        (relation, "work for", "relations"),
        (relation, "employer", "hyper_relations"),
        (relation, "start time", "qualifiers"),
        (mention, "start position", "events"),
        (relation, "person", "roles"),
        (relation, "entity", "roles"),
        (relation, "time", "roles"),
        (relation, "place", "roles"),
        (of_class, "business", "classes"),
        (of_class, "sports", "classes"),
        (span, "answer", "answers"),
        (span, "span", "spans"),
    ]


def test_schema_empty_in_every_form_is_valid_and_has_no_labels():
    forms = [
        Schema(),
        Schema([]),
        Schema.from_any([]),
        Schema.from_any({}),
        Schema.from_any({"entities": []}),
    ]
    forms += [Schema.from_any("{}"), Schema.from_any({"entities": None})]
    assert all(form == Schema() and form.labels == () and form.to_dict() == {} for form in forms)


@pytest.mark.parametrize("value", [None, "null", {"spans": True}])
def test_schema_unknown_asks_for_spans(value):
    assert Schema.from_any(value) == Schema(spans=True)
    assert Schema.from_any(value).to_dict() == {"spans": True}


def test_schema_from_list_reads_names_descriptions_and_dicts():
    schema = Schema.from_any(["person", "org :: a company", {"type": "place", "threshold": 0.25}])
    assert schema.entities == (
        EntityType("person"),
        EntityType("org", "a company"),
        EntityType("place", threshold=0.25),
    )
    assert [label.text for label in schema.labels] == ["person", "org : a company", "place"]


def test_schema_from_any_accepts_schema_json_and_a_foreign_copy_of_the_class():
    schema = Schema(["person"])
    foreign = SimpleNamespace(to_dict=lambda: {"entities": ["person"]})
    assert Schema.from_any(schema) is schema
    assert Schema.from_any('["person"]') == Schema.from_any(foreign) == Schema.from_any(("person",)) == schema


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.json", '{"entities": ["person"]}'),
        ("s.json", '\ufeff["person"]'),
        ("s.yaml", "entities:\n  - person\n"),
        ("s.yml", "- person\n"),
    ],
)
def test_schema_from_file_reads_json_and_yaml(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert Schema.from_any(str(path)) == Schema.from_any(Path(path)) == Schema(["person"])


def test_schema_equal_duplicates_are_merged():
    schema = Schema.from_any(
        {
            "entities": ["person", {"type": "person"}],
            "relations": ["knows", {"type": "knows"}],
            "events": [{"type": "attack", "roles": ["agent", "agent"]}],
        }
    )
    assert schema == Schema(["person"], ["knows"], events=[EventType("attack", roles=["agent"])])
    assert RelationType("r", head=["a", "a"]) == RelationType("r", head=("a",))
    assert RelationType("r", head="a") == RelationType("r", head=("a",))


def test_schema_class_task_as_a_plain_list_is_single_label():
    schema = Schema.from_any({"classes": {"mood": ["good", "bad"]}})
    assert schema.classes == (ClassTask("mood", ["good", "bad"], multi_label=False),)


def test_schema_label_ids_share_mentions_and_separate_roles_and_classes():
    schema = Schema(
        entities=["attack", "person"],
        relations=["agent"],
        events=[EventType("attack", "a raid", roles=["agent", "place"]), EventType("sale", roles=["buyer"])],
        classes=[ClassTask("mood", ["good"]), ClassTask("taste", ["good", "bad"])],
    )
    names = [label.name for label in schema.labels]
    assert names == [
        "attack", "person", "agent", "sale", "attack: agent", "place", "buyer", "mood: good", "taste: good",
        "bad",
    ]  # fmt: skip
    assert schema.label_id("events", "attack") == schema.label_id("entities", "attack") == 0
    assert schema.labels[0] == Label(LabelKind.MENTION, "attack", "a raid", None, "entities", frozenset({1}))
    assert schema.label_id("relations", "agent") == 2
    assert schema.label_id("roles", "agent", "attack") == 4
    assert schema.label_id("classes", "good", "taste") == 8
    assert schema.label_id("classes", "bad", "taste") == 9


def test_schema_label_id_of_an_unknown_label_names_the_nearest():
    schema = Schema(["person", "place"], events=[EventType("attack", roles=["agent"])])
    with pytest.raises(SchemaError) as caught:
        schema.label_id("entities", "Person")
    assert str(caught.value) == (
        "Schema: no entity type 'Person'; it has ['person', 'place']. Did you mean 'person'?"
        " Correct it or add the label."
    )
    with pytest.raises(SchemaError, match="no role 'agent' of 'sale'; it has"):
        schema.label_id("roles", "agent", "sale")


def test_schema_restrict_filters_head_types_and_class_labels():
    schema = Schema.from_any(
        {
            "entities": ["person", "city", "state"],
            "relations": [
                {"type": "lives in", "head": ["person"], "tail": ["city", "state"]},
                {"type": "knows"},
            ],
            "classes": {"mood": ["good", "bad"], "topic": ["x"]},
        }
    )
    kept = schema.restrict({"entities": ["state", "never heard of"], "classes": {"mood": ["bad"]}})
    assert kept.to_dict() == {
        "entities": ["state"],
        "relations": [{"type": "lives in", "tail": ["state"]}, {"type": "knows"}],
        "classes": {
            "mood": {"labels": ["bad"], "multi_label": False},
            "topic": {"labels": ["x"], "multi_label": False},
        },
    }
    assert schema.restrict({"entities": []}).relations == schema.relations
    assert schema.restrict({"classes": ["topic"]}).classes == schema.classes[1:]
    assert schema.restrict({"classes": {"mood": []}}).classes == schema.classes[1:]


def test_schema_restrict_with_wrong_keys_or_values_is_an_error():
    with pytest.raises(SchemaError) as caught:
        Schema(["a"]).restrict({"entity": ["a"], "entities": "a"})
    assert caught.value.problems == [
        "labels: unknown key 'entity'. Allowed: entities, relations, hyper_relations, events, classes."
        " Did you mean 'entities'?",
        "labels: entities holds 'a', not a list of names. Write [\"…\"].",
    ]


@pytest.mark.parametrize(("fields", "problem"), [
    ({"question": " "}, "Schema: question is ' ', not a text. Write one or leave it out."),
    ({"question": 3}, "Schema: question is 3 (int), not a text. Write one or leave it out."),
    ({"spans": "yes"}, "Schema: spans is 'yes', not true or false. Write true or leave it out."),
    ({"instruction": 1}, "Schema: instruction is 1 (int), not a text. Write one or leave it out."),
    ({"entities": "person"}, "Schema: entities is 'person', not a list. Write [\"…\", \"…\"]."),
])  # fmt: skip
def test_schema_wrong_field_is_reported_by_constructor_and_from_dict(fields, problem):
    for make in (lambda: Schema(**fields), lambda: Schema.from_dict(fields)):
        with pytest.raises(SchemaError) as caught:
            make()
        assert caught.value.problems == [problem]


def test_schema_error_lists_all_problems_of_form_and_content_together():
    with pytest.raises(SchemaError) as caught:
        Schema.from_dict(
            {
                "entities": ["person", 3],
                "relation": [],
                "relations": [{"type": "works for", "head": ["Person"], "threshold": 2}],
            },
            source="s.json",
        )
    assert (
        str(caught.value).split("\n")
        == caught.value.problems
        == [
            "s.json: unknown key 'relation'. Allowed: entities, relations, hyper_relations, events, classes,"
            " question, spans, instruction. Did you mean 'relations'?",
            "s.json: entities[1] is 3 (int), not a label. Write its name as a string, in quotes, or"
            ' {"type": "…"}.',
            "s.json: relation 'works for' has the threshold 2 (int), not a number between 0 and 1,"
            " such as 0.5.",
            "s.json: relation 'works for' has head type 'Person', not one of ['person']."
            " Did you mean 'person'? Correct it or add the type.",
        ]
    )
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems
