"""LDNetProcessor: texts and a schema -> tensors, and the model's links -> results."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, BatchFeature, ProcessorMixin

from .hub_ldnet import RemoteCodeMixin
from .alignment import TextTokens, TokenCase, case_ids_of, trim_offsets
from .calibration import Calibration
from .extraction import assemble_result, decode_batch
from .links import LoopLimits
from .prompt import Marker, Prompt, SpecialIds, build_blocks, build_prompt, pack_rows
from .schema import Label, Schema
from .windows import Window

SPECIALS_AROUND_TEXT = 2  # [CLS] or [TL] before, [SEP] behind


class LDNetProcessor(RemoteCodeMixin, ProcessorMixin):
    """Tokenizer with marker tokens, prompt layout and decoding: everything around the model's tensors.

    Args:
        tokenizer: A fast tokenizer that knows the marker tokens (see `from_tokenizer`).
        schema_attention: `"prefix"` or `"full"`, as in the model's configuration.
        max_length: Longest token sequence that the encoder has positions for.
        max_fragments: Most fragments of a mention, as in the model's configuration.
        fragment_links: `"as"` or `"a2a"`, as in the model's configuration.
        threshold: Default probability above which structures are kept.
        confirm_threshold, confirm_from: Which closed loops are judged as a whole; see `LoopLimits`.
        overlap: What results keep of entities and triggers at the same tokens; see `resolve_overlaps`.
        window_length: Tokens of a window: longer texts are read in several; what texts of the training had;
            `None` = what the encoder has room for.
        window_unit: `"paragraph"` or `"sentence"`: windows of longer texts never read beyond it.
        case_ids: Tell the model how each token is written, as `reads_case_ids` of its configuration says.
        calibration: What `ldnet calibrate` fitted: the plain form of a `Calibration`; `None` = raw scores.
        chat_template: Unused; part of the transformers signature.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        schema_attention: str = "prefix",
        max_length: int = 512,
        max_fragments: int = 1,
        fragment_links: str = "as",
        threshold: float = 0.5,
        window_length: int | None = None,
        window_unit: str = "paragraph",
        case_ids: bool = False,
        calibration: dict[str, Any] | None = None,
        confirm_threshold: float = 0.5,
        confirm_from: int = 1,
        overlap: str = "nested",
        chat_template: str | None = None,
    ):
        self.schema_attention = schema_attention
        self.max_length = max_length
        self.max_fragments, self.fragment_links = max_fragments, fragment_links
        self.threshold, self.overlap = threshold, overlap
        self.confirm_threshold, self.confirm_from = confirm_threshold, confirm_from
        self.window_length, self.window_unit = window_length, window_unit
        self.case_ids = case_ids
        self.calibration = None if calibration is None else Calibration.from_dict(calibration).to_dict()
        super().__init__(tokenizer, chat_template=chat_template)

    @classmethod
    def from_tokenizer(cls, name_or_path: str, **options: Any) -> "LDNetProcessor":
        """A processor from any fast tokenizer; marker tokens are added.

        Args:
            name_or_path: Hub id or folder of a tokenizer.
            **options: Arguments of `LDNetProcessor`.

        Returns:
            The processor.

        Raises:
            ValueError: If there is only a slow tokenizer (it gives no character offsets).
        """
        tokenizer = AutoTokenizer.from_pretrained(name_or_path)
        if not tokenizer.is_fast:
            raise ValueError(
                f"{name_or_path}: the tokenizer is a slow one without character offsets; use a fast one"
            )
        tokenizer.add_special_tokens({"additional_special_tokens": [str(marker) for marker in Marker]})
        return cls(tokenizer, **options)

    @classmethod
    def for_config(cls, name_or_path: str, config: Any) -> "LDNetProcessor":
        """A processor that fits a model's configuration.

        Args:
            name_or_path: Hub id or folder of the encoder's tokenizer.
            config: An `LDNetConfig`.

        Returns:
            The processor.
        """
        return cls.from_tokenizer(
            name_or_path,
            schema_attention=config.schema_attention,
            max_length=config.max_text_length,
            max_fragments=config.max_fragments,
            fragment_links=config.fragment_links,
            threshold=config.threshold,
            case_ids=config.reads_case_ids,
        )

    def save_pretrained(self, save_directory: str, *args: Any, **kwargs: Any) -> Any:
        """Save without the truncation and padding state that every call leaves in a fast tokenizer."""
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.backend_tokenizer.no_padding()
        return super().save_pretrained(save_directory, *args, **kwargs)

    @property
    def limits(self) -> LoopLimits:
        """How loops may run."""
        names = ("max_fragments", "fragment_links", "confirm_threshold", "confirm_from")
        return LoopLimits(**{name: getattr(self, name) for name in names})

    @property
    def special_ids(self) -> SpecialIds:
        """Ids that prompts and text parts are built with."""
        tokenizer = self.tokenizer
        start = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        return SpecialIds(start, end, {m: tokenizer.convert_tokens_to_ids(str(m)) for m in Marker})

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return self._encode(texts, return_offsets_mapping=False)["input_ids"]

    def _encode(self, texts: list[str], **options: Any) -> Any:
        return self.tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=True,  # a literal "[LM]" in a text is text
            return_attention_mask=False,
            return_token_type_ids=False,
            truncation=False,
            padding=False,
            verbose=False,
            **options,
        )

    def tokenize_texts(self, texts: Sequence[str]) -> list[TextTokens]:
        """Tokens with character offsets, without special tokens.

        Args:
            texts: Texts of any length.

        Returns:
            One `TextTokens` a text.
        """
        if not texts:
            return []
        encoded = self._encode(list(texts), return_offsets_mapping=True)
        return [
            self._text_tokens(*item)
            for item in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]

    def _text_tokens(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> TextTokens:
        starts, ends = trim_offsets(text, offsets)
        return TextTokens(ids, starts, ends, case_ids_of(text, starts, ends) if self.case_ids else ())

    def build_prompt(self, labels: Sequence[Label], instruction: str = "") -> Prompt:
        """Labels as tokens in the layout of `schema_attention`."""
        build = build_blocks if self.schema_attention == "prefix" else build_prompt
        return build(tuple(labels), instruction, self._tokenize, self.special_ids)

    def encode_schema(self, schema: Any) -> dict[str, torch.Tensor]:
        """A schema as the model's `schema_*` tensors; see `LDNetModel.encode_schema`.

        Args:
            schema: Anything that `Schema.from_any` reads.

        Returns:
            The six tensors.

        Raises:
            SchemaError: If the schema is not valid.
            ValueError: If a label block or the prompt is longer than the encoder's positions.
        """
        schema = Schema.from_any(schema)
        return self.encode_labels(schema.labels, schema.instruction)

    def encode_labels(self, labels: Sequence[Label], instruction: str = "") -> dict[str, torch.Tensor]:
        """Labels of one schema or of several as the model's `schema_*` tensors; see `encode_schema`."""
        prompt = self.build_prompt(labels, instruction)
        self._check_prompt(prompt, labels)
        ids, mask = self._pad(prompt.rows, self.tokenizer.pad_token_id)
        owners, _ = self._pad(prompt.owners, -1)
        return {
            "schema_input_ids": ids,
            "schema_attention_mask": mask,
            "schema_blocks": owners,
            "schema_markers": torch.tensor(prompt.markers, dtype=torch.long).reshape(-1, 2),
            "schema_kinds": torch.tensor(prompt.kinds, dtype=torch.long),
            "schema_mentions": torch.tensor(max((max(label.mentions) for label in labels), default=0)),
        }

    def _check_prompt(self, prompt: Prompt, labels: Sequence[Label]) -> None:
        longest = max(range(len(prompt.rows)), key=lambda i: len(prompt.rows[i]))
        length = len(prompt.rows[longest])
        if self.schema_attention == "full" and length + SPECIALS_AROUND_TEXT >= self.max_length:
            raise ValueError(
                f"schema: its {len(labels)} labels make a prompt of {length} tokens, which leaves no "
                f"room for a text (the encoder has {self.max_length} positions); ask for fewer labels at a "
                "time, or use a model with schema_attention='prefix'"
            )
        if length > self.max_length:
            name = labels[longest].name if longest < len(labels) else "instruction"
            raise ValueError(
                f"schema: {name!r} with its description has {length} tokens; at most {self.max_length} are "
                "possible; shorten it"
            )

    def room_for(self, schema: Schema, question: TextTokens | None = None) -> int:
        """Tokens that a text may have beside a schema and a question."""
        full = self.schema_attention == "full"
        prompt = len(self.build_prompt(schema.labels, schema.instruction).rows[0]) if full else 0
        return self.room_beside(prompt, question)

    def room_beside(self, prompt_length: int, question: TextTokens | None = None) -> int:
        """Tokens that a text may have beside a prompt (none in prefix attention) and a question."""
        behind = 0 if question is None else len(question) + 1
        return self.max_length - SPECIALS_AROUND_TEXT - prompt_length - behind

    @staticmethod
    def _pad(rows: list[list[int]], value: int) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, rows))
        ids = np.full((len(rows), width), value, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def encode_tokens(
        self,
        tokens: Sequence[TextTokens],
        prompt_length: int = 0,
        questions: Sequence[TextTokens | None] = (),
    ) -> dict[str, torch.Tensor]:
        """Text parts of a batch as tensors: `[CLS] text [SEP]`, then `question [SEP]` where there is one.

        Args:
            tokens: Tokens of each text.
            prompt_length: Tokens of the prompt that stands before every text (full attention).
            questions: Tokens of the question about each text; empty = no questions.

        Returns:
            `input_ids`, `attention_mask`, `token_mask` and, if the model is told, `case_ids`, each `(B, L)`;
            token i of a text stands at i + 1.

        Raises:
            ValueError: If a text does not fit the encoder's positions (nothing is cut in silence).
        """
        ids = self.special_ids
        asked = list(questions) or [None] * len(tokens)
        self._check_room(tokens, asked, prompt_length)
        first = ids.start if self.schema_attention == "prefix" else ids.markers[Marker.TEXT]
        rows = [
            [first, *t.input_ids, ids.end] + ([*q.input_ids, ids.end] if q is not None else [])
            for t, q in zip(tokens, asked, strict=True)
        ]
        input_ids, mask = self._pad(rows, self.tokenizer.pad_token_id)
        token_mask = np.zeros(input_ids.shape, dtype=bool)
        for i, t in enumerate(tokens):
            token_mask[i, 1 : len(t) + 1] = np.less(t.start_chars, t.end_chars)
        tensors = {"input_ids": input_ids, "attention_mask": mask, "token_mask": torch.from_numpy(token_mask)}
        if self.case_ids:
            none = TokenCase.NONE
            cases = [
                [none, *t.case_ids, none] + ([*q.case_ids, none] if q is not None else [])
                for t, q in zip(tokens, asked, strict=True)
            ]
            tensors["case_ids"], _ = self._pad(cases, none)
        return tensors

    def _check_room(
        self, tokens: Sequence[TextTokens], questions: Sequence[TextTokens | None], prompt_length: int
    ) -> None:
        for index, (text, question) in enumerate(zip(tokens, questions, strict=True)):
            room = self.room_beside(prompt_length, question)
            if len(text) > room:
                raise ValueError(
                    f"text {index} of the batch: it has {len(text)} tokens, but the encoder has room for "
                    f"{room} beside prompt and question; split it into shorter texts, for instance sentences"
                )

    def __call__(self, text: str | Sequence[str], schema: Any = None, **kwargs: Any) -> BatchFeature:
        """Tensors for `LDNetModel.forward`.

        Args:
            text: One text or several.
            schema: Anything that `Schema.from_any` reads.
            **kwargs: `return_tensors` may be `"pt"`; nothing else is known.

        Returns:
            Text tensors `(B, L)` and schema tensors.

        Raises:
            ValueError: If a text is not a string, does not fit the encoder, or the schema is not valid.
            TypeError: If an argument is unknown.
        """
        if unknown := sorted(set(kwargs) - {"return_tensors"}):
            raise TypeError(
                f"LDNetProcessor: unknown arguments {unknown}; known are text, schema, return_tensors"
            )
        texts = check_texts([text] if isinstance(text, str) else list(text))
        schema = Schema.from_any(schema)
        schema_tensors = self.encode_schema(schema)
        width = schema_tensors["schema_input_ids"].shape[1] if self.schema_attention == "full" else 0
        questions = [] if schema.question is None else self.tokenize_texts([schema.question]) * len(texts)
        tokens = self.tokenize_texts(texts)
        return BatchFeature({**self.encode_tokens(tokens, width, questions), **schema_tensors})

    def post_process_extraction(
        self,
        outputs: Any,
        texts: Sequence[str],
        schema: Any,
        *,
        tokens: Sequence[TextTokens] | None = None,
        threshold: float | None = None,
        overlap: str | None = None,
    ) -> list[dict]:
        """Results of a batch from the model's links.

        Args:
            outputs: What the model returned (its `links` are read).
            texts: The texts of the batch.
            schema: The schema of the batch.
            tokens: Their tokens, if at hand (else they are tokenised again).
            threshold: Probability that every link of a structure (with a calibration: its score) must exceed;
                the schema's own label thresholds stand above it, the processor's default below.
            overlap: `"nested"`, `"one_type"` or `"flat"`; the processor's default by default.

        Returns:
            One result a text: the record format's keys plus `text` and `score`, and `truncated`.
        """
        schema = Schema.from_any(schema)
        tokens = self.tokenize_texts(texts) if tokens is None else tokens
        thresholds = self.label_thresholds(schema, threshold)
        decoded = decode_batch(outputs, len(texts), schema, self.limits, thresholds)
        last = overlap or self.overlap, self.calibrator(threshold)
        return [
            assemble_result(text, its, schema, thresholds, [Window(0, len(its))], [[found]], *last)
            for text, its, found in zip(texts, tokens, decoded, strict=True)
        ]

    def calibrator(self, threshold: float | None = None) -> Callable[..., dict] | None:
        """`Calibration.apply` under a threshold that a caller asked for; `None` without a calibration."""
        if self.calibration is None:
            return None
        return partial(Calibration.from_dict(self.calibration).apply, threshold=threshold)

    def label_rows(self, schema: Schema) -> list[list[int]]:
        """Label ids that are asked for together: all with prefix attention, else what half a prompt holds."""
        prompt = self.build_prompt(schema.labels, schema.instruction)
        return pack_rows(prompt, self.max_length // 2) if self.schema_attention == "full" else [prompt.labels]

    def label_thresholds(self, schema: Schema, threshold: float | None = None) -> list[float]:
        """Threshold of each label's links: the schema's own, else the given one, else the processor's."""
        default = self.threshold if threshold is None else threshold
        if not 0.0 < default < 1.0:
            raise ValueError(
                f"threshold: {default} is not a probability between 0 and 1; use for instance 0.5"
            )
        if self.calibration is not None:
            return Calibration.from_dict(self.calibration).link_thresholds(schema, threshold, default)
        return [default if label.threshold is None else label.threshold for label in schema.labels]


def check_texts(texts: list) -> list[str]:
    """The texts, if all of them are strings.

    Args:
        texts: What a caller gave.

    Returns:
        The same list.

    Raises:
        ValueError: Naming the first that is not a string.
    """
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"text {i}: {text!r:.60} is a {type(text).__name__}, not a string; give strings")
    return texts


__all__ = ["LDNetProcessor"]
