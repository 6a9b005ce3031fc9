import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_strategies import records, same

from ldnet.processing.converters.brat import read_brat, write_brat
from ldnet.processing.converters.report import AlignmentReport, ConversionError
from ldnet.train.validation import validate_records

ARGUMENT = "end or argument that is no entity: written as one"
SPELLED = "label that brat cannot spell: see visual.conf"
FILED = "id that cannot be a file name"


@settings(max_examples=50)
@given(st.lists(records(most_pieces=3), min_size=1, max_size=3))
def test_brat_there_and_back_is_the_same(many):
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out"
        written, read = AlignmentReport("out"), AlignmentReport("in")
        write_brat(many, target, written)
        back = list(read_brat(target, read))
        assert list(map(same, back)) == list(map(same, many))
        assert [written.lost, read.lost, read.repaired] == [{}, {}, {}]
        assert written.repaired.keys() <= {SPELLED}
        assert [record["id"] for record in back] == [f"record-{i:06}" for i in range(len(many))]
        assert validate_records(back) == []


def write(folder, text, lines, name="a"):
    (folder / f"{name}.txt").write_bytes(text.encode())
    (folder / f"{name}.ann").write_bytes("\n".join([*lines, ""]).encode())


def read(path):
    report = AlignmentReport(str(path))
    found = list(read_brat(path, report))
    assert validate_records(found) == []
    return found, report


def test_read_brat_reads_mentions_relations_and_events(tmp_path, counts):
    text = "Ann Lee and Bob joined Acme Corp. in 🙂 Bonn"
    write(tmp_path, text, [
        "T1\tPerson 0 7\tAnn Lee",
        "T2\tPerson 0 3;12 15\tAnn Bob",
        "T3\tOrg 23 33\tAcme Corp.",
        "T4\tJoin 16 22\tjoined",
        "T5\tPlace 39 43\tBonn",
        "T6\tMove 16 22\tjoined",
        "R1\tWorksFor Arg1:T1 Arg2:T3",
        "E1\tJoin:T4 Who:T1 Who2:T2 Where1:T5",
        "E2\tMove:T6 What:E1",
        "R2\tCause Arg1:E1 Arg2:T5",
        "A1\tNegation E1",
        "M1\tSpeculation E1",
        "N1\tReference T3 Wiki:1\tAcme",
        "#1\tAnnotatorNotes T1\tsure?",
        "*\tAlias T1 T2",
    ])  # fmt: skip
    (record,), report = read(tmp_path)
    ann, bob = {"start": 0, "end": 7}, {"start": 0, "end": 15, "fragments": [[0, 3], [12, 15]]}
    joined, bonn = {"start": 16, "end": 22}, {"start": 39, "end": 43}
    assert record["entities"] == [
        {"type": "Person", **ann},
        {"type": "Person", **bob},
        {"type": "Org", "start": 23, "end": 33},
        {"type": "Place", **bonn},
    ]
    assert record["relations"] == [
        {
            "type": "WorksFor",
            "head": {"type": "Person", **ann},
            "tail": {"type": "Org", "start": 23, "end": 33},
        },
        {"type": "Cause", "head": joined, "tail": {"type": "Place", **bonn}},
    ]
    assert record["events"] == [
        {
            "type": "Join",
            "trigger": joined,
            "arguments": [{"role": "Who", **ann}, {"role": "Who", **bob}, {"role": "Where1", **bonn}],
        },
        {"type": "Move", "trigger": joined, "arguments": [{"role": "What", **joined}]},
    ]
    assert counts(report) == (
        {
            "attribute: records have none": 2,
            "normalization: records have none": 1,
            "note: records have none": 1,
            "equivalence (line *): records have none": 1,
        },
        {"event in the place of a mention: its trigger stands for it": 2},
    )


def test_read_brat_counts_what_cannot_be_placed(tmp_path, counts):
    write(tmp_path, "Ann met\r\nBob", [
        "T1\tPerson 0 3\tAnn",
        "T2\tPerson 8 11\tBob",  # counted without the carriage return
        "T3\tPerson 0 3\tEve",
        "T4\tPerson 99 120",
        "T5\tPerson x y\tAnn",
        "T6\tPair 9 12;0 3\tBob Eve",
        "T7\tVerb 4 11\tmet Bo",
        "R1\tKnows Arg1:T1 Arg2:T3",
        "E1\tMeet:T3 Who:T1",
        "E2\tMeet:T1 Who:T3 Whom:T2",
        "nonsense",
    ])  # fmt: skip
    (record,), report = read(tmp_path)
    assert [(e["type"], e["start"], e["end"]) for e in record["entities"]] == [
        ("Person", 9, 12),
        ("Verb", 4, 11),
    ]
    assert [len(event["arguments"]) for event in record["events"]] == [1]
    lost, repaired = counts(report)
    assert lost == {
        "mention whose words are not at its offsets": 3,
        "mention whose offsets cannot be read": 1,
        "relation without two known ends": 1,
        "event without a known trigger": 2,
        "argument that is no known mention": 1,
        "line that is none of brat's": 1,
    }
    assert repaired == {
        "offsets that do not fit the words: moved to the nearest": 1,
        "line breaks of two characters": 1,
    }


def test_read_brat_puts_pieces_in_order(tmp_path, counts):
    write(tmp_path, "left and right arm", ["T1\tPart 9 14;0 4\tright left", "T2\tPart 0 4;2 8\tleft ft and"])
    (record,), report = read(tmp_path)
    assert record["entities"] == [
        {"type": "Part", "start": 0, "end": 14, "fragments": [[0, 4], [9, 14]]},
        {"type": "Part", "start": 0, "end": 8},
    ]
    assert counts(report)[1] == {"pieces that overlap or are not in text order: put in order": 2}


def test_read_brat_reads_folders_below_and_single_files(tmp_path, counts):
    (tmp_path / "b").mkdir()
    write(tmp_path / "b", "x", ["T1\tA 0 1\tx"], "t10")
    write(tmp_path / "b", "y", [], "t2")
    (tmp_path / "c.txt").write_text("nobody read this")
    records, report = read(tmp_path)
    assert [record["id"] for record in records] == ["b/t2", "b/t10"]
    assert counts(report)[0] == {"text without an .ann file: not annotated": 1}
    for suffix in (".ann", ".txt"):
        assert [record["id"] for record in read(tmp_path / "b" / f"t10{suffix}")[0]] == ["t10"]


def test_read_brat_without_texts_or_annotations_is_an_error(tmp_path):
    with pytest.raises(ConversionError, match="no .ann file in it"):
        read(tmp_path)
    (tmp_path / "a.ann").write_text("")
    (tmp_path / "b.ann").write_text("")
    with pytest.raises(ConversionError) as caught:
        read(tmp_path)
    assert len(caught.value.problems) == 2
    assert "there is no a.txt" in caught.value.problems[0]


def test_write_brat_counts_what_it_changes(tmp_path, counts):
    here, there = {"start": 0, "end": 1}, {"start": 2, "end": 3}
    record = {
        "id": "a/b",
        "text": "x y",
        "entities": [{"type": "a b", **here}, {"type": "a_b", **here}],
        "relations": [{"type": "r", "head": here, "tail": {"type": "c", **there}}],
        "events": [
            {"type": "e", "trigger": here, "arguments": [{"role": "who", **there}, {"role": "who", **here}]}
        ],
        "classes": {"topic": ["x"]},
    }
    report = AlignmentReport("out")
    write_brat([record, {**record, "id": "A_B"}], tmp_path / "out", report)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "A_B-2.ann", "A_B-2.txt", "a_b.ann", "a_b.txt", "annotation.conf", "visual.conf",
    ]  # fmt: skip
    assert (tmp_path / "out" / "a_b.ann").read_text().splitlines() == [
        "T1\ta_b 0 1\tx",
        "T2\ta_b_2 0 1\tx",
        "T3\tc 2 3\ty",
        "T4\te 0 1\tx",
        "R1\tr Arg1:T1 Arg2:T3",
        "E1\te:T4 who:T3 who2:T1",
    ]
    configuration = (tmp_path / "out" / "annotation.conf").read_text()
    assert "[relations]\nr\tArg1:<ANY>, Arg2:<ANY>\n" in configuration
    assert "[events]\ne\twho*:<ANY>\n" in configuration
    lost, repaired = counts(report)
    assert lost == {"classes: brat cannot hold them": 2}
    assert repaired == {ARGUMENT: 2, SPELLED: 2, FILED: 2}


def test_write_brat_refuses_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(ConversionError, match="is there and not empty"):
        write_brat([], tmp_path, AlignmentReport("out"))
