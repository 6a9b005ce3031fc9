"""Teachers as training sees them, and those that run in the loop; `stored_teacher` has the stored ones.

A teacher has two sides. In the collator it is called with examples and labels of a batch and gives tensors
(targets); beside the model `probabilities` makes dense matrices of this batch from them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ldnet.heads import LinkScores
from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.alignment import TextTokens, case_ids_of
from ldnet.processing.links import LoopLimits
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Label
from ldnet.train.dataset import Example, label_key
from ldnet.train.label_sampling import BatchLabels
from ldnet.train.link_probabilities import (
    CLASS_KIND,
    joins_fragments,
    kinds_of,
    link_log_odds,
    lower_triangle,
)
from ldnet.train.teacher_store import tokenizer_fingerprint


class TeacherError(ValueError):
    """A teacher that cannot teach this student or these texts, one line a problem."""

    @property
    def problems(self) -> list[str]:
        """The lines."""
        return str(self).splitlines()


class Teacher(Protocol):
    """What `LDNetCollator` and `DistillationCallback` need of a teacher.

    Args:
        lower: Whether AS has cells below the diagonal (fragment links) that teacher and student both know.
    """

    lower: bool

    def check(self, examples: Sequence[Example]) -> None:
        """Raise `TeacherError` if it cannot teach what is trained on."""

    def prepare(self, device: torch.device, dtype: torch.dtype | None) -> None:
        """Move to where the student is; `dtype` = the type of autocast."""

    def __call__(self, examples: Sequence[Example], chosen: BatchLabels) -> dict[str, Any]:
        """Targets of a batch; see `masks_of`."""

    def probabilities(self, targets: dict[str, Any], shapes: Sequence[torch.Size]) -> LinkScores:
        """Dense probabilities of a batch in the given shapes."""


def check_student(
    fingerprint: str, limits: LoopLimits, processor: LDNetProcessor, name: str, student: str = "the student"
) -> None:
    """Refuse a teacher whose cells mean something else than the student's.

    Args:
        fingerprint: Of the teacher's tokenizer.
        limits: Of the teacher.
        processor: Of the student.
        name: What the teacher is called.
        student: What the student is called.

    Raises:
        TeacherError: If the tokenizers differ, or A2A carries fragment links for one of them only.
    """
    if fingerprint != tokenizer_fingerprint(processor.tokenizer):
        raise TeacherError(
            f"{name}: its tokenizer is not that of {student}, so its tokens are others; use a teacher with "
            "the same vocabulary, or a student on the same kind of encoder"
        )
    if joins_fragments(limits) != joins_fragments(processor.limits):
        joined = "fragments" if joins_fragments(limits) else "mentions only"
        raise TeacherError(
            f"{name}: its A2A links join {joined}, those of "
            f"{student} do not agree; choose max_fragments and fragment_links of both alike"
        )


def masks_of(
    examples: Sequence[Example], chosen: BatchLabels, limits: LoopLimits, found: Iterable[bool]
) -> dict[str, Any]:
    """Which cells a teacher says something about.

    Args:
        examples: Texts of a batch.
        chosen: Labels of the batch.
        limits: How loops may run.
        found: Whether each text has a teacher.

    Returns:
        `found` `(B,)`: texts that have a teacher; `label_mask` `(B, M)`: labels of its source that each sees;
        `kinds`
        `(B, 3)`: link kinds that these labels need.
    """
    asked = torch.zeros((len(examples), len(chosen.labels)), dtype=torch.bool)
    for text, example in enumerate(examples):
        own = (label_key(label) for label in example.source.schema.labels)
        asked[text, [chosen.position[key] for key in own if chosen.sees(text, key)]] = True
    kinds = [kinds_of(example.source.schema.labels, limits) for example in examples]
    return {
        "found": torch.tensor(list(found), dtype=torch.bool),
        "label_mask": asked,
        "kinds": torch.tensor(kinds, dtype=torch.bool),
    }


class TeacherModels:
    """Checkpoints that judge texts together: the mean of their probabilities.

    Args:
        models: The models.
        processors: Their processors, with tokenizers that agree.
        names: What errors call them.
    """

    def __init__(
        self, models: Sequence[LDNetModel], processors: Sequence[LDNetProcessor], names: Sequence[str]
    ):
        if not models:
            raise TeacherError("teachers: none is named; name at least one checkpoint")
        self.models = [model.eval().requires_grad_(False) for model in models]
        self.processors, self.names = list(processors), list(names)
        self.fingerprint = tokenizer_fingerprint(processors[0].tokenizer)
        for processor, name in zip(processors[1:], names[1:], strict=True):
            check_student(self.fingerprint, processors[0].limits, processor, names[0], name)
        # What one of them does not know, their mean does not tell.
        self.limits = min((p.limits for p in processors), key=lambda limits: limits.max_fragments)
        self.dtype: torch.dtype | None = None

    def prepare(self, device: torch.device, dtype: torch.dtype | None) -> None:
        """Move the models; `dtype` = type of autocast, `None` = none."""
        self.dtype = dtype
        for model in self.models:
            model.to(device)

    def room(self, labels: Sequence[Label], instruction: str = "") -> int:
        """Tokens that a text may have for all of them beside a prompt."""
        full = [processor.schema_attention == "full" for processor in self.processors]
        return min(
            p.room_beside(len(p.build_prompt(labels, instruction).rows[0]) if whole else 0)
            for p, whole in zip(self.processors, full, strict=True)
        )

    def inputs(
        self,
        texts: Sequence[str],
        tokens: Sequence[TextTokens],
        questions: Sequence[TextTokens | None],
        labels: Sequence[Label],
        instruction: str = "",
        asked: Tensor | None = None,
    ) -> list[dict[str, Tensor]]:
        """What each model is called with.

        Args:
            texts: Texts as they are written, for the case of their tokens.
            tokens: Their tokens, all or those of a window.
            questions: Tokens of the question about each text, with their case.
            labels: What is asked.
            instruction: Stands in front of the labels.
            asked (`torch.BoolTensor` of shape `(B, M)`): Which labels each text sees; `None` = all.

        Returns:
            A batch a model; all have `token_mask` `(B, L)` in common.
        """
        batches = []
        for processor in self.processors:
            schema = processor.encode_labels(labels, instruction)
            width = schema["schema_input_ids"].shape[1] if processor.schema_attention == "full" else 0
            own = [with_case(*item) for item in zip(texts, tokens, strict=True)]
            seen = {} if asked is None or asked.all() else {"asked": asked}
            batches.append(processor.encode_tokens(own, width, questions) | schema | seen)
        return batches

    @torch.no_grad()
    def probabilities(self, inputs: Sequence[dict[str, Tensor]]) -> LinkScores:
        """Mean of the gated link probabilities.

        Args:
            inputs: What `inputs` gave, on the device of the models.

        Returns:
            Dense probabilities in float32, cells that are not legal included.
        """
        total: list[Tensor] = []
        device = self.models[0].device
        for model, batch in zip(self.models, inputs, strict=True):
            with torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype is not None):
                output = model(**batch, return_logits=True, threshold=0.999)
            is_class = batch["schema_kinds"] == CLASS_KIND
            odds = link_log_odds(output.link_logits, output.relevance_logits, model.config, is_class)
            shares = [torch.sigmoid(score) / len(self.models) for score in odds]
            total = [a + b for a, b in zip(total, shares, strict=True)] if total else shares
        return LinkScores(*total)


def with_case(text: str, tokens: TextTokens) -> TextTokens:
    """The tokens with their case, which a student on another kind of encoder may not be told."""
    if tokens.case_ids:
        return tokens
    return replace(tokens, case_ids=case_ids_of(text, tokens.start_chars, tokens.end_chars))


def question_of(example: Example) -> TextTokens | None:
    """Tokens of the question about a text, with their case."""
    return None if example.question is None else with_case(example.record["question"], example.question)


class LiveTeacher:
    """Teacher models in the loop: they judge the texts of every batch with the batch's own labels.

    A text is asked the labels of its own source that the batch shows it. Teachers see it as it is written,
    even where the student is not told the case of its letters.

    Args:
        models: The teachers.
        processor: The student's.
    """

    def __init__(self, models: TeacherModels, processor: LDNetProcessor):
        check_student(models.fingerprint, models.limits, processor, models.names[0])
        self.models, self.processor = models, processor
        self.lower = lower_triangle(models.limits) and lower_triangle(processor.limits)

    def check(self, examples: Sequence[Example]) -> None:
        """Raise `TeacherError` if a text does not fit the teachers beside the schema of its source."""
        room = {id(x.source): self.models.room(x.source.schema.labels) for x in examples}
        long = [x for x in examples if _length(x) > room[id(x.source)]]
        if long:
            raise TeacherError(
                f"{self.models.names[0]}: {len(long)} of {len(examples)} texts do not fit it beside the "
                f"labels, the longest has {max(map(_length, long))} tokens; use a stored teacher, which "
                "reads in windows"
            )

    def prepare(self, device: torch.device, dtype: torch.dtype | None) -> None:
        """Move the models to the student's device."""
        self.models.prepare(device, dtype)

    def __call__(self, examples: Sequence[Example], chosen: BatchLabels) -> dict[str, Any]:
        """Masks and what each teacher is called with."""
        masks = masks_of(examples, chosen, self.processor.limits, [True] * len(examples))
        inputs = self.models.inputs(
            [example.record["text"] for example in examples],
            [example.tokens for example in examples],
            [question_of(example) for example in examples],
            chosen.labels,
            asked=masks["label_mask"],
        )
        return masks | {"inputs": inputs}

    def probabilities(self, targets: dict[str, Any], shapes: Sequence[torch.Size]) -> LinkScores:
        """Run the teachers on a batch."""
        return self.models.probabilities(targets["inputs"])


def _length(example: Example) -> int:
    return len(example.tokens) + (0 if example.question is None else len(example.question) + 1)
