"""Batches of every structure, with questions and classes."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_records import SCHEMA, records

from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Schema
from ldnet.train.collator import LDNetCollator
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.label_sampling import LabelSampler

FIELDS = ("open_links", "close_links", "inside_links", "next_links")
MARKERS = {"[LM]": "MENTION", "[LR]": "RELATION", "[LC]": "CLASS", "[TP]": "SPAN"}
OTHER = Schema.from_any({"entities": ["a"], "classes": {"kind": ["x", "news"]}, "question": "?"})


@pytest.fixture(scope="module")
def processor(tiny_tokenizer_path):
    return LDNetProcessor.from_tokenizer(tiny_tokenizer_path)


def labels_of(processor, batch):
    """(kind, words) of each label, read from the prompt itself."""
    found = []
    for row, mask in zip(batch["schema_input_ids"], batch["schema_attention_mask"], strict=True):
        marker, *words, _ = processor.tokenizer.convert_ids_to_tokens(row[mask.bool()].tolist())
        found.append((MARKERS[marker], "".join(word.removeprefix("##") for word in words)))
    return found


def links_of(batch, text):
    return {name: {tuple(row[1:]) for row in batch[name].tolist() if row[0] == text} for name in FIELDS}


def structures(record):
    """(kind, words of the label, mentions) of every loop, from the record alone."""
    for entity in record.get("entities", ()):
        yield "MENTION", entity["type"], [entity]
    for relation in record.get("relations", ()):
        pair = [relation["head"], relation["tail"]]
        symmetric = relation["type"] == "s"
        yield (
            "RELATION",
            relation["type"],
            sorted(pair, key=lambda m: (m["start"], m["end"])) if symmetric else pair,
        )
    for fact in record.get("hyper_relations", ()):
        yield "RELATION", fact["type"], [fact["head"], fact["tail"]]
        for qualifier in fact["qualifiers"]:
            yield "RELATION", qualifier["type"], [fact["head"], fact["tail"], qualifier]
    for event in record.get("events", ()):
        yield "MENTION", event["type"], [event["trigger"]]
        for argument in event["arguments"]:
            bare = argument["role"] == "where"
            role = argument["role"] if bare else f"{event['type']}:{argument['role']}"
            yield "RELATION", role, [event["trigger"], argument]
    for task, names in record.get("classes", {}).items():
        yield from (("CLASS", f"{task}:{name}" if name == "x" else name, []) for name in names)
    for key, word in (("answers", "answer"), ("spans", "span")):
        yield from (("SPAN", word, [mention]) for mention in record.get(key, ()))


def slow_links(record, labels):
    """Links of a record whose token i is character 2 i and stands at i + 1."""
    links = {name: set() for name in FIELDS}
    for kind, words, mentions in structures(record):
        if (kind, words) not in labels:
            continue
        label = labels.index((kind, words))
        spans = [(m["start"] // 2 + 1, (m["end"] - 1) // 2 + 1) for m in mentions]
        links["open_links"].add((label, spans[0][0] if spans else 0))
        links["close_links"].add((label, spans[-1][1] if spans else 0))
        links["inside_links"] |= set(spans)
        links["next_links"] |= {(a[1], b[0]) for a, b in zip(spans, spans[1:], strict=False)}
    return links


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(records(), min_size=1, max_size=2), dropout=st.sampled_from([0.0, 0.4]))
def test_targets_of_all_structures_equal_a_slow_construction(processor, drawn, dropout):
    examples = ExtractionDataset(processor, [(Source("x", SCHEMA), drawn)]).examples
    batch = LDNetCollator(processor, LabelSampler(label_dropout=dropout))(examples)
    labels = labels_of(processor, batch) if batch["schema_kinds"].numel() else []
    for text, record in enumerate(drawn):
        assert links_of(batch, text) == slow_links(record, labels)
    assert batch["schema_mentions"] == max(
        (
            max(label.mentions)
            for label in SCHEMA.labels
            if (label.kind.name, label.text.replace(" ", "")) in labels
        ),
        default=0,
    )


def test_class_is_linked_with_the_text_marker_in_both_directions(processor):
    examples = ExtractionDataset(
        processor, [(Source("x", SCHEMA), [{"text": "a", "classes": {"tone": ["z"], "topic": []}}])]
    ).examples
    batch = LDNetCollator(processor, LabelSampler(shuffle=False))(examples)
    labels = labels_of(processor, batch)
    assert labels == [("CLASS", name) for name in ("topic:x", "y", "tone:x", "z")]
    assert batch["open_links"].tolist() == batch["close_links"].tolist() == [[0, 3, 0]]
    assert batch["schema_kinds"].tolist() == [2] * 4
    assert batch["supervision"].tolist() == [[True, False, False]]
    assert batch["schema_mentions"] == 0


def test_texts_of_a_batch_keep_their_own_questions(processor):
    asked = [
        {"text": "a b", "question": "works for a", "answers": [{"start": 0, "end": 1}]},
        {"text": "a b c", "question": "b", "answers": []},
    ]
    parts = [(Source("x", SCHEMA), asked), (Source("y", OTHER), [{"text": "c", "entities": []}])]
    batch = LDNetCollator(processor)(ExtractionDataset(processor, parts).examples)
    rows = [
        processor.tokenizer.decode(row[mask.bool()]).split()
        for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    assert rows == [
        ["[CLS]", "a", "b", "[SEP]", "works", "for", "a", "[SEP]"],
        ["[CLS]", "a", "b", "c", "[SEP]", "b", "[SEP]"],
        ["[CLS]", "c", "[SEP]"],
    ]
    assert batch["token_mask"].sum(1).tolist() == [2, 3, 1]
    answer = labels_of(processor, batch).index(("SPAN", "answer"))
    assert batch["annotated"][:, answer].tolist() == [True, True, False]
    assert [0, answer, 1] in batch["open_links"].tolist()


def test_sources_share_labels_of_equal_words_and_kind(processor):
    parts = [
        (Source("x", SCHEMA), [{"text": "a", "classes": {"topic": [], "tone": []}, "events": []}]),
        (
            Source("y", OTHER),
            [{"text": "b", "classes": {"kind": ["x"]}, "entities": [], "answers": [], "question": "?"}],
        ),
    ]
    batch = LDNetCollator(processor, LabelSampler(shuffle=False))(
        ExtractionDataset(processor, parts).examples
    )
    labels = labels_of(processor, batch)
    assert len(set(labels)) == len(labels)
    shared = labels.index(("MENTION", "a"))  # an event type here, an entity type there
    assert batch["annotated"][:, shared].tolist() == [True, True]
    own = labels.index(("CLASS", "x"))  # "topic: x" and "tone: x" have other words
    assert batch["annotated"][:, own].tolist() == [False, True]
    assert [1, own, 0] in batch["open_links"].tolist()


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_batch_of_all_structures_is_what_the_model_takes(make_model, make_processor, attention):
    model = make_model(schema_attention=attention)
    mention = {"start": 0, "end": 1}
    record = {
        "text": "a b",
        "hyper_relations": [
            {"type": "h", "head": mention, "tail": mention, "qualifiers": [{"type": "q", **mention}]}
        ],
        "classes": {"topic": ["x"]},
        "question": "who ?",
        "answers": [mention],
    }
    processor = make_processor(model.config)
    examples = ExtractionDataset(processor, [(Source("x", SCHEMA), [record, {"text": "b"}])]).examples
    output = model(**LDNetCollator(processor)(examples))
    assert torch.isfinite(output.loss)
    assert output.loss > 0
    output.loss.backward()
    assert model.link_head.projection.weight.grad.abs().sum() > 0
