import json
import os

import pytest

from ldnet.processing.schema import Schema
from ldnet.train.commands.evaluate import out_of_reach, score


@pytest.fixture
def data(write_lines, ann_and_bob):
    nobody = {"text": "nobody", "entities": [], "relations": []}
    return write_lines("dev.jsonl", [ann_and_bob, nobody])


def test_evaluate_prints_a_table_and_writes_json(run_ldnet, fake_pipeline, data, schema_json, tmp_path):
    target = tmp_path / "scores.json"
    code, out, err = run_ldnet("evaluate", "--data", data, "--schema", schema_json, "--json", target)
    assert (code, err) == (0, [])
    report = json.loads(target.read_text())
    assert {key: report[key] for key in ("texts", "model", "data")} == {
        "texts": 2,
        "model": "ldnet-minilm",
        "data": str(data),
    }
    assert "errors" not in report
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
    options = ["--model", "some/model", "--threshold", "0.3", "--overlap", "flat", "--batch-size", "2"]
    code, out, _ = run_ldnet("evaluate", "--data", data, *options)
    assert code == 0
    assert out.startswith("some/model on ")
    schema = fake_pipeline.options.pop("schema")  # from the records: nothing else says it
    assert [label.name for label in schema.labels] == ["person", "knows"]
    assert fake_pipeline.options == {"threshold": 0.3, "overlap": "flat", "batch_size": 2}
    assert fake_pipeline.names == ["some/model"]


def test_evaluate_uses_the_schema_beside_the_data(run_ldnet, fake_pipeline, data, write_lines):
    write_lines("schema.json", ['{"entities": ["person", "place"], "relations": ["knows"]}'])
    assert run_ldnet("evaluate", "--data", data)[0] == 0
    assert [label.name for label in fake_pipeline.options["schema"].labels] == ["person", "place", "knows"]


def test_evaluate_asks_a_records_own_question_where_the_schema_asks_one():
    seen = []

    def pipe(inputs, schema):
        for item in inputs:
            seen.append(item)
            yield {"answers": []}

    records = [{"text": "a", "question": "who?", "answers": []}, {"text": "b", "entities": []}]
    metrics = score(records, Schema.from_any({"question": "?"}), pipe)
    assert seen == [{"text": "a", "question": "who?"}, "b"]
    assert metrics.to_dict()["tasks"]["answers"]["exact_match"] == 100.0
    seen.clear()
    score(records, Schema.from_any(["person"]), pipe)
    assert seen == ["a", "b"]


@pytest.fixture
def with_tokens(fake_pipeline, tiny_processor):
    """A fake pipeline whose processor really tokenises: errors are told from what no token can express."""
    fake_pipeline.processor = tiny_processor
    return fake_pipeline


def test_evaluate_errors_are_counted_shown_and_written_as_a_page(
    run_ldnet, with_tokens, write_lines, ann_and_bob, schema_json, tmp_path
):
    inside = {"id": "i-1", "text": "organization", "entities": [{"type": "person", "start": 1, "end": 12}]}
    longer = {"text": "<b> Ann Ray", "entities": [{"type": "person", "start": 4, "end": 11}]}
    path = write_lines("dev.jsonl", [ann_and_bob, inside, longer])
    page, scores = tmp_path / "errors.html", tmp_path / "scores.json"
    options = ["--schema", schema_json, "--errors", page, "--json", scores]
    code, out, err = run_ldnet("evaluate", "--data", path, *options)
    assert (code, err) == (0, [])
    errors = json.loads(scores.read_text())["errors"]
    assert errors["entities"] == {
        "correct": 2,
        "wrong boundary": 1,  # Ann for Ann Ray
        "wrong label": 0,
        "both wrong": 0,
        "missed": 0,
        "spurious": 2,  # He, Ray
        "out of reach": 1,  # inside a token
    }
    assert errors["relations"]["correct"] == 1
    row = next(line for line in out.splitlines() if "wrong boundary" in line)
    assert row.split("│")[2].strip() == "1"
    html = page.read_text()
    assert "3 of 3 texts have errors." in html
    assert "<h2>a-1</h2>" in html
    assert "<h2>record 2</h2>" in html
    assert "&lt;b&gt;" in html


def test_gold_that_no_window_holds_is_out_of_reach(tiny_processor):
    text = "of " * 40
    ends = [{"start": 0, "end": 2}, {"start": 117, "end": 119}]
    record = {
        "text": text,
        "entities": [{"type": "person", **end} for end in ends],
        "relations": [{"type": "knows", "head": ends[0], "tail": ends[1]}],
    }
    schema = Schema.from_any({"entities": ["person"], "relations": ["knows"]})
    tiny_processor.window_length = 20
    assert out_of_reach(record, schema, tiny_processor) == set()
    long = record | {"text": text * 20}  # does not fit as a whole
    lost = out_of_reach(long, schema, tiny_processor, in_windows=True)
    assert [task for task, _ in lost] == ["relations"]


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
        (["--errors", "missing/x.html"], "its folder does not exist"),
        (["--errors", "x.out", "--json", "x.out"], "--errors and --json: both are x.out"),
        (["--schema", '{"classes": {"topic": []}}'], "'topic' has no labels"),
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
