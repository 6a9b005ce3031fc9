"""Which labels a training batch asks for, and which of them each of its texts sees."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ldnet.processing.schema import Label
from ldnet.processing.schema_labels import MENTIONS_OF
from ldnet.train.dataset import Example, Source, label_key

ORDER = tuple(MENTIONS_OF)  # structures as `Schema.labels` has them

Key = tuple[int, str]  # kind and words of a label


@dataclass(frozen=True)
class BatchLabels:
    """The labels of a batch.

    Attributes:
        labels: In the order of the prompt, M of them.
        position: Label key -> place among them.
        asked (`numpy.ndarray` of shape `(B, M)`): Which labels each text sees.
        annotated (`numpy.ndarray` of shape `(B, M)`): Which of those were looked for in the text, so that
            their absence says something.
    """

    labels: list[Label]
    position: dict[Key, int]
    asked: np.ndarray
    annotated: np.ndarray

    def sees(self, text: int, key: Key) -> bool:
        """Whether a text is asked a label."""
        return key in self.position and bool(self.asked[text, self.position[key]])


@dataclass(frozen=True)
class LabelSampler:
    """Draws the labels of batches.

    Args:
        max_labels: Most labels of a batch; labels that occur are never left out for room. `None` = all.
        label_dropout: Share of the labels that a batch does not ask for, with their structures, in [0, 1).
        few_labels: Share of the texts that see a draw of the batch's labels instead of all, in [0, 1]: at
            inference a schema may hold two labels or two hundred.
        many_labels: Share of the batches that ask `pool` too, up to `most_labels`, in [0, 1].
        most_labels: Labels of such a batch.
        pool: All labels of a training.
        foreign: Source name -> labels of other sources that cannot occur in its texts: further negatives.
        shuffle: Whether their order is drawn anew for each batch.
    """

    max_labels: int | None = None
    label_dropout: float = 0.0
    few_labels: float = 0.0
    many_labels: float = 0.0
    most_labels: int = 300
    pool: Mapping[Key, Label] = field(default_factory=dict)
    foreign: Mapping[str, frozenset[Key]] = field(default_factory=dict)
    shuffle: bool = True

    def draw(
        self, examples: Sequence[Example], rng: np.random.Generator, taught: bool = False
    ) -> BatchLabels:
        """Labels that occur in a batch and a draw of the other annotated ones.

        Args:
            examples: The texts of the batch.
            rng: Source of all draws.
            taught: Whether a teacher knows the texts: of one that nobody annotated it is asked all labels.

        Returns:
            The labels, and what each text sees of them.
        """
        labels = self._choose(examples, rng, taught)
        position = {label_key(label): i for i, label in enumerate(labels)}
        own = np.zeros((len(examples), len(labels)), dtype=bool)
        present, foreign = own.copy(), own.copy()
        for text, example in enumerate(examples):
            keys = [label_key(label) for label in example.source.schema.labels]
            _mark(own[text], position, (keys[i] for i in example.annotated))
            _mark(present[text], position, (keys[loop.label] for loop in example.loops))
            _mark(foreign[text], position, self.foreign.get(example.source.name, ()))
        asked = self._ask(own, present, rng)
        return BatchLabels(labels, position, asked, asked & (own | foreign))

    def _choose(self, examples: Sequence[Example], rng: np.random.Generator, taught: bool) -> list[Label]:
        candidates: dict[Key, Label] = {}
        occurring: set[Key] = set()
        for example in examples:
            labels = example.source.schema.labels
            asked = example.annotated or (range(len(labels)) if taught else ())
            candidates.update((label_key(labels[i]), labels[i]) for i in asked)
            occurring.update(label_key(labels[loop.label]) for loop in example.loops)
        most = self.max_labels
        if self.many_labels and rng.random() < self.many_labels:
            candidates, most = {**self.pool, **candidates}, self.most_labels
        keys = [key for key in candidates if rng.random() >= self.label_dropout] or list(candidates)
        if most is not None and len(keys) > most:
            absent = [key for key in keys if key not in occurring]
            present = [key for key in keys if key in occurring]
            drawn = rng.permutation(len(absent))[: max(0, most - len(present))]
            keys = present + [absent[i] for i in sorted(drawn)]
        # Shuffled within their structure only: at inference too a schema's structures follow each other.
        order = rng.permutation(len(keys)) if self.shuffle else range(len(keys))
        return sorted((candidates[keys[i]] for i in order), key=lambda label: ORDER.index(label.structure))

    def _ask(self, own: np.ndarray, present: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A text that sees few labels sees those that occur in it, a share of its own other labels and the
        square of that share of the labels of other texts."""
        asked = np.ones_like(own)
        if not self.few_labels:
            return asked
        few = rng.random((len(own), 1)) < self.few_labels
        share = rng.random((len(own), 1))
        drawn = rng.random(own.shape) < np.where(own, share, share**2)
        dropped = rng.random(own.shape) < self.label_dropout
        return np.where(few, (drawn | present) & ~dropped, asked)


def _mark(row: np.ndarray, position: Mapping[Key, int], keys: Iterable[Key]) -> None:
    row[[position[key] for key in keys if key in position]] = True


def label_pool(sources: Iterable[Source]) -> dict[Key, Label]:
    """All labels of a training by key."""
    return {label_key(label): label for source in sources for label in source.schema.labels}


def foreign_labels(sources: Sequence[Source], domains: Sequence[Sequence[str]]) -> dict[str, frozenset[Key]]:
    """Labels of specialised sources that cannot occur in the texts of the others.

    Args:
        sources: All sources of a training.
        domains: Names of the sources of each special domain (genes and diseases, steps of a synthesis, ...).

    Returns:
        Source name -> keys of the labels that only other domains have.

    Raises:
        ValueError: If a domain names a source that is not there.
    """
    names = {source.name for source in sources}
    if unknown := [name for domain in domains for name in domain if name not in names]:
        raise ValueError(
            f"special_domains: {unknown} are not among the training files {sorted(names)}; "
            "name folders of --train"
        )
    domain_of = {name: number for number, domain in enumerate(domains) for name in domain}
    found: dict[Key, set[int]] = {}  # the domains that have a label; -1: every other source
    for source in sources:
        for label in source.schema.labels:
            found.setdefault(label_key(label), set()).add(domain_of.get(source.name, -1))
    special = {key: next(iter(where)) for key, where in found.items() if len(where) == 1 and -1 not in where}
    return {
        name: frozenset(key for key, domain in special.items() if domain != domain_of.get(name, -1))
        for name in names
    }


def rename_labels(
    labels: Sequence[Label], names: Mapping[str, Sequence[str]], share: float, rng: np.random.Generator
) -> list[Label]:
    """Call labels by other names, so that a model does not learn the names of its training sets by heart.

    Args:
        labels: The labels of a batch.
        names: Label name in small letters -> other names for the same thing.
        share: Share of the labels to rename, in [0, 1].
        rng: Source of the draws.

    Returns:
        The labels; one that has no other name, or whose drawn name is in use, keeps its own.
    """
    used = {label_key(label) for label in labels}
    found = []
    for label in labels:
        other, drawn = names.get(label.name.lower(), ()), rng.random(2)
        renamed = replace(label, name=other[int(drawn[1] * len(other))]) if other else label
        if drawn[0] < share and label_key(renamed) not in used:
            used.add(label_key(renamed))
            label = renamed
        found.append(label)
    return found
