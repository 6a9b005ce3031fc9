"""What a long training shows of itself: tokens a second in its log, and its curves as a picture."""

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

CURVE_FILE = "training_curve.png"


class TokensPerSecond(TrainerCallback):
    """Adds `tokens_per_second` to every line of the training log; needs `include_num_input_tokens_seen`."""

    def __init__(self) -> None:
        self._since: tuple[float, int] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start counting, in a resumed run from what the first one has seen."""
        self._since = time.perf_counter(), int(state.num_input_tokens_seen)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Count since the line before; scoring in between counts as time."""
        if self._since is None or logs is None or "loss" not in logs:
            return
        now, seen = time.perf_counter(), int(state.num_input_tokens_seen)
        started, before = self._since
        logs["tokens_per_second"] = round((seen - before) / max(now - started, 1e-9), 1)
        state.log_history[-1]["tokens_per_second"] = logs["tokens_per_second"]
        self._since = now, seen


class TrainingCurve(TrainerCallback):
    """Writes loss and scores over the steps to `training_curve.png` whenever a checkpoint is written."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the picture."""
        if state.is_world_process_zero:
            write_curve(state.log_history, Path(args.output_dir) / CURVE_FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write it once more, with the last lines."""
        self.on_save(args, state, control)


def curves(log_history: list[dict[str, float]]) -> dict[str, tuple[list[float], list[float]]]:
    """Series of a training log.

    Args:
        log_history: Lines of `TrainerState.log_history`.

    Returns:
        Name -> steps and values, of the loss and of the F1 of every task.
    """
    found: dict[str, tuple[list[float], list[float]]] = {}
    for line in log_history:
        for name, value in line.items():
            if name == "loss" or (name.startswith("eval_") and name.endswith("_f1")):
                steps, values = found.setdefault(name.removeprefix("eval_"), ([], []))
                steps.append(line["step"])
                values.append(value)
    return found


def write_curve(log_history: list[dict[str, float]], path: Path) -> None:
    """Plot a training log.

    Args:
        log_history: Lines of `TrainerState.log_history`.
        path: PNG file to write.

    Raises:
        ValueError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("training curve: matplotlib is not installed; run pip install matplotlib") from None

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (steps, values) in curves(log_history).items():
        (left if name == "loss" else right).plot(steps, values, marker=".", label=name)
    left.set(xlabel="step", ylabel="training loss")
    right.set(xlabel="step", ylabel="dev F1", ylim=(0, 100))
    if right.lines:
        right.legend(fontsize="small")
    figure.savefig(path, dpi=120)
