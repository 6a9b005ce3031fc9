import itertools
import math
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldnet.processing.links import (
    Loop,
    LoopLimits,
    RecordLinks,
    class_loops,
    decode_links,
    encode_loops,
    shares_of_odds,
)
from ldnet.processing.schema import Schema

# One label for a relation, a hyper-relation and a qualifier: its loops go through two or three mentions.
SCHEMA = Schema.from_any(
    {
        "entities": ["a", "b"],
        "relations": ["r", {"type": "s", "symmetric": True}],
        "hyper_relations": [{"type": "r", "qualifiers": ["r", "q"]}],
        "classes": {"topic": ["x", "y"], "tone": {"labels": ["u", "v"], "multi_label": True}},
    }
)
A, B, R, S, Q, X, Y, U, V = range(9)
ARITIES = {label: sorted(SCHEMA.labels[label].mentions) for label in (A, B, R, S, Q)}
FORMS = ("as", "a2a")
BOUND_S = 15.0  # of processor time; the slow paths that the limit must cut took 26 to 115 s


def keys(loops):
    return {(loop.label, loop.mentions) for loop in loops}


# ---- the links of each structure


def test_entity_is_opening_span_and_closing():
    links = encode_loops([Loop(1, (((2, 4),),))])
    assert links == RecordLinks(open={(1, 2): 1.0}, close={(1, 4): 1.0}, inside={(2, 4): 1.0})


def test_relation_joins_the_end_of_its_head_with_the_start_of_its_tail():
    links = encode_loops([Loop(2, (((5, 6),), ((1, 3),)))])
    expected = RecordLinks(
        open={(2, 5): 1.0}, close={(2, 3): 1.0}, inside={(5, 6): 1.0, (1, 3): 1.0}, next={(6, 1): 1.0}
    )
    assert links == expected


@pytest.mark.parametrize(
    ("form", "inside", "following"), [("as", {(4, 2): 1.0}, {}), ("a2a", {}, {(2, 4): 1.0})]
)
def test_fragments_are_joined_below_the_diagonal_or_over_a2a(form, inside, following):
    links = encode_loops([Loop(0, (((1, 2), (4, 5)),))], form)
    assert links.inside == {(1, 2): 1.0, (4, 5): 1.0} | inside
    assert links.next == following
    assert (links.open, links.close) == ({(0, 1): 1.0}, {(0, 5): 1.0})


def test_qualifier_is_a_loop_of_three_mentions():
    links = encode_loops([Loop(Q, (((5, 6),), ((1, 3),), ((8, 8),)))])
    assert links == RecordLinks(
        open={(Q, 5): 1.0},
        close={(Q, 8): 1.0},
        inside={(5, 6): 1.0, (1, 3): 1.0, (8, 8): 1.0},
        next={(6, 1): 1.0, (3, 8): 1.0},
    )


def test_class_is_a_link_with_the_text_alone():
    assert encode_loops([Loop(X, ()), Loop(V, ())]) == RecordLinks(classes={X: 1.0, V: 1.0})


def test_no_structure_has_no_links():
    assert encode_loops([]) == RecordLinks()
    assert decode_links(RecordLinks(), SCHEMA, LoopLimits()) == ([], False)
    assert decode_links(RecordLinks(), Schema(), LoopLimits()) == ([], False)


# ---- encode, then decode


@st.composite
def mentions(draw, max_fragments):
    """A mention of up to `max_fragments` pieces among 20 tokens."""
    at, pieces = draw(st.integers(0, 4)), []
    for _ in range(draw(st.integers(1, max_fragments))):
        end = at + draw(st.integers(0, 2))
        pieces.append((at, end))
        at = end + draw(st.integers(1, 2))
    return tuple(pieces)


@st.composite
def random_loops(draw, max_fragments, max_size=6):
    """Structures that may nest, cross, share mentions and be equal."""
    pool = draw(st.lists(mentions(max_fragments), min_size=1, max_size=5))
    loops = []
    for label in draw(st.lists(st.sampled_from(sorted(ARITIES)), max_size=max_size)):
        count = draw(st.sampled_from(ARITIES[label]))
        loops.append(Loop(label, tuple(draw(st.sampled_from(pool)) for _ in range(count))))
    return loops


@st.composite
def separate_loops(draw, form):
    """Structures that share no token; over A2A the arguments of a relation have one piece."""
    loops, at = [], 0
    for label in draw(st.lists(st.sampled_from(sorted(ARITIES)), max_size=6)):
        counts = ARITIES[label] if form == "as" else ARITIES[label][:1]  # R(1, 2, 3) would be R(1 2, 3) too
        count = draw(st.sampled_from(counts))
        found = []
        for _ in range(count):
            pieces = []
            for _ in range(1 if count > 1 and form == "a2a" else draw(st.integers(1, 3))):
                end = at + draw(st.integers(0, 2))
                pieces.append((at, end))
                at = end + draw(st.integers(1, 2))
            found.append(tuple(pieces))
        loops.append(Loop(label, tuple(draw(st.permutations(found)))))
    return loops


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("max_fragments", [1, 2, 3])
@settings(max_examples=40)
@given(data=st.data())
def test_decoded_structures_contain_the_encoded_ones(form, max_fragments, data):
    loops = data.draw(random_loops(max_fragments))
    decoded, truncated = decode_links(encode_loops(loops, form), SCHEMA, LoopLimits(max_fragments, form))
    assert keys(loops) <= keys(decoded)
    assert not truncated
    assert all(loop.score == 1.0 for loop in decoded)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=100)
@given(data=st.data())
def test_structures_that_share_no_token_come_back_exactly(form, data):
    loops = data.draw(separate_loops(form))
    decoded, _ = decode_links(encode_loops(loops, form), SCHEMA, LoopLimits(3, form))
    assert keys(decoded) == keys(loops)
    assert len(decoded) == len(keys(decoded))


@settings(max_examples=60)
@given(data=st.data())
def test_one_structure_comes_back_exactly_even_if_its_mentions_overlap(data):
    label = data.draw(st.sampled_from([A, S]))  # three that overlap may close other loops
    (count,) = ARITIES[label]
    loop = Loop(label, tuple(data.draw(mentions(1)) for _ in range(count)))
    for form, max_fragments in (("as", 3), ("a2a", 1)):
        decoded, _ = decode_links(encode_loops([loop], form), SCHEMA, LoopLimits(max_fragments, form))
        assert keys(decoded) == {(loop.label, loop.mentions)}


def test_nested_entities_of_one_type_come_back_exactly_where_borders_differ_and_close_a_third_where_not():
    loops = [Loop(0, (((1, 6),),)), Loop(0, (((2, 4),),))]
    assert keys(decode_links(encode_loops(loops), SCHEMA, LoopLimits())[0]) == keys(loops)
    # The ambiguity of the encoding: B's span runs from A's start to C's end, so type 0 closes there too.
    loops = [Loop(0, (((1, 2),),)), Loop(0, (((4, 6),),)), Loop(1, (((1, 6),),))]
    assert keys(decode_links(encode_loops(loops), SCHEMA, LoopLimits())[0]) == keys(
        [*loops, Loop(0, (((1, 6),),))]
    )


def test_crossing_relations_of_one_type_close_the_pairs_that_share_ends():
    one, two, three = ((0, 0),), ((2, 2),), ((4, 4),)
    loops = [Loop(S, (one, two)), Loop(S, (two, three))]
    assert keys(decode_links(encode_loops(loops), SCHEMA, LoopLimits())[0]) == keys(loops)
    loops.append(Loop(R, (one, three)))
    found = keys(decode_links(encode_loops(loops), SCHEMA, LoopLimits())[0])
    assert found - keys(loops) == {(S, (one, three)), (R, (one, two, three))}


# ---- decode = exhaustive enumeration


def enumerate_mentions(links, limits, num_tokens):
    """Every way to join spans that are on to a mention, with the probabilities of its links."""
    spans = [s for s in itertools.combinations_with_replacement(range(num_tokens), 2) if s in links.inside]

    def join(left, right):
        """Probability of the link between two pieces, 0 if there is none."""
        if right[0] <= left[1]:
            return 0.0
        if limits.fragment_links == "a2a":
            return links.next.get((left[1], right[0]), 0.0)
        return links.inside.get((right[0], left[1]), 0.0)

    found = {}
    for count in range(1, limits.max_fragments + 1):
        for pieces in itertools.product(spans, repeat=count):
            joins = [join(*pair) for pair in itertools.pairwise(pieces)]
            if all(joins):
                found[pieces] = [links.inside[piece] for piece in pieces] + joins
    return found


def enumerate_loops(links, limits, thresholds, num_tokens):
    """All closed loops by trying every label with every chain of mentions, with their scores."""
    found = enumerate_mentions(links, limits, num_tokens)
    chains = {1: [((mention,), probs) for mention, probs in found.items()]}
    for count in (2, 3):
        chains[count] = [
            ((*parts, last), [*probs, links.next[parts[-1][-1][1], last[0][0]], *found[last]])
            for (parts, probs), last in itertools.product(chains[count - 1], found)
            if (parts[-1][-1][1], last[0][0]) in links.next
        ]
    loops = {}
    for label, arities in ARITIES.items():
        for parts, probs in itertools.chain(*(chains[arity] for arity in arities)):
            first, last = (label, parts[0][0][0]), (label, parts[-1][-1][1])
            probs = [links.open.get(first, 0.0), *probs, links.close.get(last, 0.0)]
            if min(probs) > thresholds[label]:
                loops[label, parts] = math.prod(probs) ** (1 / len(probs))
    return loops


@st.composite
def random_links(draw):
    num_tokens = draw(st.integers(1, 6))
    token = st.integers(0, num_tokens - 1)
    prob = st.sampled_from([0.2, 0.4, 0.6, 0.8, 1.0])

    def some(first, max_size):
        return draw(st.dictionaries(st.tuples(first, token), prob, max_size=max_size))

    label = st.sampled_from([A, R, S, Q, X])  # a class never goes through mentions
    return num_tokens, RecordLinks(some(label, 12), some(label, 12), some(token, 12), some(token, 10))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("max_fragments", [1, 2, 3])
@settings(max_examples=50)
@given(drawn=random_links(), thresholds=st.lists(st.sampled_from([0.0, 0.3, 0.6]), min_size=9, max_size=9))
def test_decode_equals_exhaustive_enumeration(form, max_fragments, drawn, thresholds):
    num_tokens, links = drawn
    limits = LoopLimits(max_fragments, form)
    decoded, truncated = decode_links(links, SCHEMA, limits, thresholds)
    expected = enumerate_loops(links, limits, thresholds, num_tokens)
    assert not truncated
    assert {(loop.label, loop.mentions): loop.score for loop in decoded} == pytest.approx(expected)
    assert len(decoded) == len(expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("max_fragments", "num_tokens"), [(1, 4), (3, 3)])
def test_decode_equals_exhaustive_enumeration_where_most_links_are_on(form, max_fragments, num_tokens):
    random = Random(0)
    labels = len(SCHEMA.labels)
    rows = {
        name: {
            (i, j): random.uniform(0.1, 1.0)
            for i in range(first)
            for j in range(num_tokens)
            if first == labels or random.random() < 0.8
        }
        for name, first in (("open", labels), ("close", labels), ("inside", num_tokens), ("next", num_tokens))
    }
    links, limits = RecordLinks(**rows), LoopLimits(max_fragments, form)
    decoded, _ = decode_links(links, SCHEMA, limits)
    expected = enumerate_loops(links, limits, [0.0] * labels, num_tokens)
    assert {(label, len(parts)) for label, parts in expected} == {
        (A, 1),
        (B, 1),
        (R, 2),
        (R, 3),
        (S, 2),
        (Q, 3),
    }
    assert {(loop.label, loop.mentions): loop.score for loop in decoded} == pytest.approx(expected)


def test_threshold_is_exceeded_by_every_link_of_a_loop():
    links = RecordLinks(open={(0, 0): 0.9}, close={(0, 1): 0.5}, inside={(0, 1): 0.9})
    for threshold, count in ((0.49, 1), (0.5, 0), (0.7, 0)):  # the mean would pass 0.7
        assert len(decode_links(links, SCHEMA, LoopLimits(), [threshold] * 9)[0]) == count


# ---- bounded work


def full(rows, columns):
    return {(i, j): 0.9 for i in rows for j in columns}


ALL, EARLY, LATE = range(512), range(256), range(256, 512)
ADVERSARIAL = {  # most fragments, their form, AS, A2A
    "every link is on": (3, "a2a", full(ALL, ALL), full(ALL, ALL)),
    "every end leads to starts without a span": (1, "as", full(EARLY, ALL), full(ALL, LATE)),
    "every fragment leads to starts without a span": (
        3,
        "as",
        {(i, j): p for (i, j), p in full(ALL, ALL).items() if i < 256 or j < 256},
        full(EARLY, LATE),
    ),
}


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_links_of_512_tokens_are_decoded_in_bounded_time(case):
    max_fragments, form, inside, following = ADVERSARIAL[case]
    links = RecordLinks(full(ARITIES, ALL), full(ARITIES, ALL), inside, following)
    started = time.process_time()
    loops, truncated = decode_links(links, SCHEMA, LoopLimits(max_fragments, form))
    assert time.process_time() - started < BOUND_S
    assert truncated
    assert loops


@settings(max_examples=50)
@given(drawn=random_links(), max_steps=st.integers(0, 30))
def test_truncated_decoding_finds_some_of_the_loops_and_says_so(drawn, max_steps):
    whole, _ = decode_links(drawn[1], SCHEMA, LoopLimits(2))
    part, truncated = decode_links(drawn[1], SCHEMA, LoopLimits(2, max_steps=max_steps))
    assert set(part) <= set(whole)
    assert truncated or part == whole


# ---- classes


@pytest.mark.parametrize(
    ("probs", "expected"),
    [
        ({X: 0.2, Y: 0.3, U: 0.6, V: 0.7}, [Y, U, V]),
        ({X: 0.3, Y: 0.3, U: 0.5, V: 0.4}, [X]),  # one class of a single-label task, whatever its probability
        ({Y: 0.1}, [Y]),
        ({U: 0.51}, [U]),
        ({}, []),
    ],
)
def test_class_loops_takes_the_best_of_one_task_and_all_above_the_threshold_of_another(probs, expected):
    loops = list(class_loops(probs, SCHEMA, [0.5] * 9))
    single = shares_of_odds({label: probs[label] for label in (X, Y) if label in probs})
    scores = probs | (single if len(single) > 1 else {})
    assert loops == [Loop(label, (), scores[label]) for label in expected]


@given(logits=st.dictionaries(st.integers(0, 5), st.floats(-30, 30), min_size=1))
def test_shares_of_odds_are_the_softmax_of_the_log_odds(logits):
    shares = shares_of_odds({i: 1 / (1 + math.exp(-x)) for i, x in logits.items()})
    total = sum(math.exp(x) for x in logits.values())
    assert shares == pytest.approx({i: math.exp(x) / total for i, x in logits.items()}, abs=1e-3)


def test_shares_of_certain_classes_are_equal():
    assert shares_of_odds({0: 1.0, 1: 0.9, 2: 1.0}) == {0: 0.5, 1: 0.0, 2: 0.5}
    assert shares_of_odds({0: 0.0, 1: 0.0}) == {0: 0.5, 1: 0.5}


def test_class_loops_uses_the_threshold_of_each_class():
    thresholds = [0.5] * 7 + [0.2, 0.9]
    assert [loop.label for loop in class_loops({U: 0.3, V: 0.8}, SCHEMA, thresholds)] == [U]
