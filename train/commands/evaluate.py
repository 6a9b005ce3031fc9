"""`ldnet evaluate`: the scores of a model on records, and what it got wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldnet.train.commands import (
    DATA_HELP,
    BatchSizeOption,
    JsonOption,
    ModelOption,
    OverlapOption,
    SchemaCacheOption,
    SchemaOption,
    ThresholdOption,
    cache_option,
    load_data,
    load_pipeline,
    model_name,
)

if TYPE_CHECKING:
    from ldnet.processing.schema import Schema
    from ldnet.train.error_analysis import ErrorAnalysis
    from ldnet.train.metric_keys import Key
    from ldnet.train.metrics import ExtractionMetrics

ErrorsOption = Annotated[
    Path | None,
    typer.Option(
        "--errors",
        help="Count the kinds of errors too, and write this HTML page with the texts that have some.",
    ),
]


def score(
    records: list[dict[str, Any]],
    schema: "Schema",
    pipe: Any,
    errors: "ErrorAnalysis | None" = None,
    **options: Any,
) -> "ExtractionMetrics":
    """Extract from every text and compare with gold.

    Args:
        records: Checked records.
        schema: What to ask; where it asks a question, a record's own question is asked.
        pipe: The pipeline.
        errors: Gets every text with its result; `None` = errors are not analysed.
        **options: Of the pipeline: threshold, batch size.

    Returns:
        The metrics.
    """
    from ldnet.train.metrics import ExtractionMetrics

    bar = {"progress": True} if sys.stderr.isatty() else {}
    results = pipe(_inputs(records, schema), schema=schema, **options, **bar)
    metrics = ExtractionMetrics(schema)
    for i, (record, result) in enumerate(zip(records, results, strict=True)):
        metrics.add(record, result)
        if errors is not None:
            lost = out_of_reach(record, schema, pipe.processor, result.get("windows", 1) > 1)
            errors.add(record, result, lost, f"record {i}")
    return metrics


def _inputs(records: list[dict[str, Any]], schema: "Schema") -> Iterator[str | dict[str, str]]:
    for record in records:
        question = None if schema.question is None else record.get("question")
        yield record["text"] if question is None else {"text": record["text"], "question": question}


def out_of_reach(
    record: dict[str, Any], schema: "Schema", processor: Any, in_windows: bool = False
) -> set[tuple[str, "Key"]]:
    """Gold that no model could find: no token respects its boundaries, or no window holds all of it.

    Args:
        record: A record.
        schema: What is asked.
        processor: Tokenises, and knows how much is read at once.
        in_windows: Whether the text was read in windows.

    Returns:
        Task and key of each such structure (`error_analysis.unreachable`).
    """
    from ldnet.processing.windows import plan_windows
    from ldnet.train.ceiling import oracle_extraction
    from ldnet.train.error_analysis import beyond_windows, unreachable

    lost = unreachable(record, oracle_extraction(record, schema, processor).confirmed, schema)
    if not in_windows:
        return lost
    (tokens,) = processor.tokenize_texts([record["text"]])
    room = processor.room_for(schema)
    windows = plan_windows(record["text"], tokens, room, processor.window_length or room)
    places = [(tokens.start_chars[w.start], tokens.end_chars[w.stop - 1]) for w in windows]
    return lost | beyond_windows(record, places, schema)


def run(
    data: Annotated[Path, typer.Option("--data", help=DATA_HELP)],
    model: ModelOption = None,
    schema: SchemaOption = None,
    json_file: JsonOption = None,
    errors: ErrorsOption = None,
    threshold: ThresholdOption = None,
    overlap: OverlapOption = None,
    batch_size: BatchSizeOption = 16,
    schema_cache: SchemaCacheOption = None,
) -> None:
    """Score a model on records: precision, recall and F1 (0-100), per task and label.

    Scores are micro, over exact matches; the interval is a 95 % bootstrap over texts.

    \b
    ldnet evaluate --model out/ --data conll04/dev.jsonl.gz --json scores.json

    \b
    ldnet evaluate --data mine.jsonl --schema '["person", "place"]' --threshold 0.4 --errors errors.html
    """
    from ldnet.train.error_analysis import ErrorAnalysis, errors_table
    from ldnet.train.error_page import error_page
    from ldnet.train.reporting import atomic_write, check_target, make_console, scores_table, write_json

    for target in (json_file, errors):
        check_target(target)
    if errors is not None and json_file is not None and errors.resolve() == json_file.resolve():
        raise ValueError(f"--errors and --json: both are {errors}; name two files")
    records, asked = load_data(data, schema)
    analysis = None if errors is None else ErrorAnalysis(asked)
    options = {"threshold": threshold, "overlap": overlap and overlap.value, "batch_size": batch_size}
    options |= cache_option(schema_cache)
    metrics = score(records, asked, load_pipeline(model), analysis, **options)
    report = metrics.to_dict() | {"model": model_name(model), "data": str(data)}
    title = f"{report['model']} on {data}: {len(records):,} texts"
    console = make_console()
    console.print(title, soft_wrap=True)
    console.print(scores_table(report))
    if analysis is not None:
        report["errors"] = analysis.to_dict()
        console.print(errors_table(report["errors"]))
        with atomic_write(errors) as file:
            file.writelines(error_page(analysis, title))
    if json_file is not None:
        write_json(json_file, report)
