"""`pipeline("universal-ie")`: texts in any iterable and a schema in, results in the same order out."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import Pipeline

from .hub_ldnet import RemotePipelineMixin
from .processing_ldnet import check_texts
from .results import OVERLAP_POLICIES
from .schema import Schema

LOOK_AHEAD = 32  # batches read ahead and sorted by length
CACHED_SCHEMAS = 8
PROGRESS_FROM = 1000  # texts; less is over before a bar helps
MAX_PADDED_TOKENS = 16_384  # of a batch, so that a few long texts do not take the memory of many


class UniversalIEPipeline(RemotePipelineMixin, Pipeline):
    """Universal information extraction.

    ```python
    pipe = pipeline("universal-ie", model=folder, trust_remote_code=True)
    pipe("Tim Cook leads Apple.", schema={"entities": ["person", "organization"], "relations": ["works for"]})
    ```

    One text gives one result, a list gives a list, any other iterable (a generator, a `datasets.Dataset`
    column) gives an iterator that reads a bounded number of texts ahead. Label states are computed once a
    schema.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_feature_extractor = False

    def __init__(self, *args: Any, **kwargs: Any):
        self._schema_cache: dict[Schema, Any] = {}
        super().__init__(*args, **kwargs)

    def _sanitize_parameters(
        self,
        schema: Any = None,
        threshold: float | None = None,
        overlap: str | None = None,
        progress: bool | None = None,
        **kwargs: Any,
    ) -> tuple[dict, dict, dict]:
        kwargs.pop("local_files_only", None)  # pipeline() forwards it to the class
        if kwargs:
            raise TypeError(
                f"universal-ie: unknown arguments {sorted(kwargs)}; known are schema, threshold, overlap, "
                "batch_size and progress"
            )
        if overlap is not None and overlap not in OVERLAP_POLICIES:
            raise ValueError(
                f"overlap: {overlap!r} is unknown; use one of {', '.join(map(repr, OVERLAP_POLICIES))}"
            )
        shared = {} if schema is None else {"schema": Schema.from_any(schema)}
        forward = {} if threshold is None else {"threshold": threshold}
        post = forward | ({} if overlap is None else {"overlap": overlap})
        return shared | ({} if progress is None else {"progress": progress}), forward | shared, post | shared

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Extract from texts.

        Args:
            inputs: A text, a list of texts, or any iterable of texts.
            batch_size: Texts of a batch, 16 by default; batches are sorted by length, order is kept.
            **kwargs: `schema` (anything that `Schema.from_any` reads), `threshold`, `overlap` (`"nested"` or
                `"flat"`), `progress` (a bar; by itself from 1,000 texts on).

        Returns:
            A result, a list of results, or an iterator of results.

        Raises:
            SchemaError: If there is no valid schema.
            ValueError: If a text is not a string or does not fit the encoder.
        """
        preprocess, forward, post = self._sanitize_parameters(**kwargs)
        preprocess = {**self._preprocess_params, **preprocess}
        options = {**self._forward_params, **self._postprocess_params, **forward, **post}
        options.pop("schema", None)
        schema = preprocess.get("schema")
        if schema is None:
            raise ValueError(
                "schema: none is given; pass schema=['person', 'organization'] or another schema"
            )
        size = batch_size or self._batch_size or 16
        if size < 1:
            raise ValueError(f"batch_size: {size} is not possible; use 1 or more")
        schema.require_supported()
        if isinstance(inputs, str):
            return next(self._stream([inputs], schema, 1, options))
        if isinstance(inputs, list | tuple):
            show = preprocess.get("progress", len(inputs) >= PROGRESS_FROM)
            results = self._stream(check_texts(list(inputs)), schema, size, options)
            return list(tqdm(results, total=len(inputs), disable=not show, unit="text"))
        if not isinstance(inputs, Iterable) or isinstance(inputs, Mapping | bytes):
            kind = type(inputs).__name__
            raise ValueError(f"inputs: {inputs!r:.60} is a {kind}; give a text or an iterable of texts")
        results = self._stream(inputs, schema, size, options)
        return tqdm(results, unit="text") if preprocess.get("progress") else results

    def _stream(self, texts: Iterable[str], schema: Schema, batch_size: int, options: dict) -> Iterator[dict]:
        """Results in order; a bounded number of texts is read ahead and batched by length."""
        source = iter(texts)
        seen = 0
        while ahead := list(islice(source, batch_size * LOOK_AHEAD)):
            self._check(ahead, seen)
            tokens = self.processor.tokenize_texts(ahead)
            self._check_lengths([len(t) for t in tokens], schema, seen)
            results: list[dict | None] = [None] * len(ahead)
            for batch in self._batches([len(t) for t in tokens], batch_size):
                found = self._extract([ahead[i] for i in batch], [tokens[i] for i in batch], schema, options)
                for i, result in zip(batch, found, strict=True):
                    results[i] = result
            yield from results
            seen += len(ahead)

    @staticmethod
    def _check(texts: list, seen: int) -> None:
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(
                    f"text {seen + i}: {text!r:.60} is a {type(text).__name__}, not a string; give strings"
                )

    def _check_lengths(self, lengths: list[int], schema: Schema, seen: int) -> None:
        """Name a text that does not fit by its place in the input: batches are sorted by length."""
        self._schema_inputs(schema)  # a prompt without room for any text is the schema's fault
        room = self.processor.room_for(schema)
        for i, length in enumerate(lengths):
            if length > room:
                raise ValueError(
                    f"text {seen + i}: it has {length} tokens, but the encoder has room for {room} with this "
                    "schema; split it into shorter texts, for instance sentences"
                )

    @staticmethod
    def _batches(lengths: list[int], batch_size: int) -> Iterator[list[int]]:
        """Indices of texts of like length, long ones in smaller batches."""
        batch: list[int] = []
        for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
            if batch and (len(batch) == batch_size or (len(batch) + 1) * lengths[i] > MAX_PADDED_TOKENS):
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _extract(self, texts: list[str], tokens: list, schema: Schema, options: dict) -> list[dict]:
        inputs = self.preprocess(texts, schema=schema, tokens=tokens)
        outputs = self.forward(
            inputs, **{k: v for k, v in options.items() if k == "threshold"}, schema=schema
        )
        return self.postprocess(outputs, schema=schema, **options)

    def preprocess(self, texts: list[str], schema: Schema, tokens: list | None = None) -> dict[str, Any]:
        """Tensors of a batch of texts; texts and tokens are carried along."""
        tokens = self.processor.tokenize_texts(texts) if tokens is None else tokens
        prompt = self._schema_inputs(schema)
        width = prompt["schema_input_ids"].shape[1] if self.processor.schema_attention == "full" else 0
        return {"texts": texts, "tokens": tokens, **self.processor.encode_tokens(tokens, width)}

    def _schema_inputs(self, schema: Schema) -> dict[str, Any]:
        """The schema's tensors, made once and kept for the last few schemas."""
        if schema not in self._schema_cache:
            while len(self._schema_cache) >= CACHED_SCHEMAS:
                self._schema_cache.pop(next(iter(self._schema_cache)))
            self._schema_cache[schema] = self.processor.encode_schema(schema)
        return self._schema_cache[schema]

    def _forward(
        self, model_inputs: dict[str, Any], schema: Schema, threshold: float | None = None
    ) -> dict[str, Any]:
        """Links of a batch; label states are computed once a schema (prefix attention)."""
        carried = {"texts": model_inputs.pop("texts"), "tokens": model_inputs.pop("tokens")}
        prompt = self._schema_inputs(schema)
        if self.processor.schema_attention == "prefix" and "schema_states" not in prompt:
            tensors = {name: tensor.to(self.device) for name, tensor in prompt.items()}
            prompt["schema_states"] = self.model.encode_schema(**tensors)
        if "schema_states" in prompt:
            model_inputs["schema_states"] = prompt["schema_states"]
        else:
            model_inputs |= {name: tensor.to(self.device) for name, tensor in prompt.items()}
        cut = min(self.processor.label_thresholds(schema, threshold), default=0.5)
        return {"links": self.model(**model_inputs, threshold=cut).links, **carried}

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        schema: Schema,
        threshold: float | None = None,
        overlap: str = "nested",
    ) -> list[dict]:
        """Results of a batch."""
        return self.processor.post_process_extraction(
            _Links(model_outputs["links"]),
            model_outputs["texts"],
            schema,
            tokens=model_outputs["tokens"],
            threshold=threshold,
            overlap=overlap,
        )

    def _ensure_tensor_on_device(self, inputs: Any, device: torch.device) -> Any:
        """Move tensors; what is no tensor (links, texts) is carried as it is."""
        if isinstance(inputs, dict):
            return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
        return inputs


class _Links:
    """What `post_process_extraction` reads of a model's output."""

    def __init__(self, links: Any):
        self.links = links


__all__ = ["UniversalIEPipeline"]
