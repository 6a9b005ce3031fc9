"""`ldnet evaluate`: the scores of a model on records."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldnet.train.commands import (
    DATA_HELP,
    BatchSizeOption,
    JsonOption,
    ModelOption,
    SchemaOption,
    ThresholdOption,
    load_data,
    load_pipeline,
    model_name,
    note,
    text_problem,
)

if TYPE_CHECKING:
    from ldnet.processing.schema import Schema
    from ldnet.train.metrics import ExtractionMetrics


def score(
    records: list[dict[str, Any]], schema: "Schema", pipe: Any, **options: Any
) -> tuple["ExtractionMetrics", list[int]]:
    """Extract from every text and compare with gold.

    Args:
        records: Checked records.
        schema: What to ask.
        pipe: The pipeline.
        **options: Of the pipeline: threshold, batch size.

    Returns:
        The metrics, and the positions of texts that are too long for the model: nothing is found in them, so
        their structures count as missed.
    """
    from ldnet.train.metrics import ExtractionMetrics

    too_long = [i for i, record in enumerate(records) if text_problem(record["text"], pipe, schema)]
    left_out = set(too_long)
    texts = (record["text"] for i, record in enumerate(records) if i not in left_out)
    bar = {"progress": True} if sys.stderr.isatty() else {}
    results = iter(pipe(texts, schema=schema, **options, **bar))
    metrics = ExtractionMetrics(schema)
    for i, record in enumerate(records):
        metrics.add(record, {} if i in left_out else next(results))
    return metrics, too_long


def run(
    data: Annotated[Path, typer.Option("--data", help=DATA_HELP)],
    model: ModelOption = None,
    schema: SchemaOption = None,
    json_file: JsonOption = None,
    threshold: ThresholdOption = None,
    batch_size: BatchSizeOption = 16,
) -> None:
    """Score a model on records: precision, recall and F1 (0-100), per task and label.

    Scores are micro, over exact matches; the interval is a 95 % bootstrap over texts.

    \b
    ldnet evaluate --model out/ --data conll04/dev.jsonl.gz --json scores.json

    \b
    ldnet evaluate --data mine.jsonl --schema '["person", "place"]' --threshold 0.4
    """
    from ldnet.train.reporting import check_target, make_console, scores_table, write_json

    check_target(json_file)
    records, asked = load_data(data, schema)
    metrics, too_long = score(
        records, asked, load_pipeline(model), threshold=threshold, batch_size=batch_size
    )
    if too_long:
        first = records[too_long[0]].get("id", too_long[0])
        note(
            f"{data}: {len(too_long)} texts are too long for the model ({first!r} first) and count as missed"
        )
    report = metrics.to_dict() | {"too_long": len(too_long), "model": model_name(model), "data": str(data)}
    console = make_console()
    console.print(f"{report['model']} on {data}: {len(records):,} texts", soft_wrap=True)
    console.print(scores_table(report))
    if json_file is not None:
        write_json(json_file, report)
