"""`ldnet extract`: texts in, records out."""

import gzip
import json
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from ldnet.train.commands import (
    SCHEMA_HELP,
    BatchSizeOption,
    ModelOption,
    ThresholdOption,
    load_pipeline,
    text_problem,
)

if TYPE_CHECKING:
    from ldnet.processing.schema import Schema
    from ldnet.train.data import Problem

TEXT_SUFFIXES = (".txt", ".txt.gz")
LINE_SUFFIXES = (".jsonl", ".jsonl.gz")
SUFFIXES = (*TEXT_SUFFIXES, *LINE_SUFFIXES, ".json")
RECORD_FIX = 'Write a record: {"text": "…"}.'


class Overlap(StrEnum):
    """What to do with entities that overlap."""

    nested = "nested"
    flat = "flat"


@dataclass
class Source:
    """Texts to read, and what turned out to be wrong with them.

    Args:
        name: Stands in messages.
        items: Where each text stands, the text or whole record, and whether it is a record.
        problems: Lines that could not be read; filled while the texts are.
    """

    name: str
    items: Iterator[tuple[str, Any, bool]]
    problems: list["Problem"] = field(default_factory=list)


def _lines(file: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    """Lines with their places; only a line feed ends a line, not the other line ends that a text may hold."""
    for number, line in enumerate(file, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # an editor may have put a byte order mark in front
        yield f"{name}:{number}", line.rstrip(b"\r\n")


def _parse(where: str, content: bytes, fields: str) -> tuple[Any, "Problem | None"]:
    from ldnet.train.data import Problem

    try:
        return json.loads(content), None
    except UnicodeDecodeError as error:
        return None, Problem(where, fields, None, f"not UTF-8 at byte {error.start}", "Convert it to UTF-8.")
    except json.JSONDecodeError as error:
        shown, message = (
            content.decode(errors="replace"),
            f"not valid JSON at column {error.colno} ({error.msg})",
        )
        return None, Problem(where, fields, shown, message, RECORD_FIX)
    except RecursionError:
        return None, Problem(where, fields, None, "nested too deeply", RECORD_FIX)


def _read_records(lines: Iterator[tuple[str, bytes]], source: Source) -> Iterator[tuple[str, Any, bool]]:
    for where, line in lines:
        if not line.strip():
            continue
        record, problem = _parse(where, line, "line")
        if problem is None:
            yield where, record, True
        else:
            source.problems.append(problem)


def _read_json(file: IO[bytes], source: Source) -> Iterator[tuple[str, Any, bool]]:
    content, problem = _parse(source.name, file.read().removeprefix(b"\xef\xbb\xbf"), "file")
    if problem is not None:
        source.problems.append(problem)
    elif isinstance(content, list):
        yield from ((f"{source.name}[{i}]", record, True) for i, record in enumerate(content))
    else:
        yield source.name, content, True


def _read_texts(lines: Iterator[tuple[str, bytes]], source: Source) -> Iterator[tuple[str, Any, bool]]:
    """One text a line, empty ones as well: the n-th result belongs to the n-th line."""
    from ldnet.train.data import Problem

    for where, line in lines:
        try:
            yield where, line.decode(), False
        except UnicodeDecodeError as error:
            message, fix = f"not UTF-8 at byte {error.start}", "Convert it to UTF-8."
            source.problems.append(Problem(where, "text", None, message, fix))


def _read_stdin(source: Source) -> Iterator[tuple[str, Any, bool]]:
    """Records if the first line that is not empty is a JSON object, else one text a line."""
    lines = _lines(sys.stdin.buffer, source.name)
    head: list[tuple[str, bytes]] = []
    for item in lines:
        head.append(item)
        if item[1].strip():
            break

    def all_lines() -> Iterator[tuple[str, bytes]]:
        yield from head
        yield from lines

    is_record = bool(head) and isinstance(_parse(*head[-1], "line")[0], dict)
    return _read_records(all_lines(), source) if is_record else _read_texts(all_lines(), source)


def _read_file(file: IO[bytes], source: Source) -> Iterator[tuple[str, Any, bool]]:
    name = source.name.lower()
    if name.endswith(".json"):
        yield from _read_json(file, source)
        return
    read = _read_records if name.endswith(LINE_SUFFIXES) else _read_texts
    try:
        yield from read(_lines(file, source.name), source)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        from ldnet.train.data import Problem

        message, fix = f"the file is damaged or cut off ({error})", "Fetch it again."
        source.problems.append(Problem(source.name, "file", None, message, fix))


@contextmanager
def open_source(text: str | None, path: Path | None) -> Iterator[Source]:
    """Open what the texts are read from.

    Args:
        text: One text.
        path: A file; `-` is stdin. Without text and file: stdin.

    Yields:
        The texts, read while they are asked for.

    Raises:
        ValueError: If both are given, neither is, or the file is of an unknown kind.
        OSError: If it cannot be opened.
    """
    if text is not None and path is not None:
        raise ValueError(f"extract: a text and --input {path} are both given; give one of them")
    if text is not None:
        yield Source("text", iter([("text", text, False)]))
    elif path is None or str(path) == "-":
        if path is None and sys.stdin.isatty():
            raise ValueError(
                "extract: no text is given; write it as argument, name --input FILE or pipe it in"
            )
        source = Source("stdin", iter(()))
        source.items = _read_stdin(source)
        yield source
    elif not path.name.lower().endswith(SUFFIXES):
        raise ValueError(
            f"{path}: unknown kind of input file. Allowed: {', '.join(SUFFIXES)}. Convert it or pipe it in."
        )
    else:
        with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
            source = Source(str(path), iter(()))
            source.items = _read_file(file, source)
            yield source


def _good_texts(source: Source, pipe: Any, schema: "Schema", ids: deque) -> Iterator[str]:
    """Texts that can be extracted from; their ids are put aside, what is wrong with others is noted."""
    from ldnet.train.data import Problem

    for where, item, is_record in source.items:
        if is_record and not isinstance(item, dict):
            source.problems.append(Problem(where, "record", item, "not an object", RECORD_FIX))
            continue
        if is_record and item.get("text") is None:
            source.problems.append(Problem(where, "text", None, "missing", RECORD_FIX))
            continue
        text = item["text"] if is_record else item
        if problem := text_problem(text, pipe, schema):
            source.problems.append(Problem(where, "text", text, *problem))
            continue
        name = item.get("id") if is_record else None
        if name is not None and (not isinstance(name, str | int) or isinstance(name, bool)):
            fix = "Write it in quotes or leave it out."
            source.problems.append(Problem(where, "id", name, "not a string", fix))
            continue
        ids.append(name)
        yield text


@contextmanager
def _writer(output: Path | None) -> Iterator[Callable[[dict], None]]:
    """How results are written: JSON lines to a file or pipe, tables to a terminal."""
    from ldnet.train.reporting import atomic_write, make_console, result_table, to_json

    if output is not None:
        with atomic_write(output) as file:
            yield lambda result: file.write(to_json(result) + "\n")
    elif sys.stdout.isatty():
        console = make_console()
        yield lambda result: console.print(result_table(result))
    else:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8, whatever the locale
        yield lambda result: sys.stdout.write(to_json(result) + "\n")
        sys.stdout.flush()


def _schema_of(schema: str | None, path: Path | None) -> "Schema":
    from ldnet.processing.schema import Schema, SchemaError
    from ldnet.train.commands import supported_part
    from ldnet.train.data import load_schema_for

    if schema is None:
        beside = load_schema_for(path) if path is not None and str(path) != "-" else None
        if beside is None:
            raise SchemaError(
                "extract: no schema is given; say what to look for, e.g. --schema '[\"person\"]'"
            )
        return supported_part(beside, str(path))
    asked = Schema.from_any(schema)
    asked.require_supported()
    return asked


def run(
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="A text. Default: --input, else stdin.")
    ] = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", help="File: .txt (a text a line), .jsonl(.gz) or .json with `text`; - is stdin."
        ),
    ] = None,
    schema: Annotated[str | None, typer.Option("--schema", help=f"{SCHEMA_HELP}.")] = None,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    overlap: Annotated[
        Overlap, typer.Option("--overlap", help="Keep nested entities, or only the best that do not overlap.")
    ] = Overlap.nested,
    batch_size: BatchSizeOption = 16,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the records to this file (.jsonl or .jsonl.gz).")
    ] = None,
) -> None:
    """Extract from a text, a file or stdin.

    On a terminal the results are tables; to a pipe or file they are records, one line of JSON each, in the
    order of the texts. Lines that cannot be read are reported at the end (exit code 2); all others are done.

    \b
    ldnet extract "Tim Cook leads Apple." \\
        --schema '{"entities": ["person", "organization"], "relations": ["works for"]}'

    \b
    zcat notes.jsonl.gz | ldnet extract --schema schema.json --threshold 0.6 > found.jsonl
    """
    from ldnet.train.data import RecordError

    with open_source(text, input_file) as source:
        asked = _schema_of(schema, input_file)
        with _writer(output) as write:
            pipe = load_pipeline(model)
            options = {"threshold": threshold, "overlap": overlap.value, "batch_size": batch_size}
            if text is None and sys.stderr.isatty() and (output or not sys.stdout.isatty()):
                options["progress"] = True
            ids: deque = deque()
            for result in pipe(_good_texts(source, pipe, asked, ids), schema=asked, **options):
                name = ids.popleft()
                write(result if name is None else {"id": name, **result})
    if source.problems:
        raise RecordError(map(str, source.problems))
