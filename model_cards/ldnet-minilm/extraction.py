"""The model's links -> results: decoding of every window and label row, and putting them together."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .confirmation import Candidates, LoopStates, score_candidates
from .alignment import TextTokens
from .calibration import without_ends
from .extraction_result import ExtractionResult
from .links import Loop, LoopLimits, RecordLinks, class_loops, decode_links
from .results import build_result
from .schema import Schema
from .windows import Window, merge_loops

DEFAULT_LIMITS = LoopLimits()


@dataclass
class Decoded:
    """What one pass over a window found.

    Args:
        loops: Structures over mentions, in tokens of the window and labels of the whole schema.
        classes: Probability of each class label that the pass asked for.
        truncated: Whether decoding stopped at its step limit.
    """

    loops: list[Loop]
    classes: dict[int, float]
    truncated: bool


def split_links(links: Any, batch_size: int, row: Sequence[int] | None = None) -> list[RecordLinks]:
    """Links of a batch as one `RecordLinks` a text, in token indices without the leading special token.

    Args:
        links: The model's `SparseLinks`.
        batch_size: Number of texts.
        row: Ids in the whole schema of the labels that were asked for; `None` = all of them.

    Returns:
        Links with probabilities.
    """
    split = [RecordLinks() for _ in range(batch_size)]
    for name in ("open", "close", "inside", "next"):
        of_label = name in ("open", "close")
        index = getattr(links, name).cpu().tolist()
        probs = torch.sigmoid(getattr(links, f"{name}_logits").double()).cpu().tolist()
        for (text, first, column), prob in zip(index, probs, strict=True):
            first = (first if row is None else row[first]) if of_label else first - 1
            getattr(split[text], name)[first, column - 1] = prob
    if links.class_logits is not None:
        for of_text, logits in zip(split, links.class_logits.double().cpu(), strict=True):
            places = torch.isfinite(logits).nonzero().flatten().tolist()
            probs = torch.sigmoid(logits[places]).tolist()
            labels = places if row is None else [row[i] for i in places]
            of_text.classes.update(zip(labels, probs, strict=True))
    return split


def candidates_of(loops: Sequence[Sequence[Loop]], row: Sequence[int] | None = None) -> Candidates:
    """Loops of a batch as the index lists that the confirmation head takes.

    Args:
        loops: Loops over mentions of each text, in tokens of the text (which stands behind a special token).
        row: As in `split_links`.

    Returns:
        The candidates, text by text.
    """
    place = None if row is None else {label: i for i, label in enumerate(row)}
    text, label, pieces = [], [], []
    for i, of_text in enumerate(loops):
        for loop in of_text:
            pieces += [
                (len(text), slot, first + 1, last + 1)
                for slot, mention in enumerate(loop.mentions)
                for first, last in mention
            ]
            text.append(i)
            label.append(loop.label if place is None else place[loop.label])
    index = (torch.tensor(values, dtype=torch.long) for values in (text, label, pieces))
    text_index, label_index, piece_index = index
    return Candidates(text_index, label_index, piece_index.reshape(-1, 4))


def confirm_loops(
    loops: list[list[Loop]],
    states: LoopStates,
    row: Sequence[int] | None = None,
    limits: LoopLimits = DEFAULT_LIMITS,
) -> list[list[Loop]]:
    """Loops that the confirmation head takes for structures; their score is its and the links' mean.

    Args:
        loops: Closed loops of each text.
        states: The model's `loop_states`.
        row: As in `split_links`.
        limits: Which loops are judged, and what they must exceed.

    Returns:
        The loops that are left; those that were judged with new scores (geometric means).
    """
    judged = [[loop for loop in of_text if len(loop.mentions) >= limits.confirm_from] for of_text in loops]
    candidates = Candidates(*(part.to(states.start.device) for part in candidates_of(judged, row)))
    probs = iter(torch.sigmoid(score_candidates(states, candidates).double()).tolist())
    left: list[list[Loop]] = []
    for of_text in loops:
        left.append([])
        for loop in of_text:
            if len(loop.mentions) < limits.confirm_from:
                left[-1].append(loop)
            elif (prob := next(probs)) > limits.confirm_threshold:
                left[-1].append(replace(loop, score=math.sqrt(loop.score * prob)))
    return left


def decode_batch(
    outputs: Any,
    batch_size: int,
    schema: Schema,
    limits: LoopLimits,
    thresholds: list[float],
    row: Sequence[int] | None = None,
) -> list[Decoded]:
    """Structures of a batch of windows.

    Args:
        outputs: What the model returned: `links`, and `loop_states` if it confirms loops.
        batch_size: Number of windows.
        schema: The whole schema.
        limits: How loops may run.
        thresholds: Of each label of the schema.
        row: As in `split_links`.

    Returns:
        One `Decoded` a window.
    """
    decoded = []
    for of_window in split_links(outputs.links, batch_size, row):
        loops, truncated = decode_links(of_window, schema, limits, thresholds)
        decoded.append(Decoded(loops, of_window.classes, truncated))
    states = getattr(outputs, "loop_states", None)
    if states is not None and any(window.loops for window in decoded):
        confirmed = confirm_loops([window.loops for window in decoded], states, row, limits)
        for window, loops in zip(decoded, confirmed, strict=True):
            window.loops = loops
    return decoded


def assemble_result(
    text: str,
    tokens: TextTokens,
    schema: Schema,
    thresholds: list[float],
    windows: Sequence[Window],
    rows: Sequence[Sequence[Decoded]],
    overlap: str = "nested",
    calibrate: Callable[..., dict] | None = None,
) -> ExtractionResult:
    """The result of a text that was read in windows and label rows.

    Args:
        text: The text.
        tokens: Its tokens.
        schema: What was asked for.
        thresholds: Of each label of the schema.
        windows: How the text was split.
        rows: For each label row what every window gave.
        overlap: `"nested"`, `"one_type"` or `"flat"`.
        calibrate: `Calibration.apply` under the threshold asked for; `None` = scores stay raw.

    Returns:
        The result; a class counts with its mean probability over the windows.
    """
    loops: list[Loop] = []
    classes: dict[int, float] = {}
    for of_windows in rows:
        loops += merge_loops(windows, [decoded.loops for decoded in of_windows])
        for label in of_windows[0].classes:
            classes[label] = sum(decoded.classes[label] for decoded in of_windows) / len(of_windows)
    loops += class_loops(classes, schema, thresholds)
    truncated = any(decoded.truncated for of_windows in rows for decoded in of_windows)
    read = {"windows": len(windows), "rows": len(rows)}
    if calibrate is None:
        return ExtractionResult(build_result(text, loops, tokens, schema, overlap, truncated) | read)
    raw = build_result(text, loops, tokens, without_ends(schema), truncated=truncated) | read
    return ExtractionResult(calibrate(raw, schema, overlap=overlap))
