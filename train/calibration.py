"""Fitting a calibration: curves by logistic regression, thresholds for F1, both on scored structures."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ldnet.processing.calibration import ALWAYS_KEPT, Calibration, TaskCalibration, logit, task_of
from ldnet.train.calibration_pairs import GROUPS, Extracted, ScoredStructures, structures_of

MIN_STRUCTURES = 20  # of a task that is fitted: with fewer, the raw scores tell more than a fit
MIN_GAIN = 0.01  # of F1, on texts that were not fitted on, for which links are cut elsewhere
INNER_FOLDS = 5  # to estimate it
SEED = 0  # of the folds
RIDGE = 1.0  # pull of the curve to scale 1 and bias 0, as strong as a few structures
MIN_SCALE = 0.02  # scores that say nothing make a nearly flat curve, never a falling one
PRIOR_SUPPORT = 200  # gold structures that the whole task counts as beside those of one label
DECIMALS = 6  # of a stored curve
NEWTON_STEPS = 50
SMALLEST_STEP = 1e-9


def fit_calibration(sets: Sequence[Extracted]) -> Calibration:
    """Fit curves and thresholds of every task that is asked for.

    A key of results is decided as it was, link by link at the default, unless the F1 of its tasks rises by
    more than `MIN_GAIN` with higher links, or with lower ones and fitted thresholds, each part of the texts
    being judged by thresholds of the others.

    Args:
        sets: Texts of one or several data sets, extracted at the same link thresholds; they are fitted
            together.

    Returns:
        The calibration; without the tasks of which nothing was found.
    """
    asked = {
        task_of(of_set.schema, structure, owner)
        for of_set in sets
        for places in of_set.schema.places
        for structure, _, owner in places
    }
    default = sets[0].default
    others = [links for links in sorted(sets[0].raw, reverse=True) if links != default]
    calibration = Calibration()
    for tasks in GROUPS.values():
        group = [task for task in tasks if task in asked]
        chosen, best = _fit_group(group, sets, calibration, default, fit_thresholds=False)
        best += MIN_GAIN
        for links in others:
            fit_thresholds = links < default
            other, score = _fit_group(group, sets, calibration, links, fit_thresholds=fit_thresholds)
            if score > best:
                chosen, best = other, score
        calibration = chosen
    return calibration


def _fit_group(
    tasks: Sequence[str],
    sets: Sequence[Extracted],
    calibration: Calibration,
    links: float,
    *,
    fit_thresholds: bool,
) -> tuple[Calibration, float]:
    """The calibration with the tasks of a key under one link threshold, and their mean score."""
    scores = []
    for task in tasks:
        undecided = calibration.tasks | {task: TaskCalibration(link_threshold=links)}
        found = structures_of(task, sets, replace(calibration, tasks=undecided))
        elsewhere = None
        if len(found):
            decides = fit_thresholds and task != ALWAYS_KEPT
            fitted = fit_task(found, links, fit_thresholds=decides)
            calibration = replace(calibration, tasks=calibration.tasks | {task: fitted})
            elsewhere = _kept_elsewhere(found, links) if decides else None
        if found.gold:  # some text is annotated with it
            scores.append(score_of(found, elsewhere))
    return calibration, float(np.mean(scores)) if scores else 0.0


def fit_task(found: ScoredStructures, links: float, *, fit_thresholds: bool = True) -> TaskCalibration:
    """Fit curve and thresholds of one task.

    Args:
        found: The task's structures, with raw scores.
        links: Their link threshold.
        fit_thresholds: Whether the score decides; else all that the links give is kept.

    Returns:
        The calibration of the task; thresholds of labels are there if they raise its F1. With less than
        `MIN_STRUCTURES` scores stay raw, and everything is kept.
    """
    curve = TaskCalibration(link_threshold=links)
    if len(found) < MIN_STRUCTURES:
        return curve
    scale, bias = fit_curve(found.scores, found.correct)
    curve = replace(curve, scale=scale, bias=bias)
    if not fit_thresholds:
        return curve
    scores = probabilities(curve, found.scores)
    if len(found.silent):
        return replace(curve, threshold=_gain_threshold(found.gains, scores))
    curve = replace(curve, threshold=_threshold(found, scores))
    own = {label: _threshold(found, scores, label) for label in sorted(set(found.labels))}
    by_label = replace(curve, labels=own)
    better = score_of(found, kept_by(by_label, found)) > score_of(found, kept_by(curve, found))
    return by_label if better else curve


def kept_by(curve: TaskCalibration, found: ScoredStructures) -> np.ndarray:
    """Which structures a calibration keeps.

    Args:
        curve: Calibration of their task.
        found: Structures with raw scores.

    Returns:
        Boolean array of shape `(n,)`.
    """
    thresholds = [curve.labels.get(label, curve.threshold) for label in found.labels]
    return probabilities(curve, found.scores) > np.array(thresholds, dtype=float)


def score_of(found: ScoredStructures, kept: np.ndarray | None = None) -> float:
    """F1 of the structures that are kept; of answers the mean F1 of the questions.

    Args:
        found: All structures.
        kept (`np.ndarray` of shape `(n,)`): True where one is kept; `None` = everywhere.

    Returns:
        The score in [0, 1]; 0 without gold.
    """
    kept = np.ones(len(found), dtype=bool) if kept is None else kept
    if len(found.silent):
        return float(found.silent.sum() + found.gains[kept].sum()) / len(found.silent)
    return float(2 * found.correct[kept].sum() / max(kept.sum() + found.support.total(), 1))


def _kept_elsewhere(found: ScoredStructures, links: float) -> np.ndarray:
    """Which structures the thresholds keep that were fitted on other texts: a score without self-praise."""
    fold_of = np.random.default_rng(SEED).permutation(len(found.gold)) % INNER_FOLDS
    kept = np.zeros(len(found), dtype=bool)
    for fold in range(INNER_FOLDS):
        own = fold_of == fold
        kept[own[found.texts]] = kept_by(fit_task(found.part(~own), links), found.part(own))
    return kept


def _cuts(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All cuts: the order from the best, place of the last structure kept, threshold half-way behind it."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    behind = np.append(ranked[last[:-1] + 1], 0.0)
    return order, last, (ranked[last] + behind) / 2


def _threshold(found: ScoredStructures, scores: np.ndarray, label: str | None = None) -> float:
    """The cut of the best F1, of a whole task or of one label.

    Which of a few hundred structures are right is chance to a good part: half of the evidence is what the
    curve says of them. A label is judged by its own structures and, beside them, by those of the whole task,
    which weighs `PRIOR_SUPPORT` gold structures however large it is: a rare label gets nearly the task's
    threshold, a frequent one its own.
    """
    order, last, thresholds = _cuts(scores)
    evidence = (found.correct + scores) / 2
    if label is None:
        weight, gold = np.ones(len(scores)), found.support.total()
    else:
        weight = PRIOR_SUPPORT / max(found.support.total(), 1) + (found.labels == label)
        gold = PRIOR_SUPPORT + found.support[label]
    right, count = (np.cumsum(part[order])[last] for part in (weight * evidence, weight))
    return float(thresholds[np.argmax(2 * right / (count + gold))])


def _gain_threshold(gains: np.ndarray, scores: np.ndarray) -> float:
    """The cut with the best sum of gains; above all scores if every cut loses."""
    order, last, thresholds = _cuts(scores)
    sums = np.cumsum(gains[order])[last]
    best = np.argmax(sums)
    return float(thresholds[best]) if sums[best] > 0 else float((1.0 + scores.max()) / 2)


def probabilities(curve: TaskCalibration, scores: np.ndarray) -> np.ndarray:
    """Calibrated scores of raw ones, exactly as in extraction.

    Args:
        curve: Calibration of their task.
        scores (`np.ndarray` of shape `(n,)`): Raw scores.

    Returns:
        Array of the same shape.
    """
    return np.array([curve.probability(score) for score in scores], dtype=float)


def fit_curve(scores: np.ndarray, correct: np.ndarray) -> tuple[float, float]:
    """Scale and bias of the log-odds, by regularised logistic regression (Platt 1999).

    Without a bias, long loops stay over-confident: their score is a mean over links, but all links have to be
    right.

    Args:
        scores (`np.ndarray` of shape `(n,)`): Raw scores in [0, 1].
        correct (`np.ndarray` of shape `(n,)`): 1.0 or 0.0.

    Returns:
        Scale, at least `MIN_SCALE`, and bias.
    """
    odds = np.array([logit(score) for score in scores], dtype=float)
    features = np.stack([odds, np.ones_like(odds)], axis=1)  # (n, 2)
    weights = _newton(features, correct, np.zeros(len(odds)), np.array([1.0, 0.0]))
    if weights[0] < MIN_SCALE:
        bias = _newton(features[:, 1:], correct, MIN_SCALE * odds, np.zeros(1))
        weights = np.array([MIN_SCALE, bias[0]])
    return round(float(weights[0]), DECIMALS), round(float(weights[1]), DECIMALS)


def _newton(features: np.ndarray, correct: np.ndarray, offset: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Minimise the negative log-likelihood plus a ridge around `start`; every step goes down."""

    def loss(weights: np.ndarray) -> float:
        odds = features @ weights + offset
        return np.sum(np.logaddexp(0.0, odds) - correct * odds) + RIDGE / 2 * np.sum((weights - start) ** 2)

    weights = start
    for _ in range(NEWTON_STEPS):
        odds = features @ weights + offset
        probs = np.exp(-np.logaddexp(0.0, -odds))
        gradient = features.T @ (probs - correct) + RIDGE * (weights - start)
        hessian = (features * (probs * (1 - probs))[:, None]).T @ features + RIDGE * np.eye(len(start))
        step = np.linalg.solve(hessian, gradient)
        while np.abs(step).max() > SMALLEST_STEP and loss(weights - step) > loss(weights):
            step = step / 2
        if np.abs(step).max() <= SMALLEST_STEP:
            break
        weights = weights - step
    return weights
