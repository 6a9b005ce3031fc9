import pytest

from ldnet.processing.links import Loop
from ldnet.processing.schema import Schema
from ldnet.train.dataset import ExtractionDataset, Losses, Source, annotated_labels, label_key

PERSON, ORGANIZATION, PLACE, WORKS_FOR, NEAR = range(5)


@pytest.fixture
def processor(tiny_processor):
    return tiny_processor


def dataset(processor, schema, records, partial=False, **options):
    return ExtractionDataset(processor, [(Source("set", schema, partial), records)], **options)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"entities": [], "relations": []}, [0, 1, 2, 3, 4]),
        ({"entities": []}, [0, 1, 2]),
        ({"relations": []}, [3, 4]),
        ({"entities": None}, []),
        ({}, []),
        ({"entities": [], "relations": [], "labels": {"entities": ["place", "other"]}}, [2, 3, 4]),
        ({"entities": [], "labels": {"entities": [], "relations": ["near"]}}, []),
        ({"relations": [], "labels": {"relations": ["near"]}}, [4]),
    ],
)
def test_annotated_labels_are_those_whose_key_is_there_and_labels_allow(work, record, expected):
    assert annotated_labels({"text": "x"} | record, work[0]) == expected


def test_label_key_is_kind_and_words():
    schema = Schema.from_any(
        {"entities": ["in", {"type": "place", "description": "a city"}], "relations": ["in"]}
    )
    assert [label_key(label) for label in schema.labels] == [(0, "in"), (0, "place : a city"), (1, "in")]


def test_example_holds_tokens_and_loops_of_its_record(processor, work):
    schema, records = work
    (example,) = dataset(processor, schema, records[1:2]).examples  # "P1 of xy works for O1 in L1 and ."
    assert example.index == 0
    assert example.record == records[1]
    assert len(example.tokens) == 14  # P ##1 of x ##y works for O ##1 in L ##1 and .
    assert example.loops == [
        Loop(PERSON, (((0, 4),),)),
        Loop(ORGANIZATION, (((7, 8),),)),
        Loop(PLACE, (((10, 11),),)),
        Loop(WORKS_FOR, (((0, 4),), ((7, 8),))),
        Loop(NEAR, (((7, 8),), ((10, 11),))),
    ]
    assert example.annotated == [0, 1, 2, 3, 4]
    assert example.supervision == (True, True, True)


def test_structures_of_labels_that_were_not_looked_for_are_left_out(processor, work):
    schema, records = work
    record = records[1] | {"labels": {"entities": ["place"]}, "relations": None}
    (example,) = dataset(processor, schema, [record]).examples
    assert example.loops == [Loop(PLACE, (((10, 11),),))]
    assert example.annotated == [PLACE]
    assert example.supervision == (True, True, False)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("entities", "relations"), (True, True, True)),
        (("entities",), (True, True, False)),
        (("relations",), (True, True, True)),
        ((), (False, False, False)),
    ],
)
def test_supervision_follows_what_is_annotated(processor, work, keys, expected):
    record = {"text": "x"} | {key: [] for key in keys}
    assert dataset(processor, work[0], [record])[0].supervision == expected


def test_fragments_over_a2a_need_its_supervision(make_model, make_processor, work):
    for form, expected in (("a2a", True), ("as", False)):
        processor = make_processor(make_model(max_fragments=2, fragment_links=form).config)
        example = dataset(processor, work[0], [{"text": "x", "entities": []}])[0]
        assert example.supervision == (True, True, expected)


def test_losses_count_structures_by_cause(processor, work, caplog):
    record = {
        "text": "abc def",
        "entities": [
            {"type": "person", "start": 0, "end": 3},
            {"type": "person", "start": 0, "end": 7, "fragments": [[0, 3], [4, 7]]},
        ],
        "relations": [{"type": "near", "head": {"start": 0, "end": 3}, "tail": {"start": 4, "end": 7}}],
    }
    foreign = {"text": "字字 x", "entities": [{"type": "place", "start": 3, "end": 4}]}
    inside = {"text": "ﷺﷺ", "entities": [{"type": "place", "start": 0, "end": 1}]}
    with caplog.at_level("INFO", logger="ldnet.train.dataset"):
        losses = dataset(processor, work[0], [record, foreign, inside]).losses["set"]
    assert losses == Losses(3, 5, {"2 fragments, max_fragments is 1": 1, "boundary inside a token": 1})
    line = "3 records, 5 structures; lost: 1 x 2 fragments, max_fragments is 1, 1 x boundary inside a token"
    assert str(losses) == line
    assert f"set: {line}" in caplog.messages
    assert str(Losses(1, 2)) == "1 records, 2 structures; lost: nothing"


def test_sources_stand_one_after_the_other(processor, work, opinion):
    found = ExtractionDataset(
        processor, [(Source("a", *work[:1]), work[1]), (Source("b", opinion[0]), opinion[1])]
    )
    assert len(found) == 17
    assert [example.source.name for example in found.examples] == ["a"] * 12 + ["b"] * 5
    assert [found[i].index for i in range(17)] == list(range(17))
    assert found.losses["a"].structures == 12 * 4 + 6
    assert found.losses["b"].structures == 5 * 3


def test_empty_records_make_an_empty_data_set(processor, work):
    assert len(dataset(processor, work[0], [])) == 0


# ---- all structures

EVERYTHING = Schema.from_any(
    {
        "entities": ["person"],
        "relations": ["r"],
        "hyper_relations": [{"type": "h", "qualifiers": ["q"]}, {"type": "g", "qualifiers": ["q", "p"]}],
        "events": [{"type": "meet", "roles": ["who"]}, {"type": "talk", "roles": ["who", "meet"]}],
        "classes": {"topic": ["news", "sport"], "tone": ["tone", "topic"]},
        "question": "?",
        "spans": True,
    }
)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"hyper_relations": []}, {"h", "g", "q", "p"}),
        ({"events": []}, {"meet", "meet: who", "talk", "talk: who", "talk's meet"}),
        ({"classes": {"topic": []}}, {"news", "sport"}),
        ({"classes": {"topic": None, "tone": ["tone"]}}, {"tone", "topic"}),
        ({"classes": {}}, set()),
        ({"answers": []}, {"answer"}),
        ({"spans": []}, {"span"}),
        ({"hyper_relations": [], "labels": {"hyper_relations": ["h"]}}, {"h", "q"}),
        ({"hyper_relations": [], "labels": {"hyper_relations": ["g"]}}, {"g", "q", "p"}),
        ({"events": [], "labels": {"events": ["meet"]}}, {"meet", "meet: who"}),
        (
            {"events": [], "labels": {"entities": ["person"]}},
            {"meet", "meet: who", "talk", "talk: who", "talk's meet"},
        ),
        ({"classes": {"topic": [], "tone": []}, "labels": {"classes": ["tone"]}}, {"tone", "topic"}),
        (
            {"classes": {"topic": [], "tone": []}, "labels": {"classes": {"tone": ["tone"]}}},
            {"news", "sport", "tone"},
        ),
        (
            {"classes": {"topic": [], "tone": []}, "labels": {"classes": {"topic": [], "tone": ["topic"]}}},
            {"topic"},
        ),
        ({"answers": [], "spans": [], "labels": {"entities": []}}, {"answer", "span"}),
    ],
)
def test_annotated_labels_of_every_structure(record, expected):
    names = {
        (label.name if label.kind != 1 or label.name != "meet" else "talk's meet"): i
        for i, label in enumerate(EVERYTHING.labels)
    }
    assert annotated_labels({"text": "x"} | record, EVERYTHING) == sorted(names[name] for name in expected)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"classes": {"topic": []}}, (True, False, False)),
        ({"answers": [], "question": "a"}, (True, True, False)),
        ({"spans": []}, (True, True, False)),
        ({"events": []}, (True, True, True)),
        ({"hyper_relations": []}, (True, True, True)),
        ({"classes": {"topic": []}, "spans": []}, (True, True, False)),
        ({"classes": {}}, (False, False, False)),
    ],
)
def test_supervision_follows_the_loops_of_what_is_annotated(processor, keys, expected):
    assert dataset(processor, EVERYTHING, [{"text": "x"} | keys])[0].supervision == expected


def test_example_holds_the_loops_of_all_structures(processor):
    mention = {"start": 0, "end": 1}
    record = {
        "text": "a b",
        "entities": [{"type": "person", **mention}],
        "hyper_relations": [
            {"type": "h", "head": mention, "tail": mention, "qualifiers": [{"type": "q", **mention}]}
        ],
        "events": [{"type": "meet", "trigger": mention, "arguments": [{"role": "who", **mention}]}],
        "classes": {"topic": ["sport"]},
        "question": "a b ?",
        "answers": [mention],
        "spans": [mention],
    }
    (example,) = dataset(processor, EVERYTHING, [record]).examples
    at = (((0, 0),),)
    counts = {"person": 1, "h": 2, "q": 3, "meet": 1, "meet: who": 2, "sport": 0, "answer": 1, "span": 1}
    names = {label.name: i for i, label in reversed(list(enumerate(EVERYTHING.labels)))}
    assert example.loops == [Loop(names[name], at * count) for name, count in counts.items()]
    assert len(example.question) == 3


def test_question_of_a_record_is_asked_where_the_schema_asks_questions(processor, work):
    record = {"text": "a", "question": "of the", "answers": [], "entities": []}
    assert len(dataset(processor, EVERYTHING, [record])[0].question) == 2
    assert dataset(processor, EVERYTHING, [{"text": "a"}])[0].question is None
    assert dataset(processor, work[0], [record])[0].question is None


def test_question_takes_room_from_the_text_of_its_example(processor):
    record = {"text": "of " * processor.room_for(EVERYTHING), "spans": []}
    assert len(dataset(processor, EVERYTHING, [record])) == 1
    asked = dataset(processor, EVERYTHING, [record | {"question": "a b", "answers": []}])
    assert len(asked) == 2
    room = processor.room_for(EVERYTHING) - 3
    assert max(len(example.tokens) for example in asked.examples) == room


def test_question_that_fills_the_encoder_leaves_no_example(processor):
    record = {"text": "a", "question": "of " * 600, "answers": []}
    found = dataset(processor, EVERYTHING, [record])
    assert len(found) == 0
    assert found.losses["set"].causes == {"prompt and question leave no room for the text": 1}
    assert len(dataset(processor, EVERYTHING, [record], whole=True)) == 1
