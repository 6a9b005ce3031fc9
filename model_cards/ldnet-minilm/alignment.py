"""Tokens of a text with character offsets and case, and the way from character spans to tokens and back."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property


class TokenCase(IntEnum):
    """How a token is written: what a tokenizer that ignores case does not tell the encoder."""

    NONE = 0  # no letter, or a script without case; labels and special tokens too
    LOWER = 1
    TITLE = 2
    UPPER = 3
    MIXED = 4


def token_case(surface: str) -> TokenCase:
    """Case of the characters of a token; a single capital counts as a title."""
    if surface.lower() == surface.upper():
        return TokenCase.NONE
    if surface == surface.lower():
        return TokenCase.LOWER
    if surface[1:] == surface[1:].lower():
        return TokenCase.TITLE
    return TokenCase.UPPER if surface == surface.upper() else TokenCase.MIXED


def case_ids_of(text: str, start_chars: Sequence[int], end_chars: Sequence[int]) -> tuple[int, ...]:
    """How the tokens of a text are written.

    Args:
        text: The text.
        start_chars: First character of each token.
        end_chars: Character behind each token.

    Returns:
        `TokenCase` of each token, plus their number where the token follows another without a space.
    """
    return tuple(
        token_case(text[start:end]) + len(TokenCase) * (start > 0 and not text[start - 1].isspace())
        for start, end in zip(start_chars, end_chars, strict=True)
    )


@dataclass(frozen=True)
class TextTokens:
    """Subword tokens of one text, without special tokens.

    Args:
        input_ids: Token ids.
        start_chars: First character of each token (white space that a tokenizer counts in is left out).
        end_chars: Character behind each token; equal to the start for a token that covers nothing.
        case_ids: How each token is written (`case_ids_of`); empty where the encoder is not told.
    """

    input_ids: list[int]
    start_chars: list[int]
    end_chars: list[int]
    case_ids: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)

    @cached_property
    def _token_at_start(self) -> dict[int, int]:
        covering = [i for i in range(len(self)) if self.start_chars[i] < self.end_chars[i]]
        return {
            self.start_chars[i]: i for i in reversed(covering)
        }  # first of the tokens that share a character

    @cached_property
    def _token_at_end(self) -> dict[int, int]:
        return {self.end_chars[i]: i for i in range(len(self)) if self.start_chars[i] < self.end_chars[i]}

    def span_at(self, start_char: int, end_char: int) -> tuple[int, int] | None:
        """First and last token of a character span; `None` if a boundary lies inside a token.

        Args:
            start_char: First character.
            end_char: Character behind the span.

        Returns:
            Token indices, both inclusive, or `None`.
        """
        start, end = self._token_at_start.get(start_char), self._token_at_end.get(end_char)
        return None if start is None or end is None or start > end else (start, end)

    def chars_of(self, start_token: int, end_token: int) -> tuple[int, int]:
        """Character span of tokens, both inclusive; the end is exclusive."""
        return self.start_chars[start_token], self.end_chars[end_token]


def trim_offsets(text: str, offsets: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Token offsets without surrounding white space (some tokenizers count the blank before a word in).

    Combining marks that no token covers (some tokenizers strip accents) belong to the token before them: a
    mention must not lose the accent of its last letter.

    Args:
        text: The text.
        offsets: Half-open character spans of its tokens.

    Returns:
        Start and end characters.
    """
    starts, ends = [], []
    covered = set() if text.isascii() else {i for start, end in offsets for i in range(start, end)}
    for start, end in offsets:
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        while start < end < len(text) and end not in covered and unicodedata.category(text[end])[0] == "M":
            end += 1
        starts.append(start)
        ends.append(end)
    return starts, ends
