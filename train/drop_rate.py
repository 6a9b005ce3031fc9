"""The drop rate of Figure 2 and Table 16: relevance gates only a share of the columns, at test time."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldnet.heads import Gates
from ldnet.modeling_ldnet import LDNetModel

OPEN = 1e4  # relevance logit of a column that is not gated: its sigmoid is 1 in every precision


def draw_columns(share: float, columns: int, seed: list[int]) -> np.ndarray:
    """Columns that keep their gate: `round(share * columns)` of them, more of the same for a larger share.

    Args:
        share: In [0, 1].
        columns: How many there are.
        seed: Of the draw.

    Returns:
        Their positions, `(n,)`.
    """
    return np.random.default_rng(seed).permutation(columns)[: round(share * columns)]


@contextmanager
def gate_share(model: LDNetModel, share: float, seed: int = 0) -> Iterator[None]:
    """Gate a random share of the columns while the block runs; on the others relevance counts as 1.

    A column is a token (and, where relevance gates label markers, a label): its gates of all link kinds stay
    or go together. What is drawn depends on seed and text only, not on batches; the columns of a share are
    among those of a larger one, so that 100 % is the model as it is and 0 % is without label drop.

    Args:
        model: The model, its relevance head gets hooks.
        share: Drop rate, in [0, 1].
        seed: Of the draws.

    Raises:
        ValueError: If the share is out of range.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"drop rate: {share} is not a share of columns; it must lie in [0, 1]")
    texts: dict[str, Tensor] = {}

    def remember(module: Any, args: tuple, inputs: dict[str, Any]) -> None:
        texts.update(ids=inputs["input_ids"], mask=inputs["token_mask"])

    def thin(module: Any, args: tuple, gates: Gates) -> Gates:
        tokens = torch.zeros_like(texts["mask"])
        markers = torch.zeros(gates.close.shape, dtype=torch.bool)
        for i, (ids, mask) in enumerate(zip(texts["ids"].cpu(), texts["mask"].cpu(), strict=True)):
            places = mask.nonzero().flatten()
            key = [seed, zlib.crc32(ids[places].numpy().tobytes())]
            tokens[i, places[draw_columns(share, len(places), key)].to(tokens.device)] = True
            if module.gates_markers:
                markers[i, draw_columns(share, markers.shape[1], [*key, 1])] = True
        close = markers.to(tokens.device) if module.gates_markers else tokens
        kept = Gates(tokens, close, tokens, tokens)
        return Gates(*(torch.where(keep, gate, OPEN) for keep, gate in zip(kept, gates, strict=True)))

    hooks = [
        model.register_forward_pre_hook(remember, with_kwargs=True),
        model.relevance_head.register_forward_hook(thin),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
