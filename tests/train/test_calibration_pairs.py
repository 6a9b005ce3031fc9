from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from metric_records import PLAIN, SCHEMA

from ldnet.processing.calibration import TASKS, Calibration, TaskCalibration
from ldnet.processing.schema import Schema
from ldnet.train.calibration_pairs import (
    GROUPS,
    LOW_LINKS,
    Extracted,
    collect_structures,
    extract_raw,
    structures_of,
)
from ldnet.train.metric_keys import Asked

TEXT = "Ann met Bob"


def mention(start, score=None, **extra):
    scored = {} if score is None else {"score": score}
    return {**extra, "start": start, "end": start + 3, **scored}


def collected(task, gold, result, schema=SCHEMA):
    found = collect_structures(task, [({"text": TEXT, **gold}, result, Asked(Schema.from_any(schema)))])
    rows = zip(found.scores.tolist(), found.correct.tolist(), found.labels.tolist(), strict=True)
    return [(score, bool(right), label) for score, right, label in rows], found.support


def test_every_task_belongs_to_one_key_of_results():
    assert sorted(task for tasks in GROUPS.values() for task in tasks) == sorted(TASKS)


def test_entities_are_right_by_type_and_place_and_count_once():
    gold = {"entities": [mention(0, type="person"), mention(8, type="person")]}
    found = {
        "entities": [
            mention(0, 0.9, type="person"),
            mention(0, 0.8, type="person"),
            mention(8, 0.7, type="organization"),
        ]
    }
    rows, gold = collected("entities", gold, found)
    assert rows == [(0.9, True, "person"), (0.7, False, "organization")]
    assert gold == {"person": 2}


def test_text_where_a_structure_is_not_annotated_does_not_count():
    found = {"entities": [mention(0, 0.9, type="person")]}
    assert collected("entities", {}, found) == ([], {})
    own = {"entities": [], "labels": {"entities": ["organization"]}}
    assert collected("entities", own, found) == ([], {})
    assert collected("entities", {"entities": []}, found)[0] == [(0.9, False, "person")]


def test_symmetric_relation_is_right_in_either_direction():
    ends = {"head": mention(8), "tail": mention(0)}
    gold = {"relations": [{"type": "married to", **ends}, {"type": "works for", **ends}]}
    swapped = {"head": mention(0), "tail": mention(8)}
    found = {"relations": [{"type": name, **swapped, "score": 0.9} for name in ("married to", "works for")]}
    rows, gold = collected("relations", gold, found)
    assert rows == [(0.9, True, "married to"), (0.9, False, "works for")]
    assert gold == {"married to": 1, "works for": 1}


def test_arguments_and_qualifiers_are_scored_one_by_one_with_what_they_belong_to():
    def events(trigger, *arguments, score):
        parts = [mention(start, own, role=role) for start, role, own in arguments]
        return {
            "events": [{"type": "attack", "trigger": mention(trigger), "arguments": parts, "score": score}]
        }

    gold = events(4, (0, "agent", None), (8, "place", None), score=None)
    assert collected("events", gold, events(4, score=0.9)) == ([(0.9, True, "attack")], {"attack": 1})
    rows, support = collected("arguments", gold, events(4, (0, "agent", 0.8), (0, "place", 0.7), score=0.9))
    assert rows == [(0.8, True, "attack: agent"), (0.7, False, "attack: place")]
    assert support == {"attack: agent": 1, "attack: place": 1}
    assert collected("arguments", gold, events(8, (0, "agent", 0.8), score=0.9))[0] == [
        (0.8, False, "attack: agent")
    ]

    def facts(*qualifiers, score):
        parts = [mention(start, own, type=name) for start, name, own in qualifiers]
        ends = {"head": mention(0), "tail": mention(8)}
        return {"hyper_relations": [{"type": "employer", **ends, "qualifiers": parts, "score": score}]}

    gold, found = (
        facts((4, "place", None), score=None),
        facts((4, "place", 0.8), (4, "start time", 0.7), score=0.6),
    )
    assert collected("hyper_relations", gold, found)[0] == [(0.6, True, "employer")]
    assert collected("qualifiers", gold, found)[0] == [
        (0.8, True, "employer: place"),
        (0.7, False, "employer: start time"),
    ]


def test_single_and_multi_label_classes_are_tasks_of_their_own():
    gold = {"classes": {"topic": ["b"], "mood": ["x"]}}
    found = {
        "classes": {
            "topic": [{"label": "a", "score": 0.9}],
            "mood": [{"label": "x", "score": 0.8}, {"label": "a", "score": 0.3}],
        }
    }
    assert collected("single_label_classes", gold, found)[0] == [(0.9, False, "topic: a")]
    assert collected("multi_label_classes", gold, found)[0] == [
        (0.8, True, "mood: x"),
        (0.3, False, "mood: a"),
    ]


def test_answers_are_right_if_they_equal_an_alternative_and_gain_what_the_question_does():
    texts = [
        (
            {"text": TEXT, "answers": [mention(0), mention(8)]},
            {"answers": [mention(8, 0.9), mention(4, 0.2)]},
        ),
        ({"text": TEXT, "answers": []}, {"answers": [mention(0, 0.6)]}),
        ({"text": TEXT, "answers": [mention(0)]}, {"answers": []}),
    ]
    found = collect_structures("answers", [(*text, Asked(SCHEMA)) for text in texts])
    assert found.correct.tolist() == [1.0, 0.0, 0.0]
    assert found.gains.tolist() == [1.0, 0.0, -1.0]  # only the best answer counts for a question
    assert found.silent.tolist() == [0.0, 1.0, 0.0]
    assert found.texts.tolist() == [0, 0, 1]
    assert found.support == {"answer": 2}


def test_part_takes_some_of_the_texts():
    texts = [
        (
            {"text": TEXT, "spans": [mention(0)]},
            {"spans": [mention(0, score), mention(4, 0.1)]},
            Asked(SCHEMA),
        )
        for score in (0.9, 0.8, 0.7)
    ]
    part = collect_structures("spans", texts).part(np.array([True, False, True]))
    assert part.scores.tolist() == [0.9, 0.1, 0.7, 0.1]
    assert part.texts.tolist() == [0, 0, 1, 1]
    assert part.support == Counter(span=2)


# ---- extraction


class Pipe:
    """Finds what scores above the threshold; remembers how it was asked."""

    def __init__(self, threshold=0.5):
        self.processor = SimpleNamespace(threshold=threshold, calibration={"tasks": {}})
        self.calls = []

    def __call__(self, inputs, schema, threshold, **options):
        self.calls.append((list(inputs), schema, threshold, self.processor.calibration, options))
        found = [
            mention(start, score, type="person") for start, score in ((0, 0.9), (8, 0.3)) if score > threshold
        ]
        return iter([{"text": TEXT, "entities": found}] * len(self.calls[-1][0]))


def test_extract_raw_asks_without_calibration_own_thresholds_and_types_of_ends():
    schema = Schema.from_any(
        {
            "entities": [{"type": "person", "threshold": 0.9}],
            "relations": [{"type": "knows", "head": ["person"], "threshold": 0.8}],
            "events": [{"type": "e", "threshold": 0.8, "roles": [{"type": "r", "threshold": 0.7}]}],
            "question": "?",
        }
    )
    pipe = Pipe()
    records = [{"text": TEXT}, {"text": TEXT, "question": "who?"}]
    of_set = extract_raw("dev", records, schema, pipe, batch_size=3)
    assert [call[2] for call in pipe.calls] == [LOW_LINKS, 0.5, 0.7]
    assert of_set.default == 0.5
    for inputs, asked, _, calibration, options in pipe.calls:
        assert inputs == [TEXT, {"text": TEXT, "question": "who?"}]
        assert {label.threshold for label in asked.labels} == {None}
        assert asked.relations[0].head is None
        assert (calibration, options) == (None, {"batch_size": 3})
    assert pipe.processor.calibration == {"tasks": {}}
    assert of_set.schema.relations[0].head == ("person",)
    assert {label.threshold for label in of_set.schema.labels} == {None}


@pytest.mark.parametrize(
    ("default", "links"), [(0.05, [0.05, 0.5, 0.7]), (0.3, [0.1, 0.3, 0.5, 0.7]), (0.9, [0.1, 0.9])]
)
def test_extract_raw_reads_at_the_default_and_at_lower_and_higher_links(default, links):
    of_set = extract_raw("dev", [{"text": TEXT}], SCHEMA, Pipe(default))
    assert (list(of_set.raw), of_set.default) == (links, default)


def test_results_are_decoded_at_the_links_of_the_calibration():
    record = {"text": TEXT, "entities": []}
    of_set = extract_raw("dev", [record], Schema.from_any(["person"]), Pipe())

    def starts(calibration):
        return [[item["start"] for item in result["entities"]] for result in of_set.results(calibration)]

    assert starts(Calibration()) == [[0]]
    assert starts(Calibration({"entities": TaskCalibration(link_threshold=LOW_LINKS)})) == [[0, 8]]
    cut = TaskCalibration(link_threshold=LOW_LINKS, threshold=0.4)
    assert starts(Calibration({"entities": cut})) == [[0]]
    found = structures_of("entities", [of_set], Calibration({"entities": cut}))
    assert found.scores == pytest.approx([0.9, 0.3])  # before the score decides


def test_part_of_a_set_keeps_records_and_results_together():
    records = [{"text": str(i)} for i in range(4)]
    of_set = Extracted(
        "dev", Schema.from_any(PLAIN), records, {0.5: [{"text": str(i)} for i in range(4)]}, 0.5
    )
    part = of_set.part([3, 1])
    assert (
        [record["text"] for record in part.records]
        == [result["text"] for result in part.raw[0.5]]
        == ["3", "1"]
    )
