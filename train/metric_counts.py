"""Counts that add up, over texts as over shards, and the interval of a score that is made of them."""

from dataclasses import dataclass

import numpy as np

CONFIDENCE = (2.5, 97.5)  # percentiles of the 95 % interval


def percent(part: int, whole: int) -> float | None:
    """A share as 0-100; `None` where there is nothing to share."""
    return 100.0 * part / whole if whole else None


@dataclass(frozen=True)
class PRF:
    """Counts of one label or task; they add up, over texts as well as over shards.

    Args:
        tp: Structures found that are gold.
        fp: Structures found that are not.
        fn: Gold structures that were not found.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "PRF") -> "PRF":
        return PRF(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @classmethod
    def of_sets(cls, gold: set, predicted: set) -> "PRF":
        """Counts of two sets of structures."""
        tp = len(gold & predicted)
        return cls(tp, len(predicted) - tp, len(gold) - tp)

    @property
    def row(self) -> tuple[int, int, int]:
        """The counts as numbers: what a trainer gathers and a bootstrap draws."""
        return self.tp, self.fp, self.fn

    @property
    def support(self) -> int:
        """Gold structures."""
        return self.tp + self.fn

    @property
    def precision(self) -> float | None:
        """Share of what was found that is gold, 0-100; `None` if nothing was found."""
        return percent(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Share of gold that was found, 0-100; `None` if there is no gold."""
        return percent(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, 0-100; `None` if there is no gold and nothing found."""
        return percent(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def scores(self) -> dict[str, float | None]:
        """The scores under their names, 0-100."""
        return {"precision": self.precision, "recall": self.recall, "f1": self.f1}

    def to_dict(self) -> dict[str, float | int | None]:
        """Scores and counts under their names."""
        return {**self.scores(), "support": self.support, "tp": self.tp, "fp": self.fp, "fn": self.fn}

    @staticmethod
    def f1_parts(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """F1 of many sums of rows.

        Args:
            sums: Array of shape `(samples, 3)`: tp, fp, fn.

        Returns:
            Numerator and denominator of F1, both of shape `(samples,)`.
        """
        tp, fp, fn = sums.T
        return 2 * tp, 2 * tp + fp + fn


def bootstrap_interval(rows: np.ndarray, samples: int, seed: int, counts: type = PRF) -> list[float] | None:
    """95 % percentile interval of micro F1 over texts drawn with replacement.

    Texts with equal counts are drawn together: one multinomial draw over the distinct rows is the same as
    drawing texts, does not depend on their order, and is fast for any number of them.

    Args:
        rows: Array of shape `(num_texts, 3)`: the counts of each text.
        samples: Number of draws.
        seed: Of the random numbers.
        counts: What a row is: `PRF` (tp, fp, fn) or another class of counts with `f1_parts`.

    Returns:
        Lower and upper end, 0-100; `None` if F1 is undefined or no draw is asked for.
    """
    if samples < 1 or not rows.sum():
        return None
    distinct, times = np.unique(rows, axis=0, return_counts=True)  # (U, 3), (U,)
    draws = np.random.default_rng(seed).multinomial(len(rows), times / len(rows), size=samples)  # (S, U)
    part, whole = counts.f1_parts(draws @ distinct)  # (S,) each
    f1 = 100.0 * part[whole > 0] / whole[whole > 0]  # draws of empty texts only have no F1
    return [float(end) for end in np.percentile(f1, CONFIDENCE)] if len(f1) else None
