"""Label states on disk: what a schema's labels give to every text, computed once for many processes.

A file is trusted only if its key fits: a hash of everything that the states are computed from. Whatever else
is found in its place is computed again and replaced.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ldnet.schema_attention import PrefixCache, SchemaStates

logger = logging.getLogger(__name__)

FORMAT = "ldnet label states 1"
# Of a configuration, what tells where it comes from and not what it computes.
NOT_COMPUTED = ("_name_or_path", "transformers_version", "auto_map", "custom_pipelines", "architectures")


class SchemaCacheError(ValueError):
    """A file that cannot stand for the label states that were asked for."""


def _bytes_of(tensor: Tensor) -> memoryview:
    return memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _digest(start: str, *parts: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(start.encode())
    for part in parts:
        for name, tensor in sorted(part.items()):
            digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _plain(config: Any) -> Any:
    """A configuration without what `NOT_COMPUTED` names, at any depth."""
    if isinstance(config, Mapping):
        return {str(key): _plain(value) for key, value in config.items() if key not in NOT_COMPUTED}
    return config


def states_key(model: Any, tensors: Mapping[str, Tensor]) -> str:
    """Hash of all that label states are computed from.

    Args:
        model: An `LDNetModel`: its configuration, attention implementation and every byte of its weights
            count.
        tensors: The `schema_*` tensors of `LDNetProcessor.encode_labels`; they stand for the schema as well
            as for the tokenizer's vocabulary.

    Returns:
        The key, in hexadecimal digits.
    """
    encoder = model.encoder.config
    settings = [FORMAT, _plain(model.config.to_dict()), encoder._attn_implementation]
    return _digest(json.dumps(settings, sort_keys=True, default=str), model.state_dict(), tensors)


def save_schema_states(path: str | Path, states: SchemaStates, key: str) -> None:
    """Write label states to a file that is whole or not there.

    Args:
        path: A safetensors file; what is there is replaced.
        states: What `LDNetModel.encode_schema` gives.
        key: What `states_key` gives.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path)
    tensors = {"states": states.states, "kinds": states.kinds, "keep": states.cache.keep}
    tensors |= {f"projected.{i}": part for i, part in enumerate(states.projected)}
    # Layers go by their order: some encoders know their layers by address only.
    for i, pair in enumerate(states.cache.layers.values()):
        tensors |= {f"layers.{i}.key": pair[0], f"layers.{i}.value": pair[1]}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = {"key": key, "mentions": states.mentions, "content": _digest(str(states.mentions), tensors)}
    metadata = {FORMAT: json.dumps(about)}  # one entry: safetensors writes several in any order
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(to_bytes(tensors, metadata))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@torch.no_grad()
def _layer_keys(model: Any) -> list[int]:
    """By what the encoder's layers know their keys and values, in order: a pass over one token tells."""
    token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    probe = PrefixCache(torch.ones_like(token))
    model.encoder(input_ids=token, attention_mask=torch.ones_like(token), prefix_cache=probe)
    return list(probe.layers)


def load_schema_states(path: str | Path, key: str, model: Any) -> SchemaStates:
    """Read label states.

    Args:
        path: A file of `save_schema_states`.
        key: What `states_key` gives now.
        model: The `LDNetModel` that will read them.

    Returns:
        The states, on the model's device.

    Raises:
        SchemaCacheError: If the file is none, is cut off, or was computed from anything else.
        OSError: If it cannot be read.
    """
    try:
        with safe_open(str(path), framework="pt", device=str(model.device)) as file:
            about = json.loads((file.metadata() or {}).get(FORMAT, "null"))
            if about is None:
                raise SchemaCacheError("it holds no label states")
            if about["key"] != key:
                raise SchemaCacheError("it belongs to another schema, other weights or other settings")
            # Copied: at another alignment in memory, products of matrices differ in their last bits.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except SafetensorError as error:
        raise SchemaCacheError(f"it is no whole safetensors file ({error})") from error
    if about["content"] != _digest(str(about["mentions"]), tensors):
        raise SchemaCacheError("its content is damaged")
    layers = _layer_keys(model)
    cache = PrefixCache(tensors["keep"], model.config.full_weight_tokens)
    cache.layers = {
        layer: (tensors[f"layers.{i}.key"], tensors[f"layers.{i}.value"]) for i, layer in enumerate(layers)
    }
    projected = (tensors["projected.0"], tensors["projected.1"])
    return SchemaStates(
        tensors["states"], tensors["kinds"], about["mentions"], cache.for_reading(), projected
    )


@torch.no_grad()
def cached_schema_states(path: str | Path, model: Any, tensors: Mapping[str, Tensor]) -> SchemaStates:
    """Label states from a file, or computed and stored there.

    Args:
        path: The file.
        model: An `LDNetModel` with prefix attention.
        tensors: The `schema_*` tensors, on the model's device.

    Returns:
        The states: the same bits either way.

    Raises:
        OSError: If the file cannot be written.
    """
    if not Path(path).resolve().parent.is_dir():
        raise FileNotFoundError(f"{path}: its folder does not exist; make it or name another file")
    key = states_key(model, tensors)
    try:
        return load_schema_states(path, key, model)
    except FileNotFoundError:
        pass
    except SchemaCacheError as error:
        logger.warning("%s: %s; the label states are computed again and stored there", path, error)
    states = model.encode_schema(**tensors)
    save_schema_states(path, states, key)
    return states


__all__ = [
    "SchemaCacheError",
    "cached_schema_states",
    "load_schema_states",
    "save_schema_states",
    "states_key",
]
