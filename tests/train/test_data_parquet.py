import json

import pyarrow
import pytest
from datasets import load_dataset
from pyarrow import parquet

from ldnet.processing.converters.files import write_records
from ldnet.processing.schema import Schema
from ldnet.train.data import RecordError, clean_record, load_records, read_records, validate_file
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.sources import load_source

ANN, ACME = {"type": "person", "start": 0, "end": 3}, {"type": "company", "start": 9, "end": 13}
PIECES = {"type": "x", "start": 2, "end": 5, "fragments": [[2, 3], [4, 5]]}
RECORDS = [
    {
        "id": "a",
        "text": "Ann runs Acme",
        "entities": [ANN, ACME],
        "relations": [{"type": "runs", "head": ANN, "tail": {"start": 9, "end": 13}}],
    },
    {"id": "b", "text": "🙂 a b", "entities": [PIECES]},
    {"id": "c", "text": "京都", "entities": [], "classes": {"topic": ["x"]}, "labels": {"entities": ["x"]}},
    {"id": "d", "text": "nothing is known of this"},
]


@pytest.fixture
def table(tmp_path):
    write_records(RECORDS, tmp_path / "train.parquet")
    return tmp_path / "train.parquet"


def test_read_records_of_parquet_are_those_that_were_written(table):
    assert parquet.read_table(table).to_pylist()[3]["entities"] is None  # the columns do force nulls
    assert read_records(table) == load_records(str(table)) == RECORDS
    assert validate_file(table) == []


def test_parquet_counts_rows_in_problems(tmp_path):
    wrong = [RECORDS[0], {"text": "a", "entities": [{"type": "x", "start": 0, "end": 5}]}]
    write_records(wrong, tmp_path / "a.parquet")
    with pytest.raises(RecordError) as caught:
        load_records(tmp_path / "a.parquet", Schema(["person", "company", "x"], ["runs"]))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{tmp_path}/a.parquet[1]: entities[0].end = 5: outside")


@pytest.mark.parametrize(("content", "message"), [
    (b"PAR1 no", "the Parquet file cannot be read"),
    (None, "the file cannot be read (No such file or directory)"),
])  # fmt: skip
def test_parquet_that_cannot_be_read_is_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_records(tmp_path / "a.parquet")
    assert len(caught.value.problems) == 1
    assert f"{tmp_path}/a.parquet: {message}" in caught.value.problems[0]


def test_load_source_takes_parquet_and_the_schema_beside_it(table):
    schema = Schema(["company", "person", "x"], ["runs"])
    (table.parent / "schema.json").write_text(json.dumps(schema.to_dict()))
    write_records(RECORDS[:2], table)
    source, records = load_source(str(table))
    assert source.schema.relations == schema.relations
    assert records == RECORDS[:2]


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_rows_of_datasets_are_records(table, tmp_path, kind, tiny_processor):
    write_records(RECORDS, tmp_path / "train.json" if kind == "json" else table)
    file = tmp_path / ("train.json" if kind == "json" else "train.parquet")
    rows = load_dataset(kind, data_files=str(file), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows[3]["entities"] is None
    assert read_records(rows) == load_records(rows) == RECORDS
    assert [clean_record(row) for row in rows] == RECORDS
    source = Source("rows", Schema(["person", "company"], ["runs"]))
    example = ExtractionDataset(tiny_processor, [(source, load_records(rows))])[0]
    assert len(example.loops) == 3


def test_json_lines_of_datasets_hold_nulls_that_count_as_absent(table, tmp_path):
    rows = load_dataset("parquet", data_files=str(table), cache_dir=str(tmp_path / "cache"))["train"]
    rows.to_json(tmp_path / "rows.jsonl")
    assert b"null" in (tmp_path / "rows.jsonl").read_bytes()
    assert load_records(tmp_path / "rows.jsonl") == RECORDS
    (tmp_path / "list.json").write_text(json.dumps([dict(row) for row in rows]))
    assert load_records(tmp_path / "list.json") == RECORDS


def test_records_in_memory_that_are_none_are_named():
    with pytest.raises(RecordError, match=r"^records\[1\]: record = 3: not an object"):
        read_records([{"text": "a"}, 3])
    assert read_records([]) == []


def test_clean_record_keeps_what_is_empty():
    row = {"text": "", "entities": [], "relations": None, "classes": {"a": None}, "labels": {}}
    assert clean_record(row) == {"text": "", "entities": [], "labels": {}}


def test_parquet_maps_are_objects(tmp_path):
    kind = pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.string()))
    table = pyarrow.table({"text": ["a"], "classes": pyarrow.array([[("topic", ["x"])]], kind)})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert load_records(tmp_path / "a.parquet") == [{"text": "a", "classes": {"topic": ["x"]}}]
