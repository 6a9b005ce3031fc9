"""Link and relevance heads against slow loops over eq. 9-11 and 15-16."""

import cmath
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.heads import (
    Gates,
    LinkHead,
    LinkScores,
    RelevanceHead,
    apply_gate,
    dense_scores,
    gate_scores,
    rotate,
)

HIDDEN = 6
FORMS = ("joint", "prob", "logit", "none")


def make_config(**fields):
    encoder = {"model_type": "bert", "hidden_size": HIDDEN, "num_attention_heads": 2}
    return LDNetConfig(encoder_config=encoder, **({"head_size": 4, "head_dropout": 0.0} | fields))


def make_head(kind=LinkHead, seed=0, **fields):
    torch.manual_seed(seed)
    return kind(make_config(**fields)).eval()


def gelu(value):
    return value * 0.5 * (1.0 + math.erf(value / math.sqrt(2.0)))


def sigmoid(value):
    return 1.0 / (1.0 + math.exp(-value))


def project(head, state, part):
    """FFNN of one state (eq. 9): `part` counts TA query, TA key, AS query, AS key, A2A query, A2A key."""
    weight, bias = head.projection.weight.tolist(), head.projection.bias.tolist()
    rows = range(part * head.head_size, (part + 1) * head.head_size)
    act = gelu if isinstance(head.activation, torch.nn.GELU) else float
    return [act(dot(weight[row], state) + bias[row]) for row in rows]


def rotate_slowly(vector, position, base):
    """Consecutive pairs as complex numbers, times e^(i position angle)."""
    size, rotated = len(vector), []
    for pair in range(size // 2):
        angle = position / base ** (2 * pair / size)
        number = complex(vector[2 * pair], vector[2 * pair + 1]) * cmath.exp(1j * angle)
        rotated += [number.real, number.imag]
    return rotated


def dot(left, right):
    return sum(x * y for x, y in zip(left, right, strict=True))


def test_rotate_turns_neighbouring_channels_by_position_times_frequency():
    states = torch.tensor([[[1.0, 0.0, 0.0, 2.0]] * 3])
    right = torch.tensor([math.pi / 2, math.pi])
    expected = [[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, -2.0], [-1.0, 0.0, 0.0, 2.0]]
    torch.testing.assert_close(rotate(states, right)[0], torch.tensor(expected), atol=1e-6, rtol=0)


def test_make_inverse_frequency_falls_from_one_with_the_base():
    head = make_head(head_size=4, rotary_base=10000.0)
    torch.testing.assert_close(head.inverse_frequency, torch.tensor([1.0, 0.01]))


@given(seed=st.integers(0, 10_000), length=st.integers(1, 6), pairs=st.integers(1, 3), base=st.floats(2, 1e5))
def test_rotate_equals_complex_multiplication(seed, length, pairs, base):
    states = torch.randn((1, length, 2 * pairs), generator=torch.Generator().manual_seed(seed))
    frequency = make_head(head_size=2 * pairs, rotary_base=base).inverse_frequency
    expected = [rotate_slowly(row, i, base) for i, row in enumerate(states[0].tolist())]
    torch.testing.assert_close(rotate(states, frequency)[0], torch.tensor(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotate_keeps_the_type_and_computes_angles_in_float32(dtype):
    states = torch.ones((1, 400, 2), dtype=dtype)
    rotated = rotate(states, torch.tensor([1.0], dtype=dtype))
    assert rotated.dtype == dtype
    # In bfloat16 position 399 would be 400.
    assert rotated[0, 399, 0].item() == pytest.approx(math.cos(399) - math.sin(399), abs=0.02)


def slow_scores(head, text, labels):
    """Eq. 9-11 cell by cell; `labels` are the label states of this text."""
    scale, base = math.sqrt(head.head_size), head.rotary_base

    def rotated(part):
        return [rotate_slowly(project(head, state, part), i, base) for i, state in enumerate(text)]

    ta_query, ta_key = ([project(head, state, part) for state in text] for part in (0, 1))
    as_query, as_key, a2a_query, a2a_key = (rotated(part) for part in (2, 3, 4, 5))
    return LinkScores(
        open=[[dot(project(head, label, 0), key) / scale for key in ta_key] for label in labels],
        close=[[dot(query, project(head, label, 1)) / scale for query in ta_query] for label in labels],
        inside=[[dot(query, key) / scale for key in as_key] for query in as_query],
        next=[[dot(query, key) / scale for key in a2a_key] for query in a2a_query],
    )


@pytest.mark.parametrize("labels_of_text", [False, True])
@pytest.mark.parametrize("activation", ["gelu", "none"])
def test_dense_scores_equal_eq_11_cell_by_cell(labels_of_text, activation):
    head = make_head(head_activation=activation)
    assert isinstance(head.activation, torch.nn.GELU) == (activation == "gelu")
    torch.nn.init.normal_(head.projection.weight, std=0.7)
    text = torch.randn(2, 5, HIDDEN)
    labels = torch.randn((2, 3, HIDDEN) if labels_of_text else (3, HIDDEN))
    scores = dense_scores(head(text, head.project_labels(labels)))
    for i in range(2):
        expected = slow_scores(head, text[i].tolist(), (labels[i] if labels_of_text else labels).tolist())
        for name, found in scores._asdict().items():
            wanted = torch.tensor(getattr(expected, name))
            torch.testing.assert_close(found[i], wanted, atol=1e-5, rtol=1e-5, msg=name)


@given(seed=st.integers(0, 10_000), shift=st.integers(1, 40))
def test_scores_depend_on_the_distance_of_tokens_only(seed, shift):
    head = make_head(head_size=8)
    torch.manual_seed(seed)
    text, labels = torch.randn(1, 4, HIDDEN), head.project_labels(torch.randn(2, HIDDEN))
    here = dense_scores(head(text, labels))
    later = dense_scores(head(torch.cat([torch.randn(1, shift, HIDDEN), text], 1), labels))
    for name in ("inside", "next"):
        torch.testing.assert_close(
            getattr(later, name)[:, shift:, shift:], getattr(here, name), atol=1e-4, rtol=1e-4, msg=name
        )
    torch.testing.assert_close(later.open[..., shift:], here.open)
    torch.testing.assert_close(later.close[..., shift:], here.close)


def test_scores_of_equal_tokens_change_with_their_distance_for_token_pairs_alone():
    head = make_head(head_size=8)
    text = torch.randn(1, 1, HIDDEN).expand(1, 4, HIDDEN)
    scores = dense_scores(head(text, head.project_labels(torch.randn(2, HIDDEN))))
    for name in ("inside", "next"):
        row = getattr(scores, name)[0, 0]
        assert len({round(value, 4) for value in row.tolist()}) == 4, name
    for name in ("open", "close"):
        torch.testing.assert_close(getattr(scores, name), getattr(scores, name)[..., :1].expand(1, 2, 4))


def test_dropout_acts_on_the_projections_in_training_only():
    head = make_head(head_dropout=0.5)
    text, labels = torch.randn(1, 3, HIDDEN), torch.randn(2, HIDDEN)
    assert torch.equal(head.project_labels(labels)[0], head.project_labels(labels)[0])
    head.train()
    query, key = head.project_labels(labels)
    assert (query == 0).any() or (key == 0).any()
    assert (head(text, (query, key)).text_key == 0).any()


def gate_slowly(score, gate, form):
    """Probability of a link that is thresholded (eq. 16 and the forms of it)."""
    if form == "none":
        return sigmoid(score)
    if form == "joint":
        return sigmoid(score + math.log(sigmoid(gate)))
    if form == "prob":
        return sigmoid(gate) * sigmoid(score)
    return sigmoid(sigmoid(gate) * score - 0.5)


@given(score=st.floats(-12, 12), gate=st.floats(-12, 12), form=st.sampled_from(FORMS))
def test_apply_gate_gives_the_log_odds_of_the_formula(score, gate, form):
    gated = apply_gate(torch.tensor([score]), torch.tensor([gate]), form)
    expected = gate_slowly(score, gate, form)
    assert torch.sigmoid(gated.double()).item() == pytest.approx(expected, abs=2e-7, rel=1e-4)


@given(score=st.floats(-20, 20), gate=st.floats(-20, 20))
def test_apply_gate_logit_is_kept_where_the_product_of_the_paper_exceeds_one_half(score, gate):
    product = sigmoid(gate) * score
    if abs(product - 0.5) > 1e-4:
        assert bool(apply_gate(torch.tensor(score), torch.tensor(gate), "logit") > 0) == (product > 0.5)


@pytest.mark.parametrize("form", FORMS)
def test_apply_gate_and_its_gradient_are_finite_for_extreme_logits(form):
    extremes = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4])
    score, gate = (
        part.clone().requires_grad_() for part in torch.cartesian_prod(extremes, extremes).unbind(1)
    )
    gated = apply_gate(score, gate, form)
    gated.sum().backward()
    assert torch.isfinite(gated).all()
    assert torch.isfinite(score.grad).all()
    assert gate.grad is None or torch.isfinite(gate.grad).all()


@pytest.mark.parametrize(
    ("form", "score", "gate", "kept"),
    [
        ("none", 100.0, -1e4, True),
        ("none", -100.0, 1e4, False),
        ("joint", 100.0, -1e4, False),
        ("joint", 1e4, -100.0, True),
        ("joint", 100.0, 0.0, True),
        ("joint", -100.0, 1e4, False),
        ("prob", 1e4, -100.0, False),
        ("prob", 100.0, -0.01, False),
        ("prob", 100.0, 0.01, True),
        ("prob", 1e4, 1e4, True),
        ("prob", -100.0, 1e4, False),
        ("logit", 1e4, -100.0, False),
        ("logit", 0.9, 0.0, False),
        ("logit", 1.1, 0.0, True),
        ("logit", -100.0, -100.0, False),
    ],
)
def test_apply_gate_keeps_a_link_where_its_formula_says_so(form, score, gate, kept):
    assert bool(apply_gate(torch.tensor(score), torch.tensor(gate), form) > 0) == kept


@given(gate=st.floats(-30, 30), low=st.floats(-30, 30), step=st.floats(0.1, 20), form=st.sampled_from(FORMS))
def test_apply_gate_never_orders_two_scores_the_other_way(gate, low, step, form):
    gated = apply_gate(torch.tensor([low, low + step]), torch.tensor(gate), form)
    assert gated[0] <= gated[1]


def test_apply_gate_prob_keeps_the_type_of_half_precision():
    gated = apply_gate(torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bfloat16), "prob")
    assert gated.dtype == torch.bfloat16
    assert gated.float().tolist() == pytest.approx([-math.log(3)] * 2, abs=0.01)  # 1/2 * 1/2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("close_by_marker", [False, True])
def test_gate_scores_gates_columns_and_closings_by_token_or_marker(make_gates, form, close_by_marker):
    torch.manual_seed(0)
    batch, labels, length = 2, 3, 4
    scores = LinkScores(*(torch.randn(batch, rows, length) for rows in (labels, labels, length, length)))
    gates = make_gates(0, batch, labels, length, close_by_marker)
    is_class = torch.tensor([False, True, False])
    gated = gate_scores(scores, gates, form, close_by_marker, is_class)
    for name, found in gated._asdict().items():
        for text, row, column in torch.cartesian_prod(*map(torch.arange, found.shape)).tolist():
            place = row if name == "close" and close_by_marker else column
            score, gate = (
                getattr(scores, name)[text, row, column].item(),
                getattr(gates, name)[text, place].item(),
            )
            ungated = name in ("open", "close") and is_class[row]  # a class has no token to be relevant
            expected = gate_slowly(score, gate, "none" if ungated else form)
            assert torch.sigmoid(found[text, row, column]).item() == pytest.approx(expected, abs=1e-5), name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("close_by_marker", [False, True])
def test_gates_get_no_gradient_from_the_links_of_a_class(make_gates, form, close_by_marker):
    scores = LinkScores(*(torch.randn(1, rows, 4) for rows in (1, 1, 4, 4)))
    gates = Gates(*(gate.requires_grad_() for gate in make_gates(0, 1, 1, 4, close_by_marker)))
    gated = gate_scores(scores, gates, form, close_by_marker, torch.tensor([True]))
    assert torch.equal(gated.open, scores.open)
    assert torch.equal(gated.close, scores.close)
    if form != "none":
        (gated.open.sum() + gated.close.sum()).backward()
        assert not gates.open.grad.any()
        assert not gates.close.grad.any()


def slow_relevance(head, state, row):
    return dot(head.projection.weight[row].tolist(), state) + head.projection.bias[row].item()


def test_relevance_head_for_text_targets_has_a_vector_for_openings_and_one_for_closings():
    head = make_head(RelevanceHead, relevance_target="text")
    text = torch.randn(2, 3, HIDDEN)
    gates = head(text, torch.randn(4, HIDDEN))
    for row, gate in enumerate(gates):
        expected = [[slow_relevance(head, state, row) for state in states] for states in text.tolist()]
        torch.testing.assert_close(gate, torch.tensor(expected), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("target", ["endpoint", "span"])
@pytest.mark.parametrize("labels_of_text", [False, True])
def test_relevance_head_for_other_targets_judges_markers_with_the_vector_of_ta(target, labels_of_text):
    head = make_head(RelevanceHead, relevance_target=target)
    text = torch.randn(2, 3, HIDDEN)
    labels = torch.randn((2, 4, HIDDEN) if labels_of_text else (4, HIDDEN))
    gates = head(text, labels)
    markers = labels if labels_of_text else labels.expand(2, 4, HIDDEN)
    judged = {"open": (text, 0), "close": (markers, 0), "inside": (text, 1), "next": (text, 2)}
    for name, (states, row) in judged.items():
        gate = getattr(gates, name)
        expected = [[slow_relevance(head, state, row) for state in part] for part in states.tolist()]
        torch.testing.assert_close(gate, torch.tensor(expected), atol=1e-6, rtol=1e-5)


def test_heads_without_labels_give_empty_scores():
    head, relevance = make_head(), make_head(RelevanceHead, relevance_target="endpoint")
    text, labels = torch.randn(2, 3, HIDDEN), torch.randn(0, HIDDEN)
    scores = dense_scores(head(text, head.project_labels(labels)))
    assert (scores.open.shape, scores.close.shape, scores.inside.shape) == ((2, 0, 3), (2, 0, 3), (2, 3, 3))
    assert relevance(text, labels).close.shape == (2, 0)
