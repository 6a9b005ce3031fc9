"""`ldnet validate`: every problem of a data set, before it costs a training run."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ldnet.train.commands import DATA_HELP, EncoderOption, ModelOption, load_processor

if TYPE_CHECKING:
    from ldnet.processing.schema import Schema

COUNTED = ("entities", "relations", "hyper_relations", "events", "classes", "answers", "spans")


def _lost_structures(
    records: list[dict], schema: "Schema", model: str | None, encoder: str | None
) -> Counter:
    """Structures that the tokens cannot express, by cause."""
    from ldnet.processing.record_loops import record_loops

    processor = load_processor(model, encoder)
    tokenized = processor.tokenize_texts([record["text"] for record in records])
    causes: Counter = Counter()
    for record, tokens in zip(records, tokenized, strict=True):
        _, lost = record_loops(record, schema, tokens, processor.max_fragments)
        causes.update(cause.split(":")[0] for cause in lost)
    return causes


def run(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help=DATA_HELP)],
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema", help="Labels that may occur: JSON or a file. Default: schema.json beside the data."
        ),
    ] = None,
    model: ModelOption = None,
    encoder: EncoderOption = None,
) -> None:
    """Check records: every problem with its line, field, value and fix (exit code 2 if there is one).

    With --model or --encoder, also count the structures whose boundaries lie inside a token.

    \b
    ldnet validate train.jsonl dev.jsonl

    \b
    ldnet validate mine.jsonl.gz --schema schema.json --encoder microsoft/deberta-v3-small
    """
    from ldnet.processing.schema import Schema
    from ldnet.train.data import RecordError, load_records, load_schema_for

    given = None if schema is None else Schema.from_any(schema)
    problems: list[str] = []
    for path in data:
        try:
            allowed = given or load_schema_for(path)
            records = load_records(path, allowed)
        except RecordError as error:
            problems += error.problems
            continue
        counts = ", ".join(
            f"{sum(len(record.get(key) or ()) for record in records):,} {key}"
            for key in COUNTED
            if any(record.get(key) is not None for record in records)
        )
        typer.echo(f"{path}: no problems in {len(records):,} records: {counts or 'texts only'}")
        if model is not None or encoder is not None:
            from ldnet.train.sources import schema_of_records

            causes = _lost_structures(records, schema_of_records(allowed, records), model, encoder)
            lost = ", ".join(f"{count:,} x {cause}" for cause, count in causes.most_common())
            typer.echo(f"{path}: lost to tokens: {lost or 'nothing'}")
    if problems:
        raise RecordError(problems)
