"""`shared_links`: one matrix for all link kinds, in heads, losses and pruning."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.heads import LinkHead, dense_scores, gate_scores, rotate
from ldnet.losses import LinkTargets, link_loss, relevance_loss, relevance_targets, share_token_links
from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.extraction import split_links
from ldnet.processing.links import LoopLimits, decode_links
from ldnet.processing.schema import Schema
from ldnet.pruning import LoopShape, dense_links, sparse_links

HIDDEN = 6


def make_head(seed=0, **fields):
    torch.manual_seed(seed)
    encoder = {"model_type": "bert", "hidden_size": HIDDEN, "num_attention_heads": 2}
    config = LDNetConfig(encoder_config=encoder, head_size=4, shared_links=True, **fields)
    return LinkHead(config).eval()


def targets_of(batch):
    links = (batch[f"{name}_links"] for name in ("open", "close", "inside", "next"))
    return LinkTargets(
        *links,
        batch["annotated"],
        batch["schema_kinds"],
        batch["token_mask"],
        batch["supervision"],
        batch["partial"],
    )


def test_link_head_has_one_pair_of_queries_and_keys():
    head, text, labels = make_head(), torch.randn(2, 5, HIDDEN), torch.randn(3, HIDDEN)
    assert head.projection.out_features == 2 * 4
    queries = head(text, head.project_labels(labels))
    query, key = head.projection(text).chunk(2, dim=-1)
    torch.testing.assert_close(queries.text_query, query)
    torch.testing.assert_close(queries.inside_query, rotate(query, head.inverse_frequency) / 2)
    torch.testing.assert_close(queries.label_key, head.projection(labels).chunk(2, dim=-1)[1] / 2)
    torch.testing.assert_close(queries.inside_key, rotate(key, head.inverse_frequency))
    scores = dense_scores(queries)
    assert torch.equal(scores.inside, scores.next)
    assert not torch.allclose(scores.inside, scores.inside.transpose(1, 2))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1_000_000),
    fragments=st.integers(1, 2),
    form=st.sampled_from(["as", "a2a"]),
    label_drop=st.sampled_from(["joint", "logit", "none"]),
    threshold=st.floats(0.2, 0.9),
)
def test_sparse_links_of_one_matrix_close_the_loops_of_the_dense_one(
    make_gates, seed, fragments, form, label_drop, threshold
):
    head, length = make_head(seed, head_activation="none"), 5
    torch.nn.init.normal_(head.projection.weight, std=0.7)
    queries = head(torch.randn(1, length, HIDDEN), head.project_labels(torch.randn(3, HIDDEN)))
    gates = make_gates(seed, 1, 3, length)
    shape = LoopShape(torch.zeros(3) > 0, 2, fragments, form, threshold, label_drop, False)
    cut = math.log(threshold / (1 - threshold))
    scores = gate_scores(dense_scores(queries), gates, label_drop, False, shape.is_class)
    assume(all((part - cut).abs().min() > 1e-4 for part in scores))
    tokens = torch.rand((1, length)) < 0.9
    schema = Schema.from_any({"entities": ["a", "b"], "relations": ["c"]})
    limits = LoopLimits(fragments, form, 5_000)
    found = []
    for links in (sparse_links, dense_links):
        (of_text,) = split_links(links(queries, gates, tokens, shape), 1)
        loops, truncated = decode_links(of_text, schema, limits)
        assume(not truncated)
        found.append({(loop.label, loop.mentions): loop.score for loop in loops})
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_share_token_links_is_the_union_without_repetitions(make_targets):
    rows = {"inside": [[0, 1, 2], [1, 0, 0]], "next": [[0, 3, 1], [0, 1, 2]]}
    targets = make_targets(0)._replace(**{name: torch.tensor(index) for name, index in rows.items()})
    shared = share_token_links(targets)
    assert shared.inside.tolist() == shared.next.tolist() == [[0, 1, 2], [0, 3, 1], [1, 0, 0]]
    assert shared.open is targets.open


@given(seed=st.integers(0, 10_000), form=st.sampled_from(["text", "endpoint", "span"]))
def test_relevance_targets_of_one_matrix_are_those_of_either_kind(make_targets, seed, form):
    targets = make_targets(seed)
    apart, shared = relevance_targets(targets, form), relevance_targets(targets, form, shared=True)
    assert torch.equal(shared.inside, apart.inside | apart.next)
    assert torch.equal(shared.next, shared.inside)
    assert torch.equal(shared.open, apart.open)
    assert torch.equal(shared.close, apart.close)


@pytest.mark.parametrize("label_drop", ["joint", "logit", "none"])
@pytest.mark.parametrize("form", ["text", "span"])
def test_loss_of_one_matrix_is_that_of_the_union(make_model, make_inputs, make_gold, run, label_drop, form):
    model = make_model(shared_links=True, label_drop=label_drop, relevance_target=form, relevance_weight=0.25)
    batch = make_inputs(model)
    batch |= make_gold(batch)
    output, targets = run(model, batch), targets_of(batch)
    plain = make_model(shared_links=True, label_drop="none", relevance_target=form)
    scores = output.link_logits if label_drop == "joint" else run(plain, batch).link_logits
    expected = link_loss(scores, share_token_links(targets), False).mean()
    assert output.link_loss.item() == pytest.approx(expected.item(), rel=1e-5)
    if label_drop != "none":
        gold = relevance_targets(targets, form, shared=True)
        relevance = relevance_loss(output.relevance_logits, gold, targets, "balanced", form != "text").mean()
        assert output.relevance_loss.item() == pytest.approx(relevance.item(), rel=1e-5)


def test_model_with_one_matrix_learns_and_survives_saving(make_model, make_inputs, make_gold, run, tmp_path):
    model = make_model(shared_links=True, confirm_loops=False)
    batch = make_inputs(model)
    batch |= make_gold(batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        losses.append(model(**batch).loss)
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1].item() < 0.5 * losses[0].item()
    model.save_pretrained(tmp_path)
    loaded = LDNetModel.from_pretrained(tmp_path)
    assert loaded.config.shared_links is True
    for one, other in zip(run(model, batch).link_logits, run(loaded, batch).link_logits, strict=True):
        assert torch.equal(one, other)
