import pytest

from ldnet.processing.converters.report import ConversionError
from ldnet.processing.converters.uie import read_uie

SONG = "《🙂告别了》是孙耀威的歌，孙耀威1993年发行"


def row(content, prompt, *found):
    """A row; each result is (words, start), counted from the text if no start is given."""
    results = [
        {"text": words, "start": start, "end": start + len(words)}
        for words, start in (
            item if isinstance(item, tuple) else (item, content.find(item)) for item in found
        )
    ]
    return {"content": content, "prompt": prompt, "result_list": results}


def test_read_uie_rows_of_one_text_are_one_record(read, counts, marked):
    rows = [
        row(SONG, "作品名的时间"),  # no such mention: a type whose name holds the word
        row(SONG, "🙂告别了的歌手", ("孙耀威", 7)),
        row("another", "人物"),
        row(SONG, "作品名", "🙂告别了"),
        row(SONG, "人物", ("孙耀威", 7), ("孙耀威", 13)),
        row(SONG, "孙耀威的作品", "🙂告别了"),
        row(SONG, "孙耀威的生日"),
        row(SONG, "情感倾向[正向,负向]", ("正向", -7)),
    ]
    (record, other), report = read(read_uie, rows)
    assert other == {"text": "another", "entities": [], "labels": {"entities": ["人物"]}}
    assert marked(record) == [("作品名", "🙂告别了"), ("人物", "孙耀威"), ("人物", "孙耀威")]
    song = {"type": "作品名", "start": 1, "end": 5}
    singer = {"type": "人物", "start": 7, "end": 10}
    assert record["relations"] == [
        {"type": "歌手", "head": song, "tail": singer},
        {"type": "作品", "head": singer, "tail": song},
    ]
    assert record["classes"] == {"情感倾向": ["正向"]}
    assert record["labels"] == {
        "entities": ["作品名", "人物", "作品名的时间"],
        "relations": ["歌手", "作品", "生日"],
        "classes": {"情感倾向": ["正向", "负向"]},
    }
    assert counts(report) == ({}, {"subject that stands in several places: the nearest is taken": 2})


def test_read_uie_english_prompts_put_the_relation_first(read, marked):
    text = "Ann Lee was born in Bonn on 3 May"
    rows = [
        row(text, "person", "Ann Lee"),
        row(text, "date of birth", "3 May"),
        row(text, "place of birth of Ann Lee", "Bonn"),
    ]
    (record,), _ = read(read_uie, rows)
    assert marked(record) == [("person", "Ann Lee"), ("date of birth", "3 May")]
    assert [(item["type"], item["tail"]["start"]) for item in record["relations"]] == [("place of birth", 20)]


def test_read_uie_triggers_and_their_relations_are_events(read, marked):
    text = "四川发生5.6级地震"
    rows = [row(text, "地震触发词", "地震"), row(text, "地震的震级", "5.6级"), row(text, "地点", "四川")]
    (record,), _ = read(read_uie, rows)
    assert marked(record) == [("地点", "四川")]
    assert "relations" not in record
    assert record["events"] == [
        {
            "type": "地震",
            "trigger": {"start": 8, "end": 10},
            "arguments": [{"role": "震级", "start": 4, "end": 8}],
        }
    ]
    assert record["labels"] == {"entities": ["地点"], "events": ["地震"]}


def test_read_uie_moves_or_counts_results(read, counts, marked):
    text = "a b a"
    rows = [
        row(text, "x", ("b", 3), ("c", 0), ("a", 4)),
        {"content": text, "prompt": "y", "result_list": ["a", {"start": 0}]},
        row(text, " "),
        row(text, "t[p,q]", ("r", 0)),
    ]
    (record,), report = read(read_uie, rows)
    assert [(item["type"], item["start"]) for item in record["entities"]] == [("x", 2), ("x", 4)]
    assert record["classes"] == {"t": []}
    assert counts(report) == (
        {
            "result that is not in its text": 1,
            "result without words": 2,
            "row without a prompt": 1,
            "class that is no option of its prompt": 1,
        },
        {"offsets that do not fit the words: moved to the nearest": 1},
    )


def test_read_uie_of_another_format_is_an_error(read):
    with pytest.raises(ConversionError) as caught:
        read(read_uie, [{"content": "a"}])
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["prompt", "result_list"]
