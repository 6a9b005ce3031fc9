"""Scored structures against gold: what a calibration is fitted on and judged by."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ldnet.processing.calibration import ALWAYS_KEPT, Calibration, TaskCalibration, without_ends
from ldnet.processing.schema import Schema
from ldnet.processing.schema_types import NESTED, STRUCTURES
from ldnet.train import metric_keys
from ldnet.train.answer_metrics import answer_f1, answer_text, exact_match, normalize_answer
from ldnet.train.metric_keys import Asked, Key, label_text

ANSWER = "answer"
LOW_LINKS = 0.1  # lower adds structures that hardly any score lets pass, and time
HIGH_LINKS = (0.5, 0.7)  # fine-tuned models are surer than they should be; higher, recall is lost
# Key of a result -> its tasks, in the order of what needs what: relations take types from entities, an
# argument needs its trigger, a qualifier its fact. Links are cut alike for all tasks of a key.
GROUPS = {
    "entities": ("entities",),
    "spans": ("spans",),
    "answers": ("answers",),
    "classes": (ALWAYS_KEPT, "multi_label_classes"),
    "relations": ("relations",),
    "hyper_relations": ("hyper_relations", "qualifiers"),
    "events": ("events", "arguments"),
}


@dataclass
class ScoredStructures:
    """Structures of one task that were found in texts.

    Args:
        scores (`np.ndarray` of shape `(n,)`): Their scores, in [0, 1].
        correct (`np.ndarray` of shape `(n,)`): 1.0 where a structure is gold, else 0.0.
        labels (`np.ndarray` of shape `(n,)`): Their labels, by name; `owner: name` of roles, qualifiers and
            classes.
        texts (`np.ndarray` of shape `(n,)`): The text of each, as its place in `gold`.
        gold: Of each text that counts, the gold structures of each label, found or not.
        gains (`np.ndarray` of shape `(n,)`): What keeping an answer adds to the F1 of its question (may be
            negative); 0 for other tasks.
        silent (`np.ndarray` of shape `(len(gold),)`): The F1 of each question if nothing is answered; empty
            for other tasks.
    """

    scores: np.ndarray
    correct: np.ndarray
    labels: np.ndarray
    texts: np.ndarray
    gold: list[Counter[str]]
    gains: np.ndarray
    silent: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def support(self) -> Counter[str]:
        """Gold structures of each label."""
        return sum(self.gold, Counter())

    def part(self, chosen: np.ndarray) -> "ScoredStructures":
        """Those of some of the texts; `chosen` is a boolean array of shape `(len(gold),)`."""
        mask = chosen[self.texts]
        columns = (getattr(self, name)[mask] for name in ("scores", "correct", "labels"))
        texts = (np.cumsum(chosen) - 1)[self.texts[mask]]
        gold = [count for count, use in zip(self.gold, chosen, strict=True) if use]
        silent = self.silent[chosen] if len(self.silent) else self.silent
        return ScoredStructures(*columns, texts, gold, self.gains[mask], silent)


@dataclass
class _Rows:
    """Structures as they are collected, text by text."""

    rows: list[tuple[float, bool, str, int, float]] = field(default_factory=list)
    gold: list[Counter[str]] = field(default_factory=list)
    silent: list[float] = field(default_factory=list)

    def arrays(self) -> ScoredStructures:
        scores, correct, labels, texts, gains = zip(*self.rows, strict=True) if self.rows else ((),) * 5
        return ScoredStructures(
            np.array(scores, dtype=float),
            np.array(correct, dtype=float),
            np.array(labels, dtype=object),
            np.array(texts, dtype=int),
            self.gold,
            np.array(gains, dtype=float),
            np.array(self.silent, dtype=float),
        )

    def add(self, found: dict[Key, float], gold: set[Key]) -> None:
        """Structures of one text by what makes them equal; the first part of a key is the label."""
        place = len(self.gold)
        self.rows += [(score, key in gold, label_text(key[0]), place, 0.0) for key, score in found.items()]
        self.gold.append(Counter(label_text(key[0]) for key in gold))


def _whole(item: dict) -> Iterator[tuple[dict, float]]:
    yield item, item["score"]


def _parts(name: str) -> Callable[[dict], Iterator[tuple[dict, float]]]:
    """Structures with one of their parts each, which is what has the score."""

    def parts(item: dict) -> Iterator[tuple[dict, float]]:
        yield from ((item | {name: [part]}, part["score"]) for part in item.get(name) or ())

    return parts


# Task -> key of the record, what makes two structures equal, and the scored parts of an item.
_SOURCES = {
    "entities": ("entities", metric_keys.entity_keys, _whole),
    "relations": ("relations", metric_keys.relation_keys, _whole),
    "hyper_relations": ("hyper_relations", metric_keys.hyper_triple_keys, _whole),
    "qualifiers": ("hyper_relations", metric_keys.hyper_relation_keys, _parts("qualifiers")),
    "events": ("events", metric_keys.trigger_keys, _whole),
    "arguments": ("events", metric_keys.strict_argument_keys, _parts("arguments")),
    "spans": ("spans", metric_keys.span_keys, _whole),
}


def collect_structures(
    task: str, texts: Iterable[tuple[dict[str, Any], dict[str, Any], Asked]]
) -> ScoredStructures:
    """Scored structures of one task; what counts as equal, and in which texts, is as in `ldnet evaluate`.

    Args:
        task: A name of `ldnet.processing.calibration.TASKS`. An argument is right with its event's trigger, a
            qualifier with its fact; an answer if it equals one of the alternatives.
        texts: Of each text the record, a result with scores, and what was asked.

    Returns:
        The structures, each key of a text once (with its best score).
    """
    rows = _Rows()
    for gold, result, asked in texts:
        if task == "answers":
            _add_answers(rows, gold, result, asked)
        elif task.endswith("_classes"):
            _add_classes(rows, gold, result, asked, single=task == ALWAYS_KEPT)
        else:
            _add_structures(rows, gold, result, asked, task)
    return rows.arrays()


def _add_structures(rows: _Rows, gold: dict, result: dict, asked: Asked, task: str) -> None:
    structure, keys_of, parts_of = _SOURCES[task]
    if not asked.scores(gold, structure):
        return
    right, items = asked.sides(gold, result, structure)
    found: dict[Key, float] = {}
    for item in items:
        for part, score in parts_of(item):
            for key in keys_of([part], asked):
                found[key] = max(score, found.get(key, 0.0))
    rows.add(found, set(keys_of(right, asked)))


def _add_classes(rows: _Rows, gold: dict, result: dict, asked: Asked, *, single: bool) -> None:
    for name, right, chosen in asked.class_sides(gold, result):
        if asked.items["classes"][name].multi_label == single:
            continue
        items = (result.get("classes") or {}).get(name) or ()
        scores = {((name, item["label"]),): item["score"] for item in items if item["label"] in chosen}
        rows.add(scores, {((name, label),) for label in right})


def _add_answers(rows: _Rows, gold: dict, result: dict, asked: Asked) -> None:
    """All answers are scored; only the best one counts as the answer to the question (SQuAD 2.0)."""
    if not asked.scores(gold, "answers"):
        return
    text = gold.get("text") or ""
    given = [answer_text(answer, text) for answer in gold["answers"]]
    worded = [words for words in given if normalize_answer(words)] or [""]
    silent = max(answer_f1(other, "") for other in worded)
    for rank, answer in enumerate(result.get("answers") or ()):
        words = answer_text(answer, text)
        right = bool(given) and any(exact_match(other, words) for other in worded)
        gain = 0.0 if rank else max(answer_f1(other, words) for other in worded) - silent
        rows.rows.append((answer["score"], right, ANSWER, len(rows.gold), gain))
    rows.gold.append(Counter({ANSWER: int(bool(given))}))
    rows.silent.append(silent)


@dataclass(frozen=True)
class Extracted:
    """Texts of one data set with what was found in them.

    Args:
        name: The data set, for reports.
        schema: What was asked.
        records: Gold.
        raw: For each link threshold that may be chosen the results of all records, with raw scores and
            without declared head and tail types (`processing.calibration.without_ends`).
        default: The one of them that the checkpoint cuts at without a calibration.
    """

    name: str
    schema: Schema
    records: Sequence[dict[str, Any]]
    raw: Mapping[float, Sequence[dict[str, Any]]]
    default: float

    def part(self, index: Sequence[int]) -> "Extracted":
        """Some of the texts."""
        raw = {link: [results[i] for i in index] for link, results in self.raw.items()}
        return replace(self, records=[self.records[i] for i in index], raw=raw)

    def results(self, calibration: Calibration) -> Iterator[dict[str, Any]]:
        """What extraction with a calibration finds in each text; without tasks, what it finds without one."""
        fitted = calibration.tasks
        links = {key: next((fitted[t] for t in tasks if t in fitted), None) for key, tasks in GROUPS.items()}
        for i, result in enumerate(self.raw[self.default]):
            chosen = {
                key: self.raw[task.link_threshold][i][key]
                for key, task in links.items()
                if task is not None and key in result
            }
            yield calibration.apply(result | chosen, self.schema)


def structures_of(task: str, sets: Sequence[Extracted], calibration: Calibration) -> ScoredStructures:
    """All structures of a task that the links give, with raw scores; other tasks are decided.

    Args:
        task: Name of the task.
        sets: Texts.
        calibration: How links are cut, and other tasks decided.

    Returns:
        The structures of all sets.
    """
    links = calibration.tasks[task].link_threshold
    # The scale 1 and bias 0 give the raw scores back, but for the last digits.
    tasks = calibration.tasks | {task: TaskCalibration(link_threshold=links)}
    undecided = replace(calibration, tasks=tasks)
    return collect_structures(
        task,
        (
            (record, result, asked)
            for of_set, asked in ((of_set, Asked(of_set.schema)) for of_set in sets)
            for record, result in zip(of_set.records, of_set.results(undecided), strict=True)
        ),
    )


def _without_threshold(item: Any) -> Any:
    fields = {key: tuple(map(_without_threshold, getattr(item, key))) for key in NESTED if hasattr(item, key)}
    return replace(item, **fields, **({"threshold": None} if hasattr(item, "threshold") else {}))


def extract_raw(
    name: str, records: Sequence[dict[str, Any]], schema: Schema, pipe: Any, **options: Any
) -> Extracted:
    """Extract from every text at the checkpoint's own link threshold, at `LOW_LINKS` and at `HIGH_LINKS`.

    Args:
        name: The data set, for reports.
        records: Checked records; where the schema asks a question, a record's own question is asked.
        schema: What to ask; thresholds that its labels have are left aside, as they stand above any that is
            fitted.
        pipe: The pipeline; a calibration that it has is left aside too.
        **options: Of the pipeline.

    Returns:
        The texts with what was found.
    """
    schema = replace(
        schema, **{key: tuple(map(_without_threshold, getattr(schema, key))) for key in STRUCTURES}
    )
    processor = pipe.processor
    used, processor.calibration = processor.calibration, None
    try:
        raw = {
            links: list(
                pipe(_inputs(records, schema), schema=without_ends(schema), threshold=links, **options)
            )
            for links in link_thresholds(processor.threshold)
        }
    finally:
        processor.calibration = used
    return Extracted(name, schema, records, raw, processor.threshold)


def link_thresholds(default: float) -> list[float]:
    """The link thresholds that a calibration chooses from, ascending.

    Args:
        default: The checkpoint's own.

    Returns:
        That one, `LOW_LINKS` if it is lower, and those of `HIGH_LINKS` that are higher.
    """
    return sorted({default, min(default, LOW_LINKS)} | {links for links in HIGH_LINKS if links > default})


def _inputs(records: Sequence[dict[str, Any]], schema: Schema) -> Iterator[str | dict[str, str]]:
    for record in records:
        question = None if schema.question is None else record.get("question")
        yield record["text"] if question is None else {"text": record["text"], "question": question}
