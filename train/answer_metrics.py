"""Answers to questions: exact match and F1 of SQuAD 2.0."""

import re
import string
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ldnet.train.metric_counts import percent

# F1 of a question is counted in whole units of this size, so that sums are exact in any order.
F1_UNITS = 10**9
ANSWERABLE, UNANSWERABLE = "answerable", "unanswerable"
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class AnswerCounts:
    """Counts of questions; they add up, over texts as well as over shards.

    Args:
        exact: Questions answered exactly.
        overlap: Sum of their F1, in `F1_UNITS`.
        questions: All questions.
    """

    exact: int = 0
    overlap: int = 0
    questions: int = 0

    def __add__(self, other: "AnswerCounts") -> "AnswerCounts":
        return AnswerCounts(
            self.exact + other.exact, self.overlap + other.overlap, self.questions + other.questions
        )

    @property
    def row(self) -> tuple[int, int, int]:
        """The counts as numbers: what a trainer gathers and a bootstrap draws."""
        return self.exact, self.overlap, self.questions

    @property
    def support(self) -> int:
        """Questions."""
        return self.questions

    @property
    def exact_match(self) -> float | None:
        """Share of the questions that were answered exactly, 0-100; `None` without questions."""
        return percent(self.exact, self.questions)

    @property
    def f1(self) -> float | None:
        """Mean F1 over the questions, 0-100; `None` without questions."""
        return percent(self.overlap, self.questions * F1_UNITS)

    def scores(self) -> dict[str, float | None]:
        """The scores under their names, 0-100."""
        return {"exact_match": self.exact_match, "f1": self.f1}

    def to_dict(self) -> dict[str, float | int | None]:
        """Scores and support under their names."""
        return {**self.scores(), "support": self.support}

    @staticmethod
    def f1_parts(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean F1 of many sums of rows.

        Args:
            sums: Array of shape `(samples, 3)`: exact, overlap, questions.

        Returns:
            Numerator and denominator of F1, both of shape `(samples,)`.
        """
        return sums[:, 1] / F1_UNITS, sums[:, 2]


def normalize_answer(text: str) -> str:
    """What two equal answers have in common: no case, ASCII punctuation, English articles, extra white space.

    As in the official script of SQuAD 2.0, https://rajpurkar.github.io/SQuAD-explorer/.

    Args:
        text: An answer.

    Returns:
        Its words, joined by single spaces.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(gold: str, predicted: str) -> bool:
    """Whether two answers are equal when normalised."""
    return normalize_answer(gold) == normalize_answer(predicted)


def answer_f1(gold: str, predicted: str) -> float:
    """F1 of the words of two normalised answers, 0-1; two answers without words are equal."""
    words, found = normalize_answer(gold).split(), normalize_answer(predicted).split()
    if not words or not found:
        return float(words == found)
    same = sum((Counter(words) & Counter(found)).values())
    return 2 * same / (len(words) + len(found))


def answer_text(answer: dict, text: str) -> str:
    """The words of an answer: its own `text`, else what its offsets cover.

    Args:
        answer: An answer of a record or a result.
        text: The text that it stands in.

    Returns:
        The words.
    """
    if answer.get("text") is not None:
        return answer["text"]
    pieces = answer.get("fragments") or [(answer["start"], answer["end"])]
    return " ".join(text[start:end] for start, end in pieces)


def best_answer(predicted: dict) -> dict | None:
    """The answer of a result that counts: the first, as they stand best first; `None` = no answer."""
    answers = predicted.get("answers") or ()
    return answers[0] if answers else None


def count_answers(gold: dict, predicted: dict) -> dict[str, AnswerCounts]:
    """Score the best answer of a result against every alternative of gold; the closest alternative counts.

    As the `squad_v2` metric: an unanswerable question is right if and only if nothing is answered, and an
    answer without words (an article, a full stop) is none.

    Args:
        gold: A record with `text` and `answers`.
        predicted: A result for its text.

    Returns:
        The counts of its question under `"answerable"` or `"unanswerable"`.
    """
    text = gold.get("text") or ""
    best = best_answer(predicted)
    found = "" if best is None else answer_text(best, text)
    alternatives = [answer_text(answer, text) for answer in gold["answers"]]
    worded = [words for words in alternatives if normalize_answer(words)] or [""]
    exact = any(exact_match(words, found) for words in worded)
    overlap = max(answer_f1(words, found) for words in worded)
    kind = ANSWERABLE if alternatives else UNANSWERABLE
    return {kind: AnswerCounts(int(exact), round(overlap * F1_UNITS), 1)}
