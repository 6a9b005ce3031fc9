"""Records as training examples: tokens and loops once, whatever the batch asks for later."""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import Dataset

from ldnet.processing.alignment import TextTokens
from ldnet.processing.links import Loop
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.record_loops import record_loops
from ldnet.processing.schema import Label, Schema
from ldnet.processing.windows import Window, plan_windows, sentence_starts, shift_loop

logger = logging.getLogger(__name__)

USUAL_SHARE = 0.99  # of the texts are no longer than a window


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
        question: Tokens of the question about the text, if it is asked one.
        first_token: Where its tokens start in the record's text: above 0 in a later window.
    """

    index: int
    source: Source
    record: dict
    tokens: TextTokens
    loops: list[Loop]
    annotated: list[int]
    supervision: tuple[bool, bool, bool]
    question: TextTokens | None = None
    first_token: int = 0


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
    for label, places in enumerate(schema.places):
        for structure, name, owner in places:
            key = {"roles": "events", "qualifiers": "hyper_relations"}.get(structure, structure)
            if record.get(key) is None or (key == "classes" and record[key].get(owner) is None):
                continue
            if _looked_for(declared.get(key), schema, structure, name, owner):
                found.add(label)
    return sorted(found)


def _looked_for(allowed: Any, schema: Schema, structure: str, name: str, owner: str | None) -> bool:
    """Whether what a record's own `labels` say of a structure names a label; what is not said names all."""
    if isinstance(allowed, dict):  # the classes of each task
        allowed = allowed.get(owner)
        return allowed is None or name in allowed
    if structure == "qualifiers":
        facts = schema.hyper_relations
        names = [fact.name for fact in facts if name in {qualifier.name for qualifier in fact.qualifiers}]
    else:  # what a record says of events and tasks holds for their roles and classes
        names = [owner if structure in ("roles", "classes") else name]
    return allowed is None or any(item in allowed for item in names)


def usual_window(examples: Sequence[Example]) -> tuple[int | None, str]:
    """How long the texts of a training are, and whether they are sentences.

    Args:
        examples: What is trained on.

    Returns:
        `window_length` and `window_unit` of `LDNetProcessor`: the length that one text in a hundred exceeds,
        and `"sentence"` if fewer than a quarter of the texts seem to hold several sentences.
    """
    if not examples:
        return None, "paragraph"
    lengths = sorted(len(example.tokens) for example in examples)
    several = sum(bool(sentence_starts(example.record["text"], example.tokens)) for example in examples)
    length = max(lengths[math.ceil(USUAL_SHARE * len(lengths)) - 1], 1)
    return length, "sentence" if several < len(examples) / 4 else "paragraph"


def usual_overlap(examples: Sequence[Example]) -> str:
    """Whether a place has one type in a training: one mention several entity types, a trigger several events.

    A model that is sure of two types where there is always one has to choose: of 115 event types it was
    trained on in parts, it gave a trigger three.

    Args:
        examples: What is trained on.

    Returns:
        `overlap` of `LDNetProcessor`: `"one_type"`, or `"nested"` if more than one place in a hundred has
        several types (or none is marked).
    """
    places: Counter[tuple[int, str, Any]] = Counter()
    for example in examples:
        for loop in example.loops:
            for structure in {place[0] for place in example.source.schema.places[loop.label]}:
                if structure in ("entities", "events"):
                    places[example.index, structure, loop.mentions] += 1
    several = sum(count > 1 for count in places.values())
    return "one_type" if places and several <= (1 - USUAL_SHARE) * len(places) else "nested"


def label_key(label: Label) -> tuple[int, str]:
    """What makes two labels of different schemas the same label of a prompt: kind and words."""
    return int(label.kind), label.text


class ExtractionDataset(Dataset):
    """Texts of one or several sources, tokenised once.

    Args:
        processor: Tokenises and knows the encoder's limits.
        parts: Records of each source.
        whole: Keep every text whole, for scoring. In training a text that does not fit the encoder is split
            into overlapping windows, as in extraction; structures that lie in none are counted and reported.
    """

    def __init__(
        self,
        processor: LDNetProcessor,
        parts: Sequence[tuple[Source, list[dict]]],
        *,
        whole: bool = False,
    ):
        self.processor = processor
        self.whole = whole
        self.examples: list[Example] = []
        self.losses: dict[str, Losses] = {}
        for source, records in parts:
            self._add(source, records)

    def _add(self, source: Source, records: list[dict]) -> None:
        losses = self.losses.setdefault(source.name, Losses())
        most = self.processor.room_for(source.schema)
        tokenized = self.processor.tokenize_texts([record["text"] for record in records])
        for record, tokens in zip(records, tokenized, strict=True):
            losses.records += 1
            question = None
            if source.schema.question is not None and record.get("question"):
                question = self.processor.tokenize_texts([record["question"]])[0]
            room = most - (0 if question is None else len(question) + 1)
            windows = self._windows(record, tokens, room, losses)
            self._add_windows(source, record, tokens, question, windows, losses)
        logger.info("%s: %s", source.name, losses)

    def _windows(self, record: dict, tokens: TextTokens, room: int, losses: Losses) -> list[Window]:
        if self.whole or room < 1:
            if room < 1:
                losses.causes["prompt and question leave no room for the text"] += 1
            return [Window(0, len(tokens))] if self.whole else []
        return plan_windows(record["text"], tokens, room)

    def _add_windows(
        self,
        source: Source,
        record: dict,
        tokens: TextTokens,
        question: TextTokens | None,
        windows: list[Window],
        losses: Losses,
    ) -> None:
        loops, lost = record_loops(record, source.schema, tokens, self.processor.max_fragments)
        losses.structures += len(loops) + len(lost)
        losses.causes.update(cause.split(":")[0] for cause in lost)
        annotated = annotated_labels(record, source.schema)
        mentions = max((max(source.schema.labels[i].mentions) for i in annotated), default=0)
        fragments = self.processor.max_fragments > 1 and self.processor.fragment_links == "a2a"
        loops = [loop for loop in loops if loop.label in set(annotated)]
        reached: set[Loop] = set()
        for window in windows:
            inside = loops if len(windows) == 1 else [loop for loop in loops if window.holds(loop)]
            reached.update(inside)
            self.examples.append(
                Example(
                    index=len(self.examples),
                    source=source,
                    record=record,
                    tokens=window.tokens_of(tokens),
                    loops=[shift_loop(loop, -window.start) for loop in inside],
                    annotated=annotated,
                    supervision=(bool(annotated), mentions > 0, mentions > 1 or (fragments and mentions > 0)),
                    question=question,
                    first_token=window.start,
                )
            )
        if missed := len(set(loops) - reached):
            losses.causes["longer than a window"] += missed

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]
