"""Base class of LDNet: weight initialisation, token embeddings and attention of the encoder inside."""

import inspect
from collections.abc import Sequence

import torch
from torch import nn
from transformers import MODEL_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from .configuration_ldnet import LDNetConfig
from .heads import LinkHead
from .hub_ldnet import RemoteCodeMixin
from .schema_attention import prefix_implementation


def pooler_kwargs(config: PreTrainedConfig) -> dict[str, bool]:
    """Leave the pooler out where the class knows how: its unused weights break plain DDP."""
    known = inspect.signature(MODEL_MAPPING[type(config)].__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in known else {}


class LDNetPreTrainedModel(RemoteCodeMixin, PreTrainedModel):
    """Base class: configuration, weight initialisation and what transformers wants to know."""

    config_class = LDNetConfig
    base_model_prefix = "ldnet"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["LinkHead", "RelevanceHead", "ConfirmationHead"]
    _keep_in_fp32_modules_strict = {"link_head", "relevance_head", "confirmation_head"}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, LinkHead):  # loading leaves non-persistent buffers unfilled
            init.copy_(module.inverse_frequency, module.make_inverse_frequency())
        # The kinds' vectors: an encoder initialises its own embeddings. (The model as a whole never arrives
        # here: transformers passes over modules of custom code that hold no weight themselves.)
        if isinstance(module, nn.Embedding):
            init.zeros_(module.weight)

    def add_markers(self, num_tokens: int, like_token_id: int, marker_ids: Sequence[int] = ()) -> None:
        """Make room for the marker tokens; their embeddings start as copies of a known one.

        Args:
            num_tokens: Size of the tokenizer with the markers.
            like_token_id: Token whose embedding new markers start from (`[CLS]`: a label block then looks
                like the sentences that the encoder was trained on).
            marker_ids: The markers' ids: some encoders (ModernBERT, DeBERTa) have spare rows behind their
                vocabulary, where new tokens land without making the matrix larger.
        """
        known = self.get_input_embeddings().weight.shape[0]
        if num_tokens > known:
            self.resize_token_embeddings(num_tokens, mean_resizing=False)
        with torch.no_grad():
            weight = self.get_input_embeddings().weight
            start = weight[like_token_id].clone()
            weight[known:] = start
            weight[list(marker_ids)] = start

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's token embeddings."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the encoder's token embeddings."""
        self.encoder.set_input_embeddings(value)

    def set_attn_implementation(self, attn_implementation: str | dict[str, str], **kwargs: object) -> None:
        """Choose the encoder's attention: `"sdpa"` or `"eager"` (both know prefix attention)."""
        if isinstance(attn_implementation, dict):
            attn_implementation = attn_implementation.get(
                "encoder_config", attn_implementation.get("", "sdpa")
            )
        if self.config.schema_attention == "prefix":
            attn_implementation = prefix_implementation(attn_implementation)
        self.encoder.set_attn_implementation(attn_implementation, **kwargs)
