"""`ldnet calibrate`: scores that mean probabilities, and thresholds for F1, fitted on dev records."""

import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldnet.train.commands import (
    DATA_HELP,
    BatchSizeOption,
    ModelOption,
    SchemaOption,
    load_data,
    load_pipeline,
    model_name,
    note,
)

if TYPE_CHECKING:
    from rich.table import Table

    from ldnet.processing.calibration import Calibration

PLOT_FORMATS = ("png", "svg", "pdf")
REMOTE_ENTRY = "ldnet_remote.py"
CONFIG = "processor_config.json"

DataOption = Annotated[
    list[Path], typer.Option("--data", help=f"{DATA_HELP} Give it again for further files: one fit for all.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", help="New folder for a calibrated copy. Default: the checkpoint itself."),
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Write all numbers and the calibration to this file as JSON.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Draw the reliability curves (.png, .svg or .pdf).")
]
FoldsOption = Annotated[
    int, typer.Option("--folds", min=2, help="Parts of the texts, each judged by a fit on the others.")
]

MaxRecordsOption = Annotated[
    int | None,
    typer.Option("--max-records", min=1, help="Most records of a file: every n-th of it."),
]
MaxCharactersOption = Annotated[
    int | None, typer.Option("--max-characters", min=1, help="Leave out records with longer texts.")
]


def _checkpoint_folder(model: str | None) -> Path | None:
    """Where a checkpoint lies on this disk; `None` for one of the Hub."""
    from ldnet.train import loading

    folder = loading.DEFAULT_MODEL_FOLDER if model is None else Path(model)
    return folder if folder.is_dir() else None


def every_nth(
    records: list[dict[str, Any]], most: int | None = None, characters: int | None = None
) -> list[dict[str, Any]]:
    """Some of the records of a file: every n-th, n as large as leaves `most` of them.

    Args:
        records: All of a file.
        most: Most records; `None` = all.
        characters: Longest text; `None` = any.

    Returns:
        In their order, of those that are short enough; the first `most` of fewer than twice as many.
    """
    fitting = [record for record in records if characters is None or len(record["text"]) <= characters]
    step = max(1, len(fitting) // most) if most else 1
    return fitting[::step][:most]


def _check_places(model: str | None, output: Path | None, report: Path | None, plot: Path | None) -> None:
    """Refuse what could not be written, before the model is loaded."""
    from ldnet.train.calibration_report import reliability_figure
    from ldnet.train.reporting import check_target

    if output is None and (model is None or _checkpoint_folder(model) is None):
        what = (
            "the checkpoint inside the package stays as it is" if model is None else f"{model} is no folder"
        )
        raise ValueError(f"--output: {what}; name a new folder for the calibrated checkpoint")
    if output is not None and output.exists():
        raise ValueError(
            f"--output: {output} is there already; name a new folder, or calibrate that one itself"
        )
    for path in (output, report, plot):
        check_target(path)
    if report is not None and plot is not None and report.resolve() == plot.resolve():
        raise ValueError(f"--report and --plot: both are {report}; name two files")
    if plot is not None:
        if plot.suffix.lstrip(".").lower() not in PLOT_FORMATS:
            raise ValueError(f"--plot: {plot} is no picture; end it in .{', .'.join(PLOT_FORMATS)}")
        reliability_figure({})


def write_calibration(folder: str | Path, calibration: "Calibration") -> None:
    """Store a calibration in a checkpoint; a reader finds the old or the new one.

    Args:
        folder: Folder with a `processor_config.json`. Code in it is made that of this package: older code
            knows no calibration.
        calibration: What was fitted.
    """
    from ldnet.hub_ldnet import write_remote_code
    from ldnet.train.reporting import atomic_write

    folder = Path(folder)
    if (folder / REMOTE_ENTRY).exists():
        write_remote_code(folder)
    values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    values["calibration"] = calibration.to_dict()
    with atomic_write(folder / CONFIG) as file:
        file.write(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _write_checkpoint(model: str | None, output: Path | None, pipe: Any, calibration: "Calibration") -> Path:
    """Store the calibration in place, or in a copy that is whole or not there."""
    folder = _checkpoint_folder(model)
    if output is None:
        write_calibration(folder, calibration)
        return folder
    beside = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        if folder is None:
            pipe.save_pretrained(beside)
        else:
            shutil.copytree(folder, beside, ignore=shutil.ignore_patterns("__pycache__"))
        write_calibration(beside, calibration)
        beside.rename(output)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return output


def _write_plot(path: Path, tasks: dict[str, Any]) -> None:
    from ldnet.train.calibration_report import reliability_figure

    picture = io.BytesIO()
    reliability_figure(tasks).savefig(picture, format=path.suffix.lstrip(".").lower())
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_bytes(picture.getvalue())
    beside.replace(path)


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _tables(report: dict[str, Any]) -> list["Table"]:
    from rich.table import Table
    from rich.text import Text

    errors = Table("task")
    for title in ("structures", "calibration error", "after", "log loss", "after"):
        errors.add_column(title, justify="right")
    for task, own in report["tasks"].items():
        cells = [_number(own[name][side], 3) for name in ("ece", "log_loss") for side in ("before", "after")]
        errors.add_row(task, f"{own['structures']:,}", *cells)
    scores = Table("data", "score")
    for title in ("F1", "after"):
        scores.add_column(title, justify="right")
    for name, own in report["f1"].items():
        for score, sides in own.items():
            cells = [_number(value, 2) for value in sides.values()]
            scores.add_row(Text(name), score, *cells)
    return [errors, scores]


def _show(report: dict[str, Any]) -> None:
    from ldnet.train.reporting import make_console

    console = make_console()
    texts = f"{report['texts']:,} texts in {report['folds']} parts"
    console.print(f"{report['model']}: {texts}", soft_wrap=True)
    for table in _tables(report):
        console.print(table)


def run(
    data: DataOption,
    model: ModelOption = None,
    schema: SchemaOption = None,
    output: OutputOption = None,
    report_file: ReportOption = None,
    plot: PlotOption = None,
    folds: FoldsOption = 2,
    max_records: MaxRecordsOption = None,
    max_characters: MaxCharactersOption = None,
    batch_size: BatchSizeOption = 16,
) -> None:
    """Make scores mean probabilities: fit curves and thresholds on dev records, store them in the checkpoint.

    The numbers that are shown are of texts that were not fitted on; what is stored is fitted on all. Use
    records that the model was not trained on. Extraction uses what is stored by itself.

    \b
    ldnet calibrate --model out/ --data conll04/dev.jsonl.gz --report calibration.json --plot curve.png

    \b
    ldnet calibrate --data news.jsonl --data mails.jsonl --output calibrated/
    """
    from ldnet.train.calibration import fit_calibration
    from ldnet.train.calibration_pairs import extract_raw
    from ldnet.train.calibration_report import cross_fit
    from ldnet.train.reporting import write_json

    _check_places(model, output, report_file, plot)
    loaded = [(str(path), *load_data(path, schema)) for path in data]
    pipe = load_pipeline(model)
    options = {"batch_size": batch_size} | ({"progress": True} if sys.stderr.isatty() else {})
    spread = [(name, every_nth(records, max_records, max_characters), of) for name, records, of in loaded]
    sets = [extract_raw(*one, pipe, **options) for one in spread]
    report = cross_fit(sets, folds)
    calibration = fit_calibration(sets)
    if not calibration.tasks:
        raise ValueError("calibrate: the model finds nothing in these texts; use others, or train it further")
    report |= {
        "calibration": calibration.to_dict(),
        "model": model_name(model),
        "data": [str(path) for path in data],
        "texts": sum(len(of_set.records) for of_set in sets),
        "folds": folds,
    }
    _show(report)
    if plot is not None:
        _write_plot(plot, report["tasks"])
    if report_file is not None:
        write_json(report_file, report)
    note(f"{_write_checkpoint(model, output, pipe, calibration)}: the calibration is stored in its {CONFIG}")
