"""Heads of LDNet: token and label states -> logits of the three link kinds, and their relevance gates.

Shapes: B texts, L tokens, M labels, H encoder width, D head size.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ldnet.configuration_ldnet import LDNetConfig


class LinkScores(NamedTuple):
    """Dense scores of the legal cells of all link kinds, in log-odds.

    Attributes:
        open: `(B, M, L)`, TA[label, start]: a structure of the label begins at this token.
        close: `(B, M, L)`, TA[end, label]: a structure of the label ends at this token.
        inside: `(B, L, L)`, AS[start, end] (and, below the diagonal, fragment links AS[next start, end]).
        next: `(B, L, L)`, A2A[end, next start]: from one span of a structure to the next.
    """

    open: Tensor
    close: Tensor
    inside: Tensor
    next: Tensor


class LinkQueries(NamedTuple):
    """Projected states (eq. 9-10): what every link logit is a scaled dot product of.

    Attributes:
        label_query, label_key: `(M, D)` or `(B, M, D)`, TA side of the labels.
        text_query, text_key: `(B, L, D)`, TA side of the tokens.
        inside_query, inside_key: `(B, L, D)`, AS, rotated.
        next_query, next_key: `(B, L, D)`, A2A, rotated.
    """

    label_query: Tensor
    label_key: Tensor
    text_query: Tensor
    text_key: Tensor
    inside_query: Tensor
    inside_key: Tensor
    next_query: Tensor
    next_key: Tensor


class Gates(NamedTuple):
    """Relevance logits z (eq. 15) of what each link kind is gated by; `None` fields of a label mean no gate.

    Attributes:
        open: `(B, L)`, the column of TA[label, start].
        close: `(B, L)`, the row of TA[end, label] when relevance means `"text"`, else `(B, M)`, its column.
        inside: `(B, L)`, the column of AS.
        next: `(B, L)`, the column of A2A.
    """

    open: Tensor
    close: Tensor
    inside: Tensor
    next: Tensor


def rotate(states: Tensor, inverse_frequency: Tensor) -> Tensor:
    """Rotary position embedding (eq. 11; Su et al., 2021): pairs of neighbouring channels share one angle.

    The dot product of two rotated vectors depends on the distance of their positions only.

    Args:
        states (`torch.FloatTensor` of shape `(B, L, D)`): Queries or keys.
        inverse_frequency (`torch.FloatTensor` of shape `(D / 2,)`): Angle per position and pair.

    Returns:
        The rotated states, same shape and type.
    """
    positions = torch.arange(states.shape[1], device=states.device, dtype=torch.float32)
    angles = positions[:, None] * inverse_frequency.float()[None]  # (L, D/2)
    cos, sin = angles.cos().to(states.dtype), angles.sin().to(states.dtype)
    even, odd = states[..., ::2], states[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


class LinkHead(nn.Module):
    """Queries and keys of the link kinds TA, AS and A2A (eq. 9-11), all from one projection.

    TA is not rotated: the distance between a label marker and a token means nothing. With `shared_links` all
    kinds have the same queries and keys, so that AS and A2A are one matrix.
    """

    def __init__(self, config: LDNetConfig):
        super().__init__()
        hidden_size = config.encoder_config.hidden_size
        self.head_size = config.head_size
        self.rotary_base = config.rotary_base
        self.shared = config.shared_links
        self.projection = nn.Linear(hidden_size, (2 if self.shared else 6) * config.head_size)
        self.activation = nn.GELU() if config.head_activation == "gelu" else nn.Identity()
        self.dropout = nn.Dropout(config.head_dropout)
        self.register_buffer("inverse_frequency", self.make_inverse_frequency(), persistent=False)

    def make_inverse_frequency(self) -> Tensor:
        """Angles a position and channel pair, `(D / 2,)`; `_init_weights` writes them again after loading."""
        exponents = torch.arange(0, self.head_size, 2, dtype=torch.float32) / self.head_size
        return 1.0 / self.rotary_base**exponents

    def project_labels(self, label_states: Tensor) -> tuple[Tensor, Tensor]:
        """TA queries and keys of labels, each `(..., M, D)`; computed once a schema at inference."""
        width = 2 * self.head_size
        states = nn.functional.linear(
            label_states, self.projection.weight[:width], self.projection.bias[:width]
        )
        query, key = self.dropout(self.activation(states)).chunk(2, dim=-1)
        return query, key

    def forward(self, text_states: Tensor, labels: tuple[Tensor, Tensor]) -> LinkQueries:
        """Project the tokens and scale by 1 / sqrt(D).

        Args:
            text_states (`torch.FloatTensor` of shape `(B, L, H)`): Token states.
            labels: What `project_labels` returned.

        Returns:
            All queries and keys; queries carry the scale.
        """
        states = self.dropout(self.activation(self.projection(text_states)))
        scale = self.head_size**-0.5
        if self.shared:
            states = torch.cat([states, states, states], dim=-1)
        ta_query, ta_key, as_query, as_key, a2a_query, a2a_key = states.chunk(6, dim=-1)
        angles = self.inverse_frequency
        return LinkQueries(
            label_query=labels[0] * scale,
            label_key=labels[1] * scale,
            text_query=ta_query,
            text_key=ta_key,
            inside_query=rotate(as_query, angles) * scale,
            inside_key=rotate(as_key, angles),
            next_query=rotate(a2a_query, angles) * scale,
            next_key=rotate(a2a_key, angles),
        )


class RelevanceHead(nn.Module):
    """Label drop (eq. 15): one relevance logit a token and link kind.

    With targets of kind `"text"` openings and closings have a vector each and markers are never gated;
    otherwise one vector a kind (TA, AS, A2A) judges tokens and markers alike.
    """

    def __init__(self, config: LDNetConfig):
        super().__init__()
        self.gates_markers = config.relevance_target != "text"
        self.projection = nn.Linear(config.encoder_config.hidden_size, 3 if self.gates_markers else 4)

    def forward(self, text_states: Tensor, label_states: Tensor) -> Gates:
        """Relevance logits of tokens `(B, L, H)` and, if gated, of labels `(M, H)` or `(B, M, H)`."""
        logits = self.projection(text_states)
        if not self.gates_markers:
            return Gates(*logits.unbind(dim=-1))
        weight, bias = self.projection.weight[:1], self.projection.bias[:1]
        markers = nn.functional.linear(label_states, weight, bias).squeeze(-1)
        return Gates(logits[..., 0], markers.expand(len(logits), -1), logits[..., 1], logits[..., 2])


def dense_scores(queries: LinkQueries) -> LinkScores:
    """All link logits s before the gate (eq. 11).

    Args:
        queries: Projected states.

    Returns:
        Dense scores; cells that are not legal are scored too and left to the caller's masks.
    """
    return LinkScores(
        open=queries.label_query @ queries.text_key.transpose(1, 2),
        close=queries.label_key @ queries.text_query.transpose(1, 2),
        inside=queries.inside_query @ queries.inside_key.transpose(1, 2),
        next=queries.next_query @ queries.next_key.transpose(1, 2),
    )


def apply_gate(scores: Tensor, gate: Tensor, label_drop: str) -> Tensor:
    """Gate link logits with relevance (eq. 16) so that sigmoid gives the probability that is thresholded.

    Args:
        scores: Link logits s.
        gate: Relevance logits z, broadcastable to `scores`.
        label_drop: `"joint"`: s + log sigmoid(z). `"prob"`: log-odds of sigmoid(z) sigmoid(s). `"logit"`:
            sigmoid(z) s - 0.5, which is above 0 where the paper's product is above 0.5. `"none"`: s.

    Returns:
        Gated logits of the shape of `scores`.
    """
    if label_drop == "none":
        return scores
    if label_drop == "joint":
        return scores + nn.functional.logsigmoid(gate)
    if label_drop == "logit":
        return torch.sigmoid(gate) * scores - 0.5
    log_probs = nn.functional.logsigmoid(gate.float()) + nn.functional.logsigmoid(scores.float())
    log_probs = log_probs.clamp(max=-1e-7)  # both detectors certain: the log-odds stay finite
    return (log_probs - torch.log(-torch.expm1(log_probs))).to(scores.dtype)


def gate_scores(
    scores: LinkScores, gates: Gates, label_drop: str, close_by_marker: bool, is_class: Tensor
) -> LinkScores:
    """Gate every link kind (eq. 16); see `apply_gate`. Links of classes are between markers: never gated.

    Args:
        scores: Dense link logits.
        gates: Relevance logits.
        label_drop: The form of the gate.
        close_by_marker: Whether TA[end, label] is gated by its column (the marker) or by its row (the token).
        is_class (`torch.BoolTensor` of shape `(M,)`): True for class labels.

    Returns:
        Gated logits, same shapes.
    """
    close = gates.close[:, :, None] if close_by_marker else gates.close[:, None, :]
    of_class = is_class[:, None]
    return LinkScores(
        open=torch.where(of_class, scores.open, apply_gate(scores.open, gates.open[:, None, :], label_drop)),
        close=torch.where(of_class, scores.close, apply_gate(scores.close, close, label_drop)),
        inside=apply_gate(scores.inside, gates.inside[:, None, :], label_drop),
        next=apply_gate(scores.next, gates.next[:, None, :], label_drop),
    )
