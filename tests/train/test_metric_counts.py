import numpy as np
import pytest

from ldnet.train.metric_counts import PRF, bootstrap_interval


def test_prf_known_counts_give_hand_computed_scores():
    counts = PRF(tp=3, fp=1, fn=2)
    assert counts.support == 5
    assert counts.precision == 75.0
    assert counts.recall == 60.0
    assert counts.f1 == pytest.approx(2 * 75 * 60 / 135)


@pytest.mark.parametrize(
    ("counts", "scores"),
    [
        (PRF(), (None, None, None)),
        (PRF(fp=2), (0.0, None, 0.0)),
        (PRF(fn=2), (None, 0.0, 0.0)),
    ],
)
def test_prf_without_gold_or_prediction_is_undefined_not_zero(counts, scores):
    assert (counts.precision, counts.recall, counts.f1) == scores


def test_prf_of_sets_counts_what_is_in_both_or_in_one():
    assert PRF.of_sets({1, 2, 3}, {3, 4}) == PRF(tp=1, fp=1, fn=2)


def slow_interval(rows, samples, seed):
    generator = np.random.default_rng(seed)
    scores = []
    for _ in range(samples):
        tp, fp, fn = rows[generator.integers(len(rows), size=len(rows))].sum(0)
        scores.append(200 * tp / (2 * tp + fp + fn))
    return np.percentile(scores, (2.5, 97.5))


def test_bootstrap_interval_is_close_to_drawing_texts_one_by_one():
    rows = np.random.default_rng(7).integers(0, 4, size=(20, 3))
    slow = slow_interval(rows, 3000, 1)
    assert slow[1] - slow[0] > 15  # else the tolerance would accept other percentiles
    assert bootstrap_interval(rows, 3000, 0) == pytest.approx(slow, abs=0.6)


def test_bootstrap_interval_same_seed_same_ends_any_order():
    rows = np.random.default_rng(7).integers(0, 4, size=(150, 3))
    assert bootstrap_interval(rows, 100, 3) == bootstrap_interval(rows[::-1], 100, 3)
    assert bootstrap_interval(rows, 100, 3) != bootstrap_interval(rows, 100, 4)


@pytest.mark.parametrize("rows", [np.zeros((0, 3), dtype=int), np.zeros((5, 3), dtype=int)])
def test_bootstrap_interval_undefined_f1_has_no_interval(rows):
    assert bootstrap_interval(rows, 100, 0) is None


def test_bootstrap_interval_draws_without_any_structure_are_left_out():
    rows = np.array([[1, 0, 0], [0, 0, 0]])  # a quarter of the draws holds the empty text only
    assert bootstrap_interval(rows, 200, 0) == [100.0, 100.0]
