"""Reading records from files, and what lies beside them in a data set's folder."""

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from ldnet.processing.converters.files import parquet_rows, without_nulls
from ldnet.processing.converters.report import ConversionError
from ldnet.processing.schema import Schema
from ldnet.train.record_check import Problem
from ldnet.train.validation import validate_records

__all__ = [
    "Problem",
    "RecordError",
    "clean_record",
    "load_records",
    "load_schema_for",
    "manifest_of",
    "read_records",
    "validate_file",
    "validate_records",
]

LINE_SUFFIXES = (".jsonl", ".jsonl.gz")
SUFFIXES = (*LINE_SUFFIXES, ".json", ".parquet")


class RecordError(ValueError):
    """Records that cannot be used; `problems` holds every problem found, one line each."""

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__(self.problems)  # the list itself: the error must survive pickling between processes

    def __str__(self) -> str:
        return "\n".join(self.problems)


def clean_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record from a row of a table (`datasets`, Parquet), which has every key and null where there is none.

    Args:
        row (`Mapping[str, Any]`): The row.

    Returns:
        The record without the keys that are null, at any depth.
    """
    return without_nulls(dict(row)) or {}


def read_records(path: str | Path | Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Read the records of a file, without checking them (`load_records` does).

    Args:
        path (`str` or `Path`): A `.jsonl` or `.jsonl.gz` file with a record a line (empty lines are skipped),
            a `.json` file with a list of records or one record, or a `.parquet` file. Or the records
            themselves, for instance a `datasets.Dataset`. Keys that are null count as absent.

    Returns:
        The records.

    Raises:
        RecordError: With every line that is not a JSON object; or if the file cannot be read.
    """
    records, _, problems = _read(path)
    if problems:
        raise RecordError(map(str, problems))
    return records


def validate_file(path: str | Path, schema: Schema | None = None) -> list[Problem]:
    """Check a file of records: broken lines, then the records as in `validate_records`.

    Args:
        path (`str` or `Path`): As for `read_records`.
        schema (`Schema`, *optional*): The labels that may occur.

    Returns:
        All problems.

    Raises:
        RecordError: If the file cannot be read.
    """
    records, places, problems = _read(path)
    return problems + validate_records(records, schema, str(path), places=places)


def load_records(
    path: str | Path | Iterable[Mapping[str, Any]], schema: Schema | None = None
) -> list[dict[str, Any]]:
    """Read the records of a file (or of a `datasets.Dataset`) and check them.

    Args:
        path (`str` or `Path`): As for `read_records`.
        schema (`Schema`, *optional*): The labels that may occur.

    Returns:
        The records.

    Raises:
        RecordError: With every problem of the file.
    """
    records, places, problems = _read(path)
    problems += validate_records(records, schema, places=places)
    if problems:
        raise RecordError(map(str, problems))
    return records


def _read(
    path: str | Path | Iterable[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[str], list[Problem]]:
    """Read a file: its records, where each stands, and the lines that are not records."""
    if not isinstance(path, str | Path):
        return _read_rows(path, "records")
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise RecordError(
            f"{path}: unknown kind of data file. Allowed: {', '.join(SUFFIXES)}. Rename or convert it."
        )
    opened = gzip.open if name.endswith(".gz") else open
    try:
        if name.endswith(".parquet"):
            return _read_rows(parquet_rows(path), str(path))
        with opened(path, "rb") as file:
            return _read_lines(file, path) if name.endswith(LINE_SUFFIXES) else _read_json(file, path)
    except ConversionError as error:
        raise RecordError(error.problems) from None
    except (OSError, EOFError, zlib.error) as error:
        # A truncated gzip file is an EOFError, a damaged one a zlib.error or OSError.
        reason = getattr(error, "strerror", None) or str(error)
        raise RecordError(
            f"{path}: the file cannot be read ({reason}). Check the path, or fetch it again."
        ) from None


def _read_rows(
    rows: Iterable[Mapping[str, Any]], source: str
) -> tuple[list[dict[str, Any]], list[str], list[Problem]]:
    """Read rows of a table, whose columns force nulls on rows that lack them."""
    records, places, problems = [], [], []
    for index, row in enumerate(rows):
        place = f"{source}[{index}]"
        if isinstance(row, Mapping):
            records.append(clean_record(row))
            places.append(place)
        else:
            problems.append(_not_an_object(place, "record", row))
    return records, places, problems


def _read_lines(file: IO[bytes], path: Path) -> tuple[list[dict[str, Any]], list[str], list[Problem]]:
    records, places, problems = [], [], []
    # Lines of bytes: only a line feed ends a line, not the other line ends of Unicode that a text may hold.
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        record, problem = _parse(line.rstrip(b"\r\n"), f"{path}:{number}", "line")
        if problem is None and not isinstance(record, dict):
            problem = _not_an_object(f"{path}:{number}", "line", record)
        if problem is None:
            records.append(record)
            places.append(f"{path}:{number}")
        else:
            problems.append(problem)
    return records, places, problems


def _read_json(file: IO[bytes], path: Path) -> tuple[list[dict[str, Any]], list[str], list[Problem]]:
    content, problem = _parse(file.read(), str(path), "file")
    if problem is not None:
        return [], [], [problem]
    if isinstance(content, dict):
        return [content], [str(path)], []
    if not isinstance(content, list):
        return [], [], [_not_an_object(str(path), "file", content)]
    places = [f"{path}[{position}]" for position in range(len(content))]
    items = list(zip(content, places, strict=True))
    problems = [_not_an_object(place, "record", item) for item, place in items if not isinstance(item, dict)]
    records = [(item, place) for item, place in items if isinstance(item, dict)]
    return [record for record, _ in records], [place for _, place in records], problems


def _parse(content: bytes, where: str, field: str) -> tuple[Any, Problem | None]:
    try:
        # An editor may have put a byte order mark in front.
        value = json.loads(content.decode("utf-8-sig"))
        # Tables that were written as JSON hold nulls; cleaning takes time, so only where there may be one.
        return _clean(value) if b"null" in content else value, None
    except UnicodeDecodeError as error:
        message, fix = f"not UTF-8 at byte {error.start}", "Convert the file to UTF-8."
    except json.JSONDecodeError as error:
        at = f"column {error.colno}" if field == "line" else f"line {error.lineno} column {error.colno}"
        message, fix = f"not valid JSON at {at} ({error.msg})", "Write one JSON object a line."
        fix = fix if field == "line" else "Write a list of records."
    except RecursionError:
        message, fix = "nested too deeply", "Write a record as in the format's description."
    text = content.decode("utf-8", errors="replace").strip()
    return None, Problem(where, field, text if field == "line" else None, message, fix)


def _clean(value: Any) -> Any:
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return clean_record(value) if isinstance(value, dict) else value


def _not_an_object(where: str, field: str, value: Any) -> Problem:
    return Problem(where, field, value, "not an object", 'Write a record: {"text": "…", "entities": […]}.')


def load_schema_for(path: str | Path) -> Schema | None:
    """Read the `schema.json` beside a data file (or in a folder); None if there is none.

    Raises:
        SchemaError: If it is not a schema.
    """
    file = _beside(path, "schema.json")
    return Schema.from_any(file) if file.is_file() else None


def manifest_of(path: str | Path) -> dict[str, Any]:
    """Read the `manifest.json` beside a data file (or in a folder); empty if there is none.

    Raises:
        RecordError: If it is not a JSON object.
    """
    file = _beside(path, "manifest.json")
    if not file.is_file():
        return {}
    content, problem = _parse(file.read_bytes(), str(file), "file")
    if problem is None and not isinstance(content, dict):
        problem = Problem(str(file), "file", content, "not an object", "Write {…}.")
    if problem is not None:
        raise RecordError(str(problem))
    return content


def _beside(path: str | Path, name: str) -> Path:
    path = Path(path)
    return (path if path.is_dir() else path.parent) / name
