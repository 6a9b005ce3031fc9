"""Records as training examples: tokens and loops once, whatever the batch asks for later."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch.utils.data import Dataset

from ldnet.processing.alignment import TextTokens
from ldnet.processing.links import Loop, record_loops
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Label, Schema

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One data set of a mixture.

    Args:
        name: Shown in reports.
        schema: What can be asked of its texts.
        partial: Not every mention is marked, so unmarked spans are no negatives.
    """

    name: str
    schema: Schema
    partial: bool = False


@dataclass
class Example:
    """One text ready for batching.

    Args:
        index: Position in its `ExtractionDataset`.
        source: Where it comes from.
        record: The record, for scoring.
        tokens: Its tokens.
        loops: Gold structures on token indices, labels as in the source's schema.
        annotated: Labels of the source's schema that were annotated in this text.
        supervision: Whether TA, AS and A2A are trained on it.
    """

    index: int
    source: Source
    record: dict
    tokens: TextTokens
    loops: list[Loop]
    annotated: list[int]
    supervision: tuple[bool, bool, bool]


@dataclass
class Losses:
    """What of a data set could not become training links, by cause."""

    records: int = 0
    structures: int = 0
    causes: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        causes = ", ".join(f"{count} x {cause}" for cause, count in self.causes.most_common())
        return f"{self.records} records, {self.structures} structures; lost: {causes or 'nothing'}"


def annotated_labels(record: dict, schema: Schema) -> list[int]:
    """Labels of a schema that were annotated in a record.

    A key that is absent was not annotated; a record's own `labels` narrows a key down.

    Args:
        record: A record.
        schema: The schema of its data set.

    Returns:
        Label ids.
    """
    declared = record.get("labels") or {}
    found = set()
    for structure, types in (("entities", schema.entities), ("relations", schema.relations)):
        if record.get(structure) is None:
            continue
        allowed = declared.get(structure)
        found |= {
            schema.label_id(structure, kind.name) for kind in types if allowed is None or kind.name in allowed
        }
    return sorted(found)


def label_key(label: Label) -> tuple[int, str]:
    """What makes two labels of different schemas the same label of a prompt: kind and words."""
    return int(label.kind), label.text


class ExtractionDataset(Dataset):
    """Texts of one or several sources, tokenised once.

    Args:
        processor: Tokenises and knows the encoder's limits.
        parts: Records of each source.
        keep_too_long: Keep texts that do not fit the encoder (for scoring: their structures are missed); in
            training they are left out. Either way they are counted and reported.
    """

    def __init__(
        self,
        processor: LDNetProcessor,
        parts: Sequence[tuple[Source, list[dict]]],
        *,
        keep_too_long: bool = False,
    ):
        self.processor = processor
        self.keep_too_long = keep_too_long
        self.examples: list[Example] = []
        self.losses: dict[str, Losses] = {}
        for source, records in parts:
            self._add(source, records)

    def _add(self, source: Source, records: list[dict]) -> None:
        source.schema.require_supported()
        losses = self.losses.setdefault(source.name, Losses())
        room = self.processor.room_for(source.schema)
        tokenized = self.processor.tokenize_texts([record["text"] for record in records])
        for record, tokens in zip(records, tokenized, strict=True):
            losses.records += 1
            if len(tokens) > room:
                losses.causes[f"text of more than {room} tokens"] += 1
                if not self.keep_too_long:
                    continue
            self.examples.append(self._example(source, record, tokens, losses))
        logger.info("%s: %s", source.name, losses)

    def _example(self, source: Source, record: dict, tokens: TextTokens, losses: Losses) -> Example:
        loops, lost = record_loops(record, source.schema, tokens, self.processor.max_fragments)
        losses.structures += len(loops) + len(lost)
        losses.causes.update(cause.split(":")[0] for cause in lost)
        annotated = annotated_labels(record, source.schema)
        allowed = set(annotated)
        relations = record.get("relations") is not None and bool(source.schema.relations)
        fragments = self.processor.max_fragments > 1 and self.processor.fragment_links == "a2a"
        return Example(
            index=len(self.examples),
            source=source,
            record=record,
            tokens=tokens,
            loops=[loop for loop in loops if loop.label in allowed],
            annotated=annotated,
            supervision=(bool(annotated), bool(annotated), relations or (fragments and bool(annotated))),
        )

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]
