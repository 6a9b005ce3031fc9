import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldnet.processing.alignment import TextTokens, TokenCase, case_ids_of, token_case, trim_offsets

KINDS = ("words", "uncased", "bytes")
WORDS = [
    *("Jerry", "o'Brien", "naïve", "straße", "Åse", "Jose\u0301", "e\u0301\u0302", "x²", "ﬁne", "İzmir"),
    *("北京", "東京都", "한국", "ภาษาไทย", "กินข้าว", "مُحَمَّد", "كتاب", "हिन्दी", "ёж"),
    *("🙂", "👩\u200d👩\u200d👧", "🇹🇭", "❤\ufe0f", "[LM]", "[SEP]", "</s>", "...", "ⅷ"),
]
SEPARATORS = [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", " \u2009"]


def test_span_at_gives_tokens_whose_borders_meet_the_characters():
    tokens = TextTokens([7, 8, 9], [0, 3, 4], [2, 4, 9])  # "Ab -cdefg"[...]
    assert tokens.span_at(0, 2) == (0, 0)
    assert tokens.span_at(0, 9) == (0, 2)
    assert tokens.span_at(3, 9) == (1, 2)
    assert tokens.chars_of(1, 2) == (3, 9)
    assert len(tokens) == 3


@pytest.mark.parametrize("span", [(1, 2), (0, 1), (0, 8), (2, 4), (4, 4), (3, 2), (0, 10), (-1, 2)])
def test_span_at_is_none_where_a_border_is_inside_a_token_or_nowhere(span):
    assert TextTokens([7, 8, 9], [0, 3, 4], [2, 4, 9]).span_at(*span) is None


def test_span_at_takes_all_tokens_that_share_a_character_and_none_that_cover_nothing():
    tokens = TextTokens([1, 2, 3, 4, 5], [0, 0, 1, 1, 1], [0, 1, 2, 2, 1])
    assert tokens.span_at(0, 1) == (1, 1)
    assert tokens.span_at(1, 2) == (2, 3)
    assert tokens.span_at(0, 2) == (1, 3)


def test_trim_offsets_leaves_white_space_out_and_takes_lost_marks_in():
    text = "a bc\r\n e\u0301\u0302 f"
    offsets = [(0, 1), (1, 4), (4, 6), (6, 8), (10, 12)]
    assert trim_offsets(text, offsets) == ([0, 2, 6, 7, 11], [1, 4, 6, 10, 12])


def test_trim_offsets_leaves_a_mark_to_the_token_that_covers_it():
    assert trim_offsets("e\u0301x", [(0, 1), (1, 2), (2, 3)]) == ([0, 1, 2], [1, 2, 3])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(
    parts=st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SEPARATORS)), min_size=1, max_size=6),
    data=st.data(),
)
def test_words_of_any_script_come_back_exactly(processors, kind, parts, data):
    spans, text = [], ""
    for word, separator in parts:
        spans.append((len(text), len(text) + len(word)))
        text += word + separator
    first = data.draw(st.integers(0, len(spans) - 1))
    last = data.draw(st.integers(first, len(spans) - 1))
    start, end = spans[first][0], spans[last][1]
    (tokens,) = processors[kind].tokenize_texts([text])
    found = tokens.span_at(start, end)
    assert found is not None, (text, list(zip(tokens.start_chars, tokens.end_chars, strict=True)))
    assert tokens.chars_of(*found) == (start, end)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100)
@given(text=st.text(max_size=25) | st.text(st.sampled_from("aé\u0301\u200d🙂国ทิم\r\n \t[LM]ﬁ"), max_size=25))
def test_any_tokens_go_to_characters_and_back(processors, kind, text):
    (tokens,) = processors[kind].tokenize_texts([text])
    covering = [i for i in range(len(tokens)) if tokens.start_chars[i] < tokens.end_chars[i]]
    for i in covering:
        start, end = tokens.chars_of(i, i)
        assert 0 <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
    for i in covering:
        for j in (j for j in covering if j >= i):
            chars = tokens.chars_of(i, j)
            back = tokens.span_at(*chars)
            assert back is not None
            assert tokens.chars_of(*back) == chars


def test_byte_level_tokens_share_the_character_they_are_bytes_of(processors):
    text = "a 🙃"
    (tokens,) = processors["bytes"].tokenize_texts([text])
    sharing = [i for i in range(len(tokens)) if tokens.chars_of(i, i) == (2, 3)]
    assert len(sharing) > 1
    assert tokens.span_at(2, 3) == (sharing[0], sharing[-1])


def test_uncased_tokens_keep_the_accents_of_a_mention(processors):
    text = "Jose\u0301 Ramo\u0301n, a 'cafe\u0301'"
    (tokens,) = processors["uncased"].tokenize_texts([text])
    for mention in ("Jose\u0301", "Jose\u0301 Ramo\u0301n", "cafe\u0301"):
        start = text.index(mention)
        found = tokens.span_at(start, start + len(mention))
        assert text[slice(*tokens.chars_of(*found))] == mention


@pytest.mark.parametrize(
    ("surface", "case"),
    [("", "NONE"), ("42", "NONE"), ("北京", "NONE"), ("...", "NONE"), ("acme", "LOWER"), ("straße", "LOWER")]
    + [("A", "TITLE"), ("Acme", "TITLE"), ("O'brien", "TITLE"), ("Élan", "TITLE"), ("NASA", "UPPER")]
    + [("B2B", "UPPER"), ("iPhone", "MIXED"), ("McDonald", "MIXED"), ("##ABc", "MIXED")],
)
def test_token_case_tells_how_a_token_is_written(surface, case):
    assert token_case(surface) == TokenCase[case]


@given(st.text(max_size=6))
def test_small_letters_have_no_capital_case(surface):
    assert token_case(surface.lower()) in (TokenCase.NONE, TokenCase.LOWER)


def test_case_ids_tell_which_tokens_follow_without_a_space(processors):
    text = "(Boise) at\tNASA ."
    (tokens,) = processors["uncased"].tokenize_texts([text])
    ids = case_ids_of(text, tokens.start_chars, tokens.end_chars)
    words = dict(zip(tokens.start_chars, ids, strict=True))
    assert [words[text.index(word)] for word in ("(", "B", ")", "a", "N")] == [0, 7, 5, 1, 2]
    assert ids[-1] == 0


@given(st.text(alphabet="aB1. \n", max_size=12), st.data())
def test_case_and_space_of_a_token_can_be_read_off_its_id(text, data):
    start = data.draw(st.integers(0, len(text)))
    (form,) = case_ids_of(text, [start], [len(text)])
    follows, case = divmod(form, len(TokenCase))
    assert case == token_case(text[start:])
    assert follows == (bool(text[:start]) and text[:start].rstrip() == text[:start])
