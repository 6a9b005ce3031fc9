"""Columns of tokens and tags (CoNLL, BIO, IOB1, IOBES, BILOU, BMES or bare labels), and back."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ldnet.processing.converters.files import open_text, text_lines
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import Offsets, clean_label, join_tokens, token_mention
from ldnet.processing.converters.writing import lose_other, name_of

PREFIXED = re.compile(r"([BIEMSLU])(?:[-_](.+))?")  # L and U: BILOU; M: BMES
SAME_PREFIX = {"M": "I", "L": "E", "U": "S"}
DOCUMENT = "-DOCSTART-"
Run = tuple[int, int, str | None]  # of tokens, the last one inclusive, with its label
WORD_PATTERNS = {
    "whitespace": re.compile(r"\S+"),
    # Words with signs inside them ("10,000", "don't", "U.S"), else single signs and CJK characters.
    "words": re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3040-\u9fff]+(?:[^\w\s]+\w+)*|\S"),
}


class Tag(NamedTuple):
    """B, I, E, S or O, and the label after it."""

    prefix: str
    label: str | None


class Plan(NamedTuple):
    """How the tags of a file are to be read: labels alone, with E and S, and where their mentions go."""

    bare: bool
    iobes: bool
    key: str


OUTSIDE = Tag("O", None)


@dataclass
class Sentence:
    """Lines between two empty ones.

    Args:
        where (`str`): Its first line.
        document (`int`): How many document starts stand before it.
        tokens (`list[str]`): The text column.
        tags (`list[str]`): The label column.
        places (`list[str]`): The line of each.
    """

    where: str
    document: int
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


def read_conll(
    path: str | Path,
    report: AlignmentReport,
    *,
    text_column: int = 0,
    label_column: int = -1,
    separator: str = " ",
    unit: Literal["sentence", "document"] = "sentence",
) -> Iterator[dict[str, Any]]:
    """Read columns, separated by tabs (if the line has one) or spaces; an empty line ends a sentence.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Filled while the records are taken.
        text_column (`int`): Column of the tokens, from 0; negative numbers count from the right.
        label_column (`int`): Column of the tags.
        separator (`str`): What joins the tokens to a text.
        unit (`str`): A record is a `"sentence"` or all between two `-DOCSTART-` lines.

    Yields:
        Records with `entities`, or with `spans` where all tags of the file are bare B, I, O.

    Raises:
        ConversionError: With every line that lacks a column.
        OSError: If the file cannot be read.
    """
    sentences = list(_read_sentences(path, text_column, label_column, report))
    report.finish()
    plan = _plan_of(sentences)
    if plan.bare:
        report.repair("labels without B- and I-: a run of one label is a mention", str(path))
    groups: dict[int, list[Sentence]] = {}
    for index, sentence in enumerate(sentences):
        groups.setdefault(sentence.document if unit == "document" else index, []).append(sentence)
    for group in groups.values():
        record = _record_of(group, plan, separator, report)
        if unit == "sentence":
            del record["sentences"]
        yield report.take(record, group[0].where)


def _plan_of(sentences: list[Sentence]) -> Plan:
    tags = {tag for sentence in sentences for tag in sentence.tags if tag != "O"}
    matches = [match for match in map(PREFIXED.fullmatch, tags) if match]
    return Plan(
        bare=bool(tags) and not matches,
        iobes=any(match[1] in "ESLUM" for match in matches),
        key="spans" if matches and all(match[2] is None for match in matches) else "entities",
    )


def _read_sentences(
    path: str | Path, text_column: int, label_column: int, report: AlignmentReport
) -> Iterator[Sentence]:
    document = 0
    sentence = Sentence("", document)
    for where, line in text_lines(path):
        line = line.rstrip(" \t")  # no other white space: it may be a token
        columns = line.split("\t") if "\t" in line else [part for part in line.split(" ") if part]
        if not columns or columns[0] == DOCUMENT:
            if sentence.tokens:
                yield sentence
            document += bool(columns)
            sentence = Sentence("", document)
        elif not sentence.tokens and line.startswith("#") and not _is_tag(columns[-1]):
            continue  # a comment, as in CoNLL-U; a token "#" has a tag behind it
        else:
            _add_token(sentence, columns, (text_column, label_column), where, report)
    if sentence.tokens:
        yield sentence


def _is_tag(text: str) -> bool:
    return text == "O" or PREFIXED.fullmatch(text) is not None


def _add_token(
    sentence: Sentence, columns: list[str], wanted: tuple[int, int], where: str, report: AlignmentReport
) -> None:
    needed = max(column + 1 if column >= 0 else -column for column in wanted)
    if len(columns) < max(needed, 2):
        fix = "Name the columns with --set text_column=… and label_column=… (from 0, or -1 for the last)."
        report.problem(where, "line", " ".join(columns), f"has {len(columns)} column(s)", fix)
        return
    sentence.where = sentence.where or where
    sentence.tokens.append(columns[wanted[0]])
    sentence.tags.append(columns[wanted[1]].strip())
    sentence.places.append(where)


def decode_tags(tags: list[Tag], iobes: bool) -> tuple[list[Run], list[tuple[int, str]]]:
    """Mentions of a tag sequence, also of one that breaks its own rules.

    Args:
        tags (`list[Tag]`): A tag for each token.
        iobes (`bool`): Whether mentions end with E or S; if not, they just end.

    Returns:
        Mentions as (first token, last token, label), and what had to be repaired as (token, cause).
    """
    runs: list[Run] = []
    repairs: list[tuple[int, str]] = []
    start = -1
    label: str | None = None
    for index, tag in enumerate([*tags, OUTSIDE]):
        goes_on = start >= 0 and tag.prefix in "IE" and tag.label == label
        if start >= 0 and not goes_on:
            runs.append((start, index - 1, label))
            start = -1
            if iobes:
                repairs.append((index - 1, "mention that does not end with E- or S-: ended where it stops"))
        if tag.prefix != "O" and not goes_on:
            if tag.prefix not in "BS":
                repairs.append((index, f"mention that begins with {tag.prefix}- instead of B-: begun there"))
            start, label = index, tag.label
        if tag.prefix in "ES":
            runs.append((start, index, label))
            start = -1
    return runs, repairs


def _record_of(group: list[Sentence], plan: Plan, separator: str, report: AlignmentReport) -> dict[str, Any]:
    text, offsets = join_tokens([token for sentence in group for token in sentence.tokens], separator)
    record: dict[str, Any] = {"text": text, plan.key: [], "sentences": []}
    shift = 0
    for sentence in group:
        own = offsets[shift : shift + len(sentence.tokens)]
        shift += len(own)
        record[plan.key] += _mentions(sentence, plan, own, report)
        if own[0][0] < own[-1][1]:
            record["sentences"].append([own[0][0], own[-1][1]])
    return record


def _mentions(
    sentence: Sentence, plan: Plan, offsets: Offsets, report: AlignmentReport
) -> Iterator[dict[str, Any]]:
    tags = [_parse_tag(sentence, index, plan.bare, report) for index in range(len(sentence.tags))]
    runs, repairs = decode_tags(tags, plan.iobes)
    for index, cause in repairs:
        if not plan.bare:
            report.repair(cause, sentence.places[index], sentence.tags[index])
    for first, last, label in runs:
        mention = token_mention(offsets, first, last)
        where, value = sentence.places[first], sentence.tags[first]
        if mention is None:
            report.lose("mention without characters", where, value)
        elif plan.key == "spans":
            yield mention
        elif clean_label(label) is None:
            report.lose("tag without a label", where, value)
        else:
            yield {"type": clean_label(label), **mention}


def _parse_tag(sentence: Sentence, index: int, bare: bool, report: AlignmentReport) -> Tag:
    text = sentence.tags[index]
    if text == "O":
        return OUTSIDE
    match = PREFIXED.fullmatch(text)
    if match is None and not bare:
        report.lose("tag that is none", sentence.places[index], text)
        return OUTSIDE
    return Tag("I", text) if match is None else Tag(SAME_PREFIX.get(match[1], match[1]), match[2])


def write_conll(
    records: Iterable[dict[str, Any]],
    path: str | Path,
    report: AlignmentReport,
    *,
    scheme: Literal["bio", "bioes"] = "bio",
    tokens: Literal["whitespace", "words"] = "whitespace",
) -> None:
    """Write a line for each word: the word, a tab, its tag; an empty line ends a record.

    A word in which a mention begins or ends is split there. Of overlapping mentions the longest is kept.

    Args:
        records (`Iterable[dict]`): Records in our format.
        path (`str` or `Path`): The file; `-` is stdout.
        report (`AlignmentReport`): Filled.
        scheme (`str`): `"bio"` (IOB2) or `"bioes"`.
        tokens (`str`): Words end at white space, or also at signs (for text that is not tokenised).

    Raises:
        OSError: If the file cannot be written.
    """
    with open_text(path) as file:
        for index, record in enumerate(records):
            where = name_of(record, index)
            key = "entities" if record.get("entities") is not None else "spans"
            lose_other(record, {key}, "columns of tags", where, report)
            kept = _flat_mentions(record, record.get(key) or [], where, report)
            words = _words(record["text"], kept, WORD_PATTERNS[tokens], where, report)
            if not words:
                report.lose("text without words", where)
                continue
            report.count({key: kept})
            tags = _tags(words, kept, scheme)
            rows = (f"{record['text'][s:e]}\t{tag}\n" for (s, e), tag in zip(words, tags, strict=True))
            file.write("".join(rows) + "\n")


def _flat_mentions(record: dict, mentions: list[dict], where: str, report: AlignmentReport) -> list[dict]:
    """Mentions that a tag sequence can hold, without white space around them."""
    text, kept = record["text"], []
    for mention in sorted(mentions, key=lambda m: (m["start"] - m["end"], m["start"], m.get("type") or "")):
        inner = text[mention["start"] : mention["end"]]
        start = mention["start"] + len(inner) - len(inner.lstrip())
        end = start + len(inner.strip())
        if mention.get("fragments"):
            report.lose("discontinuous mention", where, inner)
        elif start == end:
            report.lose("mention of white space", where, mention)
        elif any(start < other["end"] and other["start"] < end for other in kept):
            report.lose("mention that overlaps a longer one", where, inner)
        else:
            if (start, end) != (mention["start"], mention["end"]):
                report.repair("white space around a mention: left out", where, inner)
            kept.append({**mention, "start": start, "end": end})
    return sorted(kept, key=lambda mention: mention["start"])


def _words(
    text: str, mentions: list[dict], pattern: re.Pattern, where: str, report: AlignmentReport
) -> list[tuple[int, int]]:
    cuts = {mention[key] for mention in mentions for key in ("start", "end")}
    words = []
    for match in pattern.finditer(text):
        start, end = match.span()
        inside = sorted(cut for cut in cuts if start < cut < end)
        report.repair("word with a mention's boundary inside: split there", where, match[0], len(inside))
        edges = [start, *inside, end]
        words += zip(edges, edges[1:], strict=False)
    return words


def _tags(words: list[tuple[int, int]], mentions: list[dict], scheme: str) -> list[str]:
    tags = ["O"] * len(words)
    for mention in mentions:
        within = [
            i for i, (start, end) in enumerate(words) if mention["start"] <= start and end <= mention["end"]
        ]
        label = " ".join((mention.get("type") or "").split())
        for position, index in enumerate(within):
            prefix = "B" if position == 0 else "I"
            if scheme == "bioes" and position == len(within) - 1:
                prefix = "S" if position == 0 else "E"
            tags[index] = f"{prefix}-{label}" if label else prefix
    return tags
