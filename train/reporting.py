"""What a person or a program reads: tables on a terminal, JSON in files that are whole or not there."""

import gzip
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ldnet.processing.converters.files import write_beside

PLAIN_WIDTH = 160  # columns of a table that goes to a file or pipe, where nobody gave a width
UNDEFINED = "-"
# JSON lets these stand in a string, but str.splitlines and others take them for the end of a line.
LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}
SCORES = ("support", "precision", "recall", "f1", "interval")
OTHER_SCORES = {
    "macro_f1": "macro",
    "exact_match": "exact match",
    "accuracy": "accuracy",
    "matthews": "Matthews",
}


def make_console(*, stderr: bool = False) -> Console:
    """A console on the present stdout or stderr that leaves words like `[LM]` as they are.

    Args:
        stderr: Write to stderr.

    Returns:
        The console.
    """
    file = sys.stderr if stderr else sys.stdout
    width = None if file.isatty() else PLAIN_WIDTH
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def one_line(text: object) -> str:
    """Text without line breaks, runs of white space and characters that could steer a terminal."""
    return printable(" ".join(str(text).split()))


def printable(text: str) -> str:
    """Text in which characters that could steer a terminal are escaped; line feeds stay.

    Args:
        text: Any text, for instance a user's.

    Returns:
        The text, in which for instance an escape character is `\\x1b`.
    """
    return "".join(c if c.isprintable() or c in "\n " else c.encode("unicode_escape").decode() for c in text)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON text with letters of all scripts as they are; one line for every reader.

    Args:
        value: What JSON can hold.
        indent: Spaces of indentation; `None` = one line.

    Returns:
        The text, without a line feed at its end.

    Raises:
        ValueError: If there is a NaN or infinity in it, which JSON does not know.
    """
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False).translate(LINE_ENDS)


def check_target(path: Path | None) -> None:
    """Refuse a file that could not be written later, before hours of work.

    Args:
        path: Where something will be written; `None` = nothing will be.

    Raises:
        OSError: If it is a folder, or in a folder that does not exist.
    """
    if path is None:
        return
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file in it")
    if not path.resolve().parent.is_dir():
        raise FileNotFoundError(f"{path}: its folder does not exist; make it or name another file")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[str]]:
    """Open a file for writing that appears, whole, only when the block ends without an error.

    Args:
        path: Where to write; gzip if it ends in `.gz`. A device or pipe is written directly.

    Yields:
        The open text file (UTF-8).

    Raises:
        OSError: If it cannot be written.
    """
    check_target(Path(path))
    target = Path(path).resolve()  # the file behind a link is replaced, not the link
    if target.exists() and not target.is_file():
        with open(target, "w", encoding="utf-8") as file:
            yield file
        return
    with write_beside(target) as beside, open(beside, "wb") as raw:
        # No name and no time in the gzip header: equal results give equal files.
        zipped = target.suffix == ".gz"
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if zipped else raw
        with io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            if not zipped:
                os.fsync(raw.fileno())


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON to a file that is whole or not there.

    Args:
        path: Where to write.
        value: What JSON can hold.

    Raises:
        OSError: If it cannot be written.
        ValueError: If there is a NaN or infinity in it.
    """
    text = to_json(value, indent=1)
    with atomic_write(path) as file:
        file.write(text + "\n")


def format_score(value: float | list[float] | int | None) -> str:
    """A cell of a table: a score with two decimals, a count, an interval, or `-` where undefined."""
    if value is None:
        return UNDEFINED
    if isinstance(value, list):
        return f"{value[0]:.1f}-{value[1]:.1f}"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}"


def scores_table(report: dict[str, Any]) -> Table:
    """Scores per task and label.

    Args:
        report: What `ExtractionMetrics.to_dict` gives.

    Returns:
        The table: of every task its micro scores, its other scores (macro F1, exact match, accuracy, Matthews
        correlation) with their name in the row and their value under F1, its class tasks and its labels.
    """
    table = Table()
    table.add_column("task / label", overflow="fold")
    for name in ("support", "P", "R", "F1", "95 % of F1"):
        table.add_column(name, justify="right", no_wrap=True)
    for task, scores in report["tasks"].items():
        for name, own in _score_rows(task, scores):
            cells = [format_score(own[key]) if key in own else "" for key in SCORES]
            table.add_row(Text(printable(name)), *cells, style="bold" if own is scores else None)
        table.add_section()
    return table


def _score_rows(name: str, scores: dict[str, Any], indent: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and scores of the rows of a task, and of the class tasks and labels in it."""
    yield f"{indent}{name}", scores
    for key, words in OTHER_SCORES.items():
        # A macro F1 of nothing is `-` like F1 itself; a correlation that makes no sense is left out.
        if key in scores and (key == "macro_f1" or scores[key] is not None):
            yield f"{indent}  {words}", {"f1": scores[key]}
    for part, own in (*scores.get("by_task", {}).items(), *scores.get("labels", {}).items()):
        yield from _score_rows(part, own, indent + "  ")


def _mention(mention: dict) -> str:
    words = one_line(mention["text"])
    return f"{words} ({mention['type']})" if mention.get("type") else words


def _place(mention: dict) -> str:
    pieces = mention.get("fragments") or [(mention["start"], mention["end"])]
    return ", ".join(f"{start}-{end}" for start, end in pieces)


def _found_rows(result: dict[str, Any]) -> Iterator[tuple[str, str, str, str, float]]:
    """Kind, type, words, characters and score of everything in a result; parts follow what they belong to."""
    for entity in result.get("entities") or ():
        yield "entity", entity["type"], one_line(entity["text"]), _place(entity), entity["score"]
    for kind in ("relation", "hyper_relation"):
        for relation in result.get(f"{kind}s") or ():
            head, tail = relation["head"], relation["tail"]
            words, place = f"{_mention(head)} → {_mention(tail)}", f"{_place(head)} → {_place(tail)}"
            yield kind.replace("_", "-"), relation["type"], words, place, relation["score"]
            yield from _part_rows("qualifier", "type", relation.get("qualifiers") or ())
    for event in result.get("events") or ():
        trigger = event["trigger"]
        yield "event", event["type"], one_line(trigger["text"]), _place(trigger), event["score"]
        yield from _part_rows("argument", "role", event["arguments"])
    for task, labels in (result.get("classes") or {}).items():
        yield from (("class", f"{task}: {label['label']}", "", "", label["score"]) for label in labels)
    for kind in ("answer", "span"):
        for found in result.get(f"{kind}s") or ():
            yield kind, "", one_line(found["text"]), _place(found), found["score"]


def _part_rows(kind: str, name: str, parts: Iterable[dict]) -> Iterator[tuple[str, str, str, str, float]]:
    for part in parts:
        yield f"  {kind}", part[name], one_line(part["text"]), _place(part), part["score"]


def result_table(result: dict[str, Any]) -> Group:
    """One text's result for a reader.

    Args:
        result: A result of the pipeline.

    Returns:
        The text, its question if there is one, and a table of what was found in it.
    """
    text = [Text(printable(result["text"]), style="bold")]
    if result.get("question") is not None:
        text.append(Text(printable(result["question"]), style="italic"))
    rows = list(_found_rows(result))
    if not rows:
        return Group(*text, Text("  no answer" if result.get("answers") == [] else "  nothing found"))
    table = Table()
    for name in ("", "type", "text", "characters"):
        table.add_column(name, overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    for kind, label, words, place, score in rows:
        table.add_row(kind, Text(printable(label)), Text(words), place, f"{score:.2f}")
    cut = "  more links were found than could be followed; the result is not complete"
    return Group(*text, table, *([Text(cut)] if result.get("truncated") else []))
