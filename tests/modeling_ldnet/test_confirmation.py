import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.confirmation import (
    PLACES,
    START_BIAS,
    Candidates,
    ConfirmationHead,
    LoopStates,
    confirmation_loss,
    score_candidates,
)

TEXTS, LABELS, LENGTH, SIZE = 2, 3, 6, 4


def random_states(seed=0, per_text=False):
    generator = torch.Generator().manual_seed(seed)
    labels = (TEXTS, LABELS) if per_text else (LABELS,)
    return LoopStates(
        torch.randn((*labels, SIZE), generator=generator),
        torch.randn(labels, generator=generator),
        torch.randn((TEXTS, LENGTH, PLACES, SIZE), generator=generator),
        torch.randn((TEXTS, LENGTH, PLACES, SIZE), generator=generator),
    )


def candidates_from(loops):
    """`(text, label, [[(first, last), ...], ...])` of each loop -> index lists."""
    pieces = [
        (i, place, first, last)
        for i, (_, _, mentions) in enumerate(loops)
        for place, mention in enumerate(mentions)
        for first, last in mention
    ]
    return Candidates(
        torch.tensor([text for text, _, _ in loops], dtype=torch.long),
        torch.tensor([label for _, label, _ in loops], dtype=torch.long),
        torch.tensor(pieces, dtype=torch.long).reshape(-1, 4),
    )


def slow_score(states, text, label, mentions):
    """The formula of the module's docstring, number by number."""
    total = 0.0
    of_label = states.label[text, label] if states.label.dim() == 3 else states.label[label]
    bias = states.bias[text, label] if states.bias.dim() == 2 else states.bias[label]
    for c in range(SIZE):
        product = 1.0
        for place, mention in enumerate(mentions):
            values = [states.start[text, s, place, c] + states.end[text, e, place, c] for s, e in mention]
            product = product * sum(v.item() for v in values) / len(values)
        total += of_label[c].item() * product
    return total / SIZE**0.5 + bias.item()


spans = st.tuples(st.integers(0, LENGTH - 1), st.integers(0, LENGTH - 1)).map(lambda s: (min(s), max(s)))
loop = st.tuples(
    st.integers(0, TEXTS - 1),
    st.integers(0, LABELS - 1),
    st.lists(st.lists(spans, min_size=1, max_size=3), min_size=1, max_size=PLACES),
)


@settings(max_examples=60)
@given(loops=st.lists(loop, max_size=6), per_text=st.booleans(), seed=st.integers(0, 99))
def test_scores_are_the_formula(loops, per_text, seed):
    states = random_states(seed, per_text)
    scores = score_candidates(states, candidates_from(loops))
    assert scores.tolist() == pytest.approx([slow_score(states, *each) for each in loops], abs=1e-4)


def test_loss_is_the_mean_over_the_candidates_of_each_text():
    states = random_states()
    loops = [(0, 0, [[(1, 2)]]), (0, 1, [[(1, 2)], [(3, 3)]]), (0, 2, [[(0, 0)]])]
    candidates, gold = candidates_from(loops), torch.tensor([True, False, True])
    losses = confirmation_loss(states, candidates, gold, TEXTS)
    by_hand = [
        torch.nn.functional.softplus(torch.tensor(-s if right else s)).item()
        for s, right in zip((slow_score(states, *each) for each in loops), gold.tolist(), strict=True)
    ]
    assert losses.tolist() == pytest.approx([sum(by_hand) / 3, 0.0], abs=1e-5)


def test_batch_without_candidates_has_no_loss():
    losses = confirmation_loss(random_states(), candidates_from([]), torch.zeros(0, dtype=torch.bool), TEXTS)
    assert losses.tolist() == [0.0, 0.0]


def test_fresh_head_lets_nearly_every_loop_pass(make_encoder_config):
    head = ConfirmationHead(LDNetConfig(encoder_config=make_encoder_config(), confirm_size=8)).eval()
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    states = head(torch.randn(1, 5, 32), torch.randn(2, 32))
    scores = score_candidates(states, candidates_from([(0, 1, [[(1, 2)], [(3, 4)]])]))
    assert scores.tolist() == [START_BIAS]


def test_model_without_confirmation_has_no_head(make_model):
    model = make_model(confirm_loops=False)
    assert not hasattr(model, "confirmation_head")
    assert hasattr(make_model(confirm_loops=True), "confirmation_head")


def test_loss_has_the_weighted_part_of_the_candidates(make_model, make_processor, make_inputs, make_gold):
    model = make_model(confirm_weight=0.25)
    inputs = make_inputs(model)
    with torch.no_grad():
        without = model(**inputs, **make_gold(inputs))
        output = model(**inputs, **make_gold(inputs, candidates=True))
    assert without.confirmation_loss is None
    assert output.confirmation_loss > 0
    assert output.loss.item() == pytest.approx(without.loss.item() + 0.25 * output.confirmation_loss.item())


def test_empty_candidates_leave_a_gradient_on_every_weight(make_model, make_inputs, make_gold):
    """Plain DistributedDataParallel waits for the gradient of every weight."""
    model = make_model()
    inputs = make_inputs(model)
    nothing = torch.zeros(0, dtype=torch.long)
    empty = {"candidate_text": nothing, "candidate_label": nothing, "candidate_gold": nothing.bool()}
    empty["candidate_pieces"] = torch.zeros((0, 4), dtype=torch.long)
    model(**inputs, **make_gold(inputs), **empty).loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
