import pytest
from hypothesis import HealthCheck, given, settings
from record_strategies import entities_of, token_runs

from ldnet.processing.converters.gliner import read_gliner
from ldnet.processing.converters.report import ConversionError

ENTITY = "entity that is not [first token, last token, label] of its text"
RELATION = "relation that is not [head, tail, label] with entities of its row"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token_runs())
def test_read_gliner_ends_are_inclusive(read, item):
    tokens, runs = item
    (record,), report = read(read_gliner, [{"tokenized_text": tokens, "ner": list(map(list, runs))}])
    assert record == {"text": " ".join(tokens), "entities": entities_of(tokens, runs)}
    assert not report.lost


def test_read_gliner_reads_lists_relations_and_asked_types(read, counts):
    row = {
        "id": 7,
        "tokenized_text": ["京都", "is", "in", "Japan"],
        "ner": [[0, 0, "city"], [3, 3, "country"]],
        "relations": [[0, 1, "located in"]],
        "ner_negatives": ["river"],
        "rel_labels": ["capital of"],
    }
    (record,), report = read(read_gliner, [[row]][0], "a.json")
    city, country = {"type": "city", "start": 0, "end": 2}, {"type": "country", "start": 9, "end": 14}
    assert record["id"] == 7
    assert record["relations"] == [{"type": "located in", "head": city, "tail": country}]
    assert record["labels"] == {
        "entities": ["river", "city", "country"],
        "relations": ["capital of", "located in"],
    }
    assert counts(report) == ({}, {})
    (record,), _ = read(read_gliner, [row], separator="")
    assert record["text"] == "京都isinJapan"


def test_read_gliner_counts_what_is_outside_the_text(read, counts):
    ner = [[0, 2, "x"], [1, 0, "x"], [0, 0, ""], [0, 0], "no", [0, 0, 3], [0, 1, " x "]]
    relations = [[0, 6, "r"], [6, 6, "r"], [9, 6, "r"], [6, 6]]
    (record,), report = read(
        read_gliner, [{"tokenized_text": ["a", "b"], "ner": ner, "relations": relations}]
    )
    assert record["entities"] == [{"type": "x", "start": 0, "end": 3}]
    assert len(record["relations"]) == 1
    assert counts(report)[0] == {ENTITY: 6, RELATION: 3}


def test_read_gliner_of_another_format_is_an_error(read):
    with pytest.raises(ConversionError) as caught:
        read(read_gliner, [{"text": "a"}, {"tokenized_text": "a b", "ner": []}])
    assert len(caught.value.problems) == 3
    assert "file.jsonl:2: tokenized_text = 'a b': not a list" in caught.value.problems[2]
