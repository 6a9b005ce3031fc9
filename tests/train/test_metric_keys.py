import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_records import GOLD, KEYS, ORACLES, PAIRS, PLAIN, RECORDS, SCHEMA, TEXT, slow_counts

from ldnet.processing.schema import Schema
from ldnet.train.metric_counts import PRF
from ldnet.train.metric_keys import TASK_TABLE, Asked, compare_tasks, label_text

ASKED = Asked(SCHEMA)
FIRST, SECOND, THIRD = ({"start": i, "end": i + 1} for i in range(3))


def counts(gold, predicted, asked=ASKED):
    return {
        task.name: list(PRF.of_sets(*sides).row) for task, *sides in compare_tasks(gold, predicted, asked)
    }


def test_every_task_has_an_oracle_and_a_key_function_or_a_module_of_its_own():
    assert [task.name for task in TASK_TABLE if task.name != "answers"] == list(ORACLES)
    assert [task.name for task in TASK_TABLE if task.keys is None] == ["answers", "classes"]


@settings(max_examples=50)
@given(PAIRS)
def test_counts_equal_pairwise_comparison(pair):
    gold, predicted = pair
    found = counts(gold, predicted)
    for task, (key, _, _) in ORACLES.items():
        assert found.get(task, [0, 0, 0]) == slow_counts(task, gold, predicted)
        assert (task in found) == (key in gold)


@settings(max_examples=25)
@given(RECORDS)
def test_gold_as_prediction_is_perfect(record):
    assert all(row[1:] == [0, 0] for row in counts(record, record).values())


@settings(max_examples=25)
@given(RECORDS, RECORDS)
def test_swapping_gold_and_prediction_swaps_the_errors(gold, predicted):
    there, back = counts(gold, predicted), counts(predicted, gold)
    assert all(row == [back[task][i] for i in (0, 2, 1)] for task, row in there.items())


KEPT = {
    "entities": "person",
    "relations": "married to",
    "hyper_relations": "employer",
    "events": "attack",
    "classes": {"topic": ["a", "b"], "mood": ["x"]},
}


def without_other_labels(record):
    """A record with nothing but the labels of `KEPT`."""
    left = dict(record)
    for key in ("entities", "relations", "hyper_relations", "events"):
        if key in left:
            left[key] = [item for item in left[key] if item["type"] == KEPT[key]]
    if "classes" in left:
        left["classes"] = {
            task: [item for item in items if item in KEPT["classes"][task]]
            for task, items in left["classes"].items()
        }
    return left


@settings(max_examples=25)
@given(GOLD, RECORDS)
def test_a_records_own_labels_count_like_deleting_all_others(gold, predicted):
    own = {key: value if isinstance(value, dict) else [value] for key, value in KEPT.items()}
    assert counts(gold | {"labels": own}, predicted) == counts(
        without_other_labels(gold), without_other_labels(predicted)
    )


def test_own_labels_that_list_class_tasks_leave_out_the_others():
    gold = {"classes": {"topic": ["a"], "mood": ["x"]}, "labels": {"classes": ["mood"]}}
    assert counts(gold, {"classes": {"topic": ["a"], "mood": []}}) == {"classes": [0, 0, 1]}


def test_class_task_that_gold_lacks_is_not_scored():
    gold = {"classes": {"topic": ["a"]}}
    assert counts(gold, {"classes": {"topic": ["a"], "mood": ["x"]}}) == {"classes": [1, 0, 0]}


def test_single_label_class_counts_once_multi_label_classes_all():
    found = {
        "topic": [{"label": "b", "score": 0.3}, {"label": "a", "score": 0.6}],
        "mood": [{"label": "a", "score": 0.6}, {"label": "x", "score": 0.3}],
    }
    gold = {"classes": {"topic": ["a"], "mood": ["a", "x"]}}
    assert counts(gold, {"classes": found}) == {"classes": [3, 0, 0]}


@pytest.mark.parametrize("key", KEYS)
def test_what_the_schema_does_not_ask_is_not_scored(key):
    gold = {"text": TEXT, "classes": {}} | {name: [] for name in KEYS if name != "classes"}
    asked = {"question" if name == "answers" else name: PLAIN["question" if name == "answers" else name]
             for name in KEYS if name != key}  # fmt: skip
    scored = Asked(Schema.from_any(asked))
    assert not scored.scores(gold, key)
    assert all(scored.scores(gold, other) for other in KEYS if other != key)
    assert not any(scored.scores({"text": TEXT}, other) for other in KEYS)


def test_role_and_qualifier_outside_the_schema_are_not_asked():
    event = {"type": "start", "trigger": FIRST, "arguments": [{"role": "weapon", **SECOND}]}
    fact = {"type": "award", "head": FIRST, "tail": SECOND, "qualifiers": [{"type": "start time", **THIRD}]}
    found = counts({"events": [event], "hyper_relations": [fact]}, {})
    assert found == {
        "triggers": [0, 0, 1],
        "arguments": [0, 0, 0],
        "arguments_strict": [0, 0, 0],
        "hyper_relations": [0, 0, 0],
        "hyper_triples": [0, 0, 1],
    }


def attack(trigger, *arguments):
    return {"type": "attack", "trigger": trigger, "arguments": list(arguments)}


def test_argument_of_a_wrong_trigger_is_right_but_not_strictly():
    agent = {"role": "agent", **THIRD}
    found = counts({"events": [attack(FIRST, agent)]}, {"events": [attack(SECOND, agent)]})
    assert found == {"triggers": [0, 1, 1], "arguments": [1, 0, 0], "arguments_strict": [0, 1, 1]}


def test_argument_of_two_triggers_of_one_type_counts_once_unless_strict():
    agent = {"role": "agent", **THIRD}
    both = {"events": [attack(FIRST, agent), attack(SECOND, agent)]}
    found = counts(both, both)
    assert (found["arguments"], found["arguments_strict"]) == ([1, 0, 0], [2, 0, 0])


def test_argument_needs_event_type_role_and_place():
    gold = {"events": [attack(FIRST, {"role": "agent", **SECOND})]}
    for wrong in (
        attack(FIRST, {"role": "place", **SECOND}),
        attack(FIRST, {"role": "agent", **THIRD}),
        {"type": "start", "trigger": FIRST, "arguments": [{"role": "agent", **SECOND}]},
    ):
        assert counts(gold, {"events": [wrong]})["arguments"] == [0, 1, 1]


def test_fact_without_qualifiers_gives_no_quintuple():
    fact = {"type": "award", "head": FIRST, "tail": SECOND}
    found = counts({"hyper_relations": [fact]}, {"hyper_relations": [fact | {"qualifiers": []}]})
    assert found == {"hyper_relations": [0, 0, 0], "hyper_triples": [1, 0, 0]}


def test_quintuple_counts_one_for_each_qualifier():
    places = [{"type": "place", **mention} for mention in (FIRST, THIRD)]
    fact = {"type": "award", "head": FIRST, "tail": SECOND, "qualifiers": places}
    found = counts({"hyper_relations": [fact]}, {"hyper_relations": [fact | {"qualifiers": places[:1]}]})
    assert found == {"hyper_relations": [1, 0, 1], "hyper_triples": [1, 0, 0]}


def test_only_mentions_in_pieces_count_as_discontinuous():
    whole = {"type": "person", "start": 0, "end": 7}
    split = whole | {"fragments": [[0, 3], [4, 7]]}
    one_piece = whole | {"fragments": [[0, 7]]}
    assert counts({"entities": [split, whole]}, {"entities": [one_piece]}) == {
        "entities": [1, 0, 1],
        "entities_discontinuous": [0, 0, 1],
    }


@given(st.text(), st.text())
def test_label_text_joins_what_a_label_belongs_to(owner, name):
    assert label_text(name) == name
    assert label_text((owner, name)) == f"{owner}: {name}"
