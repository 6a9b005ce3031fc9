"""Examples -> a batch for `LDNetModel`: one shared schema, gold links as index lists."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ldnet.processing.alignment import TokenCase
from ldnet.processing.links import Loop, RecordLinks, encode_loops
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Label
from ldnet.processing.schema_labels import MENTIONS_OF
from ldnet.train.confirmation import gold_candidates
from ldnet.train.dataset import Example, label_key

ORDER = tuple(MENTIONS_OF)  # structures as `Schema.labels` has them


@dataclass
class LDNetCollator:
    """Collates training examples; works with any `Trainer`.

    All texts of a batch share one schema: the labels that occur in it and other annotated labels as
    negatives. What
    is drawn depends on seed, epoch and examples only, so that a resumed run draws the same.

    Args:
        processor: Tokenises labels and lays out the text parts.
        max_labels: Most labels of a batch; labels that occur are never left out for room. `None` = all.
        label_dropout: Share of the labels that a batch does not ask for, with their structures, in [0, 1).
        lower_case_share: Share of the texts shown as if written in small letters, in [0, 1], so that a model
            with `case_embedding` reads texts without capitals too.
        shuffle_labels: Whether label order is drawn anew for each batch (full attention sees the order).
        seed: Seed of all draws.
        epoch: Counted by the trainer.
    """

    processor: LDNetProcessor
    max_labels: int | None = None
    label_dropout: float = 0.0
    lower_case_share: float = 0.0
    shuffle_labels: bool = True
    seed: int = 0
    epoch: int = 0

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Make a batch.

        Args:
            examples: Items of an `ExtractionDataset`.

        Returns:
            The arguments of `LDNetModel.forward`, `labels` included.
        """
        rng = np.random.default_rng([self.seed, self.epoch, *(example.index for example in examples)])
        labels = self.choose_labels(examples, rng)
        position = {label_key(label): i for i, label in enumerate(labels)}
        schema = self.processor.encode_labels(labels)
        width = schema["schema_input_ids"].shape[1] if self.processor.schema_attention == "full" else 0
        batch = self.processor.encode_tokens(
            [example.tokens for example in examples], width, [example.question for example in examples]
        )
        if self.lower_case_share and "case_ids" in batch:
            drawn = torch.from_numpy(rng.random((len(examples), 1)) < self.lower_case_share)
            batch["case_ids"] = torch.where(
                drawn, batch["case_ids"].clamp(max=TokenCase.LOWER), batch["case_ids"]
            )
        gold = local_loops(examples, position)
        links = [encode_loops(loops, self.processor.fragment_links) for loops in gold]
        targets = self.link_targets(examples, position, links)
        return batch | schema | targets | self.candidates(gold, links, labels)

    def choose_labels(self, examples: Sequence[Example], rng: np.random.Generator) -> list[Label]:
        """Labels of the batch: those that occur and a draw of the other annotated ones."""
        candidates: dict[tuple[int, str], Label] = {}
        occurring: set[tuple[int, str]] = set()
        for example in examples:
            labels = example.source.schema.labels
            candidates.update((label_key(labels[i]), labels[i]) for i in example.annotated)
            occurring.update(label_key(labels[loop.label]) for loop in example.loops)
        keys = [key for key in candidates if rng.random() >= self.label_dropout] or list(candidates)
        if self.max_labels is not None and len(keys) > self.max_labels:
            absent = [key for key in keys if key not in occurring]
            present = [key for key in keys if key in occurring]
            drawn = rng.permutation(len(absent))[: max(0, self.max_labels - len(present))]
            keys = present + [absent[i] for i in sorted(drawn)]
        # Shuffled within their structure only: at inference too a schema's structures follow each other.
        order = rng.permutation(len(keys)) if self.shuffle_labels else range(len(keys))
        return sorted((candidates[keys[i]] for i in order), key=lambda label: ORDER.index(label.structure))

    @staticmethod
    def link_targets(
        examples: Sequence[Example], position: dict[tuple[int, str], int], links: Sequence[RecordLinks]
    ) -> dict[str, Tensor]:
        """Gold links and masks; see `LinkTargets`.

        Args:
            examples: The texts.
            position: Label key -> index in the batch's labels.
            links: Gold links of each text.

        Returns:
            `labels` and the fields of the targets.
        """
        found: dict[str, list[tuple[int, int, int]]] = {"open": [], "close": [], "inside": [], "next": []}
        annotated = torch.zeros((len(examples), len(position)), dtype=torch.bool)
        for text, (example, of_text) in enumerate(zip(examples, links, strict=True)):
            keys = (label_key(example.source.schema.labels[i]) for i in example.annotated)
            annotated[text, [position[key] for key in keys if key in position]] = True
            for name, shift in (("open", 0), ("close", 0), ("inside", 1), ("next", 1)):
                # Tokens move by one: a special token stands before every text.
                found[name] += [(text, row + shift, column + 1) for row, column in getattr(of_text, name)]
            for name in ("open", "close"):  # a class is linked with the text marker
                found[name] += [(text, label, 0) for label in of_text.classes]
        return {
            "labels": torch.ones(len(examples), dtype=torch.long),
            **{f"{k}_links": torch.tensor(v, dtype=torch.long).reshape(-1, 3) for k, v in found.items()},
            "annotated": annotated,
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


def local_loops(examples: Sequence[Example], position: dict[tuple[int, str], int]) -> list[list[Loop]]:
    """Gold loops of each text with the labels of the batch; those of other labels are left out."""
    found = []
    for example in examples:
        labels = example.source.schema.labels
        keys = [(label_key(labels[loop.label]), loop) for loop in example.loops]
        found.append([Loop(position[key], loop.mentions) for key, loop in keys if key in position])
    return found
