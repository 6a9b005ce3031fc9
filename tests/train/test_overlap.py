import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldnet.train.data import RecordError
from ldnet.train.overlap import Overlap, OverlapFinder, add_files, text_hash, training_files, words_of

sentences = st.lists(st.text("ab ", max_size=14), max_size=6)


def find(texts, training, **options):
    finder = OverlapFinder(texts, **options)
    for i, text in enumerate(training):
        finder.add(text, str(i))
    return finder.overlaps()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  Jerry's  DOG, (1999) ", ["jerry", "s", "dog", "1999"]),
        ("ＡＢＣ straße x_y", ["abc", "strasse", "x", "y"]),
        ("我爱NLP。", ["我", "爱", "nlp"]),
        ("ไป Bangkok", ["ไ", "ป", "bangkok"]),
        ("?! ...", ["?!", "..."]),
        ("", []),
    ],
)
def test_words_of_leaves_case_punctuation_and_forms_out(text, words):
    assert words_of(text) == words


def test_text_hash_is_that_of_the_words():
    assert text_hash(words_of("A b!")) == text_hash(words_of(" a B")) != text_hash(words_of("ab"))


def test_overlap_finder_finds_equal_texts_whatever_their_punctuation():
    assert find(["Ann met Bob .", "Ann met Eve"], ["nothing", "ann met bob", "Ann met Bob."]) == [
        Overlap(0, "exact", 1.0, "1", "Ann met Bob .")
    ]


def test_overlap_finder_counts_runs_that_were_seen_in_any_training_text():
    text = "a b c d e f"  # runs of 3: abc bcd cde def
    assert find([text], ["x a b c", "a b c d", "y d e f"], run=3, share=0.75) == [
        Overlap(0, "near", 0.75, "0", text)
    ]
    assert find([text], ["x a b c", "a b c d", "y d e f"], run=3, share=0.76) == []


def test_overlap_finder_names_the_place_of_most_runs_and_shortens_texts():
    text = "a b c d " * 30
    (found,) = find([text], ["a b", "z b c d a", "a b"], run=2, share=0.5)
    assert (found.place, found.kind, found.share) == ("1", "near", 1.0)
    assert found.text == text[:80] + "…"
    assert json.loads(json.dumps(found.to_dict()))["place"] == "1"


def test_overlap_finder_knows_short_texts_by_equality_only():
    assert find(["a b"], ["a b c a b"], run=3) == []
    assert [found.kind for found in find(["a b"], ["A, B"], run=3)] == ["exact"]


@given(texts=sentences, training=sentences, run=st.integers(1, 3), share=st.sampled_from([0.3, 0.5, 1.0]))
def test_overlap_finder_equals_a_slow_comparison(texts, training, run, share):
    def runs(text):
        words = words_of(text)
        return {tuple(words[i : i + run]) for i in range(len(words) - run + 1)}

    seen = set().union(*map(runs, training)) if training else set()
    expected = {}
    for i, text in enumerate(texts):
        own = runs(text)
        if any(words_of(text) == words_of(other) for other in training):
            expected[i] = ("exact", 1.0)
        elif own and len(own & seen) / len(own) >= share:
            expected[i] = ("near", len(own & seen) / len(own))
    assert {o.index: (o.kind, o.share) for o in find(texts, training, run=run, share=share)} == expected


def test_overlap_finder_does_not_grow_with_the_training_texts():
    finder = OverlapFinder(["a b c d e f g"], run=2)
    for i in range(500):
        finder.add(f"a b w{i} v{i} c d", "x")
    assert (finder.added, len(finder._run_ids), len(finder._seen), len(finder._equal)) == (500, 6, 2, 0)


@pytest.mark.parametrize("options", [{"run": 0}, {"share": 0.0}, {"share": 1.1}])
def test_overlap_finder_refuses_what_makes_no_sense(options):
    with pytest.raises(ValueError, match="a run needs a word, a share lies in"):
        OverlapFinder([], **options)


@pytest.fixture
def root(tmp_path):
    for name in ("one/train.jsonl", "one/dev.jsonl", "two/train.json", "two/more.jsonl"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        record = {"text": f"text of {name}"}
        file.write_text(json.dumps([record] if name.endswith(".json") else record))
    (tmp_path / "mix.yaml").write_text("train: [one/train.jsonl]\nreplay: [two]\nmax_labels: 3\n")
    (tmp_path / "list.json").write_text('{"train": ["two/more.jsonl"]}')
    return tmp_path


def test_training_files_reads_files_folders_and_lists(root):
    def found(*names):
        return [file.relative_to(root).as_posix() for file in training_files(names, str(root))]

    assert found("one/train.jsonl", "one") == ["one/train.jsonl"]
    assert found("mix.yaml", "list.json") == ["one/train.jsonl", "two/train.json", "two/more.jsonl"]
    assert found("two/train.json") == ["two/train.json"]
    # a configuration is looked for in the working folder first
    assert [file.name for file in training_files([str(root / "mix.yaml")], str(root))] == [
        "train.jsonl",
        "train.json",
    ]


def test_training_files_names_everything_that_leads_nowhere(root):
    (root / "empty").mkdir()
    (root / "no.yaml").write_text("dev: [x]\n")
    with pytest.raises(RecordError) as caught:
        training_files(["none.jsonl", "empty", "no.yaml", "none.yaml", "one"], str(root))
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert [line.split(": ")[0].rpartition("/")[2] for line in lines] == [
        "none.jsonl",
        "empty",
        "no.yaml",
        "none.yaml",
    ]


def test_add_files_streams_texts_with_their_place(root):
    finder = OverlapFinder(["Text of two/more.jsonl", "text of one/dev.jsonl"])
    add_files(finder, [root / "one/train.jsonl", root / "two/more.jsonl"])
    assert finder.added == 2
    assert [(o.index, o.place) for o in finder.overlaps()] == [(0, f"{root / 'two/more.jsonl'}[0]")]
