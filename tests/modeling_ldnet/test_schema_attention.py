"""Prefix attention: the cached form against one masked sequence, forwards and backwards."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModel

from ldnet import schema_attention
from ldnet.configuration_ldnet import OFFSET_POSITION_ENCODERS, PREFIX_ENCODERS, LDNetConfig
from ldnet.modeling_ldnet import LDNetModel
from ldnet.schema_attention import PrefixCache, masked_sequence, prefix_implementation

PREFIX_KINDS = ("bert", "roberta", "modernbert")
LOCAL = {
    "modernbert": {"local_attention": 6}
}  # so narrow that texts and label blocks are longer than the window


@pytest.fixture(scope="session")
def make_prefix_model(make_encoder_config):
    """`make_prefix_model(kind, **config)`: a tiny model whose local layers do not see a whole text."""

    def make(kind, **config):
        torch.manual_seed(0)
        encoder = make_encoder_config(kind, **LOCAL.get(kind, {}))
        return LDNetModel(
            LDNetConfig(encoder_config=encoder, head_size=8, initializer_range=0.4, **config)
        ).eval()

    return make


def sequence_of(model, inputs):
    """Inputs of the masked form, with what the kind of encoder asks for."""
    encoder = model.encoder.config
    names = ("schema_input_ids", "schema_attention_mask", "input_ids", "attention_mask")
    return masked_sequence(
        *(inputs[name] for name in names),
        first_position=encoder.pad_token_id + 1 if encoder.model_type in OFFSET_POSITION_ENCODERS else 0,
        window=encoder.sliding_window if encoder.model_type == "modernbert" else None,
        full_weight=model.config.full_weight_tokens,
    )


def run_cached(model, inputs):
    """States of label tokens and of texts, `(P, H)` and `(B, L, H)`, from the cached form."""
    cache = PrefixCache(inputs["schema_attention_mask"], model.config.full_weight_tokens)
    labels = model.encoder(
        input_ids=inputs["schema_input_ids"],
        attention_mask=inputs["schema_attention_mask"],
        prefix_cache=cache,
    ).last_hidden_state[inputs["schema_attention_mask"].bool()]
    texts = model.encoder(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        prefix_cache=cache.for_reading(),
    ).last_hidden_state
    return labels, texts


def run_masked(model, inputs):
    states = model.encoder(**sequence_of(model, inputs)).last_hidden_state
    width = int(inputs["schema_attention_mask"].sum())
    return states[0, :width], states[:, width:]


def test_masked_sequence_of_two_blocks_and_a_padded_text():
    sequence = masked_sequence(
        torch.tensor([[7, 8], [9, 0]]),
        torch.tensor([[1, 1], [1, 0]]),
        torch.tensor([[1, 2, 0]]),
        torch.tensor([[1, 1, 0]]),
        first_position=2,
    )
    assert sequence["input_ids"].tolist() == [[7, 8, 9, 1, 2, 0]]
    assert sequence["position_ids"].tolist() == [[2, 3, 2, 2, 3, 4]]
    assert (sequence["attention_mask"] == 0).int().tolist() == [
        [
            [
                [1, 1, 0, 0, 0, 0],
                [1, 1, 0, 0, 0, 0],
                [0, 0, 1, 0, 0, 0],
                [1, 1, 1, 1, 1, 0],
                [1, 1, 1, 1, 1, 0],
                [1, 1, 1, 1, 1, 0],
            ]
        ]
    ]


def test_masked_sequence_with_a_window_keeps_label_blocks_near_to_all_text():
    ids, mask = torch.tensor([[7, 8, 9]]), torch.ones((1, 3), dtype=torch.long)
    masks = masked_sequence(ids, mask, ids, mask, window=1)["attention_mask"]
    near = [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    expected = [row + [0, 0, 0] for row in near] + [[1, 1, 1, *row] for row in near]
    assert (masks["sliding_attention"] == 0).int()[0, 0].tolist() == expected
    assert (masks["full_attention"] == 0).int()[0, 0].tolist() == [[1, 1, 1, 0, 0, 0]] * 3 + [[1] * 6] * 3


@pytest.mark.parametrize("full_weight", [None, 2])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", sorted(PREFIX_ENCODERS))
def test_cached_form_equals_the_masked_sequence(
    make_prefix_model, make_inputs, kind, implementation, full_weight
):
    model = make_prefix_model(kind, attn_implementation=implementation, full_weight_tokens=full_weight)
    inputs = make_inputs(model)
    with torch.no_grad():
        labels, texts = run_cached(model, inputs)
        label_oracle, text_oracle = run_masked(model, inputs)
        alone = model.encoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(labels, label_oracle, atol=1e-5, rtol=0)
    torch.testing.assert_close(texts[real], text_oracle[real], atol=1e-5, rtol=0)
    # The labels matter, or equality would say nothing.
    assert (alone.last_hidden_state[real] - texts[real]).abs().max() > 0.01


def test_many_label_tokens_weigh_as_much_as_the_most_that_get_their_full_share(
    make_prefix_model, make_inputs
):
    """A label that stands there ten times draws the attention of one."""
    model = make_prefix_model("bert")
    once = make_inputs(model, schema=["person"])
    times = {k: once[k].repeat(10, 1) for k in ("schema_input_ids", "schema_attention_mask")}
    tokens = int(once["schema_attention_mask"].sum())
    with torch.no_grad():
        found = {}
        for full_weight in (None, tokens):
            model.config.full_weight_tokens = full_weight
            found[full_weight] = [run_cached(model, inputs)[1] for inputs in (once, once | times)]
    real = once["attention_mask"].bool()
    alone, among = found[tokens]
    torch.testing.assert_close(among[real], alone[real], atol=1e-5, rtol=0)
    alone, among = found[None]
    assert (among[real] - alone[real]).abs().max() > 0.01


@pytest.mark.parametrize("kind", PREFIX_KINDS)
def test_gradient_through_the_cached_form_equals_that_of_the_masked_sequence(
    make_prefix_model, make_inputs, kind
):
    model = make_prefix_model(kind)
    inputs = make_inputs(model)
    real = inputs["attention_mask"].bool()
    weights = torch.randn(2, int(real.sum()), model.config.encoder_config.hidden_size)
    gradients = []
    for run in (run_cached, run_masked):
        model.zero_grad()
        labels, texts = run(model, inputs)
        loss = (weights[0] * texts[real]).sum() + (weights[1, : len(labels)] * labels).sum()
        loss.backward()
        gradients.append(
            {name: part.grad for name, part in model.encoder.named_parameters() if part.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) > 10
    for name, gradient in gradients[0].items():
        limit = 1e-5 * max(1.0, gradients[1][name].abs().max().item())
        torch.testing.assert_close(gradient, gradients[1][name], atol=limit, rtol=0, msg=name)


def test_gradient_reaches_the_label_blocks_through_the_texts(make_prefix_model, make_inputs):
    model = make_prefix_model("bert")
    inputs = make_inputs(model, ["Tim"], ["place"])
    _, texts = run_cached(model, inputs)
    texts.square().sum().backward()
    used = model.get_input_embeddings().weight.grad.abs().sum(1).nonzero().flatten()
    assert set(inputs["schema_input_ids"].flatten().tolist()) <= set(used.tolist())


def loss_and_gradients(model, batch):
    model.train()
    model.zero_grad()
    torch.manual_seed(5)  # dropout is on
    loss = model(**batch).loss
    loss.backward()
    return loss.item(), {
        name: part.grad.clone() for name, part in model.named_parameters() if part.grad is not None
    }


@pytest.mark.parametrize("kind", [*PREFIX_KINDS, "distilbert", "deberta-v2"])
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(
    make_prefix_model, make_inputs, make_gold, kind
):
    model = make_prefix_model(kind)
    inputs = make_inputs(model)
    batch = inputs | make_gold(inputs)
    loss, gradients = loss_and_gradients(model, batch)
    model.activation_checkpointing_enable()
    runs = []
    handles = [
        layer.register_forward_hook(lambda *_: runs.append(1))
        for layer in model.encoder.modules()
        if type(layer).__name__.endswith("Attention")
    ]
    again, gradients_again = loss_and_gradients(model, batch)
    for handle in handles:
        handle.remove()
    passes = 1 if kind == "deberta-v2" else 2  # texts, and label blocks
    assert len(runs) == 2 * passes * len(handles)  # every layer ran again in `backward`
    assert again == pytest.approx(loss, rel=1e-6)
    assert gradients.keys() == gradients_again.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_again[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", PREFIX_KINDS)
def test_short_and_long_label_blocks_apart_give_what_they_give_together(
    make_prefix_model, make_inputs, make_gold, kind, checkpointing, monkeypatch
):
    model = make_prefix_model(kind)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if checkpointing:
        model.activation_checkpointing_enable()
    inputs = make_inputs(
        model,
        schema={
            "entities": ["person", " ".join("a" * 9), "place"],
            "relations": ["in", " ".join(["is"] * 7)],
        },
    )
    batch = inputs | make_gold(inputs)
    schema = {name: value for name, value in inputs.items() if name.startswith("schema_")}
    together = model.encode_schema(**schema)
    loss, gradients = loss_and_gradients(model, batch)
    monkeypatch.setattr(schema_attention, "LEAST_PADDING", 1)
    assert len(schema_attention.length_groups(inputs["schema_attention_mask"].sum(1))) == 2
    apart = model.encode_schema(**schema)
    torch.testing.assert_close(apart.states, together.states, atol=1e-6, rtol=1e-5)
    assert apart.cache.layers.keys() == together.cache.layers.keys()
    for layer, stored in together.cache.layers.items():
        torch.testing.assert_close(apart.cache.layers[layer], stored, atol=1e-6, rtol=1e-5)
    loss_apart, gradients_apart = loss_and_gradients(model, batch)
    assert loss_apart == pytest.approx(loss, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_apart[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_length_groups_hold_every_row_once_and_save_what_they_can(lengths):
    groups = schema_attention.length_groups(torch.tensor(lengths))
    assert sorted(row for group in groups for row in group.tolist()) == list(range(len(lengths)))
    cost = sum(len(group) * max(lengths[row] for row in group.tolist()) for group in groups)
    ranked, whole = sorted(lengths), len(lengths) * max(lengths)
    best = min(cut * ranked[cut - 1] + (len(ranked) - cut) * ranked[-1] for cut in range(1, len(ranked) + 1))
    worth = whole - best >= max(schema_attention.LEAST_PADDING, whole // 4)
    assert cost == (best if worth else whole)
    assert len(groups) == 1 + worth


def test_reentrant_gradient_checkpointing_is_an_error_because_label_blocks_would_learn_nothing(
    make_prefix_model, make_inputs, make_gold
):
    model = make_prefix_model("bert").train()
    model.activation_checkpointing_enable({"use_reentrant": True})
    inputs = make_inputs(model)
    with pytest.raises(ValueError, match="use_reentrant=True does not work with prefix attention"):
        model(**inputs, **make_gold(inputs))


@pytest.mark.parametrize("kind", PREFIX_KINDS)
def test_label_states_depend_on_no_other_label(make_prefix_model, make_inputs, kind):
    model = make_prefix_model(kind)
    short, long = (
        {"entities": names} for names in (["place"], ["person of the organization in the place", "place"])
    )
    with torch.no_grad():
        alone, beside = (
            run_cached(model, make_inputs(model, ["Tim"], schema))[0] for schema in (short, long)
        )
    torch.testing.assert_close(beside[-len(alone) :], alone, atol=1e-5, rtol=0)


def test_prefix_cache_leaves_padding_out_and_is_written_once():
    cache = PrefixCache(torch.tensor([[1, 1], [1, 0]]))
    states = torch.arange(2 * 3 * 2 * 4.0).reshape(2, 3, 2, 4)  # (labels, heads, block length, head size)
    cache.write(0, states, -states)
    cache.write(0, states + 1, states + 1)
    key, value = cache.layers[0]
    expected = torch.stack([states[0, :, 0], states[0, :, 1], states[1, :, 0]], dim=1)
    assert torch.equal(key, expected)
    assert torch.equal(value, -expected)


def test_prefix_cache_for_reading_shares_layers_and_stands_before_every_text():
    cache = PrefixCache(torch.ones((1, 2)))
    reader = cache.for_reading()
    cache.write(0, torch.ones(1, 1, 2, 1), torch.ones(1, 1, 2, 1))
    assert (cache.writing, reader.writing) == (True, False)
    key, value = reader.prepend(0, torch.zeros(3, 1, 1, 1), torch.zeros(3, 1, 1, 1, dtype=torch.bfloat16))
    assert key.flatten(1).tolist() == [[1.0, 1.0, 0.0]] * 3
    assert value.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "expected"),
    [(None, "ldnet_sdpa"), ("sdpa", "ldnet_sdpa"), ("eager", "ldnet_eager"), ("ldnet_eager", "ldnet_eager")],
)
def test_prefix_implementation_is_the_form_that_reads_a_cache(name, expected):
    assert prefix_implementation(name) == expected


def test_prefix_implementation_of_a_kernel_without_masks_says_what_works():
    with pytest.raises(
        ValueError, match="'flash_attention_2' does not work with prefix attention; use 'sdpa'"
    ):
        prefix_implementation("flash_attention_2")


@pytest.mark.parametrize("implementation", ["ldnet_sdpa", "ldnet_eager"])
def test_registered_attention_without_a_cache_is_plain_attention(make_encoder_config, implementation):
    torch.manual_seed(0)
    encoder = AutoModel.from_config(make_encoder_config(), attn_implementation="eager").eval()
    ids, mask = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    with torch.no_grad():
        expected = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        encoder.set_attn_implementation(implementation)
        found = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", PREFIX_KINDS)
def test_short_texts_in_half_precision_give_the_same_by_plain_products(
    make_prefix_model, make_inputs, kind, monkeypatch
):
    model = make_prefix_model(kind).bfloat16()
    inputs = make_inputs(model)
    calls, by_torch = [], schema_attention.sdpa_attention_forward
    monkeypatch.setattr(
        schema_attention, "sdpa_attention_forward", lambda *a, **k: calls.append(1) or by_torch(*a, **k)
    )
    with torch.no_grad():
        plain = run_cached(model, inputs)[1]
        assert not calls
        monkeypatch.setattr(schema_attention, "MOST_PLAIN_WEIGHTS", 0)
        torchs = run_cached(model, inputs)[1]
    assert calls
    real = inputs["attention_mask"].bool()
    assert torch.allclose(plain[real].float(), torchs[real].float(), atol=0.06)
    assert not torch.allclose(plain[real].float(), torch.zeros(()), atol=0.06)


def test_eager_attention_drops_weights_in_training_only(make_prefix_model, make_inputs):
    model = make_prefix_model("bert", attn_implementation="eager")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # what is left is the dropout of attention weights
    attention = model.encoder.encoder.layer[0].attention.self
    attention.dropout.p = 0.5
    inputs = make_inputs(model)
    with torch.no_grad():
        assert torch.equal(run_cached(model, inputs)[1], run_cached(model, inputs)[1])
        model.train()
        assert not torch.equal(run_cached(model, inputs)[1], run_cached(model, inputs)[1])
