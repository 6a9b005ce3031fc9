from hypothesis import HealthCheck, given, settings
from record_strategies import entities_of, token_runs

from ldnet.processing.converters.spert import read_spert


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token_runs())
def test_read_spert_ends_are_exclusive(read, item):
    tokens, runs = item
    entities = [{"type": label, "start": first, "end": last + 1} for first, last, label in runs]
    (record,), report = read(read_spert, {"tokens": tokens, "entities": entities, "relations": []}, "a.json")
    assert record == {"text": " ".join(tokens), "entities": entities_of(tokens, runs), "relations": []}
    assert not report.lost


def test_read_spert_relations_name_entities_by_position(read, counts):
    row = {
        "tokens": ["Ann", "left", "🙂", "Acme"],
        "entities": [
            {"type": "Peop", "start": 0, "end": 1},
            {"type": "Org", "start": 3, "end": 9},
            {"type": "Org", "start": 3, "end": 4},
        ],
        "relations": [
            {"type": "Work_For", "head": 0, "tail": 2},
            {"type": "Work_For", "head": 0, "tail": 1},
            {"type": "Work_For", "head": 0, "tail": 5},
            {"head": 0, "tail": 2},
        ],
        "orig_id": 12,
    }
    records, report = read(read_spert, [row, {"tokens": ["a"], "entities": []}])
    assert records[0]["id"] == 12
    assert records[0]["relations"] == [
        {
            "type": "Work_For",
            "head": {"type": "Peop", "start": 0, "end": 3},
            "tail": {"type": "Org", "start": 11, "end": 15},
        }
    ]
    assert records[1] == {"text": "a", "entities": []}
    assert counts(report)[0] == {
        "entity that is not {type, start, end} in tokens of its text": 1,
        "relation that is not {type, head, tail} with entities of its document": 3,
    }
