import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_strategies import entities_of, records, token_runs

from ldnet.processing.converters.report import AlignmentReport, ConversionError
from ldnet.processing.converters.spacy_docbin import read_spacy, write_spacy
from ldnet.train.validation import validate_records

NESTED = "overlapping entity: only in spans['sc']"


def there_and_back(many, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.spacy"
        written, read = AlignmentReport("out"), AlignmentReport("in")
        write_spacy(many, path, written, **options)
        back = list(read_spacy(path, read))
        assert validate_records(back) == []
        return back, written, read


def key(entity):
    return entity["start"], -entity["end"], entity["type"]


@settings(max_examples=15)
@given(token_runs(), st.booleans())
def test_spacy_there_and_back_is_the_same_record(item, with_classes):
    pytest.importorskip("spacy")
    _, runs = item
    tokens = [f"w{index}" for index in range(9)]  # words that spaCy does not split
    entities = {key(entity): entity for entity in entities_of(tokens, runs)}
    record = {"id": "🙂", "text": " ".join(tokens), "entities": [entities[k] for k in sorted(entities)]}
    if with_classes:
        record |= {"classes": {"class": ["x"]}, "labels": {"classes": {"class": ["x"]}}}
    (back,), written, read = there_and_back([record])
    assert back | {"entities": sorted(back["entities"], key=key)} == record
    assert [written.lost, read.lost, read.repaired] == [{}, {}, {}]
    assert written.repaired.keys() <= {NESTED}


@settings(max_examples=15)
@given(records(most_pieces=2))
def test_spacy_of_any_record_keeps_the_text_and_counts_the_rest(record):
    pytest.importorskip("spacy")
    (back,), written, _ = there_and_back([record])
    assert back["text"] == record["text"]
    lost = {cause: tally.count for cause, tally in written.lost.items()}
    gone = lost.get("discontinuous mention", 0) + lost.get(
        "boundary inside a token of spaCy (try --set language=…)", 0
    )
    assert written.structures["entities"] == len(record["entities"]) - gone
    found = {key(entity) for entity in back.get("entities", ())}
    assert found <= {key(entity) for entity in record["entities"]}
    assert lost.get("relations: spaCy cannot hold them", 0) == len(record["relations"])


def test_write_spacy_gives_what_spacy_trains_on(tmp_path):
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import DocBin

    nested = [{"type": "city", "start": 0, "end": 8}, {"type": "state", "start": 4, "end": 8}]
    many = [
        {"text": "New York", "entities": nested, "classes": {"topic": ["x"], "tone": ["up"]}},
        {
            "text": "京都 🙂",
            "entities": [{"type": "city", "start": 0, "end": 1}],
            "classes": {"topic": ["y"]},
        },
        {"text": ""},
    ]
    report = AlignmentReport("out")
    write_spacy(many, tmp_path / "a.spacy", report, language="en")
    docs = list(DocBin().from_disk(tmp_path / "a.spacy").get_docs(spacy.blank("en").vocab))
    assert [(span.label_, span.text) for span in docs[0].ents] == [("city", "New York")]
    assert [(span.label_, span.text) for span in docs[0].spans["sc"]] == [
        ("city", "New York"),
        ("state", "York"),
    ]
    assert docs[0].cats == {"topic: x": 1.0, "topic: y": 0.0, "tone: up": 1.0}
    assert docs[1].cats == {"topic: x": 0.0, "topic: y": 1.0}
    assert {cause: tally.count for cause, tally in report.lost.items()} == {
        "boundary inside a token of spaCy (try --set language=…)": 1
    }
    assert report.repaired[NESTED].count == 1


def test_read_spacy_reads_groups_of_spans_and_counts_the_rest(tmp_path, counts):
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import DocBin, Span

    nlp = spacy.blank("en")
    doc, bare = nlp.make_doc("Ann saw Bob"), nlp.make_doc("nobody")
    doc.set_ents([Span(doc, 0, 1, label="PER", kb_id="Q1")])
    doc.spans["sc"] = [Span(doc, 0, 1, label="PER"), Span(doc, 0, 3, label="CLAUSE"), Span(doc, 2, 3)]
    doc.cats = {"good": 0.9, "bad": 0.1}
    doc.user_data["mine"] = 1
    DocBin(docs=[doc, bare], store_user_data=True).to_disk(tmp_path / "a.spacy")
    report = AlignmentReport("in")
    first, second = read_spacy(tmp_path / "a.spacy", report)
    assert [(e["type"], e["start"], e["end"]) for e in first["entities"]] == [
        ("PER", 0, 3),
        ("CLAUSE", 0, 11),
    ]
    assert first["classes"] == {"class": ["good"]}
    assert first["labels"] == {"classes": {"class": ["good", "bad"]}}
    assert second == {"text": "nobody"}
    assert counts(report)[0] == {
        "span without a label or without characters": 1,
        "link to a knowledge base": 1,
        "user data (extension attributes)": 1,
    }


def test_spacy_errors_are_one_line(tmp_path, monkeypatch):
    pytest.importorskip("spacy")
    (tmp_path / "a.spacy").write_bytes(b"no")
    with pytest.raises(ConversionError, match=r"a\.spacy: is no DocBin of spaCy"):
        list(read_spacy(tmp_path / "a.spacy", AlignmentReport("in")))
    with pytest.raises(ConversionError, match="language: spaCy cannot load 'qq'"):
        write_spacy([], tmp_path / "b.spacy", AlignmentReport("out"), language="qq")
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ConversionError, match=r"pip install 'ldnet\[spacy\]'"):
        list(read_spacy(tmp_path / "a.spacy", AlignmentReport("in")))
