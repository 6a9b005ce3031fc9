import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_records import SCHEMA, TOKENS, records

from ldnet.processing.alignment import TextTokens
from ldnet.processing.links import Loop
from ldnet.processing.record_loops import record_loops
from ldnet.processing.windows import (
    Window,
    extent_of,
    merge_loops,
    plan_windows,
    shift_loop,
    split_windows,
)


def words(count):
    """A text of one-letter words without any end of a sentence, and its tokens."""
    return "x " * count, TextTokens(
        list(range(count)), list(range(0, 2 * count, 2)), list(range(1, 2 * count, 2))
    )


@st.composite
def plans(draw):
    """Tokens of a text, size and overlap of its windows, sentence starts and hard breaks."""
    num_tokens, size = draw(st.integers(0, 60)), draw(st.integers(1, 20))
    places = st.lists(st.integers(1, max(num_tokens - 1, 1)), unique=True).map(sorted)
    return num_tokens, size, draw(st.integers(0, size - 1)), draw(places), draw(places)


@st.composite
def random_loops(draw, num_tokens):
    """Loops over tokens of a text, anywhere and of any length."""
    loops = []
    for label in draw(st.lists(st.integers(0, 5), max_size=12)):
        spans = st.tuples(st.integers(0, num_tokens - 1), st.integers(0, 6))
        mentions = draw(st.lists(spans, min_size=1, max_size=3))
        loops.append(
            Loop(label, tuple(((first, min(first + more, num_tokens - 1)),) for first, more in mentions))
        )
    return list(dict.fromkeys(loops))


def inside(loop, window):
    first, last = extent_of(loop)
    return window.start <= first and last < window.stop


def margin(loop, window, num_tokens):
    """Tokens that a window shows to the nearer side of a loop; an edge of the text hides nothing."""
    first, last = extent_of(loop)
    left = num_tokens if window.start == 0 else first - window.start
    right = num_tokens if window.stop == num_tokens else window.stop - 1 - last
    return min(left, right)


# ---- splitting


@given(plan=plans())
def test_windows_cover_every_token_and_none_is_longer_than_the_size(plan):
    num_tokens, size, _, _, hard = plan
    windows = split_windows(*plan)
    covered = [False] * num_tokens
    for window in windows:
        assert len(window) <= size
        assert not any(window.start < place < window.stop for place in hard)
        covered[window.start : window.stop] = [True] * len(window)
    assert all(covered)
    assert windows == sorted(windows, key=lambda window: (window.start, window.stop))
    assert all(
        one.start < two.start and one.stop < two.stop for one, two in zip(windows, windows[1:], strict=False)
    )


@given(plan=plans())
def test_neighbours_share_the_overlap_where_no_hard_break_is_between_them(plan):
    _, _, overlap, _, hard = plan
    windows = split_windows(*plan)
    for one, two in zip(windows, windows[1:], strict=False):
        assert one.stop - two.start >= overlap or (two.start in hard and one.stop == two.start)


@given(plan=plans())
def test_windows_without_breaks_are_as_few_as_the_overlap_allows(plan):
    num_tokens, size, overlap, _, _ = plan
    windows = split_windows(num_tokens, size, overlap)
    step = size - overlap
    expected = 1 if num_tokens <= size else -(-(num_tokens - size) // step) + 1
    assert len(windows) == expected


@given(plan=plans())
def test_sentence_starts_cost_at_most_half_of_the_step(plan):
    num_tokens, size, overlap, breaks, _ = plan
    windows = split_windows(num_tokens, size, overlap, breaks)
    for one, two in zip(windows, windows[1:], strict=False):
        step = two.start - one.start
        assert (size - overlap) / 2 < step <= size - overlap
        assert step == size - overlap or two.start in breaks


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 5, 2), [(0, 0)]),
        ((5, 5, 2), [(0, 5)]),
        ((6, 5, 2), [(0, 5), (3, 6)]),
        ((12, 5, 2), [(0, 5), (3, 8), (6, 11), (9, 12)]),
        ((12, 6, 2, [3]), [(0, 6), (3, 9), (7, 12)]),  # 3 starts a sentence
        ((12, 6, 2, [2]), [(0, 6), (4, 10), (8, 12)]),  # 2 would cost more than half of the step
        ((12, 6, 2, [1, 3, 5, 9]), [(0, 6), (3, 9), (7, 12)]),
        ((12, 5, 2, [], [4]), [(0, 4), (4, 9), (7, 12)]),
        ((12, 5, 2, [], [0, 6, 12, 99]), [(0, 5), (3, 6), (6, 11), (9, 12)]),
        ((4, 1, 0), [(0, 1), (1, 2), (2, 3), (3, 4)]),
    ],
)
def test_split_windows_of_literal_examples(arguments, expected):
    assert split_windows(*arguments) == [Window(*edges) for edges in expected]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (5, 5), (5, 6), (5, -1)])
def test_split_windows_refuses_sizes_that_never_end(size, overlap):
    with pytest.raises(ValueError, match=f"windows: size {size} with overlap {overlap} is not possible"):
        split_windows(9, size, overlap)


# ---- splitting and merging


@given(data=st.data(), plan=plans())
def test_split_then_merge_gives_every_structure_up_to_the_overlap_back_once(data, plan):
    num_tokens, size, overlap, breaks, hard = plan
    assume(num_tokens)
    windows = split_windows(*plan)
    loops = data.draw(random_loops(num_tokens))
    seen = [[shift_loop(loop, -w.start) for loop in loops if inside(loop, w)] for w in windows]
    merged = merge_loops(windows, seen)
    assert len(set(merged)) == len(merged)
    assert set(merged) == {loop for loop in loops if any(inside(loop, window) for window in windows)}
    for loop in loops:
        first, last = extent_of(loop)
        crosses = any(first < place <= last for place in hard)
        if last - first < max(overlap, 1) and not crosses:
            assert loop in merged


@settings(max_examples=50)
@given(data=st.data(), size=st.integers(2, 12))
def test_split_then_merge_gives_all_structures_of_a_record_back(data, size):
    loops, _ = record_loops(data.draw(records(3)), SCHEMA, TOKENS, 3)
    loops = [loop for loop in loops if loop.mentions]
    windows = split_windows(len(TOKENS), size, size - 1)
    seen = [[shift_loop(loop, -w.start) for loop in loops if inside(loop, w)] for w in windows]
    short = {loop for loop in loops if extent_of(loop)[1] - extent_of(loop)[0] < size}
    merged = merge_loops(windows, seen)
    assert set(merged) == short
    assert len(merged) == len(short)


@given(data=st.data(), plan=plans())
def test_structure_comes_from_the_window_that_shows_most_around_it(data, plan):
    num_tokens = plan[0]
    assume(num_tokens)
    windows = split_windows(*plan)
    loops = data.draw(random_loops(num_tokens))
    # Each window finds what it likes; the score says which window it was.
    seen = [
        [
            Loop(loop.label, shift_loop(loop, -window.start).mentions, (i + 1) / len(windows))
            for loop in loops
            if inside(loop, window) and data.draw(st.booleans())
        ]
        for i, window in enumerate(windows)
    ]
    merged = merge_loops(windows, seen)
    keys = [(loop.label, loop.mentions) for loop in merged]
    assert len(set(keys)) == len(keys)
    found = dict(zip(keys, merged, strict=True))
    for loop in loops:
        able = [i for i, window in enumerate(windows) if inside(loop, window)]
        best = max(able, key=lambda i: (margin(loop, windows[i], num_tokens), -i), default=None)
        mentions = None if best is None else shift_loop(loop, -windows[best].start).mentions
        expected = best is not None and any(
            (x.label, x.mentions) == (loop.label, mentions) for x in seen[best]
        )
        assert ((loop.label, loop.mentions) in found) == expected
        if expected:
            assert found[loop.label, loop.mentions].score == (best + 1) / len(windows)


def test_structure_in_several_windows_comes_out_once_from_the_one_in_whose_middle_it_stands():
    windows = [Window(0, 8), Window(3, 11), Window(6, 14)]
    for first, source in ((1, 0), (4, 0), (5, 0), (6, 1), (8, 1), (9, 2)):
        seen = [
            [Loop(0, (((first - w.start, first - w.start),),), (i + 1) / 10)] for i, w in enumerate(windows)
        ]
        seen = [found if w.start <= first < w.stop else [] for w, found in zip(windows, seen, strict=True)]
        (loop,) = merge_loops(windows, seen)
        assert loop.mentions == (((first, first),),)
        assert loop.score == (source + 1) / 10, first


def test_structure_that_the_better_window_did_not_find_is_left_out():
    windows = [Window(0, 8), Window(3, 11)]
    assert merge_loops(windows, [[Loop(0, (((7, 7),),))], []]) == []
    assert merge_loops(windows, [[], [Loop(0, (((4, 4),),))]]) == [Loop(0, (((7, 7),),))]


def test_window_takes_its_tokens_with_the_offsets_of_the_whole_text():
    tokens = TextTokens([5, 6, 7], [0, 3, 6], [2, 5, 8], (1, 2, 3))
    assert Window(1, 3).tokens_of(tokens) == TextTokens([6, 7], [3, 6], [5, 8], (2, 3))
    assert Window(0, 3).tokens_of(tokens) is tokens
    assert Window(0, 0).tokens_of(TextTokens([], [], [])) == TextTokens([], [], [])


def test_shift_loop_moves_every_piece_and_back():
    loop = Loop(2, (((0, 1), (3, 3)), ((5, 6),)), 0.4)
    moved = shift_loop(loop, 10)
    assert moved == Loop(2, (((10, 11), (13, 13)), ((15, 16),)), 0.4)
    assert shift_loop(moved, -10) == loop
    assert extent_of(moved) == (10, 16)


# ---- planning


@pytest.mark.parametrize(
    ("count", "room", "size", "overlap", "expected"),
    [
        (0, 10, 8, None, [(0, 0)]),
        (8, 10, 8, None, [(0, 8)]),
        (9, 10, 8, None, [(0, 8), (6, 9)]),  # longer than what the model was trained on
        (10, 10, None, None, [(0, 10)]),
        (11, 10, None, None, [(0, 10), (8, 11)]),
        (11, 10, 8, 0, [(0, 8), (8, 11)]),
        (11, 10, 8, 7, [(0, 8), (1, 9), (2, 10), (3, 11)]),
        (11, 10, 99, None, [(0, 10), (8, 11)]),  # a window never exceeds the room
        (700, 600, 600, None, [(0, 600), (536, 700)]),  # at most 64 tokens are read twice
        (3, 1, 1, None, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_plan_windows_reads_at_once_what_is_no_longer_than_a_window(count, room, size, overlap, expected):
    assert plan_windows(*words(count), room, size, overlap) == [Window(*edges) for edges in expected]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("paragraph", ["a b c. D e", "D e f g.", "H i j k."]),
        ("sentence", ["a b c.", "D e f g.", "H i j k."]),
    ],
)
def test_plan_windows_keeps_to_its_unit_and_starts_at_sentences(unit, expected):
    text = "a b c. D e f g.\n\nH i j k."
    starts = [i for i, c in enumerate(text) if not c.isspace()]
    tokens = TextTokens(starts, starts, [i + 1 for i in starts])  # every character but white space
    windows = plan_windows(text, tokens, 20, 6, 1, unit)
    assert [text[starts[w.start] : starts[w.stop - 1] + 1] for w in windows] == expected
    assert plan_windows(text, tokens, 20, 14, 1, unit) == [Window(0, 14)]


def test_plan_windows_can_read_at_once_or_refuse():
    text, tokens = words(11)
    assert plan_windows(text, tokens, 11, 8, truncation="error") == [Window(0, 11)]
    with pytest.raises(ValueError, match="it has 11 tokens, but the encoder has room for 10 .*='window'"):
        plan_windows(text, tokens, 10, 8, truncation="error")


@pytest.mark.parametrize("room", [0, -3])
def test_plan_windows_without_room_is_an_error_even_for_an_empty_text(room):
    with pytest.raises(ValueError, match="prompt and question leave no room for a text"):
        plan_windows("", TextTokens([], [], []), room, 8)


def test_plan_windows_of_an_unknown_unit_is_an_error():
    with pytest.raises(
        ValueError, match="window_unit: 'page' is unknown; use one of 'paragraph', 'sentence'"
    ):
        plan_windows(*words(3), 10, unit="page")


def test_window_holds_what_lies_whole_in_it_and_every_class():
    window = Window(3, 7)
    for first, last, held in ((3, 6, True), (4, 4, True), (2, 4, False), (5, 7, False)):
        assert window.holds(Loop(0, (((first, first),), ((last, last),)))) is held
    assert window.holds(Loop(0, ()))
