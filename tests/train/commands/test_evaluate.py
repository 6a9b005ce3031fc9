import json
import os

import pytest


@pytest.fixture
def data(write_lines, ann_and_bob):
    nobody = {"text": "nobody", "entities": [], "relations": []}
    return write_lines("dev.jsonl", [ann_and_bob, nobody])


def test_evaluate_prints_a_table_and_writes_json(run_ldnet, fake_pipeline, data, schema_json, tmp_path):
    target = tmp_path / "scores.json"
    code, out, err = run_ldnet("evaluate", "--data", data, "--schema", schema_json, "--json", target)
    assert (code, err) == (0, [])
    report = json.loads(target.read_text())
    assert {key: report[key] for key in ("texts", "model", "data", "too_long")} == {
        "texts": 2,
        "model": "ldnet-minilm",
        "data": str(data),
        "too_long": 0,
    }
    entities = report["tasks"]["entities"]  # Ann and Bob are right, He is not
    assert {key: entities[key] for key in ("tp", "fp", "fn", "support")} == {
        "tp": 2,
        "fp": 1,
        "fn": 0,
        "support": 2,
    }
    assert entities["f1"] == pytest.approx(80.0)
    assert entities["labels"]["person"]["f1"] == pytest.approx(80.0)
    assert len(entities["interval"]) == 2
    assert report["tasks"]["relations_strict"]["f1"] == 100.0
    assert out.startswith(f"ldnet-minilm on {data}: 2 texts\n")
    row = next(line for line in out.splitlines() if "entities" in line)
    assert all(cell in row for cell in (" 2 ", "66.67", "100.00", "80.00"))


def test_evaluate_passes_its_options_to_the_pipeline(run_ldnet, fake_pipeline, data):
    options = ["--model", "some/model", "--threshold", "0.3", "--batch-size", "2"]
    code, out, _ = run_ldnet("evaluate", "--data", data, *options)
    assert code == 0
    assert out.startswith("some/model on ")
    schema = fake_pipeline.options.pop("schema")  # from the records: nothing else says it
    assert [label.name for label in schema.labels] == ["person", "knows"]
    assert fake_pipeline.options == {"threshold": 0.3, "batch_size": 2}
    assert fake_pipeline.names == ["some/model"]


def test_evaluate_uses_the_schema_beside_the_data(run_ldnet, fake_pipeline, data, write_lines):
    write_lines("schema.json", ['{"entities": ["person", "place"], "relations": ["knows"]}'])
    assert run_ldnet("evaluate", "--data", data)[0] == 0
    assert [label.name for label in fake_pipeline.options["schema"].labels] == ["person", "place", "knows"]


def test_evaluate_counts_texts_that_are_too_long_as_missed(
    run_ldnet, fake_pipeline, write_lines, ann_and_bob, tmp_path
):
    long = {"id": "long-1", "text": "Ann " * 9, "entities": [{"type": "person", "start": 0, "end": 3}]}
    path = write_lines("dev.jsonl", [long, ann_and_bob])
    code, _, err = run_ldnet("evaluate", "--data", path, "--json", tmp_path / "x.json")
    assert code == 0
    assert err == [f"{path}: 1 texts are too long for the model ('long-1' first) and count as missed"]
    report = json.loads((tmp_path / "x.json").read_text())
    assert (report["texts"], report["too_long"]) == (2, 1)
    assert {key: report["tasks"]["entities"][key] for key in ("tp", "fn")} == {"tp": 2, "fn": 1}


def test_evaluate_wrong_records_are_all_reported_before_a_model_is_loaded(
    run_ldnet, fake_pipeline, write_lines, schema_json, tmp_path
):
    wrong = {
        "text": "Ann",
        "entities": [{"type": "person", "start": 0, "end": 9}, {"type": "x", "start": 0, "end": 3}],
    }
    path = write_lines("dev.jsonl", [wrong, "{"])
    target = tmp_path / "scores.json"
    code, out, err = run_ldnet("evaluate", "--data", path, "--schema", schema_json, "--json", target)
    assert (code, out, len(err)) == (2, "", 3)
    assert all(line.startswith(f"{path}:") for line in err)
    assert fake_pipeline.names == []
    assert os.listdir(tmp_path) == ["dev.jsonl"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--json", "missing/x.json"], "its folder does not exist"),
        (["--schema", '{"classes": {"topic": ["a"]}}'], "classes"),
        (["--schema", "nowhere.json"], "nowhere.json"),
    ],
)
def test_evaluate_wrong_options_are_one_line_before_a_model_is_loaded(
    run_ldnet, fake_pipeline, data, options, message
):
    code, out, err = run_ldnet("evaluate", "--data", data, *options)
    assert (code, out, len(err)) == (2, "", 1)
    assert message in err[0]
    assert fake_pipeline.names == []


def test_evaluate_missing_model_is_one_line(run_ldnet, data, tmp_path):
    code, out, err = run_ldnet("evaluate", "--data", data, "--model", tmp_path / "none")
    assert (code, out, len(err)) == (2, "", 1)
    assert str(tmp_path / "none") in err[0]


def test_evaluate_saved_model_equals_scoring_the_pipeline_by_hand(
    run_ldnet, tiny_pipeline, tmp_path, data, schema_json, ann_and_bob
):
    tiny_pipeline.save_pretrained(str(tmp_path / "model"))
    found = tiny_pipeline(ann_and_bob["text"], schema=schema_json, threshold=0.2)
    options = ["--model", tmp_path / "model", "--threshold", "0.2", "--json", tmp_path / "x.json"]
    code, _, err = run_ldnet("evaluate", "--data", data, "--schema", schema_json, *options)
    assert (code, err) == (0, [])
    scores = json.loads((tmp_path / "x.json").read_text())["tasks"]["entities"]
    spans = {(entity["start"], entity["end"]) for entity in found["entities"]}
    nobody = tiny_pipeline("nobody", schema=schema_json, threshold=0.2)["entities"]
    assert scores["tp"] == len(spans & {(0, 3), (9, 12)})
    assert scores["tp"] + scores["fp"] == len(spans) + len(nobody)
