import gzip
import io
import json
import sys

import pyarrow
import pytest
from pyarrow import parquet

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
    (tmp_path / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith("gz") else content)
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
        b'{"text": "\xff"}',
        '{"text": "\\ud800"}',
        {"id": [1], "text": "a"},
        {"text": "a", "question": 5},
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
            "not UTF-8 at byte",
            "half of a surrogate pair",
            "id = [1]: not a string",
            "question = 5: not a string",
        ],
        strict=True,
    ):
        assert message in line


def test_extract_bad_lines_of_a_text_file_are_reported(run_ldnet, fake_pipeline, schema_json, write_lines):
    path = write_lines("x.txt", ["Ann", b"\xff\xfe", "ok"])
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json)
    assert (code, len(records(out))) == (2, 2)
    assert [line.split(": ")[0] for line in err] == [f"{path}:2"]


def test_extract_cut_off_gzip_keeps_what_can_be_read(run_ldnet, fake_pipeline, schema_json, tmp_path):
    lines = b"".join(b'{"text": "%d"}\n' % number for number in range(20_000))
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(lines, mtime=0)[:-2000])
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json)
    assert code == 2
    assert len(records(out)) > 100
    assert len(err) == 1
    assert f"{path}: file: the file is damaged or cut off" in err[0]


def test_extract_without_any_text_on_a_terminal_is_an_error(
    run_ldnet, fake_pipeline, schema_json, monkeypatch
):
    monkeypatch.setattr(sys, "stdin", Terminal())
    code, _, err = run_ldnet("extract", "--schema", schema_json)
    assert (code, len(err)) == (2, 1)
    assert "no text is given" in err[0]


def test_extract_records_bring_their_own_questions_where_the_schema_asks_one(
    run_ldnet, fake_pipeline, write_lines, monkeypatch
):
    given = []
    monkeypatch.setattr(
        type(fake_pipeline),
        "__call__",
        lambda self, texts, **options: (given.append(t) or result("") for t in texts),
    )
    path = write_lines("x.jsonl", [{"text": "a", "question": "Who?"}, {"text": "b"}])
    assert run_ldnet("extract", "--input", path, "--schema", '{"question": "What?"}')[0] == 0
    assert run_ldnet("extract", "--input", path, "--schema", '["person"]')[0] == 0
    assert given == [{"text": "a", "question": "Who?"}, "b", "a", "b"]


def test_extract_reads_the_rows_of_a_parquet_file(run_ldnet, fake_pipeline, schema_json, tmp_path):
    path = tmp_path / "x.parquet"
    rows = [{"id": "a", "text": "Ann"}, {"id": None, "text": "ok"}, {"id": "c", "text": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    code, out, err = run_ldnet("extract", "--input", path, "--schema", schema_json)
    assert (code, [record.get("id") for record in records(out)]) == (2, ["a", None])
    assert [line.split(": ")[:2] for line in err] == [[f"{path}[2]", "text"]]
