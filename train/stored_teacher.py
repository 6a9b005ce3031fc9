"""Stored teachers in training: cells of a store as targets of whatever a batch asks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch

from ldnet.heads import LinkScores
from ldnet.processing.links import LinkType
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import LabelKind
from ldnet.train.dataset import Example, label_key
from ldnet.train.label_sampling import BatchLabels
from ldnet.train.link_probabilities import joins_fragments, lower_triangle
from ldnet.train.teacher_store import TeacherStore, TextCells, text_key
from ldnet.train.teachers import TeacherError, check_student, masks_of

STRONG = 0.1  # a pair that some label surely needs; weaker ones are hardly 1 or 0 for another reason
Place = tuple[str, int]  # "start" or "end", token


class StoredTeacher:
    """Probabilities from one or several stores; where several hold a text, their mean.

    Args:
        stores: The stores.
        processor: The student's.
        missing: What to do with a text that no store holds: `"error"`, or `"skip"` to train it without.
    """

    def __init__(
        self,
        stores: Sequence[TeacherStore],
        processor: LDNetProcessor,
        missing: Literal["error", "skip"] = "error",
    ):
        if not stores:
            raise TeacherError("stores: none is named; name at least one")
        for store in stores:
            check_student(store.header.tokenizer, store.header.limits, processor, str(store.path))
        self.stores, self.processor, self.missing = list(stores), processor, missing
        self.lower = all(lower_triangle(x) for x in (processor.limits, *(s.header.limits for s in stores)))

    def check(self, examples: Sequence[Example]) -> None:
        """Raise `TeacherError` if texts are missing (`missing="error"`), or all of them, or labels are."""
        lost: Counter[str] = Counter()
        for example in examples:
            if not self.find(example):
                lost[example.source.name] += 1
        if lost and (self.missing == "error" or lost.total() == len(examples)):
            raise TeacherError(self._missing(lost, len(examples)))

    def _missing(self, lost: Counter[str], total: int) -> str:
        where = ", ".join(f"{name} {count}" for name, count in lost.most_common())
        names = ", ".join(str(store.path) for store in self.stores)
        return (
            f"{names}: {lost.total()} of {total} texts are not in it ({where}); write it again from the same "
            "files, or train these texts without a teacher with --missing_texts skip"
        )

    def find(self, example: Example) -> list[tuple[TeacherStore, tuple[Any, ...], tuple[int, int]]]:
        """Rows of an example: store, labels that its teacher was asked, and place.

        Raises:
            TeacherError: If a store has the text, but none all labels of its schema.
        """
        question = example.record.get("question") if example.question is not None else None
        key = text_key(example.record["text"], question)
        wanted = [label_key(label) for label in example.source.schema.labels]
        found, lacking = [], None
        for store in self.stores:
            for asked, place in store.find(key):
                without = [words for kind, words in wanted if (kind, words) not in asked]
                if not without:
                    found.append((store, asked, place))
                    break
                lacking = store, without
        if not found and lacking is not None:
            store, without = lacking
            raise TeacherError(
                f"{store.path}: its teacher was not asked for {without[0]!r} ({len(without)} of the "
                f"{len(wanted)} labels of {example.source.name}); write the store again with this schema"
            )
        return found

    def prepare(self, device: torch.device, dtype: torch.dtype | None) -> None:
        """Nothing to move."""

    def __call__(self, examples: Sequence[Example], chosen: BatchLabels) -> dict[str, Any]:
        """Masks and cells of a batch, in the batch's positions.

        Raises:
            TeacherError: If a text is missing and must not be, or the store has other tokens for it.
        """
        rows = [self.find(example) for example in examples]
        if self.missing == "error" and not all(rows):
            lost = Counter(x.source.name for x, of in zip(examples, rows, strict=True) if not of)
            raise TeacherError(self._missing(lost, len(examples)))
        targets = masks_of(examples, chosen, self.processor.limits, map(bool, rows))
        over_next = joins_fragments(self.processor.limits)
        parts: dict[str, list[np.ndarray]] = {"cells": [], "probs": [], "windows": [], "unknown": []}
        for text, (example, of_text) in enumerate(zip(examples, rows, strict=True)):
            read = [(store.read(place), asked) for store, asked, place in of_text]
            position = {key: place for key, place in chosen.position.items() if chosen.sees(text, key)}
            for (cells, asked), (store, _, _) in zip(read, of_text, strict=True):
                _check_tokens(example, cells, store)
                index, probs, unknown = _local_cells(cells, asked, position, example, over_next)
                parts["cells"].append(_numbered(text, index))
                parts["probs"].append(probs / len(read))
                parts["unknown"].append(_numbered(text, unknown))
            windows = _local_windows([cells.windows for cells, _ in read], example)
            parts["windows"].append(_numbered(text, windows))
        for name, width in (("cells", 4), ("unknown", 4), ("windows", 3)):
            rows_of = [np.zeros((0, width), dtype=np.int64), *parts[name]]
            targets[name] = torch.from_numpy(np.concatenate(rows_of))
        targets["probs"] = torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.float32), *parts["probs"]]))
        return targets

    def probabilities(self, targets: dict[str, Any], shapes: Sequence[torch.Size]) -> LinkScores:
        """Fill dense matrices of this batch."""
        dense = []
        for kind, shape in enumerate(shapes):
            matrix = torch.zeros(shape, dtype=torch.float32, device=targets["probs"].device)
            chosen = targets["cells"][:, 1] == kind
            text, _, row, column = targets["cells"][chosen].unbind(1)
            matrix.index_put_((text, row, column), targets["probs"][chosen], accumulate=True)
            dense.append(matrix)
        return LinkScores(*dense)


def _check_tokens(example: Example, cells: TextCells, store: TeacherStore) -> None:
    last = example.first_token + len(example.tokens)
    if last > cells.num_tokens:
        raise TeacherError(
            f"{store.path}: a text of {example.source.name} has at least {last} tokens, but "
            f"{cells.num_tokens} in the store; its tokens are not those of the student, write it again"
        )


def _numbered(text: int, rows: np.ndarray) -> np.ndarray:
    """Rows with the number of their text in front."""
    return np.concatenate([np.full((len(rows), 1), text, dtype=np.int64), rows], axis=1)


def _local_cells(
    cells: TextCells,
    asked: Sequence[tuple[int, str]],
    position: dict[tuple[int, str], int],
    example: Example,
    over_next: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of a text in a batch's positions: (kind, row, column), probabilities, and cells not to compare.

    A pair says which tokens belong together for *some* label. If the batch leaves labels out, strong pairs
    that no asked label needs are neither links nor the absence of one. `over_next`: whether A2A joins
    fragments, so that loops of mentions follow it too.
    """
    places = np.array([position.get(key, -1) for key in asked], dtype=np.int64)
    of_label = cells.kind <= LinkType.CLOSE
    row = np.where(of_label, places[np.where(of_label, cells.row, 0)], cells.row - example.first_token + 1)
    column = np.where(cells.column < 0, 0, cells.column - example.first_token + 1)
    last = len(example.tokens)
    inside = (column <= last) & ((column >= 1) | (cells.column < 0))
    inside &= np.where(of_label, row >= 0, (row >= 1) & (row <= last))
    index = np.stack([cells.kind, row, column], axis=1).astype(np.int64)
    unknown = np.zeros(len(index), dtype=bool)
    if (places < 0).any():
        unknown = inside & ~of_label & (cells.probs >= STRONG)
        kept = np.flatnonzero(places >= 0).tolist()
        unknown &= ~explained_pairs(cells, {i: over_next or asked[i][0] == LabelKind.RELATION for i in kept})
    return index[inside], cells.probs[inside], index[unknown]


def explained_pairs(cells: TextCells, labels: dict[int, bool]) -> np.ndarray:
    """Pairs on a path of strong links from an opening to a closing of one label.

    Args:
        cells: Cells of a text.
        labels: Labels, as the store's schema counts them, and whether their loops follow A2A: those of
            mentions do so only where it joins fragments.

    Returns:
        Mask over the cells, `(n,)`.
    """
    kind, row, column = cells.kind.tolist(), cells.row.tolist(), cells.column.tolist()
    strong = np.flatnonzero(cells.probs >= STRONG).tolist()
    # A walk alternates between starts and ends; fragment links lie below the diagonal, from end to start.
    steps: dict[int, tuple[Place, Place]] = {}
    for i in strong:
        if kind[i] == LinkType.INSIDE and row[i] <= column[i]:
            steps[i] = ("start", row[i]), ("end", column[i])
        elif kind[i] == LinkType.INSIDE:
            steps[i] = ("end", column[i]), ("start", row[i])
        elif kind[i] == LinkType.NEXT:
            steps[i] = ("end", row[i]), ("start", column[i])
    explained = np.zeros(len(kind), dtype=bool)
    for label, follows in labels.items():
        own = {i: step for i, step in steps.items() if follows or kind[i] == LinkType.INSIDE}
        opened, closed = (
            {column[i] for i in strong if kind[i] == side and row[i] == label}
            for side in (LinkType.OPEN, LinkType.CLOSE)
        )
        forward = _reached({("start", token) for token in opened}, own.values())
        backward = _reached({("end", token) for token in closed}, [step[::-1] for step in own.values()])
        explained[[i for i, (start, to) in own.items() if start in forward and to in backward]] = True
    return explained


def _reached(first: set[Place], steps: Iterable[tuple[Place, Place]]) -> set[Place]:
    """Where steps lead to from some places, these included."""
    following: dict[Place, list[Place]] = {}
    for start, to in steps:
        following.setdefault(start, []).append(to)
    reached, waiting = set(first), list(first)
    while waiting:
        for to in following.get(waiting.pop(), ()):
            if to not in reached:
                reached.add(to)
                waiting.append(to)
    return reached


def _local_windows(of_stores: Sequence[Sequence[tuple[int, int]]], example: Example) -> np.ndarray:
    """Ranges (first, stop) in a batch's positions that every teacher read at once; none = all was read."""
    own = [(example.first_token, example.first_token + len(example.tokens))]
    for windows in of_stores:
        both = [(max(a, c), min(b, d)) for a, b in own for c, d in windows]
        own = list(dict.fromkeys((start, stop) for start, stop in both if start < stop))
    shifted = [(a - example.first_token + 1, b - example.first_token + 1) for a, b in own]
    return np.array(shifted, dtype=np.int64).reshape(-1, 2)
