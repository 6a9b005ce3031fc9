"""Instructions for training batches: several phrasings of what is asked, or none."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from ldnet.processing.schema import Label

DEFAULT_INSTRUCTIONS = Path(__file__).parent / "configs" / "instructions.yaml"
MIXED = "mixed"
# What a label's structure belongs to, where it has phrasings of its own no more than as a part of another.
PARTS = {"roles": "events", "qualifiers": "hyper_relations"}


def load_instructions(path: str) -> dict[str, list[str]]:
    """Read phrasings.

    Args:
        path: YAML file: structure, or `mixed`, -> phrasings; `"default"`: the package's.

    Returns:
        The phrasings.

    Raises:
        ValueError: If the file holds anything else.
    """
    file = DEFAULT_INSTRUCTIONS if path == "default" else Path(path)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({str(error).splitlines()[0]}); mend the file") from error
    if not isinstance(content, dict) or not all(
        isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in content.values()
    ):
        raise ValueError(
            f"{path}: instructions are lists of texts by structure, as in 'entities: [Find ...]'"
        )
    return content


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
