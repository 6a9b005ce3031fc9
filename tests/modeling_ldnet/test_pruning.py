"""Exact pruning: the links that `sparse_links` finds close the same loops as those of the dense matrices."""

import math

import pytest
import torch
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from ldnet.heads import Gates, LinkQueries, LinkScores, dense_scores, gate_scores
from ldnet.processing.extraction import split_links
from ldnet.processing.links import LoopLimits, class_loops, decode_links
from ldnet.processing.schema import ClassTask, HyperRelationType, LabelKind, Schema
from ldnet.pruning import LoopShape, dense_links, links_above, sparse_links

NAMES = ("open", "close", "inside", "next")
MAX_STEPS = 5_000
TOO_CLOSE = (
    1e-4  # two ways to multiply round differently; a cell this near the threshold may fall on either side
)
LONG = 300

settings_of_a_model = st.fixed_dictionaries(
    {
        "max_fragments": st.integers(1, 3),
        "fragment_links": st.sampled_from(["as", "a2a"]),
        "threshold": st.floats(0.02, 0.98),
        "label_drop": st.sampled_from(["joint", "prob", "logit", "none"]),
        "close_by_marker": st.booleans(),
    }
)


def make_shape(labels=1, **fields):
    base = {"is_class": torch.zeros(labels, dtype=torch.bool), "mentions": 2, "max_fragments": 1}
    base |= {"fragment_links": "as", "threshold": 0.5, "label_drop": "none", "close_by_marker": False}
    return LoopShape(**(base | fields))


def make_schema(entities=0, relations=0, facts=0, classes=0):
    """A schema with so many labels; a fact has two, itself and a qualifier."""
    return Schema(
        entities=[f"entity {i}" for i in range(entities)],
        relations=[f"relation {i}" for i in range(relations)],
        hyper_relations=[HyperRelationType(f"fact {i}", qualifiers=(f"value {i}",)) for i in range(facts)],
        classes=[ClassTask("topic", [f"class {i}" for i in range(classes)], multi_label=True)]
        if classes
        else [],
    )


def decode(links, batch, schema, shape):
    """{(label, mentions): score} of each text, and whether the step limit cut any of them."""
    limits = LoopLimits(shape.max_fragments, shape.fragment_links, MAX_STEPS)
    thresholds = [shape.threshold] * len(schema.labels)
    found, cut_off = [], False
    for part in split_links(links, batch):
        loops, truncated = decode_links(part, schema, limits)
        loops += class_loops(part.classes, schema, thresholds)
        found.append({(loop.label, loop.mentions): loop.score for loop in loops})
        cut_off |= truncated
    return found, cut_off


def cells(links):
    """{name: {(text, row, column): log-odds}}; a cell that is listed twice is an error."""
    found = {}
    for name in NAMES:
        index, logits = getattr(links, name), getattr(links, f"{name}_logits")
        assert len(index) == len(logits)
        found[name] = dict(zip(map(tuple, index.tolist()), logits.tolist(), strict=True))
        assert len(found[name]) == len(index), f"{name} lists a cell twice"
    return found


def assume_no_score_at_the_threshold(queries, gates, shape):
    scores = gate_scores(dense_scores(queries), gates, *shape[-2:], shape.is_class)
    cut = math.log(shape.threshold / (1 - shape.threshold))
    assume(all((part - cut).abs().min() > TOO_CLOSE for part in scores if part.numel()))
    assume(not shape.is_class.any() or (class_logits(scores, shape) - cut).abs().min() > TOO_CLOSE)


def class_logits(scores, shape):
    """Of each class the mean of its links with the text marker."""
    return torch.stack([scores.open[:, shape.is_class, 0], scores.close[:, shape.is_class, 0]]).mean(0)


@settings(max_examples=200)
@given(
    seed=st.integers(0, 1_000_000),
    batch=st.integers(1, 2),
    length=st.integers(1, 6),
    counts=st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.integers(0, 2)),
    shift=st.floats(-3, 1),
    fields=settings_of_a_model,
)
def test_sparse_links_decode_to_the_structures_of_dense_links(
    make_queries, make_gates, seed, batch, length, counts, shift, fields
):
    schema = make_schema(*counts)
    labels = len(schema.labels)
    shape = make_shape(
        is_class=torch.tensor([label.kind == LabelKind.CLASS for label in schema.labels], dtype=torch.bool),
        mentions=max((max(label.mentions) for label in schema.labels), default=0),
        **fields,
    )
    queries = make_queries(seed, batch, labels, length, shift)
    gates = make_gates(seed, batch, labels, length, shape.close_by_marker)
    tokens = torch.rand((batch, length), generator=torch.Generator().manual_seed(seed)) < 0.85
    assume_no_score_at_the_threshold(queries, gates, shape)
    sparse = sparse_links(queries, gates, tokens, shape)
    dense = dense_links(queries, gates, tokens, shape)
    sparse_cells, dense_cells = cells(sparse), cells(dense)
    for name in NAMES:
        assert sparse_cells[name].keys() <= dense_cells[name].keys(), name
        for cell, logit in sparse_cells[name].items():
            assert logit == pytest.approx(dense_cells[name][cell], abs=1e-4)
    expected, cut_off = decode(dense, batch, schema, shape)
    assume(not cut_off)
    found, _ = decode(sparse, batch, schema, shape)
    for one, other in zip(found, expected, strict=True):
        event(
            f"{min(len(other), 3)} structures, the longest of {max((len(m) for _, m in other), default='-')}"
        )
        assert one.keys() == other.keys()
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("label_drop", ["joint", "prob", "logit", "none"])
def test_class_logits_are_the_mean_of_two_ungated_links_with_the_text_marker(
    make_queries, make_gates, label_drop
):
    is_class = torch.tensor([False, True, True])
    for seed in (0, 1):  # labels of the schema, and labels of every text
        queries, gates = make_queries(seed, 2, 3, 4), make_gates(seed, 2, 3, 4)
        for threshold in (0.01, 0.99):
            shape = make_shape(is_class=is_class, label_drop=label_drop, threshold=threshold)
            tokens = torch.tensor([[False, True, True, False]] * 2)
            expected = class_logits(dense_scores(queries), shape)
            for links in (
                sparse_links(queries, gates, tokens, shape),
                dense_links(queries, gates, tokens, shape),
            ):
                assert links.class_logits[:, 0].tolist() == [-math.inf] * 2
                torch.testing.assert_close(links.class_logits[:, 1:], expected)


def test_class_labels_open_and_close_nothing_and_schemas_without_classes_have_no_class_logits(
    make_queries, make_gates
):
    queries, gates, tokens = (
        make_queries(0, 1, 2, 5, shift=50.0),
        make_gates(0, 1, 2, 5),
        torch.ones((1, 5)) > 0,
    )
    for find in (sparse_links, dense_links):
        links = find(queries, gates, tokens, make_shape(is_class=torch.tensor([True, False])))
        assert set(links.open[:, 1].tolist()) == set(links.close[:, 1].tolist()) == {1}
        assert find(queries, gates, tokens, make_shape(2)).class_logits is None
        alone = find(queries, gates, tokens, make_shape(is_class=torch.tensor([True, True]), mentions=0))
        assert len(alone.open) == len(alone.close) == 0
        assert torch.isfinite(alone.class_logits).all()


def from_scores(open_scores, close_scores, inside, following):
    """Queries whose scores are the given matrices: keys are one-hot, queries are the rows."""
    length = inside.shape[0]
    keys = torch.eye(length)[None]
    return LinkQueries(
        label_query=open_scores,
        label_key=close_scores,
        text_query=keys,
        text_key=keys,
        inside_query=inside[None],
        inside_key=keys,
        next_query=following[None],
        next_key=keys,
    )


def matrix(rows, length, *on):
    """Logits of -5, and +5 in the cells that are on."""
    scores = torch.full((rows, length), -5.0)
    for row, column in on:
        scores[row, column] = 5.0
    return scores


def open_gates(length):
    return Gates(*(torch.zeros(1, length) for _ in range(4)))


def test_sparse_links_follows_a_relation_and_leaves_out_what_no_loop_reaches():
    queries = from_scores(
        matrix(1, 6, (0, 1)),
        matrix(1, 6, (0, 4)),
        matrix(6, 6, (1, 2), (3, 4), (5, 5), (2, 1)),  # 5-5 starts nowhere; (2, 1) lies below the diagonal
        matrix(6, 6, (2, 3), (4, 1), (1, 5)),  # 1 and 4: no head ends there
    )
    tokens = torch.ones((1, 6), dtype=torch.bool)
    links = sparse_links(queries, open_gates(6), tokens, make_shape())
    assert links.open.tolist() == [[0, 0, 1]]
    assert links.close.tolist() == [[0, 0, 4]]
    assert links.inside.tolist() == [[0, 1, 2], [0, 3, 4]]
    assert links.next.tolist() == [[0, 2, 3]]
    assert links.next_logits.tolist() == [5.0]


@pytest.mark.parametrize(("mentions", "found"), [(2, [[0, 2, 3]]), (3, [[0, 2, 3], [0, 4, 0]])])
def test_sparse_links_goes_on_to_the_value_of_a_qualifier(mentions, found):
    queries = from_scores(
        matrix(1, 6, (0, 1)),
        matrix(1, 6, (0, 0)),
        matrix(6, 6, (1, 2), (3, 4), (0, 0)),
        matrix(6, 6, (2, 3), (4, 0), (0, 5)),  # 0: no mention follows the third
    )
    tokens = torch.ones((1, 6), dtype=torch.bool)
    links = sparse_links(queries, open_gates(6), tokens, make_shape(mentions=mentions))
    assert links.next.tolist() == found
    assert ([0, 0, 0] in links.inside.tolist()) is (mentions == 3)


def test_sparse_links_without_relations_scores_no_next_links():
    queries = from_scores(matrix(1, 3, (0, 0)), matrix(1, 3), matrix(3, 3, (0, 1)), matrix(3, 3, (1, 2)))
    links = sparse_links(queries, open_gates(3), torch.ones((1, 3), dtype=torch.bool), make_shape(mentions=1))
    assert links.inside.tolist() == [[0, 0, 1]]
    assert links.next.tolist() == []


@pytest.mark.parametrize(("fragment_links", "on"), [("as", (3, 1)), ("a2a", (1, 3))])
def test_sparse_links_follows_the_pieces_of_a_mention(fragment_links, on):
    inside, following = [(0, 1), (3, 4)], []
    (inside if fragment_links == "as" else following).append(on)
    queries = from_scores(
        matrix(1, 5, (0, 0)), matrix(1, 5, (0, 4)), matrix(5, 5, *inside), matrix(5, 5, *following)
    )
    shape = make_shape(mentions=1, max_fragments=2, fragment_links=fragment_links)
    links = sparse_links(queries, open_gates(5), torch.ones((1, 5), dtype=torch.bool), shape)
    (found,), _ = decode(links, 1, make_schema(1, 0), shape)
    # Token i of a text stands at i + 1 in the model's sequence.
    assert list(found) == [(0, (((-1, 0), (2, 3)),))]


def test_links_above_keeps_legal_cells_over_the_threshold():
    generator = torch.Generator().manual_seed(3)
    scores = LinkScores(*(3 * torch.randn((2, rows, 5), generator=generator) for rows in (3, 3, 5, 5)))
    tokens = torch.rand((2, 5), generator=generator) < 0.7
    for threshold in (0.1, 0.5, 0.9):
        for lower in (False, True):
            shape = make_shape(3, threshold=threshold, max_fragments=3 if lower else 1)
            found = cells(links_above(scores, tokens, shape))
            for name in NAMES:
                expected = set()
                for text, row, column in torch.cartesian_prod(
                    *map(torch.arange, getattr(scores, name).shape)
                ).tolist():
                    legal = tokens[text, column] and (name in ("open", "close") or tokens[text, row])
                    below = name == "inside" and row > column and not lower
                    probability = torch.sigmoid(getattr(scores, name)[text, row, column]).item()
                    if legal and not below and probability > threshold:
                        expected.add((text, row, column))
                assert found[name].keys() == expected, (name, threshold, lower)


def test_sparse_links_of_a_text_without_tokens_or_labels_is_empty(make_queries, make_gates):
    nothing = torch.zeros((1, 4), dtype=torch.bool)
    no_tokens = sparse_links(make_queries(0), make_gates(0), nothing, make_shape(2))
    no_labels = sparse_links(make_queries(0, labels=0), make_gates(0, labels=0), ~nothing, make_shape(0))
    for links in (no_tokens, no_labels):
        assert [getattr(links, name).shape for name in NAMES] == [(0, 3)] * 4
        assert [len(getattr(links, f"{name}_logits")) for name in NAMES] == [0] * 4


class RecordShapes(TorchDispatchMode):
    """Remembers the shape of every tensor that an operation makes."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for part in made if isinstance(made, tuple | list) else (made,):
            if isinstance(part, torch.Tensor):
                self.shapes.append(tuple(part.shape))
        return made


def shapes_made(compute, *arguments):
    with RecordShapes() as record:
        compute(*arguments)
    return record.shapes


@pytest.mark.parametrize("max_fragments", [1, 3])
def test_sparse_links_of_a_long_text_with_few_links_makes_no_square_tensor(
    make_queries, make_gates, max_fragments
):
    queries = make_queries(0, 1, 3, LONG)
    generator = torch.Generator().manual_seed(0)
    few = Gates(
        *(torch.where(torch.rand((1, LONG), generator=generator) < 0.02, 50.0, -50.0) for _ in range(4))
    )
    tokens, shape = (
        torch.ones((1, LONG), dtype=torch.bool),
        make_shape(3, label_drop="joint", max_fragments=max_fragments, mentions=3),
    )
    made = shapes_made(sparse_links, queries, few, tokens, shape)
    links = sparse_links(queries, few, tokens, shape)
    assert len(links.open) > 0
    assert len(links.inside) > 0
    assert len(links.next) > 0
    assert max(math.prod(size) for size in made) < LONG * LONG / 4
    assert (
        max(math.prod(size) for size in shapes_made(dense_links, queries, few, tokens, shape)) >= LONG * LONG
    )


def test_sparse_links_with_all_links_on_scores_a_bounded_number_of_rows_at_a_time(make_queries, make_gates):
    queries, gates = make_queries(0, 1, 2, LONG, shift=100.0), make_gates(0, 1, 2, LONG)
    tokens, shape = torch.ones((1, LONG), dtype=torch.bool), make_shape(2, max_fragments=2)
    for size in shapes_made(sparse_links, queries, gates, tokens, shape):
        square = sorted(size)[-2:]
        assert len(size) < 3 or square[0] < LONG, size
    links = sparse_links(queries, gates, tokens, shape)
    assert len(links.next) == LONG * LONG
    assert len(links.inside) == LONG * LONG
