"""What to extract: one schema for every structure, from entities to a question."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .schema_labels import Label, label_uses, shared_label_problems
from .schema_parsing import dump_schema, parse_json, parse_schema, read_schema_file
from .schema_records import collect_types
from .schema_types import (
    NESTED,
    SINGULAR,
    STRUCTURES,
    ClassLabel,
    ClassTask,
    EntityType,
    EventType,
    HyperRelationType,
    LabelKind,
    LabelType,
    QualifierType,
    RelationType,
    RoleType,
    SchemaError,
    as_labels,
    did_you_mean,
    find_problems,
    show,
    show_names,
)

__all__ = [
    "ClassLabel",
    "ClassTask",
    "EntityType",
    "EventType",
    "HyperRelationType",
    "Label",
    "LabelKind",
    "LabelType",
    "QualifierType",
    "RelationType",
    "RoleType",
    "Schema",
    "SchemaError",
]


@dataclass(frozen=True)
class Schema:
    """What to extract from a text.

    Lists of names are accepted wherever a tuple of label types stands; equal definitions are merged. An empty
    schema is valid and has no labels.

    Args:
        entities (`tuple[EntityType, ...]`): Types of mentions.
        relations (`tuple[RelationType, ...]`): Directed binary relations.
        hyper_relations (`tuple[HyperRelationType, ...]`): Relations with qualifiers.
        events (`tuple[EventType, ...]`): Types of events with the roles of their arguments.
        classes (`tuple[ClassTask, ...]`): Classifications of the whole text.
        question (`str`, *optional*): A question whose answers are spans of the text.
        spans (`bool`): Look for mentions without a type (the schema is unknown).
        instruction (`str`): Stands in front of the labels; may be empty.

    Raises:
        SchemaError: With every problem of the definitions.
    """

    entities: tuple[EntityType, ...] = ()
    relations: tuple[RelationType, ...] = ()
    hyper_relations: tuple[HyperRelationType, ...] = ()
    events: tuple[EventType, ...] = ()
    classes: tuple[ClassTask, ...] = ()
    question: str | None = None
    spans: bool = False
    instruction: str = ""

    def __post_init__(self) -> None:
        self._freeze()
        problems = self._problems("Schema")
        if problems:
            raise SchemaError(problems)

    def _freeze(self) -> None:
        for key, label_type in STRUCTURES.items():
            object.__setattr__(self, key, as_labels(getattr(self, key), label_type))

    def _problems(self, source: str) -> list[str]:
        problems = find_problems({key: getattr(self, key) for key in STRUCTURES}, source)
        question, spans, instruction = self.question, self.spans, self.instruction
        if question is not None and not (isinstance(question, str) and question.strip()):
            problems.append(f"{source}: question is {show(question)}, not a text. Write one or leave it out.")
        if not isinstance(spans, bool):
            problems.append(
                f"{source}: spans is {show(spans)}, not true or false. Write true or leave it out."
            )
        if not isinstance(instruction, str):
            problems.append(
                f"{source}: instruction is {show(instruction)}, not a text. Write one or leave it out."
            )
        return problems or shared_label_problems(self, source)

    @classmethod
    def from_any(cls, value: Any) -> "Schema":
        """Make a schema from whatever a user may pass.

        Args:
            value (`Any`): A `Schema`; a list of entity types ("name", "name::description", {"type": …}); a
                dict as in `schema.json`; JSON text of these; a path to a .json or .yaml file; None for an
                unknown schema.

        Raises:
            SchemaError: With every problem of the definitions.
        """
        if isinstance(value, Schema):
            return value
        # A schema of another copy of this module (a remote-code folder) is not of our class, but as good.
        if hasattr(value, "to_dict"):
            return cls.from_dict(value.to_dict())
        if isinstance(value, Path):
            return cls._from_plain(read_schema_file(value), str(value))
        if isinstance(value, str):
            if value.lstrip().startswith(("{", "[")) or value.strip() == "null":
                return cls.from_json(value)
            return cls._from_plain(read_schema_file(value), value)
        return cls._from_plain(value, "Schema")

    @classmethod
    def _from_plain(cls, value: Any, source: str) -> "Schema":
        """Make a schema from what JSON can hold: None, a list of entity types or a dict."""
        if value is None:
            return cls(spans=True)
        return cls.from_dict({"entities": value} if isinstance(value, list | tuple) else value, source=source)

    @classmethod
    def from_dict(cls, value: dict[str, Any], *, source: str = "Schema") -> "Schema":
        """Make a schema from its plain form (`to_dict`); messages begin with `source`."""
        contents, problems = parse_schema(value, source)
        # Unchecked, so that problems of form and of content are reported together.
        draft = object.__new__(cls)
        for field in fields(cls):
            object.__setattr__(draft, field.name, contents.get(field.name, field.default))
        draft._freeze()
        problems += draft._problems(source)
        if problems:
            raise SchemaError(problems)
        return draft

    def to_dict(self) -> dict[str, Any]:
        """Return the plain form, as in `schema.json`: `Schema.from_dict(schema.to_dict()) == schema`."""
        return dump_schema(self)

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """Make a schema from JSON text (`to_json`): a dict, a list of entity types, or null."""
        return cls._from_plain(parse_json(text, "Schema"), "Schema")

    def to_json(self, indent: int | None = 1) -> str:
        """Return the plain form as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    @classmethod
    def from_records(cls, records: Iterable[dict[str, Any]]) -> "Schema":
        """Make the schema of a data set: the labels in use, by name, with observed head and tail types.

        Args:
            records (`Iterable[dict]`): Records as in `train.jsonl`. Labels named by a record's own `labels`
                count as well.

        Raises:
            SchemaError: With every record that is not in the record format.
        """
        return cls.from_dict(collect_types(records), source="Schema.from_records")

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """All labels in canonical order; a label's id is its position.

        The order is entities, relations, hyper-relations, qualifiers, event types, roles, classes, answers,
        spans. The pair
        (kind, name) is one label: an entity type and an event type of one name share it, and so do a
        relation, a hyper-relation and a qualifier. A role that two event types have (or whose word is a
        relation's) is named `type: role`, a class that two tasks have `task: class`.
        """
        merged: dict[tuple[LabelKind, str], Label] = {}
        for _, _, label in label_uses(self):
            first = merged.get((label.kind, label.name), label)
            merged[label.kind, label.name] = replace(
                first,
                description=label.description if first.description is None else first.description,
                threshold=label.threshold if first.threshold is None else first.threshold,
                mentions=first.mentions | label.mentions,
            )
        return tuple(merged.values())

    @cached_property
    def _label_ids(self) -> dict[tuple[str, str, str | None], int]:
        position = {(label.kind, label.name): index for index, label in enumerate(self.labels)}
        return {
            (label.structure, name, owner): position[label.kind, label.name]
            for owner, name, label in label_uses(self)
        }

    @cached_property
    def places(self) -> tuple[tuple[tuple[str, str, str | None], ...], ...]:
        """Of each label where the schema has it: structure, name there, and event type or task."""
        found: list[list[tuple[str, str, str | None]]] = [[] for _ in self.labels]
        for place, label in self._label_ids.items():
            found[label].append(place)
        return tuple(map(tuple, found))

    def label_id(self, structure: str, name: str, owner: str | None = None) -> int:
        """Return the position in `labels` of a label of the schema.

        Args:
            structure (`str`): As in `Label.structure`.
            name (`str`): The name in the schema (for a role its bare name).
            owner (`str`, *optional*): The event type of a role, the task of a class; not needed otherwise.

        Raises:
            SchemaError: If the schema has no such label.
        """
        key = (structure, name, owner if structure in ("roles", "classes") else None)
        if key not in self._label_ids:
            known = [word for kind, word, of in self._label_ids if kind == structure and of == key[2]]
            singular = "class" if structure == "classes" else SINGULAR.get(structure, structure)
            belongs = "" if key[2] is None else f" of {key[2]!r}"
            raise SchemaError(
                f"Schema: no {singular} {name!r}{belongs}; it has {show_names(known)}."
                f"{did_you_mean(name, known)} Correct it or add the label."
            )
        return self._label_ids[key]

    def without_descriptions(self) -> "Schema":
        """Return the same schema with the labels' names only."""
        return replace(self, **{key: tuple(map(_undescribed, getattr(self, key))) for key in STRUCTURES})

    def restrict(self, labels: dict[str, Any]) -> "Schema":
        """Return the part of the schema that `labels` names, such as a record's own `labels`.

        Names that the schema does not have are ignored: a record may list the labels of a larger schema. A
        relation keeps the head and tail types that are left; where none is left, any type may stand there.

        Args:
            labels (`dict[str, Any]`): For each structure the list of names to keep; for classes also
                {task: names}. What is not a key here is kept whole.

        Raises:
            SchemaError: If a key is not a structure, or its value not a list of names.
        """
        problems = _restriction_problems(labels)
        if problems:
            raise SchemaError(problems)
        kept: dict[str, Any] = {}
        for key, names in labels.items():
            names = set(names)
            kept[key] = tuple(item for item in getattr(self, key) if item.name in names)
        if isinstance(labels.get("classes"), dict):
            kept["classes"] = _restrict_tasks(self.classes, labels["classes"])
        types = {entity.name for entity in kept.get("entities", self.entities)}
        for key in ("relations", "hyper_relations"):
            kept[key] = tuple(_restrict_ends(item, types) for item in kept.get(key, getattr(self, key)))
        return replace(self, **kept)


def _restriction_problems(labels: dict[str, Any]) -> list[str]:
    """Check the form of what `Schema.restrict` gets."""
    problems = []
    for key, names in labels.items():
        if key not in STRUCTURES:
            near = did_you_mean(key, STRUCTURES) or " Correct or remove it."
            problems.append(f"labels: unknown key {show(key)}. Allowed: {', '.join(STRUCTURES)}.{near}")
        groups = list(names.values()) if isinstance(names, dict) and key == "classes" else [names]
        problems += [
            f'labels: {key} holds {show(group)}, not a list of names. Write ["…"].'
            for group in groups
            if not isinstance(group, list | tuple | set | frozenset)
        ]
    return problems


def _undescribed(item: LabelType | ClassTask) -> LabelType | ClassTask:
    nested = {key: tuple(map(_undescribed, getattr(item, key))) for key in NESTED if hasattr(item, key)}
    if not isinstance(item, ClassTask):
        nested["description"] = None
    return replace(item, **nested)


def _restrict_tasks(tasks: tuple[ClassTask, ...], names: dict[str, Iterable[str]]) -> tuple[ClassTask, ...]:
    left = []
    for task in tasks:
        keep = set(names.get(task.name, [label.name for label in task.labels]))
        labels = tuple(label for label in task.labels if label.name in keep)
        if labels:
            left.append(replace(task, labels=labels))
    return tuple(left)


def _restrict_ends(item: Any, types: set[str]) -> Any:
    """Leave out head and tail types that are no longer entity types."""
    if not types:  # relations alone are asked for: their types name mentions that nobody extracts
        return item
    ends = {
        end: tuple(name for name in getattr(item, end) or () if name in types) for end in ("head", "tail")
    }
    return replace(item, **{end: names or None for end, names in ends.items()})
