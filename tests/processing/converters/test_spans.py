import pytest
from hypothesis import given
from record_strategies import texts, token_runs

from ldnet.processing.converters.spans import (
    clean_label,
    covers,
    fragments_mention,
    is_whole,
    join_tokens,
    occurrences,
    pieces_of,
    realign,
    token_mention,
    utf16_positions,
)


@given(token_runs())
def test_join_tokens_gives_the_place_of_each_token(item):
    tokens, _ = item
    for separator in (" ", "", "--"):
        text, offsets = join_tokens(tokens, separator)
        assert [text[start:end] for start, end in offsets] == tokens
        assert text == separator.join(tokens)


def test_join_tokens_with_spaces_and_empty_tokens_keeps_the_count():
    text, offsets = join_tokens(["New York", "", "is"])
    assert text == "New York  is"
    assert offsets == [(0, 8), (9, 9), (10, 12)]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0, 1, {"start": 0, "end": 5}),
        (2, 2, None),  # no characters
        (1, 0, None),
        (0, 3, None),
        (-1, 1, None),
        (0, True, None),
        ("0", 1, None),
    ],
)
def test_token_mention_of_tokens_that_are_not_there_is_none(first, last, expected):
    _, offsets = join_tokens(["ab", "cd", ""])
    assert token_mention(offsets, first, last) == expected


def test_fragments_mention_sorts_and_merges():
    assert fragments_mention([(8, 12), (0, 5)]) == {"start": 0, "end": 12, "fragments": [[0, 5], [8, 12]]}
    assert fragments_mention([(0, 5), (3, 7)]) == {"start": 0, "end": 7}
    assert fragments_mention([(0, 5), (5, 7)])["fragments"] == [[0, 5], [5, 7]]
    assert pieces_of({"start": 0, "end": 7}) == ((0, 7),)


@given(texts)
def test_utf16_positions_are_those_of_the_encoding(text):
    positions = utf16_positions(text)
    encoded = text.encode("utf-16-le")
    for unit, index in positions.items():
        assert encoded[: 2 * unit].decode("utf-16-le") == text[:index]
    assert len(positions) == len(text) + 1


def test_covers_takes_any_white_space_for_any_other():
    assert covers("New\nYork", 0, 8, "New York")
    assert not covers("New\nYork", 0, 8, "New  York")
    assert not covers("abc", 0, 9, "abc")
    assert not covers("abc", None, 3, "abc")


def test_occurrences_finds_overlapping_ones_over_line_breaks():
    assert occurrences("a a\r\na", "a a") == [(0, 3), (2, 6)]
    assert occurrences("1+1", "+") == [(1, 2)]
    assert occurrences("abc", " ") == []


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("John Johnson", (0, 4), True),
        ("John Johnson", (5, 9), False),
        ("I'm", (0, 1), True),
        ("京都大学", (0, 2), True),
        ("3km", (0, 1), False),
    ],
)
def test_is_whole_knows_where_words_end(text, place, expected):
    assert is_whole(text, *place) is expected


def test_realign_moves_to_the_nearest_occurrence_and_says_so():
    text = "Ann met Bob. Ann left."
    assert realign(text, 0, 3, "Ann") == (0, 3, None)
    start, end, cause = realign(text, 11, 14, "Ann")
    assert (start, end) == (13, 16)
    assert "nearest" in cause
    assert realign(text, None, None, "Ann")[:2] == (0, 3)
    assert realign(text, 0, 3, "Eve") is None
    assert realign("a\r\nb", 0, 4, "a b") == (0, 4, None)


def test_clean_label_is_a_name_or_none():
    assert [clean_label(value) for value in (" a ", "", " ", 3, None)] == ["a", None, None, None, None]
