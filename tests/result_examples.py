"""Results for tests: one with everything in it, and a strategy that draws results of any kind."""

from hypothesis import strategies as st

TEXT = "Ann Lee of Acme said <b>pain</b> in arms & legs."


def mention(text, words, score=0.5, **extra):
    """The first place of `words`, or of each of a tuple of words, in a text."""
    pieces = [[text.index(w), text.index(w) + len(w)] for w in ([words] if isinstance(words, str) else words)]
    found = {**extra, "start": pieces[0][0], "end": pieces[-1][1]}
    found["text"] = " ".join(text[start:end] for start, end in pieces)
    if len(pieces) > 1:
        found["fragments"] = pieces
    return found | {"score": score}


ANN = mention(TEXT, "Ann Lee", 0.9, type="person")
LEE = mention(TEXT, "Lee", 0.4, type="name")
ACME = mention(TEXT, "Acme", 0.8, type="organization")
PAIN = mention(TEXT, ("pain", "legs"), 0.7, type="symptom")
ARMS = mention(TEXT, "arms", 0.6)

FULL = {
    "id": "r-1",
    "text": TEXT,
    "entities": [ANN, LEE, ACME, PAIN],
    "relations": [{"type": "works for", "head": ANN, "tail": ACME, "score": 0.75}],
    "hyper_relations": [
        {
            "type": "employer",
            "head": ACME,
            "tail": {**mention(TEXT, "said"), "type": None},
            "qualifiers": [{**ARMS, "type": "place"}],
            "score": 0.65,
        }
    ],
    "events": [
        {
            "type": "statement",
            "trigger": mention(TEXT, "said", 0.55),
            "arguments": [mention(TEXT, "Ann Lee", 0.45, role="speaker"), {**ARMS, "role": "topic"}],
            "score": 0.55,
        }
    ],
    "classes": {"tone": [{"label": "neutral", "score": 0.85}], "topic": []},
    "question": "Who spoke?",
    "answers": [mention(TEXT, "Ann Lee", 0.95)],
    "spans": [mention(TEXT, "<b>pain</b>", 0.35)],
    "truncated": True,
    "windows": 2,
    "rows": 1,
    "calibrated": True,
}

SCORES = st.integers(0, 100).map(lambda hundredths: hundredths / 100)
# What could end a tag, an attribute, a script or a line, turn the direction of what follows, or join with it.
NASTY = st.sampled_from(
    ["<script>alert(1)</script>", "</mark>", '"', "'", "&amp;", "&#13;", "<!--", "]]>", "\r", "\r\n", "\n"]
    + [
        "\u2028",
        "\u202e",
        "\u0301",
        "مرحبا",
        "北京",
        "\U0001f469\u200d\U0001f467",
        "\0",
        "\x0c",
        " ",
        "  ",
        "\t",
    ]
)
NAMES = NASTY.map("a{}".format) | st.sampled_from(["person", "works for", "ü", "<", "{", "%s", "x" * 90])
TEXTS = st.lists(NASTY | st.sampled_from(["a", "Ann Lee", "1999", ".", "\ufffd", "é"]), max_size=8).map(
    "".join
)


@st.composite
def mentions(draw, text, **extra):
    """A mention of a text that is not empty, sometimes in several pieces."""
    cuts = draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=6))
    cuts = sorted(cuts)[: len(cuts) // 2 * 2]
    pieces = [[start, end] for start, end in zip(cuts[::2], cuts[1::2], strict=True)]
    found = {name: draw(strategy) for name, strategy in extra.items()}
    found |= {"start": cuts[0], "end": cuts[-1], "text": " ".join(text[s:e] for s, e in pieces)}
    return found | ({"fragments": pieces} if len(pieces) > 1 else {}) | {"score": draw(SCORES)}


@st.composite
def results(draw):
    """A result as the pipeline gives it: any text, any subset of the structures."""
    text = draw(TEXTS)

    def some(strategy, most=4):
        return st.lists(strategy, max_size=most) if text else st.just([])  # nothing is in an empty text

    def structures(**parts):
        return some(st.fixed_dictionaries({"type": NAMES, **parts, "score": SCORES}), most=3)

    ends = {end: mentions(text, type=st.none() | NAMES) for end in ("head", "tail")}
    label = st.fixed_dictionaries({"label": NAMES, "score": SCORES})
    asked = {
        "entities": some(mentions(text, type=NAMES)),
        "relations": structures(**ends),
        "hyper_relations": structures(**ends, qualifiers=some(mentions(text, type=NAMES))),
        "events": structures(trigger=mentions(text), arguments=some(mentions(text, role=NAMES))),
        "classes": st.dictionaries(NAMES, st.lists(label, max_size=2), max_size=2),
        "spans": some(mentions(text)),
    }
    found = draw(st.fixed_dictionaries({}, optional=asked))
    if draw(st.booleans()):
        found |= {"question": draw(NAMES), "answers": draw(some(mentions(text)))}
    return {"text": text, **found, "truncated": draw(st.booleans()), "windows": 1, "rows": 1}
