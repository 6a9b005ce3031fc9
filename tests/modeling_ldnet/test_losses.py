"""Losses against slow loops over eq. 12-14, 15 and 17."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldnet.heads import Gates, LinkScores
from ldnet.losses import (
    CLASS_KIND,
    MENTION_KIND,
    LinkTargets,
    link_loss,
    multilabel_cross_entropy,
    relevance_loss,
    relevance_targets,
    scatter_links,
)

EXAMPLES = {"seed": st.integers(0, 100_000), "labels": st.integers(0, 3), "length": st.integers(1, 6)}


def random_scores(seed, targets, scale=3.0):
    generator = torch.Generator().manual_seed(seed + 7)
    (batch, labels), length = targets.label_mask.shape, targets.token_mask.shape[1]
    rows = (labels, labels, length, length)
    return LinkScores(*(scale * torch.randn((batch, r, length), generator=generator) for r in rows))


def cross_entropy_slowly(cells):
    """`cells`: pairs (score, gold) of the legal cells of one kind."""
    negative = sum(math.exp(score) for score, gold in cells if not gold)
    positive = sum(math.exp(-score) for score, gold in cells if gold)
    return math.log(1.0 + negative) + math.log(1.0 + positive)


def gold_cells(index, text):
    return {(row, column) for i, row, column in index.tolist() if i == text}


def link_loss_slowly(scores, targets, lower_triangle, text):
    """Eq. 12-14 of one text, cell by cell; a class has one cell, the text marker, in either direction."""
    tokens = [i for i, legal in enumerate(targets.token_mask[text].tolist()) if legal]
    labels = [i for i, legal in enumerate(targets.label_mask[text].tolist()) if legal]
    ta, inside, following = [], [], []
    for label in labels:
        kind = targets.kinds[label]
        for token, name in itertools.product([0] if kind == CLASS_KIND else tokens, ("open", "close")):
            golds = gold_cells(getattr(targets, name), text)
            gold = (label, token) in golds
            marked = any(token == column for _, column in golds)
            if targets.partial[text] and kind == MENTION_KIND and not marked:
                continue
            ta.append((getattr(scores, name)[text, label, token].item(), gold))
    for name, cells in (("inside", inside), ("next", following)):
        golds = gold_cells(getattr(targets, name), text)
        for row, column in itertools.product(tokens, tokens):
            below = name == "inside" and row > column and not lower_triangle
            near = any(row == gold[0] or column == gold[1] for gold in golds)
            if not below and (near or not targets.partial[text]):
                cells.append((getattr(scores, name)[text, row, column].item(), (row, column) in golds))
    losses = [cross_entropy_slowly(cells) for cells in (ta, inside, following)]
    return sum(loss for loss, on in zip(losses, targets.supervision[text].tolist(), strict=True) if on)


def test_multilabel_cross_entropy_of_two_undecided_cells_is_twice_log_two():
    logits, gold = torch.zeros(1, 2), torch.tensor([[True, False]])
    loss = multilabel_cross_entropy(logits, gold, torch.ones_like(gold))
    assert loss.item() == pytest.approx(2 * math.log(2))


def test_multilabel_cross_entropy_without_legal_cells_is_zero_with_zero_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    gold = torch.ones((2, 3), dtype=torch.bool)
    loss = multilabel_cross_entropy(logits, gold, ~gold)
    loss.sum().backward()
    assert loss.tolist() == [0.0, 0.0]
    assert logits.grad.abs().max() == 0.0


def test_multilabel_cross_entropy_is_finite_for_extreme_logits():
    logits = torch.tensor([[1e4, -1e4, 3e38, -3e38]], requires_grad=True)
    gold = torch.tensor([[False, True, True, False]])
    loss = multilabel_cross_entropy(logits, gold, torch.ones_like(gold))
    loss.sum().backward()
    assert loss.item() == pytest.approx(2e4)
    assert torch.isfinite(logits.grad).all()


def test_multilabel_cross_entropy_sums_in_float32():
    logits = torch.zeros((1, 1000), dtype=torch.bfloat16)
    gold = torch.zeros((1, 1000), dtype=torch.bool)
    loss = multilabel_cross_entropy(logits, gold, ~gold)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(1001), abs=1e-4)  # bfloat16 cannot tell it from log(1000)


def test_scatter_links_is_true_at_the_listed_cells_alone():
    dense = scatter_links(torch.tensor([[0, 1, 2], [1, 0, 0]]), torch.Size((2, 2, 3)))
    assert dense.nonzero().tolist() == [[0, 1, 2], [1, 0, 0]]


@given(**EXAMPLES, lower_triangle=st.booleans())
def test_link_loss_equals_the_loop_over_legal_cells(make_targets, seed, labels, length, lower_triangle):
    targets = make_targets(seed, 2, labels, length)
    scores = random_scores(seed, targets)
    expected = [link_loss_slowly(scores, targets, lower_triangle, text) for text in range(2)]
    torch.testing.assert_close(
        link_loss(scores, targets, lower_triangle), torch.tensor(expected), atol=1e-4, rtol=1e-5
    )


def one_text(**fields):
    """Targets of one complete, supervised text of four tokens and two labels."""
    none = torch.zeros((0, 3), dtype=torch.long)
    base = {"open": none, "close": none, "inside": none, "next": none}
    base["label_mask"] = torch.ones((1, 2), dtype=torch.bool)
    base["kinds"] = torch.ones(2, dtype=torch.long)
    base["token_mask"] = torch.ones((1, 4), dtype=torch.bool)
    base["supervision"] = torch.ones((1, 3), dtype=torch.bool)
    base["partial"] = torch.zeros(1, dtype=torch.bool)
    return LinkTargets(
        **(base | {k: torch.tensor(v) if isinstance(v, list) else v for k, v in fields.items()})
    )


@pytest.mark.parametrize(
    ("fields", "lower_triangle", "cells"),
    [
        ({}, False, (16, 10, 16)),
        ({}, True, (16, 16, 16)),
        ({"token_mask": [[False, True, True, False]]}, False, (8, 3, 4)),
        ({"label_mask": [[True, False]]}, False, (8, 10, 16)),
        ({"kinds": [2, 1]}, False, (10, 10, 16)),
        ({"kinds": [2, 2], "token_mask": [[False, True, True, False]]}, False, (4, 3, 4)),
        ({"kinds": [2, 1], "label_mask": [[False, True]]}, False, (8, 10, 16)),
        ({"kinds": [2, 2], "supervision": [[True, False, False]]}, False, (4, 0, 0)),
        ({"supervision": [[True, False, False]]}, False, (16, 0, 0)),
        ({"supervision": [[False, True, False]]}, True, (0, 16, 0)),
        ({"partial": [True]}, False, (16, 0, 0)),
        ({"partial": [True]}, True, (16, 0, 0)),
    ],
)
def test_link_loss_counts_the_legal_cells_of_each_kind(fields, lower_triangle, cells):
    targets = one_text(**fields)
    zeros = LinkScores(*(torch.zeros(1, rows, 4) for rows in (2, 2, 4, 4)))
    # With all logits 0 and no gold link a kind of n legal cells costs log(1 + n).
    expected = sum(math.log(1 + count) for count in cells)
    assert link_loss(zeros, targets, lower_triangle).item() == pytest.approx(expected, abs=1e-5)


def test_link_loss_of_a_partly_marked_text_asks_only_cells_that_share_a_boundary_with_gold():
    targets = one_text(partial=[True], inside=[[0, 1, 2]], supervision=[[False, True, False]])
    inside = torch.zeros(1, 4, 4, requires_grad=True)
    rest = [torch.zeros(1, rows, 4) for rows in (2, 2, 4)]
    link_loss(LinkScores(rest[0], rest[1], inside, rest[2]), targets, False).sum().backward()
    asked = inside.grad[0].nonzero().tolist()
    assert asked == [[0, 2], [1, 1], [1, 2], [1, 3], [2, 2]]


def test_link_loss_gradient_is_negative_on_gold_and_positive_elsewhere():
    targets = one_text(open=[[0, 1, 2]])
    opened = torch.zeros(1, 2, 4, requires_grad=True)
    rest = [torch.zeros(1, rows, 4) for rows in (2, 4, 4)]
    link_loss(LinkScores(opened, *rest), targets, False).sum().backward()
    assert opened.grad[0, 1, 2] < 0
    assert (opened.grad[0] > 0).sum() == 7


def test_link_loss_of_a_class_reaches_the_text_marker_alone():
    targets = one_text(
        kinds=[2, 1], open=[[0, 0, 0]], close=[[0, 0, 0]], token_mask=[[False, True, True, True]]
    )
    scores = [torch.zeros(1, rows, 4, requires_grad=True) for rows in (2, 2, 4, 4)]
    link_loss(LinkScores(*scores), targets, False).sum().backward()
    for part in scores[:2]:
        assert part.grad[0, 0, 0] < 0
        assert part.grad[0, 0, 1:].tolist() == [0.0] * 3
        assert part.grad[0, 1, 0] == 0.0
        assert (part.grad[0, 1, 1:] > 0).all()


def test_link_loss_of_a_class_that_does_not_hold_pushes_its_two_links_down():
    targets = one_text(kinds=[2, 2], supervision=[[True, False, False]])
    scores = [torch.zeros(1, rows, 4, requires_grad=True) for rows in (2, 2, 4, 4)]
    link_loss(LinkScores(*scores), targets, False).sum().backward()
    assert all((part.grad[0, :, 0] > 0).all() for part in scores[:2])


def relevance_slowly(targets, form, text):
    """Eq. 15 of one text: the relevant places of each field of `Gates`."""
    opens, closes = gold_cells(targets.open, text), gold_cells(targets.close, text)
    insides, nexts = gold_cells(targets.inside, text), gold_cells(targets.next, text)
    if form == "span":
        covered = {i for start, end in insides if start <= end for i in range(start, end + 1)}
        return Gates(covered, {label for label, _ in opens}, covered, covered)
    place = 1 if form == "text" else 0
    return Gates(
        open={token for _, token in opens},
        close={cell[place] for cell in closes},
        inside={column for _, column in insides},
        next={column for _, column in nexts},
    )


@given(**EXAMPLES, form=st.sampled_from(["text", "endpoint", "span"]))
def test_relevance_targets_equal_the_loop_over_gold_links(make_targets, seed, labels, length, form):
    targets = make_targets(seed, 2, labels, length)
    gold = relevance_targets(targets, form)
    assert gold.close.shape == ((2, length) if form == "text" else (2, labels))
    for text in range(2):
        for name, expected in relevance_slowly(targets, form, text)._asdict().items():
            assert set(getattr(gold, name)[text].nonzero().flatten().tolist()) == expected, name


def test_relevance_targets_span_covers_pieces_of_a_mention_but_not_the_gap():
    # Fragments 0-1 and 3-3 of one mention; AS[3, 1] below the diagonal joins them.
    targets = one_text(inside=[[0, 0, 1], [0, 3, 3], [0, 3, 1]], open=[[0, 1, 0]], close=[[0, 1, 3]])
    gold = relevance_targets(targets, "span")
    assert gold.open.tolist() == gold.inside.tolist() == gold.next.tolist() == [[True, True, False, True]]
    assert gold.close.tolist() == [[False, True]]
    # A mention in the gap is covered all the same.
    inside = torch.cat([targets.inside, torch.tensor([[0, 2, 2]])])
    assert relevance_targets(targets._replace(inside=inside), "span").open.tolist() == [[True] * 4]


def binary_cross_entropy(logit, wanted):
    return math.log1p(math.exp(-logit)) if wanted else math.log1p(math.exp(logit))


def relevance_loss_slowly(gates, gold, targets, form, close_by_marker, text):
    """Eq. 17 of one text, or its balanced form."""
    total = 0.0
    mentions_asked = bool((targets.label_mask[text] & (targets.kinds == MENTION_KIND)).any())
    for kind, names in enumerate((("open", "close"), ("inside",), ("next",))):
        unsure = targets.partial[text] and (kind > 0 or mentions_asked)
        for name in names:
            of_labels = name == "close" and close_by_marker
            mask = (targets.label_mask if of_labels else targets.token_mask)[text].tolist()
            wanted, logits = getattr(gold, name)[text].tolist(), getattr(gates, name)[text].tolist()
            cells = [
                (binary_cross_entropy(z, y), y) for z, y, m in zip(logits, wanted, mask, strict=True) if m
            ]
            relevant = [loss for loss, is_relevant in cells if is_relevant]
            others = [loss for loss, is_relevant in cells if not is_relevant]
            if form == "mean":
                groups = [relevant + others]
            else:
                groups = [relevant, [] if unsure else others]
            if targets.supervision[text, kind]:
                total += sum(sum(group) / len(group) for group in groups if group)
    return total


@given(
    **EXAMPLES,
    target=st.sampled_from(["text", "endpoint", "span"]),
    form=st.sampled_from(["balanced", "mean"]),
)
def test_relevance_loss_equals_the_loop_over_tokens_and_markers(
    make_targets, make_gates, seed, labels, length, target, form
):
    targets, by_marker = make_targets(seed, 2, labels, length), target != "text"
    gates = make_gates(seed, 2, labels, length, by_marker)
    gold = relevance_targets(targets, target)
    expected = [relevance_loss_slowly(gates, gold, targets, form, by_marker, text) for text in range(2)]
    found = relevance_loss(gates, gold, targets, form, by_marker)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_relevance_loss_balanced_weighs_one_relevant_token_like_all_others():
    targets = one_text(open=[[0, 0, 1]], supervision=[[True, False, False]])
    gates = Gates(*(torch.zeros(1, 4, requires_grad=True) for _ in range(4)))
    relevance_loss(gates, relevance_targets(targets, "text"), targets, "balanced", False).sum().backward()
    assert gates.open.grad[0].tolist() == pytest.approx([1 / 6, -1 / 2, 1 / 6, 1 / 6])


@pytest.mark.parametrize("form", ["text", "endpoint", "span"])
def test_relevance_of_the_text_marker_is_never_asked(form):
    """The links of a class meet in the text marker, but no gate stands there."""
    targets = one_text(
        kinds=[2, 1], open=[[0, 0, 0]], close=[[0, 0, 0]], token_mask=[[False, True, True, True]]
    )
    gold = relevance_targets(targets, form)
    by_marker = form != "text"
    widths = (4, 2 if by_marker else 4, 4, 4)
    gates = Gates(*(torch.zeros(1, width, requires_grad=True) for width in widths))
    relevance_loss(gates, gold, targets, "balanced", by_marker).sum().backward()
    assert gates.open.grad[0, 0] == 0.0
    assert (gates.open.grad[0, 1:] > 0).all()
    assert by_marker or gates.close.grad[0, 0] == 0.0


def test_relevance_loss_is_finite_for_extreme_logits_of_half_precision():
    targets = one_text(open=[[0, 0, 1]])
    gates = Gates(*(torch.tensor([[6e4, -6e4, 0.0, 1.0]], dtype=torch.float16) for _ in range(4)))
    loss = relevance_loss(gates, relevance_targets(targets, "text"), targets, "mean", False)
    assert loss.dtype == torch.float32
    # Opening 1 is missed by 6e4, and 0 is wrongly relevant by 6e4 in all four fields; each mean is over four
    # tokens.
    assert loss.item() == pytest.approx(5 * 6e4 / 4, rel=1e-3)
