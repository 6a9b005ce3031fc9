"""Configuration of LDNet: any encoder's configuration inside, one annotated field per setting."""

import math
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from ldnet.hub_ldnet import RemoteCodeMixin

# Encoders whose attention function receives the keyword arguments of `forward` (tried one by one), so that
# the keys and values of the label blocks can be handed to every layer. ALBERT shares one module over its
# layers and DeBERTa-v2/MPNet call no attention function: they read the prompt as one sequence.
PREFIX_ENCODERS = frozenset(
    {"bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta", "xlm-roberta-xl"}
)
# Position embeddings of these start behind the padding id.
OFFSET_POSITION_ENCODERS = frozenset({"camembert", "roberta", "xlm-roberta", "xlm-roberta-xl", "longformer"})


@strict
class LDNetConfig(RemoteCodeMixin, PreTrainedConfig):
    """Settings of an `LDNetModel`; the defaults are the best that were measured, `paper()` is arXiv
    2502.12614.

    Args:
        encoder_config: Configuration (or its dict) of the text encoder; `model_type` in it chooses the class.
        schema_attention: `"prefix"`: every label block is encoded on its own and the text attends to all of
            them; `"full"`: prompt and text are one sequence (the paper). `None` takes `"prefix"` where the
            encoder can.
        label_state: State that stands for a label: `"mean"` of its block or its `"marker"` token (the paper),
            which says little until the encoder has learned to tell one marker from the next.
        case_embedding: Tell the encoder how every text token is written (lower, Title, UPPER, MiXed) by a
            learned vector: for encoders whose tokenizer ignores case.
        space_embedding: Tell it by another vector which text tokens follow without a space: for tokenizers
            that give "Boise." and "Boise ." the same tokens.
        full_weight_tokens: Label tokens up to which each gets its full share of a text's attention; hundreds
            of labels draw together no more attention than so many tokens. `None` = no limit. Prefix attention
            only.
        head_size: Width d of the queries and keys of each link kind (eq. 9-10).
        head_activation: After the projections: `"none"`, or `"gelu"` (the paper). GELU outputs are hardly
            negative, so a dot product of two of them says "no" only weakly; without it training starts faster
        head_dropout: Dropout after the projections of the heads, in [0, 1).
        rotary_base: Base of the rotary angles (eq. 11).
        shared_links: One matrix for all link kinds, as in Mirror (arXiv 2311.05419), for comparison: one pair
            of queries and keys, and a pair of tokens is linked if either kind of link joins them.
        label_drop: How relevance gates a link (eq. 16): `"joint"`: logit s + log l; `"prob"`: l * sigmoid(s);
            `"logit"`: l * s, thresholded as it stands (the paper's formula); `"none"`: no label drop.
        relevance_target: Which tokens count as relevant (eq. 15): `"text"`, `"endpoint"` or `"span"` (the
        paper).
        relevance_loss: `"balanced"`: mean over relevant plus mean over other tokens; `"mean"`: eq. 17.
        relevance_weight: Weight of the relevance loss against the link loss.
        max_fragments: Most fragments of one mention; 1 = no discontinuous mentions.
        fragment_links: Links between fragments: `"as"` (lower triangle of the span links) or `"a2a"` (the
        paper).
        confirm_loops: Judge every closed loop as a whole by a head of its own: links are shared, so that
            loops close that no structure meant.
        confirm_size: Width of that head.
        confirm_weight: Weight of its loss against the link loss.
        threshold: Default probability from which a link is kept, in (0, 1). A structure needs all its
            links: at 0.5 it is too careful.
        initializer_range: Standard deviation of fresh weights.
    """

    model_type = "ldnet"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")}

    encoder_config: dict | PreTrainedConfig | None = None
    schema_attention: Literal["prefix", "full"] | None = None
    label_state: Literal["mean", "marker"] = "mean"
    case_embedding: bool = False
    space_embedding: bool = False
    full_weight_tokens: int | None = 200
    head_size: int = 128
    head_activation: Literal["none", "gelu"] = "none"
    head_dropout: float | int = 0.1
    rotary_base: float | int = 10000.0
    shared_links: bool = False
    label_drop: Literal["joint", "prob", "logit", "none"] = "joint"
    relevance_target: Literal["text", "endpoint", "span"] = "text"
    relevance_loss: Literal["balanced", "mean"] = "balanced"
    relevance_weight: float | int = 0.5
    max_fragments: int = 1
    fragment_links: Literal["as", "a2a"] = "as"
    confirm_loops: bool = True
    confirm_size: int = 128
    confirm_weight: float | int = 0.5
    threshold: float = 0.3
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.schema_attention is None:
            self.schema_attention = "prefix" if self.encoder_config.model_type in PREFIX_ENCODERS else "full"

    @property
    def reads_case_ids(self) -> bool:
        """Whether the model is told how tokens are written."""
        return self.case_embedding or self.space_embedding

    @staticmethod
    def paper_fields() -> dict[str, object]:
        """Fields of the paper-faithful setting: one sequence, marker states, eq. 15-18 as printed."""
        return {
            "schema_attention": "full",
            "label_state": "marker",
            "case_embedding": False,
            "space_embedding": False,
            "head_activation": "gelu",
            "label_drop": "logit",
            "relevance_target": "span",
            "relevance_loss": "mean",
            "relevance_weight": 1.0,
            "fragment_links": "a2a",
            "confirm_loops": False,
            "threshold": 0.5,
        }

    @classmethod
    def paper(cls, **kwargs) -> "LDNetConfig":
        """A configuration with `paper_fields`.

        Args:
            **kwargs: Fields that shall differ, `encoder_config` above all.

        Returns:
            The configuration.
        """
        return cls(**(cls.paper_fields() | kwargs))

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """The encoder's configuration: `resize_token_embeddings` must write its vocabulary size there.

        Args:
            decoder: Ask for a decoder's configuration (there is none: the whole is returned).
            encoder: Unused; part of the transformers signature.

        Returns:
            The configuration of the text encoder.
        """
        return self if decoder else self.encoder_config

    @property
    def max_text_length(self) -> int:
        """Longest token sequence that the encoder has positions for."""
        positions = getattr(self.encoder_config, "max_position_embeddings", None) or 512
        if self.encoder_config.model_type in OFFSET_POSITION_ENCODERS:
            positions -= (self.encoder_config.pad_token_id or 0) + 1
        return positions

    def validate_head(self) -> None:
        """Check the sizes of the heads."""
        if self.head_size < 2 or self.head_size % 2:
            raise ValueError(
                f"LDNetConfig: head_size is {self.head_size}; rotary angles need an even number of at least 2"
            )
        if not 0.0 <= self.head_dropout < 1.0:
            raise ValueError(f"LDNetConfig: head_dropout is {self.head_dropout}; it must lie in [0, 1)")
        if not 0.0 < self.rotary_base < math.inf:
            raise ValueError(f"LDNetConfig: rotary_base is {self.rotary_base}; it must be a positive number")
        if self.confirm_size < 1:
            raise ValueError(f"LDNetConfig: confirm_size is {self.confirm_size}; it must be at least 1")
        if self.max_fragments < 1:
            raise ValueError(f"LDNetConfig: max_fragments is {self.max_fragments}; it must be at least 1")

    def validate_scores(self) -> None:
        """Check threshold and weights."""
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"LDNetConfig: threshold is {self.threshold}; it must lie in (0, 1)")
        for name in ("relevance_weight", "confirm_weight"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"LDNetConfig: {name} is {getattr(self, name)}; it must be 0 or a positive number"
                )

    def validate_prefix(self) -> None:
        """Check that the encoder can read label blocks."""
        if self.full_weight_tokens is not None and self.full_weight_tokens < 1:
            raise ValueError(
                f"LDNetConfig: full_weight_tokens is {self.full_weight_tokens}; it must be at least 1 or None"
            )
        kind = getattr(self.encoder_config, "model_type", None)
        if self.schema_attention == "prefix" and kind is not None and kind not in PREFIX_ENCODERS:
            raise ValueError(
                f"LDNetConfig: schema_attention 'prefix' does not work with a {kind!r} encoder, only with "
                f"{', '.join(sorted(PREFIX_ENCODERS))}; use schema_attention='full'"
            )


__all__ = ["LDNetConfig"]
