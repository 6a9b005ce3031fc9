"""GLiNER2 training data: `{"input": text, "output": {"entities": {type: [words, …]}, "relations": […], …}}`.

Its mentions are words without places. As in GLiNER2's training, every occurrence of the words is a mention.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import json_rows
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import Offsets, clean_label, covers, is_whole, occurrences

NO_PLACE = ("json_structures", "records")


def read_gliner2(path: str | Path, report: AlignmentReport) -> Iterator[dict[str, Any]]:
    """Read GLiNER2's rows (`input` and `output`, or `text` and `schema`).

    The types that a row names are its record's own `labels`. A relation with other fields besides head and
    tail is a hyper-relation with these as qualifiers. Of the places that a relation's words may stand at,
    those nearest to each other are taken. Descriptions of types go to the report, for the schema.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Filled.

    Yields:
        Records.

    Raises:
        ConversionError: With every row without a text or its annotations.
        OSError: If the file cannot be read.
    """
    for where, row in json_rows(path, report):
        text = row.get("input") if row.get("input") is not None else row.get("text")
        output = row.get("output") if row.get("output") is not None else row.get("schema")
        if not isinstance(text, str) or not isinstance(output, dict):
            fix = 'Write {"input": "…", "output": {"entities": {…}}}. Check that --from names its format.'
            report.problem(where, "input", text, "no text with its output", fix)
            continue
        yield report.take(_Row(text, where, report).record(output), where)
    report.finish()


class _Row:
    """One row on its way to a record.

    Args:
        text: Its text.
        where: Its place.
        report: Filled.
    """

    def __init__(self, text: str, where: str, report: AlignmentReport) -> None:
        self.text = text
        self.where = where
        self.report = report
        self.types: dict[tuple[int, int], str] = {}

    def record(self, output: dict[str, Any]) -> dict[str, Any]:
        """The record."""
        record: dict[str, Any] = {"text": self.text}
        labels: dict[str, Any] = {}
        entities = output.get("entities")
        if isinstance(entities, dict) and entities:  # {} asks for no type
            record["entities"] = list(self.entities(entities))
            labels["entities"] = [name for name in map(clean_label, entities) if name]
        elif entities:
            self.report.lose("entities: not {type: [words]}", self.where, entities)
        if output.get("relations") is not None:
            relations = self.report.listed(output["relations"], "relations", self.where)
            record["relations"], hyper = self.relations(relations)
            if hyper:
                record["hyper_relations"] = hyper
        tasks = self.report.listed(output.get("classifications"), "classifications", self.where)
        if tasks:
            known = dict(filter(None, map(self.task, tasks)))
            record["classes"] = {name: holding for name, (holding, _) in known.items()}
            labels["classes"] = {name: allowed for name, (_, allowed) in known.items()}
        for key in NO_PLACE:
            items = self.report.listed(output.get(key), key, self.where)
            self.report.lose(f"{key}: records have no such structure", self.where, items, len(items))
        descriptions = output.get("entity_descriptions")
        for name, description in descriptions.items() if isinstance(descriptions, dict) else ():
            if clean_label(name) and clean_label(description):
                self.report.descriptions.setdefault(clean_label(name), clean_label(description))
        return record | ({"labels": labels} if any(labels.values()) else {})

    def places(self, value: Any) -> Offsets:
        """Where words stand; empty, and counted, if nowhere."""
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            start, end = value.get("start"), value.get("end")
            if covers(self.text, start, end, value["text"]):
                return [(start, end)]
            value = value["text"]
        if not isinstance(value, str) or not value.strip():
            self.report.lose("mention without words", self.where, value)
            return []
        found = occurrences(self.text, value)
        whole = [place for place in found if is_whole(self.text, *place)]
        if whole:
            return whole
        if found:
            self.report.repair("words that stand only inside other words: taken there", self.where, value)
            return found
        # GLiNER2 compares in lower case; only where that keeps the length are the places those of the text.
        lowered = self.text.lower()
        if len(lowered) == len(self.text) and (found := occurrences(lowered, value.lower())):
            self.report.repair("words in other letter case than in the text", self.where, value)
            return found
        self.report.lose("words that are not in the text", self.where, value)
        return []

    def entities(self, entities: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Every place of every mention."""
        for name, mentions in entities.items():
            label = clean_label(name)
            words = mentions if isinstance(mentions, list) else [mentions]
            if label is None:
                self.report.lose("entity type without a name", self.where, mentions, len(words))
                continue
            found: dict[tuple[int, int], None] = {}
            for value in words:
                places = self.places(value)
                if len(places) > 1:
                    cause = "words that stand in several places: all of them are mentions"
                    self.report.repair(cause, self.where, value)
                found |= dict.fromkeys(places)
            for start, end in found:
                self.types.setdefault((start, end), label)
                yield {"type": label, "start": start, "end": end}

    def relations(self, items: list[Any]) -> tuple[list[dict], list[dict]]:
        """Relations, and those with more than two fields as hyper-relations."""
        binary: list[dict[str, Any]] = []
        hyper: list[dict[str, Any]] = []
        pairs = [
            pair for item in items for pair in (item.items() if isinstance(item, dict) else [("", item)])
        ]
        for name, fields in pairs:
            if clean_label(name) is None or not isinstance(fields, dict) or len(fields) < 2:
                self.report.lose("relation that is not {type: {head, tail}}", self.where, {name: fields})
                continue
            roles = ["head", "tail"] if {"head", "tail"} <= fields.keys() else list(fields)[:2]
            if roles != ["head", "tail"]:
                self.report.repair("relation with fields of its own: the first is head", self.where, fields)
            roles += [role for role in fields if role not in roles]
            lists = [fields[role] if isinstance(fields[role], list) else [fields[role]] for role in roles]
            lists = [values or [None] for values in lists]
            for values in product(*lists):
                relation = self.relation(clean_label(name), roles, values)
                if relation is not None:
                    (hyper if len(roles) > 2 else binary).append(relation)
        return binary, hyper

    def relation(self, label: str, roles: list[str], values: tuple) -> dict[str, Any] | None:
        """One relation at the places nearest to each other; None if an end has none."""
        heads, tails = self.places(values[0]), self.places(values[1])
        if not heads or not tails:
            self.report.lose("relation with an end that is not in the text", self.where, {label: values})
            return None
        if len(heads) * len(tails) > 1:
            cause = "relation whose words stand in several places: the nearest are taken"
            self.report.repair(cause, self.where, {label: values})
        head, tail = min(product(heads, tails), key=lambda pair: (_gap(*pair), pair))
        relation = {"type": label, "head": self.mention(head), "tail": self.mention(tail)}
        if len(roles) > 2:
            relation["qualifiers"] = []
            for role, value in zip(roles[2:], values[2:], strict=True):
                found = self.places(value) if value else []  # an empty field says that there is none
                if found and clean_label(role):
                    start, end = min(found, key=lambda place: (_gap(place, head), place))
                    relation["qualifiers"].append({"type": clean_label(role), "start": start, "end": end})
        return relation

    def mention(self, place: tuple[int, int]) -> dict[str, Any]:
        """A mention, with the type of the entity there."""
        known = {"type": self.types[place]} if place in self.types else {}
        return {**known, "start": place[0], "end": place[1]}

    def task(self, item: Any) -> tuple[str, tuple[list[str], list[str]]] | None:
        """A classification: its name, the labels that hold and those that could."""
        name = clean_label(item.get("task")) if isinstance(item, dict) else None
        if name is None:
            self.report.lose("classification without a task", self.where, item)
            return None
        holding = item.get("true_label")
        holding = [holding] if isinstance(holding, str) else holding
        holding = self.report.names(holding, "true_label", self.where)
        allowed = self.report.names(item.get("labels"), "labels", self.where)
        return name, (holding, list(dict.fromkeys([*allowed, *holding])))


def _gap(first: tuple[int, int], second: tuple[int, int]) -> int:
    """Characters between two places; 0 if they touch or overlap."""
    return max(first[0] - second[1], second[0] - first[1], 0)
