import copy
import json

import pytest
from foreign_rows import FULL

from ldnet.processing.converters import FORMATS, AlignmentReport, ConversionError
from ldnet.processing.converters.conll import read_conll, write_conll
from ldnet.processing.converters.formats import (
    format_named,
    guess_format,
    options_of,
    parse_options,
    read_format,
    rename_labels,
    write_format,
)
from ldnet.processing.converters.gliner import read_gliner
from ldnet.processing.converters.label_studio_export import read_label_studio
from ldnet.processing.schema import Schema
from ldnet.train.validation import validate_records

DAMAGE = (None, True, "", {}, [[0, 0, "x"]])

ROWS = {
    "gliner": {"tokenized_text": ["a"], "ner": []},
    "gliner2": {"input": "a", "output": {"entities": {}}},
    "mirror": {"text": "a", "schema": {}, "ans": {}},
    "dygie": {"doc_key": "d", "sentences": [["a"]], "ner": [[]]},
    "uie": {"content": "a", "prompt": "b", "result_list": []},
    "spert": {"tokens": ["a"], "entities": [], "relations": []},
    "squad": {"context": "a", "question": "b?", "answers": {"text": [], "answer_start": []}},
    "label-studio": {"data": {"text": "a"}, "annotations": []},
    "doccano": {"text": "a", "label": [[0, 1, "x"]]},
    "records": {"text": "a", "entities": []},
}


@pytest.mark.parametrize("name", ROWS)
def test_guess_format_by_the_keys_of_a_row_and_read_it(tmp_path, name):
    for file, content in (("a.jsonl", ROWS[name]), ("a.json", [ROWS[name]])):
        (tmp_path / file).write_text(json.dumps(content))
        assert guess_format(tmp_path / file) == name
    if name != "records":
        report = AlignmentReport("a")
        records = list(read_format(name, tmp_path / "a.json", report))
        assert [record["text"] for record in records] == ["a"] * (name != "label-studio")


def test_guess_format_json_min_may_have_a_control_named_label(tmp_path):
    row = {"text": "a", "label": [], "annotator": 1, "annotation_id": 2}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    assert guess_format(tmp_path / "a.json") == "label-studio"


def test_guess_format_by_the_name(tmp_path):
    for name, expected in (("a.conll", "bio"), ("A.BIO", "bio"), ("a.spacy", "spacy"), ("a.ann", "brat")):
        (tmp_path / name).write_text("")
        assert guess_format(tmp_path / name) == expected
    assert guess_format(tmp_path) == "brat"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "a O", "shows no format. Name it with --from: records, bio, brat"),
        ("a.json", "{}", "shows no format"),
        ("a.json", '{"text": "a", "label": [], "entities": []}', "could be doccano or records"),
        ("a.json", '{"text": "a", "entities": [{"start_offset": 0}]}', None),
    ],
)
def test_guess_format_that_is_not_sure_asks(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    if message is None:
        assert guess_format(tmp_path / name) == "doccano"
        return
    with pytest.raises(ConversionError, match=message):
        guess_format(tmp_path / name)


def test_format_named_knows_aliases_and_what_can_be_written():
    assert format_named("conll", "read") is FORMATS["bio"]
    assert format_named("pure", "read").read is FORMATS["dygie"].read
    with pytest.raises(
        ConversionError, match="format 'gliner': there is no way to write it. Allowed: records, bio"
    ):
        format_named("gliner", "write")
    with pytest.raises(ConversionError, match="format 'brad': is not known.* Did you mean 'brat'"):
        format_named("brad", "read")


def test_every_format_reads_and_the_asked_ones_write():
    assert [name for name, item in FORMATS.items() if item.read is None] == []
    assert [name for name, item in FORMATS.items() if item.write] == ["bio", "brat", "spacy", "label-studio"]
    for item in FORMATS.values():
        for function in (item.read, item.write):
            for parameter in options_of(function).values() if function else ():
                assert parameter.default is not parameter.empty


def test_parse_options_by_the_types_of_the_parameters():
    given = {"label_column": "-2", "unit": "document", "separator": ""}
    assert parse_options(read_conll, given) == {"label_column": -2, "unit": "document", "separator": ""}
    assert parse_options(read_gliner, {}) == {}
    assert "schema" not in options_of(read_label_studio)


def test_parse_options_names_every_wrong_one():
    with pytest.raises(ConversionError) as caught:
        parse_options(write_conll, {"scheme": "bil", "token": "words"})
    assert caught.value.problems == [
        "--set scheme=bil: unknown value. Allowed: bio, bioes.",
        "--set token: no such option. Allowed: scheme, tokens. Did you mean 'tokens'?",
    ]
    with pytest.raises(ConversionError, match="--set label_column=last: not a whole number"):
        parse_options(read_conll, {"label_column": "last"})


def test_read_format_hands_the_schema_to_who_asks_for_it(tmp_path):
    row = {"data": {"text": "a"}, "annotations": [{"result": []}]}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    schema = Schema(["x"], ["r"])
    (record,) = read_format("label-studio", tmp_path / "a.json", AlignmentReport("a"), schema=schema)
    assert record == {"text": "a", "entities": [], "relations": []}
    (tmp_path / "a.bio").write_text("a B-x\n")
    (record,) = read_format("bio", tmp_path / "a.bio", AlignmentReport("a"), schema=schema)
    assert "relations" not in record


def test_write_format_folders_and_bytes_need_a_path():
    for name in ("brat", "spacy"):
        with pytest.raises(ConversionError, match="cannot be written to stdout"):
            write_format(name, [], "-", AlignmentReport("a"))


def test_rename_labels_renames_every_kind_of_label_and_nothing_else():
    record = {
        "id": "PER",
        "text": "PER",
        "entities": [{"type": "PER", "start": 0, "end": 3, "text": "PER"}],
        "relations": [
            {"type": "R", "head": {"type": "PER", "start": 0, "end": 3}, "tail": {"start": 0, "end": 3}}
        ],
        "events": [
            {
                "type": "E",
                "trigger": {"start": 0, "end": 3},
                "arguments": [{"role": "R", "start": 0, "end": 3}],
            }
        ],
        "classes": {"T": ["C", "D"]},
        "labels": {"entities": ["PER", "LOC"], "classes": {"T": ["C"]}},
    }
    renamed = rename_labels(record, {"PER": "person", "R": "rel", "E": "event", "T": "topic", "C": "class"})
    assert renamed == {
        "id": "PER",
        "text": "PER",
        "entities": [{"type": "person", "start": 0, "end": 3, "text": "PER"}],
        "relations": [
            {"type": "rel", "head": {"type": "person", "start": 0, "end": 3}, "tail": {"start": 0, "end": 3}}
        ],
        "events": [
            {
                "type": "event",
                "trigger": {"start": 0, "end": 3},
                "arguments": [{"role": "rel", "start": 0, "end": 3}],
            }
        ],
        "classes": {"topic": ["class", "D"]},
        "labels": {"entities": ["person", "LOC"], "classes": {"topic": ["class"]}},
    }
    assert record["entities"][0]["type"] == "PER"


def places_of(value, path=()):
    """The paths of all nodes of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places_of(item, (*path, key))


def with_value(row, path, value):
    """A copy of a row with another value at a place."""
    row = copy.deepcopy({"row": row})
    node, path = row, ("row", *path)
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return row["row"]


@pytest.mark.parametrize(("name", "row"), FULL, ids=[f"{name}-{i}" for i, (name, _) in enumerate(FULL)])
def test_readers_of_damaged_rows_give_valid_records_or_an_error(tmp_path, name, row):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row]))
    report = AlignmentReport("a")
    (record,) = read_format(name, path, report)
    assert validate_records([record]) == []
    for place in places_of(row):
        for value in DAMAGE:
            damaged = with_value(row, place, value)
            path.write_text(json.dumps([damaged]))
            try:
                records = list(read_format(name, path, AlignmentReport("a")))
            except ConversionError:
                continue
            assert validate_records(records) == [], (place, value)
            Schema.from_records(records)
