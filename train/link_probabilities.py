"""Gated link probabilities P^r of a model (eq. 16) on its legal cells: what transfer compares."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.heads import Gates, LinkScores, apply_gate
from ldnet.processing.links import LoopLimits
from ldnet.processing.schema import Label, LabelKind

CLASS_KIND = int(LabelKind.CLASS)
SMALLEST_RELEVANCE = 1e-6  # below it a logit of the paper's product holds no digits of the link's own score


def link_log_odds(scores: LinkScores, gates: Gates, config: LDNetConfig, is_class: Tensor) -> LinkScores:
    """Log-odds of the gated link probabilities P^r in (0, 1), whatever the form of the gate.

    All forms but `"logit"` are log-odds as they are. The paper's product l * s is no probability: 0.38 would
    come out where nothing is relevant. There P is l * sigmoid(s), as with `"prob"`.

    Args:
        scores: Gated logits, as `LDNetOutput.link_logits`.
        gates: Relevance logits, as `LDNetOutput.relevance_logits`.
        config: Of the model that they come from.
        is_class (`torch.BoolTensor` of shape `(M,)`): True for class labels, whose links are never gated.

    Returns:
        Log-odds in float32, same shapes as `scores`.
    """
    scores = LinkScores(*(score.float() for score in scores))
    if config.label_drop != "logit":
        return scores

    def both(product: Tensor, gate: Tensor) -> Tensor:
        gate = gate.float()
        own = (product + 0.5) / torch.sigmoid(gate).clamp(min=SMALLEST_RELEVANCE)
        return apply_gate(own, gate, "prob")

    of_class = is_class[:, None]
    close = gates.close[:, None, :] if config.relevance_target == "text" else gates.close[:, :, None]
    return LinkScores(
        open=torch.where(of_class, scores.open, both(scores.open, gates.open[:, None, :])),
        close=torch.where(of_class, scores.close, both(scores.close, close)),
        inside=both(scores.inside, gates.inside[:, None, :]),
        next=both(scores.next, gates.next[:, None, :]),
    )


def kinds_of(labels: Sequence[Label], limits: LoopLimits) -> tuple[bool, bool, bool]:
    """Whether labels need TA, AS and A2A at all; what they do not need no training has shaped.

    Args:
        labels: All labels that a text is asked.
        limits: How loops may run.

    Returns:
        Three flags.
    """
    mentions = max((max(label.mentions) for label in labels), default=0)
    return bool(labels), mentions > 0, mentions > 1 or (joins_fragments(limits) and mentions > 0)


def joins_fragments(limits: LoopLimits) -> bool:
    """Whether A2A links the fragments of a mention too."""
    return limits.max_fragments > 1 and limits.fragment_links == "a2a"


def lower_triangle(limits: LoopLimits) -> bool:
    """Whether AS has legal cells below the diagonal (fragment links)."""
    return limits.max_fragments > 1 and limits.fragment_links == "as"


def legal_cells(
    token_mask: Tensor, label_mask: Tensor, is_class: Tensor, kinds: Tensor, lower: bool
) -> LinkScores:
    """Cells that can hold a link (design: legal cells).

    Args:
        token_mask (`torch.BoolTensor` of shape `(B, L)`): True on tokens that can bound a span.
        label_mask (`torch.BoolTensor` of shape `(B, M)`): True where a label is asked of a text.
        is_class (`torch.BoolTensor` of shape `(M,)`): True for class labels, whose only cell is token 0.
        kinds (`torch.BoolTensor` of shape `(B, 3)`): Whether TA, AS and A2A mean anything in a text.
        lower: Whether AS has legal cells below the diagonal.

    Returns:
        Boolean matrices in the shapes of `LinkScores`.
    """
    marker = torch.zeros_like(token_mask)
    marker[:, 0] = True
    cells = torch.where(is_class[None, :, None], marker[:, None, :], token_mask[:, None, :])
    labelled = label_mask[:, :, None] & cells & kinds[:, 0, None, None]
    pairs = token_mask[:, :, None] & token_mask[:, None, :]
    inside = pairs & kinds[:, 1, None, None]
    if not lower:
        inside = inside & torch.ones_like(pairs[0]).triu()
    return LinkScores(open=labelled, close=labelled, inside=inside, next=pairs & kinds[:, 2, None, None])
