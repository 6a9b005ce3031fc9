"""Prefix attention: label blocks are encoded once, the text attends to itself and to every block.

Two equal forms. Cached: a registered attention function stores the keys and values of the label blocks in a
`PrefixCache` and prepends them to those of the text in every layer; the encoder stays unmodified, because the
cache travels as a keyword argument of its `forward`. Masked: blocks and text form one sequence with a 4-D
mask and explicit positions; it costs the blocks once a text and is the oracle of the tests.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask

IMPLEMENTATION_PREFIX = "ldnet_"
LEAST_PADDING = 128  # tokens; to save fewer is not worth a second pass of the encoder
MOST_PLAIN_WEIGHTS = 2**23  # attention weights that a layer may hold in memory, all texts and heads together


class PrefixCache:
    """Keys and values of the label blocks, one pair a layer.

    Written by the pass over the label blocks, read (`for_reading`) by the passes over texts. A layer is
    written once: gradient checkpointing runs a layer again, and must find what the first run stored.

    Args:
        keep (`torch.BoolTensor` of shape `(num_labels, block_length)`): True on real tokens of the blocks.
        full_weight (`int`, *optional*): Tokens of the blocks that get their full share of attention; see
            `prefix_mask`. `None` = any number.
    """

    def __init__(self, keep: Tensor, full_weight: int | None = None):
        self.keep = keep.bool()
        self.full_weight = full_weight
        self.writing = True
        self.needs_grad = torch.is_grad_enabled()
        self.visible: Tensor | None = None
        self.widened: list[tuple[Tensor, Tensor]] = []  # masks of the texts with the blocks in front of them
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    @classmethod
    def join(cls, parts: Sequence[tuple[Tensor, "PrefixCache"]], keep: Tensor) -> "PrefixCache":
        """The cache of all blocks from those of groups of them.

        Args:
            parts: Rows (`torch.LongTensor`) and cache of each group; padding may be cut off its blocks.
            keep (`torch.BoolTensor` of shape `(num_labels, block_length)`): True on real tokens of all.

        Returns:
            What a pass over all blocks at once would have written.
        """
        whole = cls(keep, parts[0][1].full_weight)
        place = (whole.keep.flatten().cumsum(0) - 1).view_as(keep)
        order = torch.cat([place[rows, : part.keep.shape[1]][part.keep] for rows, part in parts]).argsort()
        for layer in parts[0][1].layers:
            of_parts = zip(*(part.layers[layer] for _, part in parts), strict=True)
            key, value = (torch.cat(states, dim=1)[:, order] for states in of_parts)
            whole.layers[layer] = key, value
        return whole

    def for_reading(self, visible: Tensor | None = None) -> "PrefixCache":
        """The same layers, to be read; a layer of the writing pass that runs again goes on writing.

        Args:
            visible (`torch.BoolTensor` of shape `(B, prefix)`): Which tokens of the blocks, padding left out,
                each text attends to; default all.
        """
        reader = copy.copy(self)
        reader.writing = False
        reader.visible, reader.widened = visible, []
        return reader

    def widen(self, mask: Tensor | None, query: Tensor, width: int) -> Tensor | None:
        """Mask of the texts with that of the blocks in front; all layers of a kind share one.

        Args:
            mask: Mask `(B, 1, L, L)` that the encoder made; `None` = everything is seen.
            query: Queries of the texts, for shape, type and device.
            width: Tokens of all blocks.

        Returns:
            Mask `(B, 1, L or 1, width + L)`; `None` = everything is seen.
        """
        for known, wide in self.widened:
            if known is mask:
                return wide
        wide = _widen_mask(mask, self.prefix_mask(width, query), query, width)
        if mask is not None and wide is not None:
            self.widened = [*self.widened[-1:], (mask, wide)]  # local and global layers have a mask each
        return wide

    def prefix_mask(self, width: int, query: Tensor) -> Tensor | None:
        """What is added to the attention logits of the block tokens, `(B or 1, width)`; `None` for nothing.

        Hundreds of labels would draw a text's attention away from the text. Beyond `full_weight` tokens,
        log(n / full_weight) is taken off, so that n tokens weigh together what `full_weight` of them would.

        Args:
            width: Tokens of all blocks.
            query: Queries of the texts, for type and device.
        """
        lowest = torch.finfo(query.dtype).min
        if self.visible is not None:
            seen = self.visible.to(query.device)
            number = seen.sum(1, keepdim=True)
        elif self.full_weight is not None and width > self.full_weight:
            seen = torch.ones((1, width), dtype=torch.bool, device=query.device)
            number = seen.sum(1, keepdim=True)
        else:
            return None
        full = number if self.full_weight is None else number.clamp(max=self.full_weight)
        less = torch.log(full.clamp(min=1) / number.clamp(min=1)).to(query.dtype)
        return torch.where(seen, less, lowest)

    def write(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Store one layer's keys and values, both of shape `(num_labels, heads, block_length, head_size)`.

        Raises:
            ValueError: If the gradients of the label blocks would be lost.
        """
        if self.needs_grad and not torch.is_grad_enabled():
            raise ValueError(
                "gradient checkpointing: use_reentrant=True does not work with prefix attention (the label "
                "blocks would get no gradient); use gradient_checkpointing_kwargs={'use_reentrant': False}"
            )
        # Flattened in a second run too: checkpointing wants to see the same operations.
        self.layers.setdefault(layer, (self._flatten(key), self._flatten(value)))

    def _flatten(self, states: Tensor) -> Tensor:
        return states.transpose(1, 2)[self.keep].transpose(
            0, 1
        )  # (heads, prefix, head_size), padding left out

    def prepend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put the stored keys and values before those of the texts, `(batch, heads, length, head_size)`."""
        stored_key, stored_value = self.layers[layer]
        size = (key.shape[0], -1, -1, -1)
        key = torch.cat([stored_key[None].expand(size).to(key.dtype), key], dim=2)
        return key, torch.cat([stored_value[None].expand(size).to(value.dtype), value], dim=2)


@dataclass
class SchemaStates:
    """What the labels of a schema give to every text; computed once a schema at inference.

    Args:
        states (`torch.FloatTensor` of shape `(M, H)`): Label states.
        kinds (`torch.LongTensor` of shape `(M,)`): 0 mention, 1 relation, 2 class labels.
        mentions: Mentions of the longest loop that a label may have.
        cache: Keys and values of the label blocks.
        projected: TA queries and keys, each `(M, D)`.
    """

    states: Tensor
    kinds: Tensor
    mentions: int
    cache: PrefixCache
    projected: tuple[Tensor, Tensor]


def length_groups(lengths: Tensor) -> list[Tensor]:
    """Rows of short and of long label blocks, where that saves much padding; else all rows in one group.

    Args:
        lengths (`torch.LongTensor` of shape `(num_labels,)`): Tokens of each block.

    Returns:
        Row numbers, one tensor a group.
    """
    order = lengths.argsort(stable=True)
    ranked, number = lengths[order], torch.arange(len(lengths), device=lengths.device)
    saved = number[1:] * (ranked[-1] - ranked[:-1])  # by a first group of so many rows
    if not len(saved) or saved.max() < max(LEAST_PADDING, len(lengths) * int(ranked[-1]) // 4):
        return [torch.arange(len(lengths), device=lengths.device)]
    cut = int(saved.argmax()) + 1
    return [order[:cut], order[cut:]]


def encode_blocks(
    encoder: nn.Module, input_ids: Tensor, attention_mask: Tensor, full_weight: int | None = None
) -> tuple[Tensor, PrefixCache]:
    """Encode label blocks, none of which sees another; short ones apart from long ones.

    Args:
        encoder: An encoder with prefix attention.
        input_ids (`torch.LongTensor` of shape `(num_labels, block_length)`): Their tokens.
        attention_mask (`torch.LongTensor` of the same shape): 1 on real tokens.
        full_weight: See `PrefixCache`.

    Returns:
        States `(num_labels, block_length, H)`, those of padding being of no use, and the cache.
    """
    groups, parts, states = length_groups(attention_mask.sum(1)), [], []
    for rows in groups:
        mask = attention_mask[rows]
        mask = mask if len(groups) == 1 else mask[:, : int(mask.sum(1).max())]
        cache = PrefixCache(mask, full_weight)
        ids = input_ids[rows, : mask.shape[1]]
        hidden = encoder(input_ids=ids, attention_mask=mask, prefix_cache=cache).last_hidden_state
        states.append(nn.functional.pad(hidden, (0, 0, 0, input_ids.shape[1] - mask.shape[1])))
        parts.append((rows, cache))
    if len(groups) == 1:
        return states[0], cache
    return torch.cat(states)[torch.cat(groups).argsort()], PrefixCache.join(parts, attention_mask.bool())


def asked_tokens(
    asked: Tensor, schema_attention_mask: Tensor, schema_blocks: Tensor, **schema: object
) -> Tensor:
    """Attention mask of a schema's tokens for every text, when texts see a part of its labels.

    Args:
        asked (`torch.BoolTensor` of shape `(B, M)`): Which labels each text sees.
        schema_attention_mask (`torch.LongTensor` of shape `(blocks, N)`): 1 on real tokens.
        schema_blocks (`torch.LongTensor` of shape `(blocks, N)`): Label of each token, -1 for none.
        **schema: Ignored.

    Returns:
        Mask `(B, blocks * N)`; tokens of no label (the instruction) are seen by all.
    """
    owner = schema_blocks.flatten()
    seen = asked[:, owner.clamp(min=0)] | (owner < 0)
    return schema_attention_mask.flatten() * seen.to(schema_attention_mask.dtype)


def _eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[Tensor, Tensor]:
    weights = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def _sdpa_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: object,
) -> tuple[Tensor, Tensor | None]:
    """PyTorch's attention; plain products for short texts in half precision on a CPU.

    There its kernel (PyTorch 2.13) takes longer, several times as long backwards.
    """
    weights = query.shape[:3].numel() * key.shape[2]
    if query.device.type != "cpu" or query.dtype == torch.float32 or weights > MOST_PLAIN_WEIGHTS:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        attention_mask = _additive_mask(attention_mask[:, 0], query.dtype)
    return _eager_attention(module, query, key, value, attention_mask, **kwargs)[0], None


def _widen_mask(mask: Tensor | None, prefix: Tensor | None, query: Tensor, width: int) -> Tensor | None:
    """Mask `(B, 1, L, L)` -> `(B, 1, L, width + L)`, `prefix` (`PrefixCache.prefix_mask`) in front of it."""
    if mask is None and prefix is None:
        return None
    if mask is None:
        mask = torch.zeros((len(query), 1, 1, query.shape[2]), dtype=query.dtype, device=query.device)
    if prefix is None:
        fill = torch.ones if mask.dtype == torch.bool else torch.zeros
        prefix = fill((len(mask), width), dtype=mask.dtype, device=mask.device)
    elif mask.dtype == torch.bool:
        mask = _additive_mask(mask[:, 0], query.dtype)
    prefix = prefix.to(mask.dtype)[:, None, None].expand(len(mask), *mask.shape[1:-1], -1)
    return torch.cat([prefix, mask], dim=-1)


def _with_prefix(
    attend: Callable[..., tuple[Tensor, Tensor | None]],
) -> Callable[..., tuple[Tensor, Tensor | None]]:
    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        prefix_cache: PrefixCache | None = None,
        **kwargs: object,
    ) -> tuple[Tensor, Tensor | None]:
        if prefix_cache is not None:
            layer = getattr(module, "layer_idx", None)
            layer = id(module) if layer is None else layer
            if prefix_cache.writing:
                prefix_cache.write(layer, key, value)
            else:
                length = key.shape[2]
                key, value = prefix_cache.prepend(layer, key, value)
                width = key.shape[2] - length
                attention_mask = prefix_cache.widen(attention_mask, query, width)
        return attend(module, query, key, value, attention_mask, **kwargs)

    return attention


AttentionInterface.register(IMPLEMENTATION_PREFIX + "sdpa", _with_prefix(_sdpa_attention))
AttentionInterface.register(IMPLEMENTATION_PREFIX + "eager", _with_prefix(_eager_attention))
AttentionMaskInterface.register(IMPLEMENTATION_PREFIX + "sdpa", sdpa_mask)
AttentionMaskInterface.register(IMPLEMENTATION_PREFIX + "eager", eager_mask)


def prefix_implementation(name: str | None) -> str:
    """Name of the attention function that can read a `PrefixCache`.

    Args:
        name: `"sdpa"`, `"eager"`, one of the registered names, or `None` for the default (`"sdpa"`).

    Returns:
        The registered name.

    Raises:
        ValueError: If there is no such form of the asked implementation.
    """
    name = (name or "sdpa").removeprefix(IMPLEMENTATION_PREFIX)
    if name not in ("sdpa", "eager"):
        raise ValueError(
            f"attn_implementation: {name!r} does not work with prefix attention; use 'sdpa' or 'eager', "
            "or a model with schema_attention='full'"
        )
    return IMPLEMENTATION_PREFIX + name


def masked_sequence(
    label_input_ids: Tensor,
    label_attention_mask: Tensor,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    first_position: int = 0,
    window: int | None = None,
    full_weight: int | None = None,
) -> dict[str, Tensor | dict[str, Tensor]]:
    """Encoder inputs of the masked form: all label blocks and then the text, as one sequence a text.

    Args:
        label_input_ids (`torch.LongTensor` of shape `(num_labels, block_length)`): One label block a row.
        label_attention_mask (`torch.LongTensor` of shape `(num_labels, block_length)`): 1 on real tokens.
        input_ids (`torch.LongTensor` of shape `(batch_size, length)`): Tokens of the texts.
        attention_mask (`torch.LongTensor` of shape `(batch_size, length)`): 1 on real tokens.
        first_position: Position id of a first token; RoBERTa and its kin count from their padding id + 1.
        window: Tokens to either side that a local layer sees (ModernBERT), beside all label blocks.
        full_weight: As of a `PrefixCache`.

    Returns:
        `input_ids`, `position_ids` of shape `(batch_size, prefix + length)` and the additive `attention_mask`
        of shape `(batch_size, 1, prefix + length, prefix + length)`; the first `prefix` columns are the label
        tokens. With a `window`, `attention_mask` holds such a mask for each kind of layer.
    """
    keep = label_attention_mask.bool()
    blocks = torch.arange(1, len(keep) + 1, device=keep.device)[:, None].expand_as(keep)[keep]  # 0 = text
    places = torch.arange(keep.shape[1], device=keep.device)[None].expand_as(keep)[keep]
    batch_size, length = input_ids.shape
    ids = torch.cat([label_input_ids[keep].expand(batch_size, -1), input_ids], dim=1)
    block = torch.cat([blocks, blocks.new_zeros(length)])
    positions = torch.cat([places, torch.arange(length, device=keep.device)])
    visible = (block[:, None] == 0) | (block[:, None] == block[None, :])
    real = torch.cat([blocks.new_ones(batch_size, len(blocks)), attention_mask], dim=1).bool()
    real = real[:, None, :]
    less = torch.zeros(visible.shape, device=keep.device)
    if full_weight is not None and len(blocks) > full_weight:
        less[block == 0, : len(blocks)] = math.log(full_weight / len(blocks))
    mask = _additive_mask(visible & real) + less
    if window is not None:
        far = (block[:, None] == block[None, :]) & ((positions[:, None] - positions[None, :]).abs() > window)
        mask = {"full_attention": mask, "sliding_attention": _additive_mask(visible & ~far & real) + less}
    positions = (positions + first_position).expand(batch_size, -1)
    return {"input_ids": ids, "position_ids": positions, "attention_mask": mask}


def _additive_mask(visible: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    zeros = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return zeros.masked_fill(~visible, torch.finfo(dtype).min)[:, None]
