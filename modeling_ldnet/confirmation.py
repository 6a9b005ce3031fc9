"""Confirmation: a closed loop is a candidate, judged as a whole (design §7).

Links are shared by all structures of a text, so loops close that no structure meant. The candidate of label
l over the mentions m1, m2, … scores `v = u_l · (g_1(m1) * g_2(m2) * …) / sqrt(C) + b_l`, g_i a projection of
the mention's boundary states for its place in the loop.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ldnet.configuration_ldnet import LDNetConfig

PLACES = 3  # head, tail, value of a qualifier
START_BIAS = 2.0  # before training nearly every loop passes, so that a fresh head takes nothing away


class Candidates(NamedTuple):
    """Closed loops of a batch as index lists.

    Attributes:
        text (`torch.LongTensor` of shape `(n,)`): Text of each candidate.
        label (`torch.LongTensor` of shape `(n,)`): Its label.
        pieces (`torch.LongTensor` of shape `(p, 4)`): Rows (candidate, place in the loop, first token, last
            token), one a fragment of a mention.
    """

    text: Tensor
    label: Tensor
    pieces: Tensor


class LoopStates(NamedTuple):
    """What candidates are scored with.

    Attributes:
        label: `(M, C)` or `(B, M, C)`, u of each label.
        bias: `(M,)` or `(B, M)`, b of each label.
        start, end: `(B, L, 3, C)`, projected boundary states for each place in a loop.
    """

    label: Tensor
    bias: Tensor
    start: Tensor
    end: Tensor


class ConfirmationHead(nn.Module):
    """Projections of labels and boundary tokens for the scores of whole loops."""

    def __init__(self, config: LDNetConfig):
        super().__init__()
        hidden_size = config.encoder_config.hidden_size
        self.size = config.confirm_size
        self.boundaries = nn.Linear(hidden_size, 2 * PLACES * self.size)
        self.label = nn.Linear(hidden_size, self.size)
        self.label_bias = nn.Linear(hidden_size, 1)
        self.dropout = nn.Dropout(config.head_dropout)

    def forward(self, text_states: Tensor, label_states: Tensor) -> LoopStates:
        """Project token states `(B, L, H)` and label states `(M, H)` or `(B, M, H)`."""
        start, end = self.dropout(self.boundaries(text_states)).chunk(2, dim=-1)
        shape = (*text_states.shape[:2], PLACES, self.size)
        bias = self.label_bias(label_states).squeeze(-1) + START_BIAS
        return LoopStates(self.label(label_states), bias, start.reshape(shape), end.reshape(shape))


def score_candidates(states: LoopStates, candidates: Candidates) -> Tensor:
    """Log-odds that a loop is a structure.

    Args:
        states: What `ConfirmationHead` returned.
        candidates: Loops of the batch.

    Returns:
        Log-odds, `(n,)`. A mention in fragments counts with the mean of their states.
    """
    number, size = len(candidates.text), states.start.shape[-1]
    which, place, first, last = candidates.pieces.unbind(1)
    text = candidates.text[which]
    piece = states.start[text, first, place] + states.end[text, last, place]  # (p, C)
    slot = which * PLACES + place
    total = piece.new_zeros(number * PLACES, size).index_add(0, slot, piece)
    count = piece.new_zeros(number * PLACES).index_add(0, slot, torch.ones_like(piece[:, 0]))
    mean = total / count.clamp(min=1)[:, None]
    factors = torch.where(count[:, None] > 0, mean, torch.ones_like(mean)).view(number, PLACES, size)
    per_text = states.label.dim() == 3
    row = (candidates.text, candidates.label) if per_text else (candidates.label,)
    return (states.label[row] * factors.prod(1)).sum(-1) * size**-0.5 + states.bias[row]


def confirmation_loss(states: LoopStates, candidates: Candidates, gold: Tensor, num_texts: int) -> Tensor:
    """Logistic loss of the candidates of each text, its mean over them.

    Args:
        states: What `ConfirmationHead` returned.
        candidates: Loops that close under gold links or the model's own.
        gold (`torch.BoolTensor` of shape `(n,)`): Whether each is a structure.
        num_texts: Texts of the batch.

    Returns:
        Losses, `(B,)`; 0 for a text without candidates.
    """
    losses = nn.functional.binary_cross_entropy_with_logits(
        score_candidates(states, candidates), gold.float(), reduction="none"
    )
    total = losses.new_zeros(num_texts).index_add(0, candidates.text, losses)
    count = losses.new_zeros(num_texts).index_add(0, candidates.text, torch.ones_like(losses))
    return total / count.clamp(min=1)
