"""`python -m ldnet.train.run_cell FOLDER`: train one cell of a grid, measure it, write its result."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.schema import Schema
from ldnet.train.calibration_pairs import Extracted, extract_raw
from ldnet.train.calibration_report import cross_fit
from ldnet.train.dataset import Source
from ldnet.train.drop_rate import gate_share
from ldnet.train.experiments import CALIBRATED, CELL, MODEL, RESULT, Row
from ldnet.train.loading import load_pipeline
from ldnet.train.metrics import count_tasks, scores_from_rows
from ldnet.train.relevance_metrics import relevance_scores
from ldnet.train.reporting import write_json
from ldnet.train.sources import load_source
from ldnet.train.trainer import scoring_input

BATCH_SIZE = 16

logger = logging.getLogger(__name__)


def score_records(
    pipe: UniversalIEPipeline, records: list[dict], schema: Schema, batch_size: int = BATCH_SIZE
) -> dict[str, float]:
    """Scores of all tasks on the records of a set.

    Args:
        pipe: The model.
        records: Gold.
        schema: What is asked.
        batch_size: Texts at a time.

    Returns:
        As `scores_from_rows`: `<task>_precision`, `_recall`, `_f1`, and `f1`, their mean.
    """
    inputs = [scoring_input(record, schema) for record in records]
    found = pipe(inputs, schema=schema, batch_size=batch_size, progress=False)
    counts = [count_tasks(*pair, schema) for pair in zip(records, found, strict=True)]
    return scores_from_rows(np.stack(counts).reshape(len(records), -1))


def measure(pipe: UniversalIEPipeline, spec: dict[str, Any]) -> list[Row]:
    """Everything that a cell is asked to measure, on the whole of its dev files.

    Args:
        pipe: The trained model.
        spec: `dev` (record files) and, all optional, `name` (of the set in reports), `schema`, `instruction`,
            `drop_rates` (shares of columns that keep their gate), `label_drop` (measure relevance as such
            too), `calibrated` (score each half of the records with what `ldnet calibrate` fits on the other
            too; set NAME `calibrated`), `seed` (of the drop rates' draws).

    Returns:
        Rows with `set`, `metric`, `value` and, of drop rates, `drop_rate`.
    """
    schema = None if spec.get("schema") is None else Schema.from_any(spec["schema"])
    rows: list[Row] = []
    for path in spec["dev"]:
        source, records = load_source(path, "", schema, spec.get("instruction"))
        name = spec.get("name", source.name)
        if "name" in spec and len(spec["dev"]) > 1:
            name = f"{name} {source.name}"
        rows += _rows(name, score_records(pipe, records, source.schema))
        if spec.get("calibrated"):
            found = extract_raw(name, records, source.schema, pipe, batch_size=BATCH_SIZE, progress=False)
            rows += _rows(f"{name}{CALIBRATED}", calibrated_scores(found))
        if pipe.model.config.label_drop == "none":
            continue  # there is no gate to look at
        rows += _drop_rate_rows(name, pipe, source, records, spec)
        if spec.get("label_drop"):
            rows += _rows(name, relevance_scores(pipe.model, pipe.processor, source, records))
    return rows


def calibrated_scores(found: Extracted) -> dict[str, float]:
    """F1 of all tasks with thresholds and curves that were fitted on the other half of the records.

    Args:
        found: What was found in the records.

    Returns:
        `<task>_f1`.
    """
    (of_set,) = cross_fit([found])["f1"].values()
    return {f"{task}_f1": f1["after"] for task, f1 in of_set.items() if f1["after"] is not None}


def _drop_rate_rows(
    name: str, pipe: UniversalIEPipeline, source: Source, records: list[dict], spec: dict[str, Any]
) -> list[Row]:
    rows: list[Row] = []
    for rate in spec.get("drop_rates") or ():
        with gate_share(pipe.model, rate, spec.get("seed", 0)):
            scores = score_records(pipe, records, source.schema)
        f1 = {metric: value for metric, value in scores.items() if metric.endswith("f1")}
        rows += [row | {"drop_rate": rate} for row in _rows(name, f1)]
    return rows


def _rows(name: str, scores: dict[str, float]) -> list[Row]:
    return [{"set": name, "metric": metric, "value": value} for metric, value in scores.items()]


def main(argv: list[str] | None = None) -> int:
    """Run the module.

    Args:
        argv: The cell's folder; the process's own argument by default.

    Returns:
        Exit code: that of the training if it failed.
    """
    from ldnet.train.cli import main as ldnet

    (name,) = sys.argv[1:] if argv is None else argv
    folder = Path(name)
    spec = json.loads((folder / CELL).read_text(encoding="utf-8"))
    started = time.monotonic()
    if code := ldnet([spec["verb"], *spec["flags"], "--output_dir", str(folder / MODEL)]):
        return code
    trained = time.monotonic()
    rows = measure(load_pipeline(str(folder / MODEL)), spec["measure"])
    times = {"training": round(trained - started, 1), "measuring": round(time.monotonic() - trained, 1)}
    write_json(folder / RESULT, spec | {"rows": rows, "seconds": times})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
