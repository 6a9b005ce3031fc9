"""Reading rows of JSON and Parquet and lines of text, and writing files that are whole or not there."""

import gzip
import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ldnet.processing.converters.report import AlignmentReport, fail

PARQUET_ROWS = 1024  # of a batch: a file is never in memory as a whole
RECORD_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")


def read_bytes(path: str | Path) -> bytes:
    """The content of a file, unpacked if its name ends in `.gz`.

    Raises:
        ConversionError: If it is damaged.
        OSError: If it cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fail(f"{path}: the file is damaged or cut off ({error}). Fetch it again.")


def read_text(path: str | Path) -> str:
    """The text of a file, line ends as they are, without a byte order mark.

    Raises:
        ConversionError: If it is not UTF-8, or damaged.
        OSError: If it cannot be read.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(f"{path}: not UTF-8 at byte {error.start}. Convert the file to UTF-8.")


def text_lines(path: str | Path) -> Iterator[tuple[str, str]]:
    """Lines of a file with their places; only a line feed, with or without a carriage return, ends one.

    Raises:
        ConversionError: If it is not UTF-8, or damaged.
        OSError: If it cannot be read.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        yield f"{path}:{number}", line.removesuffix("\r")


def json_rows(path: str | Path, report: AlignmentReport) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects of a file with their places: JSON lines, one list, one object, or Parquet.

    Files named `.json` often hold lines; what they hold decides, not the name.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Gets a problem for everything that is not an object.

    Raises:
        ConversionError: If the file is damaged.
        OSError: If it cannot be read.
    """
    if str(path).lower().endswith(".parquet"):
        yield from ((f"{path}[{index}]", row) for index, row in enumerate(parquet_rows(path)))
        return
    text = read_text(path)
    try:
        content = json.loads(text)
        place = f"{path}:1" if ".jsonl" in Path(path).name.lower() else str(path)
        rows: Iterable[tuple[str, Any]] = [(place, content)]
        if isinstance(content, list):
            rows = ((f"{path}[{index}]", row) for index, row in enumerate(content))
    except (json.JSONDecodeError, RecursionError):
        rows = _line_rows(path, text, report)
    for where, row in rows:
        if isinstance(row, dict):
            yield where, row
        else:
            report.problem(where, "row", row, "not an object", "Write {…} for each text.")


def _line_rows(path: str | Path, text: str, report: AlignmentReport) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path}:{number}", json.loads(line)
        except json.JSONDecodeError as error:
            message = f"not valid JSON at column {error.colno} ({error.msg})"
            report.problem(f"{path}:{number}", "line", line, message, "Check that --from names its format.")
        except RecursionError:
            report.problem(f"{path}:{number}", "line", None, "nested too deeply", "Check the file.")


def convert_rows(
    path: str | Path, report: AlignmentReport, needs: dict[str, type], convert: Callable[..., Iterable[dict]]
) -> Iterator[dict[str, Any]]:
    """Records of a file with a row for each text.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Filled; see `json_rows`.
        needs (`dict[str, type]`): Keys that every row must have, and what must stand there.
        convert (`Callable`): Makes records of a row: `convert(row, where)`.

    Raises:
        ConversionError: At the end, with every row that lacks one of the keys.
        OSError: If the file cannot be read.
    """
    for where, row in json_rows(path, report):
        if check_keys(row, needs, where, report):
            for record in convert(row, where):
                yield report.take(record, where)
    report.finish()


def check_keys(row: dict[str, Any], needs: dict[str, type], where: str, report: AlignmentReport) -> bool:
    """Whether a row has what it needs; a problem for everything that it lacks."""
    found = True
    for key, kind in needs.items():
        if not isinstance(row.get(key), kind):
            message = "missing" if row.get(key) is None else f"not a {kind.__name__}"
            wanted = ", ".join(map(repr, needs))
            fix = f"A row of this format has {wanted}. Check that --from names its format."
            report.problem(where, key, row.get(key), message, fix)
            found = False
    return found


def parquet_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file, in batches, without the nulls that its columns force on them.

    Raises:
        ConversionError: If the file is damaged.
        OSError: If it cannot be read.
    """
    import pyarrow
    from pyarrow import parquet

    with open(path, "rb") as raw:  # an error of ours names the file, one of Arrow may not
        try:
            for batch in parquet.ParquetFile(raw).iter_batches(batch_size=PARQUET_ROWS):
                for row in batch.to_pylist():
                    yield without_nulls(row) or {}
        except pyarrow.ArrowException as error:
            reason = str(error).strip().split("\n")[0]
            fail(f"{path}: the Parquet file cannot be read ({reason}). Fetch it again.")


def without_nulls(value: Any) -> Any:
    """A value without the keys that are null: tables give every row every key.

    Args:
        value (`Any`): What JSON can hold; a list of pairs, as Arrow gives for a map, becomes an object.

    Returns:
        The value; null for an object that held only nulls.
    """
    if isinstance(value, dict):
        kept = {key: without_nulls(item) for key, item in value.items()}
        kept = {key: item for key, item in kept.items() if item is not None}
        return kept if kept or not value else None
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
            return without_nulls(dict(value))
        return [without_nulls(item) for item in value]
    return value


@contextmanager
def write_beside(path: str | Path) -> Iterator[Path]:
    """A place beside a file (or folder) that takes its name only when the block ends without an error.

    Raises:
        OSError: If it cannot be written.
    """
    target = Path(path).resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield beside
        os.replace(beside, target)
    except BaseException:
        if beside.is_dir():
            shutil.rmtree(beside)
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def open_text(path: str | Path) -> Iterator[IO[str]]:
    """Open a text file (UTF-8, gzip if it ends in `.gz`) that is whole or not there; `-` is stdout.

    Raises:
        OSError: If it cannot be written.
    """
    if str(path) == "-":
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # whatever the locale
        yield sys.stdout
        sys.stdout.flush()
        return
    opened = gzip.open if str(path).lower().endswith(".gz") else open
    with write_beside(path) as beside, opened(beside, "wt", encoding="utf-8", newline="\n") as file:
        yield file


def dump_json(value: Any, indent: int | None = None) -> str:
    """JSON text with letters of all scripts as they are, one line for every reader."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return text.translate({ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"})


def write_records(records: Iterable[dict[str, Any]], path: str | Path) -> None:
    """Write records as JSON lines, as one JSON list (`.json`) or as Parquet, by the name of the file.

    Args:
        records (`Iterable[dict]`): Records in our format.
        path (`str` or `Path`): One of `RECORD_SUFFIXES`; `-` is stdout (JSON lines).

    Raises:
        ConversionError: If the name ends in something else, or Parquet cannot hold the records.
        OSError: If it cannot be written.
    """
    name = str(path).lower()
    if name != "-" and not name.endswith(RECORD_SUFFIXES):
        fail(f"{path}: unknown kind of output file. Allowed: {', '.join(RECORD_SUFFIXES)}. Rename it.")
    if name.endswith(".parquet"):
        _write_parquet(list(records), path)
        return
    with open_text(path) as file:
        if name.endswith(".json"):
            file.write(dump_json(list(records), indent=1) + "\n")
        else:
            file.writelines(dump_json(record) + "\n" for record in records)


def _write_parquet(records: list[dict[str, Any]], path: str | Path) -> None:
    import pyarrow
    from pyarrow import parquet

    keys = dict.fromkeys(key for record in records for key in record)
    try:
        columns = {key: pyarrow.array([record.get(key) for record in records]) for key in keys}
    except (pyarrow.ArrowException, OverflowError) as error:
        reason = str(error).strip().split("\n")[0]
        fail(f"{path}: a Parquet column cannot hold the records ({reason}). Write .jsonl instead.")
    with write_beside(path) as beside:
        parquet.write_table(pyarrow.table(columns), beside)
