import gzip
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


def pipe_in(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


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
    assert fake_pipeline.options["overlap"] == "nested"


def test_extract_text_file_gives_a_record_a_line_also_for_empty_lines(
    run_ldnet, fake_pipeline, schema_json, write_lines
):
    path = write_lines("x.txt", [b"\xef\xbb\xbfAnn\r", "", "a\u2028b {"])
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json)
    assert (code, err) == (0, [])
    assert records(out) == [result("Ann", [ANN]), result(""), result("a\u2028b {")]
    assert out.count("\n") == 3


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.json"])
def test_extract_records_carry_their_ids_and_no_other_key(
    run_ldnet, fake_pipeline, schema_json, tmp_path, name
):
    rows = [
        {"id": "a", "text": "Ann", "mine": 1},
        {"text": "no name"},
        {"id": 0, "text": "Ann", "entities": []},
    ]
    content = json.dumps(rows) if name.endswith("json") else "\n\n".join(map(json.dumps, rows))
    content = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    code, out, err = run_ldnet("extract", "--input", tmp_path / name, "--schema", schema_json)
    assert (code, err) == (0, [])
    assert records(out) == [result("Ann", [ANN], id="a"), result("no name"), result("Ann", [ANN], id=0)]


@pytest.mark.parametrize("arguments", [[], ["--input", "-"]])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"Ann\nno\n", [result("Ann", [ANN]), result("no")]),
        (b'\n{"text": "Ann", "id": "x"}\n', [result("Ann", [ANN], id="x")]),
        (b"{no json}\n", [result("{no json}")]),
        (b"", []),
    ],
)
def test_extract_stdin_is_lines_or_records(
    run_ldnet, fake_pipeline, schema_json, monkeypatch, arguments, content, expected
):
    pipe_in(monkeypatch, content)
    code, out, err = run_ldnet("extract", *arguments, "--schema", schema_json)
    assert (code, records(out), err) == (0, expected, [])


def test_extract_bad_lines_are_reported_together_and_good_ones_extracted(
    run_ldnet, fake_pipeline, schema_json, write_lines
):
    lines = [
        {"id": "good-1", "text": "Ann"},
        "{broken",
        {"id": "x"},
        [1],
        {"text": 5},
        {"text": "one two three four five six seven eight nine"},
        b'{"text": "\xff"}',
        '{"text": "\\ud800"}',
        {"id": [1], "text": "a"},
        {"id": "good-2", "text": "ok"},
    ]
    path = write_lines("x.jsonl", lines)
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json)
    assert code == 2
    assert [record["id"] for record in records(out)] == ["good-1", "good-2"]
    assert [line.split(": ")[0] for line in err] == [f"{path}:{number}" for number in range(2, 10)]
    for line, message in zip(
        err,
        [
            "not valid JSON at column 2",
            "text: missing",
            "not an object",
            "text = 5: not a string",
            "9 tokens, but the model reads 8",
            "not UTF-8 at byte",
            "half of a surrogate pair",
            "id = [1]: not a string",
        ],
        strict=True,
    ):
        assert message in line


def test_extract_bad_lines_of_a_text_file_are_reported(run_ldnet, fake_pipeline, schema_json, write_lines):
    path = write_lines("x.txt", ["Ann", b"\xff\xfe", "w " * 9])
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json)
    assert (code, len(records(out))) == (2, 1)
    assert [line.split(": ")[0] for line in err] == [f"{path}:2", f"{path}:3"]


def test_extract_cut_off_gzip_keeps_what_can_be_read(run_ldnet, fake_pipeline, schema_json, tmp_path):
    lines = b"".join(b'{"text": "%d"}\n' % number for number in range(20_000))
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(lines)[:-2000])
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json)
    assert code == 2
    assert len(records(out)) > 100
    assert len(err) == 1
    assert f"{path}: file: the file is damaged or cut off" in err[0]


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
        (["a", "--schema", '{"events": [{"type": "attack"}]}'], "events"),
        (["a", "--input", "x.txt", "--schema", '["x"]'], "a text and --input x.txt are both given"),
        (["--input", "x.csv", "--schema", '["x"]'], "x.csv: unknown kind of input file"),
        (["--input", "missing.txt", "--schema", '["x"]'], "missing.txt: No such file or directory"),
        (["a", "--schema", '["x"]', "--output", "missing/x.jsonl"], "x.jsonl: its folder does not exist"),
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


def test_extract_without_any_text_on_a_terminal_is_an_error(
    run_ldnet, fake_pipeline, schema_json, monkeypatch
):
    monkeypatch.setattr(sys, "stdin", Terminal())
    code, _, err = run_ldnet("extract", "--schema", schema_json)
    assert (code, len(err)) == (2, 1)
    assert "no text is given" in err[0]


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


def test_extract_text_too_long_for_a_saved_model_is_one_line(
    run_ldnet, model_folder, write_lines, schema_json
):
    path = write_lines("x.txt", ["ok", "a " * 600])
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json, "--model", model_folder)
    assert (code, len(records(out)), len(err)) == (2, 1, 1)
    assert f"{path}:2: text = " in err[0]
    assert "600 tokens" in err[0]


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
