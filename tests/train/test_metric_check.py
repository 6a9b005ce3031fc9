import pickle

import pytest
from hypothesis import given, settings
from metric_records import RESULTS, SCHEMA

from ldnet.processing.schema import Schema
from ldnet.train.metric_check import PredictionError, check_predicted, prediction_problems
from ldnet.train.metric_keys import Asked

ASKED = Asked(SCHEMA)
PLACE = {"start": 0, "end": 1}


@settings(max_examples=20)
@given(RESULTS)
def test_results_with_labels_of_the_schema_have_no_problem(result):
    assert prediction_problems(result, ASKED) == []


def test_every_unknown_label_is_named_at_once():
    result = {
        "id": "x-1",
        "entities": [{"type": "Person", **PLACE}, {"type": "person", **PLACE}, {"type": "place", **PLACE}],
        "relations": [
            {"type": "employs", "head": PLACE, "tail": PLACE},
            {"type": "works for", "head": {"type": "god", **PLACE}, "tail": PLACE},
        ],
        "hyper_relations": [
            {"type": "prize", "head": PLACE, "tail": PLACE},
            {"type": "award", "head": PLACE, "tail": PLACE, "qualifiers": [{"type": "start time", **PLACE}]},
        ],
        "events": [
            {"type": "war", "trigger": PLACE},
            {"type": "start", "trigger": PLACE, "arguments": [{"role": "place", **PLACE}]},
        ],
        "classes": {"tone": ["a"], "topic": [{"label": "x", "score": 0.5}], "mood": ["x"]},
    }
    problems = prediction_problems(result, ASKED)
    expected = [
        "entity type 'Person' is not in the schema, which has ['organization', 'person']. Did you mean "
        "'person'?",
        "entity type 'place' is",
        "relation 'employs' is",
        "head type 'god' of relation 'works for' is",
        "hyper-relation 'prize' is",
        "qualifier 'start time' of hyper-relation 'award' is not in the schema, which has ['place']",
        "event type 'war' is",
        "role 'place' of event type 'start' is not in the schema, which has ['agent']",
        "class task 'tone' is",
        "class 'x' of class task 'topic' is not in the schema, which has ['a', 'b', 'c']",
    ]
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(f"prediction for x-1: {start}")
        assert problem.endswith("Score it with the schema that was asked.")
    with pytest.raises(PredictionError) as error:
        check_predicted(result, ASKED)
    assert error.value.problems == problems
    assert str(error.value) == "\n".join(problems)
    assert pickle.loads(pickle.dumps(error.value)).problems == problems


def test_a_label_that_is_wrong_everywhere_is_named_once():
    result = {"text": "Ann", "entities": [{"type": "x", **PLACE}] * 3}
    (problem,) = prediction_problems(result, ASKED)
    assert problem.startswith("prediction for 'Ann': entity type 'x'")
    assert prediction_problems(result, ASKED, "predictions[3]")[0].startswith(
        "predictions[3]: entity type 'x'"
    )


def test_types_of_ends_are_free_where_no_entities_are_asked_for():
    relation = {"type": "r", "head": {"type": "god", **PLACE}, "tail": PLACE}
    assert prediction_problems({"relations": [relation]}, Asked(Schema.from_any({"relations": ["r"]}))) == []


def test_structure_that_nobody_asked_for_is_a_problem():
    result = {"entities": [{"type": "person", **PLACE}]}
    (problem,) = prediction_problems(result, Asked(Schema.from_any({"relations": ["r"]})))
    assert "entity type 'person' is not in the schema, which has []" in problem
