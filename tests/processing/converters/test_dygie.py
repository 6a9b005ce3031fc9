import pytest

from ldnet.processing.converters.dygie import read_dygie
from ldnet.processing.converters.report import ConversionError

DOCUMENT = {
    "doc_key": "d",
    "dataset": "x",
    "sentences": [
        ["Seattle", "is", "a", "rainy", "city", "."],
        ["Jenny", "Durkan", "is", "the", "city's", "mayor", "."],
        ["She", "was", "elected", "in", "2017", "🙂"],
    ],
    "ner": [
        [[0, 0, "City"]],
        [[6, 7, "Person"], [9, 10, "City", 9.1, 0.9]],
        [[13, 13, "Person"], [17, 17, "Year"]],
    ],
    "relations": [[], [[6, 7, 9, 10, "Mayor-Of"]], [[13, 13, 17, 17, "Elected-In"]]],
    "clusters": [[[0, 0], [9, 10]], [[6, 7], [13, 13], [15, 15]]],
    "events": [[], [], [[[15, "Election"], [13, 13, "Person"], [17, 17, "Date"]], [[14, 15, "Voting"]]]],
}  # fmt: skip


def test_read_dygie_is_a_record_a_document(read, counts, marked):
    (record,), report = read(read_dygie, [DOCUMENT], "train.json")
    assert record["id"] == "d"
    assert record["text"].startswith("Seattle is a rainy city . Jenny Durkan is")
    assert marked(record) == [
        ("City", "Seattle"),
        ("Person", "Jenny Durkan"),
        ("City", "the city's"),
        ("Person", "She"),
        ("Year", "2017"),
    ]
    assert [entity.get("cluster") for entity in record["entities"]] == [0, 1, 0, 1, None]
    assert [record["text"][start:end][-1] for start, end in record["sentences"]] == [".", ".", "🙂"]
    mayor, election = record["relations"][0], record["events"][0]
    assert (mayor["type"], mayor["head"]["type"], mayor["tail"]["type"]) == ("Mayor-Of", "Person", "City")
    words = [record["text"][m["start"] : m["end"]] for m in [election["trigger"], *election["arguments"]]]
    assert words == ["elected", "She", "2017"]
    assert [argument["role"] for argument in election["arguments"]] == ["Person", "Date"]
    voting = record["events"][1]["trigger"]
    assert record["text"][voting["start"] : voting["end"]] == "was elected"
    assert counts(report) == ({"mention of a cluster that is no entity": 1}, {})


def test_read_dygie_sentences_are_records_with_their_own_offsets(read, counts, marked):
    row = {**DOCUMENT, "predicted_ner": [[[0, 0, "City", 1.0, 0.9]], []]}
    row["ner"] = [row["ner"][0], row["ner"][1], [*row["ner"][2], [12, 13, "Across"]]]
    records, report = read(read_dygie, [row], unit="sentence")
    assert [record["id"] for record in records] == ["d-0", "d-1", "d-2"]
    assert marked(records[1]) == [("Person", "Jenny Durkan"), ("City", "the city's")]
    assert [len(record["relations"]) for record in records] == [0, 1, 1]
    assert [len(record["events"]) for record in records] == [0, 0, 2]
    assert counts(report)[0] == {
        "predicted_ner: predictions are not read": 2,
        "cluster: not within a sentence": 2,
        "entity that is not [first token, last token, label] of its text": 1,
    }


def test_read_dygie_counts_what_is_malformed_and_leaves_out_absent_keys(read, counts):
    row = {
        "sentences": [["a", "b"]],
        "ner": [[[0, 5, "x"], [0, 0], "no"]],
        "relations": [[[0, 0, 1, 1], [0, 0, 9, 9, "r"], [0, 0, 1, 1, "r"]]],
        "events": [[[], [[0, ""]], [[0, "e"], [1, 1], [5, 5, "role"]]]],
    }
    records, report = read(read_dygie, [row, {"sentences": [["a"]]}])
    assert records[1] == {"text": "a", "sentences": [[0, 1]]}
    assert records[0]["relations"][0]["head"] == {"start": 0, "end": 1}
    assert records[0]["events"] == [{"type": "e", "trigger": {"start": 0, "end": 1}, "arguments": []}]
    assert counts(report)[0] == {
        "entity that is not [first token, last token, label] of its text": 3,
        "relation that is not [head, head, tail, tail, label] of its text": 2,
        "event without a trigger [token, type] in its text": 2,
        "argument that is not [first token, last token, role] of its text": 2,
    }


def test_read_dygie_without_tokenised_sentences_is_an_error(read):
    with pytest.raises(ConversionError, match="not lists of tokens"):
        read(read_dygie, [{"sentences": ["A whole sentence."]}])
