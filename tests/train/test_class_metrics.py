from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldnet.processing.schema import ClassTask
from ldnet.train.class_metrics import ClassScores, chosen_classes, macro_f1, matthews
from ldnet.train.metric_counts import PRF

LABELS = ("a", "b", "c")
SINGLE = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=12)
SETS = st.sets(st.sampled_from(LABELS))
MULTI = st.lists(st.tuples(SETS, SETS), min_size=1, max_size=12)


def scored(pairs, multi_label):
    scores = ClassScores(multi_label)
    for gold, predicted in pairs:
        scores.add(set(gold), set(predicted))
    return scores


@settings(max_examples=20)
@given(SINGLE)
def test_single_label_scores_equal_scikit_learn(pairs):
    sklearn = pytest.importorskip("sklearn.metrics")
    gold, predicted = zip(*pairs, strict=True)
    found = scored(pairs, multi_label=False).to_dict(bootstrap=0)
    assert found["accuracy"] == pytest.approx(100 * sklearn.accuracy_score(gold, predicted))
    assert found["f1"] == pytest.approx(found["accuracy"])  # one class each: micro F1 is accuracy
    assert found["macro_f1"] == pytest.approx(
        100 * sklearn.f1_score(gold, predicted, average="macro", zero_division=0)
    )
    undefined = len(set(gold)) == 1 or len(set(predicted)) == 1
    expected = None if undefined else pytest.approx(100 * sklearn.matthews_corrcoef(gold, predicted))
    assert found["matthews"] == expected
    assert found["texts"] == len(pairs)


@settings(max_examples=20)
@given(MULTI)
def test_multi_label_scores_equal_scikit_learn(pairs):
    sklearn = pytest.importorskip("sklearn.metrics")
    gold, predicted = ([[int(label in side[i]) for label in LABELS] for side in pairs] for i in range(2))
    found = scored(pairs, multi_label=True).to_dict(bootstrap=0)
    assert found["accuracy"] == pytest.approx(100 * sklearn.accuracy_score(gold, predicted))
    assert found["matthews"] is None
    if found["f1"] is not None:
        micro = sklearn.f1_score(gold, predicted, average="micro", zero_division=0)
        assert found["f1"] == pytest.approx(100 * micro)
        used = [i for i in range(3) if any(row[i] for row in (*gold, *predicted))]
        macro = sklearn.f1_score(gold, predicted, average="macro", labels=used, zero_division=0)
        assert found["macro_f1"] == pytest.approx(100 * macro)


@settings(max_examples=20)
@given(MULTI, st.integers(0, 12), st.booleans())
def test_merge_of_shards_equals_the_whole(pairs, cut, multi_label):
    if not multi_label:
        pairs = [(sorted(gold)[:1], sorted(predicted)[:1]) for gold, predicted in pairs]
    whole, first = scored(pairs, multi_label), scored(pairs[:cut], multi_label)
    first.merge(scored(pairs[cut:], multi_label))
    assert first.to_dict(bootstrap=10) == whole.to_dict(bootstrap=10)


def test_matthews_known_confusion_gives_the_hand_computed_value():
    confusion = Counter({("+", "+"): 6, ("+", "-"): 2, ("-", "+"): 1, ("-", "-"): 3})
    assert matthews(confusion) == pytest.approx(100 * (6 * 3 - 2 * 1) / (8 * 4 * 7 * 5) ** 0.5)


@pytest.mark.parametrize("pairs", [[], [("a", "a")], [("a", "a"), ("a", "b")], [("a", "b"), ("b", "b")]])
def test_matthews_of_one_class_is_undefined(pairs):
    assert matthews(Counter(pairs)) is None


def test_a_text_without_prediction_counts_as_wrong():
    found = scored([("a", "a"), ("b", "")], multi_label=False).to_dict(bootstrap=0)
    assert (found["accuracy"], found["precision"], found["recall"]) == (50.0, 100.0, 50.0)
    assert found["matthews"] == pytest.approx(50.0)  # no prediction is a class of its own here


def test_chosen_classes_of_a_single_label_task_is_the_best_scored_one():
    items = [{"label": "a", "score": 0.2}, {"label": "b", "score": 0.7}]
    assert chosen_classes(items, ClassTask("t", ("a", "b"))) == {"b"}
    assert chosen_classes(items, ClassTask("t", ("a", "b"), multi_label=True)) == {"a", "b"}
    assert chosen_classes(["a", "b"], ClassTask("t", ("a", "b"))) == {"a"}
    assert chosen_classes([], ClassTask("t", ("a", "b"))) == set()


def test_macro_f1_leaves_out_labels_that_nobody_used():
    assert macro_f1([PRF(tp=1), PRF(fn=1), PRF()]) == 50.0
    assert macro_f1([PRF()]) is None
