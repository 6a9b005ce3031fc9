"""Grids of trainings: each cell in a process of its own, its result kept, the table made of what is there."""

import csv
import hashlib
import io
import json
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldnet.train.parsing import ArgumentsError
from ldnet.train.reporting import atomic_write, one_line, write_json

CELL, RESULT, LOG, LOCK, MODEL = "cell.json", "result.json", "log.txt", "lock", "model"
WEIGHTS = ("model.safetensors", "config.json")  # what tells one checkpoint from another
CALIBRATED = " calibrated"  # behind the name of a set whose scores have fitted thresholds
FACTORS_OF_DRAWS = ("seed",)  # rows that differ in these only are draws of one quantity

logger = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One training of a grid and what is measured after it.

    Args:
        factors: What tells the cell from the others, for instance `{"shots": 5, "seed": 1}`.
        flags: Of the training verb, without `--output_dir`.
        measure: What `run_cell.measure` is told.
        files: Record files and checkpoints whose content belongs to the cell's identity.
        verb: The training verb.
    """

    factors: dict[str, Any]
    flags: list[str]
    measure: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    verb: str = "finetune"

    @property
    def name(self) -> str:
        """Name of its folder."""
        return "_".join(f"{key}-{slug(value)}" for key, value in self.factors.items())

    def to_dict(self) -> dict[str, Any]:
        """What decides its result, in plain form."""
        contents = {path: content_hash(Path(path)) for path in self.files}
        return {
            "factors": self.factors,
            "verb": self.verb,
            "flags": self.flags,
            "measure": self.measure,
            "contents": contents,
        }


def slug(value: object) -> str:
    """A value as a part of a file name."""
    return re.sub(r"[^\w.]+", "-", str(value)).strip("-.") or "x"


def content_hash(path: Path) -> str | None:
    """What a record file and its schema, or the weights in a folder, hold; `None` for neither (a Hub id)."""
    files = [path / name for name in WEIGHTS] if path.is_dir() else [path, path.with_name("schema.json")]
    digest = hashlib.sha256()
    there = [file for file in files if file.is_file()] if path.exists() else []
    for file in there:
        with open(file, "rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest() if there else None


@dataclass
class Outcome:
    """What a run of a grid left.

    Args:
        results: Content of the result file of every finished cell.
        failed: Cell name -> why it failed.
        elsewhere: Cells that another process is training.
    """

    results: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """Every measured value with the factors of its cell."""
        return [result["factors"] | row for result in self.results for row in result["rows"]]

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return {"cells": self.results, "failed": self.failed, "elsewhere": self.elsewhere}


def start_process(folder: Path, lock: int | None = None) -> int:
    """Train and measure a cell in a fresh process: what kills it leaves the others alone.

    Args:
        folder: The cell's folder.
        lock: File descriptor that the process keeps open as long as it lives.

    Returns:
        Its exit code; negative = killed by a signal.
    """
    command = [sys.executable, "-m", "ldnet.train.run_cell", str(folder)]
    with open(folder / LOG, "w", encoding="utf-8") as log:
        kept = () if lock is None else (lock,)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=kept
        )
    return done.returncode


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    *,
    keep_models: bool = False,
    start: Callable[..., int] | None = None,
) -> Outcome:
    """Run the cells of a grid that have no result yet, one after the other.

    Several processes may run one grid in one folder: a cell that one of them trains is passed over by the
    others.

    Args:
        cells: The grid.
        folder: Where each cell gets a folder of its own.
        keep_models: Keep the trained models; else they are removed when their cell is done.
        start: Trains the cell in a folder and returns an exit code; `start_process` by default.

    Returns:
        Results and failures of these cells.

    Raises:
        ArgumentsError: If two cells have one name, or a finished cell had other settings.
    """
    plans = {cell.name: cell.to_dict() for cell in cells}
    if len(plans) < len(cells):
        names = [cell.name for cell in cells]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ArgumentsError(f"cells: {', '.join(twice)} stands for more than one cell; rename the variants")
    _check_finished(folder, plans)
    outcome = Outcome()
    for number, (name, plan) in enumerate(plans.items(), start=1):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        with cell_lock(place) as lock:
            if (result := read_json(place / RESULT)) is not None:
                logger.info("%d/%d %s: done before", number, len(plans), name)
            elif lock is False:
                logger.info("%d/%d %s: another process trains it", number, len(plans), name)
                outcome.elsewhere.append(name)
                continue
            else:
                logger.info("%d/%d %s: starts", number, len(plans), name)
                result = _run(place, plan, lock, keep_models, start or start_process)
        if isinstance(result, str):
            logger.warning("%s: failed: %s", name, result)
            outcome.failed[name] = result
    # Read at the end: another process may have finished what it had when this one passed by.
    found = {name: read_json(folder / name / RESULT) for name in plans}
    outcome.results = [result for result in found.values() if result is not None]
    outcome.elsewhere = [name for name in outcome.elsewhere if found[name] is None]
    return outcome


def _run(
    place: Path, plan: dict[str, Any], lock: int | None, keep_models: bool, start: Callable[..., int]
) -> dict[str, Any] | str:
    """Result of a cell, or why there is none."""
    resumes = "--resume_from_checkpoint" in plan["flags"]
    if not resumes or read_json(place / CELL) != plan:  # half a training with other settings is of no use
        shutil.rmtree(place / MODEL, ignore_errors=True)
        write_json(place / CELL, plan)
    code = start(place, lock)
    result = read_json(place / RESULT)
    if code != 0 or result is None:
        return _reason(code, place / LOG)
    if not keep_models:
        shutil.rmtree(place / MODEL, ignore_errors=True)
    return result


def _reason(code: int, log: Path) -> str:
    """Why a cell failed: the last line of its log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    end = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{end}: {one_line(lines[-1])[:300]} (see {log})" if lines else f"{end} (see {log})"


def _check_finished(folder: Path, plans: Mapping[str, dict[str, Any]]) -> None:
    """Refuse to mix results of different settings in one table."""
    problems = []
    for name, plan in plans.items():
        if (result := read_json(folder / name / RESULT)) is None:
            continue
        changed = [key for key in plan if result.get(key) != plan[key]]
        if changed:
            problems.append(
                f"{folder / name}: is finished, but with other {' and '.join(changed)}; name another "
                "--output_dir, or remove this folder"
            )
    if problems:
        raise ArgumentsError("\n".join(problems))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or `None` if there is no whole one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


@contextmanager
def cell_lock(place: Path) -> Iterator[int | bool | None]:
    """Claim a cell; the claim ends with the last process that holds the descriptor open, however it ends.

    Args:
        place: The cell's folder.

    Yields:
        A file descriptor; `False` if another process has the cell; `None` where files cannot be locked.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield None
        return
    descriptor = os.open(place / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield descriptor
    finally:
        os.close(descriptor)


# ---- tables


def aggregate(rows: Sequence[Row]) -> list[Row]:
    """Mean and standard deviation over draws of one quantity.

    Args:
        rows: What `Outcome.rows` gives: factors, what was measured and `value`.

    Returns:
        A row for each quantity, in the order of first occurrence: its keys without `seed` and `value`, with
        `mean`, `std` (of the sample, n - 1; `None` of one value), `n` and `values`.
    """
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        own = tuple((k, v) for k, v in row.items() if k not in (*FACTORS_OF_DRAWS, "value"))
        groups.setdefault(own, []).append(row)
    table = []
    for own, members in groups.items():
        values = [row["value"] for row in members]
        std = statistics.stdev(values) if len(values) > 1 else None
        summary = {"mean": statistics.fmean(values), "std": std, "n": len(values), "values": values}
        table.append(dict(own) | summary)
    return table


def mean_and_std(row: Row | None) -> str:
    """A cell of a table: `61.2 ± 0.8`, without deviation for one value, `-` where there is none."""
    if row is None:
        return "-"
    return f"{row['mean']:.1f}" + ("" if row["std"] is None else f" ± {row['std']:.1f}")


def markdown_table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers stand right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def write_text(path: Path, text: str) -> None:
    """Write a text file that is whole or not there.

    Args:
        path: Where.
        text: What.

    Raises:
        OSError: If it cannot be written.
    """
    with atomic_write(path) as file:
        file.write(text)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV: a column for each key; lists with spaces, numbers with four decimals, `None` empty.

    Args:
        path: Where.
        rows: A mapping each.

    Raises:
        OSError: If it cannot be written.
    """
    buffer = io.StringIO()
    keys = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(buffer, keys, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _csv_value(value) for key, value in row.items()} for row in rows)
    write_text(path, buffer.getvalue())


def _csv_value(value: object) -> object:
    if isinstance(value, list):
        return " ".join(str(_csv_value(item)) for item in value)
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else value


def report_failures(outcome: Outcome, folder: Path) -> int:
    """Say what is missing in the tables.

    Args:
        outcome: What was run.
        folder: Where the tables are.

    Returns:
        Exit code: 1 if a cell failed, else 0.
    """
    for name, reason in outcome.failed.items():
        logger.warning("%s: %s", name, reason)
    if outcome.elsewhere:
        logger.warning("%s is trained by another process; run again when it is done", outcome.elsewhere)
    if outcome.failed:
        logger.warning("%d cells failed; the same command runs them again", len(outcome.failed))
    logger.info("saved %s", folder)
    return 1 if outcome.failed else 0
