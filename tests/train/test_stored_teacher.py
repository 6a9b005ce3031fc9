import numpy as np
import pytest
import torch

from ldnet.processing.links import LinkType, LoopLimits
from ldnet.processing.schema import Schema
from ldnet.train.collator import LDNetCollator
from ldnet.train.dataset import ExtractionDataset, Source, label_key
from ldnet.train.distillation import comparable_cells
from ldnet.train.label_sampling import BatchLabels, LabelSampler
from ldnet.train.link_probabilities import CLASS_KIND
from ldnet.train.stored_teacher import StoredTeacher, explained_pairs
from ldnet.train.teacher_store import (
    StoreHeader,
    StoreRow,
    TeacherStore,
    TextCells,
    text_key,
    tokenizer_fingerprint,
    write_store,
)
from ldnet.train.teacher_writing import TeacherWriter
from ldnet.train.teachers import LiveTeacher, TeacherError, TeacherModels

IN_ORDER = LabelSampler(shuffle=False)


@pytest.fixture
def stored(trainable, tmp_path):
    """`stored(configs, parts)`: a store that tiny models have written for parts (name, schema, records)."""

    def make(configs, *parts, floor=0.0):
        models, processors = zip(*(trainable(**config) for config in configs), strict=True)
        for model, config in zip(models, configs, strict=True):
            if config.get("label_drop") == "none":  # another opinion
                torch.manual_seed(1)
                torch.nn.init.normal_(model.link_head.projection.weight, std=0.3)
        path = tmp_path / f"store-{len(list(tmp_path.glob('store*')))}"
        teachers = TeacherModels(models, processors, ["t"] * len(models))
        TeacherWriter(teachers, floor).write(path, [(Source(*part[:2]), part[2]) for part in parts])
        return TeacherStore.open(path), teachers

    return make


def write_cells(path, processor, text, schema, found):
    """A store of one text with given cells (kind, row, column, probability)."""
    kind, row, column, probs = map(np.array, zip(*found, strict=True))
    length = len(processor.tokenize_texts([text])[0])
    cells = TextCells(length, ((0, length),), kind, row, column, probs)
    labels = tuple(map(label_key, schema.labels))
    header = StoreHeader(tokenizer_fingerprint(processor.tokenizer), LoopLimits(), (labels,), 0.0)
    write_store(path, header, [StoreRow(text_key(text), 0, cells)])
    return TeacherStore.open(path)


def batch_labels(labels, asked=None):
    """The labels of a batch of one text."""
    position = {label_key(label): i for i, label in enumerate(labels)}
    asked = np.ones((1, len(labels)), dtype=bool) if asked is None else np.array([asked])
    return BatchLabels(list(labels), position, asked, asked)


def examples_of(processor, *parts):
    return ExtractionDataset(processor, [(Source(*part[:2]), part[2]) for part in parts]).examples


def compare(collator, examples):
    """Targets of a batch, its dense probabilities and the cells that count."""
    batch = collator(examples)
    targets, tokens, count = batch["teacher"], batch["token_mask"], len(batch["schema_kinds"])
    shapes = [(len(tokens), count, tokens.shape[1])] * 2 + [(*tokens.shape, tokens.shape[1])] * 2
    legal = comparable_cells(targets, tokens, batch["schema_kinds"] == CLASS_KIND, collator.teacher.lower)
    return targets, collator.teacher.probabilities(targets, shapes), legal


# ---- the same as a live teacher


def test_stored_probabilities_are_those_of_the_live_teacher(trainable, stored, work, opinion):
    """Two sources in a batch, labels in another order and of another number than in the store."""
    processor = trainable()[1]
    parts = ("work", *work), ("opinion", *opinion)
    store, models = stored([{}], *parts)
    examples = examples_of(processor, *parts)
    examples = [examples[i] for i in (14, 3, 5, 0)]
    live = LiveTeacher(models, processor)
    found, expected = (
        compare(LDNetCollator(processor, teacher=teacher), examples)
        for teacher in (StoredTeacher([store], processor), live)
    )
    assert found[0]["label_mask"].sum(1).tolist() == [3, 5, 5, 5]
    assert found[0]["label_mask"].shape == (4, 8)
    for a, b, legal, other in zip(found[1], expected[1], found[2], expected[2], strict=True):
        assert torch.equal(legal, other)
        assert legal.flatten(1).any(1).all()
        assert torch.allclose(a[legal], b[legal], atol=6e-4)


def test_windows_of_the_student_take_their_part_of_the_text(trainable, stored, work):
    """The store has the whole text at once; the student reads it in pieces."""
    processor = trainable()[1]
    text = "P1 works for O1 in the place of L2 and " * 3
    part = "work", work[0], [{"text": text, "entities": [], "relations": []}]
    store, models = stored([{}], part)
    whole = compare(
        LDNetCollator(processor, teacher=StoredTeacher([store], processor), sampler=IN_ORDER),
        examples_of(processor, part),
    )[1]
    processor.max_length = 30
    examples = examples_of(processor, part)
    assert len(examples) > 1
    assert examples[-1].first_token > 0
    collator = LDNetCollator(processor, teacher=StoredTeacher([store], processor), sampler=IN_ORDER)
    for example in examples:
        _, probs, legal = compare(collator, [example])
        a, b = example.first_token + 1, example.first_token + 1 + len(example.tokens)
        assert torch.equal(probs.open[0, :, 1:-1], whole.open[0, :, a:b])
        assert torch.equal(probs.inside[0, 1:-1, 1:-1], whole.inside[0, a:b, a:b])
        assert torch.equal(probs.next[0, 1:-1, 1:-1], whole.next[0, a:b, a:b])
        assert legal.next[0, 1:-1, 1:-1].all()


def test_pairs_that_no_window_of_the_teacher_held_are_not_compared(trainable, stored, work, monkeypatch):
    text = "P1 works for O1 in the place of L2 and " * 3
    part = "work", work[0], [{"text": text, "entities": [], "relations": []}]
    room = TeacherModels.room
    monkeypatch.setattr(TeacherModels, "room", lambda self, *args: 30)
    store, _ = stored([{}], part)
    monkeypatch.setattr(TeacherModels, "room", room)
    processor = trainable()[1]
    teacher = StoredTeacher([store], processor)
    _, probs, legal = compare(LDNetCollator(processor, teacher=teacher), examples_of(processor, part))
    ((_, place),) = store.find(text_key(text))
    windows = store.read(place).windows
    length = legal.next.shape[1]
    held = torch.zeros(length, length, dtype=torch.bool)
    for start, stop in windows:
        held[start + 1 : stop + 1, start + 1 : stop + 1] = True
    assert torch.equal(legal.next[0], held)
    assert 0 < held.sum() < (length - 2) ** 2
    assert probs.next[0][~held].sum() == 0
    assert legal.open[0, 0, 1:-1].all()


# ---- several stores, missing texts, other labels


def test_several_stores_are_averaged_where_they_have_a_text(trainable, stored, work):
    processor = trainable()[1]
    schema, records = work
    (one, _), (two, _) = (
        stored([{}], ("work", schema, records[:2])),
        stored([{"label_drop": "none"}], ("work", schema, records[1:3])),
    )
    both, _ = stored([{}, {"label_drop": "none"}], ("work", schema, records[1:2]))
    examples = examples_of(processor, ("work", schema, records[:3]))

    def probs(stores, chosen):
        teacher = StoredTeacher(stores, processor)
        return compare(LDNetCollator(processor, teacher=teacher, sampler=IN_ORDER), chosen)[1]

    for stores, example in (([one], examples[0]), ([both], examples[1]), ([two], examples[2])):
        for a, b in zip(probs([one, two], [example]), probs(stores, [example]), strict=True):
            assert torch.allclose(a, b, atol=1e-3)
    assert not torch.allclose(probs([one], examples[1:2]).open, probs([two], examples[1:2]).open, atol=0.05)


def test_missing_texts_are_refused_before_and_in_training(trainable, stored, work):
    processor = trainable()[1]
    store, _ = stored([{}], ("work", work[0], work[1][:10]))
    examples = examples_of(processor, ("work", *work))
    teacher = StoredTeacher([store], processor)
    teacher.check(examples[:10])
    message = r"store-0: 2 of 12 texts are not in it \(work 2\); .* --missing_texts skip"
    with pytest.raises(TeacherError, match=message) as caught:
        teacher.check(examples)
    assert "\n" not in str(caught.value)
    with pytest.raises(TeacherError, match=r"1 of 2 texts are not in it"):
        LDNetCollator(processor, teacher=teacher)(examples[9:11])


def test_missing_texts_that_may_be_skipped_have_no_cells(trainable, stored, work):
    processor = trainable()[1]
    store, _ = stored([{}], ("work", work[0], work[1][:10]))
    examples = examples_of(processor, ("work", *work))
    teacher = StoredTeacher([store], processor, "skip")
    teacher.check(examples)
    targets, _, legal = compare(LDNetCollator(processor, teacher=teacher), examples[8:12])
    assert targets["found"].tolist() == [True, True, False, False]
    assert [bool(matrix[i].any()) for i in range(4) for matrix in legal] == [True] * 8 + [False] * 8
    with pytest.raises(TeacherError, match="2 of 2 texts are not in it"):
        teacher.check(examples[10:])


def test_other_labels_are_refused_and_fewer_are_not(trainable, stored, work):
    processor = trainable()[1]
    schema, records = work
    store, _ = stored([{}], ("work", schema, records))
    wide = Schema.from_any(schema.to_dict() | {"entities": ["person", "vessel", "organization"]})
    teacher = StoredTeacher([store], processor)
    with pytest.raises(TeacherError, match=r"not asked for 'vessel' \(1 of the 5 labels of work\)") as caught:
        teacher.check(examples_of(processor, ("work", wide, records)))
    assert "\n" not in str(caught.value)
    narrow = Schema.from_any({"entities": ["place", "person"]})
    examples = examples_of(processor, ("work", narrow, records))
    teacher.check(examples)
    targets, _, legal = compare(LDNetCollator(processor, teacher=teacher), examples[:2])
    assert targets["label_mask"].shape == (2, 2)
    assert not legal.next.any()


def test_store_of_another_tokenizer_or_none_is_refused(trainable, stored, work):
    store, _ = stored([{}], ("work", *work))
    other = trainable()[1]
    other.tokenizer.add_tokens(["Acme"])
    with pytest.raises(TeacherError, match="store-0: its tokenizer is not that of the student"):
        StoredTeacher([store], other)
    with pytest.raises(TeacherError, match="stores: none is named"):
        StoredTeacher([], other)


def test_text_with_fewer_tokens_in_the_store_is_refused(trainable, work, tmp_path):
    processor = trainable()[1]
    examples = examples_of(processor, ("work", *work))
    store = write_cells(tmp_path / "s", processor, "x", work[0], [(0, 0, 0, 0.5)])
    store.rows[text_key(examples[0].record["text"])] = store.rows[text_key("x")]
    with pytest.raises(TeacherError, match="but 1 in the store; its tokens are not those of the student"):
        StoredTeacher([store], processor)([examples[0]], batch_labels(work[0].labels))


# ---- labels that a batch leaves out


FOUND = [  # "P1 for O2": P1 is a person that works for O2, an organization
    (LinkType.OPEN, 0, 0, 0.9), (LinkType.CLOSE, 0, 1, 0.9), (LinkType.INSIDE, 0, 1, 0.9),
    (LinkType.OPEN, 1, 3, 0.8), (LinkType.CLOSE, 1, 4, 0.8), (LinkType.INSIDE, 3, 4, 0.8),
    (LinkType.OPEN, 3, 0, 0.7), (LinkType.NEXT, 1, 3, 0.7), (LinkType.CLOSE, 3, 4, 0.7),
    (LinkType.INSIDE, 2, 2, 0.05), (LinkType.NEXT, 4, 0, 0.05),
]  # fmt: skip


def cells_of(found, num_tokens=5):
    kind, row, column, probs = map(np.array, zip(*found, strict=True))
    return TextCells(num_tokens, ((0, num_tokens),), kind, row, column, probs)


@pytest.mark.parametrize(
    ("labels", "pairs"),
    [
        ({0}, {(2, 0, 1)}),
        ({1}, {(2, 3, 4)}),
        ({3}, {(2, 0, 1), (2, 3, 4), (3, 1, 3)}),
        ({2}, set()),
        ({0, 1}, {(2, 0, 1), (2, 3, 4)}),
    ],
)
def test_pairs_are_explained_by_the_labels_whose_loops_need_them(labels, pairs):
    mask = explained_pairs(cells_of(FOUND), {label: label >= 2 for label in labels})
    assert {cell[:3] for cell, kept in zip(FOUND, mask, strict=True) if kept} == pairs


def test_a_relation_between_two_mentions_of_a_type_is_not_explained_by_the_type():
    found = [cell if cell[:2] != (LinkType.OPEN, 1) else (LinkType.OPEN, 0, *cell[2:]) for cell in FOUND]
    found = [cell if cell[:2] != (LinkType.CLOSE, 1) else (LinkType.CLOSE, 0, *cell[2:]) for cell in found]
    next_link = found.index((LinkType.NEXT, 1, 3, 0.7))
    assert not explained_pairs(cells_of(found), {0: False})[next_link]
    assert explained_pairs(cells_of(found), {0: False, 3: True})[next_link]


@pytest.mark.parametrize(
    "between", [(LinkType.INSIDE, 3, 1, 0.9), (LinkType.NEXT, 1, 3, 0.9)], ids=["as", "a2a"]
)
def test_pieces_of_a_mention_are_explained_together(between):
    found = [(0, 0, 0, 0.9), (1, 0, 4, 0.9), (2, 0, 1, 0.9), (2, 3, 4, 0.9), between]
    over_next = between[0] == LinkType.NEXT
    assert explained_pairs(cells_of(found), {0: over_next}).tolist() == [False, False, True, True, True]


def test_left_out_labels_teach_neither_links_nor_their_absence(trainable, work, tmp_path):
    processor = trainable()[1]
    schema, text = work[0], "P1 for O2"
    store = write_cells(tmp_path / "s", processor, text, schema, FOUND)
    (example,) = examples_of(processor, ("work", schema, [{"text": text, "entities": [], "relations": []}]))
    assert len(example.tokens) == 5
    teacher = StoredTeacher([store], processor)
    person, organization, place, works, near = schema.labels
    everything, rest = [person, organization, place, works, near], {(0, 2, 4, 5), (0, 3, 2, 4)}
    for labels, seen, unknown in (
        (everything, None, set()),
        ([near, works], None, set()),  # both mentions are needed by the relation
        ([place, person], None, rest),
        (
            everything,
            [True, False, True, False, False],
            rest,
        ),  # the text is not shown all labels of the batch
    ):
        targets = teacher([example], batch_labels(labels, seen))
        assert set(map(tuple, targets["unknown"].tolist())) == unknown
        opened = {label for _, kind, label, _ in targets["cells"].tolist() if kind == LinkType.OPEN}
        shown = [label for i, label in enumerate(labels) if seen is None or seen[i]]
        assert opened == {labels.index(x) for x in (person, organization, works) if x in shown}
        token_mask = torch.tensor([[False, *[True] * 5, False]])
        legal = comparable_cells(targets, token_mask, torch.zeros(len(labels), dtype=torch.bool), False)
        assert bool(legal.inside[0, 4, 5]) == ((0, 2, 4, 5) not in unknown)
        assert bool(legal.next[0, 2, 4]) == ((0, 3, 2, 4) not in unknown)
        assert legal.inside[0, 3, 3]
        assert legal.inside[0, 1, 2]


def test_labels_that_label_dropout_leaves_out_are_looked_up_by_name(trainable, stored, work, monkeypatch):
    processor = trainable()[1]
    store, _ = stored([{}], ("work", *work))
    examples = examples_of(processor, ("work", *work))[:3]
    teacher = StoredTeacher([store], processor)
    whole = LDNetCollator(processor, teacher=teacher, sampler=IN_ORDER)
    seen = {}
    teacher_of = StoredTeacher.__call__

    def remember(self, examples, chosen):
        seen[len(seen)] = chosen.labels
        return teacher_of(self, examples, chosen)

    monkeypatch.setattr(StoredTeacher, "__call__", remember)
    probs = compare(whole, examples)[1]
    some = LDNetCollator(processor, LabelSampler(label_dropout=0.5), teacher=teacher, seed=3)
    fewer = compare(some, examples)[1]
    assert 0 < len(seen[1]) < len(seen[0])
    for i, label in enumerate(seen[1]):
        j = seen[0].index(label)
        assert torch.equal(fewer.open[:, i], probs.open[:, j])
        assert torch.equal(fewer.close[:, i], probs.close[:, j])
