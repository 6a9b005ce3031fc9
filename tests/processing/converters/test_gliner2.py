import pytest

from ldnet.processing.converters.gliner2 import read_gliner2
from ldnet.processing.converters.report import ConversionError

TEXT = "Ann Lee runs Acme. Ann likes Acme Labs in 京都市 🙂."
SEVERAL = "words that stand in several places: all of them are mentions"


def test_read_gliner2_every_whole_occurrence_is_a_mention(read, counts, marked):
    row = {
        "input": TEXT,
        "output": {
            "entities": {
                "person": ["Ann Lee"],
                "company": ["Acme", "ACME LABS"],
                "place": ["京都"],
                "animal": [],
            },
            "entity_descriptions": {"person": "A human being."},
        },
    }
    (record,), report = read(read_gliner2, [row])
    assert marked(record) == [
        ("person", "Ann Lee"),
        ("company", "Acme"),
        ("company", "Acme"),
        ("company", "Acme Labs"),
        ("place", "京都"),
    ]
    assert [entity["start"] for entity in record["entities"]] == [0, 13, 29, 29, 42]
    assert record["labels"] == {"entities": ["person", "company", "place", "animal"]}
    assert report.descriptions == {"person": "A human being."}
    assert counts(report) == ({}, {SEVERAL: 1, "words in other letter case than in the text": 1})


def test_read_gliner2_takes_places_that_are_given_and_counts_what_is_not_there(read, counts, marked):
    entities = {
        "person": [
            {"text": "Ann", "start": 19, "end": 22},
            {"text": "Ann", "start": 1, "end": 4},
            "Bob",
            "",
            3,
        ],
        "part": ["ee"],
        " ": ["Ann"],
    }
    (record,), report = read(read_gliner2, [{"text": TEXT, "schema": {"entities": entities}}])
    assert [(item["type"], item["start"]) for item in record["entities"]] == [
        ("person", 19),
        ("person", 0),
        ("part", 5),
    ]
    assert counts(report) == (
        {"words that are not in the text": 1, "mention without words": 2, "entity type without a name": 1},
        {SEVERAL: 1, "words that stand only inside other words: taken there": 1},
    )


def test_read_gliner2_relations_take_the_nearest_places(read, counts):
    relations = [
        {"likes": {"head": "Ann", "tail": "Acme"}},
        {"runs": {"head": "Ann Lee", "tail": "Acme", "place": "京都市", "year": ""}},
        {"pays": {"who": "Ann Lee", "whom": "Acme Labs"}},
        {"lost": {"head": "Eve", "tail": ["Acme", "Ann"]}},
        {"odd": {"head": "Ann"}},
        {"none": {"head": "Ann Lee", "tail": []}},
    ]
    row = {"input": TEXT, "output": {"entities": {"person": ["Ann Lee"]}, "relations": relations}}
    (record,), report = read(read_gliner2, [row])
    assert record["relations"] == [
        {"type": "likes", "head": {"start": 19, "end": 22}, "tail": {"start": 13, "end": 17}},
        {
            "type": "pays",
            "head": {"type": "person", "start": 0, "end": 7},
            "tail": {"start": 29, "end": 38},
        },
    ]
    assert record["hyper_relations"] == [
        {
            "type": "runs",
            "head": {"type": "person", "start": 0, "end": 7},
            "tail": {"start": 13, "end": 17},
            "qualifiers": [{"type": "place", "start": 42, "end": 45}],
        }
    ]
    lost, repaired = counts(report)
    assert lost == {
        "words that are not in the text": 2,
        "relation with an end that is not in the text": 3,
        "relation that is not {type: {head, tail}}": 1,
        "mention without words": 1,
    }
    assert repaired["relation whose words stand in several places: the nearest are taken"] == 2
    assert repaired["relation with fields of its own: the first is head"] == 1


def test_read_gliner2_classes_carry_the_labels_that_could_hold(read, counts):
    output = {
        "entities": {},
        "classifications": [
            {"task": "tone", "labels": ["good", "bad"], "true_label": "good"},
            {"task": "topic", "labels": ["x", "y"], "true_label": ["x", "y"], "multi_label": True},
            {"labels": ["x"]},
        ],
        "json_structures": [{"product": {"name": "A"}}, {"product": {"name": "B"}}],
    }
    (record,), report = read(read_gliner2, [{"input": "a", "output": output}])
    assert record == {
        "text": "a",
        "classes": {"tone": ["good"], "topic": ["x", "y"]},
        "labels": {"classes": {"tone": ["good", "bad"], "topic": ["x", "y"]}},
    }
    assert counts(report)[0] == {
        "classification without a task": 1,
        "json_structures: records have no such structure": 2,
    }


def test_read_gliner2_of_another_format_is_an_error(read):
    with pytest.raises(ConversionError, match=r"file\.jsonl:1: input = 'a': no text with its output"):
        read(read_gliner2, [{"input": "a", "output": []}])
