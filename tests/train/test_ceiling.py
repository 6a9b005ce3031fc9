import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ldnet.processing.schema import Schema
from ldnet.train.ceiling import oracle_extraction
from ldnet.train.metrics import count_record

SCHEMA = Schema.from_any({"entities": ["a", "b"], "relations": ["r", {"type": "s", "symmetric": True}]})
WORDS = ("Ann", "北", "🙂", "Jose\u0301", "x", "Åse", "of", "ﬁ", "กิน")


@pytest.fixture
def processor(tiny_processor):
    return tiny_processor


def predicted(record, processor):
    found, lost = oracle_extraction(record, SCHEMA, processor)
    assert not found["truncated"]
    return found, lost


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
