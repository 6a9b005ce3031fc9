import pytest
import torch

from ldnet.train.drop_rate import OPEN, draw_columns, gate_share

TEXTS = ["Tim works for Apple in the place", "Ada is in it", "Tim"]
SCHEMA = {"entities": ["person", "organization"], "relations": ["works for"]}


@pytest.fixture
def gates_at(make_model, make_processor):
    """`gates_at(share, texts, seed, **config)`: relevance logits, the mask of tokens, the link logits."""

    def run(share, texts=TEXTS, seed=0, **config):
        model = make_model(**config)
        inputs = dict(make_processor(model.config)(texts, SCHEMA))
        with torch.inference_mode(), gate_share(model, share, seed):
            output = model(**inputs, return_logits=True)
        return output.relevance_logits, inputs["token_mask"], output.link_logits

    return run


def kept(gate):
    return gate < OPEN


def test_gate_share_gates_that_share_of_the_tokens_of_each_text(gates_at):
    gates, mask, _ = gates_at(0.5)
    for name, gate in gates._asdict().items():
        assert (kept(gate) & ~mask).sum() == 0, name
        assert kept(gate).sum(1).tolist() == [round(0.5 * n) for n in mask.sum(1).tolist()], name
        assert torch.equal(kept(gate), kept(gates.open)), name


@pytest.mark.parametrize("form", ["joint", "prob"])
def test_gate_share_of_all_is_the_model_and_of_none_is_without_label_drop(gates_at, form, make_model):
    model, links = gates_at(1.0, label_drop=form), gates_at(0.0, label_drop=form)[2]
    whole = gates_at(1.0, label_drop=form)[0]
    plain = gates_at(0.5, label_drop="none")[2]
    tokens = model[1]
    for name in ("inside", "next"):
        legal = tokens[:, :, None] & tokens[:, None, :]
        torch.testing.assert_close(
            getattr(links, name)[legal], getattr(plain, name)[legal], rtol=1e-4, atol=1e-4
        )
    assert all(bool(kept(gate)[tokens].all()) for gate in whole)


def test_gate_share_leaves_the_logits_of_gated_columns_as_they_are(gates_at):
    whole, half = gates_at(1.0)[0], gates_at(0.5)[0]
    for full, thinned in zip(whole, half, strict=True):
        assert torch.equal(thinned[kept(thinned)], full[kept(thinned)])


def test_gate_share_draws_the_same_for_a_text_whatever_its_batch(gates_at):
    together, alone = gates_at(0.5)[0].open, gates_at(0.5, TEXTS[1:2])[0].open
    length = alone.shape[1]
    assert torch.equal(kept(together)[1, :length], kept(alone)[0])
    assert not torch.equal(kept(gates_at(0.5, seed=3)[0].open), kept(together))


def test_gate_share_draws_markers_where_relevance_gates_them(gates_at):
    gates, _, _ = gates_at(0.67, relevance_target="endpoint")
    assert gates.close.shape == (3, 3)
    assert kept(gates.close).sum(1).tolist() == [2, 2, 2]


def test_gate_share_ends_with_the_block_even_after_an_error(make_model, make_processor):
    model = make_model()
    inputs = dict(make_processor(model.config)(TEXTS, SCHEMA))
    with pytest.raises(KeyError), gate_share(model, 0.0):
        raise KeyError
    with torch.inference_mode():
        gates = model(**inputs, return_logits=True).relevance_logits
    assert all(bool(kept(gate).all()) for gate in gates)


def test_gate_share_refuses_what_is_no_share(make_model):
    with pytest.raises(ValueError, match="drop rate: 10 is not a share"), gate_share(make_model(), 10):
        pass


def test_draw_columns_of_a_share_are_among_those_of_a_larger_one():
    draws = [set(draw_columns(share / 10, 11, [1, 2]).tolist()) for share in range(11)]
    assert [len(draw) for draw in draws] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert all(small <= large for small, large in zip(draws, draws[1:], strict=False))
