"""The schema that the records of a data set use."""

from collections.abc import Iterable
from typing import Any

from .schema_types import STRUCTURES, SchemaError

_ANY = None  # in a set of observed types: an end without a type, so any type is possible


class _Observed:
    """The labels seen so far, as sets of names."""

    def __init__(self) -> None:
        self.entities: set[str] = set()
        self.relations: dict[str, dict[str, set[str | None]]] = {}
        self.hyper_relations: dict[str, dict[str, set[str | None]]] = {}
        self.events: dict[str, set[str]] = {}
        self.classes: dict[str, set[str]] = {}
        self.multi_label: set[str] = set()
        self.spans = False

    def add(self, record: dict[str, Any]) -> None:
        """Add what a record uses."""
        self.entities.update(mention["type"] for mention in record.get("entities") or ())
        for key in ("relations", "hyper_relations"):
            for relation in record.get(key) or ():
                self._add_relation(key, relation)
        for relation in record.get("document_relations") or ():
            self.relations.setdefault(relation["type"], _no_ends())
        for event in record.get("events") or ():
            roles = self.events.setdefault(event["type"], set())
            roles.update(argument["role"] for argument in event.get("arguments") or ())
        for task, holding in (record.get("classes") or {}).items():
            self.classes.setdefault(task, set()).update(holding)
            if len(holding) != 1:
                self.multi_label.add(task)
        self.spans |= "spans" in record
        self._add_declared(record.get("labels") or {})

    def _add_relation(self, key: str, relation: dict[str, Any]) -> None:
        ends = getattr(self, key).setdefault(relation["type"], _no_ends())
        for end in ("head", "tail"):
            ends[end].add(relation[end].get("type", _ANY))
        ends["qualifiers"].update(qualifier["type"] for qualifier in relation.get("qualifiers") or ())

    def _add_declared(self, labels: dict[str, Any]) -> None:
        """Add the labels that were looked for, found or not."""
        self.entities.update(labels.get("entities") or ())
        for key in ("relations", "hyper_relations"):
            for name in labels.get(key) or ():
                getattr(self, key).setdefault(name, _no_ends())
        for name in labels.get("events") or ():
            self.events.setdefault(name, set())
        for task, names in (labels.get("classes") or {}).items():
            self.classes.setdefault(task, set()).update(names)

    def to_dict(self) -> dict[str, Any]:
        """Return the plain form of a schema."""
        plain: dict[str, Any] = {}
        # An end's type is a type of mention like any other, also where the data marks it only there.
        ends = [ends[end] for ends in self.relations.values() for end in ("head", "tail")]
        ends += [ends[end] for ends in self.hyper_relations.values() for end in ("head", "tail")]
        observed = {name for names in ends for name in names if name is not _ANY}
        plain["entities"] = sorted(self.entities | observed if self.entities else set())
        plain["relations"] = [{"type": name, **_types(ends)} for name, ends in sorted(self.relations.items())]
        plain["hyper_relations"] = [
            {"type": name, **_types(ends), "qualifiers": sorted(ends["qualifiers"])}
            for name, ends in sorted(self.hyper_relations.items())
        ]
        plain["events"] = [
            {"type": name, "roles": sorted(roles)} for name, roles in sorted(self.events.items())
        ]
        plain["classes"] = {
            task: {"labels": sorted(names), "multi_label": task in self.multi_label}
            for task, names in sorted(self.classes.items())
            if names
        }
        plain["spans"] = self.spans and not any(plain[key] for key in STRUCTURES)
        return plain


def _no_ends() -> dict[str, set[str | None]]:
    return {"head": set(), "tail": set(), "qualifiers": set()}


def _types(ends: dict[str, set[str | None]]) -> dict[str, list[str]]:
    """The observed head and tail types; an end that was ever seen without a type may have any."""
    return {end: sorted(ends[end]) for end in ("head", "tail") if ends[end] and _ANY not in ends[end]}


def collect_types(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Collect the labels that records use, in order of name.

    Args:
        records (`Iterable[dict]`): Records as in `train.jsonl`.

    Returns:
        The plain form of their schema.

    Raises:
        SchemaError: With every record that is not in the record format.
    """
    observed = _Observed()
    problems = []
    for position, record in enumerate(records):
        try:
            observed.add(record)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            problems.append(
                f"Schema.from_records: record {position} is not in the record format ({reason}). Find and "
                "correct the place with `ldnet validate`."
            )
    if problems:
        raise SchemaError(problems)
    try:
        return observed.to_dict()
    except TypeError:  # names of several types cannot be put in order
        raise SchemaError(
            "Schema.from_records: a label is not a string. Find and correct it with `ldnet validate`."
        ) from None
