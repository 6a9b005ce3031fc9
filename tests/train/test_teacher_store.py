import pickle

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from ldnet.processing.links import LinkType, LoopLimits
from ldnet.train.teacher_store import (
    StoreError,
    StoreHeader,
    StoreReport,
    StoreRow,
    TeacherStore,
    TextCells,
    pack_cells,
    text_key,
    tokenizer_fingerprint,
    unpack_cells,
    write_store,
)

LABELS = ((0, "person"), (1, "works for"), (2, "topic: news"))
HEADER = StoreHeader("f" * 32, LoopLimits(), (LABELS, LABELS[:1]), 1e-4, ("best",))


def make_cells(found, num_tokens=4, windows=(), lost_mass=0.0):
    """Cells of [(kind, row, column, probability)]."""
    kind, row, column, probs = (
        np.array([cell[i] for cell in found], dtype=float if i == 3 else int) for i in range(4)
    )
    return TextCells(num_tokens, windows or ((0, num_tokens),), kind, row, column, probs, lost_mass)


CELLS = make_cells(
    [(LinkType.NEXT, 3, 0, 0.5), (LinkType.OPEN, 2, -1, 1.0), (LinkType.INSIDE, 0, 3, 0.25),
     (LinkType.CLOSE, 0, 3, 0.75)], lost_mass=0.125,
)  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """Two texts, one of them under two schemas."""
    rows = [
        StoreRow(text_key("one"), 0, CELLS),
        StoreRow(text_key("two"), 0, make_cells([], 6, ((0, 4), (2, 6)))),
        StoreRow(text_key("one"), 1, make_cells([(LinkType.OPEN, 0, 2, 0.5)])),
    ]
    write_store(tmp_path / "store.arrow", HEADER, rows)
    return TeacherStore.open(tmp_path / "store.arrow")


def as_set(cells):
    return set(
        zip(cells.kind.tolist(), cells.row.tolist(), cells.column.tolist(), cells.probs.tolist(), strict=True)
    )


# ---- cells and positions


@st.composite
def any_cells(draw):
    labels, tokens = draw(st.integers(1, 4)), draw(st.integers(0, 6))
    token, label = st.integers(0, max(tokens - 1, 0)), st.integers(0, labels - 1)
    of_label = st.tuples(st.integers(0, 1), label, st.integers(-1, tokens - 1))
    pair = st.tuples(st.integers(2, 3), token, token)
    places = draw(st.sets(st.one_of(of_label, pair) if tokens else of_label, max_size=20))
    halves = st.integers(0, 1024).map(lambda n: n / 1024)  # exact in 16 bits
    return labels, make_cells([(*place, draw(halves)) for place in places], tokens)


@given(any_cells())
def test_unpack_cells_undoes_pack_cells(drawn):
    labels, cells = drawn
    places, probs = pack_cells(cells, labels)
    assert (places.dtype, probs.dtype) == (np.uint32, np.float16)
    assert (np.diff(places.astype(int)) > 0).all()
    kind, row, column = unpack_cells(places, labels, cells.num_tokens)
    again = TextCells(cells.num_tokens, cells.windows, kind, row, column, probs.astype(float))
    assert as_set(again) == as_set(cells)


def test_positions_count_through_the_four_matrices():
    """Two labels and three tokens: 2 x 4, 2 x 4, 3 x 3 and 3 x 3 cells."""
    found = [(0, 0, -1, 1), (0, 1, 2, 1), (1, 0, -1, 1), (2, 0, 0, 1), (3, 0, 0, 1), (3, 2, 2, 1)]
    assert pack_cells(make_cells(found, 3), 2)[0].tolist() == [0, 7, 8, 16, 25, 33]


def test_a_text_beyond_32_bit_positions_is_refused():
    with pytest.raises(StoreError, match="a text has 50000 tokens; about 46340 are the most"):
        pack_cells(make_cells([], 50_000), 1)


# ---- the file


def test_store_gives_back_what_was_written(store):
    assert len(store) == 3
    assert store.header == HEADER
    (labels, place), (fewer, other) = store.find(text_key("one"))
    assert (labels, fewer) == (LABELS, LABELS[:1])
    read = store.read(place)
    assert as_set(read) == as_set(CELLS)
    assert (read.num_tokens, read.windows, read.lost_mass) == (4, ((0, 4),), 0.125)
    assert as_set(store.read(other)) == {(0, 0, 2, 0.5)}
    ((_, place),) = store.find(text_key("two"))
    assert store.read(place).windows == ((0, 4), (2, 6))
    assert list(store.find(text_key("three"))) == []


def test_batches_of_rows_are_found_behind_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("ldnet.train.teacher_store.ROWS_OF_BATCH", 2)
    rows = [StoreRow(text_key(str(i)), 1, make_cells([(LinkType.OPEN, 0, i, 0.5)], 9)) for i in range(5)]
    write_store(tmp_path / "s", HEADER, rows)
    store = TeacherStore.open(tmp_path / "s")
    assert [len(batch) for batch in store.batches] == [2, 2, 1]
    for i in range(5):
        ((_, place),) = store.find(text_key(str(i)))
        assert as_set(store.read(place)) == {(0, 0, i, 0.5)}


def test_workers_of_a_data_loader_map_the_file_themselves(store):
    data = pickle.dumps(store)
    assert len(data) < 1000
    again = pickle.loads(data)
    ((_, place),) = again.find(text_key("two"))
    assert again.read(place).num_tokens == 6


def test_datasets_opens_a_store(store):
    rows = Dataset.from_file(str(store.path))
    assert len(rows) == 3
    assert rows[0]["cells"] == pack_cells(CELLS, 3)[0].tolist()
    assert rows[1]["windows"] == [0, 4, 2, 6]


def test_a_file_that_is_there_stays(store):
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match="store.arrow: there is a file already"):
        write_store(store.path, HEADER, [])
    assert store.path.read_bytes() == before


def test_a_failed_write_leaves_nothing(tmp_path):
    def rows():
        yield StoreRow(text_key("one"), 0, CELLS)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "s", HEADER, rows())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 5, 100, -1, -8, -200])
def test_a_store_that_is_cut_off_is_one_line(store, keep):
    path = store.path.with_name("cut")
    path.write_bytes(store.path.read_bytes()[:keep])
    with pytest.raises(StoreError, match="cut: no whole teacher store .*; write it again") as caught:
        TeacherStore.open(path)
    assert "\n" not in str(caught.value)


def test_a_store_cut_between_two_batches_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ldnet.train.teacher_store.ROWS_OF_BATCH", 1)
    write_store(tmp_path / "s", HEADER, [StoreRow(text_key("a"), 0, CELLS)])
    one = (tmp_path / "s").read_bytes()[:-8]
    write_store(tmp_path / "t", HEADER, [StoreRow(text_key(x), 0, CELLS) for x in "ab"])
    assert (tmp_path / "t").read_bytes().startswith(one)
    (tmp_path / "t").write_bytes(one)
    with pytest.raises(StoreError, match="cut off"):
        TeacherStore.open(tmp_path / "t")


def test_other_files_and_no_file_are_one_line(tmp_path):
    with pytest.raises(StoreError, match="none: there is no such store; write it with ldnet distill store"):
        TeacherStore.open(tmp_path / "none")
    with (
        pa.OSFile(str(tmp_path / "other"), "wb") as sink,
        pa.ipc.new_stream(sink, pa.schema({"a": pa.int8()})),
    ):
        pass
    with pytest.raises(StoreError, match="other: no whole teacher store"):
        TeacherStore.open(tmp_path / "other")
    with pytest.raises(StoreError, match="no whole teacher store"):
        TeacherStore.open(tmp_path)


# ---- keys


def test_text_key_depends_on_text_and_question():
    keys = [text_key("a"), text_key("b"), text_key("a", ""), text_key("a", "b"), text_key("ab")]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {16}


def test_fingerprint_is_of_vocabulary_and_rules(tiny_processor, make_processor, tiny_model):
    tokenizer = tiny_processor.tokenizer
    first = tokenizer_fingerprint(tokenizer)
    tokenizer(["x"], truncation=True, max_length=3, padding=True)  # leaves its settings in the tokenizer
    assert tokenizer_fingerprint(tokenizer) == first
    tokenizer.add_tokens(["other"])
    assert tokenizer_fingerprint(tokenizer) != first


def test_report_adds_up_and_says_its_shares():
    report = StoreReport(1, 10, 20.0, 0.01, 1000, 30)
    report.add(StoreReport(2, 5, 20.0, 0.03, 3000, 10))
    assert report == StoreReport(3, 15, 40.0, 0.04, 4000, 40)
    found = report.to_dict()
    assert (found["size_percent"], found["lost_percent"]) == (pytest.approx(1.0), pytest.approx(0.1))
    assert "3 texts, 15 cells" in str(report)
    assert "1.00 % of dense float32" in str(report)
    assert "lost mass 0.1000 %" in str(report)
    assert StoreReport().to_dict()["lost_percent"] == 0.0
