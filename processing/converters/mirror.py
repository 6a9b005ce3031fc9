"""Mirror's unified data: `{"id", "instruction", "schema": {…}, "ans": {…}, "text", "bg"}`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import convert_rows
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import clean_label, fragments_mention, realign

TASK = "class"  # Mirror's classifications have no name
KEYS = {
    "ent": "entities",
    "discontinuous_ent": "entities",
    "rel": "relations",
    "hyper_rel": "hyper_relations",
    "event": "events",
    "cls": "classes",
}


def read_mirror(path: str | Path, report: AlignmentReport) -> Iterator[dict[str, Any]]:
    """Read Mirror's rows; the types of a row's schema are its record's own `labels`.

    Spans of a row without label types are the answers to its instruction (extractive reading), or, if it has
    none, spans without a type. A background text is read where the row has no other text.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Filled.

    Yields:
        Records.

    Raises:
        ConversionError: With every row without schema, answers or text.
        OSError: If the file cannot be read.
    """

    def convert(row: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
        text, background = row["text"], clean_label(row.get("bg"))
        if not text and background:
            report.repair("row with a background only: read as its text", where)
            text = background
        elif background:
            report.lose("background text beside the text", where, background)
        yield ({} if row.get("id") is None else {"id": row["id"]}) | _Row(text, where, report).record(row)

    return convert_rows(path, report, {"schema": dict, "ans": dict, "text": str}, convert)


class _Row:
    """One row on its way to a record.

    Args:
        text: Its text.
        where: Its place.
        report: Filled.
    """

    def __init__(self, text: str, where: str, report: AlignmentReport) -> None:
        self.text = text
        self.where = where
        self.report = report
        self.types: dict[tuple[int, int], str] = {}

    def record(self, row: dict[str, Any]) -> dict[str, Any]:
        """The record, without its id."""
        record: dict[str, Any] = {"text": self.text}
        labels: dict[str, Any] = {}
        for key, name in KEYS.items():
            asked = row["schema"].get(key)
            if not asked and key not in row["ans"]:
                continue
            # The schema of events is an object: its types with their roles.
            asked = list(asked) if isinstance(asked, dict) else asked
            asked = self.report.names(asked, f"schema.{key}", self.where)
            items = self.report.listed(row["ans"].get(key), key, self.where)
            if key == "cls":
                holding = self.report.names(items, key, self.where)
                record[name], labels[name] = {TASK: holding}, {TASK: list(dict.fromkeys([*asked, *holding]))}
                continue
            found = [getattr(self, key)(item if isinstance(item, dict) else {}) for item in items]
            found = [item for item in found if item is not None]
            record.setdefault(name, []).extend(found)
            if asked or name in labels:
                used = [item["type"] for item in found]
                labels[name] = list(dict.fromkeys([*labels.get(name, ()), *asked, *used]))
        if "span" in row["ans"]:
            self.spans(record, row)
        unknown = row["ans"].keys() - KEYS.keys() - {"span"}
        for key in sorted(unknown):
            items = row["ans"][key]
            count = len(items) if isinstance(items, list) else 1
            self.report.lose(f"{key}: not known", self.where, items, count)
        labels = {key: names for key, names in labels.items() if names}
        return record | ({"labels": labels} if labels else {})

    def mention(self, item: Any) -> dict[str, Any] | None:
        """A mention from `{"text", "span"}`; None, and counted, if its words are not in the text."""
        span = item.get("span") if isinstance(item, dict) else None
        words = item.get("text") if isinstance(item, dict) else None
        pieces = span if isinstance(span, list) and span and isinstance(span[0], list) else [span]
        if not isinstance(words, str) or not all(isinstance(p, list) and len(p) == 2 for p in pieces):
            self.report.lose("mention that is not {text, span: [start, end]}", self.where, item)
            return None
        if len(pieces) > 1:
            inside = all(type(s) is type(e) is int and 0 <= s < e <= len(self.text) for s, e in pieces)
            if inside and " ".join(self.text[start:end] for start, end in pieces) == words:
                return fragments_mention([tuple(piece) for piece in pieces])
            self.report.lose("discontinuous mention whose words are not at its places", self.where, item)
            return None
        found = realign(self.text, *pieces[0], words)
        if found is None:
            self.report.lose("mention whose words are not in the text", self.where, item)
            return None
        if found[2]:
            self.report.repair(found[2], self.where, words)
        return {"start": found[0], "end": found[1]}

    def ent(self, item: dict[str, Any]) -> dict[str, Any] | None:
        """An entity."""
        label, mention = clean_label(item.get("type")), self.mention(item)
        if label is None or mention is None:
            self.report.lose("entity without a type", self.where, item, int(label is None))
            return None
        self.types.setdefault((mention["start"], mention["end"]), label)
        return {"type": label, **mention}

    discontinuous_ent = ent

    def rel(self, item: dict[str, Any]) -> dict[str, Any] | None:
        """A relation."""
        label = clean_label(item.get("relation"))
        ends = [self.mention(item.get(end)) for end in ("head", "tail")]
        if label is None or None in ends:
            self.report.lose("relation without a type or an end", self.where, item)
            return None
        head, tail = (self.typed(end) for end in ends)
        return {"type": label, "head": head, "tail": tail}

    def typed(self, mention: dict[str, Any]) -> dict[str, Any]:
        """A mention with the type of the entity at its place."""
        place = (mention["start"], mention["end"])
        return {"type": self.types[place], **mention} if place in self.types else mention

    def hyper_rel(self, item: dict[str, Any]) -> dict[str, Any] | None:
        """A relation with qualifiers."""
        relation = self.rel(item)
        if relation is None:
            return None
        relation["qualifiers"] = list(self.parts(item.get("qualifiers"), "label", "type", "qualifier"))
        return relation

    def event(self, item: dict[str, Any]) -> dict[str, Any] | None:
        """An event."""
        label, trigger = clean_label(item.get("event_type")), self.mention(item.get("trigger"))
        if label is None or trigger is None:
            self.report.lose("event without a type or a trigger", self.where, item)
            return None
        arguments = list(self.parts(item.get("args"), "role", "role", "argument"))
        return {"type": label, "trigger": trigger, "arguments": arguments}

    def parts(self, items: Any, key: str, name: str, kind: str) -> Iterator[dict[str, Any]]:
        """Qualifiers or arguments: mentions whose label stands under `key`, and shall stand under `name`."""
        for item in self.report.listed(items, kind, self.where):
            label = clean_label(item.get(key)) if isinstance(item, dict) else None
            mention = self.mention(item) if label else None
            if mention is None:
                self.report.lose(f"{kind} without a label or a mention", self.where, item)
            else:
                yield {name: label, **mention}

    def spans(self, record: dict[str, Any], row: dict[str, Any]) -> None:
        """Add the spans without a type, as answers if there is a question."""
        items = self.report.listed(row["ans"]["span"], "span", self.where)
        found = [mention for mention in map(self.mention, items) if mention is not None]
        question = clean_label(row.get("instruction"))
        if not question or any(row["schema"].values()):
            record["spans"] = found
        elif items and not found:
            self.report.lose("question of which no answer is in its text", self.where, question)
        else:
            record |= {"question": question, "answers": found}
