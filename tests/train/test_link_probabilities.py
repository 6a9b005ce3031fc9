import pytest
import torch

from ldnet.heads import dense_scores, gate_scores
from ldnet.processing.links import LoopLimits
from ldnet.processing.schema import Schema
from ldnet.train.link_probabilities import CLASS_KIND, kinds_of, legal_cells, link_log_odds

SCHEMA = Schema.from_any({"entities": ["person"], "classes": {"topic": {"labels": ["news"]}}})


@pytest.mark.parametrize("relevance_target", ["text", "span"])
@pytest.mark.parametrize("label_drop", ["none", "joint", "prob", "logit"])
def test_log_odds_are_those_of_score_and_relevance(make_model, make_processor, label_drop, relevance_target):
    """P is sigmoid(s) l for the forms that multiply a probability, sigmoid(s + log l) for the joint one."""
    model = make_model(label_drop=label_drop, relevance_target=relevance_target, confirm_loops=False)
    batch = make_processor(model.config)(["P1 works for the O2", "x"], SCHEMA)
    seen = []
    model.link_head.register_forward_hook(lambda module, inputs, output: seen.append(dense_scores(output)))
    with torch.no_grad():
        output = model(**batch, return_logits=True)
    is_class = batch["schema_kinds"] == CLASS_KIND
    found = link_log_odds(output.link_logits, output.relevance_logits, model.config, is_class)
    form = "prob" if label_drop == "logit" else label_drop
    by_marker = relevance_target != "text"
    expected = gate_scores(seen[0], output.relevance_logits, form, by_marker, is_class)
    for name in found._fields:
        a, b = getattr(found, name), getattr(expected, name)
        assert torch.allclose(torch.sigmoid(a), torch.sigmoid(b), atol=1e-5), name
    assert torch.equal(found.open[:, 1], seen[0].open[:, 1])  # classes are never gated


def test_kinds_are_those_that_labels_need():
    def kinds(value, limits=None):
        return kinds_of(Schema.from_any(value).labels, limits or LoopLimits())

    assert kinds({}) == (False, False, False)
    assert kinds({"classes": {"topic": {"labels": ["news"]}}}) == (True, False, False)
    assert kinds(["person"]) == (True, True, False)
    assert kinds(["person"], LoopLimits(2, "as")) == (True, True, False)
    assert kinds(["person"], LoopLimits(2, "a2a")) == (True, True, True)
    assert kinds({"relations": ["near"]}) == (True, True, True)


def test_legal_cells_are_tokens_pairs_and_the_marker_of_classes():
    token_mask = torch.tensor([[False, True, True, False]])
    kinds = torch.tensor([[True, True, True]])
    label_mask = torch.tensor([[True, True, False]])
    is_class = torch.tensor([False, True, False])
    legal = legal_cells(token_mask, label_mask, is_class, kinds, lower=False)
    assert legal.open.nonzero().tolist() == [[0, 0, 1], [0, 0, 2], [0, 1, 0]]
    assert torch.equal(legal.open, legal.close)
    assert legal.inside.nonzero().tolist() == [[0, 1, 1], [0, 1, 2], [0, 2, 2]]
    assert legal.next.sum() == 4
    lower = legal_cells(token_mask, label_mask, is_class, kinds, lower=True)
    assert lower.inside.sum() == 4
    none = legal_cells(token_mask, label_mask, is_class, ~kinds, lower=True)
    assert not any(matrix.any() for matrix in none)
