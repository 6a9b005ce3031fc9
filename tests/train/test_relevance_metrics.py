import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.heads import Gates
from ldnet.losses import CLASS_KIND, LinkTargets, relevance_targets
from ldnet.train.dataset import Source
from ldnet.train.metrics import PRF
from ldnet.train.relevance_metrics import RelevanceCounts, count_relevance, relevance_scores

B, M, L = 2, 3, 5


def random_case(seed, form):
    generator = torch.Generator().manual_seed(seed)

    def flags(*shape, share=0.7):
        return torch.rand(shape, generator=generator) < share

    def links(rows, columns, upper=False):
        index = flags(B, rows, columns, share=0.15).nonzero()
        return index[index[:, 1] <= index[:, 2]] if upper else index

    targets = LinkTargets(
        links(M, L), links(M, L), links(L, L, upper=True), links(L, L),
        flags(B, M), torch.randint(3, (M,), generator=generator), flags(B, L), flags(B, 3), flags(B),
    )  # fmt: skip
    widths = (L, M if form != "text" else L, L, L)
    return Gates(*(torch.randn(B, width, generator=generator) for width in widths)), targets


def slow_counts(gates, targets, form, lower, shared):
    """Cell by cell, as Table 6 says it: relevance repeated over rows against the gold matrix."""
    wanted = relevance_targets(targets, form, shared)
    found = {}
    for name, kind in (("open", 0), ("close", 0), ("inside", 1), ("next", 2)):
        own = [getattr(targets, name)]
        if shared and kind:
            own = [targets.inside, targets.next]
        gold = {tuple(row) for index in own for row in index.tolist()}
        right = cells = 0
        judged = set()
        for text in range(B):
            if not targets.supervision[text, kind]:
                continue
            for row in range(M if kind == 0 else L):
                for column in range(L):
                    if kind == 0:
                        legal = targets.label_mask[text, row] and targets.kinds[row] != CLASS_KIND
                    else:
                        legal = targets.token_mask[text, row] and (name == "next" or lower or row <= column)
                    if not (legal and targets.token_mask[text, column]):
                        continue
                    place = row if name == "close" and form != "text" else column
                    judged.add((text, place))
                    cells += 1
                    said = bool(getattr(gates, name)[text, place] > 0)
                    right += said == ((text, row, column) in gold)
        said = {place for place in judged if getattr(gates, name)[place] > 0}
        found[name] = RelevanceCounts(
            right, cells, PRF.of_sets({place for place in judged if getattr(wanted, name)[place]}, said)
        )
    return found


@given(
    seed=st.integers(0, 10_000),
    form=st.sampled_from(["text", "endpoint", "span"]),
    fragments=st.integers(1, 2),
    shared=st.booleans(),
)
def test_count_relevance_equals_a_slow_loop(seed, form, fragments, shared):
    gates, targets = random_case(seed, form)
    config = LDNetConfig(relevance_target=form, max_fragments=fragments, shared_links=shared)
    found = count_relevance(gates, targets, config)
    assert found == slow_counts(gates, targets, form, fragments > 1, shared)


@pytest.mark.parametrize("form", ["text", "span"])
def test_relevance_scores_are_the_same_for_every_batch_size(trainable, work, form):
    model, processor = trainable(relevance_target=form)
    model.eval()
    torch.nn.init.normal_(model.relevance_head.projection.weight, std=1.0)
    source = Source("work", work[0])
    one, all_at_once = (relevance_scores(model, processor, source, work[1], size) for size in (1, 16))
    assert one == pytest.approx(all_at_once)
    assert 0 < one["label_drop_accuracy"] < 100
    assert {name for name in one if name.startswith("label_drop")} == {
        f"label_drop_accuracy{kind}" for kind in ("", "_ta", "_as", "_a2a")
    }
    assert 0 < one["relevance_recall_as"] < 100


def test_relevance_scores_of_an_open_and_a_shut_gate(trainable, work):
    """All relevant: recall is 100. Nothing relevant: accuracy is the share of cells without a link."""
    model, processor = trainable(relevance_target="text")
    model.eval()
    torch.nn.init.zeros_(model.relevance_head.projection.weight)
    source = Source("work", work[0])
    torch.nn.init.constant_(model.relevance_head.projection.bias, 1.0)
    opened = relevance_scores(model, processor, source, work[1])
    torch.nn.init.constant_(model.relevance_head.projection.bias, -1.0)
    shut = relevance_scores(model, processor, source, work[1])
    assert opened["relevance_recall"] == 100.0
    assert (shut["relevance_recall"], "relevance_precision" in shut) == (0.0, False)
    assert opened["label_drop_accuracy"] + shut["label_drop_accuracy"] == pytest.approx(100.0)
    assert shut["label_drop_accuracy"] > 80
