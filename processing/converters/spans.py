"""Where mentions stand: tokens to characters, UTF-16 units to characters, words to their places."""

import re
from collections.abc import Sequence
from typing import Any

# Scripts that put no space between words: everywhere in them a word may begin.
UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff]"
)
Offsets = list[tuple[int, int]]


def join_tokens(tokens: Sequence[str], separator: str = " ") -> tuple[str, Offsets]:
    """Join tokens to a text.

    Args:
        tokens (`Sequence[str]`): The tokens; they may hold spaces.
        separator (`str`): What stands between two of them.

    Returns:
        The text, and of each token where it begins and ends in it.
    """
    offsets, start = [], 0
    for token in tokens:
        offsets.append((start, start + len(token)))
        start += len(token) + len(separator)
    return separator.join(tokens), offsets


def is_index(value: Any, length: int) -> bool:
    """Whether a value is a position in something of this length."""
    return type(value) is int and 0 <= value < length  # the exact type: True is an int as well


def token_mention(offsets: Offsets, first: Any, last: Any) -> dict[str, int] | None:
    """Characters of a run of tokens.

    Args:
        offsets (`Offsets`): What `join_tokens` gives.
        first (`Any`): Its first token.
        last (`Any`): Its last token, inclusive.

    Returns:
        `{"start": …, "end": …}`; None if there are no such tokens, or no characters in them.
    """
    if not (is_index(first, len(offsets)) and is_index(last, len(offsets)) and first <= last):
        return None
    start, end = offsets[first][0], offsets[last][1]
    return {"start": start, "end": end} if start < end else None


def fragments_mention(pieces: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """A mention of one or several pieces.

    Args:
        pieces (`Sequence[tuple[int, int]]`): Start and end of each, in any order; overlaps are merged.

    Returns:
        The mention, with `fragments` if more than one piece is left.
    """
    merged: list[list[int]] = []
    for start, end in sorted(pieces):
        if merged and start < merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    mention = {"start": merged[0][0], "end": merged[-1][1]}
    return mention | {"fragments": merged} if len(merged) > 1 else mention


def pieces_of(mention: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """The pieces of a record's mention, in text order: what makes two mentions the same."""
    pieces = mention.get("fragments") or [(mention["start"], mention["end"])]
    return tuple((start, end) for start, end in pieces)


def utf16_positions(text: str) -> dict[int, int]:
    """Position in UTF-16 units, as JavaScript and Java count -> position in characters.

    Args:
        text (`str`): Any text.

    Returns:
        All positions at which a character begins, and the end.
    """
    positions, unit = {}, 0
    for index, character in enumerate(text):
        positions[unit] = index
        unit += 2 if ord(character) > 0xFFFF else 1
    return positions | {unit: len(text)}


def flatten(text: str) -> str:
    """White space of any kind as spaces, one for one: formats of lines write a line break as a space."""
    return "".join(" " if character.isspace() else character for character in text)


def same_words(first: str, second: str) -> bool:
    """Whether two strings are equal but for the kind of their white space."""
    return first == second or flatten(first) == flatten(second)


def covers(text: str, start: Any, end: Any, surface: str) -> bool:
    """Whether offsets cover these words, whatever their white space is."""
    inside = type(start) is int and type(end) is int and 0 <= start < end <= len(text)
    return inside and same_words(text[start:end], surface)


def occurrences(text: str, surface: str) -> Offsets:
    """All places of words in a text, in order; any white space matches any other, places may overlap."""
    words = surface.split()
    if not words:
        return []
    pattern = re.compile("(?=(" + r"\s+".join(map(re.escape, words)) + "))")
    return [match.span(1) for match in pattern.finditer(text)]


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether a place begins and ends where a word may."""

    def joins(left: str, right: str) -> bool:
        return left.isalnum() and right.isalnum() and not (UNSPACED.match(left) or UNSPACED.match(right))

    inside_before = start > 0 and joins(text[start - 1], text[start])
    return not (inside_before or (end < len(text) and joins(text[end - 1], text[end])))


def realign(text: str, start: Any, end: Any, surface: str) -> tuple[int, int, str | None] | None:
    """Where words that should stand at given offsets do stand.

    Args:
        text (`str`): The text.
        start (`Any`): Where they should begin.
        end (`Any`): Where they should end.
        surface (`str`): The words.

    Returns:
        Start, end and what had to be repaired (None: nothing); None if the words are not in the text.
    """
    if covers(text, start, end, surface):
        return start, end, None
    found = occurrences(text, surface)
    if not found:
        return None
    target = start if type(start) is int else 0
    place = min(found, key=lambda place: (abs(place[0] - target), place))
    moved = None if place == (start, end) else "offsets that do not fit the words: moved to the nearest"
    return *place, moved


def clean_label(value: Any) -> str | None:
    """A label without white space around it; None if it is no name."""
    return value.strip() or None if isinstance(value, str) else None
