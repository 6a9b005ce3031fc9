"""Loops <-> links: every structure is one closed loop over label marker and spans (Fig. 1, App. A.3).

`encode_loops` and `decode_links` are an inverse pair on token indices. A loop of label l over spans (s1, e1),
(s2, e2): TA[l, s1], AS[s1, e1], A2A[e1, s2], AS[s2, e2], TA[e2, l]. Pieces of one discontinuous mention are
joined below the diagonal of AS (AS[s2, e1]) or, as in the paper, over A2A. A class is the loop of its label
over the text marker.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from .schema import Schema

MAX_STEPS = 200_000  # links followed a text; a text where every link is on ends here with `truncated`


class LinkType(IntEnum):
    """Link kinds of the paper, TA in its two directions."""

    OPEN = 0  # TA[label, start]
    CLOSE = 1  # TA[end, label]
    INSIDE = 2  # AS[start, end]
    NEXT = 3  # A2A[end, next start]


Mention = tuple[tuple[int, int], ...]  # fragments (first token, last token), in text order


@dataclass(frozen=True)
class Loop:
    """A label with its mentions: none for a class, one for an entity, two for a relation, three for
    a qualifier.

    Args:
        label: Index in `Schema.labels`.
        mentions: Token fragments of each mention.
        score: Geometric mean of the probabilities of its links, in (0, 1].
    """

    label: int
    mentions: tuple[Mention, ...]
    score: float = 1.0


@dataclass
class RecordLinks:
    """Links of one text as index pairs with probabilities.

    Args:
        open: {(label, start token): probability}.
        close: {(label, end token): probability}.
        inside: {(start token, end token): probability}; below the diagonal (next start, end).
        next: {(end token, next start token): probability}.
        classes: {label: probability} of class labels.
        unaligned: Mentions that could not be encoded, described for reports.
    """

    open: dict[tuple[int, int], float] = field(default_factory=dict)
    close: dict[tuple[int, int], float] = field(default_factory=dict)
    inside: dict[tuple[int, int], float] = field(default_factory=dict)
    next: dict[tuple[int, int], float] = field(default_factory=dict)
    classes: dict[int, float] = field(default_factory=dict)
    unaligned: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LoopLimits:
    """How loops may run.

    Args:
        max_fragments: Most fragments of a mention.
        fragment_links: `"as"` or `"a2a"` (the paper).
        max_steps: Links followed a text before decoding stops with `truncated`.
        confirm_threshold: Probability that a closed loop as a whole must exceed, if the model judges it.
        confirm_from: Fewest mentions of a loop that is judged; 2 leaves single mentions to their links.
    """

    max_fragments: int = 1
    fragment_links: str = "as"
    max_steps: int = MAX_STEPS
    confirm_threshold: float = 0.5
    confirm_from: int = 1


def encode_loops(loops: list[Loop], fragment_links: str = "as") -> RecordLinks:
    """Links of loops, each with probability 1.

    Args:
        loops: Structures on token indices.
        fragment_links: How pieces of a mention are joined.

    Returns:
        The links.
    """
    links = RecordLinks()
    for loop in loops:
        if not loop.mentions:
            links.classes[loop.label] = 1.0
            continue
        links.open[loop.label, loop.mentions[0][0][0]] = 1.0
        links.close[loop.label, loop.mentions[-1][-1][1]] = 1.0
        for mention in loop.mentions:
            for start, end in mention:
                links.inside[start, end] = 1.0
            for (_, end), (start, _) in zip(mention, mention[1:], strict=False):
                if fragment_links == "as":
                    links.inside[start, end] = 1.0
                else:
                    links.next[end, start] = 1.0
        for left, right in zip(loop.mentions, loop.mentions[1:], strict=False):
            links.next[left[-1][1], right[0][0]] = 1.0
    return links


class _Budget:
    """Counts links that are followed; `spent` once there are more than allowed."""

    def __init__(self, steps: int):
        self.steps = steps

    @property
    def spent(self) -> bool:
        return self.steps < 0

    def take(self) -> bool:
        self.steps -= 1
        return self.steps >= 0


@dataclass(frozen=True)
class _Walk:
    """An open path: spans so far, summed log-probability, number of links and the weakest one."""

    mention: Mention
    log_prob: float
    links: int
    weakest: float

    def extend(self, mention: Mention, prob: float) -> "_Walk":
        return _Walk(mention, self.log_prob + math.log(prob), self.links + 1, min(self.weakest, prob))


class _Decoder:
    """Follows links from every opening; work is bounded by the budget."""

    def __init__(self, links: RecordLinks, arities: Sequence[frozenset[int]], limits: LoopLimits):
        self.arities, self.limits, self.budget = arities, limits, _Budget(limits.max_steps)
        self.opened, self.closed = defaultdict(dict), defaultdict(dict)
        for (label, start), prob in links.open.items():
            self.opened[start][label] = prob
        for (label, end), prob in links.close.items():
            self.closed[end][label] = prob
        self.ends, self.fragments, self.next = defaultdict(list), defaultdict(list), defaultdict(list)
        for (row, column), prob in links.inside.items():
            if row <= column:
                self.ends[row].append((column, prob))
        # Links to a token where no span starts are left out: following them takes time that no step counts.
        for (end, start), prob in links.next.items():
            if start in self.ends:
                self.next[end].append((start, prob))
        joins = (
            links.next
            if limits.fragment_links == "a2a"
            else {(e, s): p for (s, e), p in links.inside.items()}
        )
        for (end, start), prob in joins.items():
            if start > end and start in self.ends:
                self.fragments[end].append((start, prob))

    def mentions_from(self, start: int) -> Iterator[_Walk]:
        """Every mention that starts at a token, whole or in fragments."""
        stack = [(_Walk((), 0.0, 0, 1.0), start)]
        while stack:
            walk, first = stack.pop()
            for end, prob in self.ends.get(first, ()):
                if not self.budget.take():
                    return
                whole = walk.extend((*walk.mention, (first, end)), prob)
                yield whole
                if len(whole.mention) < self.limits.max_fragments:
                    stack += [
                        (whole.extend(whole.mention, p), after) for after, p in self.fragments.get(end, ())
                    ]

    def loops(self, thresholds: list[float]) -> Iterator[Loop]:
        """Closed loops over mentions, in the order of their openings."""
        for start, labels in self.opened.items():
            by_arity: dict[int, dict[int, float]] = defaultdict(dict)
            for label, prob in labels.items():
                for arity in self.arities[label]:
                    by_arity[arity][label] = prob
            for head in self.mentions_from(start):
                yield from self._continue((head,), by_arity, thresholds)
                if self.budget.spent:
                    return

    def _continue(
        self, walks: tuple[_Walk, ...], by_arity: dict[int, dict[int, float]], thresholds: list[float]
    ) -> Iterator[Loop]:
        """Close the loop here, and go on to the next mention if any opened label has more."""
        if len(walks) in by_arity:
            yield from self._close(walks, by_arity[len(walks)], thresholds)
        if max(by_arity, default=0) > len(walks):
            last = walks[-1]
            for start, prob in self.next.get(last.mention[-1][1], ()):
                joined = (*walks[:-1], last.extend(last.mention, prob))
                for mention in self.mentions_from(start):
                    yield from self._continue((*joined, mention), by_arity, thresholds)

    def _close(
        self, walks: tuple[_Walk, ...], opened: dict[int, float], thresholds: list[float]
    ) -> Iterator[Loop]:
        closed = self.closed.get(walks[-1].mention[-1][1])
        if not closed:
            return
        for label in opened.keys() & closed.keys():
            self.budget.take()
            ends = (opened[label], closed[label])
            if min(*ends, *(walk.weakest for walk in walks)) <= thresholds[label]:
                continue
            total = sum(walk.log_prob for walk in walks) + sum(map(math.log, ends))
            count = sum(walk.links for walk in walks) + len(ends)
            yield Loop(label, tuple(walk.mention for walk in walks), math.exp(total / count))


def decode_links(
    links: RecordLinks, schema: Schema, limits: LoopLimits, thresholds: list[float] | None = None
) -> tuple[list[Loop], bool]:
    """Closed loops over mentions (App. A.3); the inverse of `encode_loops` where links are not shared.

    Args:
        links: Links that are on, with probabilities.
        schema: Its labels say how many mentions a loop goes through.
        limits: How loops may run.
        thresholds: For each label, the probability that every link of its loops must exceed; 0 by default.

    Returns:
        Loops without duplicates (the best score counts), and whether the step limit cut the search.
    """
    return decode_loops(links, [label.mentions for label in schema.labels], limits, thresholds)


def decode_loops(
    links: RecordLinks,
    mentions: Sequence[frozenset[int]],
    limits: LoopLimits,
    thresholds: list[float] | None = None,
) -> tuple[list[Loop], bool]:
    """As `decode_links`, from the numbers of mentions that each label's loops may go through."""
    decoder = _Decoder(links, mentions, limits)
    best: dict[tuple[int, tuple[Mention, ...]], Loop] = {}
    for loop in decoder.loops(thresholds or [0.0] * len(mentions)):
        key = (loop.label, loop.mentions)
        if key not in best or best[key].score < loop.score:
            best[key] = loop
    return sorted(best.values(), key=lambda loop: (loop.label, loop.mentions)), decoder.budget.spent


def shares_of_odds(probs: dict[int, float]) -> dict[int, float]:
    """Probabilities of single classes -> probabilities that add up to one, in proportion to their odds.

    Args:
        probs: Probability of each class.

    Returns:
        The shares; equal ones among classes that are certain, if there are any.
    """
    odds = {i: prob / (1.0 - prob) if prob < 1.0 else math.inf for i, prob in probs.items()}
    certain = [i for i, value in odds.items() if math.isinf(value)]
    if certain:
        odds = {i: float(i in certain) for i in odds}
    total = sum(odds.values())
    return {i: value / total if total > 0.0 else 1.0 / len(odds) for i, value in odds.items()}


def class_loops(probs: dict[int, float], schema: Schema, thresholds: list[float]) -> Iterator[Loop]:
    """Classes that hold: the best of a single-label task, all above their threshold of a multi-label one.

    The score of a single-label class is its share of the odds of all classes of the task (a softmax of their
    log-odds), so that the scores of a task add up to one; with one class alone it is its probability.

    Args:
        probs: Probability of each class label.
        schema: What is asked for.
        thresholds: Of each label of the schema.

    Yields:
        A loop without mentions a class.
    """
    for task in schema.classes:
        ids = [schema.label_id("classes", label.name, task.name) for label in task.labels]
        found = {i: probs[i] for i in ids if i in probs}
        if task.multi_label:
            holding = [i for i, prob in found.items() if prob > thresholds[i]]
        else:
            holding = sorted(found, key=lambda i: (-found[i], i))[:1]
            found = shares_of_odds(found) if len(found) > 1 else found
        yield from (Loop(i, (), found[i]) for i in holding)
