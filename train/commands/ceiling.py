"""`ldnet ceiling`: the best score that any model could have with this representation."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldnet.train.commands import (
    DATA_HELP,
    EncoderOption,
    JsonOption,
    ModelOption,
    SchemaOption,
    load_data,
    load_processor,
    model_name,
)

if TYPE_CHECKING:
    from ldnet.processing.schema import Schema
    from ldnet.train.metrics import ExtractionMetrics

SHOWN_EXAMPLES = 3
SPURIOUS = "closed by links of other structures"
NOT_FOUND = "encoded, but not found again"
WRONG_TYPE = "found with another type of head or tail"


def _describe(key: tuple, text: str) -> tuple[str, list[str]]:
    """Label, places and words of a structure; its places alone."""
    mentions = [part if isinstance(part[0][0], int) else part[0] for part in key[1:]]
    places = [f"{pieces[0][0]}-{pieces[-1][1]}" for pieces in mentions]
    words = " | ".join(" … ".join(text[start:end] for start, end in pieces) for pieces in mentions)
    return f"{key[0]!r} at {', '.join(places)} ({words})", places


def losses_of(
    gold: dict[str, Any], predicted: dict[str, Any], schema: "Schema", unaligned: list[str]
) -> Iterator[tuple[str, str]]:
    """Every difference between gold and the oracle.

    Args:
        gold: A record.
        predicted: What the oracle makes of it.
        schema: What was asked.
        unaligned: What could not be encoded, as `cause: structure`.

    Yields:
        Cause and description.
    """
    from ldnet.train.metrics import compare_record

    yield from (tuple(line.split(": ", 1)) for line in unaligned)
    right: set[tuple] = set()
    for task, gold_keys, predicted_keys in compare_record(gold, predicted, schema):
        noun = "entity" if task == "entities" else "relation"
        strict = task == "relations_strict"
        if not strict:
            right = gold_keys & predicted_keys
        for key in sorted(predicted_keys - gold_keys, key=repr) if not strict else ():
            yield SPURIOUS, f"{noun} {_describe(key, gold['text'])[0]}"
        for key in sorted(gold_keys - predicted_keys, key=repr):
            shown, places = _describe(key, gold["text"])
            if strict and (key[0], *(end[0] for end in key[1:])) in right:
                yield WRONG_TYPE, f"{noun} {shown}"
            named = [f"{noun} {key[0]!r} at {place}" for place in places]
            if not strict and not any(name in line for name in named for line in unaligned):
                yield NOT_FOUND, f"{noun} {shown}"


def score_oracle(
    records: list[dict[str, Any]], schema: "Schema", processor: Any
) -> tuple["ExtractionMetrics", dict[str, list[str]]]:
    """Encode the gold structures of every record, decode the links again and compare.

    Args:
        records: Checked records.
        schema: What to ask.
        processor: Gives the tokens.

    Returns:
        The metrics, and for each cause of loss where it occurred, most frequent first.
    """
    from ldnet.train.ceiling import oracle_extraction
    from ldnet.train.metrics import ExtractionMetrics

    metrics = ExtractionMetrics(schema)
    causes: dict[str, list[str]] = defaultdict(list)
    for i, record in enumerate(records):
        predicted, unaligned = oracle_extraction(record, schema, processor)
        metrics.add(record, predicted)
        for cause, example in losses_of(record, predicted, schema, unaligned):
            causes[cause].append(f"{record.get('id', f'record {i}')}: {example}")
    return metrics, dict(sorted(causes.items(), key=lambda item: (-len(item[1]), item[0])))


def run(
    data: Annotated[Path, typer.Option("--data", help=DATA_HELP)],
    model: ModelOption = None,
    encoder: EncoderOption = None,
    schema: SchemaOption = None,
    json_file: JsonOption = None,
) -> None:
    """Show what encoding gold structures as links and decoding them again would score, and what is lost.

    No model can score higher on these records than this oracle does, whatever it learns.

    \b
    ldnet ceiling --data conll04/dev.jsonl.gz

    \b
    ldnet ceiling --data mine.jsonl --encoder microsoft/deberta-v3-small --json ceiling.json
    """
    from ldnet.train.reporting import check_target, make_console, one_line, scores_table, write_json

    check_target(json_file)
    records, asked = load_data(data, schema)
    metrics, causes = score_oracle(records, asked, load_processor(model, encoder))
    report = metrics.to_dict() | {
        "causes": {
            cause: {"count": len(places), "examples": places[:SHOWN_EXAMPLES]}
            for cause, places in causes.items()
        },
        "model": encoder or model_name(model),
        "data": str(data),
    }
    console = make_console()
    console.print(f"oracle of {report['model']} on {data}: {len(records):,} texts", soft_wrap=True)
    console.print(scores_table(report))
    for cause, found in report["causes"].items():
        console.print(f"{found['count']:,} x {cause}", soft_wrap=True)
        for example in found["examples"]:
            console.print(f"    {one_line(example)}", soft_wrap=True)
    if not causes:
        console.print("nothing is lost")
    if json_file is not None:
        write_json(json_file, report)
