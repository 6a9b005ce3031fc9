"""`ldnet fewshot`: train on a handful of examples of each label, several times, and score that."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ldnet.processing.schema import Schema
from ldnet.train.args import DataArguments, LDNetTrainingArguments, ModelArguments
from ldnet.train.data import load_schema_for, manifest_of
from ldnet.train.dataset import Source
from ldnet.train.experiments import (
    Cell,
    Outcome,
    Row,
    aggregate,
    markdown_table,
    mean_and_std,
    report_failures,
    run_cells,
    slug,
    write_csv,
    write_text,
)
from ldnet.train.few_shot import sample_shots
from ldnet.train.metrics import TASKS
from ldnet.train.parsing import ArgumentsError, make_parser
from ldnet.train.plots import make_figure, save_lines
from ldnet.train.reporting import atomic_write, to_json, write_json
from ldnet.train.sources import load_source, schema_of_records

# Table 8 of arXiv 2502.12614. Only the best weights are written: 200 epochs of a few steps each.
SCHEDULE = {"num_train_epochs": "200", "patience": "10", "save_strategy": "best", "save_only_model": "true"}
OWN = ("shots", "seeds", "keep_models", "plots")
OF_CELLS = ("train", "dev", "replay", "data_root", "output_dir", "seed")  # what the grid tells a cell

logger = logging.getLogger(__name__)

DESCRIPTION = """Few-shot learning: train on k structures of each label, for several k and seeds.

Every other flag is one of ldnet finetune; the schedule is 200 epochs with a patience of 10 unless given,
scored from the end of the warm-up on. Tables and a chart go to the output folder; the same command goes on
where it was stopped.

Examples:
  ldnet fewshot --model out --train wnut17/train.jsonl.gz --dev wnut17/dev.jsonl.gz --output_dir few
  ldnet fewshot --encoder minilm --shots 1 5 --seeds 1 2 --train a.jsonl --dev b.jsonl --max_dev_records 100
  --output_dir few
"""


@dataclass
class FewShotArguments:
    """The grid."""

    shots: list[int] = field(
        default_factory=lambda: [1, 5, 10], metadata={"help": "Structures of each label to train on."}
    )
    seeds: list[int] = field(
        default_factory=lambda: [1, 2, 3], metadata={"help": "Of the choice of records and of the training."}
    )
    keep_models: bool = field(default=False, metadata={"help": "Keep the model of every cell."})
    plots: bool = field(default=True, metadata={"help": "Draw a chart."})


def without_flags(argv: Sequence[str], names: Sequence[str]) -> list[str]:
    """Flags without some of them and their values.

    Args:
        argv: Flags and values, as `Parser.expand` gives them.
        names: Flags without dashes.

    Returns:
        The others.
    """
    kept, leaving = [], False
    for part in argv:
        if part.startswith("--"):
            name = part[2:].split("=")[0]
            leaving = name in names or name.removeprefix("no_") in names
        if not leaving:
            kept.append(part)
    return kept


@dataclass(frozen=True)
class TrainingFile:
    """A record file to choose from.

    Args:
        path: Where it lies.
        source: Its set.
        schema: All that its set annotates, also what cannot be trained.
        records: All of them.
    """

    path: Path
    source: Source
    schema: Schema
    records: list[dict]


def read_training_files(data: DataArguments) -> list[TrainingFile]:
    """Read and check what is chosen from.

    Args:
        data: The files.

    Returns:
        One item a file.

    Raises:
        RecordError: With every problem of a file.
    """
    given = None if data.schema is None else Schema.from_any(data.schema)
    found = []
    for name in data.train:
        source, records = load_source(name, data.data_root, given)
        path = Path(data.data_root) / name
        schema = given or load_schema_for(path) or schema_of_records(None, records)
        found.append(TrainingFile(path, source, schema, records))
    return found


def write_sample(folder: Path, file: TrainingFile, shots: int, seed: int) -> Path:
    """Choose records of a file and write them with what lies beside it.

    Args:
        folder: Where the sample gets a folder.
        file: What to choose from.
        shots: Structures of each label.
        seed: Of the choice.

    Returns:
        The sample's record file.
    """
    places = sample_shots(file.records, file.source.schema, shots, seed)
    stem = file.path.name.split(".")[0]
    name = file.source.name if stem == "train" else f"{file.source.name}-{stem}"
    place = folder / slug(name)
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / "schema.json", file.schema.to_dict())
    if manifest := manifest_of(file.path):
        write_json(place / "manifest.json", manifest)
    with atomic_write(place / "train.jsonl") as out:
        out.writelines(to_json(file.records[i]) + "\n" for i in places)
    logger.info("%s, %d shots, seed %d: %d of %d records", name, shots, seed, len(places), len(file.records))
    return place / "train.jsonl"


def make_cells(
    grid: FewShotArguments, data: DataArguments, start: str, flags: Sequence[str], folder: Path
) -> list[Cell]:
    """The grid's cells; the samples that they train on are written.

    Args:
        grid: Shots and seeds.
        data: The files.
        start: Encoder or checkpoint that each training starts from.
        flags: Of finetune, for every cell.
        folder: Where samples are written.

    Returns:
        Cells, the first seed of all shots first.
    """
    files, cells = read_training_files(data), []
    dev, replay = ([str(Path(data.data_root) / path) for path in paths] for paths in (data.dev, data.replay))
    if replay:
        flags = [*flags, "--replay", *replay]
    measure = {"dev": dev, "schema": data.schema, "instruction": data.instruction}
    for seed in grid.seeds:
        for shots in grid.shots:
            place = folder / "samples" / f"shots-{shots}_seed-{seed}"
            train = [str(write_sample(place, file, shots, seed)) for file in files]
            own = [*flags, "--train", *train, "--dev", *dev, "--seed", str(seed)]
            cells.append(Cell({"shots": shots, "seed": seed}, own, measure, (*train, *dev, *replay, start)))
    return cells


def headline(rows: Sequence[Row]) -> list[str]:
    """Metrics that a table shows: F1 of each task that was scored."""
    there = {row["metric"] for row in rows}
    return [metric for metric in (f"{task}_f1" for task in TASKS) if metric in there]


def few_shot_table(table: Sequence[Row]) -> str:
    """Mean F1 and standard deviation of each set and task over shots, as Markdown.

    Args:
        table: What `aggregate` gives.

    Returns:
        The table.
    """
    by_cell = {(row["set"], row["metric"], row["shots"]): row for row in table}
    shots = sorted({row["shots"] for row in table})
    sets = list(dict.fromkeys(row["set"] for row in table))
    rows = [
        [name, metric.removesuffix("_f1"), *(mean_and_std(by_cell.get((name, metric, k))) for k in shots)]
        for name in sets
        for metric in headline([row for row in table if row["set"] == name])
    ]
    return markdown_table(["set", "F1 of", *(f"{k}-shot" for k in shots)], rows)


def write_report(outcome: Outcome, folder: Path, plots: bool) -> None:
    """Write `results.json`, `results.csv`, `results.md` and `few_shot.png`.

    Args:
        outcome: What was run.
        folder: Where.
        plots: Whether to draw.
    """
    table = aggregate(outcome.rows)
    write_json(folder / "results.json", outcome.to_dict() | {"table": table})
    write_csv(folder / "results.csv", table)
    write_text(folder / "results.md", few_shot_table(table))
    series: dict[str, list] = {}
    for row in sorted(table, key=lambda row: row["shots"]):
        if row["metric"] in headline(table):
            name = f"{row['set']} {row['metric'].removesuffix('_f1')}"
            series.setdefault(name, []).append((row["shots"], row["mean"], row["std"]))
    if plots and series:
        save_lines(folder / "few_shot.png", series, title="Few-shot", x_label="structures of each label")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb.

    Args:
        argv: Its arguments; the process's own by default.

    Returns:
        Exit code: 1 if a training failed.
    """
    parser = make_parser(
        (FewShotArguments, DataArguments, ModelArguments, LDNetTrainingArguments),
        "ldnet fewshot",
        DESCRIPTION,
    )
    flags = parser.expand(sys.argv[1:] if argv is None else argv)
    schedule = [part for name, value in SCHEDULE.items() for part in (f"--{name}", value)]
    grid, data, model, args = parser.parse([*schedule, *flags])
    _check(grid, data, model, flags)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if grid.plots:
        make_figure()  # what is missing shows before hours of work
    folder = Path(args.output_dir)
    own = [*schedule, *_delay(args, flags), *without_flags(flags, (*OWN, *OF_CELLS))]
    for path in data.dev:  # what is wrong with it shows before the first training
        load_source(path, data.data_root, None if data.schema is None else Schema.from_any(data.schema))
    cells = make_cells(grid, data, model.model or model.encoder or "", own, folder)
    outcome = run_cells(cells, folder / "cells", keep_models=grid.keep_models)
    write_report(outcome, folder, grid.plots)
    logger.info("%s", few_shot_table(aggregate(outcome.rows)))
    return report_failures(outcome, folder)


def _delay(args: LDNetTrainingArguments, flags: Sequence[str]) -> list[str]:
    """No scores in the warm-up, unless asked for: fresh heads link everything, which takes ages to decode."""
    if "--eval_delay" in flags or args.warmup_steps >= 1:
        return []
    return ["--eval_delay", str(args.warmup_steps * args.num_train_epochs)]


def _check(grid: FewShotArguments, data: DataArguments, model: ModelArguments, flags: Sequence[str]) -> None:
    problems = []
    given = {flag[2:].split("=")[0] for flag in flags if flag.startswith("--")}
    if not data.dev:
        problems.append("dev: no record file to score on; name one with --dev")
    if (model.encoder is None) == (model.model is None):
        problems.append("encoder, model: name one of them: --encoder for a fresh start, --model to go on")
    if not grid.shots or min(grid.shots) < 1:
        problems.append(f"shots: {grid.shots} are no numbers of structures; use 1 or more")
    if "seed" in given:
        problems.append("seed: a grid has several; use --seeds")
    if "resume_from_checkpoint" in given:
        problems.append("resume_from_checkpoint: finished cells are kept; run the same command again")
    for name in ("shots", "seeds"):
        values = getattr(grid, name)
        if len(set(values)) < len(values):
            problems.append(f"{name}: {values} repeats a value; name each once")
    if problems:
        raise ArgumentsError("\n".join(f"ldnet fewshot: {problem}" for problem in problems))
