import sys
from types import SimpleNamespace

import pytest
from transformers import TrainerControl, TrainerState

from ldnet.train import progress
from ldnet.train.progress import TokensPerSecond, TrainingCurve, curves, write_curve

HISTORY = [
    {"loss": 3.0, "step": 10},
    {"loss": 2.0, "step": 20},
    {"eval_entities_f1": 40.0, "eval_f1": 30.0, "eval_runtime": 1.0, "step": 20},
]


def test_curves_are_the_loss_and_the_f1_of_every_task():
    assert curves(HISTORY) == {
        "loss": ([10, 20], [3.0, 2.0]),
        "entities_f1": ([20], [40.0]),
        "f1": ([20], [30.0]),
    }


def test_tokens_per_second_count_since_the_line_before(monkeypatch):
    now = iter([100.0, 102.0, 107.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(now))
    state, callback = TrainerState(num_input_tokens_seen=50), TokensPerSecond()
    callback.on_train_begin(None, state, TrainerControl())
    found = []
    for seen, logs in ((150, {"loss": 1.0}), (150, {"eval_loss": 1.0}), (650, {"loss": 1.0})):
        state.num_input_tokens_seen = seen
        state.log_history.append({})
        callback.on_log(None, state, TrainerControl(), logs)
        found.append(logs.get("tokens_per_second"))
    assert found == [50.0, None, 100.0]
    assert state.log_history == [{"tokens_per_second": 50.0}, {}, {"tokens_per_second": 100.0}]


def test_curve_is_a_picture_written_by_one_process(tmp_path):
    args = SimpleNamespace(output_dir=str(tmp_path))
    state = TrainerState(log_history=HISTORY, is_world_process_zero=False)
    TrainingCurve().on_save(args, state, TrainerControl())
    assert list(tmp_path.iterdir()) == []
    state.is_world_process_zero = True
    TrainingCurve().on_train_end(args, state, TrainerControl())
    assert (tmp_path / "training_curve.png").read_bytes().startswith(b"\x89PNG")


def test_curve_without_matplotlib_names_the_installation(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match="pip install matplotlib"):
        write_curve(HISTORY, tmp_path / "x.png")
