"""Calibration: scores of a result -> probabilities, and the thresholds that decide on them.

A structure's raw score is the geometric mean of its links' probabilities. It orders structures well, but
says too much: with a calibration that `ldnet calibrate` fitted on dev data, what scores 0.8 is right eight
times in ten. Where it pays, links are cut low while loops are decoded, and the score decides what is kept.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from ldnet.processing.results import chars_of, resolve_overlaps, resolve_triggers, typed_argument
from ldnet.processing.schema import Schema
from ldnet.processing.schema_types import did_you_mean, show, show_names

# What is calibrated on its own -> the structure of the schema that holds its labels.
TASKS = {
    "entities": "entities",
    "relations": "relations",
    "hyper_relations": "hyper_relations",
    "qualifiers": "qualifiers",
    "events": "events",
    "arguments": "roles",
    "single_label_classes": "classes",
    "multi_label_classes": "classes",
    "answers": "answers",
    "spans": "spans",
}
ALWAYS_KEPT = "single_label_classes"  # the best class of a task is its answer, however unsure
CALIBRATED = "calibrated"  # key of a result whose scores are calibrated
EXTREME = 1e-6  # raw scores nearer to 0 or 1 say no more than this


class CalibrationError(ValueError):
    """A calibration that cannot be used; `problems` holds every problem found, one line each."""

    def __init__(self, problems: Iterable[str]):
        self.problems = list(problems)
        super().__init__(self.problems)  # the list itself: the error must survive pickling between processes

    def __str__(self) -> str:
        return "\n".join(self.problems)


def logit(score: float) -> float:
    """Log-odds of a raw score in [0, 1]; those of 0 and 1 are finite."""
    score = min(max(score, EXTREME), 1.0 - EXTREME)
    return math.log(score / (1.0 - score))


def sigmoid(value: float) -> float:
    """Probability of log-odds."""
    tail = math.exp(-abs(value))
    return (1.0 if value >= 0 else tail) / (1.0 + tail)


@dataclass(frozen=True)
class TaskCalibration:
    """How the scores of one task are read.

    Args:
        scale: Factor of the log-odds, above 0, so that no order changes; 1 / temperature.
        bias: Added to them.
        link_threshold: Probability that links must exceed while loops are decoded, in (0, 1).
        threshold: What a calibrated score must exceed, in [0, 1); 0 keeps all that the links give.
        labels: Thresholds of labels that have one of their own, by name; a role, qualifier or class by
            `owner: name`.
    """

    scale: float = 1.0
    bias: float = 0.0
    link_threshold: float = 0.5
    threshold: float = 0.0
    labels: dict[str, float] = field(default_factory=dict)

    def probability(self, score: float) -> float:
        """The calibrated score of a raw one."""
        return sigmoid(self.scale * logit(score) + self.bias)


@dataclass(frozen=True)
class Calibration:
    """Thresholds and score curves of a checkpoint.

    Args:
        tasks: Curve and thresholds of each task that was fitted, by its name in `TASKS`; structures of other
            tasks keep their raw scores and are cut link by link, as without a calibration.

    Raises:
        CalibrationError: With every value that is not possible.
    """

    tasks: dict[str, TaskCalibration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = calibration_problems(self.to_dict())
        if problems:
            raise CalibrationError(problems)

    @classmethod
    def from_dict(cls, value: Any) -> "Calibration":
        """Make a calibration from its plain form.

        Args:
            value: What `to_dict` gives.

        Returns:
            The calibration: `Calibration.from_dict(calibration.to_dict()) == calibration`.

        Raises:
            CalibrationError: With every problem.
        """
        problems = calibration_problems(value)
        if problems:
            raise CalibrationError(problems)
        tasks = {
            name: TaskCalibration(**{**task, "labels": dict(task.get("labels", {}))})
            for name, task in value["tasks"].items()
        }
        return cls(tasks)

    def to_dict(self) -> dict[str, Any]:
        """The plain form, as JSON can hold it."""
        return asdict(self)

    def link_thresholds(self, schema: Schema, threshold: float | None, default: float) -> list[float]:
        """What the links of each label must exceed.

        Args:
            schema: What is asked for.
            threshold: What the caller asked for; the schema's own label thresholds stand above it.
            default: Of labels of tasks that were not fitted.

        Returns:
            For a label of fitted tasks the lower one of their `link_threshold` and the threshold asked for.
        """
        thresholds = []
        for label, places in zip(schema.labels, schema.places, strict=True):
            asked = threshold if label.threshold is None else label.threshold
            fitted = [self.tasks.get(task_of(schema, structure, owner)) for structure, _, owner in places]
            if None in fitted:
                thresholds.append(default if asked is None else asked)
            else:
                thresholds.append(min(1.0 if asked is None else asked, *(t.link_threshold for t in fitted)))
        return thresholds

    def apply(
        self, result: dict, schema: Schema, threshold: float | None = None, overlap: str = "nested"
    ) -> dict:
        """Calibrate a result's scores and leave out what does not exceed its threshold.

        That is the label's own threshold in the schema, else the one asked for, else the one fitted for the
        label, else the task's. Arguments of relations carry type and score of the best entity that is left at
        their place; untyped ones the relation's score.

        Args:
            result: A result with raw scores, decoded at `link_thresholds` and from the schema
                `without_ends`; one that is calibrated already is returned as it is.
            schema: What was asked for.
            threshold: What the caller asked for.
            overlap: Policy for what is left; see `resolve_overlaps`.

        Returns:
            A new result with `"calibrated": True`.
        """
        if result.get(CALIBRATED):
            return result
        judge = _Judge(self, schema, threshold)
        found = dict(result)
        for key in ("entities", "answers", "spans"):
            if key in found:
                found[key] = list(judge.mentions(key, found[key]))
                if key != "answers":
                    found[key] = resolve_overlaps(found[key], overlap)
        for key in ("relations", "hyper_relations"):
            if key in found:
                found[key] = list(judge.relations(key, found[key], found.get("entities", [])))
        if "events" in found:
            found["events"] = resolve_triggers(list(judge.events(found["events"])), overlap)
        if "classes" in found:
            found["classes"] = {task: judge.classes(task, items) for task, items in found["classes"].items()}
        return found | {CALIBRATED: True}


def task_of(schema: Schema, structure: str, owner: str | None = None) -> str:
    """Name in `TASKS` of what a place of a schema belongs to.

    Args:
        schema: The schema.
        structure: As in `Label.structure`.
        owner: The class task of a class.

    Returns:
        The name.
    """
    if structure == "classes":
        multi_label = next(task.multi_label for task in schema.classes if task.name == owner)
        return "multi_label_classes" if multi_label else ALWAYS_KEPT
    return "arguments" if structure == "roles" else structure


class _Judge:
    """Calibrates the structures of one result and decides which of them stay."""

    def __init__(self, calibration: Calibration, schema: Schema, threshold: float | None):
        self.tasks, self.schema, self.threshold = calibration.tasks, schema, threshold

    def score(self, raw: float, structure: str, name: str, owner: str | None = None) -> float | None:
        """The calibrated score of a structure; `None` if it does not exceed its threshold."""
        task = task_of(self.schema, structure, owner)
        curve = self.tasks.get(task)
        if curve is None:
            return raw
        score = curve.probability(raw)
        if task == ALWAYS_KEPT:
            return score
        threshold = self.schema.labels[self.schema.label_id(structure, name, owner)].threshold
        if threshold is None:
            threshold = self.threshold
        if threshold is None:
            threshold = curve.labels.get(name if owner is None else f"{owner}: {name}", curve.threshold)
        return score if score > threshold else None

    def kept(
        self, items: Iterable[dict], structure: str, key: str | None, owner: str | None = None
    ) -> Iterator[dict]:
        """Items that stay, with their new scores; `key` is where they have their label's name."""
        for item in items:
            name = structure.removesuffix("s") if key is None else item[key]
            score = self.score(item["score"], structure, name, owner)
            if score is not None:
                yield item | {"score": score}

    def mentions(self, structure: str, items: list[dict]) -> Iterator[dict]:
        """Entities, answers or spans."""
        return self.kept(items, structure, "type" if structure == "entities" else None)

    def relations(self, structure: str, items: list[dict], entities: list[dict]) -> Iterator[dict]:
        """Relations whose arguments are of declared types, with their qualifiers."""
        declared = {relation.name: relation for relation in getattr(self.schema, structure)}
        at: dict[tuple, list[dict]] = {}
        for entity in entities:
            at.setdefault(chars_of(entity), []).append(entity)
        for relation in self.kept(items, structure, "type"):
            ends = {}
            for end in ("head", "tail"):
                bare = {key: value for key, value in relation[end].items() if key != "type"}
                allowed = getattr(declared[relation["type"]], end)
                ends[end] = typed_argument(bare | {"score": relation["score"]}, allowed, at)
            if None in ends.values():
                continue
            if "qualifiers" in relation:
                own = self.kept(relation["qualifiers"], "qualifiers", "type", relation["type"])
                ends["qualifiers"] = list(own)
            yield relation | ends

    def events(self, items: list[dict]) -> Iterator[dict]:
        """Events, whose score is their trigger's, with their arguments."""
        for event in self.kept(items, "events", "type"):
            trigger = event["trigger"] | {"score": event["score"]}
            arguments = list(self.kept(event["arguments"], "roles", "role", event["type"]))
            yield event | {"trigger": trigger, "arguments": arguments}

    def classes(self, task: str, items: list[dict]) -> list[dict]:
        """Classes of one task, best first."""
        return sorted(self.kept(items, "classes", "label", task), key=lambda item: -item["score"])


@lru_cache(maxsize=32)
def without_ends(schema: Schema) -> Schema:
    """The schema without head and tail types: which entities are left is known only after calibration.

    Args:
        schema: What is asked for.

    Returns:
        The schema with the same labels, in which any entity may be an argument.
    """
    return replace(
        schema,
        **{
            key: tuple(replace(relation, head=None, tail=None) for relation in getattr(schema, key))
            for key in ("relations", "hyper_relations")
        },
    )


# What each value of a task's calibration may be.
_LIMITS = {
    "scale": (lambda x: x > 0, "above 0"),
    "bias": (lambda x: True, "of any sign"),
    "link_threshold": (lambda x: 0 < x < 1, "between 0 and 1"),
    "threshold": (lambda x: 0 <= x < 1, "from 0 to below 1"),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _unknown(where: str, value: Mapping, known: Iterable[str]) -> Iterator[str]:
    for name in sorted(set(map(str, value)) - set(known)):
        near = did_you_mean(name, known) or " Fit it again with `ldnet calibrate`."
        yield f"{where}: unknown key {name!r}. Allowed: {show_names(known)}.{near}"


def _number_problem(where: str, value: Any, rule: tuple) -> Iterator[str]:
    fits, allowed = rule
    if not _is_number(value) or not fits(value):
        yield f"{where} is {show(value)}, not a number {allowed}. Fit it again with `ldnet calibrate`."


def calibration_problems(value: Any, where: str = "calibration") -> list[str]:
    """Check the plain form of a calibration.

    Args:
        value: What shall be one.
        where: What the messages begin with.

    Returns:
        One line for each problem; empty if there is none.
    """
    if not isinstance(value, Mapping):
        return [f"{where}: {show(value)} is not an object. Fit it again with `ldnet calibrate`."]
    problems = list(_unknown(where, value, ("tasks",)))
    tasks = value.get("tasks")
    if not isinstance(tasks, Mapping):
        return [*problems, f"{where}: tasks is {show(tasks)}, not an object. Write {{…}}."]
    problems += _unknown(where, tasks, TASKS)
    for name, task in tasks.items():
        problems += _task_problems(f"{where}: {name}", task)
    return problems


def _task_problems(where: str, task: Any) -> Iterator[str]:
    if not isinstance(task, Mapping):
        yield f"{where} is {show(task)}, not an object. Write {{…}}."
        return
    yield from _unknown(where, task, (*_LIMITS, "labels"))
    for name, rule in _LIMITS.items():
        if name in task:
            yield from _number_problem(f"{where}: {name}", task[name], rule)
    labels = task.get("labels", {})
    if not isinstance(labels, Mapping):
        yield f"{where}: labels is {show(labels)}, not an object of thresholds. Write {{…}}."
        return
    for label, threshold in labels.items():
        yield from _number_problem(f"{where}: threshold of {label!r}", threshold, _LIMITS["threshold"])


__all__ = [
    "ALWAYS_KEPT",
    "CALIBRATED",
    "TASKS",
    "Calibration",
    "CalibrationError",
    "TaskCalibration",
    "calibration_problems",
    "logit",
    "sigmoid",
    "task_of",
    "without_ends",
]
