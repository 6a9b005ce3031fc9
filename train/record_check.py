"""The tools of the record check: collecting problems, and checking keys, lists, labels and mentions."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from ldnet.processing.schema import Schema
from ldnet.processing.schema_types import SINGULAR, STRUCTURES, did_you_mean, shorten, show_names

# The keys that each part of a record may have. Results of extraction are records too: `text` and `score`.
MENTION_KEYS = ("start", "end", "fragments", "text", "score")
KEYS = {
    "record": (
        "id", "text", "entities", "relations", "hyper_relations", "events", "classes", "question", "answers",
        "spans", "image", "labels", "sentences", "document_relations", "truncated",
        "windows", "rows", "calibrated",
    ),
    "entities": ("type", *MENTION_KEYS, "cluster", "clusters"),
    "head": ("type", *MENTION_KEYS),
    "tail": ("type", *MENTION_KEYS),
    "trigger": MENTION_KEYS,
    "arguments": ("role", *MENTION_KEYS),
    "qualifiers": ("type", *MENTION_KEYS),
    "answers": MENTION_KEYS,
    "spans": MENTION_KEYS,
    "relations": ("type", "head", "tail", "text", "score"),
    "hyper_relations": ("type", "head", "tail", "qualifiers", "text", "score"),
    "events": ("type", "trigger", "arguments", "text", "score"),
    "document_relations": ("type", "head_cluster", "tail_cluster", "evidence", "novel", "text", "score"),
}  # fmt: skip
OFFSETS = "Offsets count characters from 0, end exclusive."


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set.

    Args:
        where (`str`): File and line, such as "train.jsonl:17".
        field (`str`): The place in the record, such as "entities[0].end".
        value (`Any`): What stands there; None where something is missing.
        message (`str`): What is wrong with it.
        fix (`str`): What is allowed, and what to do; whole sentences.
    """

    where: str
    field: str
    value: Any
    message: str
    fix: str

    def __str__(self) -> str:
        value = "" if self.value is None else f" = {shorten(self.value)}"
        return f"{self.where}: {self.field}{value}: {self.message}. {self.fix}"


class RecordCheck:
    """The problems found so far, and what has to be known about the record at hand to find more.

    Args:
        schema (`Schema`, *optional*): The labels that may occur.
    """

    def __init__(self, schema: Schema | None = None) -> None:
        self.problems: list[Problem] = []
        self.where = ""
        self.text: str | None = None
        self.first_use: dict[str | int, str] = {}  # where each id stands first
        # The definitions by name; None where the schema does not ask for the structure.
        self.schema = {
            key: {item.name: item for item in getattr(schema, key, ())} or None for key in STRUCTURES
        }
        # The names in the record's own `labels`; for classes by task.
        self.looked_for: dict[str, Any] = {}
        self._hints: dict[tuple[str, str], str] = {}

    @property
    def length(self) -> float:
        """The characters of the text; without a text no offset is too large."""
        return float("inf") if self.text is None else len(self.text)

    def report(self, field: str, value: Any, message: str, fix: str) -> None:
        """Add a problem of the record at hand."""
        self.problems.append(Problem(self.where, field, value, message, fix))

    def keys(self, part: str, item: dict[str, Any], field: str) -> None:
        """Check that a part of the record has no unknown key and, if it has a score, a possible one."""
        allowed = KEYS[part]
        for key in item:
            if key not in allowed:
                near = did_you_mean(key, allowed) or " Correct or remove it."
                fix = f"Allowed: {', '.join(allowed)}.{near}"
                self.report(f"{field}.{key}" if field else str(key), item[key], "unknown key", fix)
        score = item.get("score")
        if score is None or "score" not in allowed:
            return
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            self.report(f"{field}.score", score, "not a probability", "Write a number from 0 to 1.")

    def items(self, part: str, value: Any, field: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Go over the objects of a list with their places; report what is no list or no object."""
        if value is None:
            return
        if not isinstance(value, list):
            self.report(field, value, "not a list", "Write a list ([] for none) or leave the key out.")
            return
        for position, item in enumerate(value):
            place = f"{field}[{position}]"
            if isinstance(item, dict):
                self.keys(part, item, place)
                yield place, item
            else:
                self.report(place, item, "not an object", f"Write {{…}} with {', '.join(KEYS[part][:3])}.")

    def part(self, part: str, value: Any, field: str) -> dict[str, Any] | None:
        """Return an object that has to be there; report what is missing or no object."""
        if isinstance(value, dict):
            self.keys(part, value, field)
            return value
        message = "missing" if value is None else "not an object"
        self.report(field, value, message, 'Write {"start": …, "end": …} (and "type" where it has one).')
        return None

    def label(
        self,
        structure: str,
        field: str,
        name: Any,
        known: Collection[str] | None,
        looked_for: Collection[str] | None = None,
    ) -> bool:
        """Check the name of a label.

        Args:
            structure (`str`): What it is: a key of `SINGULAR`.
            field (`str`): Its place.
            name (`Any`): The name.
            known (`Collection[str]`, *optional*): The names that the schema has for this place.
            looked_for (`Collection[str]`, *optional*): The names that the record's own `labels` have.

        Returns:
            Whether nothing is wrong with it.
        """
        found = len(self.problems)
        if name is None:
            self.report(field, None, "missing", f"Name the {SINGULAR[structure]}.")
        elif not isinstance(name, str) or not name.strip():
            self.report(field, name, "not a name", f"Write the {SINGULAR[structure]} as a string.")
        elif known is not None and name not in known:
            if (structure, name) not in self._hints:  # finding the nearest is slow, and errors repeat
                self._hints[structure, name] = did_you_mean(name, known)
            near = self._hints[structure, name] or " Correct it or add it to the schema."
            message = f"no {SINGULAR[structure]} of the schema"
            self.report(field, name, message, f"Allowed: {show_names(known)}.{near}")
        elif looked_for is not None and name not in looked_for:
            fix = f"They are {show_names(sorted(looked_for))}. Add it there or remove it here."
            self.report(field, name, "not among the record's own labels", fix)
        return found == len(self.problems)

    def mention(self, field: str, mention: dict[str, Any]) -> None:
        """Check offsets, fragments and `text` of a mention."""
        start, end = mention.get("start"), mention.get("end")
        # The exact type: True is an int as well.
        if not (type(start) is int and type(end) is int and 0 <= start < end <= self.length):
            self._offsets(field, mention)
        elif mention.get("fragments") is not None:
            self._fragments(f"{field}.fragments", mention["fragments"], start, end)
        elif mention.get("text") is not None and self.text is not None:
            covered = self.text[start:end]
            if mention["text"] != covered:
                fix = f"Characters {start} to {end} are {shorten(covered)}. Correct one of the two."
                self.report(f"{field}.text", mention["text"], "not what the offsets cover", fix)

    def _offsets(self, field: str, mention: dict[str, Any]) -> None:
        """Say what is wrong with the offsets of a mention."""
        found = len(self.problems)
        for key in ("start", "end"):
            value = mention.get(key)
            if value is None:
                self.report(f"{field}.{key}", None, "missing", f'Add "{key}". {OFFSETS}')
            elif type(value) is not int:
                self.report(f"{field}.{key}", value, "not an integer", OFFSETS)
            elif not 0 <= value <= self.length:
                message = "negative" if value < 0 else f"outside the text of {self.length} characters"
                self.report(f"{field}.{key}", value, message, OFFSETS)
        if found == len(self.problems):
            message = f"not after start = {mention['start']}"
            self.report(f"{field}.end", mention["end"], message, f"A mention has characters. {OFFSETS}")

    def _fragments(self, field: str, fragments: Any, start: int, end: int) -> None:
        """Check the pieces of a discontinuous mention that extends from `start` to `end`."""
        pairs = pairs_of(fragments)
        if pairs is None:
            self.report(field, fragments, "not a list of [start, end]", "Write e.g. [[0, 4], [9, 12]].")
        elif len(pairs) < 2:
            self.report(field, fragments, "fewer than two pieces", "Leave it out: start and end say it all.")
        elif any(first >= last for first, last in pairs):
            self.report(field, fragments, "an empty piece", "Write [start, end] with start < end.")
        elif any(before[1] > after[0] for before, after in zip(pairs, pairs[1:], strict=False)):
            self.report(
                field, fragments, "overlapping or not in text order", "Sort the pieces, merge overlaps."
            )
        elif (pairs[0][0], pairs[-1][1]) != (start, end):
            fix = f"Write start = {pairs[0][0]} and end = {pairs[-1][1]}, or correct the pieces."
            self.report(field, fragments, f"not from start = {start} to end = {end}", fix)


def pairs_of(value: Any) -> list[list[int]] | None:
    """Return a list of [integer, integer] as it is, and None for anything else."""
    if isinstance(value, list) and all(integers_of(pair) is not None and len(pair) == 2 for pair in value):
        return value
    return None


def integers_of(value: Any) -> list[int] | None:
    """Return a list of integers as it is, and None for anything else."""
    if isinstance(value, list | tuple) and all(type(number) is int for number in value):
        return list(value)
    return None
