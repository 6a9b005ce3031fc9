import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldnet.processing.schema import Schema
from ldnet.train.metrics import (
    PRF,
    TASKS,
    ExtractionMetrics,
    bootstrap_interval,
    count_record,
    count_tasks,
    scores_from_counts,
)

SCHEMA = Schema.from_any(
    {
        "entities": ["person", "organization"],
        "relations": [{"type": "works for"}, {"type": "married to", "symmetric": True}],
    }
)
ANN, BOB = {"start": 0, "end": 3}, {"start": 4, "end": 7}
ACME = {"start": 10, "end": 14}


def person(mention):
    return {"type": "person", **mention}


def relation(label, head, tail):
    return {"type": label, "head": head, "tail": tail}


# Slow oracles: structures are compared pair by pair, and every count is a loop.


def same_place(one, other):
    return (one.get("fragments") or [[one["start"], one["end"]]]) == (
        other.get("fragments") or [[other["start"], other["end"]]]
    )


def same_entity(gold, predicted, types=True):
    return same_place(gold, predicted) and gold["type"] == predicted["type"]


def same_relation(gold, predicted, strict):
    def fits(head, tail):
        ends = ((gold["head"], head), (gold["tail"], tail))
        return all(
            same_place(a, b) and (not strict or a.get("type") is None or a.get("type") == b.get("type"))
            for a, b in ends
        )

    if gold["type"] != predicted["type"]:
        return False
    swapped = gold["type"] == "married to" and fits(predicted["tail"], predicted["head"])
    return fits(predicted["head"], predicted["tail"]) or swapped


def distinct(items, same):
    kept = []
    for item in items:
        if not any(same(other, item) for other in kept):
            kept.append(item)
    return kept


def slow_counts(gold, predicted, same):
    gold, predicted = distinct(gold, same), distinct(predicted, same)
    tp = sum(any(same(g, p) for g in gold) for p in predicted)
    fn = sum(not any(same(g, p) for p in predicted) for g in gold)
    return [tp, len(predicted) - tp, fn]


SAME = {
    "entities": same_entity,
    "relations": lambda g, p: same_relation(g, p, strict=False),
    "relations_strict": lambda g, p: same_relation(g, p, strict=True),
}


@st.composite
def mentions(draw):
    cuts = sorted(draw(st.sets(st.integers(0, 4), min_size=2, max_size=4)))
    if len(cuts) < 4:
        return {"start": cuts[0], "end": cuts[1]}
    return {"start": cuts[0], "end": cuts[3], "fragments": [cuts[:2], cuts[2:]]}


TYPES = st.sampled_from(["person", "organization"])
TYPED = st.builds(lambda mention, label: {"type": label, **mention}, mentions(), TYPES)
RELATIONS = st.builds(relation, st.sampled_from(["works for", "married to"]), TYPED, TYPED)
RECORDS = st.fixed_dictionaries(
    {"entities": st.lists(TYPED, max_size=5), "relations": st.lists(RELATIONS, max_size=5)}
)
GOLD = st.one_of(
    RECORDS,
    st.fixed_dictionaries({"entities": st.lists(TYPED, max_size=5)}),
    st.fixed_dictionaries({"relations": st.lists(RELATIONS, max_size=5)}),
)
PAIRS = st.tuples(GOLD, RECORDS)


@given(PAIRS)
def test_count_tasks_equals_pairwise_comparison(pair):
    gold, predicted = pair
    expected = [
        slow_counts(gold[key], predicted[key], SAME[task]) if key in gold else [0, 0, 0]
        for task, key in zip(TASKS, ("entities", "relations", "relations"), strict=True)
    ]
    assert count_tasks(gold, predicted, SCHEMA).tolist() == expected


@given(PAIRS)
def test_count_record_per_label_adds_up_to_count_tasks(pair):
    by_task = count_record(*pair, SCHEMA)
    for task, row in zip(TASKS, count_tasks(*pair, SCHEMA).tolist(), strict=True):
        total = sum(by_task.get(task, {}).values(), PRF())
        assert [total.tp, total.fp, total.fn] == row


@given(PAIRS, TYPES, st.sampled_from(["works for", "married to"]))
def test_count_record_with_labels_equals_deleting_the_other_labels(pair, entity, name):
    gold, predicted = pair
    restricted = count_record(
        gold | {"labels": {"entities": [entity], "relations": [name]}}, predicted, SCHEMA
    )
    keep = {"entities": entity, "relations": name}
    gold, predicted = (
        {key: [x for x in side[key] if x["type"] == keep[key]] for key in side} for side in (gold, predicted)
    )
    assert restricted == count_record(gold, predicted, SCHEMA)


@given(RECORDS)
def test_count_record_of_gold_as_prediction_is_perfect(record):
    counts = count_tasks(record, record, SCHEMA)
    assert (counts[:, 1:] == 0).all()
    assert counts[0, 0] == len(distinct(record["entities"], same_entity))


@given(PAIRS)
def test_count_tasks_swapping_gold_and_prediction_swaps_the_errors(pair):
    gold, predicted = pair
    gold = {"entities": gold.get("entities", []), "relations": gold.get("relations", [])}
    assert (count_tasks(gold, predicted, SCHEMA) == count_tasks(predicted, gold, SCHEMA)[:, [0, 2, 1]]).all()


@given(st.lists(PAIRS, max_size=8), st.integers(0, 8))
def test_merge_of_shards_equals_the_whole(pairs, cut):
    whole, *shards = (ExtractionMetrics(SCHEMA) for _ in range(3))
    for i, pair in enumerate(pairs):
        whole.add(*pair)
        shards[i >= cut].add(*pair)
    other_order = ExtractionMetrics(SCHEMA)
    other_order.merge(shards[1])
    other_order.merge(shards[0])
    shards[0].merge(shards[1])
    assert whole.to_dict(bootstrap=20) == shards[0].to_dict(bootstrap=20) == other_order.to_dict(bootstrap=20)
    assert whole.texts == len(pairs)


@given(st.lists(PAIRS, max_size=8))
def test_scores_from_added_rows_equal_the_micro_scores(pairs):
    metrics = ExtractionMetrics(SCHEMA)
    rows = np.zeros((len(TASKS), 3), dtype=np.int64)
    for pair in pairs:
        metrics.add(*pair)
        rows += count_tasks(*pair, SCHEMA)
    scores = scores_from_counts(rows)
    for task, scored in metrics.to_dict(bootstrap=0)["tasks"].items():
        assert [scores[f"{task}_{name}"] for name in ("precision", "recall", "f1")] == [
            scored[name] for name in ("precision", "recall", "f1")
        ]


def test_merge_with_itself_doubles_the_counts():
    metrics = ExtractionMetrics(SCHEMA)
    metrics.add({"entities": [person(ANN)]}, {"entities": [person(ANN), person(BOB)]})
    metrics.merge(metrics)
    entities = metrics.to_dict()["tasks"]["entities"]
    assert (metrics.texts, entities["tp"], entities["fp"]) == (2, 2, 2)


def test_merge_of_another_schema_is_an_error():
    with pytest.raises(ValueError, match="different schemas"):
        ExtractionMetrics(SCHEMA).merge(ExtractionMetrics(Schema.from_any(["person"])))


def test_prf_known_counts_give_hand_computed_scores():
    counts = PRF(tp=3, fp=1, fn=2)
    assert counts.support == 5
    assert counts.precision == 75.0
    assert counts.recall == 60.0
    assert counts.f1 == pytest.approx(2 * 75 * 60 / 135)


@pytest.mark.parametrize(
    ("counts", "scores"),
    [
        (PRF(), (None, None, None)),
        (PRF(fp=2), (0.0, None, 0.0)),
        (PRF(fn=2), (None, 0.0, 0.0)),
    ],
)
def test_prf_without_gold_or_prediction_is_undefined_not_zero(counts, scores):
    assert (counts.precision, counts.recall, counts.f1) == scores


def test_count_record_absent_key_is_not_scored_and_empty_list_is():
    predicted = {"entities": [person(ANN)], "relations": []}
    assert count_record({"relations": []}, predicted, SCHEMA) == {"relations": {}, "relations_strict": {}}
    assert count_record({"entities": None}, predicted, SCHEMA) == {}
    assert count_record({"entities": []}, predicted, SCHEMA) == {"entities": {"person": PRF(fp=1)}}


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
    assert counts == {"entities": {"person": PRF(1, 0, 0)}}


def test_count_record_predicted_label_outside_the_schema_is_an_error():
    with pytest.raises(ValueError, match=r"entity type 'Person' is not in the schema.*Did you mean 'person'"):
        count_record({"entities": []}, {"entities": [{"type": "Person", **ANN}]}, SCHEMA)
    with pytest.raises(ValueError, match="prediction for x-1: relation 'employs'"):
        count_tasks({}, {"id": "x-1", "relations": [relation("employs", ANN, BOB)]}, SCHEMA)


def test_add_refused_prediction_leaves_the_counts_unchanged():
    metrics = ExtractionMetrics(SCHEMA)
    with pytest.raises(ValueError, match="not in the schema"):
        metrics.add({"entities": []}, {"entities": [{"type": "x", **ANN}]})
    assert metrics.to_dict() == {"tasks": {}, "texts": 0}


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


def test_scores_from_counts_wrong_shape_is_an_error():
    with pytest.raises(ValueError, match=r"shape \(9,\)"):
        scores_from_counts(np.zeros(9))


def test_scores_from_counts_known_counts_give_named_scores():
    scores = scores_from_counts(np.array([[3, 1, 2], [0, 0, 0], [0, 0, 4]]))
    assert scores["entities_precision"] == 75.0
    assert scores["entities_recall"] == 60.0
    assert scores["relations_f1"] is None
    assert scores["relations_strict_f1"] == 0.0


def slow_interval(rows, samples, seed):
    generator = np.random.default_rng(seed)
    scores = []
    for _ in range(samples):
        tp, fp, fn = rows[generator.integers(len(rows), size=len(rows))].sum(0)
        scores.append(200 * tp / (2 * tp + fp + fn))
    return np.percentile(scores, (2.5, 97.5))


def test_bootstrap_interval_is_close_to_drawing_texts_one_by_one():
    rows = np.random.default_rng(7).integers(0, 4, size=(20, 3))
    slow = slow_interval(rows, 3000, 1)
    assert slow[1] - slow[0] > 15  # else the tolerance would accept other percentiles
    assert bootstrap_interval(rows, 3000, 0) == pytest.approx(slow, abs=0.6)


def test_bootstrap_interval_same_seed_same_ends_any_order():
    rows = np.random.default_rng(7).integers(0, 4, size=(150, 3))
    assert bootstrap_interval(rows, 100, 3) == bootstrap_interval(rows[::-1], 100, 3)
    assert bootstrap_interval(rows, 100, 3) != bootstrap_interval(rows, 100, 4)


@pytest.mark.parametrize("rows", [np.zeros((0, 3), dtype=int), np.zeros((5, 3), dtype=int)])
def test_bootstrap_interval_undefined_f1_has_no_interval(rows):
    assert bootstrap_interval(rows, 100, 0) is None


def test_bootstrap_interval_draws_without_any_structure_are_left_out():
    rows = np.array([[1, 0, 0], [0, 0, 0]])  # a quarter of the draws holds the empty text only
    assert bootstrap_interval(rows, 200, 0) == [100.0, 100.0]


@given(
    st.lists(
        st.tuples(*[st.lists(st.tuples(st.integers(0, 2), TYPES), min_size=1, max_size=6) for _ in range(2)]),
        max_size=5,
    )
)
def test_entities_flat_mentions_equal_seqeval(texts):
    seqeval = pytest.importorskip("seqeval.metrics")

    def spans(runs):
        """Mentions and IOB2 tags of runs of (gap, type): each mention is two tokens long."""
        found, tags = [], []
        for gap, label in runs:
            tags += ["O"] * gap
            found.append({"type": label, "start": len(tags), "end": len(tags) + 2})
            tags += [f"B-{label}", f"I-{label}"]
        return found, tags

    metrics = ExtractionMetrics(SCHEMA)
    tags: tuple[list, list] = ([], [])
    for sides in texts:
        (gold, gold_tags), (predicted, predicted_tags) = map(spans, sides)
        metrics.add({"entities": gold}, {"entities": predicted})
        length = max(len(gold_tags), len(predicted_tags))
        for side, row in zip(tags, (gold_tags, predicted_tags), strict=True):
            side.append(row + ["O"] * (length - len(row)))
    scored = metrics.to_dict(bootstrap=0)["tasks"].get("entities")
    if scored is None:
        assert not texts
        return
    for name in ("precision", "recall", "f1"):
        assert scored[name] == pytest.approx(100 * getattr(seqeval, f"{name}_score")(*tags))
    assert scored["macro_f1"] == pytest.approx(100 * seqeval.f1_score(*tags, average="macro"))
