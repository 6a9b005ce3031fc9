import pytest

from ldnet.processing.converters.mirror import read_mirror
from ldnet.processing.converters.report import ConversionError

TEXT = "Ann 🙂 hit Bob in Bonn"
ANN, BOB = {"text": "Ann", "span": [0, 3]}, {"text": "Bob", "span": [10, 13]}


def row(schema, answers, text=TEXT, **more):
    return {"id": "x", "instruction": "", "schema": schema, "ans": answers, "text": text, "bg": "", **more}


def test_read_mirror_reads_every_structure(read, counts):
    schema = {
        "ent": ["person", "place"],
        "rel": ["hits"],
        "hyper_rel": ["meets"],
        "event": {"attack": ["who"]},
        "cls": ["good", "bad"],
    }
    answers = {
        "ent": [{"type": "person", **ANN}, {"type": "person", **BOB}],
        "rel": [{"relation": "hits", "head": ANN, "tail": BOB}],
        "hyper_rel": [
            {
                "relation": "meets",
                "head": ANN,
                "tail": BOB,
                "qualifiers": [{"label": "where", "text": "Bonn", "span": [17, 21]}],
            }
        ],
        "event": [
            {
                "event_type": "attack",
                "trigger": {"text": "hit", "span": [6, 9]},
                "args": [{"role": "who", **ANN}],
            }
        ],
        "cls": ["bad"],
    }
    (record,), report = read(read_mirror, [row(schema, answers)])
    ann, bob = {"type": "person", "start": 0, "end": 3}, {"type": "person", "start": 10, "end": 13}
    assert record["entities"] == [ann, bob]
    assert record["relations"] == [{"type": "hits", "head": ann, "tail": bob}]
    assert record["hyper_relations"][0]["qualifiers"] == [{"type": "where", "start": 17, "end": 21}]
    assert record["events"][0]["arguments"] == [{"role": "who", "start": 0, "end": 3}]
    assert record["classes"] == {"class": ["bad"]}
    assert record["labels"] == {
        "entities": ["person", "place"],
        "relations": ["hits"],
        "hyper_relations": ["meets"],
        "events": ["attack"],
        "classes": {"class": ["good", "bad"]},
    }
    assert counts(report) == ({}, {})


def test_read_mirror_discontinuous_entities_have_pieces(read, counts):
    pieces = {"type": "pair", "text": "Ann Bob", "span": [[0, 3], [10, 13]]}
    answers = {"discontinuous_ent": [pieces, {**pieces, "text": "Ann Eve"}, {"type": "pair", "text": "x"}]}
    (record,), report = read(read_mirror, [row({"discontinuous_ent": ["pair"]}, answers)])
    assert record["entities"] == [{"type": "pair", "start": 0, "end": 13, "fragments": [[0, 3], [10, 13]]}]
    assert counts(report)[0] == {
        "discontinuous mention whose words are not at its places": 1,
        "mention that is not {text, span: [start, end]}": 1,
    }


def test_read_mirror_spans_are_answers_where_there_is_a_question(read, counts):
    rows = [
        row({}, {"span": [ANN]}, instruction="Who hits?"),
        row({}, {"span": []}, instruction="Why?", id="y"),
        row({}, {"span": [ANN]}, id="z"),
        row({}, {"span": [BOB]}, text="", bg=TEXT, instruction="Whom?", id="bg"),
        row({}, {"span": [{"text": "Eve", "span": [0, 3]}]}, bg="more", instruction="Who?", id="gone"),
    ]
    records, report = read(read_mirror, rows)
    assert records[0] == {
        "id": "x",
        "text": TEXT,
        "question": "Who hits?",
        "answers": [{"start": 0, "end": 3}],
    }
    assert records[1]["answers"] == []
    assert records[2] == {"id": "z", "text": TEXT, "spans": [{"start": 0, "end": 3}]}
    assert (records[3]["text"], records[3]["answers"]) == (TEXT, [{"start": 10, "end": 13}])
    assert records[4] == {"id": "gone", "text": TEXT}
    assert counts(report) == (
        {
            "background text beside the text": 1,
            "mention whose words are not in the text": 1,
            "question of which no answer is in its text": 1,
        },
        {"row with a background only: read as its text": 1},
    )


def test_read_mirror_moves_or_counts_what_does_not_fit(read, counts):
    answers = {
        "ent": [{"type": "person", "text": "Bob", "span": [11, 14]}, {"type": "", **ANN}],
        "rel": [{"relation": "hits", "head": ANN, "tail": {"text": "Eve", "span": [0, 3]}}],
        "event": [
            {
                "event_type": "attack",
                "trigger": {"text": "hit", "span": [6, 9]},
                "args": [ANN, {"role": "who"}],
            },
            {"event_type": "attack"},
        ],
        "new": [1, 2],
    }
    (record,), report = read(read_mirror, [row({"ent": ["person"]}, answers)])
    assert record["entities"] == [{"type": "person", "start": 10, "end": 13}]
    assert record["events"][0]["arguments"] == []
    lost, repaired = counts(report)
    assert lost["new: not known"] == 2
    assert lost["argument without a label or a mention"] == 2
    assert lost["event without a type or a trigger"] == 1
    assert lost["relation without a type or an end"] == 1
    assert lost["entity without a type"] == 1
    assert repaired == {"offsets that do not fit the words: moved to the nearest": 1}


def test_read_mirror_of_another_format_is_an_error(read):
    with pytest.raises(ConversionError) as caught:
        read(read_mirror, [{"text": "a"}])
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["schema", "ans"]
