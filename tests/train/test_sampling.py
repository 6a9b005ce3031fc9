from collections import Counter

import pytest

from ldnet.train.sampling import BATCHES_SORTED_TOGETHER, SourceBatchSampler, rarity_weights

SOURCES = ["a"] * 23 + ["b"] * 9 + ["c"] * 3 + ["a"] * 5
LENGTHS = [(i * 37) % 50 for i in range(len(SOURCES))]


def batches(sampler, size=4):
    indices = list(sampler)
    return [indices[i : i + size] for i in range(0, len(indices), size)]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_each_index_comes_once(batch_size):
    sampler = SourceBatchSampler(SOURCES, LENGTHS, batch_size)
    assert sorted(sampler) == list(range(len(SOURCES)))
    assert len(sampler) == len(SOURCES)
    assert {type(index) for index in sampler} == {int}


def test_batches_hold_one_source_but_for_what_is_left_over():
    found = batches(SourceBatchSampler(SOURCES, LENGTHS, 4))
    pure = [batch for batch in found if len({SOURCES[i] for i in batch}) == 1 and len(batch) == 4]
    assert Counter(SOURCES[batch[0]] for batch in pure) >= Counter(a=7, b=2)
    assert [batch for batch in found if batch not in pure] == found[9:]
    assert len(found) == 10


def test_batches_hold_texts_of_like_length():
    lengths = [(i * 7919) % 1000 for i in range(400)]
    sampler = SourceBatchSampler(["a"] * 400, lengths, 8)
    assert 400 <= 8 * BATCHES_SORTED_TOGETHER
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches(sampler, 8)]
    assert max(spread) < 100
    firsts = [lengths[batch[0]] for batch in batches(sampler, 8)]
    assert firsts != sorted(firsts)


def test_an_epoch_can_be_drawn_again_and_differs_from_others():
    sampler = SourceBatchSampler(SOURCES, LENGTHS, 4, seed=1)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    assert sorted(second) == sorted(first)
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(SourceBatchSampler(SOURCES, LENGTHS, 4, seed=2)) != first
    assert list(SourceBatchSampler(SOURCES, LENGTHS, 4, seed=1)) == first


def test_epochs_put_other_texts_into_a_batch():
    sampler = SourceBatchSampler(["a"] * 40, [1] * 40, 4)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append({frozenset(batch) for batch in batches(sampler)})
    assert len(epochs[0] | epochs[1] | epochs[2]) > 25


def test_source_cap_draws_other_texts_each_epoch():
    sampler = SourceBatchSampler(SOURCES, LENGTHS, 4, source_cap=6)
    seen = set()
    for epoch in range(60):
        sampler.set_epoch(epoch)
        indices = list(sampler)
        assert len(indices) == len(set(indices)) == len(sampler) == 15
        assert Counter(SOURCES[i] for i in indices) == {"a": 6, "b": 6, "c": 3}
        seen |= set(indices)
    assert seen == set(range(len(SOURCES)))


def test_source_caps_bound_single_sources():
    sampler = SourceBatchSampler(SOURCES, LENGTHS, 4, source_cap=6, source_caps={"a": 20, "c": 0})
    assert Counter(SOURCES[i] for i in sampler) == {"a": 20, "b": 6}
    assert len(sampler) == 26


def test_nothing_to_sample_is_an_empty_epoch():
    sampler = SourceBatchSampler([], [], 4)
    assert list(sampler) == []
    assert len(sampler) == 0


def test_mixed_sources_share_batches_of_like_length_and_each_index_comes_once():
    sampler = SourceBatchSampler(SOURCES, LENGTHS, 4, mix_sources=True)
    assert sorted(sampler) == list(range(len(SOURCES)))
    found = batches(sampler)
    assert sum(len({SOURCES[i] for i in batch}) > 1 for batch in found) > 5
    assert max(max(LENGTHS[i] for i in batch) - min(LENGTHS[i] for i in batch) for batch in found) < 15
    capped = SourceBatchSampler(SOURCES, LENGTHS, 4, source_cap=2, mix_sources=True)
    assert Counter(SOURCES[i] for i in capped) == {"a": 2, "b": 2, "c": 2}
    assert list(SourceBatchSampler([], [], 4, mix_sources=True)) == []


def test_rare_labels_are_drawn_more_often_under_a_cap():
    labels = [{0}] * 90 + [{0, 1}] * 10
    weights = rarity_weights(["a"] * 100, labels, 1.0)
    assert weights == [1.0] * 90 + [10.0] * 10
    sampler = SourceBatchSampler(["a"] * 100, [1] * 100, 4, source_cap=20, weights=weights)
    drawn = Counter()
    for epoch in range(50):
        sampler.set_epoch(epoch)
        indices = list(sampler)
        assert len(indices) == len(set(indices)) == 20
        drawn.update(i >= 90 for i in indices)
    assert 7 < drawn[True] / 50 < 9.5  # 2 without weights
    uncapped = SourceBatchSampler(["a"] * 100, [1] * 100, 4, weights=weights)
    assert sorted(uncapped) == list(range(100))


def test_rarity_is_counted_in_each_source_and_without_structures_it_is_1():
    sources, labels = ["a", "a", "a", "b", "b"], [{0}, {0, 1}, set(), {1}, {1}]
    assert rarity_weights(sources, labels, 1.0) == [1.0, 2.0, 1.0, 1.0, 1.0]
    assert rarity_weights(sources, labels, 0.5) == pytest.approx([1.0, 2**0.5, 1.0, 1.0, 1.0])
    assert rarity_weights(sources, labels, 0.0) is None
