"""SpERT: `{"tokens": […], "entities": [{type, start, end}], "relations": [{type, head, tail}]}`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import convert_rows
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import clean_label, is_index, join_tokens, token_mention


def read_spert(
    path: str | Path, report: AlignmentReport, *, separator: str = " "
) -> Iterator[dict[str, Any]]:
    """Read SpERT's documents: ends of entities are exclusive, relations name entities by their position.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Filled.
        separator (`str`): What joins the tokens to a text.

    Yields:
        Records; `relations` only where the document has the key.

    Raises:
        ConversionError: With every document that lacks a key.
        OSError: If the file cannot be read.
    """

    def convert(row: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
        text, offsets = join_tokens([str(token) for token in row["tokens"]], separator)
        found = [_entity(item, offsets, where, report) for item in row["entities"]]
        record: dict[str, Any] = {} if row.get("orig_id") is None else {"id": row["orig_id"]}
        record |= {"text": text, "entities": [entity for entity in found if entity]}
        if row.get("relations") is not None:
            items = report.listed(row["relations"], "relations", where)
            relations = (_relation(item, found, where, report) for item in items)
            record["relations"] = [relation for relation in relations if relation]
        yield record

    return convert_rows(path, report, {"tokens": list, "entities": list}, convert)


def _entity(item: Any, offsets: list, where: str, report: AlignmentReport) -> dict[str, Any] | None:
    label = clean_label(item.get("type")) if isinstance(item, dict) else None
    end = item.get("end") if label else None
    mention = token_mention(offsets, item.get("start"), end - 1) if type(end) is int else None
    if mention is None:
        report.lose("entity that is not {type, start, end} in tokens of its text", where, item)
        return None
    return {"type": label, **mention}


def _relation(
    item: Any, found: list[dict | None], where: str, report: AlignmentReport
) -> dict[str, Any] | None:
    label = clean_label(item.get("type")) if isinstance(item, dict) else None
    ends = (item.get("head"), item.get("tail")) if label else ()
    mentions = [found[end] for end in ends if is_index(end, len(found))]
    if len(mentions) != 2 or None in mentions:
        report.lose("relation that is not {type, head, tail} with entities of its document", where, item)
        return None
    return {"type": label, "head": mentions[0], "tail": mentions[1]}
