"""Rows of UIE's T5 version: `tokens`, and `entity`, `relation`, `event` with the numbers of their tokens."""

from typing import Any

from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import clean_label, fragments_mention, is_index, join_tokens


def record_of_tokens(
    row: dict[str, Any], separator: str, where: str, report: AlignmentReport
) -> dict[str, Any]:
    """Make a record of a row.

    Args:
        row (`dict`): The row, with `tokens`.
        separator (`str`): What joins the tokens, unless the row's own `text` shows it.
        where (`str`): Its place.
        report (`AlignmentReport`): Filled.

    Returns:
        The record; a key is there where the row has it.
    """
    tokens = [str(token) for token in row["tokens"]]
    fitting = [joint for joint in (" ", "") if row.get("text") == joint.join(tokens)]
    text, offsets = join_tokens(tokens, fitting[0] if fitting else separator)
    reader = _Items(offsets, where, report)
    record: dict[str, Any] = {"text": text}
    for key, name, read in (
        ("entity", "entities", reader.entity),
        ("relation", "relations", reader.relation),
        ("event", "events", reader.event),
    ):
        if row.get(key) is not None:
            items = report.listed(row[key], key, where)
            found = [read(item if isinstance(item, dict) else {}) for item in items]
            record[name] = [item for item in found if item is not None]
    return record


class _Items:
    """Reads the items of one row.

    Args:
        offsets: Characters of its tokens.
        where: Its place.
        report: Filled.
    """

    def __init__(self, offsets: list[tuple[int, int]], where: str, report: AlignmentReport) -> None:
        self.offsets = offsets
        self.where = where
        self.report = report

    def entity(self, item: dict[str, Any], key: str = "type") -> dict[str, Any] | None:
        """A mention with its label under `key`; None, and counted, if there is none."""
        label, mention = clean_label(item.get("type")), self.mention(item.get("offset"))
        if label is None or mention is None:
            self.report.lose("item that is not {type, offset: [tokens]} of its text", self.where, item)
            return None
        return {key: label, **mention}

    def mention(self, numbers: Any) -> dict[str, Any] | None:
        """The mention of tokens by their numbers; those that do not follow each other are its pieces."""
        length = len(self.offsets)
        if not isinstance(numbers, list) or not all(is_index(n, length) for n in numbers):
            return None
        firsts = sorted(n for n in set(numbers) if n - 1 not in numbers)
        lasts = sorted(n for n in set(numbers) if n + 1 not in numbers)
        pairs = zip(firsts, lasts, strict=True)
        pieces = [(self.offsets[first][0], self.offsets[last][1]) for first, last in pairs]
        pieces = [piece for piece in pieces if piece[0] < piece[1]]
        return fragments_mention(pieces) if pieces else None

    def parts(self, item: dict[str, Any], key: str) -> list[dict[str, Any] | None]:
        """The arguments of a relation or event."""
        parts = self.report.listed(item.get("args"), "args", self.where)
        return [self.entity(part if isinstance(part, dict) else {}, key) for part in parts]

    def relation(self, item: dict[str, Any]) -> dict[str, Any] | None:
        """A relation; None, and counted, if it has not a type and two ends."""
        label, ends = clean_label(item.get("type")), self.parts(item, "type")
        if label is None or len(ends) != 2 or None in ends:
            self.report.lose("relation without a type and two ends", self.where, item)
            return None
        return {"type": label, "head": ends[0], "tail": ends[1]}

    def event(self, item: dict[str, Any]) -> dict[str, Any] | None:
        """An event; None if it has no trigger."""
        trigger = self.entity(item)
        if trigger is None:
            return None
        label = trigger.pop("type")
        arguments = [part for part in self.parts(item, "role") if part is not None]
        return {"type": label, "trigger": trigger, "arguments": arguments}
