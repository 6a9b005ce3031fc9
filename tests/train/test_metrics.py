import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_records import PAIRS, RECORDS, SCHEMA, slow_counts

from ldnet.processing.schema import Schema
from ldnet.train.answer_metrics import count_answers
from ldnet.train.metrics import (
    PRF,
    TASKS,
    AnswerCounts,
    ExtractionMetrics,
    PredictionError,
    compare_record,
    count_record,
    count_tasks,
    scores_from_rows,
)

ANN, BOB = {"start": 0, "end": 3}, {"start": 4, "end": 7}
ACME = {"start": 10, "end": 14}


def person(mention):
    return {"type": "person", **mention}


def relation(label, head, tail):
    return {"type": label, "head": head, "tail": tail}


@settings(max_examples=50)
@given(PAIRS)
def test_count_tasks_equals_pairwise_comparison(pair):
    gold, predicted = pair
    for task, row in zip(TASKS, count_tasks(*pair, SCHEMA).tolist(), strict=True):
        if task == "answers":
            counted = count_answers(*pair) if "answers" in gold else {}
            assert AnswerCounts(*row) == sum(counted.values(), AnswerCounts())
        else:
            assert row == slow_counts(task, gold, predicted)


@settings(max_examples=25)
@given(PAIRS)
def test_count_record_per_label_adds_up_to_count_tasks(pair):
    by_task = count_record(*pair, SCHEMA)
    for task, row in zip(TASKS, count_tasks(*pair, SCHEMA).tolist(), strict=True):
        none = AnswerCounts() if task == "answers" else PRF()
        assert sum(by_task.get(task, {}).values(), none).row == tuple(row)


@settings(max_examples=20)
@given(PAIRS)
def test_compare_record_gives_the_structures_that_count(pair):
    counts = count_record(*pair, SCHEMA)
    found = {task: PRF.of_sets(*sides) for task, *sides in compare_record(*pair, SCHEMA)}
    for task, total in found.items():
        assert total == sum(counts[task].values(), PRF())
    assert counts.keys() - found.keys() <= {"answers", "entities_discontinuous"}


def scored(pairs):
    metrics = ExtractionMetrics(SCHEMA)
    for pair in pairs:
        metrics.add(*pair)
    return metrics


@settings(max_examples=25)
@given(st.lists(PAIRS, max_size=6), st.integers(0, 6))
def test_merge_of_shards_equals_the_whole(pairs, cut):
    whole, first, second = scored(pairs), scored(pairs[:cut]), scored(pairs[cut:])
    other_order = ExtractionMetrics(SCHEMA)
    other_order.merge(second)
    other_order.merge(first)
    first.merge(second)
    assert whole.to_dict(bootstrap=20) == first.to_dict(bootstrap=20) == other_order.to_dict(bootstrap=20)
    assert whole.texts == len(pairs)


@settings(max_examples=25)
@given(st.lists(PAIRS, max_size=6))
def test_scores_from_added_rows_equal_the_micro_scores(pairs):
    rows = np.array([count_tasks(*pair, SCHEMA).reshape(-1) for pair in pairs]).reshape(-1, 3 * len(TASKS))
    scores = scores_from_rows(rows)
    for task, own in scored(pairs).to_dict(bootstrap=0)["tasks"].items():
        for name in ("precision", "recall", "f1", "exact_match"):
            assert scores.get(f"{task}_{name}") == own.get(name)


@settings(max_examples=20)
@given(st.lists(PAIRS, min_size=1, max_size=6))
def test_every_task_with_a_score_has_an_interval(pairs):
    report = scored(pairs).to_dict(bootstrap=50)
    classes = report["tasks"].get("classes", {}).get("by_task", {})
    for scores in (*report["tasks"].values(), *classes.values()):
        assert (scores["interval"] is None) == (scores["f1"] is None)
        if scores["f1"] is not None:
            assert 0 <= scores["interval"][0] <= scores["interval"][1] <= 100


@settings(max_examples=20)
@given(PAIRS)
def test_interval_of_one_text_is_its_score(pair):
    for scores in scored([pair]).to_dict(bootstrap=20)["tasks"].values():
        if scores["f1"] is not None:
            assert scores["interval"] == [pytest.approx(scores["f1"])] * 2


@settings(max_examples=20)
@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_gold_as_prediction_scores_100_wherever_there_is_gold(records):
    report = scored([(record, record) for record in records]).to_dict(bootstrap=0)
    assert all(own["f1"] in (None, 100.0) for task, own in report["tasks"].items() if task != "answers")
    assert all(own["accuracy"] == 100.0 for own in report["tasks"]["classes"]["by_task"].values())


def test_merge_with_itself_doubles_the_counts():
    metrics = ExtractionMetrics(SCHEMA)
    metrics.add({"entities": [person(ANN)]}, {"entities": [person(ANN), person(BOB)]})
    metrics.merge(metrics)
    entities = metrics.to_dict()["tasks"]["entities"]
    assert (metrics.texts, entities["tp"], entities["fp"]) == (2, 2, 2)


def test_merge_of_another_schema_is_an_error():
    with pytest.raises(ValueError, match="different schemas"):
        ExtractionMetrics(SCHEMA).merge(ExtractionMetrics(Schema.from_any(["person"])))


def test_count_record_absent_key_is_not_scored_and_empty_list_is():
    predicted = {"entities": [person(ANN)], "relations": []}
    assert count_record({"relations": []}, predicted, SCHEMA) == {"relations": {}, "relations_strict": {}}
    assert count_record({"entities": None}, predicted, SCHEMA) == {}
    assert count_record({"entities": []}, predicted, SCHEMA) == {
        "entities": {"person": PRF(fp=1)},
        "entities_discontinuous": {},
    }


def test_count_record_one_fragment_equals_no_fragments_but_more_do_not():
    gold = {"entities": [person({"start": 0, "end": 7, "fragments": [[0, 3], [4, 7]]})]}
    extent = {"entities": [person({"start": 0, "end": 7})]}
    assert count_record(gold, extent, SCHEMA)["entities"]["person"] == PRF(0, 1, 1)
    whole = {"entities": [person({"start": 0, "end": 7, "fragments": [[0, 7]]})]}
    assert count_record(extent, whole, SCHEMA)["entities"]["person"] == PRF(1, 0, 0)


def test_count_record_fragments_of_an_argument_count():
    pieces = {"start": 0, "end": 7, "fragments": [[0, 3], [4, 7]]}
    gold = {"relations": [relation("works for", pieces, ACME)]}
    predicted = {"relations": [relation("works for", {"start": 0, "end": 7}, ACME)]}
    assert count_record(gold, predicted, SCHEMA)["relations"] == {"works for": PRF(0, 1, 1)}


def test_count_record_directed_relation_swapped_is_wrong_symmetric_is_right():
    ann, bob = person(ANN), person(BOB)
    for label, expected in (("works for", PRF(0, 1, 1)), ("married to", PRF(1, 0, 0))):
        gold, predicted = ({"relations": [relation(label, *ends)]} for ends in ((ann, bob), (bob, ann)))
        counts = count_record(gold, predicted, SCHEMA)
        assert counts["relations"][label] == expected
        assert counts["relations_strict"][label] == expected


def test_count_record_symmetric_relation_in_both_directions_counts_once():
    both = {"relations": [relation("married to", person(ANN), person(BOB)), relation("married to", BOB, ANN)]}
    one = {"relations": [relation("married to", person(BOB), person(ANN))]}
    assert count_record(both, one, SCHEMA)["relations"] == {"married to": PRF(1, 0, 0)}
    assert count_record(one, both, SCHEMA)["relations"] == {"married to": PRF(1, 0, 0)}


def test_count_record_symmetric_relation_with_swapped_types_is_right_but_not_strictly():
    gold = {"relations": [relation("married to", person(ANN), {"type": "organization", **BOB})]}
    predicted = {"relations": [relation("married to", {"type": "organization", **ANN}, person(BOB))]}
    counts = count_record(gold, predicted, SCHEMA)
    assert counts["relations"] == {"married to": PRF(1, 0, 0)}
    assert counts["relations_strict"] == {"married to": PRF(0, 1, 1)}


def test_count_record_wrong_argument_type_fails_only_the_strict_task():
    gold = {"relations": [relation("works for", person(ANN), {"type": "organization", **ACME})]}
    predicted = {"relations": [relation("works for", person(ANN), {"type": None, **ACME})]}
    counts = count_record(gold, predicted, SCHEMA)
    assert counts["relations"] == {"works for": PRF(1, 0, 0)}
    assert counts["relations_strict"] == {"works for": PRF(0, 1, 1)}


def test_count_record_untyped_gold_end_accepts_any_type():
    gold = {"relations": [relation("works for", ANN, {"type": "organization", **ACME})]}
    predicted = {"relations": [relation("works for", person(ANN), {"type": "organization", **ACME})]}
    assert count_record(gold, predicted, SCHEMA)["relations_strict"] == {"works for": PRF(1, 0, 0)}
    predicted["relations"][0]["tail"]["type"] = "person"
    assert count_record(gold, predicted, SCHEMA)["relations_strict"] == {"works for": PRF(0, 1, 1)}


def test_count_record_schema_without_entities_scores_no_types():
    gold = {"entities": [person(ANN)], "relations": [relation("works for", person(ANN), person(BOB))]}
    predicted = {"relations": [relation("works for", ANN, BOB)]}
    counts = count_record(gold, predicted, Schema.from_any({"relations": ["works for"]}))
    assert counts == {"relations": {"works for": PRF(1, 0, 0)}}


def test_count_record_gold_label_outside_the_schema_is_not_asked():
    gold = {"entities": [person(ANN), {"type": "place", **BOB}]}
    counts = count_record(gold, {"entities": [person(ANN)]}, SCHEMA)
    assert counts["entities"] == {"person": PRF(1, 0, 0)}


def test_count_record_predicted_label_outside_the_schema_is_an_error():
    with pytest.raises(
        PredictionError, match=r"entity type 'Person' is not in the schema.*Did you mean 'person'"
    ):
        count_record({"entities": []}, {"entities": [{"type": "Person", **ANN}]}, SCHEMA)
    with pytest.raises(ValueError, match="prediction for x-1: relation 'employs'"):
        count_tasks({}, {"id": "x-1", "relations": [relation("employs", ANN, BOB)]}, SCHEMA)


def test_add_refused_prediction_leaves_the_counts_unchanged():
    metrics = ExtractionMetrics(SCHEMA)
    with pytest.raises(ValueError, match="not in the schema"):
        metrics.add({"entities": []}, {"entities": [{"type": "x", **ANN}]})
    assert metrics.to_dict() == {"tasks": {}, "texts": 0}
