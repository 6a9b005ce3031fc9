"""`ldnet convert`: files of other tools to records, and records to theirs."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ldnet.processing.converters import AlignmentReport
    from ldnet.processing.schema import Schema

LABEL_MAP = "label_map"  # an option of every reader
FROM_HELP = (
    "records, bio (CoNLL), brat, spacy, gliner, gliner2, dygie (also PURE), spert, squad, uie, mirror, "
    "label-studio or doccano. Default: what the file shows."
)
SET_HELP = (
    "An option of the format as NAME=VALUE, may be repeated: bio: label_column=3, text_column=0, "
    "unit=document, separator=; to bio: scheme=bioes, tokens=words; gliner, spert, dygie, uie: separator=; "
    "dygie: unit=sentence; label-studio: text_key=body; to spacy: language=en; all: label_map=names.json "
    '({"PER": "person"}).'
)


def _options(given: list[str], functions: Iterable[Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The options of each function, and the label map."""
    from ldnet.processing.converters.formats import options_of, parse_options
    from ldnet.processing.schema_types import did_you_mean
    from ldnet.train.data import RecordError

    functions = [function for function in functions if function is not None]
    pairs = dict(item.split("=", 1) if "=" in item else (item, None) for item in given)
    known = {LABEL_MAP: None, **{name: None for function in functions for name in options_of(function)}}
    problems = [
        f"--set {name}: {'has no value; write NAME=VALUE' if text is None else 'no such option'}. "
        f"Allowed: {', '.join(known)}.{did_you_mean(name, known)}"
        for name, text in pairs.items()
        if text is None or name not in known
    ]
    if problems:
        raise RecordError(problems)
    label_map = pairs.pop(LABEL_MAP, None)
    own = [{name: text for name, text in pairs.items() if name in options_of(f)} for f in functions]
    parsed = [parse_options(f, options) for f, options in zip(functions, own, strict=True)]
    return parsed, {} if label_map is None else _read_label_map(Path(label_map))


def _read_label_map(path: Path) -> dict[str, str]:
    from ldnet.train.data import RecordError, read_records

    names = read_records(path)
    if len(names) != 1 or not all(isinstance(name, str) and name.strip() for name in names[0].values()):
        raise RecordError(f'{path}: no map of labels. Write one object: {{"PER": "person", "LOC": "place"}}.')
    return names[0]


def _read(
    source: Path, name: str, schema: "Schema | None", options: dict[str, Any], names: dict[str, str]
) -> tuple[list[dict], "AlignmentReport"]:
    """All records of the source, checked, and the report of reading it."""
    from ldnet.processing.converters import AlignmentReport, read_format
    from ldnet.processing.converters.formats import RECORDS, rename_labels
    from ldnet.train.data import RecordError, load_records, validate_records

    report = AlignmentReport(str(source))
    if name == RECORDS:
        records = [report.take(record, f"{source}[{i}]") for i, record in enumerate(load_records(source))]
    else:
        records = list(read_format(name, source, report, schema=schema, **options))
    if names:
        records = [rename_labels(record, names) for record in records]
    problems = validate_records(records, schema, f"{source}, as record", places=_places(source, records))
    if problems:
        raise RecordError(map(str, problems))
    return records, report


def _places(source: Path, records: list[dict]) -> list[str]:
    return [f"{source}: record {record.get('id', index)}" for index, record in enumerate(records)]


def _show(report: "AlignmentReport", done: str) -> None:
    """Say what was kept, and a table of what was lost or repaired."""
    from rich.table import Table
    from rich.text import Text

    from ldnet.train.commands import note
    from ldnet.train.reporting import make_console, printable

    note(f"{done} {report}")
    if not (report.lost or report.repaired):
        return
    table = Table()
    for title in ("", "cause", "an example"):
        table.add_column(title, overflow="fold")
    table.add_column("count", justify="right", no_wrap=True)
    for kind, tallies in (("lost", report.lost), ("repaired", report.repaired)):
        for cause, tally in sorted(tallies.items(), key=lambda item: -item[1].count):
            where, value = tally.examples[0]
            example = f"{where}: {value}" if value else where
            table.add_row(kind, Text(printable(cause)), Text(printable(example)), f"{tally.count:,}")
    make_console(stderr=True).print(table)


def _write_schema(path: Path, schema: "Schema | None", records: list[dict], descriptions: dict) -> None:
    from ldnet.processing.schema import Schema
    from ldnet.train.reporting import write_json

    plain = (schema or Schema.from_records(records)).to_dict()
    described = [
        {"type": item, "description": descriptions[item]} if descriptions.get(str(item)) else item
        for item in plain.get("entities", ())
    ]
    write_json(path, plain | ({"entities": described} if described else {}))


InputArgument = Annotated[Path, typer.Argument(metavar="INPUT", help="File, or the folder of brat.")]
FromOption = Annotated[str | None, typer.Option("--from", help=FROM_HELP)]
ToOption = Annotated[
    str, typer.Option("--to", help="records, bio, brat, label-studio (tasks with predictions) or spacy.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        help="File, or the folder of brat. Records: .jsonl, .jsonl.gz, .json, .parquet. Default: stdout.",
    ),
]
OwnSchemaOption = Annotated[
    str | None, typer.Option("--schema", help="Labels that may occur, JSON or a file: others are errors.")
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Write what was kept, lost and repaired to this file as JSON.")
]
SchemaOutputOption = Annotated[
    Path | None,
    typer.Option("--schema-output", help="Write the schema (--schema, else the labels in use) to this file."),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=SET_HELP)]


def run(
    source: InputArgument,
    source_format: FromOption = None,
    target_format: ToOption = "records",
    output: OutputOption = None,
    schema: OwnSchemaOption = None,
    report: ReportOption = None,
    schema_output: SchemaOutputOption = None,
    options: SetOption = None,
) -> None:
    """Convert between records and the files of other tools, and say what was lost.

    Nothing is dropped without a line in the report: on stderr, and with --report as JSON. A file that is not
    in its format is an error (exit code 2), and nothing is written.

    \b
    ldnet convert train.conll --from bio --output train.jsonl --schema-output schema.json

    \b
    ldnet convert project-1.json --from label-studio --output corrected.jsonl --report lost.json
    """
    from ldnet.processing.converters import AlignmentReport, guess_format, write_format
    from ldnet.processing.converters.files import write_records
    from ldnet.processing.converters.formats import RECORDS, format_named
    from ldnet.processing.schema import Schema
    from ldnet.train.reporting import check_target, write_json

    name = source_format or guess_format(source)
    reader = None if name == RECORDS else format_named(name, "read").read
    writer = None if target_format == RECORDS else format_named(target_format, "write").write
    parsed, names = _options(options or [], [reader, writer])
    for path in (report, schema_output):
        check_target(path)
    asked = None if schema is None else Schema.from_any(schema)
    records, reading = _read(source, name, asked, parsed.pop(0) if reader else {}, names)
    _show(reading, "read")
    reports = {"read": reading.to_dict()}
    target = output or Path("-")
    if writer is None:
        write_records(records, target)
    else:
        writing = AlignmentReport(str(target) if output else "stdout")
        write_format(target_format, records, target, writing, **parsed.pop(0))
        _show(writing, "written")
        reports["written"] = writing.to_dict()
    if schema_output is not None:
        _write_schema(schema_output, asked, records, reading.descriptions)
    if report is not None:
        write_json(report, reports)
