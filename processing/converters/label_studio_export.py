"""Label Studio's exports, JSON and JSON-MIN, as records."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import json_rows
from ldnet.processing.converters.label_studio import HELD, RECORD_ID, TRIGGERS
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import clean_label, covers, realign, utf16_positions
from ldnet.processing.converters.writing import fill_keys
from ldnet.processing.schema import Schema

# What JSON-MIN puts beside a task's data and its results.
OWN_KEYS = (
    "id",
    "annotator",
    "annotation_id",
    "created_at",
    "updated_at",
    "lead_time",
    "agreement",
    RECORD_ID,
)


@dataclass
class Region:
    """A marked stretch of a text.

    Args:
        mention (`dict`): Its place.
        labels (`list[str]`): Its labels.
        trigger (`bool`): Whether they are event types.
        linked (`bool`): Whether a relation begins or ends in it.
    """

    mention: dict[str, int]
    labels: list[str] = field(default_factory=list)
    trigger: bool = False
    linked: bool = False


def read_label_studio(
    path: str | Path, report: AlignmentReport, *, schema: Schema | None = None, text_key: str = ""
) -> Iterator[dict[str, Any]]:
    """Read an export: of each task the first completed annotation.

    Predictions and drafts are not read: what nobody confirmed is no annotation. All records get the lists
    that one of them has, and those that the schema asks for: an annotator looked for them everywhere.
    JSON-MIN does not hold relations, so nothing is said about them, and events are lost.

    Args:
        path (`str` or `Path`): The export, JSON or JSON-MIN.
        report (`AlignmentReport`): Filled.
        schema (`Schema`, *optional*): What was annotated; also says which texts of JSON-MIN are classes.
        text_key (`str`): The key of the text in a task's data; empty = "text", else the only string there.

    Yields:
        Records.

    Raises:
        ConversionError: With every task without a text.
        OSError: If the file cannot be read.
    """
    tasks = {task.name for task in schema.classes} if schema else set()
    found: dict[bool, list[tuple[str, dict]]] = {True: [], False: []}  # by whether relations are known
    seen: set[str] = set()
    for where, row in json_rows(path, report):
        whole = isinstance(row.get("data"), dict)
        data = row["data"] if whole else row
        text = _text_of(data, text_key, tasks, where, report)
        if text is None:
            continue
        results = _completed(row, where, report) if whole else _rebuilt(row, text, tasks, where, report)
        if results is None:
            continue
        name = data.get(RECORD_ID, row.get("id"))
        if not whole and name is not None and repr(name) in seen:
            report.lose("annotation of a further annotator", where)
            continue
        seen.add(repr(name))
        named = {} if name is None else {"id": name}
        found[whole].append((where, named | _Task(text, where, report).record(results)))
    report.finish()
    asked = [key for key in HELD if getattr(schema, key, ())]
    for whole, items in found.items():
        fill_keys([record for _, record in items], asked if whole else {"entities"}.intersection(asked))
        for where, record in items:
            yield report.take(record, where)


def _text_of(
    data: dict[str, Any], text_key: str, tasks: set[str], where: str, report: AlignmentReport
) -> str | None:
    strings = [
        key for key, value in data.items() if isinstance(value, str) and key not in (*OWN_KEYS, *tasks)
    ]
    key = text_key or ("text" if "text" in data or len(strings) != 1 else strings[0])
    if isinstance(data.get(key), str):
        return data[key]
    fix = "Check that --from names its format, or name the key with --set text_key=…"
    report.problem(where, key, data.get(key), f"no text (there are: {', '.join(strings) or 'none'})", fix)
    return None


def _completed(row: dict[str, Any], where: str, report: AlignmentReport) -> list[Any] | None:
    """The results of a task's first completed annotation; None, and counted, if it has none."""
    key = "annotations" if "annotations" in row else "completions"
    given = report.listed(row.get(key), key, where)
    report.lose(
        "annotation that is no object", where, given, sum(not isinstance(item, dict) for item in given)
    )
    given = [item for item in given if isinstance(item, dict)]
    done = [item for item in given if not (item.get("was_cancelled") or item.get("skipped"))]
    report.lose("annotation that was skipped", where, None, len(given) - len(done))
    if not done:
        report.lose("task without a completed annotation", where)
        return None
    report.lose("annotation of a further annotator", where, None, len(done) - 1)
    return report.listed(done[0].get("result"), "result", where)


def _rebuilt(
    row: dict[str, Any], text: str, tasks: set[str], where: str, report: AlignmentReport
) -> list[dict[str, Any]]:
    """The results of a JSON-MIN row as those of the full export; it has no relations."""
    results: list[dict[str, Any]] = []
    for key, value in row.items():
        if key in OWN_KEYS or value is text:
            continue
        if isinstance(value, dict) and "choices" in value:
            results.append({"from_name": key, "type": "choices", "value": value})
        elif key in tasks and isinstance(value, str | list):
            choices = {"choices": [value] if isinstance(value, str) else value}
            results.append({"from_name": key, "type": "choices", "value": choices})
        elif key == TRIGGERS and isinstance(value, list):
            report.lose("event: JSON-MIN has no arguments, export JSON", where, value, len(value))
        elif isinstance(value, list) and all(isinstance(item, dict) and "start" in item for item in value):
            results += [{"from_name": key, "type": "labels", "value": item} for item in value]
        elif isinstance(value, str | list):
            report.lose("field that is no label: if it is a choice, name its task in --schema", where, key)
    return results


class _Task:
    """The results of one annotation on their way to a record.

    Args:
        text: The text.
        where: The place of the task.
        report: Filled.
    """

    def __init__(self, text: str, where: str, report: AlignmentReport) -> None:
        self.text = text
        self.where = where
        self.report = report
        self.units: dict[int, int] | None = None  # UTF-16 positions, if the task counts in them
        self.regions: dict[Any, Region] = {}

    def record(self, results: list[Any]) -> dict[str, Any]:
        """The record, without its id."""
        results = [item if isinstance(item, dict) else {"value": item} for item in results]
        values = [item.get("value") for item in results if item.get("type") == "labels"]
        self.units = self.utf16([value for value in values if isinstance(value, dict)])
        record: dict[str, Any] = {"text": self.text}
        links = []
        for index, item in enumerate(results):
            kind, value = item.get("type"), item.get("value")
            if kind == "relation":
                links.append(item)
            elif kind == "labels" and isinstance(value, dict):
                self.add_region(repr(item["id"]) if "id" in item else index, item.get("from_name"), value)
            elif kind == "choices" and isinstance(value, dict) and "start" not in value:
                self.add_choices(record, item.get("from_name"), value)
            else:
                self.report.lose(f"result of type {kind!r}: not read", self.where, value)
        events = {
            name: {"type": region.labels[0], "trigger": region.mention, "arguments": []}
            for name, region in self.regions.items()
            if region.trigger and region.labels
        }
        relations = [found for link in links for found in self.relations(link, events)]
        if self.regions or "classes" not in record:
            record["entities"] = list(self.entities())
        if relations:
            record["relations"] = relations
        if events:
            record["events"] = list(events.values())
        return record

    def utf16(self, values: list[dict[str, Any]]) -> dict[int, int] | None:
        """The positions of UTF-16 units, if the words of a region show that offsets count in them."""
        positions = utf16_positions(self.text)
        if len(positions) == len(self.text) + 1 and max(positions) == len(self.text):
            return None
        for value in values:
            words, ends = _words(value), (value.get("start"), value.get("end"))
            if words and not covers(self.text, *ends, words):
                if covers(self.text, *(positions.get(end) for end in ends), words):
                    return positions
        return None

    def place(self, value: dict[str, Any]) -> dict[str, int] | None:
        """The place of a region; None, and counted, if its words are not in the text."""
        start, end, words = value.get("start"), value.get("end"), _words(value)
        if self.units is not None:
            moved = self.units.get(start), self.units.get(end)
            self.report.repair("offsets in UTF-16 units", self.where, words, int(moved != (start, end)))
            start, end = moved
        if words is None:
            inside = type(start) is int and type(end) is int and 0 <= start < end <= len(self.text)
            found = (start, end, None) if inside else None
        else:
            found = realign(self.text, start, end, words)
        if found is None:
            self.report.lose("region whose words are not in the text", self.where, value)
            return None
        if found[2]:
            self.report.repair(found[2], self.where, words)
        return {"start": found[0], "end": found[1]}

    def add_region(self, name: Any, control: Any, value: dict[str, Any]) -> None:
        """Add a region, or the labels of a further control to it."""
        region = self.regions.get(name)
        if region is None:
            mention = self.place(value)
            if mention is None:
                return
            region = self.regions[name] = Region(mention, trigger=control == TRIGGERS)
        region.labels += self.labels(value)

    def labels(self, value: dict[str, Any], key: str = "labels") -> list[str]:
        """The labels of a region, relation or choice."""
        return self.report.names(value.get(key), key, self.where)

    def add_choices(self, record: dict[str, Any], task: Any, value: dict[str, Any]) -> None:
        """Add the choices of a control for the whole text."""
        labels = self.labels(value, "choices")
        if clean_label(task) is None:
            self.report.lose("choice without the name of its control", self.where, value)
        else:
            record.setdefault("classes", {}).setdefault(clean_label(task), []).extend(labels)

    def entities(self) -> Iterator[dict[str, Any]]:
        """The entities: one for each label of a region."""
        for region in self.regions.values():
            if region.trigger:
                self.report.lose(
                    "further event type of a trigger",
                    self.where,
                    region.labels,
                    max(len(region.labels) - 1, 0),
                )
                continue
            if not region.labels and not region.linked:
                self.report.lose("region without a label", self.where, region.mention)
            for label in dict.fromkeys(region.labels):
                yield {"type": label, **region.mention}

    def relations(self, link: dict[str, Any], events: dict[Any, dict]) -> Iterator[dict[str, Any]]:
        """The relations of a link; one that begins in a trigger is an argument and added to the event."""
        names = [repr(link.get("from_id")), repr(link.get("to_id"))]
        labels = self.labels(link)
        if not labels or not all(name in self.regions for name in names):
            cause = "relation without a label" if not labels else "relation with an end that is no region"
            self.report.lose(cause, self.where, link)
            return
        direction = link.get("direction")
        if direction == "left":
            names.reverse()
        if direction == "bi":
            self.report.repair("relation in both directions: read as two", self.where, labels)
        for name in names:
            self.regions[name].linked = True
        for ends in [names, names[::-1]] if direction == "bi" else [names]:
            for label in labels:
                if ends[0] in events:
                    argument = {"role": label, **self.regions[ends[1]].mention}
                    events[ends[0]]["arguments"].append(argument)
                else:
                    yield {"type": label, "head": self.end(ends[0]), "tail": self.end(ends[1])}

    def end(self, name: Any) -> dict[str, Any]:
        """The mention of a region, with its type if it has exactly one label."""
        region = self.regions[name]
        typed = len(region.labels) == 1 and not region.trigger
        return ({"type": region.labels[0]} if typed else {}) | region.mention


def _words(value: dict[str, Any]) -> str | None:
    """The words of a region; Label Studio writes line breaks in them as two characters."""
    words = value.get("text")
    return words.replace("\\n", "\n") if isinstance(words, str) and words.strip() else None
