"""`ldnet extract`: texts in; records, annotation tasks or a page out."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from ldnet.train.commands import (
    SCHEMA_HELP,
    BatchSizeOption,
    ModelOption,
    OverlapOption,
    SchemaCacheOption,
    ThresholdOption,
    cache_option,
    load_pipeline,
    note,
)

if TYPE_CHECKING:
    from ldnet.processing.schema import Schema

MAX_PAGE_TEXTS = 2000  # of one page; with more it is some ten megabytes that nobody reads to the end

Write = Callable[[dict[str, Any]], None]


class Format(StrEnum):
    """What results are written as."""

    records = "records"
    label_studio = "label-studio"


TextArgument = Annotated[
    str | None, typer.Argument(metavar="TEXT", help="A text. Default: --input, else stdin.")
]
InputOption = Annotated[
    Path | None,
    typer.Option("--input", help="File: .txt (a text a line), .jsonl(.gz) or .json with `text`; - is stdin."),
]
OwnSchemaOption = Annotated[str | None, typer.Option("--schema", help=f"{SCHEMA_HELP}.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", help="Write the results to this file (.jsonl or .json, also .gz).")
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--to",
        help="Records, one line of JSON each; or tasks of Label Studio with the results as predictions, "
        "one JSON list.",
    ),
]
PageOption = Annotated[
    Path | None,
    typer.Option(
        "--html", help=f"Also write a page that shows the results, of the first {MAX_PAGE_TEXTS:,} texts."
    ),
]


@contextmanager
def _stdout() -> Iterator[IO[str]]:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8, whatever the locale
    yield sys.stdout
    sys.stdout.flush()


@contextmanager
def _writer(output: Path | None, to: Format) -> Iterator[Write]:
    """How results are written: JSON to a file or pipe, tables to a terminal."""
    from ldnet.train.reporting import atomic_write, make_console, result_table, to_json

    if output is None and to is Format.records and sys.stdout.isatty():
        console = make_console()
        yield lambda result: console.print(result_table(result))
        return
    with _stdout() if output is None else atomic_write(output) as file:
        if to is Format.records:
            yield lambda result: file.write(to_json(result) + "\n")
            return
        results: list[dict[str, Any]] = []
        yield results.append
        file.write(to_json(_tasks(results), indent=1) + "\n")


def _tasks(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tasks of Label Studio; what they cannot hold is named on stderr."""
    from ldnet.processing.converters.label_studio import tasks_from_results
    from ldnet.processing.converters.report import AlignmentReport

    report = AlignmentReport("results")
    tasks = tasks_from_results(results, report)
    for cause, tally in report.lost.items():
        note(f"--to label-studio: {tally.count:,} x {cause}; left out of the tasks")
    return tasks


@contextmanager
def _page(path: Path) -> Iterator[Write]:
    """How results get onto a page, which is written when there are no more of them."""
    from ldnet.processing.visualization import results_page
    from ldnet.train.reporting import atomic_write

    results: list[dict[str, Any]] = []
    left_out = 0

    def keep(result: dict[str, Any]) -> None:
        nonlocal left_out
        if len(results) < MAX_PAGE_TEXTS:
            results.append(result)
        else:
            left_out += 1

    with atomic_write(path) as file:
        yield keep
        remark = ""
        if left_out:
            remark = f"The first {len(results):,} of {len(results) + left_out:,} texts."
            note(f"{path}: it shows the first {len(results):,} texts, {left_out:,} are left out")
        file.write(results_page(results, "Results", remark))


@contextmanager
def _outputs(output: Path | None, to: Format, html: Path | None) -> Iterator[Write]:
    """All that a result is handed to."""
    if html is not None and output is not None and html.resolve() == output.resolve():
        raise ValueError(f"--html and --output: both are {html}; name two files")
    with ExitStack() as stack:
        writers = [stack.enter_context(_writer(output, to))]
        if html is not None:
            writers.append(stack.enter_context(_page(html)))

        def write(result: dict[str, Any]) -> None:
            for writer in writers:
                writer(result)

        yield write


def _schema_of(schema: str | None, path: Path | None) -> "Schema":
    from ldnet.processing.schema import Schema, SchemaError
    from ldnet.train.data import load_schema_for

    if schema is not None:
        return Schema.from_any(schema)
    beside = load_schema_for(path) if path is not None and str(path) != "-" else None
    if beside is None:
        raise SchemaError("extract: no schema is given; say what to look for, e.g. --schema '[\"person\"]'")
    return beside


def run(
    text: TextArgument = None,
    input_file: InputOption = None,
    schema: OwnSchemaOption = None,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    overlap: OverlapOption = None,
    batch_size: BatchSizeOption = 16,
    output: OutputOption = None,
    to: FormatOption = Format.records,
    html: PageOption = None,
    schema_cache: SchemaCacheOption = None,
) -> None:
    """Extract from a text, a file or stdin.

    On a terminal the results are tables; to a pipe or file they are records, one line of JSON each, in the
    order of the texts. Lines that cannot be read are reported at the end (exit code 2); all others are done.

    \b
    ldnet extract "Tim Cook leads Apple." --html found.html \\
        --schema '{"entities": ["person", "organization"], "relations": ["works for"]}'

    \b
    zcat notes.jsonl.gz | ldnet extract --schema schema.json --threshold 0.6 > found.jsonl
    """
    from ldnet.train.commands.extract_input import good_texts, open_source
    from ldnet.train.data import RecordError

    with open_source(text, input_file) as source:
        asked = _schema_of(schema, input_file)
        with _outputs(output, to, html) as write:
            cache = cache_option(schema_cache)
            pipe = load_pipeline(model)
            options = {
                "threshold": threshold,
                "overlap": overlap and overlap.value,
                "batch_size": batch_size,
            } | cache
            if text is None and sys.stderr.isatty() and (output or not sys.stdout.isatty()):
                options["progress"] = True
            ids: deque = deque()
            for result in pipe(good_texts(source, asked, ids), schema=asked, **options):
                name = ids.popleft()
                write(result if name is None else {"id": name, **result})
    if source.problems:
        raise RecordError(map(str, source.problems))
