import pytest
import random_records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Schema
from ldnet.train.ceiling import oracle_extraction
from ldnet.train.metrics import compare_record, count_record

SCHEMA = Schema.from_any({"entities": ["a", "b"], "relations": ["r", {"type": "s", "symmetric": True}]})
WORDS = ("Ann", "北", "🙂", "Jose\u0301", "x", "Åse", "of", "ﬁ", "กิน")


@pytest.fixture
def processor(tiny_processor):
    return tiny_processor


def predicted(record, processor, schema=SCHEMA):
    """What perfect links give, and what could not be encoded."""
    oracle = oracle_extraction(record, schema, processor)
    assert not oracle.plain["truncated"]
    assert not oracle.confirmed["truncated"]
    return oracle.plain, oracle.unaligned


def test_oracle_gives_gold_back_with_text_and_score(processor):
    text = "Ann met\r\nBo"
    ann, bo = {"type": "a", "start": 0, "end": 3}, {"type": "b", "start": 9, "end": 11}
    record = {"text": text, "entities": [ann, bo], "relations": [{"type": "r", "head": bo, "tail": ann}]}
    full_ann, full_bo = ann | {"text": "Ann", "score": 1.0}, bo | {"text": "Bo", "score": 1.0}
    found, lost = predicted(record, processor)
    assert found == {
        "text": text,
        "entities": [full_ann, full_bo],
        "relations": [{"type": "r", "head": full_bo, "tail": full_ann, "score": 1.0}],
        "truncated": False,
    }
    assert lost == []


def test_oracle_names_what_could_not_be_encoded(processor):
    record = {
        "text": "字字 x",
        "entities": [{"type": "a", "start": 0, "end": 1}, {"type": "b", "start": 3, "end": 4}],
    }
    found, lost = predicted(record, processor)
    assert lost == []  # every Chinese character is a token
    record["text"] = "กน x"
    found, lost = predicted(record, processor)
    assert lost == ["boundary inside a token: entity 'a' at 0-1"]
    assert [entity["text"] for entity in found["entities"]] == ["x"]


def test_oracle_does_not_mind_the_length_limit(processor):
    text = "of " * 1000 + "Ann"
    record = {"text": text, "entities": [{"type": "a", "start": 3000, "end": 3003}]}
    assert predicted(record, processor)[0]["entities"][0]["text"] == "Ann"


def test_symmetric_relation_comes_back_once_whatever_its_direction(processor):
    one, two = {"start": 0, "end": 1}, {"start": 2, "end": 3}
    for head, tail in ((one, two), (two, one)):
        record = {"text": "x y", "relations": [{"type": "s", "head": head, "tail": tail}]}
        (relation,) = predicted(record, processor)[0]["relations"]
        assert (relation["head"]["text"], relation["tail"]["text"]) == ("x", "y")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_oracle_finds_every_gold_structure_between_words(processor, data):
    words = data.draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8))
    places, text = [], ""
    for word in words:
        places.append((len(text), len(text) + len(word)))
        text += word + data.draw(st.sampled_from([" ", "\n", "\r\n"]))
    word = st.integers(0, len(words) - 1)

    def mention(**keys):
        first, last = sorted((data.draw(word), data.draw(word)))
        return keys | {"start": places[first][0], "end": places[last][1]}

    kinds = data.draw(st.lists(st.sampled_from("abrs"), max_size=5))
    record = {
        "text": text,
        "entities": [mention(type=kind) for kind in kinds if kind in "ab"],
        "relations": [{"type": k, "head": mention(), "tail": mention()} for k in kinds if k in "rs"],
    }
    found, lost = predicted(record, processor)
    assert lost == []
    for counts in count_record(record, found, SCHEMA).values():
        assert all(count.fn == 0 for count in counts.values())


def crossing():
    """Two relations whose ends a third of another type joins; entities on the ends close none by accident."""
    a, b, c, d = ({"start": i, "end": i + 1} for i in range(0, 8, 2))
    pairs = [("r", a, b), ("r", c, d), ("s", a, d)]
    return {"text": "a b c d", "relations": [{"type": t, "head": h, "tail": e} for t, h, e in pairs]}


def test_plain_oracle_keeps_loops_that_close_by_accident_and_the_confirmed_one_does_not(processor):
    oracle = oracle_extraction(crossing(), SCHEMA, processor)
    plain, confirmed = (
        {(r["type"], r["head"]["text"], r["tail"]["text"]) for r in result["relations"]}
        for result in (oracle.plain, oracle.confirmed)
    )
    gold = {("r", "a", "b"), ("r", "c", "d"), ("s", "a", "d")}
    assert confirmed == gold
    assert plain == gold | {("r", "a", "d")}
    assert oracle.unaligned == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=random_records.records(3))
def test_confirmed_oracle_is_gold_and_the_plain_one_contains_it(tiny_tokenizer_path, record):
    processor = LDNetProcessor.from_tokenizer(tiny_tokenizer_path, max_fragments=3)
    schema = random_records.SCHEMA
    oracle = oracle_extraction(record, schema, processor)
    assert oracle.unaligned == []
    for _, gold, found in compare_record(record, oracle.plain, schema):
        assert gold <= found
    for task, gold, found in compare_record(record, oracle.confirmed, schema):
        extra = {key for key in found - gold if not is_shared_label(task, key)}
        assert (gold - found, extra) == (set(), set()), task
    for key in ("answers", "spans"):
        places = [
            {(item["start"], item["end"], str(item.get("fragments"))) for item in side.get(key) or ()}
            for side in (record, oracle.confirmed)
        ]
        assert places[0] == places[1]


def is_shared_label(task, key):
    """Whether the schema has the label of a structure in another place too, so that both get it."""
    label = key[0] if isinstance(key[0], str) else key[0][-1]
    return label in ("a", "r") or (task == "hyper_relations" and label in ("q", "r"))


def test_oracle_of_a_single_label_task_gives_one_of_two_gold_classes(processor):
    schema = Schema.from_any(
        {"classes": {"topic": ["x", "y"], "tone": {"labels": ["u", "v"], "multi_label": True}}}
    )
    record = {"text": "a", "classes": {"topic": ["x", "y"], "tone": ["u", "v"]}}
    oracle = oracle_extraction(record, schema, processor)
    for result in (oracle.plain, oracle.confirmed):
        assert [item["label"] for item in result["classes"]["topic"]] == ["x"]
        assert [item["label"] for item in result["classes"]["tone"]] == ["u", "v"]
    nothing = oracle_extraction({"text": "a", "classes": {"topic": []}}, schema, processor)
    assert nothing.plain["classes"] == {"topic": [], "tone": []}
