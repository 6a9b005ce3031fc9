"""`ldnet ceiling`: the best score that any model could have with this representation."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
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
    from rich.table import Table

    from ldnet.processing.schema import Schema
    from ldnet.train.metrics import ExtractionMetrics

SHOWN_EXAMPLES = 3
SPURIOUS = "closed by links of other structures"
NOT_FOUND = "encoded, but not found again"
WRONG_TYPE = "found with another type of head or tail"
# What the structures of a task are called; the other tasks look at the same structures in another way.
NOUNS = {
    "entities": "entity",
    "relations": "relation",
    "hyper_triples": "hyper-relation",
    "hyper_relations": "qualifier",
    "triggers": "event",
    "arguments_strict": "argument",
    "classes": "class",
    "answers": "answer",
    "spans": "span",
}
TYPELESS = ("answer", "span")


def _describe(noun: str, key: tuple, text: str) -> tuple[str, list[str]]:
    """A structure in words; what a report calls it if one of its mentions cannot be encoded."""
    from ldnet.train.metric_keys import label_text

    mentions = [part if isinstance(part[0][0], int) else part[0] for part in key[1:]]
    places = [f"{pieces[0][0]}-{pieces[-1][1]}" for pieces in mentions]
    words = " | ".join(" … ".join(text[start:end] for start, end in pieces) for pieces in mentions)
    own, label = (
        (noun, noun) if noun in TYPELESS else (f"{noun} {_last(key[0])!r}", f"{noun} {label_text(key[0])!r}")
    )
    return f"{label} at {', '.join(places)} ({words})" if places else label, [f"{own} at {p}" for p in places]


def _last(label: str | tuple[str, ...]) -> str:
    """The name of a role, qualifier or class without that of its owner."""
    return label if isinstance(label, str) else label[-1]


def _compared(
    gold: dict[str, Any], predicted: dict[str, Any], schema: "Schema"
) -> Iterator[tuple[str, set[tuple], set[tuple]]]:
    """Tasks with their gold and their predicted structures, answers included."""
    from ldnet.train.metric_keys import pieces_of
    from ldnet.train.metrics import compare_record

    yield from compare_record(gold, predicted, schema)
    if schema.question is not None and gold.get("answers") is not None:
        sides = ({("answer", pieces_of(found)) for found in side["answers"]} for side in (gold, predicted))
        yield "answers", *sides


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
    lines = [line.split(": ", 1) for line in unaligned]
    yield from map(tuple, lines)
    lost = {structure for _, structure in lines}
    right: set[tuple] = set()
    for task, gold_keys, predicted_keys in _compared(gold, predicted, schema):
        if task == "relations":
            right = gold_keys & predicted_keys
        if task == "relations_strict":
            for key in sorted(gold_keys - predicted_keys, key=repr):
                if (key[0], *(end[0] for end in key[1:])) in right:
                    yield WRONG_TYPE, _describe("relation", key, gold["text"])[0]
        elif noun := NOUNS.get(task):
            for key in sorted(predicted_keys - gold_keys, key=repr):
                yield SPURIOUS, _describe(noun, key, gold["text"])[0]
            for key in sorted(gold_keys - predicted_keys, key=repr):
                shown, named = _describe(noun, key, gold["text"])
                if lost.isdisjoint(named):
                    yield NOT_FOUND, shown


@dataclass(frozen=True)
class Ceiling:
    """What perfect models score on a data set.

    Args:
        plain: With perfect links.
        confirmed: With perfect links and a perfect confirmation of the loops that they close.
        causes: For each cause why `plain` is not perfect where it occurred, most frequent first.
    """

    plain: "ExtractionMetrics"
    confirmed: "ExtractionMetrics"
    causes: dict[str, list[str]]


def score_oracle(records: list[dict[str, Any]], schema: "Schema", processor: Any) -> Ceiling:
    """Encode the gold structures of every record, decode the links again and compare.

    Args:
        records: Checked records.
        schema: What to ask.
        processor: Gives the tokens.

    Returns:
        The scores.
    """
    from ldnet.train.ceiling import oracle_extraction
    from ldnet.train.metrics import ExtractionMetrics

    plain, confirmed = ExtractionMetrics(schema), ExtractionMetrics(schema)
    causes: dict[str, list[str]] = defaultdict(list)
    for i, record in enumerate(records):
        oracle = oracle_extraction(record, schema, processor)
        plain.add(record, oracle.plain)
        confirmed.add(record, oracle.confirmed)
        for cause, example in losses_of(record, oracle.plain, schema, oracle.unaligned):
            causes[cause].append(f"{record.get('id', f'record {i}')}: {example}")
    by_count = sorted(causes.items(), key=lambda item: (-len(item[1]), item[0]))
    return Ceiling(plain, confirmed, dict(by_count))


def _confirmed_table(tasks: dict[str, Any]) -> "Table":
    from rich.table import Table

    from ldnet.train.reporting import format_score

    table = Table("task", title="confirmed", title_justify="left")
    table.add_column("F1", justify="right", no_wrap=True)
    for task, scores in tasks.items():
        table.add_row(task, format_score(scores["f1"]))
    return table


def run(
    data: Annotated[Path, typer.Option("--data", help=DATA_HELP)],
    model: ModelOption = None,
    encoder: EncoderOption = None,
    schema: SchemaOption = None,
    json_file: JsonOption = None,
) -> None:
    """Show what encoding gold structures as links and decoding them again would score, and what is lost.

    No model without confirmation of loops can score higher on these records than this oracle does, whatever
    it learns. Links are shared by all structures, so that loops close that no structure meant: "confirmed" is
    the score if a perfect model rejects those.

    \b
    ldnet ceiling --data conll04/dev.jsonl.gz

    \b
    ldnet ceiling --data mine.jsonl --encoder microsoft/deberta-v3-small --json ceiling.json
    """
    from rich.columns import Columns

    from ldnet.train.reporting import check_target, make_console, one_line, scores_table, write_json

    check_target(json_file)
    records, asked = load_data(data, schema)
    ceiling = score_oracle(records, asked, load_processor(model, encoder))
    confirmed = ceiling.confirmed.to_dict()["tasks"]
    report = ceiling.plain.to_dict() | {
        "confirmed": {"tasks": confirmed},
        "causes": {
            cause: {"count": len(places), "examples": places[:SHOWN_EXAMPLES]}
            for cause, places in ceiling.causes.items()
        },
        "model": encoder or model_name(model),
        "data": str(data),
    }
    console = make_console()
    console.print(f"oracle of {report['model']} on {data}: {len(records):,} texts", soft_wrap=True)
    console.print(Columns([scores_table(report), _confirmed_table(confirmed)]))
    for cause, found in report["causes"].items():
        console.print(f"{found['count']:,} x {cause}", soft_wrap=True)
        for example in found["examples"]:
            console.print(f"    {one_line(example)}", soft_wrap=True)
    if not ceiling.causes:
        console.print("nothing is lost")
    if json_file is not None:
        write_json(json_file, report)
