import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_strategies import entities_of, records, same, token_runs

from ldnet.processing.converters.conll import Tag, decode_tags, read_conll, write_conll
from ldnet.processing.converters.report import AlignmentReport, ConversionError

BEGUN = "mention that begins with {}- instead of B-: begun there"
ENDED = "mention that does not end with E- or S-: ended where it stops"


def there_and_back(record, **options):
    """A record through a file: what comes back, the reports and the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.bio"
        written, read = AlignmentReport("out"), AlignmentReport("in")
        write_conll([record], path, written, **options)
        back = list(read_conll(path, read))
        return back, written, read, path.read_text(encoding="utf-8")


@given(token_runs(flat=True), st.sampled_from(["bio", "bioes"]))
def test_conll_there_and_back_is_the_same_record(item, scheme):
    tokens, runs = item
    record = {"text": " ".join(tokens), "entities": entities_of(tokens, runs)}
    back, written, read, _ = there_and_back(record, scheme=scheme)
    assert back == [record]
    assert [written.lost, written.repaired, read.lost, read.repaired] == [{}, {}, {}, {}]
    assert written.structures == read.structures


@settings(max_examples=50)
@given(records(most_pieces=2), st.sampled_from(["whitespace", "words"]))
def test_conll_of_any_record_counts_what_columns_cannot_hold(record, tokens):
    back, written, read, _ = there_and_back(record, tokens=tokens)
    lost = {cause: tally.count for cause, tally in written.lost.items()}
    if not record["text"].strip():
        assert (back, lost["text without words"]) == ([], 1)
        return
    assert not read.lost
    assert not read.repaired
    assert lost.get("relations: columns of tags cannot hold them", 0) == len(record["relations"])
    assert lost.get("events: columns of tags cannot hold them", 0) == len(record["events"])
    own = sum(count for cause, count in lost.items() if "mention" in cause)
    assert written.structures["entities"] == len(back[0]["entities"]) == len(record["entities"]) - own
    assert "".join(back[0]["text"].split()) == "".join(record["text"].split())

    def squeezed(source, entities):
        return {(e["type"], "".join(source["text"][e["start"] : e["end"]].split())) for e in entities}

    assert squeezed(back[0], back[0]["entities"]) <= squeezed(record, record["entities"])


def test_write_conll_keeps_the_longest_and_splits_words_at_its_boundaries():
    def mention(label, start, end, **more):
        return {"type": label, "start": start, "end": end, **more}

    record = {
        "id": "r",
        "text": "Visit New York, (now).",
        "entities": [
            mention("city", 6, 14),
            mention("adjective", 6, 9),
            mention("time", 17, 20),
            mention("gap", 0, 9, fragments=[[0, 5], [6, 9]]),
            mention("blank", 5, 6),
        ],
    }
    back, written, _, text = there_and_back(record)
    assert text == ("Visit\tO\nNew\tB-city\nYork\tI-city\n,\tO\n(\tO\nnow\tB-time\n).\tO\n\n")
    assert {cause: tally.count for cause, tally in written.lost.items()} == {
        "mention that overlaps a longer one": 1,
        "discontinuous mention": 1,
        "mention of white space": 1,
    }
    assert {cause: tally.count for cause, tally in written.repaired.items()} == {
        "word with a mention's boundary inside: split there": 3,
    }
    assert same(back[0])["text"] == "Visit New York , ( now )."


def test_write_conll_words_end_at_signs():
    record = {"text": "U.S. sales (10,000) don't 京都!", "entities": []}
    *_, text = there_and_back(record, tokens="words")
    assert [line.split("\t")[0] for line in text.split("\n") if line] == [
        "U.S", ".", "sales", "(", "10,000", ")", "don't", "京", "都", "!",
    ]  # fmt: skip


@pytest.mark.parametrize(("tags", "iobes", "mentions", "repairs"), [
    ("B-X I-X O B-X B-X", False, [(0, 1), (3, 3), (4, 4)], []),
    ("I-X I-X O", False, [(0, 1)], [(0, BEGUN.format("I"))]),
    ("B-X I-Y", False, [(0, 0), (1, 1)], [(1, BEGUN.format("I"))]),
    ("B-X I-X E-X S-X", True, [(0, 2), (3, 3)], []),
    ("B-X O", True, [(0, 0)], [(0, ENDED)]),
    ("B-X B-X E-X", True, [(0, 0), (1, 2)], [(0, ENDED)]),
    ("E-X O", True, [(0, 0)], [(0, BEGUN.format("E"))]),
    ("S-X I-X E-X", True, [(0, 0), (1, 2)], [(1, BEGUN.format("I"))]),
    ("B-X E-Y", True, [(0, 0), (1, 1)], [(0, ENDED), (1, BEGUN.format("E"))]),
    ("I-X", True, [(0, 0)], [(0, BEGUN.format("I")), (0, ENDED)]),
    ("", True, [], []),
])  # fmt: skip
def test_decode_tags_repairs_invalid_sequences(tags, iobes, mentions, repairs):
    parsed = [Tag("O", None) if tag == "O" else Tag(*tag.split("-")) for tag in tags.split()]
    found, mended = decode_tags(parsed, iobes)
    assert [(first, last) for first, last, _ in found] == mentions
    assert sorted(mended) == sorted(repairs)


def test_read_conll_2003_has_documents_comments_and_columns(read, counts, marked):
    content = (
        "-DOCSTART- -X- -X- O\r\n\r\nEU NNP B-NP B-ORG\r\nrejects VBZ B-VP O\r\n\r\n# id 3 domain=en\r\n"
        "# NN O O\r\nBonn NNP I-NP B-LOC\r\n\r\n-DOCSTART- -X- -X- O\r\n\r\n"
        "🙂 NN O B-LOC\r\n京都 NN O I-LOC\r\n"
    )
    records, report = read(read_conll, content)
    assert [record["text"] for record in records] == ["EU rejects", "# Bonn", "🙂 京都"]
    assert [marked(record) for record in records] == [
        [("ORG", "EU")],
        [("LOC", "Bonn")],
        [("LOC", "🙂 京都")],
    ]
    assert counts(report) == ({}, {})
    documents, _ = read(read_conll, content, unit="document")
    assert [record["text"] for record in documents] == ["EU rejects # Bonn", "🙂 京都"]
    assert documents[0]["sentences"] == [[0, 10], [11, 17]]
    assert marked(documents[0]) == [("ORG", "EU"), ("LOC", "Bonn")]
    chunks, report = read(read_conll, content, label_column=2, text_column=0)
    assert marked(chunks[0]) == [("NP", "EU"), ("VP", "rejects")]
    assert counts(report) == ({}, {BEGUN.format("I"): 1})


def test_read_conll_tokens_may_hold_spaces_where_tabs_part_columns(read, marked):
    records, _ = read(read_conll, "New York\tB-work of art\nis\tO\t\n\t\n大\tB-a\n学\tI-a\n")
    assert [record["text"] for record in records] == ["New York is", "大 学"]
    assert [marked(record) for record in records] == [[("work of art", "New York")], [("a", "大 学")]]
    joined, _ = read(read_conll, "大\tB-a\n学\tI-a\n", separator="")
    assert (joined[0]["text"], marked(joined[0])) == ("大学", [("a", "大学")])


@pytest.mark.parametrize(
    "content", ["a B-x\nb L-x\nc U-y\n", "a B_x\nb E_x\nc S_y\n", "a B-x\nb E-x\nc S-y\n"]
)
def test_read_conll_knows_the_letters_of_other_schemes(read, counts, marked, content):
    records, report = read(read_conll, content)
    assert marked(records[0]) == [("x", "a b"), ("y", "c")]
    assert counts(report) == ({}, {})


def test_read_conll_bare_letters_are_spans_and_bare_labels_runs(read, counts, marked):
    records, report = read(read_conll, "a B\nb I\nc O\n\nd O\n")
    assert records == [{"text": "a b c", "spans": [{"start": 0, "end": 3}]}, {"text": "d", "spans": []}]
    records, report = read(read_conll, "a person-artist\nb person-artist\nc O\nd place\n")
    assert marked(records[0]) == [("person-artist", "a b"), ("place", "d")]
    assert counts(report) == ({}, {"labels without B- and I-: a run of one label is a mention": 1})


def test_read_conll_counts_tags_that_are_none(read, counts, marked):
    records, report = read(read_conll, "a B-x\nb Q-x\nc B\n\td\tO\n")
    assert marked(records[0]) == [("x", "a")]
    assert counts(report)[0] == {"tag that is none": 1, "tag without a label": 1}
    (record,), report = read(read_conll, "\tB-x\nb\tO")  # an empty token, no line feed at the end
    assert record == {"text": " b", "entities": []}
    assert counts(report)[0] == {"mention without characters": 1}


def test_read_conll_without_the_column_names_every_line(read):
    with pytest.raises(ConversionError) as caught:
        read(read_conll, "a O\nb\n\nc X O\n", label_column=2)
    assert len(caught.value.problems) == 2
    assert "file.jsonl:1: line = 'a O': has 2 column(s)" in caught.value.problems[0]


def test_write_conll_spans_are_bare_letters():
    back, *_ = there_and_back({"text": "a b", "spans": [{"start": 0, "end": 3}]})
    assert back == [{"text": "a b", "spans": [{"start": 0, "end": 3}]}]
