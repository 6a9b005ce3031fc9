import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldnet.processing.schema import Schema
from ldnet.train.calibration_pairs import Extracted
from ldnet.train.calibration_report import (
    MAX_BINS,
    MIN_IN_BIN,
    cross_fit,
    expected_calibration_error,
    log_loss,
    reliability,
    reliability_figure,
)


def test_reliability_puts_equally_many_structures_in_each_bin_by_score():
    scores = np.array([0.9] * 50 + [0.1] * 50)
    correct = np.array([1.0] * 40 + [0.0] * 60)
    assert reliability(scores, correct) == [
        {"count": 50, "confidence": pytest.approx(0.1), "accuracy": 0.0},
        {"count": 50, "confidence": pytest.approx(0.9), "accuracy": 0.8},
    ]


def test_expected_calibration_error_is_the_mean_distance_over_structures():
    bins = [
        {"count": 30, "confidence": 0.2, "accuracy": 0.1},
        {"count": 10, "confidence": 0.9, "accuracy": 0.5},
    ]
    assert expected_calibration_error(bins) == pytest.approx((30 * 0.1 + 10 * 0.4) / 40)
    assert expected_calibration_error([]) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=300))
def test_bins_hold_every_structure_once_and_the_error_is_a_share(pairs):
    scores = np.array([score for score, _ in pairs])
    correct = np.array([float(right) for _, right in pairs])
    bins = reliability(scores, correct)
    assert sum(part["count"] for part in bins) == len(pairs)
    assert len(bins) <= MAX_BINS
    assert all(part["count"] >= MIN_IN_BIN for part in bins) or len(bins) == 1
    error = expected_calibration_error(bins)
    assert (error is None) if not pairs else (-1e-9 <= error <= 1 + 1e-9)


def test_log_loss_is_finite_also_for_certain_scores():
    assert log_loss(np.array([0.5, 0.25]), np.array([1.0, 0.0])) == pytest.approx(
        -(math.log(0.5) + math.log(0.75)) / 2
    )
    assert log_loss(np.array([0.0]), np.array([1.0])) == pytest.approx(-math.log(1e-6))
    assert log_loss(np.zeros(0), np.zeros(0)) is None


def entity(start, score=None):
    return {"type": "person", "start": start, "end": start + 1} | ({} if score is None else {"score": score})


@pytest.fixture
def overconfident():
    """Sixty texts with an entity that scores 0.99, of which every second one is right."""
    records = [{"text": "xx", "entities": [entity(0)] if i % 2 else []} for i in range(60)]
    raw = [{"text": "xx", "entities": [entity(0, 0.99)]} for _ in range(60)]
    return Extracted("dev", Schema.from_any(["person"]), records, {0.3: raw, 0.1: raw}, 0.3)


def test_cross_fit_judges_every_text_once_by_a_fit_on_the_others(overconfident):
    report = cross_fit([overconfident])
    own = report["tasks"]["entities"]
    assert own["structures"] == 60
    assert own["ece"]["before"] == pytest.approx(0.49)
    assert own["ece"]["after"] < 0.1
    assert own["log_loss"]["after"] < 0.72 < own["log_loss"]["before"]
    assert [len(own["reliability"][side]) for side in ("before", "after")] == [1, 1]
    f1 = pytest.approx(200 * 30 / 90)
    assert report["f1"] == {"dev": {"entities": {"before": f1, "after": f1}}}


def test_cross_fit_judges_no_text_by_itself(overconfident, monkeypatch):
    """A wrong and a right one: fitted on themselves they would score better, fitted on the other worse."""
    monkeypatch.setattr("ldnet.train.calibration.MIN_STRUCTURES", 1)
    loss = cross_fit([overconfident.part([0, 1])])["tasks"]["entities"]["log_loss"]
    assert loss["after"] > loss["before"]


@pytest.mark.parametrize("folds", [1, 61])
def test_cross_fit_refuses_folds_that_cannot_be(overconfident, folds):
    with pytest.raises(ValueError, match=f"folds: {folds} of 60 texts"):
        cross_fit([overconfident], folds)


def test_figure_has_a_panel_for_each_task_with_both_curves(overconfident):
    figure = reliability_figure(cross_fit([overconfident])["tasks"])
    (panel,) = figure.axes
    assert panel.get_title() == "entities (60)"
    assert len(panel.lines) == 3  # the diagonal, before, after
