"""Trivial baselines to hold a model against: words remembered from training, and the most frequent class.

`python -m ldnet.train.baselines --train a.jsonl --dev b.jsonl` prints what `ldnet evaluate` would of a model.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import typer

from ldnet.processing.schema import Schema
from ldnet.train.cli import run_guarded
from ldnet.train.metrics import count_tasks, scores_from_rows
from ldnet.train.parsing import parse_arguments
from ldnet.train.sources import load_source

WORD = re.compile(r"\w+|[^\w\s]")
LONGEST = 8  # words of a remembered mention
MARKED_SHARE = 0.5  # of its occurrences a phrase must have been marked to count as a mention


@dataclass
class BaselineArguments:
    """What to remember and what to score on."""

    train: str = field(metadata={"help": "Record file to remember."})
    dev: str = field(metadata={"help": "Record file to score on."})
    data_root: str = field(default="", metadata={"help": "Folder that relative paths start from."})


def mentions_of(record: dict) -> Iterator[tuple[str, dict]]:
    """Every typed mention of a record, the arguments of events and facts included.

    Args:
        record: A record.

    Yields:
        What the mention is (`entities: person`, `events: attack`, `roles: attack: place`, ...), and it.
    """
    for entity in record.get("entities") or ():
        yield f"entities: {entity['type']}", entity
    for span in record.get("spans") or ():
        yield "spans", span
    for event in record.get("events") or ():
        yield f"events: {event['type']}", event["trigger"]
        for argument in event["arguments"]:
            yield f"roles: {event['type']}: {argument['role']}", argument
    for fact in record.get("hyper_relations") or ():
        for qualifier in fact["qualifiers"]:
            yield f"qualifiers: {fact['type']}: {qualifier['type']}", qualifier


class Memory:
    """What a training set says about single words: longest match for mentions, pairs for relations.

    Args:
        records: Training records.
    """

    def __init__(self, records: Sequence[dict]):
        marked: dict[str, Counter] = defaultdict(Counter)
        self.relations: dict[str, dict[tuple[str, str], str]] = {"relations": {}, "hyper_relations": {}}
        self.classes: dict[str, Counter] = defaultdict(Counter)
        seen: Counter = Counter()
        for record in records:
            text = record["text"]
            for kind, mention in mentions_of(record):
                marked[_phrase(text, mention)][kind] += 1
            for structure, pairs in self.relations.items():
                for relation in record.get(structure) or ():
                    pair = _phrase(text, relation["head"]), _phrase(text, relation["tail"])
                    pairs[pair] = relation["type"]
            for task, names in (record.get("classes") or {}).items():
                self.classes[task].update(names)
        for record in records:
            seen.update(phrase for phrase, _, _ in _phrases(record["text"]) if phrase in marked)
        self.phrases = {
            phrase: [kind for kind, count in kinds.items() if count >= MARKED_SHARE * max(seen[phrase], 1)]
            for phrase, kinds in marked.items()
        }
        self.records = len(records)

    def matches(self, text: str, prefix: str) -> list[tuple[str, dict]]:
        """Longest remembered phrases of a text, left to right, without overlaps.

        Args:
            text: The text.
            prefix: Start of the kinds to look for.

        Returns:
            The rest of the kind, and the mention.
        """
        found, end_of_last = [], 0
        for phrase, start, end in sorted(_phrases(text), key=lambda x: (x[1], -x[2])):
            kinds = [kind for kind in self.phrases.get(phrase, ()) if kind.startswith(prefix)]
            if kinds and start >= end_of_last:
                end_of_last = end
                mention = {"start": start, "end": end, "text": text[start:end], "score": 1.0}
                found += [(kind.removeprefix(prefix), dict(mention)) for kind in kinds]
        return found

    def predict(self, record: dict, schema: Schema) -> dict:
        """A result for a record: remembered mentions and pairs, the most frequent classes, no answer."""
        text = record["text"]
        result: dict = {"text": text}
        if schema.entities:
            result["entities"] = [{"type": name, **x} for name, x in self.matches(text, "entities: ")]
        if schema.relations:
            result["relations"] = list(self._pairs(text, "relations"))
        if schema.hyper_relations:
            result["hyper_relations"] = [
                {**fact, "qualifiers": self._parts(text, f"qualifiers: {fact['type']}: ", "type")}
                for fact in self._pairs(text, "hyper_relations")
            ]
        if schema.events:
            result["events"] = [
                {
                    "type": name,
                    "trigger": trigger,
                    "arguments": self._parts(text, f"roles: {name}: ", "role"),
                    "score": 1.0,
                }
                for name, trigger in self.matches(text, "events: ")
            ]
        if schema.classes:
            result["classes"] = {
                task.name: self._usual(task.name, task.multi_label) for task in schema.classes
            }
        if schema.question is not None:
            result["answers"] = []
        if schema.spans:
            result["spans"] = [x for _, x in self.matches(text, "spans")]
        return result

    def _parts(self, text: str, prefix: str, key: str) -> list[dict]:
        return [{key: name, **mention} for name, mention in self.matches(text, prefix)]

    def _pairs(self, text: str, structure: str) -> Iterator[dict]:
        places: dict[str, dict] = {}
        for phrase, start, end in _phrases(text):
            places.setdefault(phrase, {"start": start, "end": end, "text": text[start:end], "score": 1.0})
        for (head, tail), name in self.relations[structure].items():
            if head in places and tail in places:
                yield {"type": name, "head": places[head], "tail": places[tail], "score": 1.0}

    def _usual(self, task: str, multi_label: bool) -> list[dict]:
        counts = self.classes[task].most_common()
        names = [name for name, count in counts if 2 * count > self.records] or [
            name for name, _ in counts[:1]
        ]
        return [{"label": name, "score": 1.0} for name in (names if multi_label else names[:1])]


def _phrases(text: str) -> Iterator[tuple[str, int, int]]:
    words = [(match.start(), match.end()) for match in WORD.finditer(text)]
    for first in range(len(words)):
        for last in range(first, min(first + LONGEST, len(words))):
            start, end = words[first][0], words[last][1]
            yield text[start:end].casefold(), start, end


def _phrase(text: str, mention: dict) -> str:
    return text[mention["start"] : mention["end"]].casefold()


def baseline_scores(train: Sequence[dict], dev: Iterable[dict], schema: Schema) -> dict[str, float]:
    """Scores of a memory of the training set.

    Args:
        train: Records to remember.
        dev: Records to score on.
        schema: What is asked for.

    Returns:
        Micro scores of every task, as in training.
    """
    memory = Memory(train)
    rows = [np.stack(count_tasks(gold, memory.predict(gold, schema), schema)).reshape(-1) for gold in dev]
    return scores_from_rows(np.stack(rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the module.

    Args:
        argv: Its arguments; the process's own by default.

    Returns:
        Exit code.
    """
    (args,) = parse_arguments((BaselineArguments,), argv, "ldnet.train.baselines", __doc__ or "")
    source, train = load_source(args.train, args.data_root)
    _, dev = load_source(args.dev, args.data_root)
    scores = baseline_scores(train, dev, source.schema)
    typer.echo(json.dumps({name: round(value, 2) for name, value in scores.items()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_guarded(main))
