import copy
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ldnet.processing.schema import Schema
from ldnet.train.data import validate_records

# The machine may be busy; how long an example takes says nothing.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXTS = st.text(alphabet="ab \r\né人🙂\u0301\u2028", min_size=4, max_size=12)
LABELS = ["place", "person", "org"]


@st.composite
def mentions(draw, text, key="type", labels=LABELS):
    """A mention of the text: labelled under `key` if there is one, sometimes in pieces or with a score."""
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=4)))
    mention = {} if key is None else {key: draw(st.sampled_from(labels))}
    mention |= {"start": cuts[0], "end": cuts[-1]}
    if len(cuts) == 4:
        mention["fragments"] = [cuts[:2], cuts[2:]]
    elif draw(st.booleans()):
        mention |= {"text": text[cuts[0] : cuts[-1]], "score": draw(st.floats(0, 1))}
    return mention


@st.composite
def records(draw):
    """Any valid record."""
    text = draw(TEXTS)

    def several(items):
        return st.lists(items, max_size=2)

    end = mentions(text) | mentions(text, None)
    relation = {"type": st.sampled_from(["knows", "in"]), "head": end, "tail": end}
    hyper = {**relation, "qualifiers": several(mentions(text, labels=["since", "until"]))}
    event = {
        "type": st.sampled_from(["attack", "sale"]),
        "trigger": mentions(text, None),
        "arguments": several(mentions(text, "role", ["agent", "buyer"])),
    }
    topics = st.lists(st.sampled_from(["x", "y"]), unique=True)
    keys = {
        "entities": several(mentions(text)),
        "relations": several(st.fixed_dictionaries(relation)),
        "hyper_relations": several(st.fixed_dictionaries(hyper)),
        "events": several(st.fixed_dictionaries(event)),
        "classes": st.fixed_dictionaries({}, optional={"topic": topics}),
        "spans": several(mentions(text, None)),
        "image": st.just("a.jpg"),
        "question": st.none() | st.just("Who?"),
    }
    return {"text": text, **draw(st.fixed_dictionaries({}, optional=keys))}


@unhurried
@given(st.lists(records(), max_size=4))
def test_validate_records_accepts_valid_records_with_and_without_their_schema(batch):
    assert validate_records(batch) == []
    assert validate_records(batch, Schema.from_records(batch)) == []


FULL = {
    "id": "r1",
    "text": "Jerry joined Acme in 1999.",
    "entities": [{"type": "person", "start": 0, "end": 5, "cluster": 0, "clusters": [0, 1]},
                 {"type": "org", "start": 13, "end": 17, "cluster": 1}],
    "relations": [{"type": "works for", "head": {"type": "person", "start": 0, "end": 5},
                   "tail": {"type": "org", "start": 13, "end": 17}}],
    "hyper_relations": [{"type": "employer", "head": {"start": 0, "end": 5}, "tail": {"start": 13, "end": 17},
                         "qualifiers": [{"type": "start time", "start": 21, "end": 25}]}],
    "events": [{"type": "hire", "trigger": {"start": 6, "end": 12},
                "arguments": [{"role": "employee", "start": 0, "end": 5}]}],
    "classes": {"topic": ["business"]},
    "question": "Who?",
    "answers": [{"start": 0, "end": 5}],
    "spans": [{"start": 0, "end": 5}],
    "image": "a.jpg",
    "labels": {"entities": ["org", "person"], "relations": ["works for"], "classes": {"topic": ["business"]}},
    "sentences": [[0, 12], [13, 26]],
    "document_relations": [{"type": "works for", "head_cluster": 0, "tail_cluster": 1, "evidence": [0, 1]}],
    "truncated": False,
}  # fmt: skip
SCHEMA = Schema.from_dict({
    "entities": ["person", "org", "place"],
    "relations": [{"type": "works for", "head": ["person"], "tail": ["org"]},
                  {"type": "knows", "head": ["person"], "tail": ["org"], "symmetric": True}],
    "hyper_relations": [{"type": "employer", "qualifiers": ["start time"]}],
    "events": [{"type": "hire", "roles": ["employee"]}],
    "classes": {"topic": ["business", "sports"], "mood": {"labels": ["good"], "multi_label": True}},
})  # fmt: skip
OFFSETS = "Offsets count characters from 0, end exclusive."
PART = 'Write {"start": …, "end": …} (and "type" where it has one).'
NO_LIST = "Write a list ([] for none) or leave the key out."
OUT_OF_ORDER = "Write [[start, end], …], each inside the text and none before the end of the one before."
GONE = object()

# (path to the value, the wrong value, problem as text after the place); GONE removes the value.
CORRUPTIONS = [
    ("text", GONE, 'text: missing. Add "text": the string that the offsets count in.'),
    ("text", 5, "text = 5: not a string. Write the text in quotes."),
    ("text", "Jerry joined Acme in 1999\ud800",
     r"text = 'Jerry joined Acme in 1999\ud800': half of a surrogate pair in it. No tokenizer can read"
     r" it: decode the text again from its source."),
    ("id", 1.5, "id = 1.5: not a string. Write it in quotes or leave it out."),
    ("entitys", [], "entitys = []: unknown key. Allowed: id, text, entities, relations, hyper_relations,"
     " events, classes, question, answers, spans, image, labels, sentences, document_relations, truncated,"
     " windows, rows, calibrated."
     " Did you mean 'entities'?"),
    ("spans", {}, f"spans = {{}}: not a list. {NO_LIST}"),
    ("entities.1", "org", "entities[1] = 'org': not an object. Write {…} with type, start, end."),
    ("entities.0.typ", "x", "entities[0].typ = 'x': unknown key. Allowed: type, start, end, fragments,"
     " text, score, cluster, clusters. Did you mean 'type'?"),
    ("entities.0.type", GONE, "entities[0].type: missing. Name the entity type."),
    ("entities.0.type", 3, "entities[0].type = 3: not a name. Write the entity type as a string."),
    ("entities.0.type", "Person", "entities[0].type = 'Person': no entity type of the schema. Allowed:"
     " ['person', 'org', 'place']. Did you mean 'person'?"),
    ("entities.0.type", "xyz", "entities[0].type = 'xyz': no entity type of the schema. Allowed:"
     " ['person', 'org', 'place']. Correct it or add it to the schema."),
    ("entities.0.type", "place", "entities[0].type = 'place': not among the record's own labels. They are"
     " ['org', 'person']. Add it there or remove it here."),
    ("entities.0.end", 27, f"entities[0].end = 27: outside the text of 26 characters. {OFFSETS}"),
    ("entities.0.start", True, f"entities[0].start = True: not an integer. {OFFSETS}"),
    ("entities.0.fragments", [[0, 5]],
     "entities[0].fragments = [[0, 5]]: fewer than two pieces. Leave it out: start and end say it all."),
    ("entities.0.cluster", "0", "entities[0].cluster = '0': not an integer. Number the clusters from 0."),
    ("entities.0.clusters", 3, "entities[0].clusters = 3: not a list of integers. Write e.g. [0, 3]."),
    ("entities.0.score", 2, "entities[0].score = 2: not a probability. Write a number from 0 to 1."),
    ("relations.0.type", "work for", "relations[0].type = 'work for': no relation of the schema. Allowed:"
     " ['works for', 'knows']. Did you mean 'works for'?"),
    ("relations.0.type", "knows", "relations[0].type = 'knows': not among the record's own labels. They"
     " are ['works for']. Add it there or remove it here."),
    ("relations.0.head", GONE, f"relations[0].head: missing. {PART}"),
    ("relations.0.tail", [13, 17], f"relations[0].tail = [13, 17]: not an object. {PART}"),
    ("relations.0.head.cluster", 0, "relations[0].head.cluster = 0: unknown key. Allowed: type, start,"
     " end, fragments, text, score. Correct or remove it."),
    ("relations.0.head.type", "persn", "relations[0].head.type = 'persn': no entity type of the schema."
     " Allowed: ['person', 'org', 'place']. Did you mean 'person'?"),
    ("relations.0.head.type", "org", "relations[0].head.type = 'org': no head of 'works for' in the"
     " schema. Allowed: ['person']. Correct it or add the type to the schema."),
    ("relations.0.tail.end", 13,
     f"relations[0].tail.end = 13: not after start = 13. A mention has characters. {OFFSETS}"),
    ("hyper_relations.0.type", "employr", "hyper_relations[0].type = 'employr': no hyper-relation of the"
     " schema. Allowed: ['employer']. Did you mean 'employer'?"),
    ("hyper_relations.0.qualifiers", "x", f"hyper_relations[0].qualifiers = 'x': not a list. {NO_LIST}"),
    ("hyper_relations.0.qualifiers.0.type", "end", "hyper_relations[0].qualifiers[0].type = 'end': no"
     " qualifier of the schema. Allowed: ['start time']. Correct it or add it to the schema."),
    ("hyper_relations.0.qualifiers.0.start", GONE,
     f'hyper_relations[0].qualifiers[0].start: missing. Add "start". {OFFSETS}'),
    ("events.0.type", "", "events[0].type = '': not a name. Write the event type as a string."),
    ("events.0.trigger", GONE, f"events[0].trigger: missing. {PART}"),
    ("events.0.trigger.end", 50, f"events[0].trigger.end = 50: outside the text of 26 characters. {OFFSETS}"),
    ("events.0.arguments.0.role", "employe", "events[0].arguments[0].role = 'employe': no role of the"
     " schema. Allowed: ['employee']. Did you mean 'employee'?"),
    ("events.0.arguments.0.type", "x", "events[0].arguments[0].type = 'x': unknown key. Allowed: role,"
     " start, end, fragments, text, score. Correct or remove it."),
    ("events.0.arguments.0.start", -1, f"events[0].arguments[0].start = -1: negative. {OFFSETS}"),
    ("classes", ["business"],
     "classes = ['business']: not an object. Write {\"task\": [\"class that holds\"]}."),
    ("classes.topics", ["x"], "classes.topics = 'topics': no class task of the schema. Allowed: ['topic',"
     " 'mood']. Did you mean 'topic'?"),
    ("classes.topic", "business", 'classes.topic = \'business\': not a list of names. Write ["…", "…"].'),
    ("classes.topic", ["sport"], "classes.topic = 'sport': no label of the schema. Allowed: ['business',"
     " 'sports']. Did you mean 'sports'?"),
    ("classes.topic", ["sports"], "classes.topic = 'sports': not among the record's own labels. They are"
     " ['business']. Add it there or remove it here."),
    ("classes.topic", [], "classes.topic = []: 0 classes in a single-label task. Write one class, or set"
     " \"multi_label\": true for 'topic' in the schema."),
    ("question", " ", "question = ' ': not a string with content. Write it in quotes or leave it out."),
    ("question", GONE, "question: missing beside answers. Add the question or remove the answers."),
    ("answers.0.type", "x", "answers[0].type = 'x': unknown key. Allowed: start, end, fragments, text,"
     " score. Correct or remove it."),
    ("answers.0.text", "jerry", "answers[0].text = 'jerry': not what the offsets cover. Characters 0 to 5"
     " are 'Jerry'. Correct one of the two."),
    ("spans.0", [0, 5], "spans[0] = [0, 5]: not an object. Write {…} with start, end, fragments."),
    ("image", 3, "image = 3: not a string with content. Write it in quotes or leave it out."),
    ("truncated", "no", "truncated = 'no': not true or false. Write true or false."),
    ("labels", ["org"], 'labels = [\'org\']: not an object. Write {"entities": ["…"]} or leave it out.'),
    ("labels.entity", [], "labels.entity = []: unknown key. Allowed: entities, relations, hyper_relations,"
     " events, classes. Did you mean 'entities'?"),
    ("labels.events", "hire", 'labels.events = \'hire\': not a list of names. Write ["…", "…"].'),
    ("labels.events", ["hire", "hiring"], "labels.events = 'hiring': no event type of the schema. Allowed:"
     " ['hire']. Did you mean 'hire'?"),
    ("labels.classes.mood", ["bad"], "labels.classes.mood = 'bad': no label of the schema. Allowed:"
     " ['good']. Correct it or add it to the schema."),
    ("labels.classes.topic", 3, 'labels.classes.topic = 3: not a list of names. Write ["…", "…"].'),
    ("sentences", [[0, 12], [11, 26]], "sentences = [[0, 12], [11, 26]]: not the sentences of the text in"
     " order."
     f" {OUT_OF_ORDER}"),
    ("sentences", [[0, 12], [13, 27]], "sentences = [[0, 12], [13, 27]]: not the sentences of the text in"
     " order."
     f" {OUT_OF_ORDER}"),
    ("document_relations.0.type", "works_for", "document_relations[0].type = 'works_for': no relation of"
     " the schema. Allowed: ['works for', 'knows']. Did you mean 'works for'?"),
    ("document_relations.0.tail_cluster", 7, "document_relations[0].tail_cluster = 7: no cluster of the"
     " record's entities. Entities are in [0, 1]. Correct it or mark the entities."),
    ("document_relations.0.evidence", [2], "document_relations[0].evidence = [2]: not sentences of the"
     " record. List numbers of sentences, from 0 to 1."),
    ("document_relations.0.evidence", "", "document_relations[0].evidence = '': not sentences of the"
     " record. List numbers of sentences, from 0 to 1."),
]  # fmt: skip


def corrupt(record, path, value):
    """Return a copy of the record with another value, or none, at the path."""
    record = copy.deepcopy(record)
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = record
    for step in parents:
        place = place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return record


def test_validate_records_record_with_every_key_has_no_problem():
    assert validate_records([FULL], SCHEMA) == []
    assert validate_records([FULL]) == []


@pytest.mark.parametrize(("path", "value", "problem"), CORRUPTIONS)
def test_validate_records_corruption_is_named_with_field_value_and_fix(path, value, problem):
    found = validate_records([corrupt(FULL, path, value)], SCHEMA, "a.jsonl")
    assert [str(item) for item in found] == [f"a.jsonl:1: {problem}"]


@unhurried
@given(
    before=st.lists(records(), max_size=2),
    after=st.lists(records(), max_size=2),
    corruption=st.sampled_from([item for item in CORRUPTIONS if "schema" not in item[2]]),
)
def test_validate_records_finds_a_corruption_at_its_line_among_other_records(before, after, corruption):
    path, value, problem = corruption
    found = validate_records([*before, corrupt(FULL, path, value), *after], source="a.jsonl")
    assert [str(item) for item in found] == [f"a.jsonl:{len(before) + 1}: {problem}"]


def test_validate_records_reports_all_problems_of_all_records_in_order():
    batch = [
        corrupt(FULL | {"id": str(number)}, path, value)
        for number, (path, value, _) in enumerate(CORRUPTIONS)
    ]
    found = validate_records(batch, SCHEMA, "a.jsonl")
    expected = [f"a.jsonl:{number}: {problem}" for number, (*_, problem) in enumerate(CORRUPTIONS, start=1)]
    assert [str(item) for item in found] == expected


def test_validate_records_duplicate_id_names_the_first_use():
    batch = [{"id": "a", "text": ""}, {"id": 3, "text": ""}, {"id": "a", "text": ""}]
    assert [str(problem) for problem in validate_records(batch, source="a.jsonl")] == [
        "a.jsonl:3: id = 'a': already used in a.jsonl:1. Make it unique or leave it out."
    ]


def test_validate_records_places_and_sources_give_the_line_or_item():
    batch = [{"text": ""}, 3]
    assert str(validate_records(batch, source="a.json")[0]).startswith(
        "a.json[1]: record = 3: not an object. Write"
    )
    assert validate_records(batch, places=["x:4", "x:9"])[0].where == "x:9"


def test_validate_records_structure_that_the_schema_does_not_ask_for_is_not_checked_for_labels():
    assert validate_records([FULL], Schema()) == []
    assert [problem.field for problem in validate_records([FULL], Schema(["place"]))] == [
        "labels.entities", "labels.entities", "entities[0].type", "entities[1].type",
        "relations[0].head.type", "relations[0].tail.type",
    ]  # fmt: skip


def test_validate_records_symmetric_relation_may_be_swapped():
    person, org = FULL["entities"]
    ends = [{key: mention[key] for key in ("type", "start", "end")} for mention in (person, org)]
    swapped = {"text": FULL["text"], "relations": [{"type": "knows", "head": ends[1], "tail": ends[0]}]}
    assert validate_records([swapped], SCHEMA) == []
    twice = {"text": FULL["text"], "relations": [{"type": "knows", "head": ends[1], "tail": ends[1]}]}
    assert [problem.field for problem in validate_records([twice], SCHEMA)] == ["relations[0].head.type"]


def test_validate_records_none_means_absent():
    record = dict.fromkeys(FULL) | {"text": "Jerry", "entities": [{"type": "person", "start": 0, "end": 5}]}
    record["entities"][0] |= {"fragments": None, "score": None, "cluster": None, "text": None}
    assert validate_records([record], SCHEMA) == []


def test_validate_records_document_relations_without_sentences_or_clusters():
    record = {
        "text": "a",
        "document_relations": [{"type": "r", "head_cluster": 0, "tail_cluster": 0, "evidence": [0]}],
    }
    assert [str(problem).split(": ", 1)[1] for problem in validate_records([record])] == [
        "document_relations[0].head_cluster = 0: no cluster of the record's entities. Entities are in"
        " []. Correct it"
        " or mark the entities.",
        "document_relations[0].tail_cluster = 0: no cluster of the record's entities. Entities are in"
        " []. Correct it"
        " or mark the entities.",
        "document_relations[0].evidence = [0]: not sentences of the record. Add the sentences.",
    ]


def test_validate_records_own_labels_of_classes_may_be_a_list_of_tasks():
    record = {"text": "a", "classes": {"topic": ["business"]}, "labels": {"classes": ["topic"]}}
    assert validate_records([record], SCHEMA) == []
    record["labels"]["classes"] = ["topics"]
    assert [problem.value for problem in validate_records([record], SCHEMA)] == ["topics"]


def test_validate_records_is_fast_when_every_label_is_wrong():
    schema = Schema([f"entity type number {number}" for number in range(500)])
    record = {"text": "abc", "entities": [{"type": "entity tipe number 7", "start": 0, "end": 1}] * 5}
    started = time.perf_counter()
    assert len(validate_records([record] * 2_000, schema)) == 10_000
    assert time.perf_counter() - started < 5  # finding the nearest label anew each time takes a minute
