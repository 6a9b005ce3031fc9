import json

import pytest

from ldnet.processing.schema import Schema
from ldnet.train.baselines import Memory, baseline_scores, main

SCHEMA = Schema.from_any(
    {
        "entities": ["person", "place"],
        "relations": ["lives in"],
        "hyper_relations": [{"type": "born in", "qualifiers": ["date"]}],
        "events": [{"type": "trip", "roles": ["goal"]}],
        "classes": {"topic": ["news", "sport"], "tone": {"labels": ["good", "new"], "multi_label": True}},
        "question": "?",
        "spans": True,
    }
)


def mention(text, words, **more):
    start = text.index(words)
    return {**more, "start": start, "end": start + len(words)}


def record(text, person, place, topic="news", tone=("good",)):
    head, tail = mention(text, person), mention(text, place)
    return {
        "text": text,
        "entities": [{"type": "person", **head}, {"type": "place", **tail}],
        "relations": [{"type": "lives in", "head": head, "tail": tail}],
        "hyper_relations": [
            {
                "type": "born in",
                "head": head,
                "tail": tail,
                "qualifiers": [mention(text, "1999", type="date")],
            }
        ],
        "events": [
            {"type": "trip", "trigger": mention(text, "went"), "arguments": [{"role": "goal", **tail}]}
        ],
        "classes": {"topic": [topic], "tone": list(tone)},
        "answers": [],
        "question": "who?",
        "spans": [head],
    }


TRAIN = [
    record("Ada went to New York in 1999", "Ada", "New York"),
    record("Bob went to York in 1999", "Bob", "York", tone=("good", "new")),
    record("Eve went to Rome in 1999", "Eve", "Rome", topic="sport"),
]


def test_memory_finds_all_structures_of_what_it_has_seen():
    scores = baseline_scores(TRAIN[:1], TRAIN[:1], SCHEMA)
    assert {value for name, value in scores.items() if name.endswith("f1") and "discont" not in name} == {
        100.0
    }


def test_longest_match_wins_and_unmarked_words_do_not_count():
    memory = Memory([*TRAIN, *({"text": "Rome is old", "entities": []} for _ in range(2))])
    found = memory.matches("Bob of new york saw Rome", "entities: ")
    assert [(name, item["text"]) for name, item in found] == [("person", "Bob"), ("place", "new york")]


def test_classes_are_the_most_frequent_ones():
    found = Memory(TRAIN).predict({"text": "x"}, SCHEMA)["classes"]
    assert found == {"topic": [{"label": "news", "score": 1.0}], "tone": [{"label": "good", "score": 1.0}]}


def test_unknown_words_give_nothing():
    found = Memory(TRAIN).predict({"text": "nothing known here"}, SCHEMA)
    assert not any(
        found[key] for key in ("entities", "relations", "hyper_relations", "events", "answers", "spans")
    )


def test_main_prints_the_scores(tmp_path, capsys):
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(json.dumps(item) for item in TRAIN), encoding="utf-8")
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA.to_dict()), encoding="utf-8")
    assert main(["--train", str(file), "--dev", str(file)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["entities_f1"] == pytest.approx(100.0)
    assert scores["classes_f1"] < 100
