from hypothesis import HealthCheck, given, settings
from record_strategies import entities_of, token_runs

from ldnet.processing.converters.uie import read_uie

ITEM = "item that is not {type, offset: [tokens]} of its text"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token_runs())
def test_record_of_tokens_takes_the_text_that_the_row_shows(read, item):
    tokens, runs = item
    entity = [{"type": label, "offset": list(range(first, last + 1))} for first, last, label in runs]
    for separator in (" ", ""):
        rows = [{"tokens": tokens, "text": separator.join(tokens), "entity": entity}]
        (record,), report = read(read_uie, rows)
        # One token has both joints: the first is taken, and is as good.
        assert record == {"text": separator.join(tokens), "entities": entities_of(tokens, runs, separator)}
        assert not report.lost


def test_record_of_tokens_reads_relations_events_and_pieces(read, counts):
    ann, bob = (
        {"type": "per", "offset": [0], "text": "Ann"},
        {"type": "per", "offset": [4, 0], "text": "Ann Bob"},
    )
    row = {
        "tokens": ["Ann", "met", "🙂", "old", "Bob"],
        "spot": ["per"],
        "asoc": [],
        "entity": [ann, bob, {"type": "per", "offset": [9]}, "no", {"offset": [0]}],
        "relation": [
            {"type": "knows", "args": [ann, bob]},
            {"type": "knows", "args": [ann]},
            {"args": [ann, bob]},
        ],
        "event": [
            {"type": "meet", "offset": [1], "args": [ann, {"type": "who", "offset": []}]},
            {"type": "meet", "offset": [7], "args": [ann]},
        ],
    }
    (record,), report = read(read_uie, [row])
    both = {"type": "per", "start": 0, "end": 17, "fragments": [[0, 3], [14, 17]]}
    assert record["text"] == "Ann met 🙂 old Bob"
    assert record["entities"] == [{"type": "per", "start": 0, "end": 3}, both]
    assert [(item["type"], item["tail"]) for item in record["relations"]] == [("knows", both)]
    assert record["events"] == [
        {
            "type": "meet",
            "trigger": {"start": 4, "end": 7},
            "arguments": [{"role": "per", "start": 0, "end": 3}],
        }
    ]
    assert counts(report)[0] == {ITEM: 5, "relation without a type and two ends": 2}
