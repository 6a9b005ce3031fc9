"""Losses of `LDNetModel`: what they add up to, micro-batches, and that they teach."""

import math

import pytest
import torch

from ldnet.losses import LinkTargets, link_loss, relevance_loss, relevance_targets
from ldnet.modeling_ldnet import CLASS_KIND


def targets_of(batch):
    return LinkTargets(
        batch["open_links"],
        batch["close_links"],
        batch["inside_links"],
        batch["next_links"],
        batch["annotated"],
        batch["schema_kinds"] == CLASS_KIND,
        batch["token_mask"],
        batch["supervision"],
        batch["partial"],
    )


@pytest.mark.parametrize("relevance_target", ["text", "endpoint", "span"])
@pytest.mark.parametrize("relevance_form", ["balanced", "mean"])
@pytest.mark.parametrize("lower", [False, True])
def test_loss_is_the_mean_of_gated_link_loss_and_weighted_relevance_loss(
    make_model, make_inputs, make_gold, relevance_target, relevance_form, lower, run
):
    model = make_model(
        relevance_target=relevance_target,
        relevance_loss=relevance_form,
        relevance_weight=0.25,
        max_fragments=2 if lower else 1,
    )
    batch = make_inputs(model)
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
    make_model, make_inputs, make_gold, label_drop, run
):
    gated, plain = make_model(label_drop=label_drop), make_model(label_drop="none")
    batch = make_inputs(gated)
    batch |= make_gold(batch)
    left, right = run(gated, batch), run(plain, batch)
    assert left.link_loss.item() == pytest.approx(right.link_loss.item(), rel=1e-6)
    assert left.relevance_loss.item() > 0
    assert right.relevance_loss is None
    assert right.loss.item() == right.link_loss.item()
    assert not torch.allclose(left.link_logits.open, right.link_logits.open)  # what is decoded is gated


def test_gradients_of_micro_batches_add_up_to_that_of_the_batch(
    any_model, make_inputs, make_gold, take_texts
):
    texts = ["Tim works for Apple.", "Ada is in the place, for the person.", "Åse", "Tim is in the place."]
    batch = make_inputs(any_model, texts)
    gold = make_gold(batch)

    def gradients(*parts):
        any_model.zero_grad()
        for part in parts:
            rows = {name: gold[name][part] for name in ("labels", "annotated", "supervision", "partial")}
            for name in ("open_links", "close_links", "inside_links", "next_links"):
                own = [[part.index(i), *cell] for i, *cell in gold[name].tolist() if i in part]
                rows[name] = torch.tensor(own)
            any_model(
                **take_texts(batch, part), **rows, num_items_in_batch=torch.tensor(len(texts))
            ).loss.backward()
        return {name: p.grad.clone() for name, p in any_model.named_parameters() if p.grad is not None}

    whole, pieces = gradients([0, 1, 2, 3]), gradients([0], [1, 2], [3])
    any_model.zero_grad()
    any_model(**batch, **gold).loss.backward()
    mean = {name: p.grad for name, p in any_model.named_parameters() if p.grad is not None}
    for name, gradient in whole.items():
        limit = 1e-5 * max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(pieces[name], gradient, atol=limit, rtol=0, msg=name)
        torch.testing.assert_close(mean[name], gradient, atol=limit, rtol=0, msg=name)


def test_texts_with_label_minus_100_are_left_out_of_the_loss(
    make_model, make_inputs, make_gold, run, take_texts
):
    model = make_model()
    batch = make_inputs(model)
    gold = make_gold(batch)
    kept = {name: gold[name][:1] for name in ("labels", "annotated", "supervision", "partial")}
    for name in ("open_links", "close_links", "inside_links", "next_links"):
        kept[name] = gold[name][gold[name][:, 0] == 0]
    expected = run(model, take_texts(batch, [0]) | kept).loss
    gold["labels"] = torch.tensor([1, -100, -100])
    assert run(model, batch | gold).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_few_steps_learn_the_links_of_two_texts(make_any_model, make_inputs, run):
    model = make_any_model(head_dropout=0.0)
    torch.manual_seed(0)
    batch = make_inputs(model, ["Tim works for Apple.", "the person is in the place"])
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
    inputs = make_inputs(model)
    assert len(model(**inputs, threshold=0.1, output_attentions=True).links.open) > 0
