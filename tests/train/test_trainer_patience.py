from types import SimpleNamespace

import pytest

from ldnet.train.trainer import Patience


@pytest.mark.parametrize(
    ("scores", "stop"),
    [
        ([0, 0, 0, 0, 0, 0], None),  # nothing found yet
        ([0, 0, 0, 5, 4, 6, 5, 5], 7),
        ([3, 0, 0], 2),  # lost again: that counts
        ([0, 0, 2, 0, 0], 4),
    ],
)
def test_patience_counts_from_the_first_success(scores, stop):
    callback, best, stopped = Patience(2), None, None
    args = SimpleNamespace(greater_is_better=True, metric_for_best_model="f1")
    for i, score in enumerate(scores):
        control = SimpleNamespace(should_training_stop=False)
        callback.on_evaluate(args, SimpleNamespace(best_metric=best), control, {"eval_f1": float(score)})
        if control.should_training_stop:
            stopped = i
            break
        best = max(best or 0.0, float(score))  # as the trainer does after the callbacks
    assert stopped == stop


def test_patience_is_saved_with_the_training():
    callback = Patience(3)
    callback.early_stopping_patience_counter = 2
    copy = Patience.from_state(callback.state())
    assert (copy.early_stopping_patience, copy.early_stopping_patience_counter) == (3, 2)
