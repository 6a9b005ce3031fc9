import pytest

from ldnet.processing.schema import Schema, SchemaError


def test_from_records_collects_labels_in_order_of_name_with_observed_types():
    person, city = {"type": "person", "start": 0, "end": 1}, {"type": "city", "start": 2, "end": 3}
    records = [
        {
            "text": "a b",
            "entities": [person],
            "relations": [{"type": "lives in", "head": person, "tail": city}],
        },
        {
            "text": "a b",
            "entities": [city],
            "relations": [
                {"type": "lives in", "head": city, "tail": city},
                {"type": "knows", "head": {"start": 0, "end": 1}, "tail": person},
            ],
        },
    ]
    assert Schema.from_records(iter(records)).to_dict() == {
        "entities": ["city", "person"],
        "relations": [
            {"type": "knows", "tail": ["person"]},
            {"type": "lives in", "head": ["city", "person"], "tail": ["city"]},
        ],
    }


def test_from_records_collects_every_structure_and_the_labels_looked_for():
    mention = {"start": 0, "end": 1}
    records = [
        {
            "text": "a",
            "hyper_relations": [
                {
                    "type": "job",
                    "head": mention,
                    "tail": mention,
                    "qualifiers": [{"type": "since", **mention}],
                }
            ],
            "events": [{"type": "attack", "trigger": mention, "arguments": [{"role": "agent", **mention}]}],
            "classes": {"mood": ["good"], "topic": ["x", "y"], "empty": []},
            "document_relations": [{"type": "part of", "head_cluster": 0, "tail_cluster": 1}],
            "spans": [mention],
        },
        {
            "text": "b",
            "labels": {
                "entities": ["person"],
                "relations": ["knows"],
                "hyper_relations": ["job"],
                "events": ["sale"],
                "classes": {"mood": ["bad", "good"]},
            },
        },
    ]
    assert Schema.from_records(records).to_dict() == {
        "entities": ["person"],
        "relations": [{"type": "knows"}, {"type": "part of"}],
        "hyper_relations": [{"type": "job", "qualifiers": ["since"]}],
        "events": [{"type": "attack", "roles": ["agent"]}, {"type": "sale", "roles": []}],
        "classes": {
            "mood": {"labels": ["bad", "good"], "multi_label": False},
            "topic": {"labels": ["x", "y"], "multi_label": True},
        },
    }


def test_from_records_type_of_an_end_alone_becomes_an_entity_type():
    head = {"type": "person", "start": 0, "end": 1}
    relation = {"type": "r", "head": head, "tail": {"type": "city", "start": 2, "end": 3}}
    with_entities = Schema.from_records([{"text": "a b", "entities": [head], "relations": [relation]}])
    assert [entity.name for entity in with_entities.entities] == ["city", "person"]
    relations_only = Schema.from_records([{"text": "a b", "relations": [relation]}])
    assert relations_only.to_dict() == {"relations": [{"type": "r", "head": ["person"], "tail": ["city"]}]}


def test_from_records_with_spans_only_is_the_unknown_schema():
    assert Schema.from_records([{"text": "a", "spans": []}]) == Schema(spans=True)
    assert Schema.from_records([{"text": "a"}]) == Schema()


def test_from_records_names_every_record_out_of_format():
    records = [{"text": "a", "entities": [{"start": 0}]}, {"text": "a"}, {"text": "a", "entities": 3}, "text"]
    with pytest.raises(SchemaError) as caught:
        Schema.from_records(records)
    assert [problem.split(" is not")[0] for problem in caught.value.problems] == [
        "Schema.from_records: record 0",
        "Schema.from_records: record 2",
        "Schema.from_records: record 3",
    ]
    assert caught.value.problems[0].endswith("(no 'type'). Find and correct the place with `ldnet validate`.")


def test_from_records_with_a_label_that_is_no_string_is_an_error():
    mentions = [{"type": name, "start": 0, "end": 1} for name in (3, "person")]
    with pytest.raises(
        SchemaError, match="a label is not a string. Find and correct it with `ldnet validate`"
    ):
        Schema.from_records([{"text": "a", "entities": mentions}])
    with pytest.raises(SchemaError, match=r"entities\[0\] is 3 \(int\), not a label"):
        Schema.from_records([{"text": "a", "entities": mentions[:1]}])
