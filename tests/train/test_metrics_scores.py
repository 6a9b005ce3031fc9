import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_records import SCHEMA, TEXT

from ldnet.train.answer_metrics import F1_UNITS
from ldnet.train.metrics import (
    PRF,
    ROW_SHAPE,
    TASKS,
    ExtractionMetrics,
    mean_f1,
    scores_from_counts,
    scores_from_rows,
)

ANN, BOB = {"start": 0, "end": 3}, {"start": 4, "end": 7}
ACME = {"start": 10, "end": 14}


def person(mention):
    return {"type": "person", **mention}


def scored(pairs):
    metrics = ExtractionMetrics(SCHEMA)
    for pair in pairs:
        metrics.add(*pair)
    return metrics


def test_to_dict_known_data_gives_hand_computed_micro_and_macro():
    metrics = ExtractionMetrics(SCHEMA)
    gold = {"entities": [person(ANN), person(BOB), {"type": "organization", **ACME}]}
    metrics.add(gold, {"entities": [person(ANN), person(BOB), person(ACME)]})
    entities = metrics.to_dict()["tasks"]["entities"]
    assert entities["f1"] == pytest.approx(100 * 2 * 2 / (2 * 2 + 1 + 1))
    assert entities["labels"]["person"]["f1"] == pytest.approx(80.0)
    assert entities["labels"]["organization"] == PRF(0, 0, 1).to_dict()
    assert entities["macro_f1"] == pytest.approx(40.0)
    assert entities["interval"] == [pytest.approx(entities["f1"])] * 2  # one text: every draw is that text


def test_to_dict_of_classes_has_the_class_tasks_beside_the_micro_scores():
    metrics = ExtractionMetrics(SCHEMA)
    metrics.add(
        {"classes": {"topic": ["a"], "mood": ["a", "x"]}}, {"classes": {"topic": ["a"], "mood": ["x"]}}
    )
    metrics.add({"classes": {"topic": ["b"], "mood": []}}, {"classes": {"topic": ["c"]}})
    classes = metrics.to_dict(bootstrap=0)["tasks"]["classes"]
    assert classes["labels"].keys() == {"topic: a", "topic: b", "topic: c", "mood: a", "mood: x"}
    assert [classes[name] for name in ("tp", "fp", "fn")] == [2, 1, 2]
    assert list(classes["by_task"]) == ["topic", "mood"]
    topic, mood = classes["by_task"].values()
    assert (topic["accuracy"], topic["f1"], topic["texts"]) == (50.0, 50.0, 2)
    assert (mood["accuracy"], mood["precision"], mood["recall"]) == (50.0, 100.0, 50.0)
    assert topic["macro_f1"] == pytest.approx(100 / 3)
    assert topic["matthews"] == pytest.approx(100 * (1 * 2 - 1) / (2 * 2) ** 0.5)
    assert mood["matthews"] is None


def test_to_dict_of_answers_has_exact_match_and_both_kinds_of_questions():
    metrics = ExtractionMetrics(SCHEMA)
    found = [{"start": 2, "end": 10, "text": TEXT[2:10], "score": 0.9}]  # "The. cat"
    metrics.add({"text": TEXT, "answers": [{"start": 7, "end": 10}]}, {"answers": found})
    metrics.add({"text": TEXT, "answers": []}, {"answers": found})
    answers = metrics.to_dict(bootstrap=0)["tasks"]["answers"]
    assert answers == {
        "exact_match": 50.0,
        "f1": 50.0,
        "support": 2,
        "interval": None,
        "labels": {
            "answerable": {"exact_match": 100.0, "f1": 100.0, "support": 1},
            "unanswerable": {"exact_match": 0.0, "f1": 0.0, "support": 1},
        },
    }


def test_to_dict_names_arguments_and_qualifiers_with_what_they_belong_to():
    event = {"type": "attack", "trigger": ANN, "arguments": [{"role": "agent", **BOB}]}
    fact = {"type": "award", "head": ANN, "tail": BOB, "qualifiers": [{"type": "place", **ACME}]}
    metrics = scored([({"events": [event], "hyper_relations": [fact]}, {})])
    labels = {task: list(own["labels"]) for task, own in metrics.to_dict(bootstrap=0)["tasks"].items()}
    assert labels == {
        "hyper_relations": ["award: place"],
        "hyper_triples": ["award"],
        "triggers": ["attack"],
        "arguments": ["attack: agent"],
        "arguments_strict": ["attack: agent"],
    }


def test_to_dict_shows_discontinuous_mentions_only_where_there_are_some():
    split = {"start": 0, "end": 7, "fragments": [[0, 3], [4, 7]]}
    plain = [({"entities": [person(ANN)]}, {"entities": []})]
    assert list(scored(plain).to_dict(bootstrap=0)["tasks"]) == ["entities"]
    mixed = scored([*plain, ({"entities": []}, {"entities": [person(split)]})]).to_dict(bootstrap=0)["tasks"]
    assert mixed["entities_discontinuous"]["fp"] == 1
    assert mixed["entities"]["fp"] == mixed["entities"]["fn"] == 1


def counts_of(**rows):
    counts = np.zeros(ROW_SHAPE, dtype=int)
    for task, row in rows.items():
        counts[TASKS.index(task)] = row
    return counts


@pytest.mark.parametrize(
    ("rows", "mean"),
    [
        ({}, None),
        ({"entities": (1, 1, 1), "relations": (0, 3, 0)}, 50.0),  # no gold relation: not in the mean
        ({"entities": (1, 0, 0), "relations": (0, 0, 1), "relations_strict": (1, 0, 0)}, 50.0),
        ({"triggers": (1, 0, 0), "arguments": (0, 0, 1)}, 0.0),
        ({"triggers": (1, 0, 0), "arguments": (0, 1, 0)}, 100.0),  # no event has arguments
        ({"hyper_relations": (0, 1, 1), "hyper_triples": (1, 0, 0)}, 0.0),
        ({"hyper_triples": (1, 0, 0)}, 100.0),
        ({"answers": (0, F1_UNITS // 2, 2), "classes": (3, 1, 1), "spans": (1, 0, 0)}, (25 + 75 + 100) / 3),
        ({"entities": (1, 0, 1), "entities_discontinuous": (0, 0, 1)}, 200 / 3),
    ],
)
def test_mean_f1_is_over_the_kinds_of_structure_with_support(rows, mean):
    assert mean_f1(counts_of(**rows)) == (mean if mean is None else pytest.approx(mean))


def test_scores_from_rows_adds_the_rows_and_leaves_out_what_is_undefined():
    rows = np.stack([counts_of(entities=(3, 1, 1), answers=(1, F1_UNITS, 1)).reshape(-1)] * 2)
    assert scores_from_rows(rows) == {
        "entities_precision": 75.0,
        "entities_recall": 75.0,
        "entities_f1": 75.0,
        "answers_exact_match": 100.0,
        "answers_f1": 100.0,
        "f1": 87.5,
    }
    assert scores_from_rows(rows[:0]) == {"f1": 0.0}


def test_scores_from_counts_known_counts_give_named_scores():
    scores = scores_from_counts(counts_of(entities=(3, 1, 2), relations_strict=(0, 0, 4)))
    assert scores["entities_precision"] == 75.0
    assert scores["entities_recall"] == 60.0
    assert scores["relations_f1"] is None
    assert scores["relations_strict_f1"] == 0.0
    assert scores["answers_exact_match"] is None


def test_counts_of_a_wrong_shape_are_an_error():
    with pytest.raises(ValueError, match=r"shape \(9,\)"):
        scores_from_counts(np.zeros(9))
    with pytest.raises(ValueError, match=r"rows: shape \(2, 9\) is not \(texts, 36\)"):
        scores_from_rows(np.zeros((2, 9)))


RUN = st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["person", "organization"]))
RUNS = st.lists(RUN, min_size=1, max_size=6)


def spans_and_tags(runs):
    """Flat mentions and their IOB2 tags, from runs of (gap, length, type)."""
    found, tags = [], []
    for gap, length, label in runs:
        tags += ["O"] * gap
        found.append({"type": label, "start": len(tags), "end": len(tags) + length})
        tags += [f"B-{label}"] + [f"I-{label}"] * (length - 1)
    return found, tags


@given(st.lists(st.tuples(RUNS, RUNS), min_size=1, max_size=5))
def test_entities_flat_mentions_equal_seqeval(texts):
    seqeval = pytest.importorskip("seqeval.metrics")
    metrics = ExtractionMetrics(SCHEMA)
    tags: tuple[list, list] = ([], [])
    for sides in texts:
        (gold, gold_tags), (predicted, predicted_tags) = map(spans_and_tags, sides)
        metrics.add({"entities": gold}, {"entities": predicted})
        length = max(len(gold_tags), len(predicted_tags))
        for side, row in zip(tags, (gold_tags, predicted_tags), strict=True):
            side.append(row + ["O"] * (length - len(row)))
    found = metrics.to_dict(bootstrap=0)["tasks"]["entities"]
    for name in ("precision", "recall", "f1"):
        assert found[name] == pytest.approx(100 * getattr(seqeval, f"{name}_score")(*tags))
    assert found["macro_f1"] == pytest.approx(100 * seqeval.f1_score(*tags, average="macro"))
    report = seqeval.classification_report(*tags, output_dict=True, zero_division=0)
    for label, own in found["labels"].items():
        expected = report[label]
        assert [own["precision"] or 0, own["recall"] or 0, own["f1"], own["support"]] == pytest.approx(
            [100 * expected["precision"], 100 * expected["recall"], 100 * expected["f1-score"],
             expected["support"]]
        )  # fmt: skip
