"""Where sentences and paragraphs start."""

import time

import pytest

from ldnet.processing.alignment import TextTokens
from ldnet.processing.windows import is_wrapped, paragraph_starts, sentence_starts

BOUND_S = 5.0  # of processor time, for 1 MB; a pattern that backtracks takes minutes


def characters(text):
    """Every character but white space is a token."""
    starts = [i for i, c in enumerate(text) if not c.isspace()]
    return TextTokens(starts, starts, [i + 1 for i in starts])


def cut(find, text):
    """The text's parts between the starts that were found."""
    tokens = characters(text)
    places = [0, *(tokens.start_chars[token] for token in find(text, tokens)), len(text)]
    return [text[start:end].strip() for start, end in zip(places, places[1:], strict=False)]


@pytest.mark.parametrize(
    "parts",
    [
        ["He left.", "Then she came!", "Why?", "(Nobody knows.)", '"Ask her."', "“Why?”"],
        ["He paid 3.5 million.", "She did not."],
        ["See www.example.com, e.g. the first page, i.e. this.", "Done."],
        ["The U.S.", "Army came."],  # an abbreviation before a capital: one break too many does no harm
        ["He said: “Go.”", "She went."],
        ["Wait… so it was.", "Yes…", "No."],
        ["他走了。", "她来了！", "为什么？", "“没人知道。”", "好"],
        ["東京に住む。", "大阪へ行く。"],
        ["Él vino.", "Ésta no.", "École."],
        ["2 of 3.", "4 of 5."],
        ["one line", "another line", "and a third"],
        ["no end at all"],
    ],
)
@pytest.mark.parametrize("between", [" ", "\n", "\r\n", "\n\n", "  \t"])
def test_sentence_starts_of_literal_texts(parts, between):
    if parts[0] == "one line" and "\n" not in between:
        parts = [between.join(parts)]
    joined = between.join(parts)
    assert cut(sentence_starts, joined) == parts


def test_chinese_sentences_need_no_space_between_them():
    assert cut(sentence_starts, "他走了。她来了！“为什么？”没人知道") == [
        "他走了。",
        "她来了！",
        "“为什么？”",
        "没人知道",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_line_is_a_paragraph_where_lines_are_not_wrapped(end):
    parts = ["One paragraph. It has two sentences.", "Heading", "Another one " * 20 + "that is long."]
    text = end.join([*parts[:2], "", *parts[2:], ""])
    assert not is_wrapped(text)
    assert cut(paragraph_starts, text) == parts


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_wrapped_lines_are_no_paragraphs_unless_empty_or_behind_a_finished_sentence(end):
    line = "A line that is wrapped at some sixty characters, as in a mail"
    parts = [
        f"{line}{end}{line}{end}{line} that ends here.",
        f"{line} and it goes on{end}with a short line",
        f"{line}{end}{line}",
    ]
    text = f"{parts[0]}{end}{parts[1]}{end} \t{end}{end}{parts[2]}{end}"
    assert is_wrapped(text)
    assert cut(paragraph_starts, text) == parts


@pytest.mark.parametrize(
    ("lengths", "wrapped"),
    [
        ([60, 70, 60], True),
        ([60, 70], False),  # too few to tell
        ([60, 70, 300], False),
        ([20, 30, 25, 60], False),  # a list, or verse
        ([60, 0, 70, 0, 5, 60], True),
        ([100, 100, 40, 40], True),
        ([101, 100, 100], False),
        ([39, 39, 39], False),
        ([], False),
    ],
)
def test_lines_are_wrapped_if_most_are_of_the_width_of_a_page_and_none_is_longer(lengths, wrapped):
    assert is_wrapped("\n".join("x" * length for length in lengths)) is wrapped


def test_sentences_of_one_line_are_one_paragraph():
    text = "One. Two! Three? “Four.” 五。六。"
    assert cut(paragraph_starts, text) == [text]


@pytest.mark.parametrize("find", [sentence_starts, paragraph_starts])
@pytest.mark.parametrize("text", ["", " \n\n ", ".\n\n.", "x\n\n", "\n\nx", "…", "\n"])
def test_starts_lie_inside_the_text(find, text):
    tokens = characters(text)
    found = find(text, tokens)
    assert found == sorted(set(found))
    assert all(0 < place < len(tokens) for place in found)


def test_start_inside_a_token_is_moved_to_the_next_token():
    text = "Ab.Cd. Ef"
    tokens = TextTokens([1, 2], [0, 3], [3, 9])  # "Cd. Ef" is one token
    assert sentence_starts(text, tokens) == []
    assert sentence_starts("字。字。字", TextTokens([1, 2, 3], [0, 1, 4], [1, 4, 5])) == [2]


MEGABYTE = 1_000_000


@pytest.mark.parametrize("find", [sentence_starts, paragraph_starts])
@pytest.mark.parametrize(
    "unit",
    [" ", "\n", ".", "\r\n", "\t", ". ", ".\n", "\n ", ")", ".)", "。", "a", ". a", "\r", '."', " \n\r"],
)
def test_a_megabyte_of_anything_takes_no_time(find, unit):
    text = "x." + unit * (MEGABYTE // len(unit)) + "x"
    tokens = TextTokens([1, 2], [0, len(text) - 1], [1, len(text)])
    started = time.process_time()
    assert find(text, tokens) in ([], [1])
    assert time.process_time() - started < BOUND_S
