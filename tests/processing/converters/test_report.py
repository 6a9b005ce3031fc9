import pickle

import pytest

from ldnet.processing.converters.report import (
    MAX_EXAMPLES,
    MAX_PROBLEMS,
    AlignmentReport,
    ConversionError,
    fail,
)


def test_report_counts_structures_and_keeps_the_first_examples():
    report = AlignmentReport("x.json")
    report.take({"text": "ab", "entities": [1, 2], "relations": [], "classes": {"topic": ["x"]}}, "x:1")
    for line in range(8):
        report.lose("too long", f"x:{line}", "w" * 200)
    report.lose("never", "x:1", count=0)
    report.repair("moved", "x:2", None, 3)
    assert report.to_dict()["structures"] == {"entities": 2, "classes": 1}
    assert report.lost["too long"].count == 8
    assert len(report.lost["too long"].examples) == MAX_EXAMPLES
    assert len(report.to_dict()["lost"]["too long"]["examples"][0]["value"]) < 90
    assert report.to_dict()["repaired"] == {
        "moved": {"count": 3, "examples": [{"where": "x:2", "value": ""}]}
    }
    assert str(report) == "x.json: 1 records, 2 entities, 1 classes; 8 lost, 3 repaired"


def test_take_leaves_out_an_id_that_is_used_already():
    report = AlignmentReport("x")
    taken = [report.take({"id": name, "text": ""}, f"x:{i}") for i, name in enumerate(["a", "b", "a"])]
    assert [record.get("id") for record in taken] == ["a", "b", None]
    assert report.repaired["id that another record has: left out"].examples == [("x:2", "'a'")]


def test_take_replaces_half_a_surrogate_pair_one_for_one():
    report = AlignmentReport("x")
    assert report.take({"text": "a\ud83db🙂"}, "x:1")["text"] == "a\ufffdb🙂"
    assert sum(tally.count for tally in report.repaired.values()) == 1


def test_finish_raises_every_problem_and_counts_what_is_too_much():
    report = AlignmentReport("x")
    report.finish()
    for line in range(MAX_PROBLEMS + 3):
        report.problem(f"x:{line}", "text", None if line else 3, "missing", "Add it.")
    with pytest.raises(ConversionError) as caught:
        report.finish()
    problems = caught.value.problems
    assert problems[:2] == ["x:0: text = 3: missing. Add it.", "x:1: text: missing. Add it."]
    assert problems[MAX_PROBLEMS:] == ["x: 3 more problems of the file are not shown"]
    assert pickle.loads(pickle.dumps(caught.value)).problems == problems


def test_fail_is_one_line():
    with pytest.raises(ConversionError, match=r"^a: b\. Do c\.$"):
        fail("a: b. Do c.")


def test_listed_and_names_count_what_is_none():
    report = AlignmentReport("x")
    assert report.listed([1], "items", "x:1") == [1]
    assert report.listed(None, "items", "x:1") == []
    assert report.listed("no", "items", "x:1") == []
    assert report.names([" a ", "a", "", 3], "labels", "x:1") == ["a"]
    assert {cause: tally.count for cause, tally in report.lost.items()} == {
        "items: not a list": 1,
        "labels: not a name": 2,
    }


@pytest.mark.parametrize("name", [3.5, True, ["a"], {}])
def test_take_leaves_out_an_id_that_is_none(name):
    report = AlignmentReport("x")
    assert report.take({"id": name, "text": ""}, "x:1") == {"text": ""}
    assert report.repaired["id that is no string: left out"].count == 1
