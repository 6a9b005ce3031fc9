"""doccano's exports of sequence labelling, relation labelling and classification (JSONL or JSON)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import json_rows
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import clean_label, utf16_positions
from ldnet.processing.converters.writing import fill_keys

TASK = "class"  # doccano's categories have no name
TEXT_KEYS = ("text", "data")
SPAN_KEYS = ("entities", "label", "labels")  # the last two may hold categories instead
KEYS = (*SPAN_KEYS, "categories", "cats")


def read_doccano(path: str | Path, report: AlignmentReport) -> Iterator[dict[str, Any]]:
    """Read an export: spans as [start, end, label] or as objects, relations, and categories.

    All records get the lists that one of them has: who annotated looked for them everywhere.

    Args:
        path (`str` or `Path`): The export.
        report (`AlignmentReport`): Filled.

    Yields:
        Records; categories are the classes of the task "class".

    Raises:
        ConversionError: With every row without a text.
        OSError: If the file cannot be read.
    """
    found = []
    for where, row in json_rows(path, report):
        text = next((row[key] for key in TEXT_KEYS if isinstance(row.get(key), str)), None)
        if text is None:
            fix = "A row of this format has 'text' or 'data'. Check that --from names its format."
            report.problem(where, "text", None, "missing", fix)
            continue
        record: dict[str, Any] = {} if row.get("id") is None else {"id": row["id"]}
        found.append((where, record | _record_of(text, row, where, report)))
        comments = report.listed(row.get("Comments", row.get("comments")), "comments", where)
        report.lose("comment", where, comments, len(comments))
    report.finish()
    fill_keys([record for _, record in found])
    for where, record in found:
        yield report.take(record, where)


def _record_of(text: str, row: dict[str, Any], where: str, report: AlignmentReport) -> dict[str, Any]:
    record: dict[str, Any] = {"text": text}
    given = [(key, item) for key in KEYS for item in report.listed(_as_list(row.get(key)), key, where)]
    names = [item for key, item in given if key not in SPAN_KEYS or isinstance(item, str)]
    spans = [item for key, item in given if key in SPAN_KEYS and not isinstance(item, str)]
    if names:
        record["classes"] = {TASK: report.names(names, "categories", where)}
    if spans or (not names and any(row.get(key) is not None for key in SPAN_KEYS)):
        by_id = _spans(text, spans, where, report)
        record["entities"] = [entity for entity in by_id.values() if entity]
        if row.get("relations") is not None:
            items = report.listed(row["relations"], "relations", where)
            relations = (_relation(item, by_id, where, report) for item in items)
            record["relations"] = [relation for relation in relations if relation]
    return record


def _as_list(value: Any) -> Any:
    """A single category as a list."""
    return [value] if isinstance(value, str) else value


def _spans(text: str, items: list[Any], where: str, report: AlignmentReport) -> dict[Any, dict | None]:
    """The entities by the `repr` of their ids (or number, where they have none); None for what is lost."""
    parsed = {}
    for number, item in enumerate(items):
        if isinstance(item, dict):
            parsed[repr(item["id"]) if "id" in item else number] = (
                item.get("start_offset"),
                item.get("end_offset"),
                item.get("label"),
            )
        elif isinstance(item, list) and len(item) == 3:
            parsed[number] = tuple(item)
        else:
            report.lose("label that is not [start, end, label]", where, item)
    # Without the words, only an end behind the text shows that JavaScript's units were counted.
    ends = [end for _, end, _ in parsed.values() if type(end) is int]
    units = utf16_positions(text)
    in_units = bool(ends) and len(text) < max(ends) <= max(units)
    found: dict[Any, dict | None] = {}
    for name, (start, end, label) in parsed.items():
        if in_units:
            report.repair("offsets in UTF-16 units", where, [start, end, label])
            start, end = units.get(start), units.get(end)
        label = clean_label(label)
        inside = type(start) is int and type(end) is int and 0 <= start < end <= len(text)
        found[name] = {"type": label, "start": start, "end": end} if inside and label else None
        report.lose("label without a name or outside the text", where, parsed[name], int(not found[name]))
    return found


def _relation(
    item: Any, entities: dict[Any, dict | None], where: str, report: AlignmentReport
) -> dict[str, Any] | None:
    label = clean_label(item.get("type")) if isinstance(item, dict) else None
    ends = [entities.get(repr(item.get(key))) for key in ("from_id", "to_id")] if label else [None]
    if None in ends:
        report.lose("relation without a type or an end", where, item)
        return None
    return {"type": label, "head": ends[0], "tail": ends[1]}
