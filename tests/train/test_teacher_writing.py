import copy

import numpy as np
import pytest
import torch

from ldnet.processing.links import LinkType
from ldnet.processing.schema import Schema
from ldnet.train.dataset import Source
from ldnet.train.teacher_store import StoreError, TeacherStore, text_key
from ldnet.train.teacher_writing import TeacherWriter
from ldnet.train.teachers import TeacherError, TeacherModels


@pytest.fixture
def write(tmp_path):
    """`write(pairs, parts, **options)`: a store that models write, and the reports."""

    def make(pairs, parts, **options):
        models, processors = zip(*pairs, strict=True)
        teachers = TeacherModels(models, processors, [f"t{i}" for i in range(len(models))])
        path = tmp_path / f"store-{len(list(tmp_path.iterdir()))}"
        reports = TeacherWriter(teachers, **options).write(path, parts)
        return TeacherStore.open(path), reports

    return make


def dense(store, text, question=None):
    """Matrices of a stored text: labels have the text marker in column 0."""
    ((labels, place),) = store.find(text_key(text, question))
    cells = store.read(place)
    n = cells.num_tokens
    matrices = [np.zeros((len(labels), n + 1)) for _ in range(2)] + [np.zeros((n, n)) for _ in range(2)]
    for kind, row, column, prob in zip(cells.kind, cells.row, cells.column, cells.probs, strict=True):
        matrices[kind][row, column + (kind < 2)] += prob
    return matrices


def judged(model, processor, text, schema):
    """The same from the model itself: one text, all legal cells."""
    batch = processor([text], schema)
    with torch.no_grad():
        output = model.eval()(**batch, return_logits=True)
    n = int(batch["attention_mask"].sum()) - 2
    probs = [torch.sigmoid(score)[0].numpy() for score in output.link_logits]
    labels = [matrix[:, : n + 1].copy() for matrix in probs[:2]]
    is_class = np.array([label.structure == "classes" for label in schema.labels], dtype=bool)
    for matrix in labels:
        matrix[is_class, 1:] = 0
        matrix[~is_class, 0] = 0
    inside, following = (matrix[1 : n + 1, 1 : n + 1] for matrix in probs[2:])
    return [*labels, np.triu(inside), following]


def test_store_holds_the_probabilities_of_every_legal_cell(trainable, write, work):
    pair = trainable()
    schema, records = work
    store, reports = write([pair], [(Source("work", schema), records)], floor=0.0, batch_size=5)
    assert len(store) == len(records)
    for record in records:
        for found, expected in zip(
            dense(store, record["text"]), judged(*pair, record["text"], schema), strict=True
        ):
            np.testing.assert_allclose(found, expected, atol=6e-4)
    report = reports["all"]
    assert report.lost_mass == pytest.approx(0, abs=1e-6)
    assert report.dense_bytes == 4 * report.cells
    assert report.bytes == store.path.stat().st_size


def test_floor_drops_cells_and_reports_their_mass(trainable, write, work):
    pair = trainable()
    schema, records = work[0], work[1][:3]
    store, reports = write([pair], [(Source("work", schema), records)], floor=0.3)
    expected = [judged(*pair, record["text"], schema) for record in records]
    values = np.concatenate([matrix.ravel() for of_text in expected for matrix in of_text])
    report = reports["work"]
    assert report.mass == pytest.approx(values.sum(), rel=1e-5)
    assert report.lost_mass == pytest.approx(values[values <= 0.3].sum(), rel=1e-5)
    assert report.cells == (values > 0.3).sum()
    assert 0 < report.lost_mass < report.mass
    kept = [store.read(place) for record in records for _, place in store.find(text_key(record["text"]))]
    assert sum(cells.lost_mass for cells in kept) == pytest.approx(report.lost_mass, rel=1e-5)
    assert all((cells.probs >= 0.3).all() for cells in kept)
    assert report.bytes < store.path.stat().st_size


def test_several_teachers_write_their_mean(trainable, write, work):
    pairs = [trainable(), trainable(label_drop="none")]
    torch.nn.init.normal_(pairs[1][0].link_head.projection.weight, std=0.3)
    schema, records = work[0], work[1][:2]
    store, _ = write(pairs, [(Source("work", schema), records)], floor=0.0)
    assert store.header.teachers == ("t0", "t1")
    one, two = (judged(*pair, records[0]["text"], schema) for pair in pairs)
    for found, a, b in zip(dense(store, records[0]["text"]), one, two, strict=True):
        np.testing.assert_allclose(found, (a + b) / 2, atol=6e-4)
    assert max(abs(a - b).max() for a, b in zip(one, two, strict=True)) > 0.05


def test_what_no_label_needs_is_not_stored(trainable, write, work):
    records = [{"text": record["text"], "entities": record["entities"]} for record in work[1][:2]]
    classes = Schema.from_any({"classes": {"topic": {"labels": ["news", "other"]}}})
    parts = [
        (Source("mentions", Schema.from_any({"entities": ["person", "place"]})), records[:1]),
        (Source("topics", classes), [{"text": "The end", "classes": {"topic": ["news"]}}]),
    ]
    store, reports = write([trainable()], parts, floor=0.0)
    of_mentions, of_topics = (
        store.read(place)
        for text in (records[0]["text"], "The end")
        for _, place in store.find(text_key(text))
    )
    assert LinkType.NEXT not in of_mentions.kind
    assert LinkType.INSIDE in of_mentions.kind
    assert sorted(zip(of_topics.kind, of_topics.row, of_topics.column, strict=True)) == [
        (LinkType.OPEN, 0, -1), (LinkType.OPEN, 1, -1), (LinkType.CLOSE, 0, -1), (LinkType.CLOSE, 1, -1)
    ]  # fmt: skip
    assert reports["topics"].dense_bytes == 4 * 4


def test_long_texts_are_read_in_windows_and_shared_cells_are_averaged(trainable, write, work):
    model, processor = trainable()
    schema, text = work[0], "P1 works for O1 in the place of L2 and " * 3
    processor.max_length = 30
    store, _ = write([(model, processor)], [(Source("work", schema), [{"text": text}])], floor=0.0)
    ((_, place),) = store.find(text_key(text))
    windows = store.read(place).windows
    assert len(windows) > 1
    tokens = processor.tokenize_texts([text])[0]
    length = len(tokens)
    total, count = np.zeros((length, length)), np.zeros((length, length))
    for start, stop in windows:
        part = text[tokens.start_chars[start] : tokens.end_chars[stop - 1]]
        total[start:stop, start:stop] += judged(model, processor, part, schema)[3]
        count[start:stop, start:stop] += 1
    assert count.max() > 1
    assert count.min() == 0
    found = dense(store, text)
    np.testing.assert_allclose(found[3], total / np.maximum(count, 1), atol=6e-4)
    assert (found[0][:, 1:] > 0).all()  # every token was read


def test_questions_are_asked_and_are_part_of_the_key(trainable, write):
    schema = Schema.from_any({"question": "?"})
    records = [
        {"text": "P1 works for O1", "question": question, "answers": []} for question in ("Who ?", "Where ?")
    ]
    store, _ = write([trainable()], [(Source("asked", schema), records)], floor=0.0)
    who, where = (dense(store, records[0]["text"], record["question"]) for record in records)
    assert np.abs(who[0] - where[0]).max() > 1e-3


def test_a_text_that_comes_twice_is_read_once_under_each_schema(trainable, write, work):
    schema, records = work
    other = Schema.from_any({"entities": ["place"]})
    parts = [
        (Source("work", schema), [records[0], copy.deepcopy(records[0])]),
        (Source("again", schema), [records[0], records[1]]),
        (Source("other", other), [records[0]]),
    ]
    store, reports = write([trainable()], parts)
    assert [reports[name].texts for name in ("work", "again", "other", "all")] == [1, 1, 1, 3]
    assert len(list(store.find(text_key(records[0]["text"])))) == 2


def test_full_and_prefix_teachers_go_together(trainable, write, work):
    pairs = [trainable(), trainable(schema_attention="full", case_embedding=True)]
    store, _ = write(pairs, [(Source("work", work[0]), work[1][:2])], floor=0.0)
    expected = judged(*pairs[1], work[1][0]["text"], work[0])
    other = judged(*pairs[0], work[1][0]["text"], work[0])
    for found, a, b in zip(dense(store, work[1][0]["text"]), expected, other, strict=True):
        np.testing.assert_allclose(found, (a + b) / 2, atol=6e-4)


@pytest.mark.parametrize(
    ("options", "message"), [({"floor": 1.0}, "floor: 1.0 is out of"), ({"batch_size": 0}, "batch_size: 0")]
)
def test_options_out_of_range_are_refused(trainable, write, work, options, message):
    with pytest.raises(StoreError, match=message):
        write([trainable()], [(Source("work", work[0]), work[1])], **options)


def test_teachers_whose_tokens_differ_are_refused(trainable):
    model, processor = trainable()
    other = trainable()[1]
    other.tokenizer.add_tokens(["Acme"])
    with pytest.raises(TeacherError, match="big: its tokenizer is not that of small"):
        TeacherModels([model, model], [processor, other], ["big", "small"])
    with pytest.raises(TeacherError, match="teachers: none is named"):
        TeacherModels([], [], [])
