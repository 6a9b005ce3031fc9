import builtins

import pytest
from hypothesis import given, settings
from result_examples import FULL, TEXT, mention, results

from ldnet.processing.extraction_result import COLUMNS, ExtractionResult


def result(text=TEXT, **found):
    return ExtractionResult({"text": text, **found, "truncated": False})


@pytest.fixture
def without_package(monkeypatch):
    """`without_package(name)`: as if a package were not installed."""
    original = builtins.__import__

    def forbid(name):
        def fail(module, *args, **kwargs):
            if module.partition(".")[0] == name:
                raise ModuleNotFoundError(f"No module named {module!r}", name=module)
            return original(module, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", fail)

    return forbid


@pytest.mark.parametrize(("method", "package"), [("to_pandas", "pandas"), ("to_spacy", "spacy")])
def test_methods_without_their_package_say_what_to_install(without_package, method, package):
    without_package(package)
    with pytest.raises(ImportError, match=f"{method}: .* is not installed; pip install {package}"):
        getattr(result(), method)()


def test_to_pandas_has_one_row_for_each_structure():
    pytest.importorskip("pandas")
    frame = ExtractionResult(FULL).to_pandas()
    assert tuple(frame.columns) == COLUMNS
    shown = frame[["kind", "type", "role", "text", "parent"]].astype(object)
    shown = shown.where(shown.notna(), None)
    assert shown.values.tolist() == [
        ["entity", "person", None, "Ann Lee", None],
        ["entity", "name", None, "Lee", None],
        ["entity", "organization", None, "Acme", None],
        ["entity", "symptom", None, "pain legs", None],
        ["relation", "works for", None, None, None],
        ["hyper_relation", "employer", None, None, None],
        ["qualifier", "employer", "place", "arms", 5],
        ["event", "statement", None, "said", None],
        ["argument", "statement", "speaker", "Ann Lee", 7],
        ["argument", "statement", "topic", "arms", 7],
        ["class", "neutral", "tone", None, None],
        ["answer", None, None, "Ann Lee", None],
        ["span", None, None, "<b>pain</b>", None],
    ]
    assert frame["score"].tolist() == [0.9, 0.4, 0.8, 0.7, 0.75, 0.65, 0.6, 0.55, 0.45, 0.6, 0.85, 0.95, 0.35]
    assert frame.loc[3, ["start", "end", "fragments"]].tolist() == [24, 47, [[24, 28], [43, 47]]]
    pair = frame.loc[4, ["head_type", "head_text", "head_start", "tail_text", "tail_end", "tail_score"]]
    assert pair.tolist() == ["person", "Ann Lee", 0, "Acme", 15, 0.8]
    assert str(frame["start"].dtype) == str(frame["head_end"].dtype) == "Int64"


@given(results())
@settings(max_examples=12, deadline=None)
def test_to_pandas_has_the_same_columns_and_types_whatever_was_found(plain):
    pytest.importorskip("pandas")
    frame, full = ExtractionResult(plain).to_pandas(), ExtractionResult(FULL).to_pandas()
    assert frame.dtypes.tolist() == full.dtypes.tolist()
    own = [row for row in frame.itertuples() if row.kind in ("entity", "span", "answer", "event")]
    parts = plain.get("entities", []) + [event["trigger"] for event in plain.get("events", [])]
    parts += plain.get("answers", []) + plain.get("spans", [])
    assert [(row.start, row.end, row.text) for row in own] == [
        (m["start"], m["end"], m["text"]) for m in parts
    ]


def test_to_spacy_has_entities_groups_and_classes():
    pytest.importorskip("spacy")
    doc = ExtractionResult(FULL).to_spacy()
    assert doc.text == TEXT
    assert [(span.text, span.label_) for span in doc.ents] == [
        ("Ann Lee", "person"),
        ("Acme", "organization"),
    ]
    everything = [(span.text, span.label_, span.id_) for span in doc.spans["ldnet"]]
    assert everything == [
        ("Ann Lee", "person", ""),
        ("Lee", "name", ""),
        ("Acme", "organization", ""),
        ("pain", "symptom", "ldnet-3"),
        ("legs", "symptom", "ldnet-3"),
    ]
    assert doc.spans["ldnet"].attrs["scores"] == [0.9, 0.4, 0.8, 0.7, 0.7]
    assert [(span.text, span.label_) for span in doc.spans["ldnet_triggers"]] == [("said", "statement")]
    assert [span.text for span in doc.spans["ldnet_answers"]] == ["Ann Lee"]
    assert [span.text for span in doc.spans["ldnet_spans"]] == ["<b>pain</b>"]
    assert doc.cats == {"tone: neutral": 0.85}
    assert doc.user_data["ldnet"] == FULL
    assert doc.user_data["ldnet_unaligned"] == []


def test_to_spacy_entities_are_the_best_that_do_not_overlap():
    pytest.importorskip("spacy")
    text = "a b c"
    found = [
        mention(text, "a b", 0.5, type="x"),
        mention(text, "b c", 0.6, type="y"),
        mention(text, "a", type="z"),
    ]
    doc = result(text, entities=found).to_spacy()
    assert [(span.text, span.label_) for span in doc.ents] == [("a", "z"), ("b c", "y")]


@given(results())
@settings(max_examples=20, deadline=None)
def test_to_spacy_with_its_own_tokens_holds_every_mention_exactly(plain):
    pytest.importorskip("spacy")
    doc = ExtractionResult(plain).to_spacy()
    assert doc.text == plain["text"]
    assert doc.user_data["ldnet_unaligned"] == []
    pieces = [p for m in plain.get("entities", []) for p in m.get("fragments", [(m["start"], m["end"])])]
    assert [(s.start_char, s.end_char) for s in doc.spans["ldnet"]] == [tuple(piece) for piece in pieces]


def test_to_spacy_words_and_spaces_are_those_of_spacy_where_no_mention_cuts_them():
    spacy = pytest.importorskip("spacy")
    text = " Hello,  world \n next\tone."
    own, theirs = result(text, entities=[]).to_spacy(), spacy.blank("xx").make_doc(text)
    assert [(t.text, t.whitespace_) for t in own] == [(t.text, t.whitespace_) for t in theirs]


def test_to_spacy_with_other_tokens_reports_what_does_not_fit():
    spacy = pytest.importorskip("spacy")
    text = "Ann's pain-free"
    pain, ann = mention(text, "ain", type="part"), mention(text, "Ann", type="person")
    found = result(text, entities=[ann, pain])
    with pytest.warns(UserWarning, match="1 mentions do not begin and end where tokens of nlp do"):
        doc = found.to_spacy(spacy.blank("en"))
    assert doc.user_data["ldnet_unaligned"] == [pain]
    assert [span.text for span in doc.ents] == ["Ann"]


def test_to_spacy_doc_survives_bytes():
    spacy = pytest.importorskip("spacy")
    content = ExtractionResult(FULL).to_spacy().to_bytes()
    doc = spacy.tokens.Doc(spacy.blank("xx").vocab).from_bytes(content)
    assert doc.user_data["ldnet"] == FULL
    assert [span.text for span in doc.spans["ldnet"]][:2] == ["Ann Lee", "Lee"]
