"""What `ldnet extract` reads: a text, or texts and records from a file or stdin."""

import gzip
import json
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ldnet.train.commands import text_problem

if TYPE_CHECKING:
    from ldnet.processing.schema import Schema
    from ldnet.train.data import Problem

TEXT_SUFFIXES = (".txt", ".txt.gz")
LINE_SUFFIXES = (".jsonl", ".jsonl.gz")
TABLE_SUFFIX = ".parquet"
SUFFIXES = (*TEXT_SUFFIXES, *LINE_SUFFIXES, ".json", TABLE_SUFFIX)
RECORD_FIX = 'Write a record: {"text": "…"}.'


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
    elif path.name.lower().endswith(TABLE_SUFFIX):
        from ldnet.processing.converters.files import parquet_rows

        yield Source(str(path), ((f"{path}[{i}]", row, True) for i, row in enumerate(parquet_rows(path))))
    else:
        with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
            source = Source(str(path), iter(()))
            source.items = _read_file(file, source)
            yield source


def good_texts(source: Source, schema: "Schema", ids: deque) -> Iterator[str | dict[str, str]]:
    """Texts that can be extracted from.

    Args:
        source: What is read; what is wrong with the other texts is noted in its `problems`.
        schema: What is asked.
        ids: Gets the id of each text when it is yielded, `None` where it has none.

    Yields:
        The texts in their order; with its question, where the schema asks one and the record has its own.
    """
    from ldnet.train.data import Problem

    for where, item, is_record in source.items:
        record = item if is_record else {"text": item}
        if problem := _what_is_wrong(record):
            source.problems.append(Problem(where, *problem))
            continue
        ids.append(record.get("id"))
        asks = schema.question is not None and record.get("question") is not None
        yield {"text": record["text"], "question": record["question"]} if asks else record["text"]


def _what_is_wrong(record: Any) -> tuple[str, Any, str, str] | None:
    """Field, value, problem and cure of a record that cannot be extracted from."""
    if not isinstance(record, dict):
        return "record", record, "not an object", RECORD_FIX
    text, name, question = (record.get(key) for key in ("text", "id", "question"))
    if text is None:
        return "text", None, "missing", RECORD_FIX
    if problem := text_problem(text):
        return "text", text, *problem
    if name is not None and (not isinstance(name, str | int) or isinstance(name, bool)):
        return "id", name, "not a string", "Write it in quotes or leave it out."
    if question is not None and not isinstance(question, str):
        return "question", question, "not a string", "Write it in quotes or leave it out."
    return None
