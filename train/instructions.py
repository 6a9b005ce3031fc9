"""Instructions for training batches: several phrasings of what is asked, or none."""

from collections.abc import Mapping, Sequence

import numpy as np

from ldnet.processing.schema import Label

MIXED = "mixed"
# What a label's structure belongs to, where it has phrasings of its own no more than as a part of another.
PARTS = {"roles": "events", "qualifiers": "hyper_relations"}


def draw_instruction(
    labels: Sequence[Label],
    instructions: Mapping[str, Sequence[str]],
    share: float,
    rng: np.random.Generator,
) -> str:
    """An instruction for a batch.

    Args:
        labels: What the batch asks for.
        instructions: Phrasings by structure.
        share: Share of the batches that get one, in [0, 1].
        rng: Source of the draws.

    Returns:
        A phrasing for the batch's structure, or one for several structures; `""` for none.
    """
    drawn = rng.random(2)
    structures = {PARTS.get(label.structure, label.structure) for label in labels}
    texts = instructions.get(structures.pop() if len(structures) == 1 else MIXED, ())
    return texts[int(drawn[1] * len(texts))] if texts and drawn[0] < share else ""
