"""Losses of LDNet: multi-label cross-entropy over legal cells (eq. 12-14) and relevance (eq. 17)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ldnet.heads import Gates, LinkScores

MENTION_KIND, CLASS_KIND = 0, 2  # of labels; 1 is a relation


class LinkTargets(NamedTuple):
    """Gold links of a batch as index lists, and what of each text is annotated.

    Attributes:
        open, close (`torch.LongTensor` of shape `(n, 3)`): Rows (text, label, token).
        inside, next (`torch.LongTensor` of shape `(n, 3)`): Rows (text, row token, column token).
        label_mask (`torch.BoolTensor` of shape `(B, M)`): True where the label was annotated in the text.
        kinds (`torch.LongTensor` of shape `(M,)`): 0 mention, 1 relation, 2 class labels. The only cell of a
            class is the text marker (token 0).
        token_mask (`torch.BoolTensor` of shape `(B, L)`): True on tokens that can bound a span.
        supervision (`torch.BoolTensor` of shape `(B, 3)`): Whether TA, AS and A2A are trained on the text.
        partial (`torch.BoolTensor` of shape `(B,)`): Not every mention is marked: only cells that share a
            start or an end with a gold link say anything about AS, A2A and the labels of mentions.
    """

    open: Tensor
    close: Tensor
    inside: Tensor
    next: Tensor
    label_mask: Tensor
    kinds: Tensor
    token_mask: Tensor
    supervision: Tensor
    partial: Tensor


def share_token_links(targets: LinkTargets) -> LinkTargets:
    """Gold of one matrix for all kinds: a cell of two tokens is a link if AS or A2A has it.

    Separate gold would ask one score for both answers where only one of the kinds has the link.

    Args:
        targets: Gold links of each kind.

    Returns:
        Targets in which `inside` and `next` are the union of the two.
    """
    both = torch.cat([targets.inside, targets.next]).unique(dim=0)
    return targets._replace(inside=both, next=both)


def multilabel_cross_entropy(logits: Tensor, gold: Tensor, legal: Tensor) -> Tensor:
    """`log(1 + sum_neg e^s) + log(1 + sum_pos e^-s)` of each text, in float32 (eq. 12-14).

    Args:
        logits (`torch.FloatTensor` of shape `(B, N)`): Link logits.
        gold (`torch.BoolTensor` of shape `(B, N)`): True on gold links.
        legal (`torch.BoolTensor` of shape `(B, N)`): True on cells that count.

    Returns:
        Losses, `(B,)`; 0 for a text without legal cells.
    """
    logits = logits.float()
    lowest = torch.finfo(torch.float32).min
    zero = logits.new_zeros(len(logits), 1)
    negative = logits.masked_fill(gold | ~legal, lowest)
    positive = (-logits).masked_fill(~gold | ~legal, lowest)
    return torch.logsumexp(torch.cat([negative, zero], 1), 1) + torch.logsumexp(
        torch.cat([positive, zero], 1), 1
    )


def scatter_links(index: Tensor, shape: torch.Size) -> Tensor:
    """Dense boolean matrix `(B, R, C)` that is True at the rows (text, row, column) of `index`."""
    dense = torch.zeros(shape, dtype=torch.bool, device=index.device)
    dense[index[:, 0], index[:, 1], index[:, 2]] = True
    return dense


def _near_gold(gold: Tensor) -> Tensor:
    return gold.any(dim=2, keepdim=True) | gold.any(dim=1, keepdim=True)


def link_loss(scores: LinkScores, targets: LinkTargets, lower_triangle: bool) -> Tensor:
    """Link loss L_MR summed over the three kinds, one value a text (eq. 12-14).

    Args:
        scores: Dense logits, gated or not.
        targets: Gold links and masks.
        lower_triangle: Whether AS has legal cells below the diagonal (fragment links).

    Returns:
        Losses, `(B,)`.
    """
    tokens = targets.token_mask
    pairs = tokens[:, :, None] & tokens[:, None, :]
    marker = torch.zeros_like(tokens)
    marker[:, 0] = True
    is_class, is_mention = (targets.kinds[None, :, None] == kind for kind in (CLASS_KIND, MENTION_KIND))
    cells = torch.where(is_class, marker[:, None, :], tokens[:, None, :])
    labelled = targets.label_mask[:, :, None] & cells
    gold_open, gold_close = (scatter_links(i, scores.open.shape) for i in (targets.open, targets.close))
    gold_inside, gold_next = (scatter_links(i, scores.inside.shape) for i in (targets.inside, targets.next))
    complete = ~targets.partial[:, None, None]
    # Where mentions are partly marked, those that are marked still tell their type from all others.
    legal_open, legal_close = (
        labelled & (complete | ~is_mention | gold.any(dim=1, keepdim=True))
        for gold in (gold_open, gold_close)
    )
    legal_inside = pairs & (complete | _near_gold(gold_inside))
    if not lower_triangle:
        legal_inside = legal_inside & torch.ones_like(pairs[0]).triu()
    legal_next = pairs & (complete | _near_gold(gold_next))
    losses = torch.stack(
        [
            multilabel_cross_entropy(
                torch.cat([scores.open, scores.close], 1).flatten(1),
                torch.cat([gold_open, gold_close], 1).flatten(1),
                torch.cat([legal_open, legal_close], 1).flatten(1),
            ),
            multilabel_cross_entropy(
                scores.inside.flatten(1), gold_inside.flatten(1), legal_inside.flatten(1)
            ),
            multilabel_cross_entropy(scores.next.flatten(1), gold_next.flatten(1), legal_next.flatten(1)),
        ],
        dim=1,
    )
    return (losses * targets.supervision).sum(1)


def _mark(index: Tensor, axis: int, shape: torch.Size) -> Tensor:
    marked = torch.zeros(shape, dtype=torch.bool, device=index.device)
    marked[index[:, 0], index[:, axis]] = True
    return marked


def relevance_targets(targets: LinkTargets, form: str, shared: bool = False) -> Gates:
    """Tokens (and markers) that are relevant to each link kind (eq. 15).

    Args:
        targets: Gold links.
        form: `"text"`: starts of TA[label, start], ends of TA[end, label], columns of A2A and of AS.
            `"endpoint"`: columns of gold links, markers of closed labels included. `"span"` (the paper):
            every token of a gold span and the marker of every label that occurs, for all kinds.
        shared: AS and A2A are one matrix, whose columns are relevant if either kind has a link there.

    Returns:
        Boolean targets in the shapes of `Gates`.
    """
    tokens, labels = targets.token_mask.shape, targets.label_mask.shape
    if form == "span":
        spans = targets.inside[targets.inside[:, 1] <= targets.inside[:, 2]]
        edges = torch.zeros((tokens[0], tokens[1] + 1), dtype=torch.long, device=spans.device)
        ones = torch.ones_like(spans[:, 0])
        edges.index_put_((spans[:, 0], spans[:, 1]), ones, accumulate=True)
        edges.index_put_((spans[:, 0], spans[:, 2] + 1), -ones, accumulate=True)
        covered = edges.cumsum(1)[:, :-1] > 0
        return Gates(covered, _mark(targets.open, 1, labels), covered, covered)
    close = _mark(targets.close, 2, tokens) if form == "text" else _mark(targets.close, 1, labels)
    inside, following = (_mark(links, 2, tokens) for links in (targets.inside, targets.next))
    if shared:
        inside = following = inside | following
    return Gates(_mark(targets.open, 2, tokens), close, inside, following)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def relevance_loss(
    gates: Gates, gold: Gates, targets: LinkTargets, form: str, close_by_marker: bool
) -> Tensor:
    """Relevance loss L_LD summed over the kinds, one value a text (eq. 17 or its balanced form).

    Args:
        gates: Relevance logits.
        gold: Boolean targets of `relevance_targets`.
        targets: Masks of what is annotated.
        form: `"mean"`: binary cross-entropy averaged over all tokens (eq. 17). `"balanced"`: mean over the
            relevant tokens plus mean over the others.
        close_by_marker: Whether closings are gated by their marker, `(B, M)`, or by their token, `(B, L)`.

    Returns:
        Losses, `(B,)`.
    """
    total = gates.open.new_zeros(len(gates.open), dtype=torch.float32)
    # Where mentions are partly marked, an unmarked token is no evidence of irrelevance.
    unsure = targets.partial & (targets.label_mask & (targets.kinds == MENTION_KIND)).any(1)
    kind_of_field = {"open": 0, "close": 0, "inside": 1, "next": 2}
    for name, kind in kind_of_field.items():
        logits, wanted = getattr(gates, name).float(), getattr(gold, name)
        mask = targets.label_mask if name == "close" and close_by_marker else targets.token_mask
        values = nn.functional.binary_cross_entropy_with_logits(logits, wanted.float(), reduction="none")
        if form == "mean":
            loss = _mean(values, mask)
        else:
            others = mask & ~wanted
            others = others & ~(targets.partial if kind > 0 else unsure)[:, None]
            loss = _mean(values, mask & wanted) + _mean(values, others)
        total = total + loss * targets.supervision[:, kind]
    return total
