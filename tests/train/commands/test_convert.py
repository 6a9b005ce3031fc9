import json

import pytest

from ldnet.processing.schema import Schema
from ldnet.train.data import load_records

BIO = "Ann B-PER\nLee I-PER\nruns O\nAcme I-ORG\n\n🙂 O\nBonn B-LOC\n"
RECORDS = [
    {
        "text": "Ann Lee runs Acme",
        "entities": [{"type": "PER", "start": 0, "end": 7}, {"type": "ORG", "start": 13, "end": 17}],
    },
    {"text": "🙂 Bonn", "entities": [{"type": "LOC", "start": 2, "end": 6}]},
]


@pytest.fixture
def bio(tmp_path):
    (tmp_path / "train.conll").write_text(BIO, encoding="utf-8")
    return tmp_path / "train.conll"


def test_convert_to_stdout_is_a_record_a_line_and_the_account_is_on_stderr(run_ldnet, bio, monkeypatch):
    monkeypatch.setattr("ldnet.train.reporting.PLAIN_WIDTH", 500)  # however long the path: nothing is folded
    code, out, err = run_ldnet("convert", bio)
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == RECORDS
    assert err[0] == f"read {bio}: 2 records, 3 entities; 0 lost, 1 repaired"
    assert any("begins with I-" in line and f"{bio}:4" in line for line in err)


def test_convert_writes_records_schema_and_report(run_ldnet, bio, tmp_path):
    (tmp_path / "names.json").write_text('{"PER": "person", "ORG": "company", "LOC": "place"}')
    files = {name: tmp_path / name for name in ("a.jsonl", "schema.json", "report.json")}
    targets = ["--output", files["a.jsonl"], "--schema-output", files["schema.json"]]
    names = f"label_map={tmp_path / 'names.json'}"
    code, out, _ = run_ldnet("convert", bio, *targets, "--report", files["report.json"], "--set", names)
    assert (code, out) == (0, "")
    schema = Schema.from_any(files["schema.json"])
    assert [entity.name for entity in schema.entities] == ["company", "person", "place"]
    assert load_records(files["a.jsonl"], schema)[1]["entities"] == [{"type": "place", "start": 2, "end": 6}]
    report = json.loads(files["report.json"].read_text(encoding="utf-8"))
    assert report["read"]["structures"] == {"entities": 3}
    (repaired,) = report["read"]["repaired"].values()
    assert repaired == {"count": 1, "examples": [{"where": f"{bio}:4", "value": "'I-ORG'"}]}


def test_convert_records_to_each_target_and_back_are_the_same(run_ldnet, write_lines, tmp_path):
    source = write_lines("a.jsonl", [{"id": f"r{i}", **record} for i, record in enumerate(RECORDS)])
    for target, name in (("bio", "a.bio"), ("brat", "brat"), ("spacy", "a.spacy")):
        if target == "spacy":
            pytest.importorskip("spacy")
        assert run_ldnet("convert", source, "--to", target, "--output", tmp_path / name)[0] == 0
        code, out, _ = run_ldnet("convert", tmp_path / name)
        assert code == 0
        back = [json.loads(line) for line in out.splitlines()]
        assert [{key: record[key] for key in ("text", "entities")} for record in back] == RECORDS
    for name in ("a.parquet", "b.json", "c.jsonl.gz"):
        assert run_ldnet("convert", source, "--output", tmp_path / name)[0] == 0
        assert load_records(tmp_path / name) == load_records(source)


def test_convert_counts_what_the_target_cannot_hold(run_ldnet, write_lines, tmp_path, ann_and_bob):
    source = write_lines("a.jsonl", [ann_and_bob])
    report = tmp_path / "report.json"
    code, out, err = run_ldnet("convert", source, "--to", "bio", "--report", report)
    assert code == 0
    assert out.splitlines()[0] == "Ann\tB-person"
    assert any(
        "relations: columns of tags cannot hold them" in line and line.endswith(" 1 │") for line in err
    )
    assert (
        json.loads(report.read_text())["written"]["lost"]["relations: columns of tags cannot hold them"][
            "examples"
        ][0]["where"]
        == "a-1"
    )


def test_convert_descriptions_of_gliner2_reach_the_schema(run_ldnet, write_lines, tmp_path):
    output = {"entities": {"person": ["Ann"], "place": []}, "entity_descriptions": {"person": "A human."}}
    source = write_lines("a.jsonl", [{"input": "Ann", "output": output}])
    assert run_ldnet("convert", source, "--schema-output", tmp_path / "schema.json")[0] == 0
    schema = Schema.from_any(tmp_path / "schema.json")
    assert [(entity.name, entity.description) for entity in schema.entities] == [
        ("person", "A human."),
        ("place", None),
    ]


def test_convert_labels_outside_the_schema_are_errors_and_nothing_is_written(run_ldnet, bio, tmp_path):
    code, out, err = run_ldnet(
        "convert",
        bio,
        "--schema",
        '["PER", "LOC"]',
        "--output",
        tmp_path / "a.jsonl",
        "--report",
        tmp_path / "r",
    )
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert f"{bio}: record 0: entities[1].type = 'ORG': no entity type of the schema" in err[0]
    assert [path.name for path in tmp_path.iterdir()] == ["train.conll"]


def test_convert_with_a_schema_writes_that_schema(run_ldnet, bio, tmp_path):
    schema = '{"entities": ["PER", "ORG", "LOC", "DATE"]}'
    run_ldnet("convert", bio, "--schema", schema, "--schema-output", tmp_path / "s.json")
    assert Schema.from_any(tmp_path / "s.json") == Schema.from_any(schema)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "gliner"], "line = 'Ann B-PER': not valid JSON"),
        (["--from", "brad"], "format 'brad': is not known"),
        (
            ["--to", "gliner"],
            "format 'gliner': there is no way to write it. Allowed: records, bio, brat, spacy",
        ),
        (
            ["--to", "brat"],
            "format 'brat': cannot be written to stdout. Name a file or folder with --output.",
        ),
        (["--set", "label_colum=1"], "--set label_colum: no such option. Allowed: label_map, text_column,"),
        (["--set", "unit"], "--set unit: has no value; write NAME=VALUE"),
        (["--set", "unit=page"], "--set unit=page: unknown value. Allowed: sentence, document."),
        (["--set", "label_map=names.txt"], "names.txt: unknown kind of data file"),
        (["--output", "a.txt"], "a.txt: unknown kind of output file. Allowed: .jsonl,"),
        (["--report", "no/such/r.json"], "no/such/r.json: its folder does not exist"),
        (["--schema", "PER"], "PER"),
    ],
)
def test_convert_wrong_input_is_code_2_and_says_what_is_allowed(
    run_ldnet, bio, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_ldnet("convert", bio, *arguments)
    assert (code, out) == (2, "")
    assert message in err[-1] or message in err[0]
    assert [path.name for path in tmp_path.iterdir()] == ["train.conll"]


def test_convert_missing_file_is_one_line(run_ldnet):
    assert run_ldnet("convert", "missing.conll", "--from", "bio")[::2] == (
        2,
        ["missing.conll: No such file or directory. Check the path and the disk."],
    )


def test_convert_label_map_that_is_none_is_an_error(run_ldnet, bio, write_lines):
    names = write_lines("names.json", ['{"PER": 3}'])
    code, _, err = run_ldnet("convert", bio, "--set", f"label_map={names}")
    assert (code, len(err)) == (2, 1)
    assert "no map of labels" in err[0]
