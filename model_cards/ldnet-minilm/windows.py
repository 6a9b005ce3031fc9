"""Long texts in windows: `split_windows` and `merge_loops`, an inverse pair for every structure that fits.

Windows overlap. A structure that lies whole in several windows is taken from the one that shows most of the
text around it, so nothing is found twice, and what a window cuts at its edge is left to its neighbour.
"""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .alignment import TextTokens
from .links import Loop

UNITS = ("paragraph", "sentence")
MOST_OVERLAP = 64  # tokens that windows share by default; longer structures are rare

# A sentence ends with its mark (and what closes behind it) before white space and no small letter.
_SENTENCE_END = re.compile(r"""[.!?…]["'’”)\]]*\s+(?=[^\s\W_a-z]|["'‘“(\[])|[。！？]["'’”」』）]*\s*|\n\s*""")
# A paragraph ends with a line; where lines are wrapped, with an empty line or behind a finished sentence.
_LINE_END = re.compile(r"\n\s*")
_PARAGRAPH_END = re.compile(r"""\n[ \t\r]*\n\s*|(?<=[.!?…。！？:;"'’”)\]])[ \t\r]*\n\s*""")
WRAPPED = (40, 100)  # median and longest line of a text that is wrapped for its width lie between these


@dataclass(frozen=True)
class Window:
    """Tokens of a text that are read together.

    Args:
        start: First token.
        stop: Token behind the last one.
    """

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def holds(self, loop: Loop) -> bool:
        """Whether a loop, in tokens of the text, lies whole in the window; a class does everywhere."""
        if not loop.mentions:
            return True
        first, last = extent_of(loop)
        return self.start <= first and last < self.stop

    def tokens_of(self, tokens: TextTokens) -> TextTokens:
        """The tokens in the window; their offsets stay those of the whole text."""
        if (self.start, self.stop) == (0, len(tokens)):
            return tokens
        return TextTokens(
            tokens.input_ids[self.start : self.stop],
            tokens.start_chars[self.start : self.stop],
            tokens.end_chars[self.start : self.stop],
            tokens.case_ids[self.start : self.stop],
        )


def sentence_starts(text: str, tokens: TextTokens) -> list[int]:
    """Tokens that seem to start a sentence or a line, ascending."""
    return _tokens_behind(_SENTENCE_END, text, tokens)


def paragraph_starts(text: str, tokens: TextTokens) -> list[int]:
    """Tokens that start a paragraph, ascending."""
    return _tokens_behind(_PARAGRAPH_END if is_wrapped(text) else _LINE_END, text, tokens)


def is_wrapped(text: str) -> bool:
    """Whether lines are broken for their width, so that a line break need not end a paragraph."""
    lengths = sorted(len(line) for line in text.splitlines() if line.strip())
    return len(lengths) > 2 and lengths[len(lengths) // 2] >= WRAPPED[0] and lengths[-1] <= WRAPPED[1]


def _tokens_behind(pattern: re.Pattern, text: str, tokens: TextTokens) -> list[int]:
    places = (bisect_left(tokens.start_chars, match.end()) for match in pattern.finditer(text))
    return list(dict.fromkeys(place for place in places if 0 < place < len(tokens)))


def split_windows(
    num_tokens: int, size: int, overlap: int, breaks: Sequence[int] = (), hard: Sequence[int] = ()
) -> list[Window]:
    """Windows that cover a text, as few as the overlap allows.

    Args:
        num_tokens: Tokens of the text.
        size: Most tokens of a window, at least 1.
        overlap: Tokens that neighbours share at least, in [0, size); a structure of up to `overlap` tokens
            lies whole in some window wherever it stands.
        breaks: Tokens, ascending, that start a sentence: a window rather starts there, if it costs at most
            half of the step.
        hard: Tokens, ascending, that no window reads beyond: the parts between them are split on their own.

    Returns:
        Windows in order; one for a text that fits (an empty one for an empty text).

    Raises:
        ValueError: If size or overlap are out of range.
    """
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(
            f"windows: size {size} with overlap {overlap} is not possible; the size must be at least 1 and "
            "the overlap smaller than it"
        )
    windows = []
    edges = [0, *(place for place in hard if 0 < place < num_tokens), num_tokens]
    for begin, end in zip(edges, edges[1:], strict=False):
        start = begin
        while end - start > size:
            windows.append(Window(start, start + size))
            start = _next_start(start, size, overlap, breaks)
        windows.append(Window(start, end))
    return windows


def plan_windows(
    text: str,
    tokens: TextTokens,
    room: int,
    size: int | None = None,
    overlap: int | None = None,
    unit: str = "paragraph",
    truncation: str = "window",
) -> list[Window]:
    """How a text is read: at once if it is no longer than a window, else unit by unit.

    Args:
        text: The text.
        tokens: Its tokens.
        room: Tokens that fit the encoder beside prompt and question.
        size: Most tokens of a window: what the model was trained on; `None` = `room`.
        overlap: Tokens that the windows of a unit share; `None` = a quarter of the window, at most 64.
        unit: `"paragraph"`, which windows never read beyond, or `"sentence"`: nor beyond the sentences of a
            paragraph that is longer than a window.
        truncation: `"window"`, or `"error"` to read a text at once or to refuse it.

    Returns:
        The windows.

    Raises:
        ValueError: If there is no room at all, or the text does not fit and must.
    """
    if room < 1:
        raise ValueError("prompt and question leave no room for a text in the encoder; shorten them")
    if unit not in UNITS:
        raise ValueError(f"window_unit: {unit!r} is unknown; use one of {', '.join(map(repr, UNITS))}")
    if truncation == "error" and len(tokens) > room:
        raise ValueError(
            f"it has {len(tokens)} tokens, but the encoder has room for {room} beside prompt and question; "
            "split it, or allow truncation='window'"
        )
    size = room if size is None else min(size, room)
    if len(tokens) <= size or truncation == "error":
        return [Window(0, len(tokens))]
    overlap = min(MOST_OVERLAP, size // 4) if overlap is None else overlap
    sentences, paragraphs = sentence_starts(text, tokens), paragraph_starts(text, tokens)
    hard = list(paragraphs)
    if unit == "sentence":  # only of what is too long: the marks of a sentence's end are not certain
        edges = [0, *paragraphs, len(tokens)]
        for begin, end in zip(edges, edges[1:], strict=False):
            if end - begin > size:
                hard += sentences[bisect_right(sentences, begin) : bisect_left(sentences, end)]
    return split_windows(len(tokens), size, overlap, sentences, sorted(hard))


def _next_start(start: int, size: int, overlap: int, breaks: Sequence[int]) -> int:
    """Where the next window starts: at the last sentence that leaves the overlap, or exactly there."""
    furthest = start + size - overlap
    nearest = start + (size - overlap + 1) // 2
    place = bisect_right(breaks, furthest) - 1
    return breaks[place] if place >= 0 and breaks[place] > nearest else furthest


def _margin(window: Window, extent: tuple[int, int], num_tokens: int) -> float:
    """Tokens around an extent that the window shows; an edge of the text hides nothing."""
    left = math.inf if window.start == 0 else extent[0] - window.start
    right = math.inf if window.stop == num_tokens else window.stop - 1 - extent[1]
    return min(left, right)


def extent_of(loop: Loop) -> tuple[int, int]:
    """First and last token of a loop over mentions."""
    pieces = [piece for mention in loop.mentions for piece in mention]
    return min(start for start, _ in pieces), max(end for _, end in pieces)


def shift_loop(loop: Loop, by: int) -> Loop:
    """The loop with its tokens counted from elsewhere."""
    if by == 0:
        return loop
    moved = tuple(tuple((start + by, end + by) for start, end in mention) for mention in loop.mentions)
    return replace(loop, mentions=moved)


def merge_loops(windows: Sequence[Window], found: Iterable[Iterable[Loop]]) -> list[Loop]:
    """Loops of a text from those of its windows.

    Args:
        windows: What `split_windows` returned.
        found: Loops of each window, in tokens of the window.

    Returns:
        Loops in tokens of the text; each comes from the window that shows most around it (the first of
        equals).
    """
    num_tokens = windows[-1].stop
    merged = []
    for i, (window, loops) in enumerate(zip(windows, found, strict=True)):
        for loop in loops:
            moved = shift_loop(loop, window.start)
            extent = extent_of(moved)
            able = _windows_around(windows, i, extent)
            if i == max(able, key=lambda j: (_margin(windows[j], extent, num_tokens), -j)):
                merged.append(moved)
    return merged


def _windows_around(windows: Sequence[Window], index: int, extent: tuple[int, int]) -> range:
    """The windows, neighbours of one of them, that an extent lies whole in."""
    first = last = index
    while first > 0 and extent[1] < windows[first - 1].stop:
        first -= 1
    while last + 1 < len(windows) and windows[last + 1].start <= extent[0]:
        last += 1
    return range(first, last + 1)
