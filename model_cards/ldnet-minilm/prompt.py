"""Prompts (App. A.1, A.2): markers, label blocks for prefix attention, one sequence for full attention."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .schema import Label, LabelKind


class Marker(StrEnum):
    """Marker tokens of the prompt; one special token each."""

    INSTRUCTION = "[I]"
    MENTION = "[LM]"
    RELATION = "[LR]"
    CLASS = "[LC]"
    TEXT = "[TL]"
    TEXT_SPANS = "[TP]"
    TEXT_CLASS = "[B]"


MARKER_OF_KIND = {
    LabelKind.MENTION: Marker.MENTION,
    LabelKind.RELATION: Marker.RELATION,
    LabelKind.CLASS: Marker.CLASS,
    LabelKind.SPAN: Marker.TEXT_SPANS,
}
# What the model takes a label for: to it an answer is a mention under another marker.
MODEL_KIND = {LabelKind.SPAN: LabelKind.MENTION}


def model_kinds(labels: tuple[Label, ...]) -> list[int]:
    """Kind of each label as the model knows it."""
    return [int(MODEL_KIND.get(label.kind, label.kind)) for label in labels]


@dataclass(frozen=True)
class SpecialIds:
    """Token ids that prompts are built with.

    Args:
        start: `[CLS]` or its like.
        end: `[SEP]` or its like.
        markers: Id of each marker.
    """

    start: int
    end: int
    markers: dict[Marker, int]


@dataclass(frozen=True)
class Prompt:
    """A schema as tokens: label blocks, one a row, or one row for the whole prompt.

    Args:
        rows: Token ids.
        owners: Label of each token, -1 for none; same shape as `rows`.
        markers: Row and column of each label's marker.
        kinds: Kind of each label.
    """

    rows: list[list[int]]
    owners: list[list[int]]
    markers: list[tuple[int, int]]
    kinds: list[int]

    @property
    def labels(self) -> list[int]:
        """Ids of the labels."""
        return list(range(len(self.kinds)))


def build_blocks(
    labels: tuple[Label, ...],
    instruction: str,
    tokenize: Callable[[list[str]], list[list[int]]],
    ids: SpecialIds,
) -> Prompt:
    """Label blocks `[LM] words [SEP]` for prefix attention; an instruction is a last block without a label.

    Args:
        labels: Labels in the order of their ids.
        instruction: Free text; may be empty.
        tokenize: Texts -> token ids without special tokens, markers in them read as ordinary characters.
        ids: Special token ids.

    Returns:
        One row a block. An empty schema gives one row without labels.
    """
    words = tokenize([label.text for label in labels]) if labels else []
    rows = [
        [ids.markers[MARKER_OF_KIND[label.kind]], *w, ids.end] for label, w in zip(labels, words, strict=True)
    ]
    owners = [[i] * len(row) for i, row in enumerate(rows)]
    if instruction or not labels:
        row = [ids.markers[Marker.INSTRUCTION], *tokenize([instruction])[0], ids.end]
        rows.append(row)
        owners.append([-1] * len(row))
    return Prompt(rows, owners, [(i, 0) for i in range(len(labels))], model_kinds(labels))


def build_prompt(
    labels: tuple[Label, ...],
    instruction: str,
    tokenize: Callable[[list[str]], list[list[int]]],
    ids: SpecialIds,
) -> Prompt:
    """One prompt `[CLS] [I] instruction [LM] person [LR] works for` for full attention (the paper).

    Args:
        labels: Labels in the order of their ids.
        instruction: Free text; may be empty.
        tokenize: Texts -> token ids without special tokens, markers in them read as ordinary characters.
        ids: Special token ids.

    Returns:
        One row; the text part with its marker follows it in the sequence.
    """
    row = [ids.start, ids.markers[Marker.INSTRUCTION], *(tokenize([instruction])[0] if instruction else [])]
    owner, markers = [-1] * len(row), []
    words = tokenize([label.text for label in labels]) if labels else []
    for i, (label, block) in enumerate(zip(labels, words, strict=True)):
        markers.append((0, len(row)))
        row += [ids.markers[MARKER_OF_KIND[label.kind]], *block]
        owner += [i] * (len(block) + 1)
    return Prompt([row], [owner], markers, model_kinds(labels))


def pack_rows(prompt: Prompt, budget: int) -> list[list[int]]:
    """Labels that are asked for together with full attention: as many, in their order, as a budget holds.

    Args:
        prompt: The prompt of all labels.
        budget: Tokens that a prompt may have; the first label of a row is taken whatever its length.

    Returns:
        Label ids of each row; one row where everything fits.
    """
    length = len(prompt.rows[0])
    if length <= budget or not prompt.markers:
        return [prompt.labels]
    starts = [column for _, column in prompt.markers]
    rows: list[list[int]] = []
    used = budget
    for label, (start, end) in enumerate(zip(starts, [*starts[1:], length], strict=True)):
        if used + end - start > budget:
            rows.append([])
            used = starts[0]  # the instruction stands in front of every row
        rows[-1].append(label)
        used += end - start
    return rows
