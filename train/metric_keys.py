"""What two equal structures are: every scored task turns a text's structures into a set of keys."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ldnet.processing.schema import Schema
from ldnet.processing.schema_types import STRUCTURES
from ldnet.train.class_metrics import chosen_classes

Pieces = tuple[tuple[int, int], ...]
LabelKey = str | tuple[str, str]  # a label, or a role of an event type, a qualifier of a relation, ...
Key = tuple  # (label, place, ...): what makes two structures of a text equal
Sides = tuple[set[Key], set[Key]]  # gold, predicted

TYPELESS = "span"  # the label of mentions without type
LISTS = ("entities", "relations", "hyper_relations", "events", "spans")


class Asked:
    """What a schema asks for, looked up by name.

    Args:
        schema: The schema.
    """

    def __init__(self, schema: Schema):
        self.schema = schema
        self.items: dict[str, dict[str, Any]] = {
            key: {item.name: item for item in getattr(schema, key)} for key in STRUCTURES
        }
        self.symmetric = {relation.name for relation in schema.relations if relation.symmetric}
        self.roles = {event.name: {role.name for role in event.roles} for event in schema.events}
        self.qualifiers = {
            relation.name: {qualifier.name for qualifier in relation.qualifiers}
            for relation in schema.hyper_relations
        }
        self.classes = {task.name: {label.name for label in task.labels} for task in schema.classes}

    def scores(self, gold: dict, structure: str) -> bool:
        """Whether a structure is annotated in a text and asked for."""
        if gold.get(structure) is None:
            return False
        if structure == "answers":
            return self.schema.question is not None
        return bool(self.schema.spans if structure == "spans" else self.items[structure])

    def sides(self, gold: dict, predicted: dict, structure: str) -> tuple[list[dict], list[dict]]:
        """The structures of a text that count: their label is asked for and was annotated in the text.

        Args:
            gold: A record.
            predicted: A result for its text.
            structure: A key of both.

        Returns:
            Gold and predicted structures.
        """
        found = tuple(list(side.get(structure) or ()) for side in (gold, predicted))
        if structure == "spans":
            return found
        own = (gold.get("labels") or {}).get(structure)
        labels = self.items[structure].keys() if own is None else self.items[structure].keys() & set(own)
        return tuple([item for item in side if item["type"] in labels] for side in found)

    def class_sides(self, gold: dict, predicted: dict) -> Iterator[tuple[str, set[str], set[str]]]:
        """The classes of a text that count.

        Args:
            gold: A record.
            predicted: A result for its text.

        Yields:
            Each class task that is asked for and annotated, with its gold and its predicted classes.
        """
        own = (gold.get("labels") or {}).get("classes")
        for name, labels in self.classes.items():
            right = (gold.get("classes") or {}).get(name)
            if right is None or (own is not None and not isinstance(own, dict) and name not in own):
                continue
            if isinstance(own, dict) and own.get(name) is not None:
                labels = labels & set(own[name])
            found = (predicted.get("classes") or {}).get(name) or ()
            yield name, labels & set(right), labels & chosen_classes(found, self.items["classes"][name])


def pieces_of(mention: dict) -> Pieces:
    """Where a mention is: all its fragments in text order, or its one extent."""
    pieces = mention.get("fragments")
    if not pieces:
        return ((int(mention["start"]), int(mention["end"])),)
    return tuple(sorted((int(start), int(end)) for start, end in pieces))


def label_text(label: LabelKey) -> str:
    """A label in words: `type`, or `type: role`, `relation: qualifier`, `task: class`."""
    return label if isinstance(label, str) else ": ".join(label)


def entity_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """Entities are equal if type and exact boundaries of all fragments are.

    As in the CoNLL-2003 script and seqeval for flat mentions; `ldnet.md` §9.
    """
    return ((entity["type"], pieces_of(entity)) for entity in items)


def discontinuous_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """As `entity_keys`, of the mentions with more than one fragment alone.

    "Disc. F1" of Dai et al. 2020, https://arxiv.org/abs/2004.13454.
    """
    return (key for key in entity_keys(items, asked) if len(key[1]) > 1)


def _ends(relation: dict, asked: Asked) -> list[tuple[Pieces, str | None]]:
    """Place and type of head and tail; in text order where the two may be swapped."""
    ends = [(pieces_of(mention), mention.get("type")) for mention in (relation["head"], relation["tail"])]
    # The type decides only between two ends at one place.
    in_order = relation["type"] in asked.symmetric
    return sorted(ends, key=lambda end: (end[0], end[1] or "")) if in_order else ends


def relation_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """Relations are equal if type, head and tail (exact boundaries) are; symmetric ones in either direction.

    "Boundaries" evaluation of Taillé et al. 2020, https://aclanthology.org/2020.emnlp-main.301.
    """
    return ((relation["type"], *(place for place, _ in _ends(relation, asked))) for relation in items)


def strict_relation_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """Relations are equal if, beside `relation_keys`, the types of head and tail are.

    "Strict" evaluation of Taillé et al. 2020.
    """
    return ((relation["type"], *_ends(relation, asked)) for relation in items)


def with_open_types(gold: set[Key], predicted: set[Key]) -> Sides:
    """Strict relations in which any type is right where gold gives none for an end."""
    untyped: dict[Key, set[int]] = defaultdict(set)
    for key in gold:
        untyped[_place(key)] |= {i for i in (1, 2) if key[i][1] is None}

    def without_open_types(key: Key) -> Key:
        open_ends = untyped.get(_place(key), ())
        return (key[0], *((key[i][0], None if i in open_ends else key[i][1]) for i in (1, 2)))

    return {without_open_types(key) for key in gold}, {without_open_types(key) for key in predicted}


def _place(key: Key) -> Key:
    return (key[0], key[1][0], key[2][0])


def trigger_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """Triggers are equal if event type and exact boundaries are.

    "Trig-C" of Li et al. 2013, https://aclanthology.org/P13-1008.
    """
    return ((event["type"], pieces_of(event["trigger"])) for event in items)


def argument_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """Arguments are equal if event type, role and exact boundaries are, whatever the trigger's are.

    "Arg-C" of Li et al. 2013.
    """
    return (key[:2] for key in strict_argument_keys(items, asked))


def strict_argument_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """Arguments are equal if, beside `argument_keys`, the exact boundaries of the event's trigger are."""
    for event in items:
        for argument in event.get("arguments") or ():
            if argument["role"] in asked.roles[event["type"]]:
                label = (event["type"], argument["role"])
                yield label, pieces_of(argument), pieces_of(event["trigger"])


def hyper_relation_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """Quintuples are equal if relation, head, tail, qualifier and its value (exact boundaries) are.

    One for each fact and qualifier, as in HyperRED: Chia et al. 2022, https://arxiv.org/abs/2211.10018; none
    for a fact without qualifiers.
    """
    for fact in items:
        for qualifier in fact.get("qualifiers") or ():
            if qualifier["type"] in asked.qualifiers[fact["type"]]:
                ends = pieces_of(fact["head"]), pieces_of(fact["tail"])
                yield (fact["type"], qualifier["type"]), *ends, pieces_of(qualifier)


def hyper_triple_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """Facts without their qualifiers are equal if relation, head and tail (exact boundaries) are."""
    return ((fact["type"], pieces_of(fact["head"]), pieces_of(fact["tail"])) for fact in items)


def span_keys(items: list[dict], asked: Asked) -> Iterator[Key]:
    """Typeless mentions are equal if the exact boundaries of all fragments are."""
    return ((TYPELESS, pieces_of(span)) for span in items)


@dataclass(frozen=True)
class Task:
    """One score of a data set.

    Args:
        name: Its name in results.
        structure: The key of the record, and of the schema, that it reads.
        keys: Structures of a text as keys; the first part of a key is its label. `None` = the task is scored
            by a module of its own.
        align: Makes the keys of both sides comparable, if they are not.
        needs: What else the schema has to ask for: without it the task would score what nobody asked.
        subset: Whether it looks at some of the structures of another task only.
    """

    name: str
    structure: str
    keys: Callable[[list[dict], Asked], Iterable[Key]] | None = None
    align: Callable[[set[Key], set[Key]], Sides] | None = None
    needs: tuple[str, ...] = ()
    subset: bool = False


TASK_TABLE = (
    Task("entities", "entities", entity_keys),
    Task("entities_discontinuous", "entities", discontinuous_keys, subset=True),
    Task("relations", "relations", relation_keys),
    Task("relations_strict", "relations", strict_relation_keys, align=with_open_types, needs=("entities",)),
    Task("hyper_relations", "hyper_relations", hyper_relation_keys),
    Task("hyper_triples", "hyper_relations", hyper_triple_keys),
    Task("triggers", "events", trigger_keys),
    Task("arguments", "events", argument_keys),
    Task("arguments_strict", "events", strict_argument_keys),
    Task("spans", "spans", span_keys),
    Task("answers", "answers"),
    Task("classes", "classes"),
)


def compare_tasks(gold: dict, predicted: dict, asked: Asked) -> Iterator[tuple[Task, set[Key], set[Key]]]:
    """Structures of one text as sets of keys; labels of predictions are not checked.

    Args:
        gold: A record.
        predicted: A result for its text.
        asked: What was asked.

    Yields:
        Each scored task with its gold and its predicted structures; not `answers`, whose words count.
    """
    sides = {
        structure: asked.sides(gold, predicted, structure)
        for structure in LISTS
        if asked.scores(gold, structure)
    }
    for task in TASK_TABLE:
        if task.structure not in sides or not all(asked.items[key] for key in task.needs):
            continue
        keys = tuple(set(task.keys(items, asked)) for items in sides[task.structure])
        yield task, *(task.align(*keys) if task.align else keys)
    if asked.scores(gold, "classes"):
        yield TASK_TABLE[-1], *class_keys(gold, predicted, asked)


def class_keys(gold: dict, predicted: dict, asked: Asked) -> Sides:
    """Classes are equal if class task and class are."""
    sides: Sides = (set(), set())
    for task, *names in asked.class_sides(gold, predicted):
        for keys, found in zip(sides, names, strict=True):
            keys |= {((task, name),) for name in found}
    return sides
