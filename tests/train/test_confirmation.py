import pytest
import torch

from ldnet.processing.links import Loop, LoopLimits, encode_loops
from ldnet.processing.schema import LabelKind
from ldnet.pruning import SparseLinks
from ldnet.train import confirmation
from ldnet.train.confirmation import LoopProposer, gold_candidates

LIMITS = LoopLimits()
A, B, C, D = ((0, 0),), ((1, 2),), ((3, 3),), ((5, 6),)
ENTITY, RELATION = 0, 1
KINDS = torch.tensor([LabelKind.MENTION, LabelKind.RELATION])
# The first two open at A and close at D, the third links A with D: r(A, D) closes as well.
AMBIGUOUS = [Loop(RELATION, (A, B)), Loop(RELATION, (C, D)), Loop(2, (A, D))]
THREE = [frozenset({1}), frozenset({2}), frozenset({2})]


def loops_of(candidates, gold):
    """Every candidate as (text, label, mentions, is gold), from the index lists."""
    found = []
    for i, (text, label) in enumerate(zip(candidates.text.tolist(), candidates.label.tolist(), strict=True)):
        rows = [row for row in candidates.pieces.tolist() if row[0] == i]
        mentions = tuple(
            tuple((first - 1, last - 1) for _, at, first, last in rows if at == place)
            for place in sorted({row[1] for row in rows})
        )
        found.append((text, label, mentions, bool(gold[i])))
    return found


def sparse(of_texts, prob=0.9):
    """What a model with these links would return."""
    logit = torch.logit(torch.tensor(prob))
    fields = []
    for name, shift in (("open", 0), ("close", 0), ("inside", 1), ("next", 1)):
        index = [
            (t, row + shift, column + 1)
            for t, links in enumerate(of_texts)
            for row, column in getattr(links, name)
        ]
        fields += [torch.tensor(index, dtype=torch.long).reshape(-1, 3), logit.expand(len(index))]
    return SparseLinks(*fields)


def candidates_for(*texts):
    return gold_candidates(texts, [encode_loops(loops) for loops in texts], THREE, LIMITS)


def test_gold_and_what_closes_beside_it_are_candidates():
    found = loops_of(*candidates_for([Loop(ENTITY, (A,))], AMBIGUOUS))
    assert found == [
        (0, ENTITY, (A,), True),
        *((1, loop.label, loop.mentions, True) for loop in AMBIGUOUS),
        (1, RELATION, (A, D), False),
    ]


def test_classes_are_no_candidates():
    assert loops_of(*candidates_for([Loop(ENTITY, ())])) == []


def test_own_links_add_what_is_not_gold_and_annotated():
    known, gold = candidates_for([Loop(ENTITY, (A,))], [])
    own = sparse(
        [encode_loops([Loop(ENTITY, (A,)), Loop(ENTITY, (B,))]), encode_loops([Loop(RELATION, (A, B))])]
    )
    annotated = torch.tensor([[True, True], [True, True]])
    found = loops_of(*LoopProposer(LIMITS)(own, KINDS, 2, annotated, known, gold))
    assert found == [
        (0, ENTITY, (A,), True),
        (0, ENTITY, (B,), False),
        (1, RELATION, (A, B), False),
    ]
    annotated = torch.tensor([[False, True], [True, False]])
    found = loops_of(*LoopProposer(LIMITS)(own, KINDS, 2, annotated, known, gold))
    assert found == [(0, ENTITY, (A,), True)]


def test_wild_start_is_left_alone(monkeypatch):
    known, gold = candidates_for([Loop(ENTITY, (A,))])
    own = sparse([encode_loops([Loop(ENTITY, (B,)), Loop(ENTITY, (C,))])])
    monkeypatch.setattr(confirmation, "MOST_LINKS", 1)
    merged, is_gold = LoopProposer(LIMITS)(own, KINDS, 2, torch.tensor([[True, True]]), known, gold)
    assert loops_of(merged, is_gold) == [(0, ENTITY, (A,), True)]


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_many_loops_are_thinned_evenly(monkeypatch, most):
    monkeypatch.setattr(confirmation, "MOST_CANDIDATES", most)
    loops = [Loop(ENTITY, (((i, i),),)) for i in range(7)]
    kept = confirmation._some(loops)
    assert 1 <= len(kept) <= most
    assert kept[0] == loops[0]
