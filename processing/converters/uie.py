"""UIE of PaddleNLP, a prompt a row (`content`, `prompt`, `result_list`); rows of the T5 version as well."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import check_keys, json_rows
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import clean_label, pieces_of, realign
from ldnet.processing.converters.uie_tokens import record_of_tokens

TRIGGER = "触发词"  # PaddleNLP's name for the trigger of an event type: "地震触发词"
OPTIONS = re.compile(r"(.*)\[(.+)\]")  # a classification: "情感倾向[正向,负向]"
PROMPT_ROW = {"content": str, "prompt": str, "result_list": list}
TOKEN_ROW = {"tokens": list}


def read_uie(path: str | Path, report: AlignmentReport, *, separator: str = " ") -> Iterator[dict[str, Any]]:
    """Read either kind of UIE file.

    PaddleNLP asks one prompt a row; the rows of one text make one record, whose own `labels` are what was
    asked. A prompt "X的Y" or "Y of X" is a relation Y from X if another prompt found X in the text.
    Entities that are triggers ("…触发词") and their relations become events.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Filled.
        separator (`str`): What joins tokens to a text where the row's own text is no help.

    Yields:
        Records; of prompts, in the order of each text's first row.

    Raises:
        ConversionError: With every row of neither kind.
        OSError: If the file cannot be read.
    """
    texts: dict[str, list[tuple[str, dict]]] = {}
    for where, row in json_rows(path, report):
        if "tokens" in row:
            if check_keys(row, TOKEN_ROW, where, report):
                yield report.take(record_of_tokens(row, separator, where, report), where)
        elif check_keys(row, PROMPT_ROW, where, report):
            texts.setdefault(row["content"], []).append((where, row))
    report.finish()
    for text, rows in texts.items():
        yield report.take(_Prompts(text, rows, report).record(), rows[0][0])


class _Prompts:
    """All that was asked of one text.

    Args:
        text: The text.
        rows: Its rows with their places.
        report: Filled.
    """

    def __init__(self, text: str, rows: list[tuple[str, dict]], report: AlignmentReport) -> None:
        self.text = text
        self.rows = rows
        self.report = report
        self.entities: list[dict[str, Any]] = []
        self.relations: list[dict[str, Any]] = []
        self.classes: dict[str, list[str]] = {}
        self.labels: dict[str, Any] = {"entities": [], "relations": [], "classes": {}}

    def record(self) -> dict[str, Any]:
        """The record."""
        later = []
        for where, row in self.rows:
            prompt = row["prompt"].strip()
            if match := OPTIONS.fullmatch(prompt):
                self.add_class(match, row["result_list"], where)
            elif any(_splits(prompt)):
                later.append((where, prompt, row["result_list"]))
            elif prompt:
                self.add_entities(prompt, row["result_list"], where)
            else:
                self.report.lose("row without a prompt", where)
        # An entity type may hold the word that parts a relation; the known mentions decide.
        relations = [item for item in later if self.subject_of(item[1])]
        for where, prompt, results in later:
            if not self.subject_of(prompt):
                self.add_entities(prompt, results, where)
        for where, prompt, results in relations:
            self.add_relations(prompt, results, where)
        return self.built()

    def subject_of(self, prompt: str) -> tuple[str, str] | None:
        """Words of an entity and the relation asked of it; None if the prompt is no such question."""
        words = {self.text[entity["start"] : entity["end"]] for entity in self.entities}
        return next((split for split in _splits(prompt) if split[0] in words), None)

    def mentions(self, results: list, where: str) -> Iterator[dict[str, Any]]:
        """The mentions of a row's results."""
        for result in results:
            words = result.get("text") if isinstance(result, dict) else None
            if not isinstance(words, str):
                self.report.lose("result without words", where, result)
                continue
            found = realign(self.text, result.get("start"), result.get("end"), words)
            if found is None:
                self.report.lose("result that is not in its text", where, words)
                continue
            if found[2]:
                self.report.repair(found[2], where, words)
            yield {"start": found[0], "end": found[1]}

    def add_entities(self, label: str, results: list, where: str) -> None:
        """Add the results of a prompt that is an entity type."""
        self.labels["entities"].append(label)
        self.entities += [{"type": label, **mention} for mention in self.mentions(results, where)]

    def add_relations(self, prompt: str, results: list, where: str) -> None:
        """Add the results of a prompt that asks for the other end of a relation."""
        subject, label = self.subject_of(prompt)
        self.labels["relations"].append(label)
        heads = [e for e in self.entities if self.text[e["start"] : e["end"]] == subject]
        if len({pieces_of(head) for head in heads}) > 1:
            self.report.repair("subject that stands in several places: the nearest is taken", where, prompt)
        for tail in self.mentions(results, where):
            head = min(heads, key=lambda entity: abs(entity["start"] - tail["start"]))
            tail = next((e for e in self.entities if pieces_of(e) == pieces_of(tail)), tail)
            self.relations.append({"type": label, "head": head, "tail": tail})

    def add_class(self, match: re.Match, results: list, where: str) -> None:
        """Add the results of a prompt with options."""
        task = clean_label(match[1]) or "class"
        options = [label for label in map(clean_label, re.split("[,，]", match[2])) if label]
        holding = [clean_label(result.get("text")) for result in results if isinstance(result, dict)]
        known = [label for label in holding if label in options]
        self.report.lose("class that is no option of its prompt", where, holding, len(results) - len(known))
        self.classes[task] = list(dict.fromkeys([*self.classes.get(task, []), *known]))
        self.labels["classes"][task] = list(dict.fromkeys([*self.labels["classes"].get(task, []), *options]))

    def built(self) -> dict[str, Any]:
        """The record of what was added."""
        record: dict[str, Any] = {"text": self.text}
        labels = {key: list(dict.fromkeys(names)) for key, names in self.labels.items() if key != "classes"}
        triggers = [label for label in labels["entities"] if label.endswith(TRIGGER) and label != TRIGGER]
        if triggers:
            record["events"] = list(self.events(triggers))
            labels["events"] = [label.removesuffix(TRIGGER) for label in triggers]
            labels["entities"] = [label for label in labels["entities"] if label not in triggers]
        entities = [entity for entity in self.entities if entity["type"] not in triggers]
        relations = [item for item in self.relations if item["head"].get("type") not in triggers]
        used = {relation["type"] for relation in relations}
        labels["relations"] = [label for label in labels["relations"] if label in used or not triggers]
        if labels["entities"]:
            record["entities"] = entities
        if labels["relations"]:
            record["relations"] = relations
        if self.classes:
            record["classes"], labels["classes"] = self.classes, self.labels["classes"]
        labels = {key: names for key, names in labels.items() if names}
        return record | ({"labels": labels} if labels else {})

    def events(self, triggers: list[str]) -> Iterator[dict[str, Any]]:
        """The events of entities that are triggers."""
        for entity in self.entities:
            if entity["type"] in triggers:
                own = [relation for relation in self.relations if relation["head"] is entity]
                yield {
                    "type": entity["type"].removesuffix(TRIGGER),
                    "trigger": _place(entity),
                    "arguments": [{"role": item["type"], **_place(item["tail"])} for item in own],
                }


def _place(mention: dict[str, Any]) -> dict[str, Any]:
    return {"start": mention["start"], "end": mention["end"]}


def _splits(prompt: str) -> Iterator[tuple[str, str]]:
    """The ways to read a prompt as subject and relation: "X的Y" and "Y of X"."""
    for match in re.finditer("的", prompt):
        if clean_label(prompt[: match.start()]) and clean_label(prompt[match.end() :]):
            yield prompt[: match.start()], prompt[match.end() :].strip()
    for match in re.finditer(r"\bof\b", prompt):
        if clean_label(prompt[: match.start()]) and clean_label(prompt[match.end() :]):
            yield prompt[match.end() :].strip(), prompt[: match.start()].strip()
