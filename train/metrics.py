"""Scores of extraction: additive counts of structures, per task and label."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from ldnet.processing.schema import Schema
from ldnet.train.answer_metrics import AnswerCounts, count_answers
from ldnet.train.class_metrics import ClassScores, macro_f1
from ldnet.train.metric_check import PredictionError, check_predicted
from ldnet.train.metric_counts import PRF, bootstrap_interval
from ldnet.train.metric_keys import TASK_TABLE, Asked, Key, compare_tasks, label_text

__all__ = [
    "PRF",
    "TASKS",
    "AnswerCounts",
    "ExtractionMetrics",
    "PredictionError",
    "bootstrap_interval",
    "compare_record",
    "count_record",
    "count_tasks",
    "mean_f1",
    "scores_from_counts",
    "scores_from_rows",
]

Counts = PRF | AnswerCounts

TASKS = tuple(task.name for task in TASK_TABLE)
COUNT_TYPES: dict[str, type[Counts]] = {task: PRF for task in TASKS} | {"answers": AnswerCounts}
ROW_SHAPE = (len(TASKS), 3)
# What the one score that selects a model is the mean of: of each group the first task that has support.
PRIMARY = (
    ("entities",),
    ("relations",),
    ("arguments", "triggers"),
    ("hyper_relations", "hyper_triples"),
    ("answers",),
    ("classes",),
    ("spans",),
)


def compare_record(gold: dict, predicted: dict, schema: Schema) -> Iterator[tuple[str, set[Key], set[Key]]]:
    """Structures of one text as sets; what counts is in `count_record`.

    Args:
        gold: A record.
        predicted: A result for its text.
        schema: What was asked.

    Yields:
        The name of each scored task with its gold and its predicted structures; neither `answers`, whose
        words count, nor a task that looks at a part of another one's structures.

    Raises:
        PredictionError: If predicted labels are not in the schema.
    """
    asked = Asked(schema)
    check_predicted(predicted, asked)
    for task, *sides in compare_tasks(gold, predicted, asked):
        if not task.subset:
            yield task.name, *sides


def count_record(gold: dict, predicted: dict, schema: Schema) -> dict[str, dict[str, Counts]]:
    """Counts of one text.

    A structure counts once, however often it is listed. A task is not scored if its key is absent in gold or
    the schema does not ask for it; a label is not scored if the record's own `labels` or the schema lacks it.

    Args:
        gold: A record.
        predicted: A result for its text.
        schema: What was asked.

    Returns:
        For each scored task the counts of its labels (of `answers`: of answerable and unanswerable
        questions); labels with nothing to count are left out.

    Raises:
        PredictionError: If predicted labels are not in the schema.
    """
    return _count(gold, predicted, Asked(schema))


def _count(gold: dict, predicted: dict, asked: Asked) -> dict[str, dict[str, Counts]]:
    check_predicted(predicted, asked)
    counts: dict[str, dict[str, Counts]] = {}
    for task, *sides in compare_tasks(gold, predicted, asked):
        by_label: dict[str, tuple[set[Key], set[Key]]] = defaultdict(lambda: (set(), set()))
        for side, keys in enumerate(sides):
            for key in keys:
                by_label[label_text(key[0])][side].add(key)
        counts[task.name] = {label: PRF.of_sets(*keys) for label, keys in sorted(by_label.items())}
    if asked.scores(gold, "answers"):
        counts["answers"] = count_answers(gold, predicted)
    return counts


def count_tasks(gold: dict, predicted: dict, schema: Schema) -> np.ndarray:
    """Counts of one text, summed over labels: a row for each task, to be added over texts and processes.

    Args:
        gold: A record.
        predicted: A result for its text.
        schema: What was asked.

    Returns:
        Array of integers of shape `(num_tasks, 3)`, a row for each of `TASKS`: tp, fp and fn, of `answers`
        exact, overlap and questions (`AnswerCounts`); zeros where a task is not scored.

    Raises:
        PredictionError: If predicted labels are not in the schema.
    """
    rows = np.zeros(ROW_SHAPE, dtype=np.int64)
    for task, by_label in count_record(gold, predicted, schema).items():
        rows[TASKS.index(task)] = _total(task, by_label).row
    return rows


def _total(task: str, by_label: dict[str, Counts]) -> Counts:
    return sum(by_label.values(), COUNT_TYPES[task]())


def _counts_of(counts: np.ndarray) -> dict[str, Counts]:
    counts = np.asarray(counts)
    if counts.shape != ROW_SHAPE:
        raise ValueError(
            f"counts: shape {counts.shape} is not {ROW_SHAPE}: three counts of each of {', '.join(TASKS)}"
        )
    rows = counts.astype(np.int64).tolist()
    return {task: COUNT_TYPES[task](*row) for task, row in zip(TASKS, rows, strict=True)}


def scores_from_counts(counts: np.ndarray) -> dict[str, float | None]:
    """Micro scores from added-up counts.

    Args:
        counts: Array of shape `(num_tasks, 3)`: the sum of what `count_tasks` gives.

    Returns:
        `<task>_precision`, `<task>_recall` and `<task>_f1`, of answers `answers_exact_match` and
        `answers_f1`, 0-100; `None` where undefined.

    Raises:
        ValueError: If the array has another shape.
    """
    return {
        f"{task}_{name}": value
        for task, total in _counts_of(counts).items()
        for name, value in total.scores().items()
    }


def mean_f1(counts: np.ndarray) -> float | None:
    """The one score that selects a model: the mean F1 over the kinds of structure that have support.

    These are entities, relations, arguments (triggers where no event has arguments), hyper-relations (their
    triples where no fact has qualifiers), answers, classes and typeless spans.

    Args:
        counts: Array of shape `(num_tasks, 3)`: the sum of what `count_tasks` gives.

    Returns:
        The mean, 0-100; `None` without any gold structure.

    Raises:
        ValueError: If the array has another shape.
    """
    totals = _counts_of(counts)
    supported = (next((task for task in group if totals[task].support), None) for group in PRIMARY)
    scores = [totals[task].f1 for task in supported if task is not None]
    return float(np.mean(scores)) if scores else None


def scores_from_rows(rows: np.ndarray) -> dict[str, float]:
    """Micro scores of every task from the rows of texts.

    Args:
        rows: Array of shape `(texts, tasks * 3)`: of each text what `count_tasks` gives, flat.

    Returns:
        As `scores_from_counts`, without what is undefined, and `f1`: their `mean_f1`, 0 where undefined.

    Raises:
        ValueError: If the rows have another width.
    """
    rows = np.asarray(rows)
    width = ROW_SHAPE[0] * ROW_SHAPE[1]
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"rows: shape {rows.shape} is not (texts, {width}): three counts of each task")
    counts = rows.sum(0).reshape(ROW_SHAPE)
    scores = {name: value for name, value in scores_from_counts(counts).items() if value is not None}
    return scores | {"f1": mean_f1(counts) or 0.0}


class ExtractionMetrics:
    """Adds up the counts of texts and reports the scores of a data set.

    Args:
        schema: What was asked of every text.
    """

    def __init__(self, schema: Schema):
        self.schema = schema
        self.texts = 0
        self._asked = Asked(schema)
        self._labels: dict[str, dict[str, Counts]] = {}
        self._rows: dict[str, list[tuple[int, int, int]]] = {}
        self._classes: dict[str, ClassScores] = {}

    def add(self, gold: dict, predicted: dict) -> None:
        """Count a text.

        Args:
            gold: A record.
            predicted: A result for its text.

        Raises:
            PredictionError: If predicted labels are not in the schema; nothing is counted then.
        """
        counts = _count(gold, predicted, self._asked)
        self.texts += 1
        for task, by_label in counts.items():
            self._rows.setdefault(task, []).append(_total(task, by_label).row)
            self._add_labels(task, by_label)
        for name, *sides in self._asked.class_sides(gold, predicted):
            self._class_scores(name).add(*sides)

    def _class_scores(self, name: str) -> ClassScores:
        if name not in self._classes:
            self._classes[name] = ClassScores(self._asked.items["classes"][name].multi_label)
        return self._classes[name]

    def _add_labels(self, task: str, by_label: dict[str, Counts]) -> None:
        known, none = self._labels.setdefault(task, {}), COUNT_TYPES[task]()
        for label, counts in by_label.items():
            known[label] = known.get(label, none) + counts

    def merge(self, other: "ExtractionMetrics") -> None:
        """Add the texts of another shard.

        Args:
            other: Metrics of the same schema.

        Raises:
            ValueError: If its schema is another one.
        """
        if other.schema != self.schema:
            raise ValueError("metrics: the shards were scored with different schemas; score them with one")
        self.texts += other.texts
        for task, rows in other._rows.items():
            self._rows.setdefault(task, []).extend(rows)
            self._add_labels(task, other._labels[task])
        for name, scores in other._classes.items():
            self._class_scores(name).merge(scores)

    def to_dict(self, bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
        """Scores of all tasks that were scored in at least one text (`docs/metrics.md` says what each is).

        Args:
            bootstrap: Draws for the interval; 0 = no interval.
            seed: Of the draws.

        Returns:
            `{"tasks": {task: {"precision", "recall", "f1", "support", "tp", "fp", "fn", "interval",
            "macro_f1", "labels": {label: ...}}}, "texts": n}`: scores 0-100, micro; `None` where undefined.
            `macro_f1` is the mean over labels that have gold or predictions (as in scikit-learn). `answers`
            has `exact_match`, `f1`, `support`, `interval` and as labels answerable and unanswerable
            questions. `classes` has also `by_task`: what `ClassScores.to_dict` gives of each class task.
        """
        tasks = {task: self._report(task, bootstrap, seed) for task in TASKS if self._is_shown(task)}
        if "classes" in tasks:
            names = [name for name in self._asked.classes if name in self._classes]
            tasks["classes"]["by_task"] = {
                name: self._classes[name].to_dict(bootstrap, seed) for name in names
            }
        return {"tasks": tasks, "texts": self.texts}

    def _is_shown(self, task: str) -> bool:
        """Whether a task was scored; one that looks at a part of another task also needs such structures."""
        subset = next(row.subset for row in TASK_TABLE if row.name == task)
        return task in self._rows and bool(self._labels[task] or not subset)

    def _report(self, task: str, bootstrap: int, seed: int) -> dict[str, Any]:
        labels = self._labels[task]
        rows = np.array(self._rows[task], dtype=np.int64).reshape(-1, 3)
        report = _total(task, labels).to_dict()
        report["interval"] = bootstrap_interval(rows, bootstrap, seed, COUNT_TYPES[task])
        if COUNT_TYPES[task] is PRF:
            report["macro_f1"] = macro_f1(labels.values())
        return report | {"labels": {label: labels[label].to_dict() for label in sorted(labels)}}
