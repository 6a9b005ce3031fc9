import gzip
import json
import pickle

import pytest

from ldnet.processing.schema import Schema, SchemaError
from ldnet.train.data import (
    RecordError,
    load_records,
    load_schema_for,
    manifest_of,
    read_records,
    validate_file,
    validate_records,
)

RECORDS = [
    {"text": "Jerry\u2028joined 🙂", "entities": [{"type": "person", "start": 0, "end": 5}]},
    {"id": "b", "text": "", "entities": []},
]
LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()


@pytest.mark.parametrize(("name", "content", "records"), [
    ("a.jsonl", LINES, RECORDS),
    ("a.JSONL", LINES, RECORDS),
    ("a.jsonl", LINES.replace(b"\n", b"\r\n"), RECORDS),
    ("a.jsonl", b"\xef\xbb\xbf" + LINES, RECORDS),
    ("a.jsonl", b"\n" + LINES.replace(b"\n", b"\n \n").rstrip(), RECORDS),
    ("a.jsonl.gz", gzip.compress(LINES, mtime=0), RECORDS),
    ("a.json", json.dumps(RECORDS, indent=1).encode(), RECORDS),
    ("a.json", json.dumps(RECORDS[0]).encode(), RECORDS[:1]),
    ("a.jsonl", b"", []),
    ("a.json", b"[]", []),
])  # fmt: skip
def test_read_records_reads_each_kind_of_file(tmp_path, name, content, records):
    (tmp_path / name).write_bytes(content)
    assert read_records(tmp_path / name) == records
    assert read_records(str(tmp_path / name)) == records
    assert load_records(tmp_path / name) == records


def test_read_records_names_every_broken_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n{"text": "b"\n["c"]\n"\xff"\n{"text": "d"}\n' + b"[" * 100_000)
    with pytest.raises(RecordError) as caught:
        read_records(path)
    assert caught.value.problems == [
        f"{path}:3: line = '{{\"text\": \"b\"': not valid JSON at column 13 (Expecting ',' delimiter)."
        f" Write one JSON"
        " object a line.",
        f'{path}:4: line = [\'c\']: not an object. Write a record: {{"text": "…", "entities": […]}}.',
        f"{path}:5: line = '\"�\"': not UTF-8 at byte 1. Convert the file to UTF-8.",
        f"{path}:7: line = '{'[' * 59}…{'[' * 15}': nested too deeply. Write a record as in the"
        f" format's description.",
    ]
    assert str(caught.value).split("\n") == caught.value.problems
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.txt", b"", "a.txt: unknown kind of data file. Allowed: .jsonl, .jsonl.gz, .json, .parquet. Rename or"
     " convert it."),
    ("missing.jsonl", None,
     "missing.jsonl: the file cannot be read (No such file or directory). Check the path, or fetch it"
     " again."),
    ("a.jsonl.gz", LINES,
     "a.jsonl.gz: the file cannot be read (Not a gzipped file (b'{\"')). Check the path, or fetch it again."),
    ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:-12],
     "a.jsonl.gz: the file cannot be read (Compressed file ended before the end-of-stream marker was"
     " reached). Check"
     " the path, or fetch it again."),
    ("a.json", b'{"text": "a"}\n{"text": "b"}',
     "a.json: file: not valid JSON at line 2 column 1 (Extra data). Write a list of records."),
    ("a.json", b"3", "a.json: file = 3: not an object. Write a record: {\"text\": \"…\", \"entities\":"
     " […]}."),
    ("a.json", b'[{"text": "a"}, 3]',
     "a.json[1]: record = 3: not an object. Write a record: {\"text\": \"…\", \"entities\": […]}."),
])  # fmt: skip
def test_read_records_unusable_file_is_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_records(tmp_path / name)
    assert caught.value.problems == [f"{tmp_path}/{message}"]


def test_validate_file_counts_lines_as_the_file_does(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '\n{"text": 1}\n{broken\n\n{"text": "a", "entities": [{"type": "persn", "start": 0, "end": 1}]}\n'
    )
    found = validate_file(path, Schema(["person"]))
    assert [(problem.where, problem.field) for problem in found] == [
        (f"{path}:3", "line"),
        (f"{path}:2", "text"),
        (f"{path}:5", "entities[0].type"),
    ]
    with pytest.raises(RecordError) as caught:
        load_records(path, Schema(["person"]))
    assert caught.value.problems == [str(problem) for problem in found]


def test_validate_file_of_json_counts_items(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a"}, {"txt": "b", "text": "b"}]')
    assert [problem.where for problem in validate_file(path)] == [f"{path}[1]"]
    assert [problem.where for problem in validate_records(read_records(path), source="a.json")] == [
        "a.json[1]"
    ]


def test_load_schema_for_finds_the_schema_beside_the_data(tmp_path):
    assert load_schema_for(tmp_path / "train.jsonl") is None
    (tmp_path / "schema.json").write_text('{"entities": ["person"]}')
    assert load_schema_for(tmp_path / "train.jsonl") == load_schema_for(str(tmp_path)) == Schema(["person"])
    (tmp_path / "schema.json").write_text('{"entities": [3]}')
    with pytest.raises(SchemaError, match=r"schema\.json: entities\[0\] is 3"):
        load_schema_for(tmp_path)


def test_manifest_of_finds_the_manifest_beside_the_data(tmp_path):
    assert manifest_of(tmp_path / "train.jsonl") == {}
    (tmp_path / "manifest.json").write_text('{"name": "x"}')
    assert manifest_of(tmp_path / "train.jsonl") == manifest_of(tmp_path) == {"name": "x"}
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RecordError, match="manifest.json: file: not valid JSON at line 1 column 2"):
        manifest_of(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(RecordError, match=r"manifest.json: file = \[\]: not an object"):
        manifest_of(tmp_path)
