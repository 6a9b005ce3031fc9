import copy
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldnet.processing.calibration import (
    TASKS,
    Calibration,
    CalibrationError,
    TaskCalibration,
    calibration_problems,
    logit,
    sigmoid,
    task_of,
    without_ends,
)
from ldnet.processing.schema import Schema
from ldnet.processing.schema_labels import MENTIONS_OF

HALF = TaskCalibration(scale=0.5)  # 0.9 -> 0.75, 0.8 -> 0.667, 0.5 -> 0.5
SHARES = st.floats(0.0, 1.0)
CURVES = st.builds(
    TaskCalibration,
    scale=st.floats(0.01, 20),
    bias=st.floats(-20, 20),
    link_threshold=st.floats(0.01, 0.99),
    threshold=st.floats(0, 0.99),
    labels=st.dictionaries(st.text(max_size=5), st.floats(0, 0.99), max_size=3),
)
CALIBRATIONS = st.dictionaries(st.sampled_from(list(TASKS)), CURVES, max_size=4).map(Calibration)


def mention(start, score, **extra):
    return {**extra, "start": start, "end": start + 1, "text": "x", "score": score}


def applied(result, schema, calibration, **options):
    return Calibration(calibration).apply({"text": "xxxx", **result}, Schema.from_any(schema), **options)


# ---- plain form


@given(CALIBRATIONS)
def test_from_dict_gives_back_what_to_dict_and_json_made(calibration):
    assert Calibration.from_dict(calibration.to_dict()) == calibration
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def test_every_structure_of_a_schema_has_a_task():
    assert set(TASKS.values()) == set(MENTIONS_OF)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"^calibration: \[\] \(list\) is not an object"),
        ({}, "^calibration: tasks is None, not an object"),
        ({"tasks": {}, "task": 1}, "unknown key 'task'.*Did you mean 'tasks'"),
        ({"tasks": {"entites": {}}}, "unknown key 'entites'.*Did you mean 'entities'"),
        ({"tasks": {"entities": 1}}, r"entities is 1 \(int\), not an object"),
        ({"tasks": {"entities": {"scale": 0}}}, r"entities: scale is 0 \(int\), not a number above 0"),
        ({"tasks": {"entities": {"bias": math.nan}}}, "entities: bias is nan"),
        ({"tasks": {"entities": {"bias": True}}}, "entities: bias is True"),
        ({"tasks": {"entities": {"threshold": 1.0}}}, r"entities: threshold is 1\.0"),
        ({"tasks": {"entities": {"link_threshold": 0.0}}}, r"entities: link_threshold is 0\.0"),
        ({"tasks": {"entities": {"labels": {"person": "a"}}}}, "threshold of 'person' is 'a'"),
    ],
)
def test_from_dict_names_what_is_not_possible_in_one_line(value, message):
    with pytest.raises(CalibrationError, match=message) as caught:
        Calibration.from_dict(value)
    assert len(caught.value.problems) == 1


def test_all_problems_are_named_at_once_also_when_it_is_built():
    wrong = {"entities": TaskCalibration(scale=-1.0, threshold=2.0), "facts": TaskCalibration()}
    with pytest.raises(CalibrationError) as caught:
        Calibration(wrong)
    assert len(caught.value.problems) == 3
    assert calibration_problems({"tasks": {}}) == []


# ---- curves


def test_probability_is_the_sigmoid_of_the_moved_log_odds():
    assert TaskCalibration().probability(0.8) == pytest.approx(0.8)
    assert HALF.probability(0.9) == pytest.approx(0.75)
    assert TaskCalibration(bias=-math.log(3)).probability(0.75) == pytest.approx(0.5)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_probability_of_extreme_scores_is_no_certainty(score):
    assert 0 < TaskCalibration().probability(score) < 1


@given(st.floats(-800, 800))
def test_sigmoid_and_logit_are_inverse_within_their_range(value):
    assert logit(sigmoid(value)) == pytest.approx(min(max(value, -13.81551), 13.81551), abs=1e-4)


@given(CURVES, SHARES, SHARES)
def test_probability_never_changes_the_order_of_two_scores(curve, one, two):
    low, high = sorted((one, two))
    assert 0 <= curve.probability(low) <= curve.probability(high) <= 1


@given(CURVES, st.lists(SHARES, min_size=1, max_size=8))
def test_apply_never_reorders_two_structures_of_a_task(curve, scores):
    raw = [mention(i, score, type="person") for i, score in enumerate(scores)]
    curve = TaskCalibration(curve.scale, curve.bias, threshold=curve.threshold)
    found = applied({"entities": raw}, ["person"], {"entities": curve})["entities"]
    before = [scores[entity["start"]] for entity in found]
    after = [entity["score"] for entity in found]
    assert sorted(range(len(found)), key=lambda i: (after[i], before[i])) == sorted(
        range(len(found)), key=lambda i: before[i]
    )
    assert min(before, default=1) >= max((s for s in scores if s not in before), default=0)


# ---- what is kept


@pytest.mark.parametrize(
    ("own", "asked", "labels", "kept"),
    [
        (None, None, {}, True),  # 0.75 against the task's 0.7
        (None, None, {"person": 0.76}, False),
        (None, None, {"place": 0.76}, True),  # another label's: an unseen one takes the task's
        (None, 0.76, {"person": 0.1}, False),
        (None, 0.74, {"person": 0.9}, True),
        (0.74, 0.9, {"person": 0.9}, True),
        (0.76, 0.1, {"person": 0.1}, False),
    ],
)
def test_threshold_of_the_schema_stands_above_that_of_the_call_above_the_fitted_ones(
    own, asked, labels, kept
):
    schema = {"entities": [{"type": "person", "threshold": own}] if own else ["person"]}
    curve = TaskCalibration(scale=0.5, threshold=0.7, labels=labels)
    result = {"entities": [mention(0, 0.9, type="person")]}
    found = applied(result, schema, {"entities": curve}, threshold=asked)["entities"]
    assert [round(entity["score"], 6) for entity in found] == [0.75] * kept


def test_apply_leaves_its_input_and_tasks_that_were_not_fitted_as_they_are():
    raw = {"entities": [mention(0, 0.1, type="person")], "spans": [mention(1, 0.9)], "truncated": False}
    before = copy.deepcopy(raw)
    found = applied(raw, {"entities": ["person"], "spans": True}, {"spans": HALF}, threshold=0.5)
    assert raw == before
    assert found["entities"] == raw["entities"]
    assert found["spans"] == [mention(1, pytest.approx(0.75))]
    assert list(found) == ["text", "entities", "spans", "truncated", "calibrated"]


@given(CALIBRATIONS)
def test_result_is_never_calibrated_twice(calibration):
    schema = Schema.from_any({"entities": ["person"], "spans": True})
    raw = {"text": "x", "entities": [mention(0, 0.9, type="person")], "spans": [mention(0, 0.4)]}
    once = calibration.apply(raw, schema)
    assert once["calibrated"] is True
    assert calibration.apply(once, schema) == once
    assert Calibration({"entities": HALF, "spans": HALF}).apply(once, schema, 0.9) == once


def test_flat_entities_give_way_only_to_what_is_left():
    long = {"type": "place", "start": 0, "end": 3, "text": "xxx", "score": 0.9}
    raw = {"entities": [long, mention(1, 0.8, type="person")]}
    schema = {"entities": [{"type": "place", "threshold": 0.95}, "person"]}
    found = applied(raw, schema, {"entities": HALF}, overlap="flat")
    assert [entity["type"] for entity in found["entities"]] == ["person"]
    assert len(applied(raw, ["place", "person"], {"entities": HALF})["entities"]) == 2


def test_a_trigger_has_the_best_event_type_that_is_left():
    trigger = {"start": 0, "end": 3, "text": "xxx"}
    raw = {
        "events": [
            {"type": name, "trigger": trigger | {"score": score}, "arguments": [], "score": score}
            for name, score in (("attack", 0.9), ("meet", 0.8), ("talk", 0.7))
        ]
    }
    schema = {"events": [{"type": "attack", "threshold": 0.95}, "meet", "talk"]}
    found = applied(raw, schema, {"events": HALF}, overlap="one_type")
    assert [event["type"] for event in found["events"]] == ["meet"]
    assert len(applied(raw, schema, {"events": HALF})["events"]) == 2


def test_single_label_class_is_never_left_out_and_a_multi_label_class_is():
    schema = {"classes": {"topic": ["a", "b"], "mood": {"labels": ["x", "y"], "multi_label": True}}}
    raw = {
        "classes": {
            "topic": [{"label": "a", "score": 0.1}],
            "mood": [{"label": "y", "score": 0.9}, {"label": "x", "score": 0.2}],
        }
    }
    curve = TaskCalibration(scale=0.5, threshold=0.6, labels={"topic: a": 0.9, "mood: x": 0.9})
    tasks = {"single_label_classes": curve, "multi_label_classes": curve}
    assert applied(raw, schema, tasks, threshold=0.7)["classes"] == {
        "topic": [{"label": "a", "score": pytest.approx(0.25)}],
        "mood": [{"label": "y", "score": pytest.approx(0.75)}],
    }


def test_answers_stay_best_first():
    raw = {"question": "?", "answers": [mention(2, 0.9), mention(0, 0.8), mention(1, 0.2)]}
    found = applied(raw, {"question": "?"}, {"answers": TaskCalibration(scale=0.5, threshold=0.5)})
    assert [(a["start"], round(a["score"], 3)) for a in found["answers"]] == [(2, 0.75), (0, 0.667)]


def test_event_carries_the_score_of_its_trigger_and_loses_weak_arguments():
    schema = {"events": [{"type": "attack", "roles": ["agent", "place"]}]}

    def event(score):
        arguments = [mention(1, 0.9, role="agent"), mention(2, 0.9, role="place")]
        return {"type": "attack", "trigger": mention(0, score), "arguments": arguments, "score": score}

    tasks = {
        "events": TaskCalibration(scale=0.5, threshold=0.6),
        "arguments": TaskCalibration(bias=-1.0, labels={"attack: place": 0.8}),
    }
    (found,) = applied({"events": [event(0.9), event(0.6)]}, schema, tasks)["events"]
    assert found["score"] == found["trigger"]["score"] == pytest.approx(0.75)
    assert [(a["role"], round(a["score"], 3)) for a in found["arguments"]] == [("agent", 0.768)]


def test_hyper_relation_loses_weak_qualifiers_and_its_own_go_with_it():
    schema = {"hyper_relations": [{"type": "job", "qualifiers": ["since", "until"]}]}

    def fact(score):
        qualifiers = [mention(2, 0.9, type="since"), mention(3, 0.5, type="until")]
        ends = {end: {"type": None, **mention(i, score)} for i, end in enumerate(("head", "tail"))}
        return {"type": "job", **ends, "qualifiers": qualifiers, "score": score}

    tasks = {
        "hyper_relations": TaskCalibration(scale=0.5, threshold=0.7),
        "qualifiers": TaskCalibration(threshold=0.6),
    }
    (found,) = applied({"hyper_relations": [fact(0.9), fact(0.5)]}, schema, tasks)["hyper_relations"]
    assert found["head"] == {"type": None, **mention(0, pytest.approx(0.75))}
    assert [qualifier["type"] for qualifier in found["qualifiers"]] == ["since"]


# ---- relations and the entities at their ends


RELATION = {"type": "works for", "head": ["person"], "tail": ["company", "place"]}
NEWS = {"entities": ["person", "company", "place"], "relations": [RELATION]}


def related(*entities, score=0.9):
    """A relation between places 0 and 1, with ends as raw results have them, and entities."""
    ends = {end: {"type": "any", **mention(i, 0.3)} for i, end in enumerate(("head", "tail"))}
    found = [mention(start, own, type=name) for start, name, own in entities]
    return {"entities": found, "relations": [{"type": "works for", **ends, "score": score}]}


def test_ends_of_a_relation_carry_type_and_score_of_the_best_entity_that_is_left():
    raw = related((0, "person", 0.8), (1, "company", 0.8), (1, "place", 0.9))
    (relation,) = applied(raw, NEWS, {"entities": HALF, "relations": HALF})["relations"]
    assert relation == {
        "type": "works for",
        "head": {"type": "person", **mention(0, pytest.approx(2 / 3))},
        "tail": {"type": "place", **mention(1, pytest.approx(0.75))},
        "score": pytest.approx(0.75),
    }
    curve = TaskCalibration(scale=0.5, labels={"place": 0.8})
    (relation,) = applied(raw, NEWS, {"entities": curve, "relations": HALF})["relations"]
    assert relation["tail"]["type"] == "company"


def test_end_without_an_entity_that_is_left_has_no_type_and_the_score_of_the_relation():
    raw = related((0, "person", 0.2), (1, "company", 0.9))
    entities = TaskCalibration(scale=0.5, threshold=0.5)
    (relation,) = applied(raw, NEWS, {"entities": entities, "relations": HALF})["relations"]
    assert relation["head"] == {"type": None, **mention(0, pytest.approx(0.75))}


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 0), (0.5, 1)])
def test_relation_goes_if_an_entity_of_another_type_is_left_at_its_end(threshold, kept):
    raw = related((0, "place", 0.2), (1, "company", 0.9))
    entities = TaskCalibration(threshold=threshold)
    assert len(applied(raw, NEWS, {"entities": entities, "relations": HALF})["relations"]) == kept


def test_weak_relation_goes():
    tasks = {"relations": TaskCalibration(scale=0.5, threshold=0.7)}
    assert applied(related(score=0.8), NEWS, tasks)["relations"] == []


def test_without_ends_keeps_the_labels_and_lets_any_entity_stand():
    schema = Schema.from_any(NEWS | {"hyper_relations": [{"type": "job", "head": ["person"]}]})
    loose = without_ends(schema)
    assert loose.labels == schema.labels
    assert {relation.head for relation in (*loose.relations, *loose.hyper_relations)} == {None}
    assert {relation.tail for relation in loose.relations} == {None}


# ---- links


def test_links_are_cut_at_the_lower_one_of_what_was_fitted_and_what_is_asked_for():
    schema = Schema.from_any({"entities": ["a", {"type": "b", "threshold": 0.05}], "relations": ["r"]})
    calibration = Calibration({"entities": TaskCalibration(link_threshold=0.2)})
    assert calibration.link_thresholds(schema, None, 0.5) == [0.2, 0.05, 0.5]
    assert calibration.link_thresholds(schema, 0.9, 0.9) == [0.2, 0.05, 0.9]
    assert calibration.link_thresholds(schema, 0.1, 0.1) == [0.1, 0.05, 0.1]


def test_label_that_a_task_without_calibration_shares_is_cut_as_ever():
    schema = Schema.from_any({"entities": ["attack"], "events": [{"type": "attack", "roles": []}]})
    fitted = TaskCalibration(link_threshold=0.2)
    assert len(schema.labels) == 1
    assert Calibration({"entities": fitted}).link_thresholds(schema, None, 0.5) == [0.5]
    assert Calibration({"entities": fitted, "events": fitted}).link_thresholds(schema, None, 0.5) == [0.2]


def test_task_of_names_roles_arguments_and_tells_class_tasks_apart():
    schema = Schema.from_any({"classes": {"a": ["x"], "b": {"labels": ["x"], "multi_label": True}}})
    assert task_of(schema, "classes", "a") == "single_label_classes"
    assert task_of(schema, "classes", "b") == "multi_label_classes"
    assert task_of(schema, "roles", "attack") == "arguments"
    assert task_of(schema, "events") == "events"
