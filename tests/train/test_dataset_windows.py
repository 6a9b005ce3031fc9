from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.record_loops import record_loops
from ldnet.processing.schema import Schema
from ldnet.processing.windows import shift_loop
from ldnet.train.dataset import ExtractionDataset, Source, usual_overlap, usual_window


@pytest.fixture(scope="module")
def processor(tiny_tokenizer_path):
    return LDNetProcessor.from_tokenizer(tiny_tokenizer_path)


SCHEMA = Schema.from_any({"entities": ["person"], "relations": ["in"], "classes": {"topic": ["a", "b"]}})


def words(count):
    return " ".join(["in"] * count)


def word(index, length=1):
    return {"start": 3 * index, "end": 3 * (index + length) - 1}


def dataset(processor, records, **options):
    return ExtractionDataset(processor, [(Source("long", SCHEMA), records)], **options)


@settings(max_examples=25)
@given(places=st.lists(st.integers(0, 1190), min_size=1, max_size=12, unique=True), far=st.integers(1, 700))
def test_every_structure_of_a_long_text_is_in_a_window_or_reported(processor, places, far):
    record = {
        "text": words(1200),
        "entities": [{"type": "person", **word(place, 2)} for place in places],
        "relations": [{"type": "in", "head": word(0), "tail": word(far)}],
        "classes": {"topic": ["a"]},
    }
    split = dataset(processor, [record])
    (whole,) = dataset(processor, [record], whole=True).examples
    gold = set(record_loops(record, SCHEMA, whole.tokens, 1)[0])
    assert len(split) > 1
    found = Counter()
    for example in split.examples:
        assert len(example.tokens) <= processor.room_for(SCHEMA)
        first = whole.tokens.start_chars.index(example.tokens.start_chars[0])
        found.update(loop if not loop.mentions else shift_loop(loop, first) for loop in example.loops)
    assert set(found) <= gold
    lost = gold - set(found)
    assert len(lost) == split.losses["long"].causes["longer than a window"]
    assert all(loop.label == SCHEMA.label_id("relations", "in") for loop in lost)
    assert bool(lost) <= (far > 400)


def test_text_that_fits_is_one_example_either_way(processor):
    record = {"text": words(30), "entities": [{"type": "person", **word(3)}]}
    for whole in (True, False):
        (example,) = dataset(processor, [record], whole=whole).examples
        assert len(example.tokens) == 30
        assert len(example.loops) == 1


def test_usual_window_is_the_length_of_nearly_all_texts(processor):
    records = [{"text": words(n), "entities": []} for n in [*range(1, 100), 400]]
    assert usual_window(dataset(processor, records).examples) == (99, "sentence")


def test_texts_of_several_sentences_are_read_by_paragraphs(processor):
    several = [{"text": "The person. In the place. For the person.", "entities": []}] * 3
    single = [{"text": "The person in the place.", "entities": []}] * 7
    for count, unit in ((2, "sentence"), (3, "paragraph")):
        examples = dataset(processor, several[:count] + single).examples
        assert usual_window(examples)[1] == unit


def test_no_texts_say_nothing():
    assert usual_window([]) == (None, "paragraph")


@pytest.mark.parametrize(
    ("twice", "overlap"), [(0, "one_type"), (1, "one_type"), (2, "nested"), (99, "nested")]
)
def test_usual_overlap_is_one_type_where_hardly_any_place_has_two(processor, twice, overlap):
    schema = Schema.from_any({"entities": ["person", "place"], "events": ["person"]})

    def record(names):
        entities = [{"type": name, **word(1)} for name in names]
        nested = {"type": "place", **word(1, 2)}
        event = {"type": "person", "trigger": word(1), "arguments": []}  # no entity: its own place
        return {"text": words(4), "entities": [*entities, nested], "events": [event]}

    records = [record(["person", "place"])] * twice + [record(["person"])] * (40 - min(twice, 40))
    examples = ExtractionDataset(processor, [(Source("set", schema), records)]).examples
    assert usual_overlap(examples) == overlap  # of 120 places


def test_places_without_types_say_nothing(processor):
    assert usual_overlap([]) == "nested"
    assert (
        usual_overlap(dataset(processor, [{"text": words(3), "classes": {"topic": ["a"]}}]).examples)
        == "nested"
    )
