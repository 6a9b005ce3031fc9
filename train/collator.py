"""Examples -> a batch for `LDNetModel`: one shared schema, gold links as index lists."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldnet.processing.alignment import TokenCase
from ldnet.processing.links import Loop, RecordLinks, encode_loops
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Label
from ldnet.train.confirmation import gold_candidates
from ldnet.train.dataset import Example, label_key
from ldnet.train.instructions import draw_instruction
from ldnet.train.label_sampling import BatchLabels, LabelSampler, rename_labels


@dataclass
class LDNetCollator:
    """Collates training examples; works with any `Trainer`.

    All texts of a batch share one schema: the labels that occur in it and other annotated labels as
    negatives. What
    is drawn depends on seed, epoch and examples only, so that a resumed run draws the same.

    Args:
        processor: Tokenises labels and lays out the text parts.
        sampler: Draws which labels a batch asks for, and which of them each text sees.
        other_names: Label name -> other names for it; see `rename_labels`.
        other_names_share: Share of the labels called by another name, in [0, 1].
        instructions: Structure -> phrasings of what is asked; see `draw_instruction`.
        instruction_share: Share of the batches with an instruction, in [0, 1].
        lower_case_share: Share of the texts shown as if written in small letters, in [0, 1], so that a model
            with `case_embedding` reads texts without capitals too.
        seed: Seed of all draws.
        epoch: Counted by the trainer.
        teacher: Gives what a `DistillationCallback` compares the student with, under the key `teacher`.
    """

    processor: LDNetProcessor
    sampler: LabelSampler = LabelSampler()
    other_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    other_names_share: float = 0.0
    instructions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    instruction_share: float = 0.0
    lower_case_share: float = 0.0
    seed: int = 0
    epoch: int = 0
    teacher: Callable[[Sequence[Example], BatchLabels], dict[str, Any]] | None = None

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Make a batch.

        Args:
            examples: Items of an `ExtractionDataset`.

        Returns:
            The arguments of `LDNetModel.forward`, `labels` included.
        """
        rng = np.random.default_rng([self.seed, self.epoch, *(example.index for example in examples)])
        chosen = self.sampler.draw(examples, rng, taught=self.teacher is not None)
        labels = rename_labels(chosen.labels, self.other_names, self.other_names_share, rng)
        # Texts share a prompt: an instruction stands in it if it is the one of all of them.
        own = {example.source.schema.instruction for example in examples}
        instruction = own.pop() if len(own) == 1 else ""
        if self.instruction_share:
            instruction = draw_instruction(labels, self.instructions, self.instruction_share, rng)
        schema = self.processor.encode_labels(labels, instruction)
        width = schema["schema_input_ids"].shape[1] if self.processor.schema_attention == "full" else 0
        batch = self.processor.encode_tokens(
            [example.tokens for example in examples], width, [example.question for example in examples]
        )
        if self.lower_case_share and "case_ids" in batch:
            drawn = torch.from_numpy(rng.random((len(examples), 1)) < self.lower_case_share)
            case = batch["case_ids"] % len(TokenCase)
            batch["case_ids"] -= torch.where(drawn, (case - TokenCase.LOWER).clamp(min=0), 0)
        gold = local_loops(examples, chosen)
        links = [encode_loops(loops, self.processor.fragment_links) for loops in gold]
        targets = self.link_targets(examples, chosen, links)
        # Teachers know labels by their own names, whatever the batch calls them.
        transfer = {} if self.teacher is None else {"teacher": self.teacher(examples, chosen)}
        return batch | schema | targets | self.candidates(gold, links, labels) | transfer

    @staticmethod
    def link_targets(
        examples: Sequence[Example], chosen: BatchLabels, links: Sequence[RecordLinks]
    ) -> dict[str, Tensor]:
        """Gold links and masks; see `LinkTargets`.

        Args:
            examples: The texts.
            chosen: The batch's labels.
            links: Gold links of each text.

        Returns:
            `labels` and the fields of the targets.
        """
        found: dict[str, list[tuple[int, int, int]]] = {"open": [], "close": [], "inside": [], "next": []}
        for text, of_text in enumerate(links):
            for name, shift in (("open", 0), ("close", 0), ("inside", 1), ("next", 1)):
                # Tokens move by one: a special token stands before every text.
                found[name] += [(text, row + shift, column + 1) for row, column in getattr(of_text, name)]
            for name in ("open", "close"):  # a class is linked with the text marker
                found[name] += [(text, label, 0) for label in of_text.classes]
        return {
            "labels": torch.ones(len(examples), dtype=torch.long),
            **{f"{k}_links": torch.tensor(v, dtype=torch.long).reshape(-1, 3) for k, v in found.items()},
            **({} if chosen.asked.all() else {"asked": torch.from_numpy(chosen.asked)}),
            "annotated": torch.from_numpy(chosen.annotated),
            "supervision": torch.tensor([example.supervision for example in examples]),
            "partial": torch.tensor([example.source.partial for example in examples]),
        }

    def candidates(
        self, gold: Sequence[list[Loop]], links: Sequence[RecordLinks], labels: Sequence[Label]
    ) -> dict[str, Tensor]:
        """Loops to learn confirmation from; see `LDNetModel.forward`."""
        found, is_gold = gold_candidates(
            gold, links, [label.mentions for label in labels], self.processor.limits
        )
        return {f"candidate_{k}": v for k, v in found._asdict().items()} | {"candidate_gold": is_gold}


def local_loops(examples: Sequence[Example], chosen: BatchLabels) -> list[list[Loop]]:
    """Gold loops of each text with the labels it is asked; those of other labels are left out."""
    found = []
    for text, example in enumerate(examples):
        keys = [(label_key(example.source.schema.labels[loop.label]), loop) for loop in example.loops]
        seen = ((chosen.position[key], loop) for key, loop in keys if chosen.sees(text, key))
        found.append([Loop(label, loop.mentions) for label, loop in seen])
    return found
