import pytest

from ldnet.processing.converters.report import ConversionError
from ldnet.processing.converters.squad import read_squad

TEXT = "Ann 🙂 met Bob. Bob left\nin 1999."


def squad(*questions):
    return {
        "version": "v2.0",
        "data": [{"title": "t", "paragraphs": [{"context": TEXT, "qas": list(questions)}]}],
    }


def question(name, *answers, **more):
    given = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": f"Q {name}?", "answers": given, **more}


def test_read_squad_is_a_record_a_question(read, counts):
    content = squad(
        question("a", ("Bob", 10), ("Bob", 10), ("Bob left\nin", 15)),
        question("b", is_impossible=True, plausible_answers=[{"text": "Ann", "answer_start": 0}]),
        {"id": "c", "question": "unanswered test question"},
    )
    records, report = read(read_squad, content, "dev.json")
    assert records == [
        {
            "id": "a",
            "text": TEXT,
            "question": "Q a?",
            "answers": [{"start": 10, "end": 13}, {"start": 15, "end": 26}],
        },
        {"id": "b", "text": TEXT, "question": "Q b?", "answers": []},
        {"id": "c", "text": TEXT, "question": "unanswered test question"},
    ]
    assert counts(report) == ({"plausible answer of an impossible question": 1}, {})


def test_read_squad_moves_answers_to_the_nearest_place_or_counts_them(read, counts):
    content = squad(
        question("utf16", ("Bob", 11)),  # counted in UTF-16 units
        question("second", ("Bob", 16)),
        question("gone", ("Eve", 0)),
        question("half", ("Eve", 0), ("1999", None)),
        question("odd", ("Ann", 0), is_impossible=True),
        {"id": "x", "question": "  ", "answers": []},
        {
            "id": "y",
            "question": "no text?",
            "answers": [{"answer_start": 3}, {"text": "Ann", "answer_start": 0}],
        },
    )
    records, report = read(read_squad, content, "dev.json")
    assert {record["id"]: record["answers"] for record in records} == {
        "utf16": [{"start": 10, "end": 13}],
        "second": [{"start": 15, "end": 18}],
        "half": [{"start": 27, "end": 31}],
        "odd": [],
        "y": [{"start": 0, "end": 3}],
    }
    assert counts(report) == (
        {
            "answer that is not in its passage": 2,
            "question of which no answer is in its passage": 1,
            "question without words": 1,
            "answer without a text": 1,
        },
        {
            "answer_start that does not fit: moved to the nearest occurrence": 3,
            "answers of an impossible question: left out": 1,
        },
    )


def test_read_squad_reads_the_rows_of_datasets(read):
    rows = [
        {"id": "a", "context": TEXT, "question": "Who?", "answers": {"text": ["Ann"], "answer_start": [0]}},
        {"id": "b", "context": TEXT, "question": "Why?", "answers": {"text": [], "answer_start": []}},
    ]
    records, _ = read(read_squad, rows)
    assert [record["answers"] for record in records] == [[{"start": 0, "end": 3}], []]
    rows[1]["answers"] = {"text": "Ann"}  # an empty list would say that it cannot be answered
    records, report = read(read_squad, rows)
    assert "answers" not in records[1]
    assert report.lost["answers that are no list"].count == 1


def test_read_squad_names_every_place_that_is_not_in_the_format(read):
    content = {"data": [{"title": "t"}, {"paragraphs": [{"context": TEXT}, {"context": 3, "qas": [{}]}]}]}
    with pytest.raises(ConversionError) as caught:
        read(read_squad, content, "dev.json")
    assert [problem.split(": ")[0].split(".json")[1] for problem in caught.value.problems] == [
        ".data[0]",
        ".data[1].paragraphs[0]",
        ".data[1].paragraphs[1].qas[0]",
        ".data[1].paragraphs[1].qas[0]",
    ]
