"""`ldnet ablate`: variants x data sets x seeds, with the tables and figures of the paper."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldnet.processing.schema import Schema
from ldnet.processing.schema_types import did_you_mean
from ldnet.train.ablation_report import F1, write_report
from ldnet.train.args import DataArguments, LDNetTrainingArguments, ModelArguments
from ldnet.train.experiments import Cell, report_failures, run_cells
from ldnet.train.parsing import ArgumentsError, parse_arguments
from ldnet.train.plots import make_figure
from ldnet.train.sources import load_source

METRICS = ("f1", *F1)  # of which one is a set's headline
SET_KEYS = ("train", "dev", "metric", "flags")
STARTS = ("model", "encoder")  # of a training; the one that a variant names takes the place of the other
CHECKPOINT = "{model}"  # in a value of a flag: what --model says; `{set}`, `{seed}`, `{output_dir}` likewise
TEACHERS = ("stores", "teachers")  # of ldnet distill: their content belongs to a cell's identity

logger = logging.getLogger(__name__)

DESCRIPTION = """Train variants of a model on several data sets with several seeds, and compare them.

Every variant is a name with flags of ldnet finetune. Finished cells are kept: the same command goes on where
it was stopped, and a second process with the same command takes cells that the first has not begun.

Examples:
  ldnet ablate --config train/configs/ablate.yaml --data_root data --output_dir ablations
  ldnet ablate --config train/configs/ablate_pretraining.yaml --model out --only_sets conll04 --seeds 1
  --output_dir pretraining --dry_run
"""


@dataclass
class AblateArguments:
    """The grid; `sets`, `variants` and `flags` are mappings in YAML, JSON on the command line."""

    output_dir: str = field(metadata={"help": "Folder for cells, tables and charts."})
    sets: str = field(
        metadata={"help": 'JSON: name -> {"train": [...], "dev": [...], "metric": "f1", "flags": {...}}.'}
    )
    variants: str = field(metadata={"help": "JSON: name -> flags of finetune; the first is the baseline."})
    flags: str = field(default="{}", metadata={"help": "JSON: flags of finetune for every cell."})
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3], metadata={"help": "Of the trainings."})
    data_root: str = field(default="", metadata={"help": "Folder that relative record files start from."})
    model: str | None = field(
        default=None, metadata={"help": "Checkpoint that stands for '{model}' in the flags of variants."}
    )
    only_sets: list[str] = field(default_factory=list, metadata={"help": "Of the sets, only these."})
    only_variants: list[str] = field(default_factory=list, metadata={"help": "Of the variants, only these."})
    drop_rates: list[float] = field(
        default_factory=list, metadata={"help": "Shares of columns to gate at test time, in [0, 1]."}
    )
    label_drop: bool = field(
        default=False, metadata={"help": "Measure the accuracy of label drop and the F1 of relevance."}
    )
    calibrated: bool = field(
        default=False,
        metadata={"help": "Score with thresholds of ldnet calibrate too, each half fitted on the other."},
    )
    keep_models: bool = field(default=False, metadata={"help": "Keep the model of every cell."})
    plots: bool = field(default=True, metadata={"help": "Draw charts."})
    dry_run: bool = field(default=False, metadata={"help": "Only show what would be run."})


@dataclass(frozen=True)
class Grid:
    """A checked grid: plain mappings instead of JSON.

    Args:
        sets: Name -> record files, headline metric, own flags.
        variants: Name -> flags.
        flags: Of every cell.
    """

    sets: dict[str, dict[str, Any]]
    variants: dict[str, dict[str, Any]]
    flags: dict[str, Any]

    def merged(self, name: str, variant: str) -> dict[str, Any]:
        """Flags of a cell: those of all, then of its set, then of its variant."""
        merged = dict(self.flags)
        for part in (self.sets[name].get("flags") or {}, self.variants[variant]):
            if any(part.get(start) is not None for start in STARTS):
                merged = {key: value for key, value in merged.items() if key not in STARTS}
            merged |= part
        return merged


def read_grid(args: AblateArguments) -> Grid:
    """Parse and check the mappings.

    Args:
        args: As given.

    Returns:
        The grid, narrowed to what was asked for.

    Raises:
        ArgumentsError: With everything that is wrong.
    """
    problems: list[str] = []
    sets, variants, flags = (
        _mapping(name, getattr(args, name), problems) for name in ("sets", "variants", "flags")
    )
    for name, one in sets.items():
        problems += _set_problems(name, one)
    for name, own in variants.items():
        if not isinstance(own, dict):
            problems.append(f"variants: {name!r} is {own!r:.60}, not flags; write {{}} for none")
    for what, known, wanted in (("sets", sets, args.only_sets), ("variants", variants, args.only_variants)):
        unknown = [name for name in wanted if name not in known]
        problems += [f"only_{what}: there is no {name!r}.{did_you_mean(name, known)}" for name in unknown]
    if not args.seeds or len(set(args.seeds)) < len(args.seeds):
        problems.append(f"seeds: {args.seeds} is empty or repeats a value; name each once")
    problems += [
        f"drop_rates: {rate} is no share in [0, 1]" for rate in args.drop_rates if not 0.0 <= rate <= 1.0
    ]
    if problems:
        raise ArgumentsError("\n".join(f"ldnet ablate: {problem}" for problem in problems))
    return Grid(
        {name: one for name, one in sets.items() if not args.only_sets or name in args.only_sets},
        {name: one for name, one in variants.items() if not args.only_variants or name in args.only_variants},
        flags,
    )


def _mapping(name: str, text: str, problems: list[str]) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        problems.append(f"{name}: not JSON ({error}); write a mapping in the YAML file")
        return {}
    if not isinstance(content, dict) or not (content or name == "flags"):
        problems.append(f"{name}: {content!r:.60} is no mapping with entries; write one in the YAML file")
        return {}
    return content


def _set_problems(name: str, one: Any) -> list[str]:
    if not isinstance(one, dict):
        return [f"sets: {name!r} is {one!r:.60}, not a mapping with train and dev"]
    problems = [
        f"sets: {name!r} has the key {key!r}.{did_you_mean(key, SET_KEYS) or f' Known: {SET_KEYS}.'}"
        for key in one
        if key not in SET_KEYS
    ]
    for key in ("train", "dev"):
        files = one.get(key)
        if not isinstance(files, list) or not files:
            problems.append(f"sets: {name!r} has no list of record files under {key!r}; write one")
    if (metric := one.get("metric", METRICS[0])) not in METRICS:
        problems.append(f"sets: {name!r} has the metric {metric!r}.{did_you_mean(metric, METRICS)} {METRICS}")
    return problems


def as_flags(values: Mapping[str, Any]) -> list[str]:
    """Flags of a mapping: lists give several values, `None` leaves a flag out.

    Args:
        values: Name -> value.

    Returns:
        Flags and values.
    """
    found: list[str] = []
    for name, value in values.items():
        if value is not None:
            items = value if isinstance(value, list) else [value]
            found += [f"--{name}", *(json.dumps(v) if isinstance(v, dict) else str(v) for v in items)]
    return found


def make_cells(args: AblateArguments, grid: Grid) -> list[Cell]:
    """The grid's cells, the first seed of all variants first.

    Args:
        args: Seeds, root, what is measured.
        grid: Sets and variants.

    Returns:
        The cells.

    Raises:
        ArgumentsError: With every variant whose flags cannot be used.
    """
    cells, problems = [], []
    for seed in args.seeds:
        for name in grid.sets:
            for variant in grid.variants:
                values = grid.merged(name, variant)
                verb = values.pop("verb", "finetune")
                factors = {"set": name, "variant": variant, "seed": seed}
                own = factors | {"model": args.model, "output_dir": args.output_dir}
                values = {key: _filled(value, own) for key, value in values.items()}
                found = _flag_problems(values, verb)
                problems += [f"ldnet ablate: variant {variant!r} on {name}: {problem}" for problem in found]
                cells.append(_cell(args, grid, values, factors, verb))
    if problems:
        raise ArgumentsError("\n".join(dict.fromkeys(problems)))
    return cells


def _filled(value: Any, own: Mapping[str, Any]) -> Any:
    """The value of a flag with what stands for `{model}`, `{set}` and so on in it."""
    if isinstance(value, list):
        return [_filled(item, own) for item in value]
    if isinstance(value, str):
        for name, filling in own.items():
            value = value if filling is None else value.replace(f"{{{name}}}", str(filling))
    return value


def _cell(
    args: AblateArguments, grid: Grid, values: dict[str, Any], factors: dict[str, Any], verb: str
) -> Cell:
    one = grid.sets[factors["set"]]
    train, dev, replay = (
        [str(Path(args.data_root) / path) for path in paths]
        for paths in (one["train"], one["dev"], values.get("replay") or [])
    )
    own = {
        "train": train,
        "dev": dev,
        **({"replay": replay} if replay else {}),
        "seed": factors["seed"],
        "resume_from_checkpoint": "true",
    }
    measure = {
        "name": factors["set"],
        "dev": dev,
        "schema": values.get("schema"),
        "instruction": values.get("instruction"),
    }
    measure |= {"drop_rates": args.drop_rates, "label_drop": args.label_drop, "seed": factors["seed"]}
    if args.calibrated:
        measure["calibrated"] = True
    starts = [values[start] for start in STARTS if values.get(start)]
    teachers = [name for key in TEACHERS for name in values.get(key) or ()]
    return Cell(factors, as_flags(values | own), measure, (*train, *dev, *replay, *starts, *teachers), verb)


def _flag_problems(values: dict[str, Any], verb: str) -> list[str]:
    """What finetune would say about the flags of a cell."""
    taken = [key for key in ("train", "dev", "data_root", "output_dir", "seed") if key in values]
    problems = [f"the flag {key!r} is set by the grid; leave it out" for key in taken]
    if any(CHECKPOINT in str(value) for value in values.values()):
        return [*problems, "needs a checkpoint; name it with --model, or choose with --only_variants"]
    problems += [
        f"there is no store {store}; write it with ldnet distill store, or choose with --only_variants"
        for store in values.get("stores") or ()
        if not Path(store).exists()
    ]
    if verb != "finetune":
        return problems  # that verb says the rest itself
    types = (DataArguments, ModelArguments, LDNetTrainingArguments)
    try:
        flags = [*as_flags(values), "--train", "x", "--output_dir", "x"]
        _, model, _ = parse_arguments(types, flags, "ldnet finetune", "")
    except ValueError as error:
        return problems + str(error).splitlines()
    if (model.encoder is None) == (model.model is None):
        problems.append("names not one of model and encoder")
    return problems


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb.

    Args:
        argv: Its arguments; the process's own by default.

    Returns:
        Exit code: 1 if a training failed.
    """
    (args,) = parse_arguments((AblateArguments,), argv, "ldnet ablate", DESCRIPTION)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    grid = read_grid(args)
    cells = make_cells(args, grid)
    if args.dry_run:
        for cell in cells:
            logger.info("%s: ldnet %s %s", cell.name, cell.verb, " ".join(cell.flags))
        return 0
    if args.plots:
        make_figure()  # what is missing shows before hours of work
    schema = None if grid.flags.get("schema") is None else Schema.from_any(grid.flags["schema"])
    for one in grid.sets.values():  # so does what is wrong with the data
        for path in (*one["train"], *one["dev"]):
            load_source(path, args.data_root, schema)
    folder = Path(args.output_dir)
    outcome = run_cells(cells, folder / "cells", keep_models=args.keep_models)
    metrics = {name: one.get("metric", "f1") for name, one in grid.sets.items()}
    logger.info("%s", write_report(outcome, folder, list(grid.variants)[0], metrics, args.plots))
    return report_failures(outcome, folder)
