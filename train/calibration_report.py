"""How well scores mean what they say, before and after a calibration that saw other texts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ldnet.processing.calibration import EXTREME, Calibration
from ldnet.train.calibration import fit_calibration, probabilities
from ldnet.train.calibration_pairs import Extracted, structures_of
from ldnet.train.metrics import ExtractionMetrics

MAX_BINS = 10
MIN_IN_BIN = 50  # fewer have a share of right ones that is mostly chance
SEED = 0  # of the folds


def reliability(scores: np.ndarray, correct: np.ndarray) -> list[dict[str, float | int]]:
    """The reliability curve, in bins of equal mass.

    Args:
        scores (`np.ndarray` of shape `(n,)`): Scores in [0, 1].
        correct (`np.ndarray` of shape `(n,)`): 1.0 where a structure is right, else 0.0.

    Returns:
        For each bin, in order of the scores, its `count`, mean score (`confidence`) and share of right
        structures (`accuracy`): `MAX_BINS` bins, fewer where that leaves less than `MIN_IN_BIN` in one; none
        without structures.
    """
    if not len(scores):
        return []
    bins = min(MAX_BINS, max(1, len(scores) // MIN_IN_BIN))
    order = np.argsort(scores, kind="stable")
    return [
        {
            "count": len(part),
            "confidence": float(scores[part].mean()),
            "accuracy": float(correct[part].mean()),
        }
        for part in np.array_split(order, bins)
    ]


def expected_calibration_error(bins: Sequence[dict[str, Any]]) -> float | None:
    """Mean distance of confidence and accuracy over the structures, in bins of equal mass.

    After Naeini et al. 2015, https://doi.org/10.1609/aaai.v29i1.9602, whose bins have equal width.

    Args:
        bins: What `reliability` gives.

    Returns:
        The error in [0, 1]; `None` without structures.
    """
    count = sum(part["count"] for part in bins)
    if not count:
        return None
    return sum(part["count"] * abs(part["confidence"] - part["accuracy"]) for part in bins) / count


def log_loss(scores: np.ndarray, correct: np.ndarray) -> float | None:
    """Mean negative log-likelihood; scores of 0 and 1 count as `EXTREME` away from them."""
    if not len(scores):
        return None
    scores = np.clip(scores, EXTREME, 1 - EXTREME)
    return float(-np.mean(np.where(correct > 0, np.log(scores), np.log1p(-scores))))


def _split(sets: Sequence[Extracted], folds: int) -> Iterator[tuple[list[Extracted], list[Extracted]]]:
    """Texts to fit on and texts to judge by; every text is judged once."""
    random = np.random.default_rng(SEED)
    fold_of = [random.permutation(len(of_set.records)) % folds for of_set in sets]
    for fold in range(folds):
        yield tuple(
            [of_set.part(np.flatnonzero(mask)) for of_set, mask in zip(sets, masks, strict=True)]
            for masks in ([own != fold for own in fold_of], [own == fold for own in fold_of])
        )


def cross_fit(sets: Sequence[Extracted], folds: int = 2) -> dict[str, Any]:
    """Judge calibrations by texts that they were not fitted on.

    Args:
        sets: Texts of one or several data sets.
        folds: Parts of the texts; each is judged by the calibration that was fitted on the others.

    Returns:
        `{"tasks": {task: {"structures", "ece", "log_loss", "reliability"}}, "f1": {data set: {score: ...}}}`;
        at the end of each stands `{"before": ..., "after": ...}`. Calibration is judged by all structures
        that the links give, before the score decides; F1 (0-100) by the results: before, as the checkpoint
        gives them without a calibration.

    Raises:
        ValueError: If there are fewer texts than folds.
    """
    least = min(len(of_set.records) for of_set in sets)
    if not 2 <= folds <= least:
        raise ValueError(
            f"folds: {folds} of {least} texts are not possible; use 2 or more, at most one a text"
        )
    found: dict[str, list[tuple[np.ndarray, ...]]] = {}
    metrics = [{side: ExtractionMetrics(of_set.schema) for side in ("before", "after")} for of_set in sets]
    for fitted_on, judged in _split(sets, folds):
        calibration = fit_calibration(fitted_on)
        for task, curve in calibration.tasks.items():
            own = structures_of(task, judged, calibration)
            found.setdefault(task, []).append((own.scores, probabilities(curve, own.scores), own.correct))
        for of_set, scores in zip(judged, metrics, strict=True):
            for side, used in (("before", Calibration()), ("after", calibration)):
                for record, result in zip(of_set.records, of_set.results(used), strict=True):
                    scores[side].add(record, result)
    columns = {task: map(np.concatenate, zip(*parts, strict=True)) for task, parts in found.items()}
    return {
        "tasks": {task: _task_report(*of_task) for task, of_task in columns.items()},
        "f1": {of_set.name: _f1_report(own) for of_set, own in zip(sets, metrics, strict=True)},
    }


def _task_report(before: np.ndarray, after: np.ndarray, correct: np.ndarray) -> dict[str, Any]:
    sides = {"before": before, "after": after}
    curves = {side: reliability(scores, correct) for side, scores in sides.items()}
    return {
        "structures": len(correct),
        "ece": {side: expected_calibration_error(bins) for side, bins in curves.items()},
        "log_loss": {side: log_loss(scores, correct) for side, scores in sides.items()},
        "reliability": curves,
    }


def _f1_report(metrics: dict[str, ExtractionMetrics]) -> dict[str, Any]:
    reports = {side: own.to_dict(bootstrap=0)["tasks"] for side, own in metrics.items()}
    return {
        score: {side: report[score]["f1"] if score in report else None for side, report in reports.items()}
        for score in dict.fromkeys([*reports["before"], *reports["after"]])
    }


def reliability_figure(tasks: dict[str, Any]) -> Any:
    """Reliability curves, one panel a task.

    Args:
        tasks: `tasks` of what `cross_fit` gives.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot: matplotlib is not installed; run pip install matplotlib") from None
    figure = Figure(figsize=(4 * max(len(tasks), 1), 4), layout="constrained")
    panels = figure.subplots(1, max(len(tasks), 1), squeeze=False)[0]
    for panel, (task, report) in zip(panels, tasks.items(), strict=False):
        panel.plot([0, 1], [0, 1], color="0.8")
        for side, bins in report["reliability"].items():
            points = [(part["confidence"], part["accuracy"]) for part in bins]
            label = f"{side}: error {report['ece'][side]:.3f}"
            panel.plot([x for x, _ in points], [y for _, y in points], marker="o", label=label)
        panel.set(
            title=f"{task} ({report['structures']:,})", xlabel="mean score", ylabel="share that is right"
        )
        panel.set(xlim=(0, 1), ylim=(0, 1))
        panel.legend()
    return figure
