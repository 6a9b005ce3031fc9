"""Predictions of labels that nobody asked for: they come from a wrong label list, not from a weak model."""

from collections.abc import Iterator
from typing import Any

from ldnet.processing.schema_types import SINGULAR, did_you_mean, show, show_names
from ldnet.train.class_metrics import class_name
from ldnet.train.metric_keys import Asked

# The label lists inside a structure: where its items stand, which key names them, and what they are.
NESTED_LABELS = {"hyper_relations": ("qualifiers", "type"), "events": ("arguments", "role")}


class PredictionError(ValueError):
    """Predictions that cannot be scored; `problems` holds every problem found, one line each."""

    def __init__(self, problems: list[str]):
        self.problems = list(problems)
        super().__init__(self.problems)  # the list itself: the error must survive pickling between processes

    def __str__(self) -> str:
        return "\n".join(self.problems)


def prediction_problems(predicted: dict[str, Any], asked: Asked, where: str = "") -> list[str]:
    """Find the labels of a result that the schema does not have.

    Args:
        predicted: A result.
        asked: What was asked.
        where: What the messages begin with; by default the result's `id` or text.

    Returns:
        One line for each such label.
    """
    wrong = dict.fromkeys(_unknown_labels(predicted, asked))
    if not wrong:
        return []
    where = where or f"prediction for {predicted.get('id') or show(predicted.get('text'))}"
    return [
        f"{where}: {what} {show(label)}{owner} is not in the schema, which has {show_names(sorted(known))}."
        f"{did_you_mean(label, known)} Score it with the schema that was asked."
        for what, label, owner, known in wrong
    ]


def check_predicted(predicted: dict[str, Any], asked: Asked) -> None:
    """Refuse a result with labels that nobody asked for.

    Args:
        predicted: A result.
        asked: What was asked.

    Raises:
        PredictionError: With every predicted label that is not in the schema.
    """
    problems = prediction_problems(predicted, asked)
    if problems:
        raise PredictionError(problems)


def _unknown_labels(predicted: dict, asked: Asked) -> Iterator[tuple[str, Any, str, frozenset[str]]]:
    """What it is, its name, whose it is, and the names that are known there."""
    for structure in ("entities", "relations", "hyper_relations", "events"):
        known = asked.items[structure]
        for item in predicted.get(structure) or ():
            if item.get("type") not in known:
                yield SINGULAR[structure], item.get("type"), "", frozenset(known)
            elif structure in NESTED_LABELS:
                yield from _unknown_nested(structure, item, asked)
            elif structure == "relations":
                yield from _unknown_ends(item, asked)
    yield from _unknown_classes(predicted, asked)


def _unknown_nested(
    structure: str, item: dict, asked: Asked
) -> Iterator[tuple[str, Any, str, frozenset[str]]]:
    nested, key = NESTED_LABELS[structure]
    known = (asked.roles if structure == "events" else asked.qualifiers)[item["type"]]
    for part in item.get(nested) or ():
        if part.get(key) not in known:
            what = SINGULAR["roles" if structure == "events" else "qualifiers"]
            yield what, part.get(key), f" of {SINGULAR[structure]} {show(item['type'])}", frozenset(known)


def _unknown_ends(relation: dict, asked: Asked) -> Iterator[tuple[str, Any, str, frozenset[str]]]:
    """Types of head and tail; where no entity type is asked for they do not count, and any will do."""
    known = asked.items["entities"]
    for end in ("head", "tail") if known else ():
        label = relation[end].get("type")
        if label is not None and label not in known:
            yield f"{end} type", label, f" of relation {show(relation['type'])}", frozenset(known)


def _unknown_classes(predicted: dict, asked: Asked) -> Iterator[tuple[str, Any, str, frozenset[str]]]:
    for task, items in (predicted.get("classes") or {}).items():
        if task not in asked.classes:
            yield SINGULAR["classes"], task, "", frozenset(asked.classes)
            continue
        for name in map(class_name, items or ()):
            if name not in asked.classes[task]:
                yield "class", name, f" of class task {show(task)}", frozenset(asked.classes[task])
