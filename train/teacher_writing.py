"""Teachers read record files once and write what they find as a store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ldnet.heads import LinkScores
from ldnet.processing.alignment import TextTokens
from ldnet.processing.schema import LabelKind, Schema
from ldnet.processing.windows import Window, plan_windows
from ldnet.train.dataset import Source, label_key
from ldnet.train.link_probabilities import CLASS_KIND, kinds_of, legal_cells, lower_triangle
from ldnet.train.teacher_store import (
    StoreError,
    StoreHeader,
    StoreReport,
    StoreRow,
    TextCells,
    text_key,
    write_store,
)
from ldnet.train.teachers import TeacherModels, with_case

BATCHES_SORTED_TOGETHER = 64  # windows are sorted by length inside this many batches
BYTES_OF_ROW, BYTES_OF_CELL = 44, 6  # key, numbers and offsets; position and probability

Part = tuple[Source, list[dict]]


@dataclass
class _Text:
    """A text that is being read, and what its windows have given so far."""

    record: dict
    tokens: TextTokens
    question: TextTokens | None
    windows: list[Window]
    cells: list[np.ndarray] = field(default_factory=list)  # (kind, row, column) of each window
    probs: list[np.ndarray] = field(default_factory=list)
    mass: float = 0.0
    left: int = 0  # windows still to read

    def merged(self) -> TextCells:
        """The cells of all windows; a cell that several hold has the mean of what they say."""
        kind, row, column = np.concatenate(self.cells).T
        probs = np.concatenate(self.probs)
        if len(self.windows) > 1:
            places, where = np.unique(np.stack([kind, row, column], 1), axis=0, return_inverse=True)
            kind, row, column = places.T
            probs = np.bincount(where.ravel(), weights=probs, minlength=len(places))
        return TextCells(
            num_tokens=len(self.tokens),
            windows=tuple((window.start, window.stop) for window in self.windows),
            kind=kind,
            row=row,
            column=column,
            probs=probs,
            lost_mass=max(self.mass - float(probs.sum()), 0.0),
        )


@dataclass
class TeacherWriter:
    """Writes the cells of teachers for record files.

    Args:
        models: The teachers; their mean is stored.
        floor: Probability below which cells are dropped, in [0, 1).
        batch_size: Texts (or windows) read together.
        device: Where the teachers run.
    """

    models: TeacherModels
    floor: float = 1e-4
    batch_size: int = 16
    device: torch.device = torch.device("cpu")

    def __post_init__(self) -> None:
        if not 0.0 <= self.floor < 1.0:
            raise StoreError(
                f"floor: {self.floor} is out of range; it must lie in [0, 1), for instance 0.0001"
            )
        if self.batch_size < 1:
            raise StoreError(f"batch_size: {self.batch_size} is out of range; it must be at least 1")

    def write(self, path: str | Path, parts: Sequence[Part]) -> dict[str, StoreReport]:
        """Read all texts and write a store.

        Args:
            path: The file; there must be none yet.
            parts: Sources with their records; a text that comes again under the same labels is read once.

        Returns:
            What was stored, a report a source and `"all"`.

        Raises:
            StoreError: If there is such a file.
        """
        self.models.prepare(self.device, None)
        header = StoreHeader(
            tokenizer=self.models.fingerprint,
            limits=self.models.limits,
            schemas=tuple(tuple(map(label_key, source.schema.labels)) for source, _ in parts),
            floor=self.floor,
            teachers=tuple(Path(name).name for name in self.models.names),
        )
        reports = {source.name: StoreReport() for source, _ in parts}
        size = write_store(path, header, self._rows(header, parts, reports))
        whole = StoreReport()
        for report in reports.values():
            whole.add(report)
        whole.bytes = size
        return reports | {"all": whole}

    def _rows(
        self, header: StoreHeader, parts: Sequence[Part], reports: dict[str, StoreReport]
    ) -> Iterator[StoreRow]:
        seen: set[tuple[bytes, tuple]] = set()
        for number, (source, records) in enumerate(parts):
            asked = header.schemas[number]
            new = []
            for record in records:
                key = text_key(record["text"], _question(record, source.schema))
                if (key, asked) not in seen:
                    seen.add((key, asked))
                    new.append(record)
            report = reports[source.name]
            for text in self.read(source.schema, new):
                cells = text.merged()
                dense = 4 * self._legal_count(source.schema, text)
                size = BYTES_OF_ROW + BYTES_OF_CELL * len(cells.probs)
                report.add(StoreReport(1, len(cells.probs), text.mass, cells.lost_mass, dense, size))
                key = text_key(text.record["text"], _question(text.record, source.schema))
                yield StoreRow(key, number, cells)

    def _legal_count(self, schema: Schema, text: _Text) -> int:
        """Cells that a dense store would have of a text."""
        length, limits = len(text.tokens), self.models.limits
        links, inside, following = kinds_of(schema.labels, limits)
        classes = sum(label.kind == LabelKind.CLASS for label in schema.labels)
        spans = length**2 if lower_triangle(limits) else length * (length + 1) // 2
        labelled = 2 * (classes + (len(schema.labels) - classes) * length)
        return links * labelled + inside * spans + following * length**2

    def read(self, schema: Schema, records: Sequence[dict]) -> Iterator[_Text]:
        """Let the teachers judge texts.

        Args:
            schema: What is asked of them.
            records: The texts.

        Yields:
            Texts with the cells of all their windows; batches of like lengths, so not quite in order.
        """
        at_once = BATCHES_SORTED_TOGETHER * self.batch_size
        for first in range(0, len(records), at_once):
            texts = self._plan(schema, records[first : first + at_once])
            jobs = [(text, window) for text in texts for window in text.windows]
            jobs.sort(key=lambda job: len(job[1]))
            for start in range(0, len(jobs), self.batch_size):
                batch = jobs[start : start + self.batch_size]
                self._read_batch(schema, batch)
                read = {id(text): text for text, _ in batch}  # several of its windows may be in the batch
                yield from (text for text in read.values() if text.left == 0)

    def _plan(self, schema: Schema, records: Sequence[dict]) -> list[_Text]:
        processor = self.models.processors[0]
        room = self.models.room(schema.labels, schema.instruction)
        texts = []
        tokenized = processor.tokenize_texts([record["text"] for record in records])
        for record, tokens in zip(records, tokenized, strict=True):
            asked = _question(record, schema)
            question = None
            if asked is not None:
                question = with_case(asked, processor.tokenize_texts([asked])[0])
            left = room - (0 if question is None else len(question) + 1)
            windows = plan_windows(record["text"], tokens, left)
            texts.append(_Text(record, tokens, question, windows, left=len(windows)))
        return texts

    def _read_batch(self, schema: Schema, jobs: Sequence[tuple[_Text, Window]]) -> None:
        inputs = self.models.inputs(
            [text.record["text"] for text, _ in jobs],
            [window.tokens_of(text.tokens) for text, window in jobs],
            [text.question for text, _ in jobs],
            schema.labels,
            schema.instruction,
        )
        inputs = [{name: tensor.to(self.device) for name, tensor in batch.items()} for batch in inputs]
        probs = self.models.probabilities(inputs)
        token_mask, kinds = inputs[0]["token_mask"], kinds_of(schema.labels, self.models.limits)
        legal = legal_cells(
            token_mask,
            torch.ones((len(jobs), len(schema.labels)), dtype=torch.bool, device=self.device),
            inputs[0]["schema_kinds"] == CLASS_KIND,
            torch.tensor([kinds], device=self.device).expand(len(jobs), -1),
            lower_triangle(self.models.limits),
        )
        for place, (text, window) in enumerate(jobs):
            own = LinkScores(*(matrix[place] for matrix in probs))
            self._take(text, window, own, LinkScores(*(matrix[place] for matrix in legal)))

    def _take(self, text: _Text, window: Window, probs: LinkScores, legal: LinkScores) -> None:
        """Keep what is above the floor of one window, each cell divided by the windows that hold it."""
        length = probs.inside.shape[0]
        tokens, pairs = _shares(text.windows, window, length)
        cells, values = [], []
        for kind, (matrix, allowed) in enumerate(zip(probs, legal, strict=True)):
            share = (tokens[None] if kind < 2 else pairs).to(matrix.device)
            weighted = matrix.double() * share
            text.mass += float(weighted[allowed].sum())
            kept = (allowed & (matrix > self.floor)).nonzero()
            values.append(weighted[kept[:, 0], kept[:, 1]].cpu().numpy())
            row, column = kept.cpu().numpy().T
            # Tokens of a batch are counted behind a special one; the text marker of a class stays in front.
            row, column = (row if kind < 2 else row - 1 + window.start), column - 1
            column = np.where(column < 0, -1, column + window.start)
            cells.append(np.stack([np.full_like(row, kind), row, column], axis=1))
        text.cells.append(np.concatenate(cells))
        text.probs.append(np.concatenate(values))
        text.left -= 1


def _question(record: dict, schema: Schema) -> str | None:
    return record.get("question") or None if schema.question is not None else None


def _shares(windows: Sequence[Window], window: Window, length: int) -> tuple[Tensor, Tensor]:
    """One over the windows that hold a token (or a pair), in a window's batch positions: (L,) and (L, L)."""
    held = torch.zeros((len(windows), length), dtype=torch.float64)
    held[:, 0] = 1  # the text marker stands in every window
    for i, other in enumerate(windows):
        first, stop = (min(max(edge - window.start, 0), len(window)) for edge in (other.start, other.stop))
        held[i, 1 + first : 1 + stop] = 1
    return 1 / held.sum(0).clamp(min=1), 1 / (held.T @ held).clamp(min=1)
