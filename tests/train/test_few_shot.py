from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldnet.processing.schema import Schema
from ldnet.train.few_shot import sample_shots, structure_counts

NAMES = "abcd"
SCHEMA = Schema.from_any(list(NAMES))
label_lists = st.lists(st.lists(st.sampled_from(NAMES), max_size=5), max_size=25)


def record_of(labels):
    """A text with a mention of each label, one after the other."""
    entities = [{"type": label, "start": i, "end": i + 1} for i, label in enumerate(labels)]
    return {"text": "x" * max(len(labels), 1), "entities": entities}


def counts_of(records):
    return sum((structure_counts(record, SCHEMA) for record in records), Counter())


@given(labels=label_lists, shots=st.integers(1, 6), seed=st.integers(0, 1000))
def test_sample_shots_has_enough_of_every_label_and_nothing_to_spare(labels, shots, seed):
    records = [record_of(one) for one in labels]
    chosen = sample_shots(records, SCHEMA, shots, seed)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(len(records)))
    wanted = {label: min(shots, count) for label, count in counts_of(records).items()}
    assert counts_of([records[i] for i in chosen]) >= Counter(wanted)
    for left_out in chosen:
        rest = counts_of([records[i] for i in chosen if i != left_out])
        assert any(rest[label] < count for label, count in wanted.items())
    assert sample_shots(records, SCHEMA, shots, seed) == chosen


def test_sample_shots_differs_between_seeds():
    records = [record_of("ab") for _ in range(40)]
    assert len({tuple(sample_shots(records, SCHEMA, 5, seed)) for seed in range(5)}) == 5


def test_sample_shots_takes_the_rarest_label_first():
    """The only record with a label brings enough of the others: nothing else is needed."""
    records = [record_of("a"), record_of("b"), record_of("aabb"), record_of("aabbc"), record_of("")]
    assert all(sample_shots(records, SCHEMA, 2, seed) == [3] for seed in range(10))


def test_sample_shots_refuses_less_than_one():
    with pytest.raises(ValueError, match="shots: 0 is not a number of structures"):
        sample_shots([], SCHEMA, 0, 1)


def test_structure_counts_counts_repetitions_once_and_parts_under_their_own_label():
    schema = Schema.from_any(
        {
            "entities": ["person"],
            "events": [{"type": "hire", "roles": ["who"]}],
            "classes": {"topic": {"labels": ["work", "fun"]}},
        }
    )
    ann, bob = {"start": 0, "end": 3}, {"start": 4, "end": 7}
    record = {
        "text": "Ann Bob hired",
        "entities": [{"type": "person", **ann}, {"type": "person", **bob}, {"type": "person", **ann}],
        "events": [
            {
                "type": "hire",
                "trigger": {"start": 8, "end": 13},
                "arguments": [{"role": "who", **ann}, {"role": "who", **bob}],
            }
        ],
        "classes": {"topic": ["work"]},
        "relations": [{"type": "not asked for", "head": ann, "tail": bob}],
    }
    found = {schema.labels[label].name: count for label, count in structure_counts(record, schema).items()}
    assert found == {"person": 2, "hire": 1, "who": 2, "work": 1}
