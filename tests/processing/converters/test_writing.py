from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.writing import fill_keys, lose_other, name_of


def test_name_of_is_the_id_or_the_number():
    assert [name_of({"id": 0}, 5), name_of({"id": "a"}, 5), name_of({}, 5)] == ["0", "a", "record 5"]


def test_lose_other_counts_each_key_that_is_not_held():
    report = AlignmentReport("x")
    record = {"entities": [1], "relations": [1, 2], "events": [], "classes": {"a": ["b"]}, "question": "Who?"}
    lose_other(record, {"entities"}, "BIO", "r", report)
    assert {cause: tally.count for cause, tally in report.lost.items()} == {
        "relations: BIO cannot hold them": 2,
        "classes: BIO cannot hold them": 1,
        "question: BIO cannot hold one": 1,
    }


def test_fill_keys_gives_all_records_what_one_has_or_was_asked():
    records = [{"text": "a", "relations": [1]}, {"text": "b"}]
    assert fill_keys(records, ["events"]) == [
        {"text": "a", "relations": [1], "events": []},
        {"text": "b", "relations": [], "events": []},
    ]
