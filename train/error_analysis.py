"""What went wrong: every gold and every predicted structure gets one kind of error, text by text."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ldnet.processing.schema import Schema
from ldnet.train.answer_metrics import answer_text, best_answer, count_answers, normalize_answer
from ldnet.train.metric_check import check_predicted
from ldnet.train.metric_keys import Asked, Key, Pieces, Sides, compare_tasks, pieces_of

CORRECT, BOUNDARY, LABEL, BOTH = "correct", "wrong boundary", "wrong label", "both wrong"
MISSED, SPURIOUS, UNREACHABLE = "missed", "spurious", "out of reach"
KINDS = (CORRECT, BOUNDARY, LABEL, BOTH, MISSED, SPURIOUS, UNREACHABLE)
# Strict and partial views of a task would list its errors again.
ANALYSED = (
    "entities", "relations", "hyper_relations", "hyper_triples", "triggers", "arguments", "spans", "answers",
    "classes",
)  # fmt: skip
ANSWER = "answer"  # the label of answers


@dataclass(frozen=True)
class Finding:
    """A gold structure, a predicted one, or a pair of the two that belong together.

    Args:
        task: The task that scores them.
        kind: One of `KINDS`.
        gold: Key of the gold structure (`metric_keys`); `None` = spurious.
        predicted: Key of the predicted one; `None` = nothing was found for it.
    """

    task: str
    kind: str
    gold: Key | None
    predicted: Key | None


@dataclass(frozen=True)
class AnalysedText:
    """The findings of a text.

    Args:
        name: Its id, or what else it is called.
        text: The text.
        findings: In text order.
    """

    name: str
    text: str
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether anything is not correct."""
        return any(finding.kind != CORRECT for finding in self.findings)


def overlap_of(gold: Pieces, predicted: Pieces) -> int:
    """Characters that two mentions share.

    Args:
        gold: Fragments of a mention.
        predicted: Fragments of another one.

    Returns:
        Their number.
    """
    return sum(
        max(0, min(end, other_end) - max(start, other_start))
        for start, end in gold
        for other_start, other_end in predicted
    )


def _rank(gold: Key, predicted: Key) -> tuple[int, int, str] | None:
    """How well an unequal pair fits (less is better), and what is wrong; `None` if it does not belong."""
    if gold[1:] == predicted[1:]:
        return 0, 0, LABEL
    shared = [overlap_of(*places) for places in zip(gold[1:], predicted[1:], strict=True)]
    if not all(shared):
        return None
    return (1, -sum(shared), BOUNDARY) if gold[0] == predicted[0] else (2, -sum(shared), BOTH)


def _in_text_order(key: Key) -> tuple:
    return key[1:], key[0]


def match_keys(
    task: str, gold: set[Key], predicted: set[Key], out_of_reach: Collection[Key]
) -> list[Finding]:
    """Pair gold and predicted structures of a task, one to one.

    Equal ones first; then equal places with another label, equal labels with overlapping places, overlapping
    places with another label, each with the longest overlap first; ties go to the first in the text. Places
    overlap if all of a structure's mentions do. What is left is missed or spurious.

    Args:
        task: The task.
        gold: Keys of the gold structures.
        predicted: Keys of the predicted ones.
        out_of_reach: Gold that no model could find with this representation: what is wrong with it has this
            cause, also where something near it was found.

    Returns:
        The findings, in text order.
    """
    findings = [Finding(task, CORRECT, key, key) for key in gold & predicted]
    waiting = sorted(gold - predicted, key=_in_text_order)
    spurious = sorted(predicted - gold, key=_in_text_order)
    pairs = [
        (*rank, i, j)
        for i, right in enumerate(waiting)
        for j, found in enumerate(spurious)
        if (rank := _rank(right, found)) is not None
    ]
    partner: dict[int, tuple[str, int]] = {}
    taken: set[int] = set()
    for _, _, kind, i, j in sorted(pairs, key=lambda pair: (*pair[:2], *pair[3:])):
        if i not in partner and j not in taken:
            partner[i] = (kind, j)
            taken.add(j)
    for i, key in enumerate(waiting):
        kind, j = partner.get(i, (MISSED, None))
        kind = UNREACHABLE if key in out_of_reach else kind
        findings.append(Finding(task, kind, key, None if j is None else spurious[j]))
    findings += [Finding(task, SPURIOUS, None, key) for j, key in enumerate(spurious) if j not in taken]
    return sorted(findings, key=lambda finding: _in_text_order(finding.gold or finding.predicted))


def _answer_keys(gold: dict, predicted: dict) -> Sides:
    """The alternative that is nearest to the predicted answer, and that answer; equal where the words are."""
    text, best = gold.get("text") or "", best_answer(predicted)
    worded = [answer for answer in gold["answers"] if normalize_answer(answer_text(answer, text))]
    alternatives = [(ANSWER, _place(answer)) for answer in worded or gold["answers"]]
    found = set() if best is None else {(ANSWER, _place(best))}
    (counts,) = count_answers(gold, predicted).values()
    if counts.exact:  # also for the same words elsewhere in the text; and no answer has no place
        return (found, found) if alternatives else (set(), set())
    if best is not None:
        alternatives.sort(key=lambda key: -overlap_of(key[1], _place(best)))
    return set(alternatives[:1]), found


def _place(answer: dict) -> Pieces:
    return pieces_of(answer) if answer.get("start") is not None else ()


def _class_findings(gold: dict, predicted: dict, asked: Asked, lost: Collection[Key]) -> Iterator[Finding]:
    """Classes of one text: another class of a single-label task is a wrong label."""
    for name, *sides in asked.class_sides(gold, predicted):
        keys = [{((name, label),) for label in side} for side in sides]
        if not asked.items["classes"][name].multi_label:
            yield from match_keys("classes", *keys, lost)
            continue
        for key in sorted(keys[0] | keys[1]):
            yield from match_keys("classes", keys[0] & {key}, keys[1] & {key}, lost)


def analyse_record(
    gold: dict, predicted: dict, asked: Asked, out_of_reach: Collection[tuple[str, Key]] = ()
) -> list[Finding]:
    """Every gold and every predicted structure of a text with what is wrong with it.

    Args:
        gold: A record.
        predicted: A result for its text.
        asked: What was asked.
        out_of_reach: Task and key of gold that this representation cannot express (`unreachable`).

    Returns:
        The findings, task by task in text order.

    Raises:
        PredictionError: If predicted labels are not in the schema.
    """
    check_predicted(predicted, asked)
    lost: dict[str, set[Key]] = {}
    for task, key in out_of_reach:
        lost.setdefault(task, set()).add(key)
    findings = []
    for task, *sides in compare_tasks(gold, predicted, asked):
        if task.name in ANALYSED and task.name != "classes":
            findings += match_keys(task.name, *sides, lost.get(task.name, ()))
    if asked.scores(gold, "answers"):
        findings += match_keys("answers", *_answer_keys(gold, predicted), lost.get("answers", ()))
    if asked.scores(gold, "classes"):
        findings += _class_findings(gold, predicted, asked, lost.get("classes", ()))
    return findings


def unreachable(gold: dict, oracle: dict, schema: Schema) -> set[tuple[str, Key]]:
    """Gold structures that even an oracle does not give back.

    Args:
        gold: A record.
        oracle: What a model with perfect links would find (`oracle_extraction`); structures for which it has
            no key are left out of the account. `{}` = the text cannot be read at all.
        schema: What is asked.

    Returns:
        Task and key of each.
    """
    asked = Asked(schema)
    lost = {
        (task.name, key)
        for task, right, found in compare_tasks(gold, oracle, asked)
        if task.name in ANALYSED and (not oracle or task.structure in oracle)
        for key in right - found
    }
    if asked.scores(gold, "answers") and (not oracle or "answers" in oracle):
        found = {_place(answer) for answer in oracle.get("answers") or ()}
        places = [_place(answer) for answer in gold["answers"]]
        lost |= {("answers", (ANSWER, place)) for place in places if place not in found}
    return lost


def beyond_windows(gold: dict, windows: Sequence[tuple[int, int]], schema: Schema) -> set[tuple[str, Key]]:
    """Gold structures that lie whole in none of the windows in which a text is read.

    Args:
        gold: A record.
        windows: First character of each window, and the one behind its last.
        schema: What is asked.

    Returns:
        Task and key of each.
    """

    def fits(key: Key) -> bool:
        edges = [edge for place in key[1:] for piece in place for edge in piece]
        return not edges or any(start <= min(edges) and max(edges) <= end for start, end in windows)

    return {(task, key) for task, key in unreachable(gold, {}, schema) if not fits(key)}


class ErrorAnalysis:
    """Adds up the errors of texts and keeps the texts that have some.

    Args:
        schema: What was asked of every text.
    """

    def __init__(self, schema: Schema):
        self.schema = schema
        self.texts = 0
        self.counts: dict[str, Counter[str]] = {}
        self.wrong: list[AnalysedText] = []
        self._asked = Asked(schema)

    def add(
        self,
        gold: dict,
        predicted: dict,
        out_of_reach: Collection[tuple[str, Key]] = (),
        name: str = "",
    ) -> None:
        """Analyse a text.

        Args:
            gold: A record.
            predicted: A result for its text.
            out_of_reach: Task and key of gold that no model could find (`unreachable`, `beyond_windows`).
            name: What to call a record without `id`.

        Raises:
            PredictionError: If predicted labels are not in the schema; nothing is counted then.
        """
        findings = analyse_record(gold, predicted, self._asked, out_of_reach)
        self.texts += 1
        for finding in findings:
            self.counts.setdefault(finding.task, Counter())[finding.kind] += 1
        own = gold.get("id")
        found = AnalysedText(str(name if own is None else own), gold.get("text") or "", tuple(findings))
        if found.has_errors:
            self.wrong.append(found)

    def merge(self, other: "ErrorAnalysis") -> None:
        """Add the texts of another shard.

        Args:
            other: Analysis with the same schema.

        Raises:
            ValueError: If its schema is another one.
        """
        if other.schema != self.schema:
            raise ValueError("errors: the shards were analysed with different schemas; analyse them with one")
        self.texts += other.texts
        self.wrong.extend(other.wrong)
        for task, counts in other.counts.items():
            self.counts.setdefault(task, Counter()).update(counts)

    def to_dict(self) -> dict[str, Any]:
        """The counts.

        Returns:
            `{task: {kind: n}}` with every kind of `KINDS`, for tasks in which there was anything.
        """
        return {
            task: {kind: self.counts[task][kind] for kind in KINDS}
            for task in ANALYSED
            if task in self.counts
        }


def errors_table(counts: dict[str, dict[str, int]]) -> Table:
    """How often each kind of error occurs.

    Args:
        counts: What `ErrorAnalysis.to_dict` gives.

    Returns:
        A table with a row a kind and a column a task.
    """
    table = Table()
    table.add_column("errors")
    for task in counts:
        table.add_column(task.replace("_", " "), justify="right")
    for kind in KINDS:
        table.add_row(kind, *(f"{own[kind]:,}" for own in counts.values()))
    return table
