"""Records of all nine tasks for the tests of metrics: a schema, strategies, slow comparisons as oracles."""

from hypothesis import strategies as st

from ldnet.processing.schema import Schema

PLAIN = {
    "entities": ["person", "organization"],
    "relations": [{"type": "works for"}, {"type": "married to", "symmetric": True}],
    "hyper_relations": [
        {"type": "employer", "qualifiers": ["start time", "place"]},
        {"type": "award", "qualifiers": ["place"]},
    ],
    "events": [{"type": "attack", "roles": ["agent", "place"]}, {"type": "start", "roles": ["agent"]}],
    "classes": {
        "topic": {"labels": ["a", "b", "c"], "multi_label": False},
        "mood": {"labels": ["a", "x"], "multi_label": True},
    },
    "question": "?",
    "spans": True,
}
SCHEMA = Schema.from_any(PLAIN)
TEXT = "a The. cat the."  # its words have articles and full stops, which answers may lack
KEYS = ("entities", "relations", "hyper_relations", "events", "classes", "answers", "spans")


@st.composite
def mentions(draw):
    cuts = sorted(draw(st.sets(st.integers(0, 4), min_size=2, max_size=4)))
    if len(cuts) < 4:
        return {"start": cuts[0], "end": cuts[1]}
    return {"start": cuts[0], "end": cuts[3], "fragments": [cuts[:2], cuts[2:]]}


def labelled(key, names, items=None):
    made = mentions() if items is None else items
    return st.builds(lambda label, item: {key: label, **item}, st.sampled_from(names), made)


TYPES = ("person", "organization")
TYPED = labelled("type", TYPES)
RELATIONS = st.builds(
    lambda label, head, tail: {"type": label, "head": head, "tail": tail},
    st.sampled_from(["works for", "married to"]),
    TYPED,
    TYPED,
)


@st.composite
def facts(draw):
    label, names = draw(st.sampled_from([("employer", ["start time", "place"]), ("award", ["place"])]))
    qualifiers = draw(st.lists(labelled("type", names), max_size=2))
    return {"type": label, "head": draw(mentions()), "tail": draw(mentions()), "qualifiers": qualifiers}


@st.composite
def events(draw):
    label, names = draw(st.sampled_from([("attack", ["agent", "place"]), ("start", ["agent"])]))
    arguments = draw(st.lists(labelled("role", names), max_size=3))
    return {"type": label, "trigger": draw(mentions()), "arguments": arguments}


@st.composite
def answers(draw):
    cuts = sorted(draw(st.sets(st.integers(0, len(TEXT)), min_size=2, max_size=2)))
    return {"start": cuts[0], "end": cuts[1]}


def lists(items):
    return st.lists(items, max_size=3)


CLASSES = st.fixed_dictionaries(
    {
        "topic": st.sampled_from([["a"], ["b"], ["c"]]),
        "mood": st.lists(st.sampled_from(["a", "x"]), unique=True),
    }
)
SCORED_CLASSES = CLASSES.map(
    lambda tasks: {task: [{"label": name, "score": 0.5} for name in names] for task, names in tasks.items()}
)
ITEMS = {
    "entities": lists(TYPED),
    "relations": lists(RELATIONS),
    "hyper_relations": lists(facts()),
    "events": lists(events()),
    "answers": lists(answers()),
    "spans": lists(mentions()),
}
TEXT_ONLY = {"text": st.just(TEXT)}
RECORDS = st.fixed_dictionaries(TEXT_ONLY | ITEMS | {"classes": CLASSES})
RESULTS = st.fixed_dictionaries(TEXT_ONLY | ITEMS | {"classes": st.one_of(CLASSES, SCORED_CLASSES)})
GOLD = st.one_of(RECORDS, st.fixed_dictionaries(TEXT_ONLY, optional=ITEMS | {"classes": CLASSES}))
PAIRS = st.tuples(GOLD, RESULTS)


# Slow oracles: structures are compared pair by pair, and every count is a loop.


def pieces(mention):
    return mention.get("fragments") or [[mention["start"], mention["end"]]]


def same_relation(gold, predicted, strict):
    def fits(head, tail):
        ends = ((gold["head"], head), (gold["tail"], tail))
        return all(
            pieces(a) == pieces(b) and (not strict or a.get("type") is None or a.get("type") == b.get("type"))
            for a, b in ends
        )

    if gold["type"] != predicted["type"]:
        return False
    swapped = gold["type"] == "married to" and fits(predicted["tail"], predicted["head"])
    return fits(predicted["head"], predicted["tail"]) or swapped


def arguments_of(record):
    return [
        [event["type"], argument["role"], pieces(argument), pieces(event["trigger"])]
        for event in record["events"]
        for argument in event["arguments"]
    ]


def quintuples_of(record):
    return [
        [fact["type"], pieces(fact["head"]), pieces(fact["tail"]), qualifier["type"], pieces(qualifier)]
        for fact in record["hyper_relations"]
        for qualifier in fact["qualifiers"]
    ]


def classes_of(record):
    return [
        [task, item["label"] if isinstance(item, dict) else item]
        for task, items in record["classes"].items()
        for item in items
    ]


def equal(gold, predicted):
    return gold == predicted


# Of each task but answers: the key it needs, its structures in a record, and when two are the same.
ORACLES = {
    "entities": ("entities", lambda r: [[m["type"], pieces(m)] for m in r["entities"]], equal),
    "entities_discontinuous": (
        "entities",
        lambda r: [[m["type"], m["fragments"]] for m in r["entities"] if "fragments" in m],
        equal,
    ),
    "relations": ("relations", lambda r: r["relations"], lambda g, p: same_relation(g, p, strict=False)),
    "relations_strict": (
        "relations",
        lambda r: r["relations"],
        lambda g, p: same_relation(g, p, strict=True),
    ),
    "hyper_relations": ("hyper_relations", quintuples_of, equal),
    "hyper_triples": (
        "hyper_relations",
        lambda r: [[f["type"], pieces(f["head"]), pieces(f["tail"])] for f in r["hyper_relations"]],
        equal,
    ),
    "triggers": ("events", lambda r: [[e["type"], pieces(e["trigger"])] for e in r["events"]], equal),
    "arguments": ("events", lambda r: [item[:3] for item in arguments_of(r)], equal),
    "arguments_strict": ("events", arguments_of, equal),
    "spans": ("spans", lambda r: [pieces(span) for span in r["spans"]], equal),
    "classes": ("classes", classes_of, equal),
}


def distinct(items, same):
    kept = []
    for item in items:
        if not any(same(other, item) for other in kept):
            kept.append(item)
    return kept


def slow_counts(task, gold, predicted):
    """tp, fp, fn of a task other than answers."""
    key, structures, same = ORACLES[task]
    if gold.get(key) is None:
        return [0, 0, 0]
    gold, predicted = (distinct(structures(side), same) for side in (gold, predicted))
    tp = sum(any(same(g, p) for g in gold) for p in predicted)
    fn = sum(not any(same(g, p) for p in predicted) for g in gold)
    return [tp, len(predicted) - tp, fn]
