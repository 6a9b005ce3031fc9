"""Order of training examples: batches of like length, of one source or mixed, fixed by seed and epoch."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from torch.utils.data import Sampler

BATCHES_SORTED_TOGETHER = 50  # length sorting happens inside this many batches, so that epochs differ


class SourceBatchSampler(Sampler[int]):
    """Indices in runs of `batch_size` that share a source and have like lengths; every epoch is another
    shuffle.

    What is left of a source after its full runs is pooled into mixed runs at the end, so each index comes
    once.

    Args:
        sources: Source of each example.
        lengths: Tokens of each example.
        batch_size: Length of a run; a batch sampler cuts there.
        seed: Seed of the shuffles.
        source_cap: Most examples of a source in an epoch, drawn anew each epoch; `None` = all.
        source_caps: The same for single sources, by name.
        mix_sources: Draw runs from all sources together instead.
        weights: How likely each example is among those of its source, where a cap leaves some out; above 0.
            `None` = all alike.
    """

    def __init__(
        self,
        sources: Sequence[str],
        lengths: Sequence[int],
        batch_size: int,
        seed: int = 0,
        source_cap: int | None = None,
        mix_sources: bool = False,
        source_caps: Mapping[str, int] = MappingProxyType({}),
        weights: Sequence[float] | None = None,
    ):
        self.lengths = np.asarray(lengths)
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.mix_sources = mix_sources
        self.weights = None if weights is None else np.asarray(weights, dtype=float)
        names, known = np.asarray(sources), sorted(set(sources))
        self.groups = [np.flatnonzero(names == name) for name in known]
        self.caps = [source_caps.get(name, source_cap) for name in known]

    def set_epoch(self, epoch: int) -> None:
        """Choose the shuffle of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(len(group[:cap]) for group, cap in zip(self.groups, self.caps, strict=True))

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        runs, rest = [], []
        drawn = [self._shuffled(group, rng)[:cap] for group, cap in zip(self.groups, self.caps, strict=True)]
        if self.mix_sources and drawn:
            drawn = [rng.permutation(np.concatenate(drawn))]
        for indices in drawn:
            full, left = self._runs(indices)
            runs += full
            rest.append(left)
        order = rng.permutation(len(runs))
        mixed, last = self._runs(rng.permutation(np.concatenate(rest))) if rest else ([], [])
        for run in [*(runs[i] for i in order), *mixed, last]:
            yield from map(int, run)

    def _shuffled(self, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.weights is None:
            return rng.permutation(group)
        # The first k of this order are a draw of k without replacement (Efraimidis and Spirakis, 2006).
        return group[np.argsort(rng.exponential(size=len(group)) / self.weights[group], kind="stable")]

    def _runs(self, indices: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        size = self.batch_size
        left = indices[len(indices) - len(indices) % size :]
        runs = []
        for first in range(0, len(indices) - len(left), size * BATCHES_SORTED_TOGETHER):
            window = indices[first : min(first + size * BATCHES_SORTED_TOGETHER, len(indices) - len(left))]
            window = window[np.argsort(self.lengths[window], kind="stable")]
            runs += [window[i : i + size] for i in range(0, len(window), size)]
        return runs, left


def rarity_weights(
    sources: Sequence[str], labels: Sequence[Collection[int]], exponent: float
) -> list[float] | None:
    """How likely examples are to be drawn so that rare labels of a source come more often.

    Args:
        sources: Source of each example.
        labels: Labels of its structures.
        exponent: 0 = all alike; 1 = a label n times as rare makes its examples n times as likely.

    Returns:
        (examples of the commonest label / examples of the example's rarest one) ** exponent, at least 1;
        `None` if the exponent is 0.
    """
    if not exponent:
        return None
    counts: dict[str, Counter[int]] = {}
    for source, own in zip(sources, labels, strict=True):
        counts.setdefault(source, Counter()).update(set(own))
    return [
        (max(counts[source].values()) / min(counts[source][label] for label in own)) ** exponent
        if own
        else 1.0
        for source, own in zip(sources, labels, strict=True)
    ]
