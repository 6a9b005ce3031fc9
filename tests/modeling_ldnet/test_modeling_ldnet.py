"""`LDNetModel`: invariances, label states, sparse links against dense ones, damaged weights."""

import math
from dataclasses import replace

import pytest
import torch

from ldnet.modeling_ldnet import CLASS_KIND
from ldnet.processing.schema import Schema
from ldnet.pruning import links_above

PREFIX_KINDS = ("bert", "roberta", "modernbert")
STRUCTURES = ("entities", "relations", "hyper_relations", "events", "answers", "spans")
TEXTS = ["Tim works for Apple.", "Ada is in the place, for the person of the organization.", "Åse"]
EVERYTHING = Schema.from_any(
    {
        "entities": ["person"],
        "relations": ["works for"],
        "hyper_relations": [{"type": "in", "qualifiers": ["place"]}],
        "events": [{"type": "works", "roles": ["person"]}],
        "classes": {"topic": ["for", "the"], "tone": {"labels": ["in", "of"], "multi_label": True}},
        "question": "the person",
        "spans": True,
    }
)


def add_padding(inputs, columns, pad_id):
    """Further padding behind every text and, in prefix mode, behind every label block."""

    def pad(tensor, value):
        return torch.nn.functional.pad(tensor, (0, columns), value=value)

    padded = inputs | {
        "input_ids": pad(inputs["input_ids"], pad_id),
        "attention_mask": pad(inputs["attention_mask"], 0),
        "token_mask": pad(inputs["token_mask"], False),
    }
    if len(inputs["schema_input_ids"]) > 1:
        padded |= {
            "schema_input_ids": pad(inputs["schema_input_ids"], pad_id),
            "schema_attention_mask": pad(inputs["schema_attention_mask"], 0),
            "schema_blocks": pad(inputs["schema_blocks"], -1),
        }
    return padded


def probabilities(output, text, length):
    """Gated probabilities of one text as one vector, without padding."""
    parts = [getattr(output.link_logits, name)[text] for name in ("open", "close", "inside", "next")]
    cut = [part[..., :length] for part in parts[:2]] + [part[:length, :length] for part in parts[2:]]
    return torch.sigmoid(torch.cat([part.flatten() for part in cut]))


def assert_same_texts(left, right, pairs, inputs, atol=5e-6):
    """`pairs`: (text in `left`, text in `right`, text in `inputs`)."""
    for one, other, text in pairs:
        length = int(inputs["attention_mask"][text].sum())
        states = [output.last_hidden_state[i, :length] for output, i in ((left, one), (right, other))]
        torch.testing.assert_close(*states, atol=atol, rtol=0)
        found = [probabilities(output, i, length) for output, i in ((left, one), (right, other))]
        torch.testing.assert_close(*found, atol=atol, rtol=0)


# Invariances


def test_batch_equals_one_text_at_a_time(any_model, make_inputs, run, take_texts):
    inputs = make_inputs(any_model, TEXTS, EVERYTHING)
    together = run(any_model, inputs)
    for text in range(len(TEXTS)):
        alone = run(any_model, take_texts(inputs, [text]))
        assert_same_texts(together, alone, [(text, 0, text)], inputs)


def test_padding_changes_nothing(any_model, make_inputs, run):
    inputs = make_inputs(any_model, TEXTS, EVERYTHING)
    padded = add_padding(inputs, 7, any_model.config.encoder_config.pad_token_id)
    assert_same_texts(
        run(any_model, inputs), run(any_model, padded), [(i, i, i) for i in range(len(TEXTS))], inputs
    )


def test_padding_and_questions_have_no_links(any_model, make_inputs, run):
    inputs = make_inputs(any_model, TEXTS, EVERYTHING)
    links = run(any_model, inputs, threshold=0.01).links
    assert len(links.open) > 0
    for index in (links.open, links.close):
        assert inputs["token_mask"][index[:, 0], index[:, 2]].all()
    for index in (links.inside, links.next):
        assert inputs["token_mask"][index[:, 0], index[:, 1]].all()
        assert inputs["token_mask"][index[:, 0], index[:, 2]].all()


@pytest.mark.parametrize("kind", PREFIX_KINDS)
def test_label_order_changes_no_score_with_prefix_attention(make_model, make_inputs, kind, run):
    model = make_model(kind)
    names = ["person", "organization of the place", "the", "in", "works for the place"]
    order = [3, 0, 4, 1, 2]
    first = run(model, make_inputs(model, TEXTS, names))
    second = run(model, make_inputs(model, TEXTS, [names[i] for i in order]))
    for name in ("open", "close"):
        expected = getattr(first.link_logits, name)[:, order]
        torch.testing.assert_close(getattr(second.link_logits, name), expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(expected, getattr(first.link_logits, name), atol=1e-3)
    for name in ("inside", "next"):
        found, expected = (getattr(output.link_logits, name) for output in (second, first))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", PREFIX_KINDS)
def test_further_labels_change_others_only_through_the_attention_of_the_text(
    make_model, make_inputs, kind, run
):
    model = make_model(kind)
    few = make_inputs(model, TEXTS, ["person", "place"])
    many = make_inputs(model, TEXTS, ["person", "place", "organization of the works", "in"])
    schema_few, schema_many = (
        model.encode_schema(**{k: v for k, v in inputs.items() if k.startswith("schema_")})
        for inputs in (few, many)
    )
    torch.testing.assert_close(schema_many.states[:2], schema_few.states, atol=1e-5, rtol=0)
    texts = {name: few[name] for name in ("input_ids", "attention_mask", "token_mask")}
    # The old labels, read by texts that attend to all labels.
    mixed = replace(schema_few, cache=schema_many.cache)
    through_text, wide, narrow = (
        run(model, texts, schema_states=s) for s in (mixed, schema_many, schema_few)
    )
    for name in ("open", "close"):
        found, expected = getattr(through_text.link_logits, name), getattr(wide.link_logits, name)[:, :2]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(found, getattr(narrow.link_logits, name), atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "config"), [*((kind, {}) for kind in PREFIX_KINDS), ("bert", {"schema_attention": "full"})]
)
def test_sdpa_equals_eager(make_model, make_inputs, kind, config, run):
    sdpa = make_model(kind, attn_implementation="sdpa", **config)
    eager = make_model(kind, attn_implementation="eager", **config)
    prefix = "ldnet_" if sdpa.config.schema_attention == "prefix" else ""
    names = [model.encoder.config._attn_implementation for model in (sdpa, eager)]
    assert names == [f"{prefix}sdpa", f"{prefix}eager"]
    inputs = make_inputs(sdpa)
    pairs = [(i, i, i) for i in range(len(TEXTS))]
    assert_same_texts(run(sdpa, inputs), run(eager, inputs), pairs, inputs, atol=1e-5)
    eager.set_attn_implementation("sdpa")
    assert eager.encoder.config._attn_implementation == f"{prefix}sdpa"
    torch.testing.assert_close(
        run(eager, inputs).last_hidden_state, run(sdpa, inputs).last_hidden_state, atol=0, rtol=0
    )


def test_bfloat16_autocast_runs_with_heads_in_float32(any_model, make_inputs, make_gold, run):
    inputs = make_inputs(any_model)
    exact = run(any_model, inputs | make_gold(inputs))
    exact_links = run(any_model, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = any_model(**inputs, **make_gold(inputs), return_logits=True)
        links = run(any_model, inputs)
    output.loss.backward()
    assert {part.dtype for part in (*output.link_logits, *output.relevance_logits)} == {torch.float32}
    assert output.loss.item() == pytest.approx(exact.loss.item(), rel=0.05)
    assert all(torch.isfinite(p.grad).all() for p in any_model.parameters() if p.grad is not None)
    assert links.last_hidden_state.std().item() == pytest.approx(
        exact_links.last_hidden_state.std().item(), rel=0.05
    )
    assert len(links.links.open) > 0


# Label states and reuse


@pytest.mark.parametrize("schema_attention", ["prefix", "full"])
@pytest.mark.parametrize("label_state", ["mean", "marker"])
def test_label_states_are_the_mean_of_a_block_or_its_marker_plus_a_vector_of_its_kind(
    make_model, make_inputs, schema_attention, label_state
):
    model = make_model(schema_attention=schema_attention, label_state=label_state)
    torch.nn.init.normal_(model.kind_embedding.weight)
    inputs = make_inputs(
        model, TEXTS[:1], Schema(entities=["person", "the place"], relations=["in"], instruction="the")
    )
    seen = []
    model.relevance_head.register_forward_hook(lambda _, arguments, __: seen.append(arguments[1]))
    with torch.no_grad():
        model(**inputs)
        if schema_attention == "prefix":
            states, ids, mask = seen[0], inputs["schema_input_ids"], inputs["schema_attention_mask"]
        else:
            states, ids, mask = (
                seen[0][0],
                torch.cat([inputs["schema_input_ids"], inputs["input_ids"]], 1),
                None,
            )
        hidden = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    for label, kind in enumerate([0, 0, 1]):
        row, marker = inputs["schema_markers"][label].tolist()
        places = [i for i, owner in enumerate(inputs["schema_blocks"][row].tolist()) if owner == label]
        assert places[0] == marker
        used = places if label_state == "mean" else [marker]
        expected = sum(hidden[row, i] for i in used) / len(used) + model.kind_embedding.weight[kind]
        torch.testing.assert_close(states[label], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", PREFIX_KINDS)
def test_schema_states_can_be_reused_for_any_text(make_model, make_inputs, kind, run, take_texts):
    model = make_model(kind)
    inputs = make_inputs(model)
    with torch.no_grad():
        states = model.encode_schema(**{k: v for k, v in inputs.items() if k.startswith("schema_")})
    for texts in ([0, 1, 2], [1], [2, 0]):
        part = take_texts(inputs, texts)
        expected = run(model, part)
        found = run(
            model, {k: v for k, v in part.items() if not k.startswith("schema_")}, schema_states=states
        )
        for name, logits in found.link_logits._asdict().items():
            assert torch.equal(logits, getattr(expected.link_logits, name))
        assert found.links.open.tolist() == expected.links.open.tolist()


@pytest.mark.parametrize("schema", [[], {"relations": ["in"]}, ["person"]])
@pytest.mark.parametrize("schema_attention", ["prefix", "full"])
def test_small_schemas_and_empty_texts_run(make_model, make_inputs, make_gold, schema, schema_attention, run):
    model = make_model(schema_attention=schema_attention)
    inputs = make_inputs(model, ["", "Tim"], schema)
    num_labels = len(Schema.from_any(schema).labels)
    output = run(model, inputs, threshold=0.01)
    assert output.link_logits.open.shape == (2, num_labels, inputs["input_ids"].shape[1])
    assert 0 not in output.links.open[:, 0].tolist()  # the empty text
    assert (len(output.links.open) > 0) == (num_labels > 0)


def test_empty_schema_has_a_loss_with_gradient(make_model, make_inputs):
    model = make_model()
    inputs = make_inputs(model, ["Tim"], [])
    none = torch.zeros((0, 3), dtype=torch.long)
    loss = model(
        **inputs,
        labels=torch.ones(1, dtype=torch.long),
        open_links=none,
        close_links=none,
        inside_links=none,
        next_links=none,
        annotated=torch.zeros((1, 0), dtype=torch.bool),
        supervision=torch.ones((1, 3), dtype=torch.bool),
        partial=torch.zeros(1, dtype=torch.bool),
    ).loss
    loss.backward()
    assert loss.item() > 0  # span links are trained without labels too
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


# Links


@pytest.mark.parametrize("label_drop", ["joint", "prob", "logit", "none"])
@pytest.mark.parametrize("relevance_target", ["text", "endpoint", "span"])
@pytest.mark.parametrize(
    ("schema_attention", "max_fragments", "fragment_links"),
    [("prefix", 1, "as"), ("prefix", 2, "as"), ("full", 3, "a2a")],
)
def test_links_decode_to_the_structures_of_the_dense_logits(
    make_model,
    make_inputs,
    make_processor,
    label_drop,
    relevance_target,
    schema_attention,
    max_fragments,
    fragment_links,
    run,
):
    model = make_model(
        schema_attention=schema_attention,
        max_fragments=max_fragments,
        fragment_links=fragment_links,
        label_drop=label_drop,
        relevance_target=relevance_target,
    )
    processor, schema = make_processor(model.config), EVERYTHING
    texts = ["the in of", "Ed"]  # where all links are on, the structures of a longer text are too many
    inputs = make_inputs(model, texts, schema)
    found = 0
    for threshold in (0.1, 0.5, 0.9):
        output = run(model, inputs, threshold=threshold)
        is_class = inputs["schema_kinds"] == CLASS_KIND
        shape = model.loop_shape(is_class, int(inputs["schema_mentions"]), threshold)
        dense = links_above(output.link_logits, inputs["token_mask"], shape)
        options = {"threshold": 1e-6}  # the links have been chosen already
        results = processor.post_process_extraction(output, texts, schema, **options)
        output.links = dense
        expected = processor.post_process_extraction(output, texts, schema, **options)
        assert not any(result["truncated"] for result in results)
        found += sum(len(result[key]) for result in results for key in STRUCTURES)
        assert rounded(results) == rounded(expected)
    assert found > 0


def rounded(value):
    """Nested results with scores that compare within 1e-5."""
    if isinstance(value, dict):
        return {k: pytest.approx(v, abs=1e-5) if k == "score" else rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def test_loop_shape_says_what_the_configuration_says(make_model):
    model = make_model(
        max_fragments=3, fragment_links="a2a", relevance_target="span", label_drop="prob", threshold=0.25
    )
    is_class = torch.tensor([False, True])
    shape = model.loop_shape(is_class, 1)
    assert shape.is_class is is_class
    assert shape[1:] == (1, 3, "a2a", 0.25, "prob", True)
    assert model.loop_shape(is_class, 3, 0.75)[1:] == (3, 3, "a2a", 0.75, "prob", True)


# NaN


def damage(model, name):
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = math.nan


@pytest.mark.parametrize(
    "name",
    [
        "encoder.embeddings.LayerNorm.weight",
        "encoder.encoder.layer.1.output.dense.bias",
        "kind_embedding.weight",
        "link_head.projection.weight",
        "link_head.projection.bias",
        "relevance_head.projection.weight",
        "relevance_head.projection.bias",
    ],
)
@pytest.mark.parametrize("relevance_target", ["text", "endpoint"])
@pytest.mark.parametrize("schema_attention", ["prefix", "full"])
def test_damaged_weights_are_an_error_instead_of_no_result(
    make_model, make_inputs, name, relevance_target, schema_attention, run
):
    model = make_model(relevance_target=relevance_target, schema_attention=schema_attention)
    inputs = make_inputs(model)
    damage(model, name)
    with pytest.raises(ValueError, match=r"the states of texts \[0, 1, 2\] of the batch are NaN or infinite"):
        run(model, inputs)


def test_damaged_weights_name_the_texts_that_they_spoil(make_model, make_inputs, run):
    model = make_model()
    inputs = make_inputs(model, ["Tim", "Åse", "Tim"])
    only_second = inputs["input_ids"][1, 1].item()
    assert only_second not in inputs["input_ids"][[0, 2]]
    with torch.no_grad():
        model.get_input_embeddings().weight[only_second] = math.nan
    with pytest.raises(ValueError, match=r"texts \[1\] of the batch"):
        run(model, inputs)
