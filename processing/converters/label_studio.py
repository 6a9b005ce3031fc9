"""Label Studio: tasks with pre-annotations of records or results, and the labeling configuration of a schema.

Corrected tasks come back with `label_studio_export`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from ldnet.processing.converters.files import dump_json, open_text
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import pieces_of
from ldnet.processing.converters.writing import lose_other, name_of
from ldnet.processing.schema import Schema

# Names in the labeling configuration; an export repeats them in each result.
TEXT, LABELS, TRIGGERS = "text", "label", "trigger"
RECORD_ID = "record_id"  # the record's own id in a task's data, where `id` is Label Studio's
HELD = ("entities", "relations", "events", "classes")


def tasks_from_results(
    results: Iterable[dict[str, Any]],
    report: AlignmentReport | None = None,
    *,
    model_version: str = "ldnet",
) -> list[dict[str, Any]]:
    """Make tasks to import, in which what was found is marked already.

    Offsets count characters, as Label Studio does (its old versions counted UTF-16 units). The score of a
    task is that of its least sure structure: sorted by it, the texts come first that need correction most.

    Args:
        results (`Iterable[dict]`): Results of extraction, or records.
        report (`AlignmentReport`, *optional*): Gets what a task cannot hold (discontinuous mentions, …).
        model_version (`str`): What Label Studio calls the source of the marks.

    Returns:
        Tasks: `{"data": {"text": …}, "predictions": [{"result": […], "score": …, "model_version": …}]}`; a
        text of which nothing is known has no prediction.
    """
    report = AlignmentReport(TEXT) if report is None else report
    return [
        _task_of(record, name_of(record, index), model_version, report)
        for index, record in enumerate(results)
    ]


def _task_of(
    record: dict[str, Any], where: str, model_version: str, report: AlignmentReport
) -> dict[str, Any]:
    lose_other(record, set(HELD), "Label Studio", where, report)
    task: dict[str, Any] = {"data": {TEXT: record["text"]}}
    if record.get("id") is not None:
        task["data"][RECORD_ID] = record["id"]
    if all(record.get(key) is None for key in HELD):
        report.count({})
        return task
    marks = _Marks(record, where, report)
    report.count(marks.held)
    prediction: dict[str, Any] = {"model_version": model_version, "result": marks.regions + marks.links}
    if marks.scores:
        prediction["score"] = min(marks.scores)
    return task | {"predictions": [prediction]}


class _Marks:
    """The regions of a text and the relations between them.

    Args:
        record: A record or result.
        where: What it is called in the report.
        report: Filled.
    """

    def __init__(self, record: dict[str, Any], where: str, report: AlignmentReport) -> None:
        self.text = record["text"]
        self.where = where
        self.report = report
        self.regions: list[dict[str, Any]] = []
        self.links: list[dict[str, Any]] = []
        self.scores: list[float] = []
        self.held: dict[str, list] = {key: [] for key in HELD}
        self.at: dict[tuple, list[tuple[str | None, str]]] = {}  # pieces -> (type, id of region)
        for entity in record.get("entities") or ():
            if self.region(entity, entity["type"], LABELS) is not None:
                self.held["entities"].append(entity)
        for relation in record.get("relations") or ():
            self.relation(relation)
        for event in record.get("events") or ():
            self.event(event)
        for task, holding in (record.get("classes") or {}).items():
            # Results say a score with each class, records only its name.
            names = [label["label"] if isinstance(label, dict) else label for label in holding]
            self.regions.append(self.item(f"c{len(self.regions)}", task, "choices", {"choices": names}))
            self.scores += [label["score"] for label in holding if isinstance(label, dict)]
            self.held["classes"].append(task)

    def item(self, name: str, control: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """A result of Label Studio."""
        return {"id": name, "from_name": control, "to_name": TEXT, "type": kind, "value": value}

    def region(self, mention: dict[str, Any], label: str | None, control: str) -> str | None:
        """Mark a mention; the id of its region, None if it cannot be marked."""
        if mention.get("fragments"):
            self.report.lose("discontinuous mention", self.where, mention)
            return None
        start, end = mention["start"], mention["end"]
        value = {"start": start, "end": end, "text": self.text[start:end]}
        region = self.item(f"r{len(self.regions)}", control, "labels", value)
        value["labels"] = [label] if label else []
        if mention.get("score") is not None:
            region["score"] = mention["score"]
            self.scores.append(mention["score"])
        self.regions.append(region)
        if control == LABELS:
            self.at.setdefault(pieces_of(mention), []).append((label, region["id"]))
        return region["id"]

    def find(self, mention: dict[str, Any]) -> str | None:
        """The region of an end or argument; it is marked where there is none."""
        wanted = mention.get("type")
        for label, name in self.at.get(pieces_of(mention), ()):
            if wanted is None or label == wanted:
                return name
        name = self.region(mention, wanted, LABELS)
        self.report.repair(
            "end or argument that is no entity: marked as region", self.where, mention, int(name is not None)
        )
        return name

    def link(self, source: str | None, target: str | None, label: str, value: Any) -> bool:
        """Relate two regions; False, and counted, if one could not be marked."""
        if source is None or target is None:
            self.report.lose("relation or argument with a mention that cannot be marked", self.where, value)
            return False
        ends = {"from_id": source, "to_id": target, "type": "relation", "direction": "right"}
        self.links.append(ends | {"labels": [label]})
        return True

    def relation(self, relation: dict[str, Any]) -> None:
        """Mark a relation."""
        ends = [self.find(relation[end]) for end in ("head", "tail")]
        if self.link(*ends, relation["type"], relation):
            self.held["relations"].append(relation)
            self.scores += [relation["score"]] if relation.get("score") is not None else []

    def event(self, event: dict[str, Any]) -> None:
        """Mark a trigger, with a relation for each argument."""
        trigger = self.region(event["trigger"], event["type"], TRIGGERS)
        if trigger is None:
            return
        self.held["events"].append(event)
        for argument in event.get("arguments") or ():
            self.link(trigger, self.find(argument), argument["role"], argument)


def label_config(schema: Schema) -> str:
    """The labeling configuration in which the tasks of a schema are corrected.

    Args:
        schema (`Schema`): What was extracted.

    Returns:
        XML for "Labeling Interface → Code"; a task of `classes` is a control of its own.
    """
    roles = [role for event in schema.events for role in event.roles]
    relations = {label.name: label for label in (*schema.relations, *roles)}
    lines = ["<View>", "  <Style>.htx-text { white-space: pre-wrap; }</Style>"]
    lines += _control("Relations", {}, "Relation", relations.values())
    lines += _control("Labels", {"name": LABELS, "toName": TEXT}, "Label", schema.entities)
    lines += _control("Labels", {"name": TRIGGERS, "toName": TEXT}, "Label", schema.events)
    for task in schema.classes:
        choice = "multiple" if task.multi_label else "single"
        attributes = {"name": task.name, "toName": TEXT, "choice": choice, "showInLine": "true"}
        lines += _control("Choices", attributes, "Choice", task.labels)
    return "\n".join([*lines, f'  <Text name="{TEXT}" value="${TEXT}"/>', "</View>", ""])


def _control(tag: str, attributes: dict[str, str], item: str, labels: Iterable[Any]) -> list[str]:
    """A control with its labels; nothing if there are none."""
    rows = []
    for label in labels:
        own = {"value": label.name} | ({"hint": label.description} if label.description else {})
        rows.append(f"    <{item}{_attributes(own)}/>")
    return [f"  <{tag}{_attributes(attributes)}>", *rows, f"  </{tag}>"] if rows else []


def _attributes(values: dict[str, str]) -> str:
    return "".join(f" {name}={quoteattr(value)}" for name, value in values.items())


def write_label_studio(records: Iterable[dict[str, Any]], path: str | Path, report: AlignmentReport) -> None:
    """Write tasks with pre-annotations, to import.

    Args:
        records (`Iterable[dict]`): Records in our format, or results of extraction.
        path (`str` or `Path`): The `.json` file; `-` is stdout.
        report (`AlignmentReport`): Filled.

    Raises:
        OSError: If it cannot be written.
    """
    tasks = tasks_from_results(records, report)
    with open_text(path) as file:
        file.write(dump_json(tasks, indent=1) + "\n")
