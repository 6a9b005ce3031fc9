"""Structures <-> links: every structure is one closed loop over label marker and spans (Fig. 1, App. A.3).

`encode_links` and `decode_links` are an inverse pair on token indices. A loop of label l over spans (s1, e1),
(s2, e2): TA[l, s1], AS[s1, e1], A2A[e1, s2], AS[s2, e2], TA[e2, l]. Pieces of one discontinuous mention are
joined below the diagonal of AS (AS[s2, e1]) or, as in the paper, over A2A.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from .alignment import TextTokens
from .schema import LabelKind, Schema

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
    """A label with its mentions: one for a mention label, head and tail for a relation.

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
        unaligned: Mentions that could not be encoded, described for reports.
    """

    open: dict[tuple[int, int], float] = field(default_factory=dict)
    close: dict[tuple[int, int], float] = field(default_factory=dict)
    inside: dict[tuple[int, int], float] = field(default_factory=dict)
    next: dict[tuple[int, int], float] = field(default_factory=dict)
    unaligned: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LoopLimits:
    """How loops may run.

    Args:
        max_fragments: Most fragments of a mention.
        fragment_links: `"as"` or `"a2a"` (the paper).
        max_steps: Links followed a text before decoding stops with `truncated`.
    """

    max_fragments: int = 1
    fragment_links: str = "as"
    max_steps: int = MAX_STEPS


def fragments_of(mention: dict) -> list[tuple[int, int]]:
    """Half-open character fragments of a mention of a record, in text order."""
    pieces = mention.get("fragments") or [(mention["start"], mention["end"])]
    return [(start, end) for start, end in pieces]


def mention_tokens(mention: dict, tokens: TextTokens, max_fragments: int) -> Mention | str:
    """Token fragments of a mention, or the reason why there are none.

    Args:
        mention: Mention of a record.
        tokens: Tokens of its text.
        max_fragments: Most fragments that can be encoded.

    Returns:
        The fragments, or the cause of the loss.
    """
    pieces = fragments_of(mention)
    if len(pieces) > max_fragments:
        return f"{len(pieces)} fragments, max_fragments is {max_fragments}"
    spans = [tokens.span_at(start, end) for start, end in pieces]
    return "boundary inside a token" if None in spans else tuple(spans)


def record_loops(
    record: dict, schema: Schema, tokens: TextTokens, max_fragments: int
) -> tuple[list[Loop], list[str]]:
    """Loops of a record's entities and relations, and what could not be encoded.

    Args:
        record: A record; structures whose label is not in the schema are left out.
        schema: What is asked for.
        tokens: Tokens of the record's text.
        max_fragments: Most fragments of a mention.

    Returns:
        Loops and descriptions of lost structures.
    """
    ids = {("entities", entity.name): schema.label_id("entities", entity.name) for entity in schema.entities}
    ids |= {("relations", kind.name): schema.label_id("relations", kind.name) for kind in schema.relations}
    symmetric = {relation.name for relation in schema.relations if relation.symmetric}
    wanted: list[tuple[int, str, list[dict]]] = []
    for entity in record.get("entities") or []:
        if (label := ids.get(("entities", entity["type"]))) is not None:
            wanted.append((label, f"entity {entity['type']!r}", [entity]))
    for relation in record.get("relations") or []:
        if (label := ids.get(("relations", relation["type"]))) is not None:
            pair = [relation["head"], relation["tail"]]
            if relation["type"] in symmetric:
                pair.sort(key=lambda mention: (mention["start"], mention["end"]))
            wanted.append((label, f"relation {relation['type']!r}", pair))
    loops, lost = [], []
    for label, name, mentions in wanted:
        encoded = [mention_tokens(mention, tokens, max_fragments) for mention in mentions]
        causes = [(m, cause) for m, cause in zip(mentions, encoded, strict=True) if isinstance(cause, str)]
        if causes:
            lost += [f"{cause}: {name} at {m['start']}-{m['end']}" for m, cause in causes]
        else:
            loops.append(Loop(label, tuple(encoded)))
    return loops, lost


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


def encode_links(record: dict, schema: Schema, tokens: TextTokens, limits: LoopLimits) -> RecordLinks:
    """Links of a record (App. A.3).

    Args:
        record: Gold structures with character offsets.
        schema: What is asked for.
        tokens: Tokens of the text.
        limits: How loops may run.

    Returns:
        The links; `unaligned` lists what could not be encoded.
    """
    loops, lost = record_loops(record, schema, tokens, limits.max_fragments)
    links = encode_loops(loops, limits.fragment_links)
    links.unaligned = lost
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

    def __init__(self, links: RecordLinks, kinds: list[LabelKind], limits: LoopLimits):
        self.kinds, self.limits, self.budget = kinds, limits, _Budget(limits.max_steps)
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
        """Closed loops in the order of their openings."""
        for start, labels in self.opened.items():
            singles = {i: p for i, p in labels.items() if self.kinds[i] == LabelKind.MENTION}
            pairs = {i: p for i, p in labels.items() if self.kinds[i] == LabelKind.RELATION}
            for head in self.mentions_from(start):
                yield from self._close((head,), singles, thresholds)
                if pairs:
                    yield from self._tails(head, pairs, thresholds)
                if self.budget.spent:
                    return

    def _tails(self, head: _Walk, pairs: dict[int, float], thresholds: list[float]) -> Iterator[Loop]:
        for start, prob in self.next.get(head.mention[-1][1], ()):
            joined = head.extend(head.mention, prob)
            for tail in self.mentions_from(start):
                yield from self._close((joined, tail), pairs, thresholds)

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
    """Closed loops of links (App. A.3); the inverse of `encode_loops` where links are not shared.

    Args:
        links: Links that are on, with probabilities.
        schema: Its labels give each loop's kind.
        limits: How loops may run.
        thresholds: For each label, the probability that every link of its loops must exceed; 0 by default.

    Returns:
        Loops without duplicates (the best score counts), and whether the step limit cut the search.
    """
    labels = schema.labels
    decoder = _Decoder(links, [label.kind for label in labels], limits)
    best: dict[tuple[int, tuple[Mention, ...]], Loop] = {}
    for loop in decoder.loops(thresholds or [0.0] * len(labels)):
        key = (loop.label, loop.mentions)
        if key not in best or best[key].score < loop.score:
            best[key] = loop
    return sorted(best.values(), key=lambda loop: (loop.label, loop.mentions)), decoder.budget.spent
