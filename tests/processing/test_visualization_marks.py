import html
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_examples import FULL, TEXT, mention, results

from ldnet.processing.visualization_marks import (
    LABEL_LENGTH,
    MAX_ARCS,
    MAX_DEPTH,
    Drawing,
    Legend,
    escape,
    label_hue,
    marked_text,
    shorten,
)


def drawing(text, *entities, **found):
    return Drawing({"text": text, "entities": list(entities), **found}, Legend())


def brackets(text, *entities):
    """The marked text with `[label…]` for each element; without a label where it has none."""
    marked, _ = marked_text(drawing(text, *entities))
    names = re.compile(r'<mark [^>]*?(?:data-l="([^"]*)"[^>]*)?>')
    return names.sub(lambda m: f"[{m[1] or ''}:", marked).replace("</mark>", "]")


def plain(marked):
    return html.unescape(re.sub(r"<[^>]*>", "", marked))


def test_label_hue_depends_on_the_name_alone():
    assert label_hue("person") == label_hue("person") == 217
    assert len({label_hue(name) for name in ("person", "organization", "location", "date")}) == 4
    assert label_hue("\ud800") < 360


@given(st.text())
def test_escape_has_nothing_that_could_end_a_tag_an_attribute_or_a_line_and_reads_back(text):
    escaped = escape(text)
    assert not set(escaped) & set("<>\"'\r\0")
    assert html.unescape(escaped) == re.sub("[\0\ud800-\udfff]", "\ufffd", text)


def test_shorten_keeps_one_line_of_bounded_length():
    assert shorten(" a\r\n b ") == "a b"
    assert shorten("x" * LABEL_LENGTH) == "x" * LABEL_LENGTH
    assert shorten("x" * 999) == "x" * (LABEL_LENGTH - 1) + "…"


def test_marked_text_nests_what_is_inside():
    text = "University of York"
    whole, inside = mention(text, text, type="org"), mention(text, "York", type="place")
    assert brackets(text, inside, whole) == "[org:University of [place:York]]"


def test_marked_text_draws_two_types_of_one_mention_inside_each_other():
    assert brackets("York", *(mention("York", "York", type=name) for name in "ab")) == "[a:[b:York]]"


def test_marked_text_splits_what_crosses_and_labels_its_last_part():
    text = "a b c"
    assert (
        brackets(text, mention(text, "a b", type="x"), mention(text, "b c", type="y")) == "[x:a [:b]][y: c]"
    )


def test_marked_text_numbers_the_pieces_of_a_discontinuous_mention():
    text = "sore arms and legs"
    found = mention(text, ("sore", "legs"), type="pain")
    assert brackets(text, found) == "[pain 1/2:sore] arms and [pain 2/2:legs]"


def test_marked_text_gives_outer_marks_more_room_and_only_the_first_part_a_tab_stop():
    text = "a b c"
    entities = [mention(text, words, type=words) for words in ("a b c", "a b", "b", "b c")]
    marked, _ = marked_text(drawing(text, *entities))
    heights = re.findall(r"--h:(\d+)\" data-m=\"(\d+)\"", marked)
    assert heights == [("3", "0"), ("2", "1"), ("1", "3"), ("0", "2"), ("0", "3")]
    assert marked.count("tabindex") == 4


def test_marked_text_tells_type_score_and_place_in_a_tip():
    marked, _ = marked_text(drawing("x  Ann", mention("x  Ann", "Ann", 0.876, type="person")))
    assert 'title="person · score 0.88 · characters 3–6 · Ann"' in marked


def test_marked_text_leaves_out_what_is_inside_too_many_others_and_counts_it():
    text = "x" * 100
    entities = [
        {"type": "t", "start": i, "end": 100 - i, "text": text[i : 100 - i], "score": 1.0} for i in range(20)
    ]
    marked, left_out = marked_text(drawing(text, *entities))
    assert marked.count("<mark") == MAX_DEPTH
    assert left_out == 20 - MAX_DEPTH
    assert plain(marked) == text


@given(results())
@settings(max_examples=50, deadline=None)
def test_marked_text_is_exactly_the_text_and_every_piece_stands_where_it_should(result):
    shown = Drawing(result, Legend())
    marked, left_out = marked_text(shown)
    text = result["text"].replace("\0", "\ufffd")
    assert plain(marked) == text
    at, inside, covered = 0, [], {}
    for tag, words in re.findall(r"<([^>]*)>|([^<]+)", marked):
        if tag == "/mark":
            inside.pop()
        elif tag:
            inside.append(int(re.search(r'data-m="(\d+)"', tag)[1]))
        else:
            length = len(html.unescape(words))
            for number in inside:
                covered.setdefault(number, set()).update(range(at, at + length))
            at += length
    assert inside == []
    if not left_out:
        for mark in shown.marks:
            assert covered[mark.number] == {i for start, end in mark.pieces for i in range(start, end)}


def test_many_crossing_marks_take_little_time():
    text = "x" * 5000
    entities = [{"type": "t", "start": i, "end": i + 900, "score": 1.0} for i in range(0, 4000, 2)]
    marked, left_out = marked_text(drawing(text, *entities))
    assert plain(marked) == text
    assert left_out > 0


def test_drawing_of_a_full_result_has_marks_arcs_and_counts():
    shown = Drawing(FULL, Legend())
    marks = [(mark.kind, mark.label, mark.words) for mark in shown.marks]
    assert marks == [
        ("entity", "person", "Ann Lee"),
        ("entity", "name", "Lee"),
        ("entity", "organization", "Acme"),
        ("entity", "symptom", "pain legs"),
        ("trigger", "statement", "said"),
        ("argument", None, "arms"),
        ("answer", None, "Ann Lee"),
        ("span", None, "<b>pain</b>"),
    ]
    arcs = [(arc.source, arc.target, arc.label, arc.dashed) for arc in shown.arcs]
    assert arcs == [
        (4, 0, "speaker", False),
        (4, 5, "topic", False),
        (0, 2, "works for", False),
        (2, 4, "employer", False),
        (4, 5, "place", True),
    ]
    counts = {key: shown.legend.counts[number] for key, number in shown.legend.numbers.items()}
    assert counts == {
        ("entity", "person"): 1,
        ("entity", "name"): 1,
        ("entity", "organization"): 1,
        ("entity", "symptom"): 1,
        ("event", "statement"): 1,
        ("answer", "answer"): 1,
        ("span", "span"): 1,
        ("relation", "works for"): 1,
        ("hyper_relation", "employer"): 1,
    }


def test_drawing_joins_an_end_to_the_entity_of_its_type():
    two = [mention("York", "York", type=name) for name in ("place", "team")]
    pair = {"type": "is", "head": two[1], "tail": {**two[0], "type": None}, "score": 0.5}
    (arc,) = drawing("York", *two, relations=[pair]).arcs
    assert (arc.source, arc.target) == (1, 0)


def test_drawing_of_a_record_without_texts_and_scores_works():
    record = {"text": "Ann in York", "entities": [{"type": "person", "start": 0, "end": 3}]}
    record["relations"] = [{"type": "in", "head": {"start": 0, "end": 3}, "tail": {"start": 7, "end": 11}}]
    shown = Drawing(record, Legend())
    assert [(mark.words, mark.score) for mark in shown.marks] == [("Ann", None), ("York", None)]
    assert json.loads(shown.arcs_json())[0]["tip"] == "in: Ann → York"


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 2), (3, 99)])
def test_drawing_of_a_mention_outside_the_text_is_an_error(start, end):
    bad = {"type": "x", "start": start, "end": end, "score": 0.5}
    with pytest.raises(
        ValueError, match=f"the x from {start} to {end} is not inside the text of 5 characters"
    ):
        drawing("abcde", bad)


def test_arcs_json_keeps_the_best_where_there_are_too_many():
    ann, acme = FULL["relations"][0]["head"], FULL["relations"][0]["tail"]
    many = [{"type": f"r{i}", "head": ann, "tail": acme, "score": i / 1000} for i in range(MAX_ARCS + 5)]
    kept = json.loads(drawing(TEXT, ann, acme, relations=many).arcs_json())
    assert [arc["l"] for arc in kept[:2]] == ["r404", "r403"]
    assert len(kept) == MAX_ARCS
