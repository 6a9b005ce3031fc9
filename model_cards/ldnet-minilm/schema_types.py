"""The label types a schema is made of, and the error that lists what is wrong with them."""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

MAX_SHOWN = 10  # names listed in a message before it says how many more there are


class LabelKind(IntEnum):
    """The marker that a label gets in the prompt."""

    MENTION = 0  # [LM]: entity types, event types
    RELATION = 1  # [LR]: relations, hyper-relations, qualifiers, event roles
    CLASS = 2  # [LC]: class labels
    SPAN = 3  # [TP]: answers and mentions without a type; the model takes them for mention labels


class SchemaError(ValueError):
    """A schema that cannot be used; `problems` holds every problem found, one line each."""

    def __init__(self, problems: str | list[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__(self.problems)  # the list itself: the error must survive pickling between processes

    def __str__(self) -> str:
        return "\n".join(self.problems)


@dataclass(frozen=True)
class LabelType:
    """A label: its name, what it means (optional), and its own decision threshold in (0, 1) (optional)."""

    name: str
    description: str | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class EntityType(LabelType):
    """A type of mention."""


@dataclass(frozen=True)
class QualifierType(LabelType):
    """A qualifier of a hyper-relation."""


@dataclass(frozen=True)
class RoleType(LabelType):
    """A role that an argument can play in an event."""


@dataclass(frozen=True)
class ClassLabel(LabelType):
    """One of the classes of a classification task."""


@dataclass(frozen=True)
class RelationType(LabelType):
    """A directed relation between two mentions; `head` and `tail` are allowed entity types (None = any)."""

    head: tuple[str, ...] | None = None
    tail: tuple[str, ...] | None = None
    symmetric: bool = False

    def __post_init__(self) -> None:
        _freeze_ends(self)


@dataclass(frozen=True)
class HyperRelationType(LabelType):
    """A relation that may carry any number of typed qualifiers."""

    head: tuple[str, ...] | None = None
    tail: tuple[str, ...] | None = None
    qualifiers: tuple[QualifierType, ...] = ()

    def __post_init__(self) -> None:
        _freeze_ends(self)
        object.__setattr__(self, "qualifiers", as_labels(self.qualifiers, QualifierType))


@dataclass(frozen=True)
class EventType(LabelType):
    """A type of event: its trigger is a mention of this type, its arguments play the roles."""

    roles: tuple[RoleType, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", as_labels(self.roles, RoleType))


@dataclass(frozen=True)
class ClassTask:
    """A classification of the whole text: one of `labels`, or any number of them with `multi_label`."""

    name: str
    labels: tuple[ClassLabel, ...] = ()
    multi_label: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", as_labels(self.labels, ClassLabel))


# The structures of a schema that are lists of label types, in canonical order.
STRUCTURES: dict[str, type] = {
    "entities": EntityType,
    "relations": RelationType,
    "hyper_relations": HyperRelationType,
    "events": EventType,
    "classes": ClassTask,
}
SINGULAR = {
    "entities": "entity type",
    "relations": "relation",
    "hyper_relations": "hyper-relation",
    "events": "event type",
    "classes": "class task",
    "qualifiers": "qualifier",
    "roles": "role",
    "labels": "label",
}
# The label lists inside a definition. They are checked like the structures themselves.
NESTED = {"qualifiers": QualifierType, "roles": RoleType, "labels": ClassLabel}


def as_labels(items: Any, label_type: type) -> Any:
    """Turn a list of names or labels into a tuple of labels without repetitions.

    Args:
        items (`Any`): The list; anything else is returned as it is, for `find_problems` to name.
        label_type (`type`): What a name becomes.

    Returns:
        The tuple of labels.
    """
    if not isinstance(items, list | tuple):
        return items
    labels = tuple(label_type(item) if isinstance(item, str) else item for item in items)
    if not all(isinstance(label, label_type) and not _string_fault(label.name) for label in labels):
        return labels  # the check names the wrong ones by their position
    try:
        return tuple(dict.fromkeys(labels))
    except TypeError:  # a label that holds an unhashable value is wrong; the check says where
        return labels


def _freeze_ends(relation: RelationType | HyperRelationType) -> None:
    for end in ("head", "tail"):
        types = getattr(relation, end)
        if isinstance(types, str):
            object.__setattr__(relation, end, (types,))
        elif isinstance(types, list | tuple):
            unique = types if any(not isinstance(name, str) for name in types) else dict.fromkeys(types)
            object.__setattr__(relation, end, tuple(unique))


def shorten(value: Any) -> str:
    """Show a value in a message: its `repr` in one short line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-16:]}"


def show(value: Any) -> str:
    """Show a value of the wrong type in a message: in one short line, with its type unless it is a string."""
    text = shorten(value)
    return text if isinstance(value, str) or value is None else f"{text} ({type(value).__name__})"


def show_names(names: Iterable[str]) -> str:
    """Show allowed names in a message: the first ones, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return f"{names[:MAX_SHOWN]}{more}"


def did_you_mean(name: Any, allowed: Iterable[str]) -> str:
    """Name the nearest allowed word, as a sentence that follows a message (empty when none is near)."""
    by_lower_case = {word.lower(): word for word in allowed}
    near = difflib.get_close_matches(str(name).lower().replace("_", " "), by_lower_case, n=1)
    near = near or difflib.get_close_matches(str(name).lower(), by_lower_case, n=1)
    return f" Did you mean {by_lower_case[near[0]]!r}?" if near else ""


def find_problems(structures: dict[str, Any], source: str) -> list[str]:
    """Check the label types of a schema.

    Args:
        structures (`dict[str, Any]`): For each key of `STRUCTURES`, the tuple of its definitions.
        source (`str`): What the messages begin with: a file name, or "Schema".

    Returns:
        One line for each problem; empty when the schema is valid.
    """
    problems: list[str] = []
    for key, items in structures.items():
        problems += [f"{source}: {problem}" for problem in _list_problems(key, items)]
    entities = [item for item in _tuple(structures.get("entities")) if isinstance(item, EntityType)]
    known = [entity.name for entity in entities if not _string_fault(entity.name)]
    for key in ("relations", "hyper_relations"):
        for item in _tuple(structures.get(key)):
            problems += [f"{source}: {problem}" for problem in _unknown_ends(key, item, known)]
    return problems


def _tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else ()


def _list_problems(key: str, items: Any, owner: str = "") -> list[str]:
    """Check the definitions of one list: `items` under `key`, in the definition named by `owner`."""
    if not isinstance(items, tuple):
        return [f'{owner}{key} is {show(items)}, not a list. Write ["…", "…"].']
    problems: list[str] = []
    label_type = {**STRUCTURES, **NESTED}[key]
    first: dict[str, Any] = {}
    for position, item in enumerate(items):
        if not isinstance(item, label_type):
            problems.append(
                f"{owner}{key}[{position}] is {show(item)}, not a label. Write its name as a string, "
                'in quotes, or {"type": "…"}.'
            )
            continue
        found = _item_problems(key, position, item, owner)
        problems += found
        if not found and first.setdefault(item.name, item) != item:
            problems.append(
                f"{owner}{SINGULAR[key]} {item.name!r} is defined twice, differently: "
                f"{_difference(first[item.name], item)}. Merge the two into one (head and tail take lists)."
            )
    return problems


def _difference(first: Any, second: Any) -> str:
    names = [name for name in vars(first) if getattr(first, name) != getattr(second, name)]
    return f"{names[0]} is {getattr(first, names[0])!r} and {getattr(second, names[0])!r}"


def _item_problems(key: str, position: int, item: Any, owner: str) -> list[str]:
    """Check one definition by itself."""
    fault = _string_fault(item.name)
    if fault:
        return [f"{owner}{key}[{position}] has the name {show(item.name)}, which is {fault}."]
    where = f"{owner}{SINGULAR[key]} {item.name!r}"
    problems: list[str] = []
    description, threshold = getattr(item, "description", None), getattr(item, "threshold", None)
    if description is not None and (fault := _string_fault(description)):
        problems.append(
            f"{where} has the description {show(description)}, which is {fault}, or leave it out."
        )
    if threshold is not None and not _is_probability(threshold):
        problems.append(
            f"{where} has the threshold {show(threshold)}, not a number between 0 and 1, such as 0.5."
        )
    for flag in ("symmetric", "multi_label"):
        if not isinstance(getattr(item, flag, False), bool):
            problems.append(f"{where} has {flag} {show(getattr(item, flag))}. Write true or false.")
    for end in ("head", "tail"):
        problems += _end_problems(where, end, getattr(item, end, None))
    for nested in NESTED:
        if hasattr(item, nested):
            problems += _list_problems(nested, getattr(item, nested), owner=f"{where}: ")
    if key == "classes" and item.labels == ():
        problems.append(f'{where} has no labels. List at least one, e.g. {{"labels": ["yes", "no"]}}.')
    return problems


def _string_fault(value: Any) -> str:
    """Say what is wrong with a name or description and how to correct it; empty when nothing is."""
    if not isinstance(value, str):
        return "not a string. Write it in quotes"
    if not value.strip():
        return "empty. Give it a word"
    if value != value.strip():
        return f"surrounded by white space. Write {value.strip()!r}"
    return ""


def _is_probability(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 < value < 1


def _end_problems(where: str, end: str, types: Any) -> list[str]:
    if types is None:
        return []
    if not isinstance(types, tuple):
        return [f'{where} has {end} {show(types)}, not a list of entity types. Write ["…"].']
    if not types:
        return [f"{where} has an empty {end}: nothing could stand there. List entity types or leave it out."]
    faults = [(name, _string_fault(name)) for name in types]
    return [f"{where} has {end} type {show(name)}, which is {fault}." for name, fault in faults if fault]


def _unknown_ends(key: str, item: Any, known: list[str]) -> list[str]:
    """Find head and tail types that no entity type has; without entity types (relations only) any will do."""
    if not known or not isinstance(item, STRUCTURES[key]):
        return []
    return [
        f"{SINGULAR[key]} {item.name!r} has {end} type {name!r}, not one of {show_names(known)}."
        f"{did_you_mean(name, known)} Correct it or add the type."
        for end in ("head", "tail")
        for name in _tuple(getattr(item, end))
        if isinstance(name, str) and not _string_fault(name) and name not in known
    ]
