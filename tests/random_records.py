"""Random records with every structure, on a text of one-letter words; token i is character 2 i."""

from hypothesis import strategies as st

from ldnet.processing.alignment import TextTokens
from ldnet.processing.schema import Schema

NUM_TOKENS = 12
TEXT = " ".join("abcdefghijkl")
TOKENS = TextTokens(list(range(12)), list(range(0, 24, 2)), list(range(1, 25, 2)))

# Names stand in several places: an entity type is an event type, a relation is a hyper-relation and a
# qualifier, a role is a relation, two event types share a role and two class tasks a class.
SCHEMA = Schema.from_any(
    {
        "entities": ["a", "b"],
        "relations": ["r", {"type": "s", "symmetric": True}],
        "hyper_relations": [
            {"type": "h", "qualifiers": ["q", "r"]},
            {"type": "r", "qualifiers": ["q"]},
        ],
        "events": [{"type": "a", "roles": ["who", "r"]}, {"type": "e", "roles": ["who", "where"]}],
        "classes": {
            "topic": {"labels": ["x", "y"], "multi_label": False},
            "tone": {"labels": ["x", "z"], "multi_label": True},
        },
        "question": "Who?",
        "spans": True,
    }
)


def place(*pieces):
    """A mention over tokens: (first, last) of each of its pieces, both inclusive."""
    chars = [[2 * first, 2 * last + 1] for first, last in pieces]
    mention = {"start": chars[0][0], "end": chars[-1][1]}
    return mention if len(chars) == 1 else mention | {"fragments": chars}


@st.composite
def mentions(draw, max_fragments):
    """A mention of up to `max_fragments` pieces."""
    at, pieces = draw(st.integers(0, NUM_TOKENS - 9)), []
    for _ in range(draw(st.integers(1, max_fragments))):
        last = at + draw(st.integers(0, 1))
        pieces.append((at, last))
        at = last + draw(st.integers(1, 2))
    return place(*pieces)


@st.composite
def facts(draw, some):
    """Relations, hyper-relations with qualifiers and events with arguments over the mentions of `some`."""

    def several(item, most=2):
        return draw(st.lists(item, max_size=most))

    def typed(names, key="type"):
        return st.builds(lambda name, mention: {key: name, **mention}, st.sampled_from(names), some)

    kept = {}
    kept["relations"] = [
        {"type": name, "head": draw(some), "tail": draw(some)} for name in several(st.sampled_from("rs"))
    ]
    kept["hyper_relations"] = [
        {
            "type": fact.name,
            "head": draw(some),
            "tail": draw(some),
            "qualifiers": several(typed([qualifier.name for qualifier in fact.qualifiers])),
        }
        for fact in several(st.sampled_from(SCHEMA.hyper_relations))
    ]
    kept["events"] = [
        {
            "type": event.name,
            "trigger": draw(some),
            "arguments": several(typed([role.name for role in event.roles], "role")),
        }
        for event in several(st.sampled_from(SCHEMA.events))
    ]
    return kept | {"entities": several(typed(["a", "b"]), 3)}


@st.composite
def records(draw, max_fragments=1):
    """A record whose structures nest, cross, share mentions and are repeated; keys may be empty or absent."""
    pool = draw(st.lists(mentions(max_fragments), min_size=1, max_size=4))
    some = st.sampled_from(pool)
    found = draw(facts(some))
    found["classes"] = {
        "topic": draw(st.lists(st.sampled_from("xy"), max_size=1)),
        "tone": draw(st.lists(st.sampled_from("xz"), unique=True)),
    }
    found |= {key: draw(st.lists(some, max_size=2)) for key in ("answers", "spans")}
    absent = draw(st.sets(st.sampled_from(sorted(found))))
    return {"text": TEXT, "question": "Who?"} | {k: v for k, v in found.items() if k not in absent}
