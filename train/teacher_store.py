"""Stored teachers: sparse link probabilities P^r of texts in one Arrow file (eq. 19-20).

A row is a text under a schema: the cells of all link kinds whose probability is above a floor. Cells are in
the coordinates of the text (its own tokens, no special ones) and of the teacher's schema, so they fit any
order of labels and any window of the text. The file is an Arrow stream without compression: it is mapped into
memory, not read, and `datasets.Dataset.from_file` opens it too.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ldnet.processing.links import LinkType, LoopLimits

FORMAT = "ldnet teacher store 1"
METADATA = b"ldnet"
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # without it a file cut between two batches would look whole
ROWS_OF_BATCH = 512
MOST_CELLS = 2**32  # positions are 32-bit numbers
SCHEMA = pa.schema(
    {
        "key": pa.binary(),  # of text and question
        "schema": pa.int32(),  # which of the label lists in the metadata
        "num_tokens": pa.int32(),
        "windows": pa.list_(pa.int32()),  # start, stop, start, stop ...; empty = read at once
        "lost_mass": pa.float32(),  # sum of the probabilities that were dropped
        "cells": pa.list_(pa.uint32()),  # positions as `pack_cells` counts them, ascending
        "probs": pa.list_(pa.float16()),
    }
)

LabelKey = tuple[int, str]  # kind and words, as `dataset.label_key`


class StoreError(ValueError):
    """A store that cannot be written, read or used for these texts, in one line."""


@dataclass(frozen=True)
class TextCells:
    """Probabilities of one text, of all cells above a floor.

    Args:
        num_tokens: Tokens of the text, without special ones.
        windows: Token ranges (start, stop) that the teacher read at once; other pairs it never judged.
        kind (`np.ndarray` of shape `(n,)`): `LinkType` of each cell.
        row: Label index (OPEN and CLOSE) or token.
        column: Token; -1 is the text marker, with which classes are linked.
        probs: Probabilities in [0, 1].
        lost_mass: Sum of the probabilities that were dropped.
    """

    num_tokens: int
    windows: tuple[tuple[int, int], ...]
    kind: np.ndarray
    row: np.ndarray
    column: np.ndarray
    probs: np.ndarray
    lost_mass: float = 0.0


@dataclass
class StoreReport:
    """What was stored, added up over texts.

    Args:
        texts: Rows.
        cells: Cells that were kept.
        mass: Sum of all probabilities, kept or not.
        lost_mass: Sum of those that were dropped.
        dense_bytes: Bytes of all legal cells in float32.
        bytes: Size of the file.
    """

    texts: int = 0
    cells: int = 0
    mass: float = 0.0
    lost_mass: float = 0.0
    dense_bytes: int = 0
    bytes: int = 0

    def add(self, other: "StoreReport") -> None:
        """Count the texts of another report in."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def to_dict(self) -> dict[str, Any]:
        """The numbers, with the two shares in percent."""
        return asdict(self) | {
            "size_percent": 100 * self.bytes / max(self.dense_bytes, 1),
            "lost_percent": 100 * self.lost_mass / self.mass if self.mass else 0.0,
        }

    def __str__(self) -> str:
        found = self.to_dict()
        return (
            f"{self.texts} texts, {self.cells} cells, {self.bytes / 1e6:.2f} MB = "
            f"{found['size_percent']:.2f} % of dense float32 ({self.dense_bytes / 1e6:.1f} MB), "
            f"lost mass {found['lost_percent']:.4f} %"
        )


@dataclass(frozen=True)
class StoreHeader:
    """What a store was made with.

    Args:
        tokenizer: Fingerprint of the tokenizer, as `tokenizer_fingerprint` gives it.
        limits: Most fragments of a mention and their links, as of the teachers.
        schemas: Labels of each schema in its canonical order, as kind and words.
        floor: Probability below which cells were dropped.
        teachers: Names of the checkpoints.
    """

    tokenizer: str
    limits: LoopLimits
    schemas: tuple[tuple[LabelKey, ...], ...]
    floor: float
    teachers: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As it stands in the file."""
        return json.dumps({"format": FORMAT} | asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "StoreHeader":
        """The inverse of `to_json`; `KeyError`, `TypeError` or `ValueError` if it is none."""
        values = json.loads(text)
        if values.pop("format") != FORMAT:
            raise ValueError("written by another version")
        return cls(
            tokenizer=values["tokenizer"],
            limits=LoopLimits(**values["limits"]),
            schemas=tuple(tuple((kind, words) for kind, words in labels) for labels in values["schemas"]),
            floor=values["floor"],
            teachers=tuple(values["teachers"]),
        )


def text_key(text: str, question: str | None = None) -> bytes:
    """What a text is found by.

    Args:
        text: The text.
        question: What is asked about it, if anything.

    Returns:
        16 bytes.
    """
    asked = b"" if question is None else b"\0" + question.encode()
    return hashlib.blake2b(text.encode() + asked, digest_size=16).digest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """What makes two tokenizers cut texts alike: vocabulary, normaliser and pre-tokeniser.

    Args:
        tokenizer: A fast tokenizer.

    Returns:
        32 hexadecimal digits.
    """
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    rules = [settings.get("normalizer"), settings.get("pre_tokenizer"), settings["model"].get("type")]
    vocabulary = sorted(tokenizer.get_vocab().items())
    return hashlib.blake2b(json.dumps([rules, vocabulary]).encode(), digest_size=16).hexdigest()


def _block_sizes(num_labels: int, num_tokens: int) -> list[int]:
    """Cells of each link kind; labels have a column more, the text marker."""
    return [num_labels * (num_tokens + 1)] * 2 + [num_tokens**2] * 2


def pack_cells(cells: TextCells, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells as positions in the four dense matrices laid end to end.

    Args:
        cells: Cells in any order, each once.
        num_labels: Labels of their schema.

    Returns:
        Positions (`uint32`, ascending) and probabilities (`float16`) of the same order.

    Raises:
        StoreError: If the text has too many cells for 32-bit positions.
    """
    sizes = _block_sizes(num_labels, cells.num_tokens)
    if sum(sizes) > MOST_CELLS:
        raise StoreError(
            f"store: a text has {cells.num_tokens} tokens; about {int((MOST_CELLS / 2) ** 0.5)} are the most "
            "that a store can hold; split it into shorter texts"
        )
    starts = np.cumsum([0, *sizes[:-1]])
    of_label = cells.kind <= LinkType.CLOSE
    width = np.where(of_label, cells.num_tokens + 1, cells.num_tokens)
    places = starts[cells.kind] + cells.row.astype(np.int64) * width + cells.column + of_label
    order = np.argsort(places)
    return places[order].astype(np.uint32), cells.probs[order].astype(np.float16)


def unpack_cells(places: np.ndarray, num_labels: int, num_tokens: int) -> tuple[np.ndarray, ...]:
    """The inverse of `pack_cells`.

    Args:
        places: Positions.
        num_labels: Labels of the schema.
        num_tokens: Tokens of the text.

    Returns:
        Kind, row and column of each cell.
    """
    starts = np.cumsum([0, *_block_sizes(num_labels, num_tokens)[:-1]])
    places = places.astype(np.int64)
    kind = np.searchsorted(starts, places, side="right") - 1
    of_label = kind <= LinkType.CLOSE
    width = np.maximum(np.where(of_label, num_tokens + 1, num_tokens), 1)
    row, column = np.divmod(places - starts[kind], width)
    return kind, row, column - of_label


@dataclass
class StoreRow:
    """One text to write.

    Args:
        key: What `text_key` gives.
        schema: Index of its label list in the header.
        cells: Its cells.
    """

    key: bytes
    schema: int
    cells: TextCells


def _record_batch(rows: Sequence[StoreRow], header: StoreHeader) -> pa.RecordBatch:
    packed = [pack_cells(row.cells, len(header.schemas[row.schema])) for row in rows]
    several = [row.cells.windows if len(row.cells.windows) > 1 else () for row in rows]
    columns = {
        "key": [row.key for row in rows],
        "schema": [row.schema for row in rows],
        "num_tokens": [row.cells.num_tokens for row in rows],
        "windows": [[edge for window in windows for edge in window] for windows in several],
        "lost_mass": [row.cells.lost_mass for row in rows],
        "cells": [places for places, _ in packed],
        "probs": [probs for _, probs in packed],
    }
    arrays = [pa.array(columns[column.name], type=column.type) for column in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def write_store(path: str | Path, header: StoreHeader, rows: Iterable[StoreRow]) -> int:
    """Write a store; it appears when it is whole.

    Args:
        path: The file; there must be none yet.
        header: What it is made with.
        rows: Texts, taken one after the other.

    Returns:
        Bytes written.

    Raises:
        StoreError: If there is such a file.
    """
    path = Path(path)
    if path.exists():
        raise StoreError(f"{path}: there is a file already; name a new one, or delete it")
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    schema = SCHEMA.with_metadata({METADATA: header.to_json().encode()})
    try:
        with pa.OSFile(str(beside), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            waiting: list[StoreRow] = []
            for row in rows:
                waiting.append(row)
                if len(waiting) == ROWS_OF_BATCH:
                    writer.write_batch(_record_batch(waiting, header))
                    waiting = []
            if waiting:
                writer.write_batch(_record_batch(waiting, header))
        beside.replace(path)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    return path.stat().st_size


@dataclass
class TeacherStore:
    """A store that is open for reading. The file stays on disk; only the keys are in memory.

    Args:
        path: The file.
        header: What it was made with.
        batches: Its record batches, mapped.
    """

    path: Path
    header: StoreHeader
    batches: list[pa.RecordBatch]
    rows: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for number, batch in enumerate(self.batches):
            for row, key in enumerate(batch.column("key").to_pylist()):
                self.rows.setdefault(key, []).append((number, row))

    @classmethod
    def open(cls, path: str | Path) -> "TeacherStore":
        """Open a store.

        Args:
            path: What `write_store` wrote.

        Returns:
            The store.

        Raises:
            StoreError: If there is none, or it is something else or cut off.
        """
        path = Path(path)
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
                header = StoreHeader.from_json(reader.schema.metadata[METADATA].decode())
                if reader.schema.remove_metadata() != SCHEMA:
                    raise ValueError("written by another version")
                batches = list(reader)
                if source.size() < 8 or source.read_at(8, source.size() - 8) != END_OF_STREAM:
                    raise ValueError("cut off")
        except FileNotFoundError:
            raise StoreError(
                f"{path}: there is no such store; write it with ldnet distill store --store {path}"
            ) from None
        except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StoreError(f"{path}: no whole teacher store ({reason}); write it again") from error
        return cls(path, header, batches)

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.batches)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a worker of a data loader maps the file for itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(TeacherStore.open(state["path"]).__dict__)

    def find(self, key: bytes) -> Iterator[tuple[tuple[LabelKey, ...], tuple[int, int]]]:
        """The rows of a text.

        Args:
            key: What `text_key` gives.

        Yields:
            The labels that the teacher was asked, and where the row is.
        """
        for number, row in self.rows.get(key, ()):
            yield self.header.schemas[self.batches[number].column("schema")[row].as_py()], (number, row)

    def read(self, place: tuple[int, int]) -> TextCells:
        """The cells of a row.

        Args:
            place: What `find` gives.

        Returns:
            The cells, with probabilities in float32.
        """
        batch, row = self.batches[place[0]], place[1]
        num_tokens = batch.column("num_tokens")[row].as_py()
        labels = self.header.schemas[batch.column("schema")[row].as_py()]
        edges = batch.column("windows")[row].as_py()
        places = batch.column("cells")[row].values.to_numpy(zero_copy_only=False)
        kind, line, column = unpack_cells(places, len(labels), num_tokens)
        return TextCells(
            num_tokens=num_tokens,
            windows=tuple(zip(edges[::2], edges[1::2], strict=True)) or ((0, num_tokens),),
            kind=kind,
            row=line,
            column=column,
            probs=batch.column("probs")[row].values.to_numpy(zero_copy_only=False).astype(np.float32),
            lost_mass=batch.column("lost_mass")[row].as_py(),
        )
