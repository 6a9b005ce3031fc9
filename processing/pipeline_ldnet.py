"""`pipeline("universal-ie")`: texts in any iterable and a schema in, results in the same order out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import Pipeline

from ldnet.hub_ldnet import RemotePipelineMixin
from ldnet.processing.alignment import TextTokens
from ldnet.processing.extraction import Decoded, assemble_result, decode_batch
from ldnet.processing.results import OVERLAP_POLICIES
from ldnet.processing.schema import Schema
from ldnet.processing.schema_cache import cached_schema_states
from ldnet.processing.windows import UNITS, Window, plan_windows

LOOK_AHEAD = 32  # batches read ahead and sorted by length
CACHED_SCHEMAS = 8
PROGRESS_FROM = 1000  # texts; less is over before a bar helps
MAX_PADDED_TOKENS = 16_384  # of a batch, so that a few long texts do not take the memory of many
TRUNCATIONS = ("window", "error")
OPTIONS = ("threshold", "overlap", "window", "window_overlap", "window_unit", "truncation", "schema_cache")


@dataclass
class _Text:
    """A text on its way through the model: its windows and what each of them gave so far."""

    text: str
    tokens: TextTokens
    question: TextTokens | None
    schema: Schema
    windows: list[Window]
    rows: list[list[Decoded | None]]
    missing: int


@dataclass(frozen=True)
class _Piece:
    """One pass: a window of a text under a row of labels."""

    text: _Text
    window: int
    row: int
    tokens: TextTokens = field(repr=False)

    @property
    def length(self) -> int:
        question = self.text.question
        return len(self.tokens) + (0 if question is None else len(question))


class UniversalIEPipeline(RemotePipelineMixin, Pipeline):
    """Universal information extraction.

    ```python
    pipe = pipeline("universal-ie", model=folder, trust_remote_code=True)
    pipe("Tim Cook leads Apple.", schema={"entities": ["person", "organization"], "relations": ["works for"]})
    ```

    One text gives one result, a list gives a list, any other iterable (a generator, a `datasets.Dataset`
    column) gives an iterator that reads a bounded number of texts ahead. Label states are computed once a
    schema. A text that is longer than the encoder is read in overlapping windows.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_feature_extractor = False

    def __init__(self, *args: Any, **kwargs: Any):
        self._schema_cache: dict[Schema, list[dict[str, Any]]] = {}
        super().__init__(*args, **kwargs)

    def _sanitize_parameters(
        self, schema: Any = None, progress: bool | None = None, **kwargs: Any
    ) -> tuple[dict, dict, dict]:
        kwargs.pop("local_files_only", None)  # pipeline() forwards it to the class
        if unknown := sorted(set(kwargs) - set(OPTIONS)):
            raise TypeError(
                f"universal-ie: unknown arguments {unknown}; known are schema, batch_size, progress, "
                f"{', '.join(OPTIONS)}"
            )
        for name, allowed in (
            ("overlap", OVERLAP_POLICIES),
            ("window_unit", UNITS),
            ("truncation", TRUNCATIONS),
        ):
            if kwargs.get(name) is not None and kwargs[name] not in allowed:
                choices = ", ".join(map(repr, allowed))
                raise ValueError(f"{name}: {kwargs[name]!r} is unknown; use one of {choices}")
        shared = {} if schema is None else {"schema": Schema.from_any(schema)}
        options = {name: value for name, value in kwargs.items() if value is not None}
        return shared | options | ({} if progress is None else {"progress": progress}), {}, {}

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Extract from texts.

        Args:
            inputs: A text, a list of texts, or any iterable of texts. Instead of a text a dict with `text`
                and `question` asks its own question, where the schema asks one.
            batch_size: Windows of a batch, 16 by default; batches are sorted by length, order is kept.
            **kwargs: `schema` (anything that `Schema.from_any` reads), `threshold`, `overlap` (`"nested"`,
                `"one_type"` or `"flat"`), `window` and `window_overlap` (in tokens), `window_unit`
                (`"paragraph"` or `"sentence"`), `truncation` (`"window"`, or `"error"`
                to refuse long texts), `progress` (a bar; by itself from 1,000 texts on), `schema_cache` (a
                file that keeps the label states of one schema from one process to the next).

        Returns:
            A result, a list of results, or an iterator of results.

        Raises:
            SchemaError: If there is no valid schema.
            ValueError: If a text is not a string, or does not fit and must not be split.
        """
        options, _, _ = self._sanitize_parameters(**kwargs)
        options = {**self._preprocess_params, **options}
        schema, progress = options.pop("schema", None), options.pop("progress", None)
        if schema is None:
            raise ValueError(
                "schema: none is given; pass schema=['person', 'organization'] or another schema"
            )
        size = batch_size or self._batch_size or 16
        if size < 1:
            raise ValueError(f"batch_size: {size} is not possible; use 1 or more")
        if isinstance(inputs, str | Mapping):
            return next(self._stream([inputs], schema, size, options))
        if isinstance(inputs, list | tuple):
            for i, item in enumerate(inputs):
                check_input(item, i, schema)
            show = len(inputs) >= PROGRESS_FROM if progress is None else progress
            results = self._stream(inputs, schema, size, options)
            return list(tqdm(results, total=len(inputs), disable=not show, unit="text"))
        if not isinstance(inputs, Iterable) or isinstance(inputs, bytes):
            kind = type(inputs).__name__
            raise ValueError(f"inputs: {inputs!r:.60} is a {kind}; give a text or an iterable of texts")
        results = self._stream(inputs, schema, size, options)
        return tqdm(results, unit="text") if progress else results

    def _stream(
        self, inputs: Iterable[Any], schema: Schema, batch_size: int, options: dict
    ) -> Iterator[dict]:
        """Results in order; a bounded number of windows is read ahead and batched by length."""
        if options.get("schema_cache") is not None:
            self._read_states(schema, str(options["schema_cache"]))
        thresholds = self.processor.label_thresholds(schema, options.get("threshold"))
        calibrate = self.processor.calibrator(options.get("threshold"))
        last = {"overlap": options.get("overlap", self.processor.overlap), "calibrate": calibrate}
        texts: deque[_Text] = deque()
        pieces: list[_Piece] = []
        for text in self._read(inputs, batch_size, schema, options):
            texts.append(text)
            for piece in _pieces_of(text):
                pieces.append(piece)
                if len(pieces) == batch_size * LOOK_AHEAD:
                    self._run(pieces, batch_size, schema, thresholds)
                    pieces = []
            while texts and not texts[0].missing:
                yield self.postprocess(texts.popleft(), thresholds=thresholds, **last)
        self._run(pieces, batch_size, schema, thresholds)
        yield from (self.postprocess(text, thresholds=thresholds, **last) for text in texts)

    def _read(self, inputs: Iterable[Any], at_once: int, schema: Schema, options: dict) -> Iterator[_Text]:
        """Texts with their tokens and windows, tokenised a few at once."""
        source, seen = iter(inputs), 0
        while items := list(islice(source, at_once)):
            checked = [check_input(item, seen + i, schema) for i, item in enumerate(items)]
            tokenized = self.processor.tokenize_texts([text for text, _ in checked])
            for (text, asked), tokens in zip(checked, tokenized, strict=True):
                try:
                    own = schema if asked is None else replace(schema, question=asked)
                    yield self._plan(text, tokens, own, options)
                except ValueError as error:
                    raise ValueError(f"text {seen}: {error}") from None
                seen += 1

    def _plan(self, text: str, tokens: TextTokens, schema: Schema, options: dict) -> _Text:
        question = None
        if schema.question is not None:
            question = self.processor.tokenize_texts([schema.question])[0]
        inputs = self._schema_inputs(schema)
        room = min(self.processor.room_beside(row["prompt_length"], question) for row in inputs)
        windows = plan_windows(
            text,
            tokens,
            room,
            options.get("window", self.processor.window_length),
            options.get("window_overlap"),
            options.get("window_unit", self.processor.window_unit),
            options.get("truncation", "window"),
        )
        rows: list[list[Decoded | None]] = [[None] * len(windows) for _ in inputs]
        return _Text(text, tokens, question, schema, windows, rows, len(windows) * len(inputs))

    def _run(self, pieces: list[_Piece], batch_size: int, schema: Schema, thresholds: list[float]) -> None:
        """Fill in what the pieces give, in batches of like length under one label row."""
        for batch in _batches(pieces, batch_size):
            inputs = self.preprocess(batch)
            outputs = self.forward(inputs, schema=schema, threshold=min(thresholds, default=0.5))
            row = self._schema_inputs(schema)[batch[0].row]["labels"]
            limits = self.processor.limits
            found = decode_batch(outputs["outputs"], len(batch), schema, limits, thresholds, row)
            for piece, decoded in zip(batch, found, strict=True):
                piece.text.rows[piece.row][piece.window] = decoded
                piece.text.missing -= 1

    def _schema_inputs(self, schema: Schema) -> list[dict[str, Any]]:
        """Tensors of each label row, made once and kept for the last few schemas."""
        key = schema if schema.question is None else replace(schema, question="?")  # not part of the prompt
        if key not in self._schema_cache:
            while len(self._schema_cache) >= CACHED_SCHEMAS:
                self._schema_cache.pop(next(iter(self._schema_cache)))
            self._schema_cache[key] = [self._row_inputs(key, row) for row in self.processor.label_rows(key)]
        return self._schema_cache[key]

    def _read_states(self, schema: Schema, path: str) -> None:
        """Take the label states of a schema from a file, or compute and store them there."""
        if self.processor.schema_attention == "full":
            raise ValueError(
                "schema_cache: a model with schema_attention='full' reads the labels with every text and has "
                "nothing to keep; leave it out"
            )
        (row,) = self._schema_inputs(schema)
        if row["labels"] and row.get("states_file") != path:
            tensors = {name: tensor.to(self.device) for name, tensor in row["tensors"].items()}
            row |= {"states": cached_schema_states(path, self.model, tensors), "states_file": path}

    def _row_inputs(self, schema: Schema, row: list[int]) -> dict[str, Any]:
        tensors = self.processor.encode_labels([schema.labels[i] for i in row], schema.instruction)
        full = self.processor.schema_attention == "full"
        width = tensors["schema_input_ids"].shape[1] if full else 0
        return {"labels": row, "prompt_length": width, "tensors": tensors}

    def preprocess(self, pieces: list[_Piece]) -> dict[str, Any]:
        """Tensors of a batch of pieces of one label row."""
        row = self._schema_inputs(pieces[0].text.schema)[pieces[0].row]
        tokens = [piece.tokens for piece in pieces]
        questions = [piece.text.question for piece in pieces]
        return {"row": pieces[0].row, **self.processor.encode_tokens(tokens, row["prompt_length"], questions)}

    def _forward(self, model_inputs: dict[str, Any], schema: Schema, threshold: float) -> dict[str, Any]:
        """Links of a batch; label states are computed once a schema (prefix attention)."""
        row = self._schema_inputs(schema)[model_inputs.pop("row")]
        if self.processor.schema_attention == "prefix" and "states" not in row:
            tensors = {name: tensor.to(self.device) for name, tensor in row["tensors"].items()}
            row["states"] = self.model.encode_schema(**tensors)
        if "states" in row:
            model_inputs["schema_states"] = row["states"]
        else:
            model_inputs |= {name: tensor.to(self.device) for name, tensor in row["tensors"].items()}
        return {"outputs": _Found(self.model(**model_inputs, threshold=threshold))}

    def postprocess(
        self,
        text: _Text,
        thresholds: list[float],
        overlap: str = "nested",
        calibrate: Callable[..., dict] | None = None,
    ) -> dict:
        """The result of a text whose pieces were all read; `calibrate` is the processor's `calibrator`."""
        return assemble_result(
            text.text, text.tokens, text.schema, thresholds, text.windows, text.rows, overlap, calibrate
        )

    def _ensure_tensor_on_device(self, inputs: Any, device: torch.device) -> Any:
        """Move tensors; what is no tensor (links, a row's number) is carried as it is."""
        if isinstance(inputs, dict):
            return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
        return inputs


class _Found:
    """What decoding reads of a model's output; no dict, so that `Pipeline` does not look into it."""

    def __init__(self, outputs: Any):
        self.links, self.loop_states = outputs.links, outputs.loop_states


def check_input(item: Any, index: int, schema: Schema) -> tuple[str, str | None]:
    """Text and own question of an input.

    Args:
        item: What the user gave: a string, or a dict with `text` and `question`.
        index: Its place among the inputs.
        schema: What is asked for.

    Returns:
        The text, and the question that it brings.

    Raises:
        ValueError: Naming the input that cannot be read.
    """
    text, question = item, None
    if isinstance(item, Mapping):
        text, question = item.get("text"), item.get("question")
        if question is not None and schema.question is None:
            raise ValueError(
                f"text {index}: it brings the question {question!r:.60}, but the schema asks none; add "
                "a question to the schema (any text), or leave this one out"
            )
    for name, value in (("text", text), ("question", question)):
        if not isinstance(value, str) and not (name == "question" and value is None):
            raise ValueError(
                f"text {index}: {value!r:.60} is a {type(value).__name__}, not a string; give strings, or "
                "dicts with 'text' and 'question'"
            )
    return text, question


def _pieces_of(text: _Text) -> Iterator[_Piece]:
    for i, window in enumerate(text.windows):
        tokens = window.tokens_of(text.tokens)
        yield from (_Piece(text, i, row, tokens) for row in range(len(text.rows)))


def _batches(pieces: list[_Piece], batch_size: int) -> Iterator[list[_Piece]]:
    """Pieces of like length and the same label row, long ones in smaller batches."""
    batch: list[_Piece] = []
    for piece in sorted(pieces, key=lambda piece: (piece.row, piece.length)):
        full = len(batch) == batch_size or (len(batch) + 1) * piece.length > MAX_PADDED_TOKENS
        if batch and (full or batch[0].row != piece.row):
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


__all__ = ["UniversalIEPipeline"]
