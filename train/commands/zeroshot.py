"""`ldnet zeroshot`: scores on sets that a model has never seen, and proof that it has not."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldnet.processing.schema import Schema
from ldnet.train.commands import load_data, load_pipeline, model_name
from ldnet.train.commands.evaluate import score
from ldnet.train.experiments import markdown_table, write_csv, write_text
from ldnet.train.metrics import PRIMARY
from ldnet.train.overlap import SEEN_SHARE, WORDS_OF_RUN, Overlap, OverlapFinder, add_files, training_files
from ldnet.train.parsing import ArgumentsError, parse_arguments
from ldnet.train.reporting import format_score, write_json

SCORES = ("precision", "recall", "f1")
SHOWN_OVERLAPS = 20

logger = logging.getLogger(__name__)

DESCRIPTION = """Score a model on sets that it has not seen, after checking that it has not.

A text of theirs counts as seen if a training text has the same words, or if half of its runs of five words
occur in training texts. Then the exit code is 2, unless such texts are left out with --allow_overlap.

Examples:
  ldnet zeroshot --model out --data unseen/dev.jsonl.gz --trained_on train/configs/ldnet_minilm.yaml
  ldnet zeroshot --data mit_movie/dev.jsonl.gz --trained_on conll04 wnut17/train.jsonl.gz --allow_overlap
  --output_dir zero
"""


class ContaminationError(ValueError):
    """Texts or sets that should be unseen but were trained on; `problems` has a line for each."""

    def __init__(self, problems: Sequence[str]):
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


@dataclass
class ZeroShotArguments:
    """What to score on, and what was trained on."""

    data: list[str] = field(metadata={"help": "Record files of the unseen sets."})
    trained_on: list[str] = field(
        metadata={
            "help": "All that the model was trained on: record files, folders of data sets, or YAML and JSON "
            "files that list them under 'train' (as a configuration of ldnet finetune does)."
        }
    )
    model: str | None = field(
        default=None, metadata={"help": "Folder or Hub id. Default: the checkpoint inside the package."}
    )
    data_root: str = field(
        default="", metadata={"help": "Folder that relative --data and --trained_on start from."}
    )
    schema: str | None = field(
        default=None, metadata={"help": "Schema for all sets. Default: schema.json beside each."}
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "Folder for zeroshot.json, zeroshot.csv and zeroshot.md."}
    )
    allow_overlap: bool = field(
        default=False, metadata={"help": "Leave texts that were seen out of the scores, and count them."}
    )
    run_words: int = field(default=WORDS_OF_RUN, metadata={"help": "Words of the runs that are compared."})
    seen_share: float = field(
        default=SEEN_SHARE, metadata={"help": "Share of a text's runs from which it counts as seen."}
    )
    threshold: float | None = field(default=None, metadata={"help": "Default: the model's own."})
    batch_size: int = field(default=16, metadata={"help": "Texts of a batch."})


@dataclass
class UnseenSet:
    """A set to score on.

    Args:
        path: Its record file.
        schema: What to ask.
        records: Its records.
        overlaps: Those of its texts that were seen.
    """

    path: Path
    schema: Schema
    records: list[dict[str, Any]]
    overlaps: list[Overlap] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name in reports: that of its folder, or of the file where it stands alone."""
        alone = not (self.path.parent / "schema.json").is_file()
        return self.path.name if alone else self.path.parent.name

    @property
    def unseen(self) -> list[dict[str, Any]]:
        """The records that are left."""
        seen = {overlap.index for overlap in self.overlaps}
        return [record for i, record in enumerate(self.records) if i not in seen]

    def contamination(self) -> dict[str, Any]:
        """What was seen, in plain form."""
        exact = sum(overlap.kind == "exact" for overlap in self.overlaps)
        seen = [overlap.to_dict() for overlap in self.overlaps]
        return {"exact": exact, "near": len(seen) - exact, "texts": seen}


def find_overlaps(sets: Sequence[UnseenSet], files: Sequence[Path], run: int, share: float) -> list[str]:
    """Compare all sets with all training texts in one go; the sets get their overlaps.

    Args:
        sets: What must be unseen.
        files: Record files of the training.
        run: Words of a run.
        share: Share of runs from which a text counts as seen.

    Returns:
        A line for each training file that belongs to one of the sets, then for each text that was seen.
    """
    finder = OverlapFinder([record["text"] for one in sets for record in one.records], run, share)
    add_files(finder, files)
    found, first, problems = finder.overlaps(), 0, []
    for one in sets:
        folder = one.path.resolve().parent
        problems += [
            f"{file}: is of the unseen set {one.name}; leave the set out of the training or out of --data"
            for file in files
            if (folder / "schema.json").is_file() and file.resolve().parent == folder
        ]
        last = first + len(one.records)
        for seen in found:
            if first <= seen.index < last:
                own = Overlap(seen.index - first, seen.kind, seen.share, seen.place, seen.text)
                one.overlaps.append(own)
                how = "word for word" if own.kind == "exact" else f"{100 * own.share:.0f} % of its runs"
                problems.append(f"{one.path}[{own.index}]: seen in {own.place} ({how}): {own.text}")
        first = last
    logger.info("compared with %d training texts of %d files", finder.added, len(files))
    return problems


def score_set(one: UnseenSet, pipe: Any, **options: Any) -> dict[str, Any]:
    """Scores of a set, with what was left out.

    Args:
        one: The set.
        pipe: The pipeline.
        **options: Of the pipeline.

    Returns:
        `name`, `data`, `overlap`, `tasks` (of each task that the mean is made of precision, recall, F1,
        support, interval and labels) and `texts`.
    """
    report = score(one.unseen, one.schema, pipe, **options).to_dict()
    primary = {
        next(task for task in group if task in report["tasks"])
        for group in PRIMARY
        if set(group) & report["tasks"].keys()
    }
    tasks = {task: scores for task, scores in report["tasks"].items() if task in primary}
    about = {"name": one.name, "data": str(one.path), "overlap": one.contamination()}
    return about | {"tasks": tasks, "texts": report["texts"]}


def rows_of(reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each set and task, then the mean over sets of each task.

    Args:
        reports: What `score_set` gives.

    Returns:
        Rows with `set`, `task`, `texts`, `support`, `precision`, `recall`, `f1` (of answers also
        `exact_match`); a mean leaves out what is undefined.
    """
    rows = []
    for report in reports:
        for task, scores in report["tasks"].items():
            own = {name: scores.get(name) for name in SCORES}
            rows.append(
                {"set": report["name"], "task": task, "texts": report["texts"], "support": scores["support"]}
                | own
            )
    means = []
    for task in dict.fromkeys(row["task"] for row in rows):
        members = [row for row in rows if row["task"] == task]
        mean: dict[str, Any] = {
            "set": f"mean of {len(members)}",
            "task": task,
            "texts": None,
            "support": None,
        }
        for name in SCORES:
            values = [row[name] for row in members if row[name] is not None]
            mean[name] = sum(values) / len(values) if values else None
        means.append(mean)
    return rows + means


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb.

    Args:
        argv: Its arguments; the process's own by default.

    Returns:
        Exit code.

    Raises:
        ContaminationError: If something was seen and `--allow_overlap` is not given.
    """
    (args,) = parse_arguments((ZeroShotArguments,), argv, "ldnet zeroshot", DESCRIPTION)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    files = training_files(args.trained_on, args.data_root)
    sets = []
    for name in args.data:
        path = Path(args.data_root) / name
        records, schema = load_data(path, args.schema)
        sets.append(UnseenSet(path, schema, records))
    problems = find_overlaps(sets, files, args.run_words, args.seen_share)
    folder = None if args.output_dir is None else Path(args.output_dir)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        overlap = {str(one.path): one.contamination() for one in sets}
        write_json(folder / "overlap.json", {"trained_on": list(map(str, files)), "sets": overlap})
    if problems and not args.allow_overlap:
        raise ContaminationError(_shortened(problems, folder))
    if empty := [str(one.path) for one in sets if not one.unseen]:
        raise ArgumentsError(f"data: no text of {', '.join(empty)} is unseen; name another set")
    pipe = load_pipeline(args.model)
    options = {"threshold": args.threshold, "batch_size": args.batch_size}
    reports = [score_set(one, pipe, **options) for one in sets]
    report(reports, model_name(args.model), folder)
    return 0


def _shortened(problems: list[str], folder: Path | None) -> list[str]:
    """The first problems and how many more there are."""
    more = len(problems) - SHOWN_OVERLAPS
    where = f"all texts are in {folder / 'overlap.json'}" if folder else "--output_dir lists all texts"
    last = f"{max(more, 0)} more; {where}. Train without them, or leave them out here with --allow_overlap"
    return [*problems[:SHOWN_OVERLAPS], last]


def report(reports: list[dict[str, Any]], model: str, folder: Path | None) -> None:
    """Show the scores and write them.

    Args:
        reports: What `score_set` gives.
        model: What to call the model.
        folder: Where to write `zeroshot.json`, `.csv` and `.md`; `None` = nowhere.
    """
    rows = rows_of(reports)
    shown = [
        [format_score(row[key]) if key not in ("set", "task") else row[key] for key in row] for row in rows
    ]
    table = markdown_table(["set", "task", "texts", "support", "P", "R", "F1"], shown)
    left_out = [
        f"{one['name']}: left out {one['overlap']['exact']} texts as seen, {one['overlap']['near']} as near"
        for one in reports
        if one["overlap"]["texts"]
    ]
    text = "\n".join([f"{model}, zero-shot", "", table, *left_out]).rstrip() + "\n"
    logger.info("%s", text)
    if folder is not None:
        write_json(folder / "zeroshot.json", {"model": model, "sets": reports, "table": rows})
        write_csv(folder / "zeroshot.csv", rows)
        write_text(folder / "zeroshot.md", text)
