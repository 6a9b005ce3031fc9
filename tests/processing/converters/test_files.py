import gzip
import json
import tempfile
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from record_strategies import records

from ldnet.processing.converters import files
from ldnet.processing.converters.files import (
    convert_rows,
    json_rows,
    open_text,
    parquet_rows,
    read_text,
    text_lines,
    without_nulls,
    write_beside,
    write_records,
)
from ldnet.processing.converters.report import AlignmentReport, ConversionError
from ldnet.train.data import read_records

ROWS = [{"a": 1}, {"a": "\u2028京🙂"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def rows_of(path):
    report = AlignmentReport(str(path))
    rows = list(json_rows(path, report))
    report.finish()
    return rows


@pytest.mark.parametrize(("name", "content", "places"), [
    ("a.jsonl", LINES, [":1", ":2"]),
    ("a.json", LINES, [":1", ":2"]),  # DyGIE++ names its JSON lines so
    ("a.jsonl", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n"), [":1", ":3"]),
    ("a.json", json.dumps(ROWS).encode(), ["[0]", "[1]"]),
    ("a.jsonl.gz", gzip.compress(LINES, mtime=0), [":1", ":2"]),
])  # fmt: skip
def test_json_rows_reads_lines_and_lists_whatever_the_name(tmp_path, name, content, places):
    (tmp_path / name).write_bytes(content)
    rows = rows_of(tmp_path / name)
    assert [row for _, row in rows] == ROWS
    assert [where for where, _ in rows] == [f"{tmp_path / name}{place}" for place in places]


def test_json_rows_of_one_object_is_that(tmp_path):
    (tmp_path / "a.json").write_text('{"data": []}')
    assert rows_of(tmp_path / "a.json") == [(str(tmp_path / "a.json"), {"data": []})]
    (tmp_path / "a.json").write_text("")
    assert rows_of(tmp_path / "a.json") == []


def test_json_rows_names_every_row_that_is_no_object(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n[1]\n{broken\n')
    with pytest.raises(ConversionError) as caught:
        rows_of(tmp_path / "a.jsonl")
    assert [problem.split(": ")[0].rsplit(":", 1)[1] for problem in caught.value.problems] == ["2", "3"]
    assert "not an object" in caught.value.problems[0]
    assert "not valid JSON at column 2" in caught.value.problems[1]


@pytest.mark.parametrize(("name", "content", "match"), [
    ("a.jsonl", b"[" * 100_000, "nested too deeply"),
    ("a.jsonl", b'{"a": "\xff"}', "not UTF-8 at byte 7"),
    ("a.jsonl.gz", b"no", "damaged or cut off"),
    ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:-9], "damaged or cut off"),
    ("a.parquet", b"no", "the Parquet file cannot be read"),
])  # fmt: skip
def test_damaged_files_are_one_line(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConversionError, match=match):
        rows_of(tmp_path / name)


def test_text_lines_only_line_feeds_end_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffa\u2028b\r\nc\rd\n".encode())
    assert [line for _, line in text_lines(tmp_path / "a.txt")] == ["a\u2028b", "c\rd", ""]
    assert read_text(tmp_path / "a.txt") == "a\u2028b\r\nc\rd\n"


def test_convert_rows_names_every_key_that_is_missing_or_wrong(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"t": "x"}\n{"u": "x"}\n{"t": 3}\n')
    report = AlignmentReport("a")
    rows = convert_rows(tmp_path / "a.jsonl", report, {"t": str}, lambda row, where: [{"text": row["t"]}])
    assert next(rows) == {"text": "x"}
    with pytest.raises(ConversionError) as caught:
        list(rows)
    assert [problem.split(": ", 1)[1].split(".")[0] for problem in caught.value.problems] == [
        "t: missing",
        "t = 3: not a str",
    ]


def test_parquet_rows_have_no_nulls_and_come_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PARQUET_ROWS", 1)
    maps = pyarrow.array(
        [[("topic", ["x"])], None], pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.string()))
    )
    table = pyarrow.table({
        "text": ["a", "b"],
        "entities": [[{"start": 0, "fragments": None}], None],
        "spans": [[], None],
        "classes": maps,
        "labels": [{"entities": None}, {"entities": ["x"]}],
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "a.parquet")
    assert list(parquet_rows(tmp_path / "a.parquet")) == [
        {"text": "a", "entities": [{"start": 0}], "spans": [], "classes": {"topic": ["x"]}},
        {"text": "b", "labels": {"entities": ["x"]}},
    ]


def test_without_nulls_keeps_what_is_empty_but_not_null():
    assert without_nulls({"a": [], "b": {}, "c": None, "d": {"e": None}, "f": [None, 0, ""]}) == {
        "a": [],
        "b": {},
        "f": [None, 0, ""],
    }


def test_write_beside_leaves_nothing_half_written(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def fail_in_file():
        with open_text(tmp_path / "a.txt") as file:
            file.write("new")
            raise RuntimeError

    def fail_in_folder():
        with write_beside(tmp_path / "folder") as beside:
            beside.mkdir()
            (beside / "b").write_text("")
            raise RuntimeError

    for fail in (fail_in_file, fail_in_folder):
        with pytest.raises(RuntimeError):
            fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
    with open_text(tmp_path / "a.txt.gz") as file:
        file.write("京\n")
    assert gzip.decompress((tmp_path / "a.txt.gz").read_bytes()).decode() == "京\n"


@settings(max_examples=25)
@given(st.lists(records(most_pieces=2, classes=True), min_size=1, max_size=3))
def test_records_come_back_from_every_kind_of_file(many):
    with tempfile.TemporaryDirectory() as folder:
        for suffix in files.RECORD_SUFFIXES:
            path = Path(folder) / f"a{suffix}"
            write_records(many, path)
            assert read_records(path) == many


def test_write_records_refuses_other_files_and_what_columns_cannot_hold(tmp_path):
    with pytest.raises(ConversionError, match=r"a\.txt: unknown kind of output file\. Allowed: \.jsonl"):
        write_records([], tmp_path / "a.txt")
    with pytest.raises(ConversionError, match=r"a Parquet column cannot hold the records .*Write \.jsonl"):
        write_records([{"id": 1, "text": ""}, {"id": "b", "text": ""}], tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_write_records_to_stdout_is_a_line_each(capsys):
    write_records(ROWS, "-")
    out = capsys.readouterr().out
    assert out.count("\n") == len(out.splitlines()) == 2
    assert [json.loads(line) for line in out.splitlines()] == ROWS
