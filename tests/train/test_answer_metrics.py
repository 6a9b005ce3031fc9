import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldnet.train.answer_metrics import (
    F1_UNITS,
    AnswerCounts,
    answer_text,
    best_answer,
    count_answers,
    normalize_answer,
)
from ldnet.train.metric_counts import bootstrap_interval

# The official evaluation of SQuAD 2.0 (evaluate-v2.0.py, and `squad_v2` of `evaluate`, which is that script),
# written down again as an oracle: questions in, percentages out.


def official_words(text):
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def official_question(alternatives, prediction):
    """Exact match and F1 of one question; `alternatives` are texts, empty for no answer."""
    golds = [gold for gold in alternatives if official_words(gold)] or [""]
    exact, f1 = [], []
    for gold in golds:
        right, found = official_words(gold), official_words(prediction)
        exact.append(int(" ".join(right) == " ".join(found)))
        if not right or not found:
            f1.append(int(right == found))
            continue
        rest, common = list(found), 0
        for word in right:
            if word in rest:
                rest.remove(word)
                common += 1
        precision, recall = common / len(found), common / len(right)
        f1.append(2 * precision * recall / (precision + recall) if common else 0)
    return max(exact), max(f1)


def official(questions):
    scores = [official_question(*question) for question in questions]
    return [100.0 * sum(column) / len(scores) for column in zip(*scores, strict=True)]


VOCABULARY = ("the", "The.", "a", "cat", "Cat!", "dog's", "dogs", "1,000", "1000", "–", "北京", "an", ".")
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=4).map(" ".join)
PREDICTIONS = st.one_of(st.just(""), WORDS)
QUESTIONS = st.lists(st.tuples(st.lists(WORDS, max_size=3), PREDICTIONS), min_size=1, max_size=6)


def as_records(alternatives, prediction):
    """A record and a result whose answers are these texts; an empty prediction is no answer."""
    gold = {"text": "", "answers": [{"start": 0, "end": 0, "text": text} for text in alternatives]}
    found = [{"start": 0, "end": 0, "text": prediction, "score": 0.9}] if prediction else []
    return gold, {"answers": found}


def total(questions):
    counted = [count_answers(*as_records(*question)) for question in questions]
    return sum((counts for of_kind in counted for counts in of_kind.values()), AnswerCounts())


@given(QUESTIONS)
def test_exact_match_and_f1_equal_the_official_script(questions):
    counts = total(questions)
    assert counts.questions == len(questions)
    assert [counts.exact_match, counts.f1] == pytest.approx(official(questions), abs=1e-6)


@given(QUESTIONS)
def test_answerable_and_unanswerable_questions_equal_the_official_parts(questions):
    for kind, own in (
        ("answerable", [q for q in questions if q[0]]),
        ("unanswerable", [q for q in questions if not q[0]]),
    ):
        found = [count_answers(*as_records(*question)) for question in own]
        assert all(counts.keys() == {kind} for counts in found)
        scores = sum((counts[kind] for counts in found), AnswerCounts())
        assert scores.support == len(own)
        if own:
            assert [scores.exact_match, scores.f1] == pytest.approx(official(own), abs=1e-6)


@given(st.text())
def test_normalize_answer_equals_the_official_one(text):
    assert normalize_answer(text) == " ".join(official_words(text))


@pytest.mark.parametrize(
    ("alternatives", "prediction", "exact", "f1"),
    [
        (["the cat"], "Cat.", 1, 1.0),
        (["black cat", "cat"], "cat", 1, 1.0),  # the closest alternative counts
        (["the black cat"], "black dog", 0, 0.5),
        (["cat"], "", 0, 0.0),
        ([], "", 1, 1.0),
        ([], "cat", 0, 0.0),
        ([], "the", 1, 1.0),  # an article alone is no answer, says the official script
        (["the"], "", 1, 1.0),
    ],
)
def test_count_answers_known_cases(alternatives, prediction, exact, f1):
    (counts,) = count_answers(*as_records(alternatives, prediction)).values()
    assert counts == AnswerCounts(exact, round(f1 * F1_UNITS), 1)


def test_count_answers_only_the_first_answer_counts():
    gold = {"text": "one two", "answers": [{"start": 4, "end": 7}]}
    one, two = {"start": 0, "end": 3, "text": "one"}, {"start": 4, "end": 7, "text": "two"}
    assert count_answers(gold, {"answers": [two, one]})["answerable"].exact == 1
    assert count_answers(gold, {"answers": [one, two]})["answerable"].exact == 0
    assert best_answer({}) is None


def test_answer_text_without_text_is_what_the_offsets_cover():
    assert answer_text({"start": 4, "end": 7}, "one two") == "two"
    pieces = {"start": 0, "end": 7, "fragments": [[0, 1], [4, 7]]}
    assert answer_text(pieces, "one two") == "o two"


def test_scores_of_no_question_are_undefined():
    assert AnswerCounts().to_dict() == {"exact_match": None, "f1": None, "support": 0}


def test_interval_of_answers_is_that_of_their_mean_f1():
    rows = np.array([AnswerCounts(0, F1_UNITS // 2, 1).row] * 7)
    assert bootstrap_interval(rows, 50, 0, AnswerCounts) == [50.0, 50.0]
    mixed = np.array([AnswerCounts(1, F1_UNITS, 1).row] * 30 + [AnswerCounts(0, 0, 1).row] * 30)
    low, high = bootstrap_interval(mixed, 500, 0, AnswerCounts)
    assert 30 < low < 45 < 55 < high < 70
