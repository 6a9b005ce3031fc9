"""Random records for the tests of what writes and reads them."""

from hypothesis import strategies as st

# Letters of several scripts, signs, an emoji (two UTF-16 units), a combining accent and line ends.
CHARACTERS = "abcXYZ019.,'-#()的京都éß\u0301🙂𐍈\t\n\r "
LETTERS = "abcXYZ019.,'的京都éß🙂#"
LABELS = ("person", "work of art", "geo-loc", "时间", "a_b")
ROLES = ("agent", "place of it")

texts = st.text(CHARACTERS, max_size=30)
words = st.text(LETTERS, min_size=1, max_size=5)
labels = st.sampled_from(LABELS)


def pieces_in(draw, length, most):
    """Some stretches of a text, in order, none touching another."""
    count = draw(st.integers(1, most))
    edges = draw(
        st.lists(st.integers(0, length), min_size=2 * count, max_size=2 * count, unique=True).map(sorted)
    )
    return [[edges[i], edges[i + 1]] for i in range(0, 2 * count, 2)]


@st.composite
def mentions_in(draw, text, most_pieces=1):
    """A mention of a text that has characters."""
    pieces = pieces_in(draw, len(text), min(most_pieces, (len(text) + 1) // 2))
    mention = {"start": pieces[0][0], "end": pieces[-1][1]}
    return mention | {"fragments": pieces} if len(pieces) > 1 else mention


@st.composite
def records(draw, most_pieces=1, classes=False):
    """A record with nested, crossing (and discontinuous) entities, and relations and events between them."""
    text = draw(texts)
    record = {"text": text, "entities": [], "relations": [], "events": []}
    if classes:
        record["classes"] = {"topic": draw(st.lists(st.sampled_from(["x", "y z"]), min_size=1, unique=True))}
    if not text:
        return record
    found = draw(st.lists(mentions_in(text, most_pieces), max_size=4))
    typed = {str(sorted((item := {"type": draw(labels), **m}).items())): item for m in found}
    record["entities"] = list(typed.values())
    if not record["entities"]:
        return record
    entity = st.sampled_from(record["entities"])
    for _ in range(draw(st.integers(0, 2))):
        record["relations"].append({"type": draw(labels), "head": draw(entity), "tail": draw(entity)})
    for _ in range(draw(st.integers(0, 2))):
        arguments = [
            {"role": draw(st.sampled_from(ROLES))} | {k: v for k, v in draw(entity).items() if k != "type"}
            for _ in range(draw(st.integers(0, 2)))
        ]
        trigger = draw(mentions_in(text, most_pieces))
        record["events"].append({"type": draw(labels), "trigger": trigger, "arguments": arguments})
    return record


@st.composite
def token_runs(draw, flat=False):
    """Tokens, and labelled runs of them as (first, last inclusive, label)."""
    tokens = draw(st.lists(words, min_size=1, max_size=8))
    runs, begin = [], 0
    for _ in range(draw(st.integers(0, 3))):
        if begin >= len(tokens):
            break
        first = draw(st.integers(begin, len(tokens) - 1))
        last = draw(st.integers(first, len(tokens) - 1))
        runs.append((first, last, draw(labels)))
        begin = last + 1 if flat else 0
    return tokens, runs


def entities_of(tokens, runs, separator=" "):
    """The entities that runs of tokens are, counted in a way of its own."""
    return [
        {
            "type": label,
            "start": len(separator.join([*tokens[:first], ""])),
            "end": len(separator.join(tokens[: last + 1])),
        }
        for first, last, label in runs
    ]


def same(record):
    """A record in a form in which two equal ones are equal: absent lists are empty, order does not count."""
    lists = ("entities", "relations", "events")
    found = {key: sorted(map(repr, map(_sorted, record.get(key) or []))) for key in lists}
    return {"text": record["text"], **found, "classes": record.get("classes") or {}}


def _sorted(value):
    if isinstance(value, dict):
        return sorted((key, _sorted(item)) for key, item in value.items())
    return [_sorted(item) for item in value] if isinstance(value, list) else value
