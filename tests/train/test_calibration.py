from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldnet.processing.calibration import TaskCalibration
from ldnet.processing.schema import Schema
from ldnet.train.calibration import (
    MIN_SCALE,
    MIN_STRUCTURES,
    fit_calibration,
    fit_curve,
    fit_task,
    kept_by,
    probabilities,
    score_of,
)
from ldnet.train.calibration_pairs import Extracted, ScoredStructures
from ldnet.train.calibration_report import expected_calibration_error, reliability

DEFAULT, LOW, HIGH = 0.5, 0.1, 0.7


def structures(scores, correct, labels=None, missed=None):
    """Structures of as many texts, one each; `missed` are gold ones that nobody found."""
    scores, correct = np.array(scores, dtype=float), np.array(correct, dtype=float)
    labels = np.array(labels or ["a"] * len(scores), dtype=object)
    gold = [Counter({label: 1} if right else {}) for label, right in zip(labels, correct, strict=True)]
    gold.append(Counter(missed or {}))
    none = np.zeros(len(scores))
    return ScoredStructures(scores, correct, labels, np.arange(len(scores)), gold, none, np.zeros(0))


def drawn(size, scale, bias, seed=0):
    """Raw scores, and right ones by a distortion of them that is known."""
    random = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-random.normal(2, 3, size)))
    right = probabilities(TaskCalibration(scale, bias), scores)
    return scores, (random.random(size) < right).astype(float)


# ---- curves


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (0.4, -0.8), (0.3, 0.0), (2.0, 1.0)])
def test_fit_curve_recovers_a_known_distortion(scale, bias):
    fitted = fit_curve(*drawn(6000, scale, bias))
    assert fitted == pytest.approx((scale, bias), abs=0.12)


def test_fitted_curve_shrinks_the_calibration_error_on_other_structures():
    curve = TaskCalibration(*fit_curve(*drawn(2000, 0.4, -0.8)))
    scores, right = drawn(2000, 0.4, -0.8, seed=1)
    before = expected_calibration_error(reliability(scores, right))
    after = expected_calibration_error(reliability(probabilities(curve, scores), right))
    assert before > 0.15
    assert after < 0.03


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30))
def test_fit_curve_is_finite_and_rises_whatever_there_is(pairs):
    scores, right = (
        (np.array(column, dtype=float) for column in zip(*pairs, strict=True)) if pairs else [[]] * 2
    )
    scale, bias = fit_curve(np.array(scores), np.array(right))
    assert scale >= MIN_SCALE
    assert np.isfinite(scale)
    assert np.isfinite(bias)


def test_scores_that_point_the_wrong_way_give_a_flat_curve_at_the_share_of_right_ones():
    scores = np.array([0.9] * 100 + [0.1] * 100)
    right = np.array([0.0] * 80 + [1.0] * 20 + [1.0] * 80 + [0.0] * 20)
    curve = TaskCalibration(*fit_curve(scores, right))
    assert curve.scale == MIN_SCALE
    assert probabilities(curve, scores) == pytest.approx(0.5, abs=0.03)


def test_fit_of_the_same_is_the_same():
    found = structures(*drawn(300, 0.4, -0.8))
    assert fit_task(found, LOW) == fit_task(found, LOW)


# ---- thresholds


@pytest.mark.parametrize("seed", range(8))
def test_fitted_thresholds_do_not_score_below_a_half_on_what_they_were_fitted_on(seed):
    scores, right = drawn(400, 0.5, -0.5, seed)
    labels = np.random.default_rng(seed).choice(["a", "b", "c"], 400, p=[0.7, 0.25, 0.05]).tolist()
    found = structures(scores, right, labels, missed={"a": 20, "b": 5})
    fitted = fit_task(found, LOW)
    at_half = probabilities(fitted, scores) > 0.5
    assert score_of(found, kept_by(fitted, found)) >= score_of(found, at_half) - 0.005
    assert score_of(found, kept_by(fitted, found)) >= score_of(
        found, kept_by(replace(fitted, labels={}), found)
    )


def test_label_with_other_scores_than_the_rest_gets_a_threshold_of_its_own():
    """Half of the structures of `strict` above 0.8 are wrong, all those of `easy` above 0.3 right."""
    random = np.random.default_rng(0)
    scores = random.random(4000)
    strict = np.arange(4000) % 2 == 0
    right = np.where(
        strict, random.random(4000) < (scores > 0.8) * 0.9, random.random(4000) < 0.9 * (scores > 0.2)
    )
    fitted = fit_task(structures(scores, right, np.where(strict, "strict", "easy").tolist()), LOW)
    assert fitted.labels["strict"] > fitted.threshold + 0.05
    assert fitted.labels["easy"] < fitted.threshold - 0.05


def test_rare_labels_get_the_threshold_of_the_task_however_odd_their_few_structures_are():
    """Fitted on themselves, the three of each rare label would be cut at 0.97 and at 0."""
    scores, right = drawn(1000, 0.5, -0.5)
    common = (np.arange(1000) % 2).astype(str).tolist()
    task = fit_task(structures(scores, right, common), LOW).threshold
    odd = [0.99, 0.95, 0.9] + [0.02, 0.03, 0.04]
    found = structures([*scores, *odd], [*right, 1, 0, 0, 1, 1, 1], common + ["high"] * 3 + ["low"] * 3)
    fitted = fit_task(found, LOW)
    for label in ("high", "low"):
        assert fitted.labels.get(label, fitted.threshold) == pytest.approx(task, abs=0.05)
    assert fitted.labels.get("never seen", fitted.threshold) == fitted.threshold


def test_too_few_structures_keep_their_raw_scores_and_all_that_links_give():
    scores, right = drawn(MIN_STRUCTURES - 1, 0.5, -0.5)
    assert fit_task(structures(scores, right), LOW) == TaskCalibration(link_threshold=LOW)


def test_answers_are_cut_where_the_questions_score_best():
    """Twenty questions with an answer, found with 0.9; twenty without, of which 0.6 is said all the same."""
    found = structures([0.9] * 20 + [0.6] * 20, [1] * 20 + [0] * 20)
    gains = np.array([1.0] * 20 + [-1.0] * 20)
    found = replace(found, gains=gains, silent=np.array([0.0] * 20 + [1.0] * 20), gold=found.gold[:40])
    fitted = fit_task(found, LOW)
    assert kept_by(fitted, found).tolist() == [True] * 20 + [False] * 20
    assert (score_of(found), score_of(found, kept_by(fitted, found))) == (0.5, 1.0)
    nothing = fit_task(replace(found, gains=-np.ones(40)), LOW)
    assert not kept_by(nothing, found).any()


def test_score_of_is_micro_f1():
    found = structures([0.9, 0.8, 0.7], [1, 0, 1], missed={"a": 1})
    assert score_of(found) == pytest.approx(2 * 2 / (3 + 3))
    assert score_of(found, np.array([True, False, False])) == pytest.approx(2 * 1 / (1 + 3))
    assert score_of(structures([], [])) == 0.0


# ---- whole results


def entity(start, score, kind="person"):
    return {"type": kind, "start": start, "end": start + 1, "text": "x", "score": score}


def extracted(texts, schema=None):
    """Of each text: gold starts, scores at starts that links give at `DEFAULT`, and those that `LOW` adds."""
    records, default, low = [], [], []
    for gold, high, more in texts:
        records.append({"text": "x" * 9, "entities": [entity(start, 1.0) for start in gold]})
        for results, found in ((default, high), (low, high | more)):
            results.append({"text": "x" * 9, "entities": [entity(*item) for item in sorted(found.items())]})
    raw = {DEFAULT: default, LOW: low}
    return Extracted("set", Schema.from_any(schema or ["person"]), records, raw, DEFAULT)


def test_links_are_cut_lower_where_that_pays():
    """Half of the right entities have a weak link, and score well all the same; wrong ones score badly."""
    sets = [extracted([([0, 1], {0: 0.9}, {1: 0.8, 2: 0.2})] * 60)]
    fitted = fit_calibration(sets).tasks["entities"]
    assert fitted.link_threshold == LOW
    assert fitted.probability(0.2) < fitted.threshold < fitted.probability(0.8)


def test_links_stay_where_lower_ones_bring_nothing():
    sets = [extracted([([0], {0: 0.9, 3: 0.9}, {1: 0.8, 2: 0.8})] * 60)]
    fitted = fit_calibration(sets).tasks["entities"]
    assert (fitted.link_threshold, fitted.threshold, fitted.labels) == (DEFAULT, 0.0, {})
    assert fitted.probability(0.9) == pytest.approx(0.5, abs=0.02)  # every second one is right
    scores = [
        [item["score"] for item in found["entities"]] for found in sets[0].results(fit_calibration(sets))
    ]
    assert scores == [[fitted.probability(0.9)] * 2] * 60


def with_high(of_set, starts):
    """The set with what is left of its entities at `HIGH`: those at `starts`."""
    high = [
        found | {"entities": [item for item in found["entities"] if item["start"] in starts]}
        for found in of_set.raw[DEFAULT]
    ]
    return replace(of_set, raw=of_set.raw | {HIGH: high})


def test_links_are_cut_higher_where_that_pays():
    """The wrong ones have a weak link and score as well as the right ones: no score tells them apart."""
    sets = [with_high(extracted([([0], {0: 0.9, 3: 0.9}, {})] * 60), {0})]
    fitted = fit_calibration(sets).tasks["entities"]
    assert (fitted.link_threshold, fitted.threshold, fitted.labels) == (HIGH, 0.0, {})
    assert fitted.probability(0.9) > 0.95  # of what is left nothing is wrong
    found = [
        [item["start"] for item in found["entities"]] for found in sets[0].results(fit_calibration(sets))
    ]
    assert found == [[0]] * 60


def test_links_stay_where_higher_ones_lose_as_many_right_ones_as_wrong_ones():
    sets = [with_high(extracted([([0, 1], {0: 0.9, 1: 0.9, 2: 0.9, 3: 0.9}, {})] * 60), {0, 2})]
    assert fit_calibration(sets).tasks["entities"].link_threshold == DEFAULT


def test_lower_links_are_judged_by_thresholds_of_other_texts(monkeypatch):
    sizes = []

    def watched(found, links, **options):
        sizes.append((links, len(found)))
        return fit_task(found, links, **options)

    monkeypatch.setattr("ldnet.train.calibration.fit_task", watched)
    fit_calibration([extracted([([0], {0: 0.9}, {1: 0.3})] * 50)])
    assert sizes == [(DEFAULT, 50), (LOW, 100)] + [(LOW, 80)] * 5


def test_several_sets_are_fitted_together():
    one = extracted([([0], {0: 0.9}, {})] * 30)
    two = extracted([([], {0: 0.9}, {})] * 30, schema=["person", "place"])
    together = fit_calibration([one, two]).tasks["entities"]
    assert together.probability(0.9) == pytest.approx(0.5, abs=0.02)
    assert fit_calibration([one]).tasks["entities"].probability(0.9) > 0.95


def test_task_that_is_not_annotated_or_not_found_is_left_out():
    empty = extracted([([0], {}, {})] * 30)
    assert fit_calibration([empty]).tasks == {}
    unknown = extracted([([0], {0: 0.9}, {})] * 30)
    for record in unknown.records:
        del record["entities"]
    assert fit_calibration([unknown]).tasks == {}
