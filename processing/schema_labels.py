"""The labels of a prompt, and which place of a schema needs which of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ldnet.processing.schema_types import LabelKind, LabelType, show


@dataclass(frozen=True)
class Label:
    """One label of a prompt.

    Args:
        kind (`LabelKind`): The marker that it gets.
        name (`str`): Its words. Within a kind a name is one label.
        description (`str`, *optional*): What it means.
        threshold (`float`, *optional*): Its own decision threshold, in (0, 1).
        structure (`str`): What it belongs to: "entities", "relations", "hyper_relations", "qualifiers",
            "events", "roles", "classes", "answers" or "spans"; the first of them where several share the
            label.
        mentions (`frozenset[int]`): Numbers of mentions that its loops may go through (0: a class).
    """

    kind: LabelKind
    name: str
    description: str | None
    threshold: float | None
    structure: str
    mentions: frozenset[int]

    @property
    def text(self) -> str:
        """The words that stand behind the label's marker."""
        return self.name if self.description is None else f"{self.name} : {self.description}"


# Mentions that a loop of a structure's label goes through, one after the other.
MENTIONS_OF = {
    "entities": 1,
    "relations": 2,
    "hyper_relations": 2,
    "qualifiers": 3,
    "events": 1,
    "roles": 2,
    "classes": 0,
    "answers": 1,
    "spans": 1,
}


def label_uses(schema: Any) -> Iterator[tuple[str | None, str, Label]]:
    """Go over every place of a schema that needs a label, in canonical order.

    Args:
        schema (`Schema`): The schema.

    Yields:
        The event type of a role or the task of a class (else None), the name it has there, and the label.
    """

    def use(kind: LabelKind, structure: str, item: LabelType, name: str | None = None) -> Label:
        mentions = frozenset({MENTIONS_OF[structure]})
        return Label(kind, name or item.name, item.description, item.threshold, structure, mentions)

    for structure in ("entities", "relations", "hyper_relations"):
        kind = LabelKind.MENTION if structure == "entities" else LabelKind.RELATION
        yield from ((None, item.name, use(kind, structure, item)) for item in getattr(schema, structure))
    qualifiers = [qualifier for item in schema.hyper_relations for qualifier in item.qualifiers]
    yield from ((None, item.name, use(LabelKind.RELATION, "qualifiers", item)) for item in qualifiers)
    yield from ((None, item.name, use(LabelKind.MENTION, "events", item)) for item in schema.events)
    taken = [item.name for item in (*schema.relations, *schema.hyper_relations, *qualifiers)]
    for structure, kind, owners in (
        ("roles", LabelKind.RELATION, [(event.name, event.roles) for event in schema.events]),
        ("classes", LabelKind.CLASS, [(task.name, task.labels) for task in schema.classes]),
    ):
        words = [item.name for _, items in owners for item in items] + (taken if structure == "roles" else [])
        shared = {word for word, count in Counter(words).items() if count > 1}
        for owner, items in owners:
            for item in items:
                name = f"{owner}: {item.name}" if item.name in shared else item.name
                yield owner, item.name, use(kind, structure, item, name)
    for structure, asked in (("answers", schema.question is not None), ("spans", schema.spans)):
        if asked:
            name = structure.removesuffix("s")
            yield None, name, use(LabelKind.SPAN, structure, LabelType(name))


def shared_label_problems(schema: Any, source: str) -> list[str]:
    """Find labels that two parts of the schema share although they mean different things by it.

    Args:
        schema (`Schema`): The schema; its definitions are valid one by one.
        source (`str`): What the messages begin with.

    Returns:
        One line for each problem.
    """
    first: dict[tuple[LabelKind, str, str], tuple[Any, str]] = {}
    problems = []
    for owner, _, label in label_uses(schema):
        where = f"{label.structure} of {owner!r}" if owner else label.structure
        for field in ("description", "threshold", "owner"):
            value = owner if field == "owner" else getattr(label, field)
            if value is None and field != "owner":
                continue  # not said here: the other place may say it for both
            other, there = first.setdefault((label.kind, label.name, field), (value, where))
            if other != value:
                differ = "" if field == "owner" else f", with the {field} {show(other)} and {show(value)}"
                problems.append(
                    f"{source}: the label {label.name!r} stands in {there} and in {where}{differ}, but a "
                    "prompt holds a label once. Make the two equal or rename one."
                )
    return problems
