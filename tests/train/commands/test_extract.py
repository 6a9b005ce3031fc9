import io
import json
import os
import sys

import pytest

ANN = {"type": "person", "start": 0, "end": 3, "text": "Ann", "score": 0.9}


def result(text, entities=(), **more):
    return {**more, "text": text, "entities": list(entities), "relations": [], "truncated": False}


def records(out):
    return [json.loads(line) for line in out.splitlines()]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_extract_text_argument_is_one_record_and_nothing_else(run_ldnet, fake_pipeline, schema_json):
    code, out, err = run_ldnet("extract", "Ann is here", "--schema", schema_json)
    assert (code, err) == (0, [])
    assert records(out) == [result("Ann is here", [ANN])]
    assert out.endswith("}\n")


def test_extract_passes_its_options_to_the_pipeline(run_ldnet, fake_pipeline, schema_json):
    options = ["--threshold", "0.7", "--overlap", "flat", "--batch-size", "3", "--model", "some/model"]
    assert run_ldnet("extract", "Ann", "--schema", schema_json, *options)[0] == 0
    schema = fake_pipeline.options.pop("schema")
    assert [label.name for label in schema.labels] == ["person", "knows"]
    assert fake_pipeline.options == {"threshold": 0.7, "overlap": "flat", "batch_size": 3}
    assert fake_pipeline.names == ["some/model"]


def test_extract_without_options_leaves_the_choice_to_the_model(run_ldnet, fake_pipeline, schema_json):
    run_ldnet("extract", "Ann", "--schema", schema_json)
    assert fake_pipeline.names == [None]
    assert fake_pipeline.options["threshold"] is None
    assert fake_pipeline.options["overlap"] is None


def test_extract_output_file_is_written_and_stdout_stays_empty(
    run_ldnet, fake_pipeline, schema_json, write_lines, tmp_path
):
    path = write_lines("x.txt", ["Ann", b"\xff"])
    target = tmp_path / "out.jsonl"
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json, "--output", target)
    assert (code, out, len(err)) == (2, "", 1)
    assert records(target.read_text()) == [result("Ann", [ANN])]


def test_extract_that_fails_half_way_leaves_no_output_file(
    run_ldnet, fake_pipeline, schema_json, write_lines, tmp_path, monkeypatch
):
    def fail_at_second(self, texts, **options):
        for number, text in enumerate(texts):
            if number:
                raise ValueError("logits: not a number")
            yield result(text)

    monkeypatch.setattr(type(fake_pipeline), "__call__", fail_at_second)
    path = write_lines("x.txt", ["one", "two"])
    target = tmp_path / "out.jsonl"
    assert run_ldnet("extract", "--input", path, "--schema", schema_json, "--output", target) == (
        2,
        "",
        ["logits: not a number"],
    )
    assert os.listdir(tmp_path) == ["x.txt"]


def test_extract_streams_one_text_at_a_time(run_ldnet, fake_pipeline, schema_json, monkeypatch):
    """The first result is on stdout before the second line of stdin is read."""
    written_before = []

    class Lines(io.BytesIO):
        def __next__(self):
            line = super().__next__()
            written_before.append(sys.stdout.getvalue().count("\n"))
            return line

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Lines(b"one\ntwo\nthree\n")))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    run_ldnet("extract", "--schema", schema_json)
    assert written_before == [0, 1, 2]


def test_extract_on_a_terminal_prints_tables(run_ldnet, fake_pipeline, schema_json, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "dumb")
    assert run_ldnet("extract", "Ann sees Bob", "--schema", schema_json)[0] == 0
    lines = screen.getvalue().splitlines()
    assert lines[0] == "Ann sees Bob"
    assert any("person" in line and "Ann" in line and "0.90" in line for line in lines)
    assert any("knows" in line and "→" in line and "Bob" in line for line in lines)
    assert "{" not in screen.getvalue()


def test_extract_uses_the_schema_beside_the_input(run_ldnet, fake_pipeline, write_lines):
    write_lines("schema.json", ['{"entities": ["city"]}'])
    path = write_lines("x.jsonl", [{"text": "a"}])
    assert run_ldnet("extract", "--input", path)[0] == 0
    assert [label.name for label in fake_pipeline.options["schema"].labels] == ["city"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "extract: no schema is given"),
        (["a", "--schema", '{"entitis": []}'], "Did you mean 'entities'"),
        (["a", "--schema", "missing.json"], "missing.json"),
        (["a", "--input", "x.txt", "--schema", '["x"]'], "a text and --input x.txt are both given"),
        (["--input", "x.csv", "--schema", '["x"]'], "x.csv: unknown kind of input file"),
        (["--input", "missing.txt", "--schema", '["x"]'], "missing.txt: No such file or directory"),
        (["a", "--schema", '["x"]', "--output", "missing/x.jsonl"], "x.jsonl: its folder does not exist"),
        (["a", "--schema", '["x"]', "--html", "missing/x.html"], "x.html: its folder does not exist"),
        (["a", "--schema", '["x"]', "--html", "x", "--output", "./x"], "--html and --output: both are x"),
        (["a", "--schema", '["x"]', "--to", "brat"], "'brat' is not one of 'records', 'label-studio'"),
    ],
)
def test_extract_wrong_arguments_are_one_line_before_a_model_is_loaded(
    run_ldnet, fake_pipeline, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_ldnet("extract", *arguments)
    assert (code, out, len(err)) == (2, "", 1)
    assert message in err[0]
    assert fake_pipeline.names == []


@pytest.fixture
def model_folder(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(str(tmp_path / "model"))
    return tmp_path / "model"


def test_extract_with_a_saved_model_equals_the_pipeline(
    run_ldnet, tiny_pipeline, model_folder, write_lines, schema_json
):
    texts = ["Ann works for the organization", "", "of and in"]
    path = write_lines("x.txt", texts)
    options = ["--schema", schema_json, "--model", model_folder, "--threshold", "0.3"]
    code, out, err = run_ldnet("extract", "--input", path, *options)
    assert (code, err) == (0, [])
    assert records(out) == json.loads(json.dumps(tiny_pipeline(texts, schema=schema_json, threshold=0.3)))


def test_extract_text_too_long_for_the_encoder_is_read_in_windows(
    run_ldnet, model_folder, write_lines, schema_json
):
    path = write_lines("x.txt", ["ok", "a " * 600])
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json, "--model", model_folder)
    assert (code, err) == (0, [])
    assert [record["windows"] for record in records(out)] == [1, 2]


@pytest.mark.parametrize("damage", ["cut", "missing", "no config"])
def test_extract_damaged_checkpoint_is_one_line(run_ldnet, model_folder, schema_json, damage):
    weights = model_folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        (weights if damage == "missing" else model_folder / "config.json").unlink()
    code, out, err = run_ldnet("extract", "a", "--schema", schema_json, "--model", model_folder)
    assert (code, out, len(err)) == (2, "", 1)
    assert str(model_folder) in err[0]


def test_extract_threshold_outside_the_range_is_one_line(run_ldnet, model_folder, schema_json):
    options = ["--schema", schema_json, "--model", model_folder, "--threshold", "1.5"]
    code, out, err = run_ldnet("extract", "a", *options)
    assert (code, out, len(err)) == (2, "", 1)
    assert "1.5" in err[0]


def test_extract_html_is_a_page_of_all_results_beside_the_records(
    run_ldnet, fake_pipeline, schema_json, write_lines, tmp_path
):
    path = write_lines("x.jsonl", [{"id": "a<b", "text": "Ann sees Bob"}, {"text": "<script>"}])
    page = tmp_path / "found.html"
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json, "--html", page)
    assert (code, err) == (0, [])
    assert [record["text"] for record in records(out)] == ["Ann sees Bob", "<script>"]
    shown = page.read_text(encoding="utf-8")
    assert "2 texts · 2 entities · 1 relation" in shown
    assert "a&lt;b" in shown
    assert 'lang="">&lt;script&gt;</div>' in shown


def test_extract_html_of_too_many_texts_shows_the_first_and_says_so(
    run_ldnet, fake_pipeline, schema_json, write_lines, tmp_path, monkeypatch
):
    monkeypatch.setattr("ldnet.train.commands.extract.MAX_PAGE_TEXTS", 2)
    path, page = write_lines("x.txt", ["one", "two", "three"]), tmp_path / "found.html"
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json, "--html", page)
    assert (code, len(records(out))) == (0, 3)
    assert err == [f"{page}: it shows the first 2 texts, 1 are left out"]
    shown = page.read_text(encoding="utf-8")
    assert "The first 2 of 3 texts." in shown
    assert ">two<" in shown
    assert ">three<" not in shown


def test_extract_html_is_not_there_if_extraction_fails(
    run_ldnet, fake_pipeline, schema_json, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        type(fake_pipeline), "__call__", lambda self, texts, **options: map(int, ["no number"])
    )
    code, _, err = run_ldnet("extract", "a", "--schema", schema_json, "--html", tmp_path / "found.html")
    assert (code, len(err)) == (2, 1)
    assert os.listdir(tmp_path) == []


def test_extract_to_label_studio_is_one_list_of_tasks(
    run_ldnet, fake_pipeline, schema_json, write_lines, tmp_path
):
    path, target = (
        write_lines("x.jsonl", [{"id": "a", "text": "Ann"}, {"text": "no"}]),
        tmp_path / "tasks.json",
    )
    options = ["--input", path, "--schema", schema_json, "--to", "label-studio"]
    assert run_ldnet("extract", *options, "--output", target) == (0, "", [])
    code, out, err = run_ldnet("extract", *options)
    tasks = json.loads(target.read_text(encoding="utf-8"))
    assert (code, json.loads(out), err) == (0, tasks, [])
    assert [task["data"]["text"] for task in tasks] == ["Ann", "no"]
    (region,) = tasks[0]["predictions"][0]["result"]
    assert region["value"]["labels"] == ["person"]


def test_extract_to_label_studio_names_what_a_task_cannot_hold(
    run_ldnet, fake_pipeline, schema_json, monkeypatch
):
    span = {"start": 0, "end": 3, "text": "Ann", "score": 0.5}
    monkeypatch.setattr(
        type(fake_pipeline),
        "__call__",
        lambda self, texts, **options: [result("Ann", spans=[span]) for _ in texts],
    )
    code, out, err = run_ldnet("extract", "Ann", "--schema", schema_json, "--to", "label-studio")
    assert (code, len(json.loads(out)), len(err)) == (0, 1, 1)
    assert err[0].startswith("--to label-studio: 1 x ")
