"""Exact sparse links at inference: only cells that a closed loop can reach are ever scored.

A structure starts where a label opens. So TA (labels x tokens) is scored whole, then AS only in rows where
something opened, A2A only in rows where such a span ended, and so on: the frontier of a loop, link by link.
Links that
are left
out close no loop; the structures are those of the dense matrices, and no L x L tensor is made.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .heads import Gates, LinkQueries, LinkScores, apply_gate, dense_scores, gate_scores

ROWS_AT_ONCE = (
    64  # rows of a pair matrix in memory at a time, so that an input with all links on stays bounded
)


class SparseLinks(NamedTuple):
    """Links above the threshold as index lists and their log-odds.

    Attributes:
        open, close (`torch.LongTensor` of shape `(n, 3)`): Rows (text, label, token).
        inside, next (`torch.LongTensor` of shape `(n, 3)`): Rows (text, row token, column token).
        open_logits, close_logits, inside_logits, next_logits (`torch.FloatTensor` of shape `(n,)`): Gated
        log-odds.
        class_logits (`torch.FloatTensor` of shape `(B, M)` or `None`): Of class labels the mean of the
            log-odds of TA[class, text marker] and TA[text marker, class], -inf for other labels; `None`
            without classes.
    """

    open: Tensor
    open_logits: Tensor
    close: Tensor
    close_logits: Tensor
    inside: Tensor
    inside_logits: Tensor
    next: Tensor
    next_logits: Tensor
    class_logits: Tensor | None = None


class LoopShape(NamedTuple):
    """How loops may run, and what a link needs.

    Attributes:
        is_class (`torch.BoolTensor` of shape `(M,)`): True for class labels.
        mentions: Mentions of the longest loop: 1 for entities, 2 for relations, 3 for qualifiers.
        max_fragments: Most fragments of a mention.
        fragment_links: `"as"` or `"a2a"`.
        threshold: Probability above which a link is kept, in (0, 1).
        label_drop: Form of the gate.
        close_by_marker: Whether closings are gated by the marker.
    """

    is_class: Tensor
    mentions: int
    max_fragments: int
    fragment_links: str
    threshold: float
    label_drop: str
    close_by_marker: bool


def _score_rows(query: Tensor, key: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of chosen rows, `(B, K, L)`, and their places `(B, K)`; -1 pads texts with fewer rows than K."""
    count = int(rows.sum(1).max()) if rows.numel() else 0
    place = rows.int().argsort(dim=1, descending=True, stable=True)[:, :count]
    chosen = query.gather(1, place[:, :, None].expand(-1, -1, query.shape[-1]))
    place = place.masked_fill(~rows.gather(1, place), -1)
    return chosen @ key.transpose(1, 2), place


class _Frontier:
    """Expands loops link by link over the rows that are reached; every row is scored once a kind."""

    def __init__(self, queries: LinkQueries, gates: Gates, token_mask: Tensor, shape: LoopShape):
        self.queries, self.gates, self.tokens, self.shape = queries, gates, token_mask, shape
        self.cut = math.log(shape.threshold) - math.log1p(-shape.threshold)
        self.done = {name: torch.zeros_like(token_mask) for name in ("span", "fragment", "next")}
        self.ends = torch.zeros_like(token_mask)
        self.inside: list[tuple[Tensor, Tensor]] = []
        self.next: list[tuple[Tensor, Tensor]] = []

    def _links(self, name: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Score the not yet scored `rows` of a kind; returns index lists (text, row, column) and log-odds."""
        rows = rows & self.tokens & ~self.done[name]
        self.done[name] |= rows
        if name == "next":
            query, key, gate = self.queries.next_query, self.queries.next_key, self.gates.next
        elif name == "span":
            query, key, gate = self.queries.inside_query, self.queries.inside_key, self.gates.inside
        else:  # fragment links AS[next start, end] are reached from their column
            query, key, gate = self.queries.inside_key, self.queries.inside_query, self.gates.inside
        found = []
        length = torch.arange(self.tokens.shape[1], device=rows.device)
        order = rows.cumsum(1)
        for first in range(0, int(rows.sum(1).max()) if rows.numel() else 0, ROWS_AT_ONCE):
            block = rows & (order > first) & (order <= first + ROWS_AT_ONCE)
            scores, place = _score_rows(query, key, block)
            if name == "fragment":
                gated = apply_gate(
                    scores, gate.gather(1, place.clamp(min=0))[:, :, None], self.shape.label_drop
                )
            else:
                gated = apply_gate(scores, gate[:, None, :], self.shape.label_drop)
            keep = (gated > self.cut) & (place >= 0)[:, :, None] & self.tokens[:, None, :]
            if name == "span":
                keep &= length[None, None, :] >= place[:, :, None]
            elif name == "fragment":
                keep &= length[None, None, :] > place[:, :, None]
            text, row, column = keep.nonzero(as_tuple=True)
            found.append((torch.stack([text, place[text, row], column], 1), gated[text, row, column]))
        return _concatenate(found, rows.device)

    def _follow(self, name: str, rows: Tensor) -> Tensor:
        """Score `rows` of a kind, keep its links and return the tokens that they lead to, `(B, L)`."""
        index, logits = self._links(name, rows)
        reached = torch.zeros_like(self.tokens)
        reached[index[:, 0], index[:, 2]] = True
        if name == "fragment":
            index = index[:, [0, 2, 1]]  # stored as AS[next start, end]
        (self.next if name == "next" else self.inside).append((index, logits))
        return reached

    def expand_mentions(self, starts: Tensor) -> None:
        """Follow spans, and fragments as long as they lead to new starts, from `starts`, `(B, L)`.

        Rows are scored once, so the work is bounded; going on to the end instead of `max_fragments` steps can
        only add links that close no loop.
        """
        between = "fragment" if self.shape.fragment_links == "as" else "next"
        while bool(starts.any()):
            ends = self._follow("span", starts)
            self.ends |= ends
            if self.shape.max_fragments == 1:
                return
            starts = self._follow(between, ends) & ~self.done["span"]

    def expand_pairs(self) -> None:
        """Follow A2A from every end reached so far, and the spans that start there."""
        self.expand_mentions(self._follow("next", self.ends) & ~self.done["span"])


def _concatenate(parts: list[tuple[Tensor, Tensor]], device: torch.device) -> tuple[Tensor, Tensor]:
    if not parts:
        return torch.zeros((0, 3), dtype=torch.long, device=device), torch.zeros(0, device=device)
    return torch.cat([index for index, _ in parts]), torch.cat([logits for _, logits in parts])


def sparse_links(queries: LinkQueries, gates: Gates, token_mask: Tensor, shape: LoopShape) -> SparseLinks:
    """Links above the threshold that a closed loop can use (design: exact pruning).

    Args:
        queries: Projected states of `LinkHead`.
        gates: Relevance logits of `RelevanceHead`.
        token_mask (`torch.BoolTensor` of shape `(B, L)`): True on tokens that can bound a span.
        shape: How loops may run.

    Returns:
        The links; structures decoded from them equal those decoded from `dense_links`.
    """
    cut = math.log(shape.threshold) - math.log1p(-shape.threshold)
    close_gate = gates.close[:, :, None] if shape.close_by_marker else gates.close[:, None, :]
    open_logits = apply_gate(
        queries.label_query @ queries.text_key.transpose(1, 2), gates.open[:, None, :], shape.label_drop
    )
    close_logits = apply_gate(
        queries.label_key @ queries.text_query.transpose(1, 2), close_gate, shape.label_drop
    )
    legal = token_mask[:, None, :] & ~shape.is_class[:, None]
    opened, closed = (open_logits > cut) & legal, (close_logits > cut) & legal
    frontier = _Frontier(queries, gates, token_mask, shape)
    frontier.expand_mentions(opened.any(1))
    for _ in range(shape.mentions - 1):
        frontier.expand_pairs()
    inside, inside_logits = _concatenate(frontier.inside, token_mask.device)
    next_index, next_logits = _concatenate(frontier.next, token_mask.device)
    return SparseLinks(
        opened.nonzero(), open_logits[opened], closed.nonzero(), close_logits[closed],
        inside, inside_logits, next_index, next_logits,
        _class_logits(queries.label_query, queries.text_key, queries.label_key, queries.text_query, shape),
    )  # fmt: skip


def _class_logits(
    label_query: Tensor, text_key: Tensor, label_key: Tensor, text_query: Tensor, shape: LoopShape
) -> Tensor | None:
    """Of class labels the mean of their two links with the text marker, `(B, M)`."""
    if not bool(shape.is_class.any()):
        return None
    both = (label_query * text_key[:, :1]).sum(-1) + (label_key * text_query[:, :1]).sum(-1)
    return (both / 2).masked_fill(~shape.is_class, -math.inf)


def dense_links(queries: LinkQueries, gates: Gates, token_mask: Tensor, shape: LoopShape) -> SparseLinks:
    """The same from the dense matrices: the oracle of `sparse_links`, and the path from given logits.

    Args:
        queries: Projected states of `LinkHead`.
        gates: Relevance logits of `RelevanceHead`.
        token_mask (`torch.BoolTensor` of shape `(B, L)`): True on tokens that can bound a span.
        shape: How loops may run.

    Returns:
        All links above the threshold in legal cells.
    """
    scores = gate_scores(
        dense_scores(queries), gates, shape.label_drop, shape.close_by_marker, shape.is_class
    )
    return links_above(scores, token_mask, shape)


def links_above(scores: LinkScores, token_mask: Tensor, shape: LoopShape) -> SparseLinks:
    """Legal links above the threshold of dense gated logits.

    Args:
        scores: Gated link logits.
        token_mask (`torch.BoolTensor` of shape `(B, L)`): True on tokens that can bound a span.
        shape: How loops may run.

    Returns:
        The links.
    """
    cut = math.log(shape.threshold) - math.log1p(-shape.threshold)
    pairs = token_mask[:, :, None] & token_mask[:, None, :]
    spans = pairs
    if shape.max_fragments == 1 or shape.fragment_links == "a2a":
        spans = pairs & torch.ones_like(pairs[0]).triu()
    legal = token_mask[:, None, :] & ~shape.is_class[:, None]
    kept = [
        (scores.open > cut) & legal,
        (scores.close > cut) & legal,
        (scores.inside > cut) & spans,
        (scores.next > cut) & pairs,
    ]
    fields = [
        part for keep, logits in zip(kept, scores, strict=True) for part in (keep.nonzero(), logits[keep])
    ]
    classes = None
    if bool(shape.is_class.any()):
        both = (scores.open[:, :, 0] + scores.close[:, :, 0]) / 2
        classes = both.masked_fill(~shape.is_class, -math.inf)
    return SparseLinks(*fields, classes)
