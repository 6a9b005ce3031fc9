"""What `LDNetModel` returns. Shapes: B texts, L tokens, M labels, H encoder width."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput

from ldnet.confirmation import LoopStates
from ldnet.heads import Gates, LinkScores
from ldnet.pruning import SparseLinks


@dataclass
class LDNetOutput(ModelOutput):
    """What `LDNetModel` returns.

    Args:
        loss (`torch.FloatTensor` of shape `()`): Link loss plus weighted relevance and confirmation losses;
            with `labels` only.
        link_loss (`torch.FloatTensor` of shape `()`): L_MR (eq. 12-14), mean over the texts.
        relevance_loss (`torch.FloatTensor` of shape `()`): L_LD (eq. 17) before its weight, mean over the
            texts.
        confirmation_loss (`torch.FloatTensor` of shape `()`): Loss of the confirmation head before its
            weight.
        links (`SparseLinks`): Links above the threshold, as index lists and log-odds; without `labels` only.
        link_logits (`LinkScores`): Dense gated log-odds `(B, M, L)`, `(B, M, L)`, `(B, L, L)`, `(B, L, L)`;
            with `return_logits` only.
        relevance_logits (`Gates`): Log-odds of relevance, `(B, L)` (or `(B, M)`) a kind; with `return_logits`
            only.
        last_hidden_state (`torch.FloatTensor` of shape `(B, L, H)`): Token states; with `return_logits` only.
        loop_states (`LoopStates`): What `score_candidates` judges closed loops with; with `confirm_loops`.
    """

    loss: torch.FloatTensor | None = None
    link_loss: torch.FloatTensor | None = None
    relevance_loss: torch.FloatTensor | None = None
    confirmation_loss: torch.FloatTensor | None = None
    links: SparseLinks | None = None
    link_logits: LinkScores | None = None
    relevance_logits: Gates | None = None
    last_hidden_state: torch.FloatTensor | None = None
    loop_states: LoopStates | None = None
