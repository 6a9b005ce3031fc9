import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldnet.processing.schema import Schema
from ldnet.train.dataset import ExtractionDataset, Source, label_key
from ldnet.train.label_sampling import (
    LabelSampler,
    foreign_labels,
    label_pool,
    rename_labels,
)

NEWS = Source("news", Schema.from_any({"entities": ["person", "city"], "relations": ["lives in"]}))
GENES = Source("genes", Schema.from_any(["gene", "disease"]))
DRUGS = Source("drugs", Schema.from_any(["disease", "drug", "person"]))
SOURCES = [NEWS, GENES, DRUGS]


@pytest.fixture(scope="module")
def examples(make_model, make_processor):
    ada = {"text": "Ada", "start": 0, "end": 3}
    paris = {"text": "Paris", "start": 13, "end": 18}
    records = [
        {
            "text": "Ada lives in Paris",
            "entities": [{**ada, "type": "person"}, {**paris, "type": "city"}],
            "relations": [{"type": "lives in", "head": ada, "tail": paris}],
        },
        {"text": "nobody is here", "entities": [], "relations": []},
    ]
    gene = [{"text": "a gene", "entities": [{"text": "gene", "start": 2, "end": 6, "type": "gene"}]}]
    return ExtractionDataset(make_processor(make_model().config), [(NEWS, records), (GENES, gene)]).examples


def names_where(chosen, row):
    return {label.name for label, on in zip(chosen.labels, row, strict=True) if on}


def test_every_text_sees_all_labels_and_is_annotated_for_its_own(examples):
    chosen = LabelSampler().draw(examples, np.random.default_rng(0))
    assert {label.name for label in chosen.labels} == {"person", "city", "lives in", "gene", "disease"}
    assert chosen.asked.all()
    assert names_where(chosen, chosen.annotated[1]) == {"person", "city", "lives in"}
    assert names_where(chosen, chosen.annotated[2]) == {"gene", "disease"}


def test_a_text_that_nobody_annotated_is_asked_all_labels_of_its_schema_by_a_teacher(
    make_model, make_processor
):
    processor = make_processor(make_model().config)
    examples = ExtractionDataset(processor, [(NEWS, [{"text": "Ada lives in Paris"}])]).examples
    chosen = LabelSampler().draw(examples, np.random.default_rng(0), taught=True)
    assert {label.name for label in chosen.labels} == {"person", "city", "lives in"}
    assert chosen.asked.all()
    assert not chosen.annotated.any()
    assert not LabelSampler().draw(examples, np.random.default_rng(0)).labels


@given(seed=st.integers(0, 1000))
def test_a_text_that_sees_few_labels_sees_those_that_occur(examples, seed):
    chosen = LabelSampler(few_labels=1.0).draw(examples, np.random.default_rng(seed))
    assert names_where(chosen, chosen.asked[0]) >= {"person", "city", "lives in"}
    assert names_where(chosen, chosen.asked[2]) >= {"gene"}
    assert not (chosen.annotated & ~chosen.asked).any()


def test_few_labels_vary_from_none_to_all(examples):
    draws = [LabelSampler(few_labels=1.0).draw(examples, np.random.default_rng(i)) for i in range(200)]
    seen = [int(chosen.asked[1].sum()) for chosen in draws]
    assert set(seen) == set(range(6))
    own = np.mean([chosen.asked[1, chosen.position[label_key(NEWS.schema.labels[0])]] for chosen in draws])
    other = np.mean([chosen.asked[1, chosen.position[label_key(GENES.schema.labels[0])]] for chosen in draws])
    assert 0.4 < own < 0.6  # E[u]
    assert 0.23 < other < 0.43  # E[u^2]


def test_few_labels_drop_what_occurs_by_label_dropout_only(examples):
    sampler = LabelSampler(few_labels=1.0, label_dropout=0.3)
    draws = [sampler.draw(examples[:1], np.random.default_rng(i)) for i in range(300)]
    asked = [len(names_where(chosen, chosen.asked[0])) for chosen in draws]
    assert 1.2 < np.mean(asked) < 1.8  # 3 labels, kept by the batch and by the text: 3 * 0.7 * 0.7


def test_many_labels_take_the_pool_up_to_their_number(examples):
    sampler = LabelSampler(max_labels=3, many_labels=1.0, most_labels=6, pool=label_pool(SOURCES))
    chosen = sampler.draw(examples[:1], np.random.default_rng(0))
    assert len(chosen.labels) == 6
    assert names_where(chosen, chosen.annotated[0]) == {"person", "city", "lives in"}


def test_foreign_labels_are_those_of_one_special_domain_only():
    found = foreign_labels(SOURCES, [["genes", "drugs"]])
    assert {name for _, name in found["news"]} == {"gene", "disease", "drug"}  # not "person": news has it too
    assert found["genes"] == found["drugs"] == frozenset()


def test_a_label_of_two_special_domains_is_foreign_to_neither():
    found = foreign_labels(SOURCES, [["genes"], ["drugs"]])
    assert {name for _, name in found["genes"]} == {"drug"}
    assert {name for _, name in found["drugs"]} == {"gene"}


def test_foreign_labels_are_negatives(examples):
    sampler = LabelSampler(foreign=foreign_labels(SOURCES, [["genes"]]))
    chosen = sampler.draw(examples, np.random.default_rng(0))
    assert "gene" in names_where(chosen, chosen.annotated[0])
    assert names_where(chosen, chosen.annotated[2]) == {"gene", "disease"}


def test_a_domain_of_unknown_sources_is_an_error():
    with pytest.raises(
        ValueError, match=r"special_domains: \['gens'\] are not among .*'drugs', 'genes', 'news'"
    ):
        foreign_labels(SOURCES, [["gens", "drugs"]])


def test_renamed_labels_stay_different_and_keep_their_kind():
    labels = list(DRUGS.schema.labels)
    names = {"disease": ["drug", "illness"], "person": ["human"]}
    seen = set()
    for seed in range(40):
        renamed = rename_labels(labels, names, 0.5, np.random.default_rng(seed))
        assert [label.kind for label in renamed] == [label.kind for label in labels]
        assert len({label.name for label in renamed}) == 3
        seen.add(tuple(label.name for label in renamed))
    assert seen == {(a, "drug", b) for a in ("disease", "illness") for b in ("person", "human")}
    assert rename_labels(labels, names, 0.0, np.random.default_rng(0)) == labels
