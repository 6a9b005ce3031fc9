"""`LDNetModel`: invariances, losses, sparse against dense, files, encoders."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.losses import LinkTargets, link_loss, relevance_loss, relevance_targets
from ldnet.modeling_ldnet import LDNetModel, SchemaStates
from ldnet.processing.prompt import Marker
from ldnet.processing.schema import Schema
from ldnet.pruning import links_above

PREFIX_KINDS = ("bert", "roberta", "modernbert")
# Every encoder with the attention that it takes by itself, and BERT as the paper has it.
SETTINGS = [
    ("bert", {}),
    ("roberta", {}),
    ("modernbert", {}),
    ("deberta-v2", {}),
    ("bert", {"schema_attention": "full"}),
]
IDS = ["bert-prefix", "roberta-prefix", "modernbert-prefix", "deberta-v2-full", "bert-full"]
TEXTS = ["Tim works for Apple.", "Ada is in the place, for the person of the organization.", "Åse"]
SCHEMA = {"entities": ["person", "organization of the place"], "relations": ["works for", "in"]}


@pytest.fixture(params=SETTINGS, ids=IDS)
def model(request, make_model):
    kind, config = request.param
    return make_model(kind, **config)


@torch.no_grad()
def run(model, inputs, **options):
    return model(**inputs, return_logits=True, **options)


def take_texts(inputs, texts):
    """The inputs of some texts, without padding that they do not need."""
    length = int(inputs["attention_mask"][texts].sum(1).max())
    of_texts = {name: inputs[name][texts, :length] for name in ("input_ids", "attention_mask", "token_mask")}
    return inputs | of_texts


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


def assert_same_texts(left, right, pairs, inputs):
    """`pairs`: (text in `left`, text in `right`, text in `inputs`)."""
    for one, other, text in pairs:
        length = int(inputs["attention_mask"][text].sum())
        states = [output.last_hidden_state[i, :length] for output, i in ((left, one), (right, other))]
        torch.testing.assert_close(*states, atol=2e-6, rtol=0)
        found = [probabilities(output, i, length) for output, i in ((left, one), (right, other))]
        torch.testing.assert_close(*found, atol=2e-6, rtol=0)


# Invariances


def test_batch_equals_one_text_at_a_time(model, make_inputs):
    inputs = make_inputs(model, TEXTS, SCHEMA)
    together = run(model, inputs)
    for text in range(len(TEXTS)):
        alone = run(model, take_texts(inputs, [text]))
        assert_same_texts(together, alone, [(text, 0, text)], inputs)


def test_padding_changes_nothing(model, make_inputs):
    inputs = make_inputs(model, TEXTS, SCHEMA)
    padded = add_padding(inputs, 7, model.config.encoder_config.pad_token_id)
    assert_same_texts(run(model, inputs), run(model, padded), [(i, i, i) for i in range(len(TEXTS))], inputs)


def test_padding_of_a_batch_has_no_links(model, make_inputs):
    inputs = make_inputs(model, TEXTS, SCHEMA)
    links = run(model, inputs, threshold=0.01).links
    assert len(links.open) > 0
    for index in (links.open, links.close):
        assert inputs["token_mask"][index[:, 0], index[:, 2]].all()
    for index in (links.inside, links.next):
        assert inputs["token_mask"][index[:, 0], index[:, 1]].all()
        assert inputs["token_mask"][index[:, 0], index[:, 2]].all()


@pytest.mark.parametrize("kind", PREFIX_KINDS)
def test_label_order_changes_no_score_with_prefix_attention(make_model, make_inputs, kind):
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
def test_further_labels_change_others_only_through_the_attention_of_the_text(make_model, make_inputs, kind):
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
    mixed = SchemaStates(schema_few.states, schema_few.kinds, schema_many.cache, schema_few.projected)
    through_text, wide, narrow = (
        run(model, texts, schema_states=s) for s in (mixed, schema_many, schema_few)
    )
    for name in ("open", "close"):
        found, expected = getattr(through_text.link_logits, name), getattr(wide.link_logits, name)[:, :2]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(found, getattr(narrow.link_logits, name), atol=1e-3)


@pytest.mark.parametrize(("kind", "config"), [s for s in SETTINGS if s[0] != "deberta-v2"])
def test_sdpa_equals_eager(make_model, make_inputs, kind, config):
    sdpa = make_model(kind, attn_implementation="sdpa", **config)
    eager = make_model(kind, attn_implementation="eager", **config)
    prefix = "ldnet_" if sdpa.config.schema_attention == "prefix" else ""
    names = [model.encoder.config._attn_implementation for model in (sdpa, eager)]
    assert names == [f"{prefix}sdpa", f"{prefix}eager"]
    inputs = make_inputs(sdpa, TEXTS, SCHEMA)
    pairs = [(i, i, i) for i in range(len(TEXTS))]
    assert_same_texts(run(sdpa, inputs), run(eager, inputs), pairs, inputs)
    eager.set_attn_implementation("sdpa")
    assert eager.encoder.config._attn_implementation == f"{prefix}sdpa"
    torch.testing.assert_close(
        run(eager, inputs).last_hidden_state, run(sdpa, inputs).last_hidden_state, atol=0, rtol=0
    )


def test_set_attn_implementation_without_prefix_form_says_what_works(make_model):
    with pytest.raises(
        ValueError, match="'flex_attention' does not work with prefix attention; use 'sdpa' or 'eager'"
    ):
        make_model().set_attn_implementation("flex_attention")


@pytest.mark.parametrize(("kind", "config"), SETTINGS, ids=IDS)
def test_bfloat16_autocast_runs_with_heads_in_float32(make_model, make_inputs, make_gold, kind, config):
    model = make_model(kind, **config)
    inputs = make_inputs(model, TEXTS, SCHEMA)
    exact = run(model, inputs | make_gold(inputs))
    exact_links = run(model, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**inputs, **make_gold(inputs), return_logits=True)
        links = run(model, inputs)
    output.loss.backward()
    assert {part.dtype for part in (*output.link_logits, *output.relevance_logits)} == {torch.float32}
    assert output.loss.item() == pytest.approx(exact.loss.item(), rel=0.05)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
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
def test_schema_states_can_be_reused_for_any_text(make_model, make_inputs, kind):
    model = make_model(kind)
    inputs = make_inputs(model, TEXTS, SCHEMA)
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
def test_small_schemas_and_empty_texts_run(make_model, make_inputs, make_gold, schema, schema_attention):
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
):
    model = make_model(
        schema_attention=schema_attention,
        max_fragments=max_fragments,
        fragment_links=fragment_links,
        label_drop=label_drop,
        relevance_target=relevance_target,
    )
    processor, schema = make_processor(model.config), Schema.from_any(SCHEMA)
    texts = ["Tim in", "Ed"]  # where all links are on, the structures of a longer text are too many to list
    inputs = make_inputs(model, texts, schema)
    found = 0
    for threshold in (0.1, 0.5, 0.9):
        output = run(model, inputs, threshold=threshold)
        shape = model.loop_shape(inputs["schema_kinds"], threshold)
        dense = links_above(output.link_logits, inputs["token_mask"], shape)
        options = {"threshold": 1e-6}  # the links have been chosen already
        results = processor.post_process_extraction(output, texts, schema, **options)
        output.links = dense
        expected = processor.post_process_extraction(output, texts, schema, **options)
        assert not any(result["truncated"] for result in results)
        found += sum(len(result["entities"]) + len(result["relations"]) for result in results)
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
    shape = model.loop_shape(torch.tensor([0, 0]))
    assert shape == (False, 3, "a2a", 0.25, "prob", True)
    assert model.loop_shape(torch.tensor([0, 1]), 0.75) == (True, 3, "a2a", 0.75, "prob", True)


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
    make_model, make_inputs, name, relevance_target, schema_attention
):
    model = make_model(relevance_target=relevance_target, schema_attention=schema_attention)
    inputs = make_inputs(model, TEXTS, SCHEMA)
    damage(model, name)
    with pytest.raises(ValueError, match=r"the states of texts \[0, 1, 2\] of the batch are NaN or infinite"):
        run(model, inputs)


def test_damaged_weights_name_the_texts_that_they_spoil(make_model, make_inputs):
    model = make_model()
    inputs = make_inputs(model, ["Tim", "Åse", "Tim"], SCHEMA)
    only_second = inputs["input_ids"][1, 1].item()
    assert only_second not in inputs["input_ids"][[0, 2]]
    with torch.no_grad():
        model.get_input_embeddings().weight[only_second] = math.nan
    with pytest.raises(ValueError, match=r"texts \[1\] of the batch"):
        run(model, inputs)


# Losses


def targets_of(batch):
    return LinkTargets(
        batch["open_links"],
        batch["close_links"],
        batch["inside_links"],
        batch["next_links"],
        batch["annotated"],
        batch["token_mask"],
        batch["supervision"],
        batch["partial"],
    )


@pytest.mark.parametrize("relevance_target", ["text", "endpoint", "span"])
@pytest.mark.parametrize("relevance_form", ["balanced", "mean"])
@pytest.mark.parametrize("lower", [False, True])
def test_loss_is_the_mean_of_gated_link_loss_and_weighted_relevance_loss(
    make_model, make_inputs, make_gold, relevance_target, relevance_form, lower
):
    model = make_model(
        relevance_target=relevance_target,
        relevance_loss=relevance_form,
        relevance_weight=0.25,
        max_fragments=2 if lower else 1,
    )
    batch = make_inputs(model, TEXTS, SCHEMA)
    batch |= make_gold(batch)
    output = run(model, batch)
    targets = targets_of(batch)
    expected = link_loss(output.link_logits, targets, lower).mean()
    gold = relevance_targets(targets, relevance_target)
    relevance = relevance_loss(
        output.relevance_logits, gold, targets, relevance_form, relevance_target != "text"
    ).mean()
    assert output.link_loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert output.relevance_loss.item() == pytest.approx(relevance.item(), rel=1e-6)
    assert output.loss.item() == pytest.approx((expected + 0.25 * relevance).item(), rel=1e-6)
    assert output.links is None


@pytest.mark.parametrize("label_drop", ["prob", "logit"])
def test_loss_of_gates_that_are_trained_beside_the_scores_reads_ungated_scores(
    make_model, make_inputs, make_gold, label_drop
):
    gated, plain = make_model(label_drop=label_drop), make_model(label_drop="none")
    batch = make_inputs(gated, TEXTS, SCHEMA)
    batch |= make_gold(batch)
    left, right = run(gated, batch), run(plain, batch)
    assert left.link_loss.item() == pytest.approx(right.link_loss.item(), rel=1e-6)
    assert left.relevance_loss.item() > 0
    assert right.relevance_loss is None
    assert right.loss.item() == right.link_loss.item()
    assert not torch.allclose(left.link_logits.open, right.link_logits.open)  # what is decoded is gated


@pytest.mark.parametrize(("kind", "config"), SETTINGS, ids=IDS)
def test_gradients_of_micro_batches_add_up_to_that_of_the_batch(
    make_model, make_inputs, make_gold, kind, config
):
    model = make_model(kind, **config)
    texts = [*TEXTS, "Tim is in the place."]
    batch = make_inputs(model, texts, SCHEMA)
    gold = make_gold(batch)

    def gradients(*parts):
        model.zero_grad()
        for part in parts:
            rows = {name: gold[name][part] for name in ("labels", "annotated", "supervision", "partial")}
            for name in ("open_links", "close_links", "inside_links", "next_links"):
                own = [[part.index(i), *cell] for i, *cell in gold[name].tolist() if i in part]
                rows[name] = torch.tensor(own)
            model(
                **take_texts(batch, part), **rows, num_items_in_batch=torch.tensor(len(texts))
            ).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    whole, pieces = gradients([0, 1, 2, 3]), gradients([0], [1, 2], [3])
    model.zero_grad()
    model(**batch, **gold).loss.backward()
    mean = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for name, gradient in whole.items():
        limit = 1e-5 * max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(pieces[name], gradient, atol=limit, rtol=0, msg=name)
        torch.testing.assert_close(mean[name], gradient, atol=limit, rtol=0, msg=name)


def test_texts_with_label_minus_100_are_left_out_of_the_loss(make_model, make_inputs, make_gold):
    model = make_model()
    batch = make_inputs(model, TEXTS, SCHEMA)
    gold = make_gold(batch)
    kept = {name: gold[name][:1] for name in ("labels", "annotated", "supervision", "partial")}
    for name in ("open_links", "close_links", "inside_links", "next_links"):
        kept[name] = gold[name][gold[name][:, 0] == 0]
    expected = run(model, take_texts(batch, [0]) | kept).loss
    gold["labels"] = torch.tensor([1, -100, -100])
    assert run(model, batch | gold).loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("kind", "config"), SETTINGS, ids=IDS)
def test_a_few_steps_learn_the_links_of_two_texts(make_model, make_inputs, kind, config):
    model = make_model(kind, head_dropout=0.0, **config)
    torch.manual_seed(0)
    batch = make_inputs(model, ["Tim works for Apple.", "the person is in the place"], SCHEMA)
    gold = {
        "open_links": [[0, 0, 1], [0, 2, 1], [1, 1, 5]],
        "close_links": [[0, 0, 3], [0, 2, 7], [1, 1, 6]],
        "inside_links": [[0, 1, 3], [0, 6, 7], [1, 5, 6]],
        "next_links": [[0, 3, 6]],
    }
    given = {name: torch.tensor(rows) for name, rows in gold.items()} | {
        "labels": torch.ones(2, dtype=torch.long),
        "annotated": torch.ones((2, 4), dtype=torch.bool),
        "supervision": torch.ones((2, 3), dtype=torch.bool),
        "partial": torch.zeros(2, dtype=torch.bool),
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        output = model(**batch, **given)
        output.loss.backward()
        optimizer.step()
        if output.link_loss < math.log(2) / 2:  # then no cell of either text is on the wrong side
            break
    links = run(model, batch).links
    for name, rows in gold.items():
        assert sorted(getattr(links, name.removesuffix("_links")).tolist()) == rows, name


def test_label_drop_none_and_unknown_arguments_of_a_trainer_are_ignored(make_model, make_inputs):
    model = make_model(label_drop="none")
    inputs = make_inputs(model, TEXTS, SCHEMA)
    assert len(model(**inputs, threshold=0.1, output_attentions=True).links.open) > 0


# Files


def saved_bytes(folder):
    return b"".join(p.read_bytes() for p in Path(folder).rglob("*") if p.suffix in (".json", ".md"))


def shake(model, seed=3):
    """Give every weight a value that no initialisation gives."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize(("kind", "config"), SETTINGS, ids=IDS)
def test_save_load_gives_bit_equal_logits(make_model, make_inputs, tmp_path, kind, config):
    model = shake(make_model(kind, rotary_base=500.0, **config))
    inputs = make_inputs(model, TEXTS, SCHEMA)
    model.save_pretrained(tmp_path)
    for loaded in (LDNetModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert not loaded.training
        assert torch.equal(loaded.link_head.inverse_frequency, model.link_head.inverse_frequency)
        assert torch.equal(loaded.kind_embedding.weight, model.kind_embedding.weight)
        left, right = run(model, inputs), run(loaded, inputs)
        for name, logits in left.link_logits._asdict().items():
            assert torch.equal(logits, getattr(right.link_logits, name)), name
        for name, found in left.links._asdict().items():
            assert torch.equal(found, getattr(right.links, name)), name
    assert b"ldnet_sdpa" not in saved_bytes(tmp_path)
    assert b"ldnet_eager" not in saved_bytes(tmp_path)


def test_load_reports_no_missing_or_unexpected_weights(make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    _, info = LDNetModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_float16_storage_loads_as_float32(make_model, make_inputs, tmp_path):
    model = shake(make_model())
    inputs = make_inputs(model, TEXTS, SCHEMA)
    expected = make_model()
    expected.load_state_dict({name: tensor.half().float() for name, tensor in model.state_dict().items()})
    model.half().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "float32"}))
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    loaded = AutoModel.from_pretrained(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.link_head.inverse_frequency, expected.link_head.inverse_frequency)
    left, right = run(expected, inputs), run(loaded, inputs)
    for name, logits in left.link_logits._asdict().items():
        assert torch.equal(logits, getattr(right.link_logits, name)), name


@pytest.mark.parametrize(("kind", "config"), SETTINGS, ids=IDS)
def test_load_in_bfloat16_keeps_the_heads_in_float32(make_model, make_inputs, tmp_path, kind, config):
    model = make_model(kind, **config)
    model.save_pretrained(tmp_path)
    loaded = LDNetModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.link_head.parameters()} == {torch.float32}
    assert {p.dtype for p in loaded.relevance_head.parameters()} == {torch.float32}
    assert {p.dtype for p in loaded.encoder.parameters()} == {torch.bfloat16}
    output = run(loaded, make_inputs(model, TEXTS, SCHEMA))
    assert output.link_logits.open.dtype == torch.float32
    assert torch.isfinite(output.link_logits.open).all()


# Encoders


@pytest.fixture
def save_encoder(make_encoder_config, tmp_path):
    """`save_encoder(kind, **options)`: a tiny random encoder in a folder of this machine."""

    def save(kind="bert", dtype=torch.float32, **fields):
        torch.manual_seed(11)
        encoder = AutoModel.from_config(make_encoder_config(kind, **fields)).to(dtype).eval()
        encoder.save_pretrained(tmp_path / "encoder")
        return str(tmp_path / "encoder"), encoder

    return save


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert", "deberta-v2"])
def test_from_encoder_keeps_every_weight_of_the_encoder(save_encoder, kind):
    path, encoder = save_encoder(kind)
    model = LDNetModel.from_encoder(path, head_size=8)
    own = model.encoder.state_dict()
    expected = {
        name: tensor for name, tensor in encoder.state_dict().items() if not name.startswith("pooler.")
    }
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in expected.items())
    assert model.config.head_size == 8
    assert model.config.schema_attention == ("full" if kind == "deberta-v2" else "prefix")
    assert not model.kind_embedding.weight.any()


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_from_encoder_leaves_no_path_of_this_machine_in_what_is_saved(save_encoder, tmp_path, kind):
    path, _ = save_encoder(kind)
    LDNetModel.from_encoder(path, head_size=8).save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "config.json").exists()
    assert str(tmp_path).encode() not in saved_bytes(tmp_path / "model")


def test_from_encoder_of_float16_weights_is_float32(save_encoder):
    path, encoder = save_encoder(dtype=torch.float16)
    model = LDNetModel.from_encoder(path, head_size=8)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    weight = model.get_input_embeddings().weight
    assert torch.equal(weight, encoder.get_input_embeddings().weight.float())


def test_from_encoder_with_missing_weights_names_them(save_encoder):
    path, _ = save_encoder()
    file = Path(path) / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("layer.1.output.dense.weight"))
    del weights[name]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"encoder weights are missing .*layer\.1\.output\.dense\.weight.*complete"
    ):
        LDNetModel.from_encoder(path)


def test_from_encoder_takes_fields_of_the_configuration(save_encoder):
    path, _ = save_encoder()
    model = LDNetModel.from_encoder(path, **LDNetConfig.paper_fields(), head_size=8)
    assert model.config.to_dict().items() >= LDNetConfig.paper_fields().items()
    assert model.encoder.config._attn_implementation == "sdpa"


def test_encoders_have_no_pooler_without_gradient(make_model, make_inputs, make_gold):
    """An unused weight would stop plain DistributedDataParallel."""
    for kind, config in SETTINGS:
        model = make_model(kind, **config)
        inputs = make_inputs(model, TEXTS, SCHEMA)
        model(**inputs, **make_gold(inputs)).loss.backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == [], kind


def test_add_markers_starts_new_embeddings_from_a_known_one(make_model, tmp_path):
    model = make_model()
    before = model.get_input_embeddings().weight.detach().clone()
    model.add_markers(len(before) + 7, like_token_id=2)
    weight = model.get_input_embeddings().weight
    assert torch.equal(weight[: len(before)], before)
    assert torch.equal(weight[len(before) :], before[2].expand(7, -1))
    assert model.config.encoder_config.vocab_size == len(before) + 7
    model.save_pretrained(tmp_path)
    assert torch.equal(LDNetModel.from_pretrained(tmp_path).get_input_embeddings().weight, weight)


def test_add_markers_with_room_to_spare_changes_no_known_embedding(make_model):
    model = make_model()
    before = model.get_input_embeddings().weight.detach().clone()
    model.add_markers(len(before) - 5, like_token_id=2)
    assert torch.equal(model.get_input_embeddings().weight, before)
    assert model.config.encoder_config.vocab_size == len(before)


def test_add_markers_in_spare_rows_starts_them_from_a_known_one_too(make_model):
    model = make_model()
    before = model.get_input_embeddings().weight.detach().clone()
    markers = [600 + i for i in range(len(Marker))]
    model.add_markers(607, like_token_id=2, marker_ids=markers)
    weight = model.get_input_embeddings().weight
    assert weight.shape == before.shape
    assert torch.equal(weight[markers], before[2].expand(7, -1))
    others = [i for i in range(len(before)) if i not in markers]
    assert torch.equal(weight[others], before[others])


def test_fresh_heads_follow_the_initializer_range_and_kinds_start_at_zero(make_encoder_config):
    torch.manual_seed(0)
    model = LDNetModel(LDNetConfig(encoder_config=make_encoder_config(), head_size=64, initializer_range=0.3))
    assert model.link_head.projection.weight.std().item() == pytest.approx(0.3, rel=0.05)
    assert not model.kind_embedding.weight.any()
    assert model.encoder.embeddings.word_embeddings.weight.std().item() == pytest.approx(0.1, rel=0.05)


def test_auto_classes_know_ldnet(make_model, tmp_path):
    model = make_model()
    model.config.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(AutoModel.from_config(config)) is LDNetModel
