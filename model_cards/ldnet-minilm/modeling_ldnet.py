"""LDNet: one encoder, three token-pair matrices gated by label drop (arXiv 2502.12614).

Shapes in comments: B texts, L tokens of the text part, P tokens of a prompt, M labels, N tokens of a label
block,
H encoder width, D head size.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from .base_ldnet import LDNetPreTrainedModel, pooler_kwargs
from .configuration_ldnet import LDNetConfig
from .confirmation import Candidates, ConfirmationHead, LoopStates, confirmation_loss
from .heads import Gates, LinkHead, LinkQueries, LinkScores, RelevanceHead, dense_scores, gate_scores
from .losses import (
    CLASS_KIND,
    LinkTargets,
    link_loss,
    relevance_loss,
    relevance_targets,
    share_token_links,
)
from .output_ldnet import LDNetOutput
from .pruning import LoopShape, sparse_links
from .schema_attention import SchemaStates, asked_tokens, encode_blocks, prefix_implementation

NUM_LABEL_KINDS = 3  # [LM], [LR], [LC]
NUM_CASES = 5  # none, lower, Title, UPPER, MiXed


class LDNetModel(LDNetPreTrainedModel):
    """Encoder with the link heads (eq. 9-11) and the relevance head (eq. 15): what `AutoModel` gives."""

    def __init__(self, config: LDNetConfig):
        super().__init__(config)
        encoder_config = config.encoder_config
        if config.schema_attention == "prefix":
            encoder_config._attn_implementation = prefix_implementation(encoder_config._attn_implementation)
        self.encoder = AutoModel.from_config(encoder_config, **pooler_kwargs(encoder_config))
        self.kind_embedding = nn.Embedding(NUM_LABEL_KINDS, encoder_config.hidden_size)
        if config.case_embedding:
            self.case_embedding = nn.Embedding(NUM_CASES, encoder_config.hidden_size, padding_idx=0)
        if config.space_embedding:
            self.space_embedding = nn.Embedding(2, encoder_config.hidden_size, padding_idx=0)
        self.link_head = LinkHead(config)
        self.relevance_head = RelevanceHead(config)
        if config.confirm_loops:
            self.confirmation_head = ConfirmationHead(config)
        # Links of a training batch -> further candidates; `LDNetTrainer` sets it.
        self.propose_loops: Callable[..., tuple[Candidates, Tensor]] | None = None
        self.post_init()

    @classmethod
    def from_encoder(cls, name_or_path: str, **config_kwargs: object) -> "LDNetModel":
        """A pretrained encoder with fresh heads.

        Args:
            name_or_path: Hub id or folder of any encoder that `AutoModel` loads.
            **config_kwargs: Fields of `LDNetConfig`.

        Returns:
            The model, in float32.

        Raises:
            ValueError: If weights of the encoder are missing in the checkpoint.
        """
        encoder_config = AutoConfig.from_pretrained(name_or_path)
        encoder, info = AutoModel.from_pretrained(
            name_or_path, output_loading_info=True, dtype=torch.float32, **pooler_kwargs(encoder_config)
        )
        if lost := [*info["missing_keys"], *info["mismatched_keys"]]:
            raise ValueError(
                f"{name_or_path}: encoder weights are missing or of another shape: {list(map(str, lost))[:5]}"
                "; use a complete checkpoint"
            )
        encoder.config._name_or_path = ""  # or the path of this machine is written into config.json
        model = cls(cls.config_class(encoder_config=encoder.config, **config_kwargs))
        model.encoder.load_state_dict(encoder.state_dict(), strict=True)
        return model

    def encode_schema(
        self,
        schema_input_ids: Tensor,
        schema_attention_mask: Tensor,
        schema_blocks: Tensor,
        schema_markers: Tensor,
        schema_kinds: Tensor,
        schema_mentions: Tensor,
    ) -> SchemaStates:
        """Encode label blocks once; the result serves every text (prefix attention).

        Args:
            schema_input_ids (`torch.LongTensor` of shape `(blocks, N)`): A label block or instruction a row.
            schema_attention_mask (`torch.LongTensor` of shape `(blocks, N)`): 1 on real tokens.
            schema_blocks (`torch.LongTensor` of shape `(blocks, N)`): Label of each token, -1 for none.
            schema_markers (`torch.LongTensor` of shape `(M, 2)`): Row and column of each label's marker.
            schema_kinds (`torch.LongTensor` of shape `(M,)`): Kind of each label.
            schema_mentions (`torch.LongTensor` of shape `()`): Mentions of the longest loop (3: qualifiers).

        Returns:
            States of the labels, to be given to `forward` as `schema_states`.
        """
        hidden, cache = encode_blocks(
            self.encoder, schema_input_ids, schema_attention_mask, self.config.full_weight_tokens
        )
        with torch.autocast(hidden.device.type, enabled=False):
            states = self._label_states(hidden.float(), schema_blocks, schema_markers, schema_kinds)
            projected = self.link_head.project_labels(states)
        return SchemaStates(states, schema_kinds, int(schema_mentions), cache.for_reading(), projected)

    def _label_states(self, hidden: Tensor, blocks: Tensor, markers: Tensor, kinds: Tensor) -> Tensor:
        """Label states from prompt states `(..., N, H)`: the mean of a block or its marker's state."""
        if self.config.label_state == "marker":
            states = hidden[..., markers[:, 0], markers[:, 1], :]
        else:
            flat, owner = hidden.flatten(-3, -2), blocks.flatten()
            share = (owner[None] == torch.arange(len(kinds), device=owner.device)[:, None]).to(flat.dtype)
            states = (share / share.sum(1, keepdim=True).clamp(min=1)) @ flat  # (..., M, H)
        return states + self.kind_embedding(kinds)

    def _token_inputs(self, input_ids: Tensor, case_ids: Tensor | None) -> dict[str, Tensor]:
        """The encoder's token input: ids, or embeddings that say how each token is written."""
        if not self.config.reads_case_ids:
            return {"input_ids": input_ids}
        if case_ids is None:
            raise ValueError("LDNetModel: case_ids are missing; the processor makes them with case_ids=True")
        embeddings = self.get_input_embeddings()(input_ids)
        if self.config.case_embedding:
            embeddings = embeddings + self.case_embedding(case_ids % NUM_CASES)
        if self.config.space_embedding:
            embeddings = embeddings + self.space_embedding(case_ids // NUM_CASES)
        return {"inputs_embeds": embeddings}

    def _encode_full(
        self, input_ids: Tensor, attention_mask: Tensor, case_ids: Tensor | None, schema: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Prompt and text as one sequence (the paper): text states (B, L, H), label states (B, M, H)."""
        prompt = schema["schema_input_ids"].expand(len(input_ids), -1)  # (B, P)
        width = prompt.shape[1]
        mask = schema["schema_attention_mask"].expand(len(input_ids), -1)
        if case_ids is not None:
            case_ids = torch.cat([torch.zeros_like(prompt), case_ids], dim=1)
        hidden = self.encoder(
            **self._token_inputs(torch.cat([prompt, input_ids], dim=1), case_ids),
            attention_mask=torch.cat([mask, attention_mask], dim=1),
        ).last_hidden_state.float()
        with torch.autocast(hidden.device.type, enabled=False):
            states = self._label_states(
                hidden[:, None, :width],
                schema["schema_blocks"],
                schema["schema_markers"],
                schema["schema_kinds"],
            )
        return hidden[:, width:], states

    def _encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        case_ids: Tensor | None,
        schema: dict[str, Tensor | None],
        schema_states: SchemaStates | None,
        asked: Tensor | None,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Text states (B, L, H), label states and their TA projections."""
        if self.config.schema_attention == "full":
            if asked is not None:
                schema = {**schema, "schema_attention_mask": asked_tokens(asked, **schema)}
            text_states, states = self._encode_full(input_ids, attention_mask, case_ids, schema)
            with torch.autocast(text_states.device.type, enabled=False):
                return text_states, states, self.link_head.project_labels(states)
        if schema_states is None:
            schema_states = self.encode_schema(**schema)
        cache = schema_states.cache
        if asked is not None:
            keep = cache.keep.flatten()
            cache = cache.for_reading(asked_tokens(asked, **schema).bool()[:, keep])
        text_states = self.encoder(
            **self._token_inputs(input_ids, case_ids),
            attention_mask=attention_mask,
            prefix_cache=cache,
        ).last_hidden_state.float()
        return text_states, schema_states.states, schema_states.projected

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_mask: Tensor,
        case_ids: Tensor | None = None,
        schema_input_ids: Tensor | None = None,
        schema_attention_mask: Tensor | None = None,
        schema_blocks: Tensor | None = None,
        schema_markers: Tensor | None = None,
        schema_kinds: Tensor | None = None,
        schema_mentions: Tensor | None = None,
        schema_states: SchemaStates | None = None,
        labels: Tensor | None = None,
        open_links: Tensor | None = None,
        close_links: Tensor | None = None,
        inside_links: Tensor | None = None,
        next_links: Tensor | None = None,
        asked: Tensor | None = None,
        annotated: Tensor | None = None,
        supervision: Tensor | None = None,
        partial: Tensor | None = None,
        candidate_text: Tensor | None = None,
        candidate_label: Tensor | None = None,
        candidate_pieces: Tensor | None = None,
        candidate_gold: Tensor | None = None,
        threshold: float | None = None,
        return_logits: bool = False,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: object,
    ) -> LDNetOutput:
        """Links of a batch of texts under one schema; a loss instead when `labels` are given.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, L)`): Text parts as `LDNetProcessor` makes them.
            attention_mask (`torch.LongTensor` of shape `(B, L)`): 1 on real tokens.
            token_mask (`torch.BoolTensor` of shape `(B, L)`): True on tokens that can bound a span.
            case_ids (`torch.LongTensor` of shape `(B, L)`): How each token is written (0 none, 1 lower,
                2 Title, 3 UPPER, 4 MiXed; 5 more without a space before it), if `config.reads_case_ids`.
            schema_input_ids: Label blocks `(blocks, N)` or one prompt `(1, P)`; see `encode_schema`.
            schema_attention_mask: 1 on real tokens of the schema.
            schema_blocks: Label of each schema token, -1 for none.
            schema_markers: Row and column of each label's marker, `(M, 2)`.
            schema_kinds: Kind of each label, `(M,)`.
            schema_mentions: Mentions of the longest loop, `()`.
            schema_states: What `encode_schema` returned, instead of the six tensors before (prefix only).
            labels (`torch.LongTensor` of shape `(B,)`): 1 for a supervised text, -100 for one to leave out.
                Asks for the loss, which needs the seven fields of `LinkTargets` that follow.
            open_links: See `LinkTargets`.
            close_links: See `LinkTargets`.
            inside_links: See `LinkTargets`.
            next_links: See `LinkTargets`.
            asked (`torch.BoolTensor` of shape `(B, M)`): Which labels of the schema each text sees, in
                training; all by default.
            annotated: `label_mask` of `LinkTargets`.
            supervision: See `LinkTargets`.
            partial: See `LinkTargets`.
            candidate_text: See `Candidates`; loops to learn confirmation from, with `confirm_loops`.
            candidate_label: See `Candidates`.
            candidate_pieces: See `Candidates`.
            candidate_gold (`torch.BoolTensor` of shape `(n,)`): Whether each candidate is a structure.
            threshold: Probability above which links are returned; the configuration's by default.
            return_logits: Also return the dense matrices.
            num_items_in_batch: Texts in all micro-batches of a step, by which the loss, a sum, is divided.
            **kwargs: Ignored; the Trainer may pass more.

        Returns:
            `LDNetOutput`.

        Raises:
            ValueError: If the states are not finite.
        """
        schema = {
            "schema_input_ids": schema_input_ids,
            "schema_attention_mask": schema_attention_mask,
            "schema_blocks": schema_blocks,
            "schema_markers": schema_markers,
            "schema_kinds": schema_kinds,
            "schema_mentions": schema_mentions,
        }
        text_states, label_states, projected = self._encode(
            input_ids, attention_mask, case_ids, schema, schema_states, asked
        )
        if schema_states is not None:
            schema_kinds, schema_mentions = schema_states.kinds, schema_states.mentions
        is_class = schema_kinds == CLASS_KIND
        targets = None
        if labels is not None:
            targets = LinkTargets(
                open_links, close_links, inside_links, next_links,
                annotated, schema_kinds, token_mask, supervision, partial,
            )  # fmt: skip
        # Sums over thousands of cells and close decisions: the heads stay in float32 under autocast.
        with torch.autocast(text_states.device.type, enabled=False):
            queries = self.link_head(text_states, projected)
            gates = self.relevance_head(text_states, label_states)
            output = LDNetOutput()
            if self.config.confirm_loops:
                output.loop_states = self.confirmation_head(text_states, label_states)
            if targets is not None:
                self._add_loss(output, queries, gates, targets, labels, num_items_in_batch)
                if self.config.confirm_loops and candidate_text is not None:
                    candidates = Candidates(candidate_text, candidate_label, candidate_pieces)
                    own = candidates, candidate_gold
                    if self.propose_loops is not None:
                        shape = self.loop_shape(is_class, int(schema_mentions))
                        with torch.no_grad():
                            links = sparse_links(queries, gates, token_mask, shape)
                        own = self.propose_loops(links, schema_kinds, shape.mentions, annotated, *own)
                    counted = (labels != -100).float()
                    self._add_confirmation_loss(output, own, counted, num_items_in_batch)
            else:
                self._check_finite(queries, gates, output.loop_states, attention_mask)
                shape = self.loop_shape(is_class, int(schema_mentions), threshold)
                output.links = sparse_links(queries, gates, token_mask, shape)
            if return_logits:
                output.link_logits = self._gated(queries, gates, is_class)
                output.relevance_logits = gates
                output.last_hidden_state = text_states
        return output

    def loop_shape(self, is_class: Tensor, mentions: int, threshold: float | None = None) -> LoopShape:
        """How loops run under this configuration.

        Args:
            is_class (`torch.BoolTensor` of shape `(M,)`): True for class labels.
            mentions: Mentions of the longest loop.
            threshold: Probability above which links are kept; the configuration's by default.

        Returns:
            The shape that `sparse_links` and `dense_links` take.
        """
        return LoopShape(
            is_class=is_class,
            mentions=mentions,
            max_fragments=self.config.max_fragments,
            fragment_links=self.config.fragment_links,
            threshold=self.config.threshold if threshold is None else threshold,
            label_drop=self.config.label_drop,
            close_by_marker=self.relevance_head.gates_markers,
        )

    def _gated(self, queries: LinkQueries, gates: Gates, is_class: Tensor) -> LinkScores:
        by_marker = self.relevance_head.gates_markers
        return gate_scores(dense_scores(queries), gates, self.config.label_drop, by_marker, is_class)

    def _check_finite(
        self, queries: LinkQueries, gates: Gates, loops: LoopStates | None, attention_mask: Tensor
    ) -> None:
        of_label, of_token = (
            torch.stack([torch.isfinite(states).all(-1) for states in part]).all(0)
            for part in (queries[:2], queries[2:])
        )
        if loops is not None:
            of_label = of_label & torch.isfinite(loops.label).all(-1) & torch.isfinite(loops.bias)
            of_token = of_token & torch.isfinite(loops.start + loops.end).flatten(2).all(-1)
        for name, gate in gates._asdict().items():
            if name == "close" and self.relevance_head.gates_markers:
                of_label = of_label & torch.isfinite(gate)
            else:
                of_token = of_token & torch.isfinite(gate)
        finite = (of_token | ~attention_mask.bool()).all(1) & of_label.all(-1)  # (B,)
        if not bool(finite.all()):
            texts = (~finite).nonzero().flatten().tolist()
            raise ValueError(
                f"LDNetModel: the states of texts {texts[:5]} of the batch are NaN or infinite, so no score "
                "can be trusted; the weights are damaged or overflow in this precision: load them in float32"
            )

    def _add_loss(
        self,
        output: LDNetOutput,
        queries: LinkQueries,
        gates: Gates,
        targets: LinkTargets,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None,
    ) -> None:
        """Write loss (eq. 12-14 and 17) into the output."""
        config, by_marker = self.config, self.relevance_head.gates_markers
        # "joint" trains the gated logit; the other forms train score and relevance side by side (eq. 18).
        joint = config.label_drop == "joint"
        scores = self._gated(queries, gates, targets.kinds == CLASS_KIND) if joint else dense_scores(queries)
        counted = (labels != -100).float()
        items = counted.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        lower = config.max_fragments > 1 and config.fragment_links == "as"
        linked = share_token_links(targets) if config.shared_links else targets
        output.link_loss = (link_loss(scores, linked, lower) * counted).sum() / items
        output.loss = output.link_loss
        if config.label_drop == "none":
            return
        gold = relevance_targets(targets, config.relevance_target, config.shared_links)
        losses = relevance_loss(gates, gold, targets, config.relevance_loss, by_marker)
        output.relevance_loss = (losses * counted).sum() / items
        output.loss = output.link_loss + config.relevance_weight * output.relevance_loss

    def _add_confirmation_loss(
        self,
        output: LDNetOutput,
        own: tuple[Candidates, Tensor],
        counted: Tensor,
        num_items_in_batch: Tensor | int | None,
    ) -> None:
        items = counted.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        losses = confirmation_loss(output.loop_states, *own, len(counted))
        output.confirmation_loss = (losses * counted).sum() / items
        output.loss = output.loss + self.config.confirm_weight * output.confirmation_loss
        output.loop_states = None


__all__ = ["LDNetConfig", "LDNetModel", "LDNetOutput", "LDNetPreTrainedModel"]
