"""DyGIE++ and PURE: documents as lists of tokenised sentences, with token positions in the document."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ldnet.processing.converters.files import convert_rows
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import Offsets, clean_label, join_tokens, pieces_of, token_mention

PREDICTED = ("predicted_ner", "predicted_relations", "predicted_events", "predicted_clusters")


def read_dygie(
    path: str | Path,
    report: AlignmentReport,
    *,
    separator: str = " ",
    unit: Literal["document", "sentence"] = "document",
) -> Iterator[dict[str, Any]]:
    """Read DyGIE++ documents: entities, relations, events and coreference clusters.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Filled.
        separator (`str`): What joins the tokens to a text.
        unit (`str`): A record is a `"document"` (with `sentences`, and `cluster` on entities) or a
            `"sentence"` (without coreference).

    Yields:
        Records; a key is there where the document has it.

    Raises:
        ConversionError: With every document without sentences.
        OSError: If the file cannot be read.
    """

    def convert(row: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
        sentences = [sentence for sentence in row["sentences"] if isinstance(sentence, list)]
        if len(sentences) < len(row["sentences"]):
            report.problem(where, "sentences", row["sentences"], "not lists of tokens", "Write [[…], […]].")
            return
        for key in PREDICTED:
            predicted = report.listed(row.get(key), key, where)
            report.lose(f"{key}: predictions are not read", where, None, len(predicted))
        name = row.get("doc_key")
        if unit == "document":
            yield ({} if name is None else {"id": name}) | _document(row, sentences, separator, where, report)
            return
        clusters = report.listed(row.get("clusters"), "clusters", where)
        report.lose("cluster: not within a sentence", where, None, len(clusters))
        shift = 0
        for index, sentence in enumerate(sentences):
            text, own = join_tokens([str(token) for token in sentence], separator)
            # The positions of other sentences have no characters here.
            offsets = Tokens(shift, own)
            shift += len(own)
            record = {} if name is None else {"id": f"{name}-{index}"}
            yield record | {"text": text} | _annotations(row, [index], offsets, where, report)

    return convert_rows(path, report, {"sentences": list}, convert)


class Tokens:
    """Characters of tokens that are counted from the beginning of a document.

    Args:
        shift (`int`): Tokens of the document before the first one.
        offsets (`Offsets`): Characters of the tokens.
    """

    def __init__(self, shift: int, offsets: Offsets) -> None:
        self.shift = shift
        self.offsets = offsets

    def mention(self, first: Any, last: Any) -> dict[str, int] | None:
        """The mention of a run of tokens, None if they are not all here."""
        if type(first) is not int or type(last) is not int:
            return None
        return token_mention(self.offsets, first - self.shift, last - self.shift)


def _document(
    row: dict[str, Any], sentences: list[list], separator: str, where: str, report: AlignmentReport
) -> dict[str, Any]:
    text, offsets = join_tokens([str(token) for token in chain.from_iterable(sentences)], separator)
    tokens = Tokens(0, offsets)
    record: dict[str, Any] = {"text": text, "sentences": []}
    record |= _annotations(row, range(len(sentences)), tokens, where, report)
    count = 0
    for sentence in sentences:
        bounds = tokens.mention(count, count + len(sentence) - 1)
        count += len(sentence)
        if bounds is not None:
            record["sentences"].append([bounds["start"], bounds["end"]])
    at: dict[tuple, list[dict]] = {}
    for entity in record.get("entities") or ():
        at.setdefault(pieces_of(entity), []).append(entity)
    for number, cluster in enumerate(report.listed(row.get("clusters"), "clusters", where)):
        for item in report.listed(cluster, "cluster", where):
            mention = tokens.mention(item[0], item[1]) if _is_run(item, 2) else None
            here = at.get(pieces_of(mention), []) if mention else []
            for entity in here:
                entity["cluster"] = number
            if not here:
                report.lose("mention of a cluster that is no entity", where, item)
    return record


def _is_run(item: Any, length: int) -> bool:
    return isinstance(item, list) and len(item) >= length


def _annotations(
    row: dict[str, Any], sentences: Any, tokens: Tokens, where: str, report: AlignmentReport
) -> dict[str, Any]:
    """The annotations of some sentences of a document."""
    found: dict[str, Any] = {}
    types: dict[tuple, str] = {}
    for key, name, convert in (
        ("ner", "entities", _entity),
        ("relations", "relations", _relation),
        ("events", "events", _event),
    ):
        if row.get(key) is None:
            continue
        lists = report.listed(row[key], key, where)
        own = [lists[index] for index in sentences if index < len(lists)]
        items = [item for part in own for item in report.listed(part, key, where)]
        converted = [convert(item, tokens, types, where, report) for item in items]
        found[name] = [item for item in converted if item is not None]
        if key == "ner":
            for entity in found[name]:
                types.setdefault(pieces_of(entity), entity["type"])
    return found


def _entity(item: Any, tokens: Tokens, types: dict, where: str, report: AlignmentReport) -> dict | None:
    label = clean_label(item[2]) if _is_run(item, 3) else None
    mention = tokens.mention(item[0], item[1]) if label else None
    if mention is None:
        report.lose("entity that is not [first token, last token, label] of its text", where, item)
        return None
    return {"type": label, **mention}


def _relation(item: Any, tokens: Tokens, types: dict, where: str, report: AlignmentReport) -> dict | None:
    label = clean_label(item[4]) if _is_run(item, 5) else None
    ends = [tokens.mention(*item[:2]), tokens.mention(*item[2:4])] if label else [None]
    if None in ends:
        report.lose("relation that is not [head, head, tail, tail, label] of its text", where, item)
        return None
    head, tail = ({"type": types[pieces_of(end)], **end} if pieces_of(end) in types else end for end in ends)
    return {"type": label, "head": head, "tail": tail}


def _event(item: Any, tokens: Tokens, types: dict, where: str, report: AlignmentReport) -> dict | None:
    """An event: `[[trigger token(s), type], [first, last, role], …]`."""
    head = item[0] if _is_run(item, 1) and _is_run(item[0], 2) else []
    # DyGIE++ writes one token, or a first and a last one; scores may stand behind the type.
    runs = [part for part in head if type(part) is int]
    label = next((clean_label(part) for part in head if isinstance(part, str)), None)
    trigger = tokens.mention(runs[0], runs[-1]) if label and runs else None
    if trigger is None:
        report.lose("event without a trigger [token, type] in its text", where, item)
        return None
    event: dict[str, Any] = {"type": label, "trigger": trigger, "arguments": []}
    for part in item[1:]:
        role = clean_label(part[2]) if _is_run(part, 3) else None
        mention = tokens.mention(part[0], part[1]) if role else None
        if mention is None:
            report.lose("argument that is not [first token, last token, role] of its text", where, part)
        else:
            event["arguments"].append({"role": role, **mention})
    return event
