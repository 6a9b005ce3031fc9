"""What the confirmation head learns from: loops that close under gold links and under the model's own."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ldnet.confirmation import Candidates
from ldnet.processing.extraction import candidates_of, split_links
from ldnet.processing.links import Loop, LoopLimits, RecordLinks, decode_loops
from ldnet.processing.schema import LabelKind
from ldnet.pruning import SparseLinks

# At the start of training everything is linked with everything: such texts teach nothing and take long.
MOST_LINKS = 400
MOST_STEPS = 2_000
MOST_CANDIDATES = 64  # of a text and kind of links, so that a wild start costs no time


def _key(loop: Loop) -> tuple:
    return loop.label, loop.mentions


def _some(loops: list[Loop]) -> list[Loop]:
    """At most `MOST_CANDIDATES` loops, evenly spread; no draw, so that a resumed run sees the same."""
    return loops[:: math.ceil(len(loops) / MOST_CANDIDATES)] if loops else loops


def _without_wild_texts(links: SparseLinks, num_texts: int) -> SparseLinks:
    """Links of the texts with at most `MOST_LINKS` token-pair links, whatever else is in the batch."""
    pairs = torch.cat([links.inside[:, 0], links.next[:, 0]])
    wild = torch.bincount(pairs, minlength=num_texts) > MOST_LINKS
    if not bool(wild.any()):
        return links
    kept = {}
    for name in ("open", "close", "inside", "next"):
        index, logits = getattr(links, name), getattr(links, f"{name}_logits")
        tame = ~wild[index[:, 0]]
        kept |= {name: index[tame], f"{name}_logits": logits[tame]}
    return links._replace(**kept)


def gold_candidates(
    gold: Sequence[list[Loop]],
    links: Sequence[RecordLinks],
    mentions: Sequence[frozenset[int]],
    limits: LoopLimits,
) -> tuple[Candidates, Tensor]:
    """The gold structures of a batch, and other loops that close under their links.

    Args:
        gold: Loops of each text, labels as in the batch.
        links: Their links.
        mentions: Of each label of the batch how many mentions its loops go through.
        limits: How loops may run.

    Returns:
        Candidates, and whether each is a structure.
    """
    loops, is_gold = [], []
    for of_text, of_links in zip(gold, links, strict=True):
        meant = {_key(loop): loop for loop in of_text if loop.mentions}
        closed = decode_loops(of_links, mentions, limits)[0]
        others = _some([loop for loop in closed if _key(loop) not in meant])
        loops.append([*meant.values(), *others])
        is_gold += [True] * len(meant) + [False] * len(others)
    return candidates_of(loops), torch.tensor(is_gold, dtype=torch.bool)


class LoopProposer:
    """Adds the loops that close under the model's own links; `LDNetModel.propose_loops` in training.

    Args:
        limits: How loops may run.
    """

    def __init__(self, limits: LoopLimits):
        self.limits = replace(limits, max_steps=MOST_STEPS)

    def __call__(
        self,
        links: SparseLinks,
        kinds: Tensor,
        most_mentions: int,
        annotated: Tensor,
        known: Candidates,
        gold: Tensor,
    ) -> tuple[Candidates, Tensor]:
        """Known candidates and those of the model.

        Args:
            links: The model's links in a training batch.
            kinds (`torch.LongTensor` of shape `(M,)`): Kind of each label.
            most_mentions: Mentions of the longest loop.
            annotated (`torch.BoolTensor` of shape `(B, M)`): Labels that are annotated in each text.
            known: Candidates of the collator.
            gold: Whether each of them is a structure.

        Returns:
            All candidates, and whether each is a structure. A loop that is known is not taken twice.
        """
        taken = _loops_by_text(known, len(annotated))
        links = _without_wild_texts(links, len(annotated))
        several = frozenset(range(2, most_mentions + 1))
        by_kind = {LabelKind.MENTION: frozenset({1}), LabelKind.RELATION: several}
        mentions = [by_kind.get(kind, frozenset()) for kind in kinds.tolist()]
        proposed = []
        for text, of_text in enumerate(split_links(links, len(annotated))):
            closed = decode_loops(of_text, mentions, self.limits)[0]
            allowed = annotated[text].tolist()
            new = [loop for loop in closed if allowed[loop.label] and _key(loop) not in taken[text]]
            proposed.append(_some(new))
        own = candidates_of(proposed)
        pieces = own.pieces.clone()
        pieces[:, 0] += len(known.text)
        device = known.text.device
        merged = Candidates(
            torch.cat([known.text, own.text.to(device)]),
            torch.cat([known.label, own.label.to(device)]),
            torch.cat([known.pieces, pieces.to(device)]),
        )
        return merged, torch.cat([gold, torch.zeros(len(own.text), dtype=torch.bool, device=device)])


def _loops_by_text(candidates: Candidates, num_texts: int) -> list[set[tuple]]:
    mentions: dict[int, dict[int, list[tuple[int, int]]]] = {}
    for which, place, first, last in candidates.pieces.tolist():
        mentions.setdefault(which, {}).setdefault(place, []).append((first - 1, last - 1))
    found: list[set[tuple]] = [set() for _ in range(num_texts)]
    for i, (text, label) in enumerate(zip(candidates.text.tolist(), candidates.label.tolist(), strict=True)):
        found[text].add((label, tuple(tuple(mentions[i][place]) for place in sorted(mentions[i]))))
    return found
