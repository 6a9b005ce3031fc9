"""Scores of extraction: additive counts of structures, per task and label."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldnet.processing.schema import Schema
from ldnet.processing.schema_types import SINGULAR, did_you_mean, show, show_names

CONFIDENCE = (2.5, 97.5)  # percentiles of the 95 % interval

Pieces = tuple[tuple[int, int], ...]
Key = tuple  # (label, ...): what makes two structures of a text equal


@dataclass(frozen=True)
class PRF:
    """Counts of one label or task; they add up, over texts as well as over shards.

    Args:
        tp: Structures found that are gold.
        fp: Structures found that are not.
        fn: Gold structures that were not found.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "PRF") -> "PRF":
        return PRF(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def support(self) -> int:
        """Gold structures."""
        return self.tp + self.fn

    @property
    def precision(self) -> float | None:
        """Share of what was found that is gold, 0-100; `None` if nothing was found."""
        return _percent(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Share of gold that was found, 0-100; `None` if there is no gold."""
        return _percent(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, 0-100; `None` if there is no gold and nothing found."""
        return _percent(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def to_dict(self) -> dict[str, float | int | None]:
        """Scores and counts under their names."""
        names = ("precision", "recall", "f1", "support", "tp", "fp", "fn")
        return {name: getattr(self, name) for name in names}


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None


def _pieces(mention: dict) -> Pieces:
    """Where a mention is: all its fragments in text order, or its one extent."""
    pieces = mention.get("fragments") or [(mention["start"], mention["end"])]
    return tuple(sorted((int(start), int(end)) for start, end in pieces))


def _ends(relation: dict, symmetric: set[str]) -> list[tuple[Pieces, str | None]]:
    """Place and type of head and tail; in text order where the two may be swapped."""
    ends = [(_pieces(mention), mention.get("type")) for mention in (relation["head"], relation["tail"])]
    # The type decides only between two ends at one place.
    return sorted(ends, key=lambda end: (end[0], end[1] or "")) if relation["type"] in symmetric else ends


def _symmetric(schema: Schema) -> set[str]:
    return {relation.name for relation in schema.relations if relation.symmetric}


def entity_keys(gold: list[dict], predicted: list[dict], schema: Schema) -> tuple[set[Key], set[Key]]:
    """Entities are equal if type and exact boundaries of all fragments are.

    As in the CoNLL-2003 script and seqeval for flat mentions; `ldnet.md` §9.
    """
    return tuple({(entity["type"], _pieces(entity)) for entity in side} for side in (gold, predicted))


def relation_keys(gold: list[dict], predicted: list[dict], schema: Schema) -> tuple[set[Key], set[Key]]:
    """Relations are equal if type, head and tail (exact boundaries) are; symmetric ones in either direction.

    "Boundaries" evaluation of Taillé et al. 2020, https://aclanthology.org/2020.emnlp-main.301.
    """
    symmetric = _symmetric(schema)
    return tuple(
        {(relation["type"], *(place for place, _ in _ends(relation, symmetric))) for relation in side}
        for side in (gold, predicted)
    )


def strict_relation_keys(
    gold: list[dict], predicted: list[dict], schema: Schema
) -> tuple[set[Key], set[Key]]:
    """Relations are equal if, beside `relation_keys`, the types of head and tail are.

    "Strict" evaluation of Taillé et al. 2020. Where gold gives no type for an end, any type is right there.
    """
    symmetric = _symmetric(schema)
    found = [[(item["type"], *_ends(item, symmetric)) for item in side] for side in (gold, predicted)]
    untyped: dict[Key, set[int]] = defaultdict(set)
    for key in found[0]:
        untyped[_place(key)] |= {i for i in (1, 2) if key[i][1] is None}

    def without_open_types(key: Key) -> Key:
        open_ends = untyped.get(_place(key), ())
        return (key[0], *((key[i][0], None if i in open_ends else key[i][1]) for i in (1, 2)))

    return tuple({without_open_types(key) for key in side} for side in found)


def _place(key: Key) -> Key:
    return (key[0], key[1][0], key[2][0])


@dataclass(frozen=True)
class Task:
    """One score of a data set.

    Args:
        name: Its name in results.
        structure: The key of the record, and of the schema, that it reads.
        keys: Gold and predicted structures of a text as two sets; the first of a key is its label.
        needs: What else the schema has to ask for: without it the task would score what nobody asked.
    """

    name: str
    structure: str
    keys: Callable[[list[dict], list[dict], Schema], tuple[set[Key], set[Key]]]
    needs: tuple[str, ...] = ()


TASK_TABLE = (
    Task("entities", "entities", entity_keys),
    Task("relations", "relations", relation_keys),
    Task("relations_strict", "relations", strict_relation_keys, needs=("entities",)),
)
TASKS = tuple(task.name for task in TASK_TABLE)


def _scored_labels(gold: dict, task: Task, schema: Schema) -> set[str] | None:
    """Labels of a task that are asked for and were annotated in a text; `None` if the task is not scored."""
    asked = {item.name for item in getattr(schema, task.structure)}
    if gold.get(task.structure) is None or not asked or not all(getattr(schema, key) for key in task.needs):
        return None
    annotated = (gold.get("labels") or {}).get(task.structure)
    return asked if annotated is None else asked & set(annotated)


def check_predicted(predicted: dict, schema: Schema) -> None:
    """Refuse structures that nobody asked for: they come from a wrong label list, not from a weak model.

    Args:
        predicted: A result.
        schema: What was asked.

    Raises:
        ValueError: If a predicted label is not in the schema.
    """
    for structure in dict.fromkeys(task.structure for task in TASK_TABLE):
        known = [item.name for item in getattr(schema, structure)]
        for item in predicted.get(structure) or ():
            label = item["type"]
            if label not in known:
                where = predicted.get("id") or show(predicted.get("text"))
                fix = f"{did_you_mean(label, known)} Score it with the schema that was asked."
                raise ValueError(
                    f"prediction for {where}: {SINGULAR[structure]} {show(label)} is not in the schema, "
                    f"which has {show_names(known)}.{fix}"
                )


def _count(gold_keys: set[Key], predicted_keys: set[Key]) -> PRF:
    tp = len(gold_keys & predicted_keys)
    return PRF(tp, len(predicted_keys) - tp, len(gold_keys) - tp)


def compare_record(gold: dict, predicted: dict, schema: Schema) -> Iterator[tuple[str, set[Key], set[Key]]]:
    """Structures of one text as sets; what counts is in `count_record`.

    Args:
        gold: A record.
        predicted: A result for its text.
        schema: What was asked.

    Yields:
        The name of each scored task with its gold and its predicted structures.

    Raises:
        ValueError: If a predicted label is not in the schema.
    """
    check_predicted(predicted, schema)
    for task in TASK_TABLE:
        labels = _scored_labels(gold, task, schema)
        if labels is None:
            continue
        sides = (
            [item for item in record.get(task.structure) or () if item["type"] in labels]
            for record in (gold, predicted)
        )
        yield task.name, *task.keys(*sides, schema)


def count_record(gold: dict, predicted: dict, schema: Schema) -> dict[str, dict[str, PRF]]:
    """Counts of one text.

    A structure counts once, however often it is listed. A task is not scored if its key is absent in gold or
    the schema does not ask for it; a label is not scored if the record's own `labels` or the schema lacks it.

    Args:
        gold: A record.
        predicted: A result for its text.
        schema: What was asked.

    Returns:
        For each scored task the counts of its labels; labels with nothing to count are left out.

    Raises:
        ValueError: If a predicted label is not in the schema.
    """
    counts = {}
    for task, gold_keys, predicted_keys in compare_record(gold, predicted, schema):
        by_label: dict[str, tuple[set[Key], set[Key]]] = defaultdict(lambda: (set(), set()))
        for side, keys in enumerate((gold_keys, predicted_keys)):
            for key in keys:
                by_label[key[0]][side].add(key)
        counts[task] = {label: _count(*sides) for label, sides in sorted(by_label.items())}
    return counts


def count_tasks(gold: dict, predicted: dict, schema: Schema) -> np.ndarray:
    """Counts of one text, summed over labels: a row for each task, to be added over texts and processes.

    Args:
        gold: A record.
        predicted: A result for its text.
        schema: What was asked.

    Returns:
        Array of shape `(num_tasks, 3)`: tp, fp and fn of each of `TASKS`; zeros where a task is not scored.

    Raises:
        ValueError: If a predicted label is not in the schema.
    """
    rows = np.zeros((len(TASKS), 3), dtype=np.int64)
    for task, gold_keys, predicted_keys in compare_record(gold, predicted, schema):
        counts = _count(gold_keys, predicted_keys)
        rows[TASKS.index(task)] = counts.tp, counts.fp, counts.fn
    return rows


def scores_from_counts(counts: np.ndarray) -> dict[str, float | None]:
    """Micro scores from added-up counts.

    Args:
        counts: Array of shape `(num_tasks, 3)`: tp, fp, fn of each of `TASKS`.

    Returns:
        `<task>_precision`, `<task>_recall` and `<task>_f1`, 0-100; `None` where undefined.

    Raises:
        ValueError: If the array has another shape.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(TASKS), 3):
        raise ValueError(f"counts: shape {counts.shape} is not {(len(TASKS), 3)}: tp, fp, fn of each task")
    scores = {}
    for task, row in zip(TASKS, counts.tolist(), strict=True):
        total = PRF(*row)
        scores |= {f"{task}_{name}": getattr(total, name) for name in ("precision", "recall", "f1")}
    return scores


def bootstrap_interval(rows: np.ndarray, samples: int, seed: int) -> list[float] | None:
    """95 % percentile interval of micro F1 over texts drawn with replacement.

    Texts with equal counts are drawn together: one multinomial draw over the distinct rows is the same as
    drawing texts, does not depend on their order, and is fast for any number of them.

    Args:
        rows: Array of shape `(num_texts, 3)`: tp, fp, fn of each text.
        samples: Number of draws.
        seed: Of the random numbers.

    Returns:
        Lower and upper end, 0-100; `None` if F1 is undefined or no draw is asked for.
    """
    if samples < 1 or not rows.sum():
        return None
    distinct, times = np.unique(rows, axis=0, return_counts=True)  # (U, 3), (U,)
    draws = np.random.default_rng(seed).multinomial(len(rows), times / len(rows), size=samples)  # (S, U)
    tp, fp, fn = (draws @ distinct).T  # (S,) each
    whole = 2 * tp + fp + fn
    f1 = 200.0 * tp[whole > 0] / whole[whole > 0]  # draws of empty texts only have no F1
    return [float(end) for end in np.percentile(f1, CONFIDENCE)] if len(f1) else None


class ExtractionMetrics:
    """Adds up the counts of texts and reports the scores of a data set.

    Args:
        schema: What was asked of every text.
    """

    def __init__(self, schema: Schema):
        self.schema = schema
        self.texts = 0
        self._labels: dict[str, dict[str, PRF]] = {}
        self._rows: dict[str, list[tuple[int, int, int]]] = {}

    def add(self, gold: dict, predicted: dict) -> None:
        """Count a text.

        Args:
            gold: A record.
            predicted: A result for its text.

        Raises:
            ValueError: If a predicted label is not in the schema; nothing is counted then.
        """
        counts = count_record(gold, predicted, self.schema)
        self.texts += 1
        for task, by_label in counts.items():
            total = sum(by_label.values(), PRF())
            self._rows.setdefault(task, []).append((total.tp, total.fp, total.fn))
            self._add_labels(task, by_label)

    def _add_labels(self, task: str, by_label: dict[str, PRF]) -> None:
        known = self._labels.setdefault(task, {})
        for label, counts in by_label.items():
            known[label] = known.get(label, PRF()) + counts

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

    def to_dict(self, bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
        """Scores of all tasks that were scored in at least one text.

        Args:
            bootstrap: Draws for the interval; 0 = no interval.
            seed: Of the draws.

        Returns:
            `{"tasks": {task: {"precision", "recall", "f1", "support", "tp", "fp", "fn", "interval",
            "macro_f1", "labels": {label: ...}}}, "texts": n}`: scores 0-100, micro; `None` where undefined.
            `macro_f1` is the mean over labels that have gold or predictions (as in scikit-learn).
        """
        tasks = {}
        for task in (task for task in TASKS if task in self._rows):
            labels = self._labels[task]
            rows = np.array(self._rows[task], dtype=np.int64).reshape(-1, 3)
            per_label = [counts.f1 for counts in labels.values() if counts.f1 is not None]
            tasks[task] = sum(labels.values(), PRF()).to_dict() | {
                "interval": bootstrap_interval(rows, bootstrap, seed),
                "macro_f1": float(np.mean(per_label)) if per_label else None,
                "labels": {label: labels[label].to_dict() for label in sorted(labels)},
            }
        return {"tasks": tasks, "texts": self.texts}
