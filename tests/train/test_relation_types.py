from ldnet.processing.schema import Schema
from ldnet.train.dataset import Source
from ldnet.train.relation_types import load_relation_types, types_from_relations

TABLE = {"director": ["film", "film director"], "country": [None, "country"]}
HEAT, MANN, USA = ({"start": a, "end": b} for a, b in ((0, 4), (8, 12), (16, 19)))
TEXT = "Heat by Mann of USA"


def record(**structures):
    return {"text": TEXT, **structures}


def test_mentions_get_the_type_that_their_relations_tell():
    schema = Schema.from_any(
        {"entities": ["person", "work", "place"], "relations": ["director", "country", "other"]}
    )
    entities = [{"type": "work", **HEAT}, {"type": "person", **MANN}, {"type": "place", **USA}]
    told = record(entities=entities, relations=[{"type": "director", "head": HEAT, "tail": MANN}])
    silent = record(entities=entities, relations=[{"type": "other", "head": HEAT, "tail": MANN}])
    source, made = types_from_relations(Source("films", schema), [told, silent], TABLE)
    assert made == [
        record(
            entities=[{"type": "film", **HEAT}, {"type": "film director", **MANN}, {"type": "place", **USA}]
        )
    ]
    assert (source.name, source.partial) == ("films+types", False)
    assert [item.name for item in source.schema.entities] == ["film", "film director", "place"]


def test_typeless_mentions_of_facts_make_a_partial_source():
    schema = Schema.from_any({"hyper_relations": [{"type": "country", "qualifiers": []}]})
    fact = record(hyper_relations=[{"type": "country", "head": HEAT, "tail": USA, "qualifiers": []}])
    source, made = types_from_relations(Source("facts", schema), [fact], TABLE)
    assert made == [record(entities=[{"type": "country", **USA}])]
    assert source.partial


def test_types_that_the_source_does_not_train_are_left_out():
    marked = record(
        entities=[{"type": "entity", **HEAT}, {"type": "entity", **USA}],
        relations=[{"type": "country", "head": HEAT, "tail": USA}],
    )
    source, made = types_from_relations(
        Source("pairs", Schema.from_any({"relations": ["country"]}), True), [marked], TABLE
    )
    assert made == [record(entities=[{"type": "country", **USA}])]
    assert source.partial


def test_the_table_names_a_type_for_an_end_of_every_relation():
    table = load_relation_types()
    assert all(len(ends) == 2 and any(ends) for ends in table.values())
