"""Classes of a text: accuracy, F1 and Matthews correlation of each class task, from additive counts."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from ldnet.processing.schema import ClassTask
from ldnet.train.metric_counts import PRF, bootstrap_interval, percent


def class_name(item: str | dict[str, Any]) -> str:
    """The class that a record names (a string) or a result scores (`{"label", "score"}`)."""
    return item["label"] if isinstance(item, dict) else item


def _score(item: str | dict[str, Any]) -> float:
    return (item.get("score") or 0.0) if isinstance(item, dict) else 0.0


def chosen_classes(items: Iterable[str | dict[str, Any]], task: ClassTask) -> set[str]:
    """The classes that a result gives a text.

    Args:
        items: Names, or `{"label", "score"}`.
        task: The class task; of a single-label task the best-scored class counts, the first of equal ones.

    Returns:
        Their names.
    """
    items = list(items)
    if not task.multi_label and items:
        items = [max(items, key=_score)]
    return {class_name(item) for item in items}


def matthews(confusion: Counter[tuple[Any, Any]]) -> float | None:
    """Matthews correlation of two or more classes, -100 to 100.

    Gorodkin 2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006, as in scikit-learn but for its 0 where
    the value is undefined.

    Args:
        confusion: How often a gold class (first) got a predicted class (second).

    Returns:
        The correlation; `None` if gold or the predictions are all of one class.
    """
    gold, predicted = Counter(), Counter()
    for (right, found), times in confusion.items():
        gold[right] += times
        predicted[found] += times
    whole = confusion.total()
    agreed = sum(times for (right, found), times in confusion.items() if right == found)
    covariance = agreed * whole - sum(times * predicted[label] for label, times in gold.items())
    spread = [whole**2 - sum(times**2 for times in side.values()) for side in (gold, predicted)]
    return 100.0 * covariance / math.sqrt(spread[0] * spread[1]) if all(spread) else None


class ClassScores:
    """Adds up the texts of one class task.

    Args:
        multi_label: Whether any number of classes may hold; there is no Matthews correlation then.
    """

    def __init__(self, multi_label: bool):
        self.multi_label = multi_label
        self.right = 0
        self.labels: dict[str, PRF] = {}
        self.confusion: Counter[tuple[str | None, str | None]] = Counter()
        self.rows: list[tuple[int, int, int]] = []

    def add(self, gold: set[str], predicted: set[str]) -> None:
        """Count a text.

        Args:
            gold: The classes that hold.
            predicted: The classes that were found; in a single-label task one or none.
        """
        self.right += gold == predicted
        self.rows.append(PRF.of_sets(gold, predicted).row)
        for label in gold | predicted:
            own = PRF.of_sets(gold & {label}, predicted & {label})
            self.labels[label] = self.labels.get(label, PRF()) + own
        if not self.multi_label:
            self.confusion[min(gold, default=None), min(predicted, default=None)] += 1

    def merge(self, other: "ClassScores") -> None:
        """Add the texts of another shard."""
        self.right += other.right
        self.rows.extend(other.rows)
        self.confusion.update(other.confusion)
        for label, counts in other.labels.items():
            self.labels[label] = self.labels.get(label, PRF()) + counts

    def to_dict(self, bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
        """Scores of the class task.

        Args:
            bootstrap: Draws for the interval; 0 = no interval.
            seed: Of the draws.

        Returns:
            `accuracy` (all classes of a text right), micro `precision`, `recall`, `f1` with the counts and
            the `interval` of F1, `macro_f1`, `matthews` and `texts`: scores 0-100, `None` where undefined.
        """
        rows = np.array(self.rows, dtype=np.int64).reshape(-1, 3)
        return sum(self.labels.values(), PRF()).to_dict() | {
            "interval": bootstrap_interval(rows, bootstrap, seed),
            "macro_f1": macro_f1(self.labels.values()),
            "accuracy": percent(self.right, len(self.rows)),
            "matthews": None if self.multi_label else matthews(self.confusion),
            "texts": len(self.rows),
        }


def macro_f1(labels: Iterable[PRF]) -> float | None:
    """Mean F1 over the labels that have gold or predictions (as in scikit-learn), 0-100.

    Args:
        labels: The counts of each label.

    Returns:
        The mean; `None` without such a label.
    """
    scores = [counts.f1 for counts in labels if counts.f1 is not None]
    return float(np.mean(scores)) if scores else None
