import pytest

from ldnet.train.record_check import Problem, RecordCheck


def test_problem_as_text_is_one_line_with_place_value_and_fix():
    problem = Problem("a.jsonl:3", "entities[0].end", 99, "outside the text of 20 characters", "Correct it.")
    assert str(problem) == "a.jsonl:3: entities[0].end = 99: outside the text of 20 characters. Correct it."
    assert (
        str(Problem("a.jsonl:3", "text", None, "missing", "Add it.")) == "a.jsonl:3: text: missing. Add it."
    )
    long = Problem("a.jsonl:3", "text", ["x\n" * 500], "not a string", "Correct it.")
    assert len(str(long).splitlines()) == 1
    assert len(str(long)) < 150


OFFSETS = "Offsets count characters from 0, end exclusive."


@pytest.mark.parametrize(("mention", "problems"), [
    ({"start": 0, "end": 10}, []),
    ({"start": 9, "end": 10, "text": "k"}, []),
    ({"start": 0, "end": 10, "fragments": [[0, 3], [3, 5], [7, 10]], "text": "any form"}, []),
    ({"start": 0}, [f"m.end: missing. Add \"end\". {OFFSETS}"]),
    ({"start": True, "end": "3"},
     [f"m.start = True: not an integer. {OFFSETS}", f"m.end = '3': not an integer. {OFFSETS}"]),
    ({"start": 1.0, "end": 3}, [f"m.start = 1.0: not an integer. {OFFSETS}"]),
    ({"start": -2, "end": 11},
     [f"m.start = -2: negative. {OFFSETS}",
      f"m.end = 11: outside the text of 10 characters. {OFFSETS}"]),
    ({"start": 4, "end": 4}, [f"m.end = 4: not after start = 4. A mention has characters. {OFFSETS}"]),
    ({"start": 5, "end": 4}, [f"m.end = 4: not after start = 5. A mention has characters. {OFFSETS}"]),
    ({"start": 0, "end": 2, "text": "ac"},
     ["m.text = 'ac': not what the offsets cover. Characters 0 to 2 are 'ab'. Correct one of the two."]),
    ({"start": 0, "end": 2, "fragments": "0-2"},
     ["m.fragments = '0-2': not a list of [start, end]. Write e.g. [[0, 4], [9, 12]]."]),
    ({"start": 0, "end": 2, "fragments": [[0, 1, 2]]},
     ["m.fragments = [[0, 1, 2]]: not a list of [start, end]. Write e.g. [[0, 4], [9, 12]]."]),
    ({"start": 0, "end": 2, "fragments": [[0, 2]]},
     ["m.fragments = [[0, 2]]: fewer than two pieces. Leave it out: start and end say it all."]),
    ({"start": 0, "end": 2, "fragments": [[0, 0], [1, 2]]},
     ["m.fragments = [[0, 0], [1, 2]]: an empty piece. Write [start, end] with start < end."]),
    ({"start": 0, "end": 5, "fragments": [[3, 5], [0, 2]]},
     ["m.fragments = [[3, 5], [0, 2]]: overlapping or not in text order. Sort the pieces, merge overlaps."]),
    ({"start": 0, "end": 5, "fragments": [[0, 3], [2, 5]]},
     ["m.fragments = [[0, 3], [2, 5]]: overlapping or not in text order. Sort the pieces, merge overlaps."]),
    ({"start": 0, "end": 6, "fragments": [[1, 2], [4, 6]]},
     ["m.fragments = [[1, 2], [4, 6]]: not from start = 0 to end = 6. Write start = 1 and end = 6, or"
     " correct the"
      " pieces."]),
])  # fmt: skip
def test_mention_problems_are_named(mention, problems):
    check = RecordCheck()
    check.where, check.text = "x:1", "abcdefghik"
    check.mention("m", mention)
    assert [str(problem) for problem in check.problems] == [f"x:1: {problem}" for problem in problems]


def test_mention_without_a_text_is_checked_as_far_as_possible():
    check = RecordCheck()
    check.mention("m", {"start": 5, "end": 10**9, "text": "x"})
    assert check.problems == []
    check.mention("m", {"start": -1, "end": 3})
    assert [problem.message for problem in check.problems] == ["negative"]


@pytest.mark.parametrize("score", [1.5, -0.1, float("nan"), "0.5", True])
def test_keys_wrong_score_is_named(score):
    check = RecordCheck()
    check.keys("spans", {"start": 0, "score": score}, "spans[0]")
    assert [(problem.field, problem.message) for problem in check.problems] == [
        ("spans[0].score", "not a probability")
    ]
    check = RecordCheck()
    check.keys("spans", {"start": 0, "score": 1}, "spans[0]")
    assert check.problems == []
