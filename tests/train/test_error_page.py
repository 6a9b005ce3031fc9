import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_records import PAIRS, SCHEMA

from ldnet.processing.schema import Schema
from ldnet.train.error_analysis import KINDS, AnalysedText, ErrorAnalysis, Finding
from ldnet.train.error_page import COLOURS, error_page, marked_text, quoted

TAGS = set(
    "html head meta title style body h1 h2 p table tr th td span input label main article ul li b q".split()
)
ATTRIBUTES = set("lang charset http-equiv content name class title dir type id checked for".split())
VOID = {"meta", "input"}


class Page(HTMLParser):
    """Reads a page as a browser does, and checks that every element that opens also closes."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes = [], set(), set()
        self.in_text, self.texts, self.marks, self.classes = False, [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        self.attributes |= found.keys()
        if tag == "p" and found.get("class") == "text":
            self.in_text = True
            self.texts.append("")
            self.marks.append([])
        elif self.in_text:
            self.marks[-1].append([len(self.texts[-1]), None, set(found["class"].split())])
        elif tag == "article":
            self.classes.append(set(found["class"].split()))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if self.in_text and tag == "span":
            self.marks[-1][-1][1] = len(self.texts[-1])
        self.in_text &= tag != "p"

    def handle_data(self, data):
        if self.in_text:
            self.texts[-1] += data


def page_of(pairs, schema=SCHEMA, **options):
    analysis = ErrorAnalysis(schema)
    for pair in pairs:
        analysis.add(*pair)
    return analysis, "".join(error_page(analysis, "model on data", **options))


EVIL = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</p></article><script src=//x.y></script>",
            '" onmouseover="alert(1)',
            "&lt;b&gt; &amp;",
            "<!-- ",
            "]]></style><img src=x>",
            "a\r\nb\rc",
        ]
    ),
)


@settings(max_examples=50)
@given(text=EVIL, label=EVIL, name=EVIL, title=EVIL, cuts=st.lists(st.integers(0, 30), max_size=6))
def test_whatever_texts_labels_and_names_hold_stays_text(text, label, name, title, cuts):
    label = label.strip() or "person"
    schema = Schema.from_any({"entities": [{"type": label}]})
    places = [(min(a, b), max(a, b)) for a, b in zip(cuts, cuts[1:], strict=False) if a != b]
    found = [{"type": label, "start": start, "end": end} for start, end in places]
    analysis = ErrorAnalysis(schema)
    analysis.add({"id": name, "text": text, "entities": found[::2]}, {"text": text, "entities": found[1::2]})
    page = Page("".join(error_page(analysis, title)))
    assert page.tags <= TAGS
    assert page.texts == [analysed.text for analysed in analysis.wrong]
    assert page.attributes <= ATTRIBUTES


@settings(max_examples=25)
@given(st.lists(PAIRS, min_size=1, max_size=3))
def test_marks_cover_exactly_the_mentions(pairs):
    analysis, html = page_of(pairs)
    page = Page(html)
    for analysed, marks in zip(analysis.wrong, page.marks, strict=True):
        covered = {"g": set(), "p": set()}
        for start, end, classes in marks:
            for side in covered.keys() & classes:
                covered[side] |= set(range(start, end))
        expected = {"g": set(), "p": set()}
        for finding in analysed.findings:
            for side, key in (("g", finding.gold), ("p", finding.predicted)):
                for place in () if key is None else key[1:]:
                    expected[side] |= {i for start, end in place for i in range(start, end)}
        assert covered == expected


@settings(max_examples=20)
@given(st.lists(PAIRS, min_size=1, max_size=3))
def test_articles_and_items_carry_the_kinds_that_the_filter_asks_for(pairs):
    analysis, html = page_of(pairs)
    found = Page(html).classes
    expected = [
        {f"has-k-{f.kind.replace(' ', '-')}" for f in analysed.findings if f.kind != "correct"}
        for analysed in analysis.wrong
    ]
    assert found == expected
    items = re.findall(r'<li class="of-k-([a-z-]+)">', html)
    errors = [
        f.kind.replace(" ", "-") for text in analysis.wrong for f in text.findings if f.kind != "correct"
    ]
    assert items == errors


def test_page_needs_no_script_no_file_and_no_network():
    pair = ({"text": "Ann", "entities": [{"type": "person", "start": 0, "end": 3}]}, {})
    html = page_of([pair])[1]
    assert html.startswith("<!DOCTYPE html>")
    for needed in ("<script", "src=", "href=", "url(", "@import", "http://", "https://"):
        assert needed not in html
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert "<b>person</b> <q>Ann</q>" in html


def test_every_kind_but_correct_can_be_chosen_and_hides_the_others():
    html = page_of([])[1]
    chosen = re.findall(r'id="show-(?:k-)?([a-z-]+)"', html)
    assert chosen == ["all", *(kind.replace(" ", "-") for kind in KINDS[1:])]
    assert html.count(" checked>") == 1
    for kind in chosen[1:]:
        assert f"#show-k-{kind}:checked ~ main li:not(.of-k-{kind}) {{ display: none; }}" in html
        assert f"#show-k-{kind}:checked ~ main article:not(.has-k-{kind}) {{ display: none; }}" in html
    assert COLOURS.keys() == set(KINDS)


def test_page_says_how_many_texts_it_shows():
    wrong = ({"text": "Ann", "entities": [{"type": "person", "start": 0, "end": 3}]}, {})
    right = ({"text": "Ann", "entities": []}, {})
    analysis, html = page_of([wrong, right, wrong, wrong], limit=2)
    assert "3 of 4 texts have errors; the first 2 are shown." in html
    assert len(Page(html).texts) == 2
    assert "3 of 4 texts have errors." in page_of([wrong, right, wrong, wrong])[1]


def test_crossing_mentions_are_cut_where_one_begins_or_ends():
    gold, predicted = ("person", ((0, 4),)), ("person", ((2, 6),))
    text = AnalysedText("x", "abcdefg", (Finding("entities", "wrong boundary", gold, predicted),))
    said = 'title="wrong boundary: gold person, predicted person"'
    assert marked_text(text) == (
        f'<span class="g k-wrong-boundary" {said}>ab</span>'
        f'<span class="g p k-wrong-boundary" {said}>cd</span>'
        f'<span class="p k-wrong-boundary" {said}>ef</span>g'
    )


def test_colour_tells_of_the_mention_not_of_a_relation_that_ends_there():
    ann, bob = ((0, 3),), ((4, 7),)
    entity = Finding("entities", "correct", ("person", ann), ("person", ann))
    relation = Finding("relations", "missed", ("knows", ann, bob), None)
    html = marked_text(AnalysedText("x", "Ann Bob", (entity, relation)))
    assert '<span class="g p k-correct" title="correct: gold person, predicted person\n' in html
    assert '<span class="g k-missed" title="missed: gold knows">Bob</span>' in html


@pytest.mark.parametrize("place", [(-1, 2), (2, 2), (3, 2), (0, 99)])
def test_place_outside_the_text_marks_nothing(place):
    text = AnalysedText("x", "abc", (Finding("entities", "spurious", None, ("person", (place,))),))
    assert marked_text(text) == "abc"


def test_half_a_surrogate_pair_can_be_written():
    assert quoted("a\ud800b").encode() == b"a?b"
