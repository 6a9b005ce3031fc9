import json
import os
import subprocess
import sys

import evaluate
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metric_records import PLAIN, RECORDS, RESULTS, SCHEMA, TEXT

from ldnet.train.evaluate_modules import UNIVERSAL_IE
from ldnet.train.evaluate_modules.universal_ie.universal_ie import check_records
from ldnet.train.metrics import ExtractionMetrics, PredictionError

GOLD = {"id": "g", "text": "Ann met Bob", "entities": [{"type": "person", "start": 0, "end": 3}]}
FOUND = {"text": "Ann met Bob", "entities": [{"type": "person", "start": 8, "end": 11, "score": 0.5}]}


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """`load()`: the metric, from its folder; its files stay in a folder of the test."""
    folder = str(tmp_path_factory.mktemp("evaluate"))
    return lambda: evaluate.load(UNIVERSAL_IE, cache_dir=folder)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(RECORDS, RESULTS), min_size=1, max_size=3))
def test_compute_equals_the_metrics_of_the_package(load, pairs):
    gold, found = map(list, zip(*pairs, strict=True))
    expected = ExtractionMetrics(SCHEMA)
    for pair in pairs:
        expected.add(*pair)
    report = load().compute(predictions=found, references=gold, schema=PLAIN, bootstrap=20, seed=3)
    assert report == expected.to_dict(bootstrap=20, seed=3)


def test_records_may_be_dicts_or_json_added_one_by_one_or_in_batches(load):
    expected = load().compute(predictions=[FOUND] * 2, references=[GOLD] * 2, schema=["person"])
    one_by_one, batches = load(), load()
    for _ in range(2):
        one_by_one.add(prediction=json.dumps(FOUND), reference=GOLD)
    batches.add_batch(predictions=[FOUND, json.dumps(FOUND)], references=[json.dumps(GOLD)] * 2)
    assert one_by_one.compute(schema='["person"]') == batches.compute(schema=SCHEMA.restrict(
        {"entities": ["person"], "relations": [], "hyper_relations": [], "events": [], "classes": []}
    )) == expected  # fmt: skip
    assert expected["tasks"]["entities"]["fp"] == 2


def test_without_schema_all_labels_of_the_references_were_asked_for(load):
    report = load().compute(predictions=[FOUND], references=[GOLD])
    assert report["tasks"]["entities"]["labels"].keys() == {"person"}
    other = FOUND | {"entities": [{"type": "place", "start": 0, "end": 3}]}
    with pytest.raises(PredictionError, match=r"predictions\[0\]: entity type 'place' is not in the schema"):
        load().compute(predictions=[other], references=[GOLD])


def test_answers_need_no_question_in_a_result(load):
    gold = {"text": "Ann met Bob", "question": "Who?", "answers": [{"start": 0, "end": 3}]}
    found = {"answers": [{"start": 0, "end": 3, "text": "Ann", "score": np.float32(0.5)}]}
    report = load().compute(predictions=[found], references=[gold])
    assert report["tasks"]["answers"]["exact_match"] == 100.0


def test_all_wrong_labels_of_all_predictions_are_listed_at_once(load):
    wrong = [FOUND | {"entities": [{"type": name, "start": 0, "end": 3}]} for name in ("x", "person", "y")]
    with pytest.raises(PredictionError) as error:
        load().compute(predictions=wrong, references=[GOLD] * 3)
    assert [line[: line.index(" is not")] for line in error.value.problems] == [
        "predictions[0]: entity type 'x'",
        "predictions[2]: entity type 'y'",
    ]


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({"entities": [{"type": "person", "start": 0}]}, r"predictions\[0\]: entities\[0\].end: missing"),
        ({"entities": [{"start": 0, "end": 3}]}, r"predictions\[0\]: entities\[0\].type: missing"),
        ({"entities": [{"type": "person", "start": 9, "end": 99}]}, r"entities\[0\].end = 99"),
        ({"entites": []}, r"predictions\[0\]: entites = .*unknown key"),
        ({"classes": {"topic": "a"}}, r"predictions\[0\]: classes.topic = 'a'.*not a list of names"),
        ({"text": "Ann"}, r"text = 'Ann' is not that of references\[0\], 'Ann met Bob'"),
        ([1], r"predictions\[0\]: record = \[1\]"),
        ("{", r"predictions\[0\]: record = '{'"),
    ],
)
def test_record_that_is_not_in_the_format_is_named(predicted, message):
    with pytest.raises(PredictionError, match=message):
        check_records([predicted], [GOLD])


@settings(max_examples=20)
@given(RECORDS, RESULTS)
def test_records_and_results_of_every_task_are_in_the_format(gold, found):
    extra = {"id": "twice", "truncated": False, "windows": 1, "rows": 1}
    check_records([found | extra] * 2, [gold | {"question": "Who?", "id": "twice"}] * 2)
    assert gold["text"] == TEXT


def test_folder_loads_in_a_fresh_process_without_network(tmp_path):
    script = (
        "import evaluate, json, sys\n"
        "metric = evaluate.load(sys.argv[1])\n"
        "gold, found = map(json.loads, sys.argv[2:])\n"
        "print(metric.compute(predictions=[found], references=[gold])['tasks']['entities']['fn'])\n"
    )
    quiet = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    arguments = [UNIVERSAL_IE, json.dumps(GOLD), json.dumps(FOUND)]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path, env={**os.environ, **quiet}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["1"], done.stderr
