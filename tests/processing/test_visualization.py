import base64
import hashlib
import json
import re
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st
from result_examples import FULL, NASTY, TEXT, mention, results

from ldnet.processing.visualization import result_fragment, results_page
from ldnet.processing.visualization_assets import SCRIPT, STYLE
from ldnet.processing.visualization_marks import MAX_ARCS

TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div", "label", "input"}
TAGS |= {
    "b",
    "i",
    "bdi",
    "small",
    "strong",
    "span",
    "article",
    "ul",
    "li",
    "svg",
    "mark",
    "details",
    "summary",
}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "script"}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "role", "type", "value", "checked"}
ATTRIBUTES |= {"style", "dir", "open", "scope", "title", "tabindex", "aria-label"}
ATTRIBUTES |= {"data-m", "data-k", "data-l", "data-arcs"}
ALONE = {"meta", "input"}


class Page(HTMLParser):
    """A page as a browser reads it: its tags, attributes and texts by the element that they are in."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts, self.arcs = [], set(), {}, {}, []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        found = dict(attributes)
        for name, value in attributes:
            self.attributes.setdefault(name, []).append(value)
        if "data-arcs" in found:
            self.arcs.append(json.loads(found["data-arcs"]))
        if tag not in ALONE:
            self.open.append(found.get("class") if found.get("class") == "text" else tag)
        if self.open[-1] in ("text", "script", "style", "title", "h1"):
            self.texts.setdefault(self.open[-1], []).append("")

    def handle_endtag(self, tag):
        opened = self.open.pop()
        assert opened == tag or (opened, tag) == ("text", "div")

    def handle_data(self, data):
        for name in ("text", "script", "style", "title", "h1"):
            if name in self.open:
                self.texts[name][-1] += data


def as_shown(text):
    return text.replace("\0", "\ufffd")


@given(st.lists(results(), max_size=3), st.lists(NASTY).map("".join))
@settings(max_examples=25, deadline=None)
def test_page_of_anything_has_our_elements_only_and_the_texts_as_they_are(several, title):
    page = results_page(several, title)
    read = Page(page)
    assert read.tags <= TAGS
    assert read.attributes.keys() <= ATTRIBUTES
    assert read.texts["script"] == [SCRIPT]
    assert read.texts["style"] == [STYLE]
    assert read.texts.get("text", []) == [as_shown(result["text"]) for result in several]
    assert read.texts["title"] == read.texts["h1"] == [as_shown(title)]
    assert "\r" not in page
    page.encode()


@given(results())
@settings(max_examples=12, deadline=None)
def test_fragment_of_anything_has_our_elements_only(result):
    read = Page(result_fragment(result))
    assert read.tags <= TAGS - {"html", "head", "body", "meta", "title", "h1", "main"}
    assert read.attributes.keys() <= ATTRIBUTES
    assert read.texts["script"] == [SCRIPT]
    assert read.texts["text"] == [as_shown(result["text"])]


@given(results())
@settings(max_examples=12, deadline=None)
def test_arcs_join_marks_that_are_on_the_page(result):
    page = results_page(result)
    read = Page(page)
    marks = {int(number) for number in read.attributes.get("data-m", [])}
    keys = set(read.attributes.get("value", []))
    number = len(result.get("relations", [])) + len(result.get("hyper_relations", []))
    number += sum(len(event["arguments"]) for event in result.get("events", []))
    number += sum(len(relation["qualifiers"]) for relation in result.get("hyper_relations", []))
    arcs = [arc for arcs in read.arcs for arc in arcs]
    assert len(arcs) == number
    if "too many others to be drawn" not in page:
        assert {end for arc in arcs for end in (arc["s"], arc["t"])} <= marks
    assert {str(arc["k"]) for arc in arcs} <= keys
    assert set(read.attributes.get("data-k", [])) <= keys


def test_a_script_in_a_text_stays_text():
    text = "<script>alert(1)</script>"
    page = results_page({"text": text, "entities": [mention(text, "alert(1)", type="<img onerror=x>")]})
    assert page.count("<script") == 1
    assert "<img" not in page
    assert Page(page).texts["text"] == [text]


def test_page_needs_no_other_file_and_lets_only_our_script_run():
    page = results_page(FULL)
    assert not re.search(r"https?://|src=|href=|@import|url\(", page)
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    (policy,) = [c for c in Page(page).attributes["content"] if "default-src" in c]
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_page_counts_and_lists_what_was_found():
    page = results_page([FULL, {"text": "", "truncated": False}], "Found", note="Not all.")
    facts = "2 texts · 4 entities · 1 relation · 1 n-ary relation · 1 event · 1 answer · 1 span"
    assert facts in page
    assert "<p>Not all.</p>" in page
    assert "<bdi>person</bdi><b>1</b>" in page
    assert "<h2>Text 1 · <bdi>r-1</bdi></h2>" in page
    assert "<h2>Text 2</h2>" in page
    assert "Nothing found." in page


def test_page_without_script_has_relations_events_classes_and_answers_to_read():
    words = " ".join(re.sub(r"<[^>]*>", " ", results_page(FULL)).split())
    assert "relation works for Ann Lee person → Acme organization 0.75" in words
    assert "n-ary relation employer Acme organization → said · place arms 0.65" in words
    assert "event statement said · speaker Ann Lee · topic arms 0.55" in words
    assert "tone neutral 0.85" in words
    assert "topic none" in words
    assert "Who spoke?" in words
    assert "answer Ann Lee 0.95" in words
    assert "Read in 2 windows." in words
    assert "the result is not complete" in words


def test_page_says_that_a_question_has_no_answer():
    page = results_page({"text": "Hm.", "question": "Why?", "answers": [], "truncated": False})
    assert "no answer in this text" in page


def test_page_says_when_not_every_arc_is_drawn():
    relation = FULL["relations"][0]
    page = results_page({"text": TEXT, "relations": [relation] * (MAX_ARCS + 1), "truncated": False})
    assert f"Only the {MAX_ARCS} best of {MAX_ARCS + 1} arcs are drawn" in page


def test_page_says_when_a_mention_is_not_drawn():
    text = "x" * 40
    nested = [{"type": "t", "start": i, "end": 40 - i, "text": "", "score": 0.5} for i in range(14)]
    assert "2 mentions stand inside too many others to be drawn." in results_page(
        {"text": text, "entities": nested}
    )


def test_page_keeps_line_ends_and_directions_of_a_text():
    page = results_page({"text": "a\r\nb\rc\nשלום"})
    assert 'dir="auto" lang="">a&#13;\nb&#13;c\nשלום</div>' in page


def test_page_of_records_without_scores_works():
    who = {"role": "who", "start": 0, "end": 3}
    record = {
        "text": "Ann left",
        "entities": [{"type": "person", "start": 0, "end": 3}],
        "events": [{"type": "go", "trigger": {"start": 4, "end": 8}, "arguments": [who]}],
        "classes": {"tone": ["sad"]},
    }
    words = " ".join(re.sub(r"<[^>]*>", " ", results_page(record)).split())
    assert "event go left · who Ann" in words
    assert "tone sad" in words
