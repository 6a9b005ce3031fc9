from collections import Counter

import pytest
import torch

from ldnet.processing.schema import Schema
from ldnet.train.collator import LDNetCollator
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.label_sampling import LabelSampler

FIELDS = ("open_links", "close_links", "inside_links", "next_links")
UNSHUFFLED = LabelSampler(shuffle=False)
MARKERS = {"[LM]": 0, "[LR]": 1}


@pytest.fixture
def processor(tiny_processor):
    return tiny_processor


@pytest.fixture
def work_set(processor, work):
    return ExtractionDataset(processor, [(Source("work", work[0]), work[1])])


@pytest.fixture
def mixed_set(processor, work, opinion):
    parts = [(Source("work", work[0]), work[1]), (Source("opinion", opinion[0], partial=True), opinion[1])]
    return ExtractionDataset(processor, parts)


def labels_of(processor, batch):
    """(kind, words) of each label, read from the prompt itself."""
    found = []
    for row, mask in zip(batch["schema_input_ids"], batch["schema_attention_mask"], strict=True):
        marker, *words, _ = processor.tokenizer.convert_ids_to_tokens(row[mask.bool()].tolist())
        found.append((MARKERS[marker], "".join(word.removeprefix("##") for word in words)))
    assert [kind for kind, _ in found] == batch["schema_kinds"].tolist()
    return found


def links_of(batch):
    return {name: {tuple(row) for row in batch[name].tolist()} for name in FIELDS}


def slow_links(examples, labels):
    """Links of the examples from the characters of their records, structure by structure."""
    links = {name: set() for name in FIELDS}
    for text, example in enumerate(examples):
        place = {}
        words = {x.name: x.text.replace(" ", "") for x in example.source.schema.labels}
        symmetric = {x.name for x in example.source.schema.relations if x.symmetric}
        for i, (start, end) in enumerate(
            zip(example.tokens.start_chars, example.tokens.end_chars, strict=True), 1
        ):
            place.setdefault(("start", start), i)
            place["end", end] = i
        structures = [(0, x["type"], [x]) for x in example.record["entities"]]
        structures += [(1, x["type"], [x["head"], x["tail"]]) for x in example.record["relations"]]
        for kind, name, mentions in structures:
            if (kind, words[name]) not in labels:
                continue
            label = labels.index((kind, words[name]))
            spans = [(place["start", m["start"]], place["end", m["end"]]) for m in mentions]
            spans = sorted(spans) if name in symmetric else spans
            links["open_links"].add((text, label, spans[0][0]))
            links["close_links"].add((text, label, spans[-1][1]))
            links["inside_links"] |= {(text, *span) for span in spans}
            links["next_links"] |= {(text, a[1], b[0]) for a, b in zip(spans, spans[1:], strict=False)}
    return links


@pytest.mark.parametrize("options", [{}, {"max_labels": 2}, {"label_dropout": 0.5}, {"shuffle": False}])
@pytest.mark.parametrize("indices", [[0], [1, 2, 3], [10, 13, 1, 16]])
def test_targets_equal_a_slow_construction(processor, mixed_set, options, indices):
    examples = [mixed_set[i] for i in indices]
    for epoch in range(3):
        batch = LDNetCollator(processor, LabelSampler(**options), epoch=epoch)(examples)
        labels = labels_of(processor, batch)
        assert links_of(batch) == slow_links(examples, labels)
        assert len(batch["open_links"]) == len(links_of(batch)["open_links"])
        annotated = [
            [(int(x.kind), x.text.replace(" ", "")) for x in example.source.schema.labels]
            for example in examples
        ]
        assert batch["annotated"].tolist() == [[label in known for label in labels] for known in annotated]


def test_batch_is_what_the_model_takes(processor, work_set, tiny_model):
    batch = LDNetCollator(processor)([work_set[i] for i in range(3)])
    assert batch["labels"].tolist() == [1, 1, 1]
    assert batch["supervision"].tolist() == [[True] * 3] * 3
    assert batch["partial"].tolist() == [False] * 3
    output = tiny_model(**batch)
    assert output.loss > 0
    assert torch.isfinite(output.loss)


def test_full_attention_counts_the_prompt_in(make_model, make_processor, work):
    model = make_model("deberta-v2")
    processor = make_processor(model.config)
    room = processor.room_for(work[0])
    record = {"text": "of " * room, "entities": [], "relations": []}
    examples = ExtractionDataset(processor, [(Source("work", work[0]), [record, work[1][0]])]).examples
    batch = LDNetCollator(processor)(examples)
    width = batch["schema_input_ids"].shape[1] + batch["input_ids"].shape[1]
    assert (len(examples), width) == (2, processor.max_length)
    assert model(**batch).loss > 0


def test_label_order_is_drawn_anew_by_batch_and_epoch(processor, work_set):
    known = [(0, "person"), (0, "organization"), (0, "place"), (1, "worksfor"), (1, "near")]
    orders = set()
    for epoch in range(8):
        labels = labels_of(processor, LDNetCollator(processor, epoch=epoch)([work_set[0]]))
        assert sorted(labels) == sorted(known)
        orders.add(tuple(labels))
    assert len(orders) > 5
    for epoch in (0, 1):
        batch = LDNetCollator(processor, UNSHUFFLED, epoch=epoch)([work_set[0]])
        assert labels_of(processor, batch) == known


@pytest.mark.parametrize("options", [{"max_labels": 3}, {"label_dropout": 0.5}, {"few_labels": 0.5}, {}])
def test_draws_depend_on_seed_epoch_and_examples_only(processor, mixed_set, options):
    examples, others = [mixed_set[i] for i in (1, 2, 14)], [mixed_set[i] for i in (3, 4, 15)]
    sampler = LabelSampler(**options)
    used = LDNetCollator(processor, sampler, seed=5, epoch=2)
    used(others)
    one, two = used(examples), LDNetCollator(processor, sampler, seed=5, epoch=2)(examples)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    prompts = {
        tuple(labels_of(processor, LDNetCollator(processor, sampler, seed=seed, epoch=epoch)(examples)))
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(prompts) > 4


def test_max_labels_keeps_what_occurs_and_draws_the_rest(processor, opinion):
    schema = Schema([f"negative{i}" for i in range(20)] + ["aspect"])
    record = {key: value for key, value in opinion[1][0].items() if key != "relations"}
    record["entities"] = record["entities"][:1]
    (example,) = ExtractionDataset(processor, [(Source("x", schema), [record])]).examples
    drawn = Counter()
    for epoch in range(60):
        labels = labels_of(
            processor, LDNetCollator(processor, LabelSampler(max_labels=4), epoch=epoch)([example])
        )
        assert len(labels) == 4
        assert (0, "aspect") in labels
        drawn.update(labels)
    assert len(drawn) == 21


def test_max_labels_is_exceeded_rather_than_leaving_out_what_occurs(processor, work_set):
    batch = LDNetCollator(processor, LabelSampler(max_labels=1))([work_set[1]])
    assert len(labels_of(processor, batch)) == 5
    batch = LDNetCollator(processor, LabelSampler(max_labels=1))([work_set[0]])  # "near" does not occur
    assert len(labels_of(processor, batch)) == 4


def test_label_dropout_leaves_labels_out_with_their_structures(processor, work_set):
    kept = Counter()
    for epoch in range(100):
        batch = LDNetCollator(processor, LabelSampler(label_dropout=0.4), epoch=epoch)([work_set[1]])
        labels = labels_of(processor, batch)
        assert links_of(batch) == slow_links([work_set[1]], labels)
        kept.update(labels)
    assert all(40 < kept[label] < 80 for label in kept)
    assert len(kept) == 5


def test_label_dropout_never_leaves_a_batch_without_labels(processor, opinion):
    record = {key: opinion[1][0][key] for key in ("text", "relations")}
    source = Source("x", Schema.from_any({"relations": ["positive"]}))
    (example,) = ExtractionDataset(processor, [(source, [record])]).examples
    for epoch in range(10):
        batch = LDNetCollator(processor, LabelSampler(label_dropout=0.9), epoch=epoch)([example])
        assert labels_of(processor, batch) == [(1, "positive")]


def test_partly_annotated_records_ask_for_no_other_label(processor, work):
    schema, records = work
    narrow = [
        records[0] | {"labels": {"entities": ["place"], "relations": ["near"]}},
        {key: records[1][key] for key in ("text", "entities")},
        {"text": records[2]["text"]},
    ]
    examples = ExtractionDataset(processor, [(Source("x", schema), narrow)]).examples
    batch = LDNetCollator(processor, UNSHUFFLED)(examples)
    assert labels_of(processor, batch) == [(0, "place"), (0, "person"), (0, "organization"), (1, "near")]
    assert batch["annotated"].tolist() == [
        [True, False, False, True],
        [True, True, True, False],
        [False, False, False, False],
    ]
    assert batch["supervision"].tolist() == [[True, True, True], [True, True, False], [False, False, False]]
    assert {text for text, _, _ in links_of(batch)["open_links"]} == {0, 1}
    assert links_of(batch)["next_links"] == set()


def test_partial_sources_are_marked(processor, mixed_set):
    batch = LDNetCollator(processor)([mixed_set[i] for i in (0, 12, 1)])
    assert batch["partial"].tolist() == [False, True, False]


def test_examples_without_any_annotation_make_a_batch_without_labels(processor, work, tiny_model):
    records = [{"text": "of the"}, {"text": ""}]
    examples = ExtractionDataset(processor, [(Source("x", work[0]), records)]).examples
    batch = LDNetCollator(processor)(examples)
    assert batch["annotated"].shape == (2, 0)
    assert tiny_model(**batch).loss == 0


def test_one_name_with_two_descriptions_is_two_labels_of_a_batch(processor, mixed_set):
    batch = LDNetCollator(processor, UNSHUFFLED)([mixed_set[0], mixed_set[12]])
    labels = labels_of(processor, batch)
    plain, described = labels.index((0, "place")), labels.index((0, "place:ofthetext"))
    opened = {(text, label) for text, label, _ in links_of(batch)["open_links"]}
    assert {(0, plain), (1, described)} <= opened
    assert not {(0, described), (1, plain)} & opened


def test_discontinuous_mentions_are_joined_as_the_processor_says(make_model, make_processor):
    record = {
        "text": "a b c",
        "entities": [{"type": "x", "start": 0, "end": 5, "fragments": [[0, 1], [4, 5]]}],
    }
    for form, name, link in (("as", "inside_links", (0, 3, 1)), ("a2a", "next_links", (0, 1, 3))):
        processor = make_processor(make_model(max_fragments=2, fragment_links=form).config)
        examples = ExtractionDataset(processor, [(Source("x", Schema(["x"])), [record])]).examples
        links = links_of(LDNetCollator(processor)(examples))
        assert link in links[name]
        assert len(links["inside_links"]) + len(links["next_links"]) == 3


def test_lower_case_share_hides_the_case_of_so_many_texts(make_model, make_processor, work):
    processor = make_processor(make_model(case_embedding=True).config)
    examples = ExtractionDataset(processor, [(Source("work", work[0]), work[1])]).examples
    told = LDNetCollator(processor)(examples)["case_ids"]
    assert (told % 5 > 1).any(1).all()
    hidden = LDNetCollator(processor, lower_case_share=1.0)(examples)["case_ids"]
    assert (told > 5).any()
    assert torch.equal(hidden, (told % 5).clamp(max=1) + told // 5 * 5)
    some = LDNetCollator(processor, lower_case_share=0.5, seed=1)(examples)["case_ids"]
    small = [torch.equal(row, other) for row, other in zip(some, hidden, strict=True)]
    assert 0 < sum(small) < len(small)
    assert all(torch.equal(a, b) for a, b, c in zip(some, told, small, strict=True) if not c)
