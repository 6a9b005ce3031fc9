"""GLiNER training data: `{"tokenized_text": […], "ner": [[first, last, label], …]}`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import convert_rows
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import clean_label, is_index, join_tokens, token_mention

# The types that were looked for in a row, under the names that GLiNER's processors know.
ASKED = {
    "entities": ("ner_labels", "ner_label", "ner_negatives"),
    "relations": ("rel_labels", "rel_negatives"),
}


def read_gliner(
    path: str | Path, report: AlignmentReport, *, separator: str = " "
) -> Iterator[dict[str, Any]]:
    """Read GLiNER's training rows, also those with `relations` as [index of head, index of tail, label].

    Types listed by a row (`ner_labels`, `ner_negatives`, `rel_labels`) become the record's own `labels`.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Filled.
        separator (`str`): What joins the tokens to a text.

    Yields:
        Records.

    Raises:
        ConversionError: With every row that lacks a key.
        OSError: If the file cannot be read.
    """

    def convert(row: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
        tokens = [str(token) for token in row["tokenized_text"]]
        text, offsets = join_tokens(tokens, separator)
        found = [_entity(item, offsets, where, report) for item in row["ner"]]
        record: dict[str, Any] = {"text": text, "entities": [entity for entity in found if entity]}
        if row.get("id") is not None:
            record = {"id": row["id"], **record}
        if row.get("relations") is not None:
            items = report.listed(row["relations"], "relations", where)
            record["relations"] = list(_relations(items, found, where, report))
        labels = {key: _asked(row, keys, record.get(key), where, report) for key, keys in ASKED.items()}
        if any(labels.values()):
            record["labels"] = {key: names for key, names in labels.items() if names}
        yield record

    return convert_rows(path, report, {"tokenized_text": list, "ner": list}, convert)


def _entity(item: Any, offsets: list, where: str, report: AlignmentReport) -> dict[str, Any] | None:
    label = clean_label(item[2]) if isinstance(item, list) and len(item) > 2 else None
    mention = token_mention(offsets, item[0], item[1]) if label else None
    if mention is None:
        report.lose("entity that is not [first token, last token, label] of its text", where, item)
        return None
    return {"type": label, **mention}


def _relations(
    items: list, found: list[dict | None], where: str, report: AlignmentReport
) -> Iterator[dict[str, Any]]:
    for item in items:
        label = clean_label(item[2]) if isinstance(item, list) and len(item) > 2 else None
        known = label and is_index(item[0], len(found)) and is_index(item[1], len(found))
        if known and found[item[0]] and found[item[1]]:
            yield {"type": label, "head": found[item[0]], "tail": found[item[1]]}
        else:
            report.lose("relation that is not [head, tail, label] with entities of its row", where, item)


def _asked(
    row: dict[str, Any], keys: tuple[str, ...], found: list[dict] | None, where: str, report: AlignmentReport
) -> list[str]:
    """The labels that a row lists, with those that it uses; empty if it lists none."""
    listed = [name for key in keys for name in report.names(row.get(key), key, where)]
    used = [item["type"] for item in found or ()] if listed else []
    return list(dict.fromkeys([*listed, *used]))
