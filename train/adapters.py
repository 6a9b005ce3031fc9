"""Training a part of the encoder: low-rank adapters (LoRA, Hu et al., 2022) by `peft`, or none of it."""

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from ldnet.modeling_ldnet import LDNetModel

LORA_TARGETS = "all-linear"  # every linear layer of the encoder, whatever its names


def freeze_encoder(model: "LDNetModel") -> None:
    """Train the heads and what LDNet adds to the input alone."""
    model.encoder.requires_grad_(False)


def freeze_word_embeddings(model: "LDNetModel") -> None:
    """Keep the encoder's word embeddings as they are.

    Adam moves the vector of a rare token by whole learning rates in the direction of every text it stands in;
    over a long training that wears off what the encoder knew of it.
    """
    model.encoder.get_input_embeddings().requires_grad_(False)


def add_lora(model: "LDNetModel", rank: int, alpha: int | None = None, dropout: float = 0.0) -> None:
    """Put adapters beside the linear layers of the encoder and freeze the rest of it; the heads are trained.

    Args:
        model: Changed in place.
        rank: Rank of the adapters.
        alpha: Their scale; twice the rank by default.
        dropout: Dropout in front of them.

    Raises:
        ValueError: If peft is not installed, or the rank is not positive.
    """
    if rank < 1:
        raise ValueError(f"lora_rank: {rank} is not positive; take 8 or 16, or leave it out")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ValueError("lora_rank: peft is not installed; run pip install peft") from None
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=LORA_TARGETS,
    )
    inject_adapter_in_model(config, model.encoder)


def merge_lora(model: "LDNetModel") -> int:
    """Add the adapters to the weights beside them, so that a plain LDNet is saved.

    Args:
        model: Changed in place.

    Returns:
        Number of layers that had an adapter.
    """
    merged = 0
    for parent in list(model.encoder.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "merge") and isinstance(getattr(child, "base_layer", None), nn.Linear):
                child.merge()
                setattr(parent, name, child.base_layer)
                merged += 1
    return merged
