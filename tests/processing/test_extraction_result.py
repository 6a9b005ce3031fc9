import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from result_examples import FULL, TEXT, results

from ldnet.processing.extraction_result import ExtractionResult
from ldnet.train.validation import validate_records

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "result_schema.json").read_text(encoding="utf-8"))


def result(**found):
    return ExtractionResult({"text": TEXT, **found, "truncated": False})


def test_result_is_a_plain_dict_in_every_respect():
    full = ExtractionResult(FULL)
    assert full == FULL
    assert isinstance(full, dict)
    assert json.loads(json.dumps(full)) == FULL
    assert {**full} == FULL
    assert repr(full) == repr(FULL)


@pytest.mark.parametrize("carry", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))])
def test_result_that_is_copied_or_pickled_keeps_its_methods(carry):
    again = carry(ExtractionResult(FULL))
    assert type(again) is ExtractionResult
    assert again == FULL


def test_results_become_a_data_set():
    from datasets import Dataset

    rows = Dataset.from_list([result(entities=FULL["entities"]), result(entities=[])])
    assert [entity["text"] for entity in rows[0]["entities"]] == ["Ann Lee", "Lee", "Acme", "pain legs"]
    assert rows[1]["entities"] == []


@given(results())
@settings(max_examples=25)
def test_to_json_reads_back_and_is_one_line(plain):
    text = ExtractionResult(plain).to_json()
    assert json.loads(text) == plain
    assert text.splitlines() == [text]


def test_to_json_with_indent_has_lines_and_letters_as_they_are():
    assert ExtractionResult({"text": "é北"}).to_json(indent=1) == '{\n "text": "é北"\n}'


def test_to_json_with_nan_is_an_error():
    with pytest.raises(ValueError, match="not JSON compliant"):
        result(entities=[{"score": float("nan")}]).to_json()


def test_to_record_strips_what_extraction_added():
    assert ExtractionResult(FULL).to_record() == {
        "id": "r-1",
        "text": TEXT,
        "entities": [
            {"type": "person", "start": 0, "end": 7},
            {"type": "name", "start": 4, "end": 7},
            {"type": "organization", "start": 11, "end": 15},
            {"type": "symptom", "start": 24, "end": 47, "fragments": [[24, 28], [43, 47]]},
        ],
        "relations": [
            {
                "type": "works for",
                "head": {"type": "person", "start": 0, "end": 7},
                "tail": {"type": "organization", "start": 11, "end": 15},
            }
        ],
        "hyper_relations": [
            {
                "type": "employer",
                "head": {"type": "organization", "start": 11, "end": 15},
                "tail": {"start": 16, "end": 20},
                "qualifiers": [{"type": "place", "start": 36, "end": 40}],
            }
        ],
        "events": [
            {
                "type": "statement",
                "trigger": {"start": 16, "end": 20},
                "arguments": [
                    {"role": "speaker", "start": 0, "end": 7},
                    {"role": "topic", "start": 36, "end": 40},
                ],
            }
        ],
        "classes": {"tone": ["neutral"], "topic": []},
        "question": "Who spoke?",
        "answers": [{"start": 0, "end": 7}],
        "spans": [{"start": 21, "end": 32}],
    }


@given(results())
@settings(max_examples=25)
def test_to_record_of_any_result_is_a_valid_record_and_leaves_the_result_alone(plain):
    before = copy.deepcopy(plain)
    record = ExtractionResult(plain).to_record()
    assert validate_records([record]) == []
    assert type(record) is dict
    assert plain == before
    assert record.keys() == plain.keys() - {"truncated", "windows", "rows", "calibrated"}


def test_to_html_writes_the_page_whole_and_nothing_beside_it(tmp_path):
    page = ExtractionResult(FULL).to_html(tmp_path / "found.html", title="Found")
    assert (tmp_path / "found.html").read_bytes().decode() == page
    assert [path.name for path in tmp_path.iterdir()] == ["found.html"]
    assert '<h1 dir="auto">Found</h1>' in page


def test_to_html_that_cannot_be_written_is_an_error_and_leaves_the_old_file(tmp_path):
    target = tmp_path / "found.html"
    target.write_text("old")
    broken = result(entities=[{"type": "x", "start": 0, "end": 999, "text": "", "score": 1.0}])
    with pytest.raises(ValueError, match="the x from 0 to 999 is not inside the text of 48 characters"):
        broken.to_html(target)
    with pytest.raises(OSError, match="missing"):
        ExtractionResult(FULL).to_html(tmp_path / "missing" / "found.html")
    assert target.read_text() == "old"


def test_result_shows_itself_in_a_notebook():
    shown = ExtractionResult(FULL)._repr_html_()
    assert shown.startswith('<div class="ldnet">')
    assert "<html" not in shown


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA)


def test_full_result_fits_the_published_schema(validator):
    validator.validate(FULL)
    assert SCHEMA["properties"].keys() == FULL.keys()  # nothing published that no result has


@given(plain=results())
@settings(max_examples=25)
def test_any_result_fits_the_published_schema(validator, plain):
    validator.validate(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truncated": None}, "None is not of type 'boolean'"),
        ({"labels": {}}, "'labels' was unexpected"),
        ({"entities": [{"start": 0, "end": 1, "text": "A", "score": 0.5}]}, "'type' is a required property"),
        ({"spans": [{"start": 0, "end": 1, "text": "A", "score": 1.5}]}, "1.5 is greater than the maximum"),
        ({"spans": [{"start": -1, "end": 1, "text": "A", "score": 1}]}, "-1 is less than the minimum"),
        (
            {"spans": [{"start": 0, "end": 1, "text": "A", "score": 1, "fragments": [[0, 1]]}]},
            "too short",
        ),
        ({"classes": {"tone": ["neutral"]}}, "'neutral' is not of type 'object'"),
    ],
)
def test_what_is_no_result_does_not_fit_the_published_schema(validator, change, message):
    problems = [error.message for error in validator.iter_errors(FULL | change)]
    assert len(problems) == 1
    assert message in problems[0]
