"""Loops on tokens -> results: the record format's keys plus text and score on every mention and structure."""

from .alignment import TextTokens
from .links import Loop, Mention
from .schema import LabelKind, Schema

OVERLAP_POLICIES = ("nested", "flat")


def _mention_dict(mention: Mention, tokens: TextTokens, text: str) -> dict:
    pieces = [list(tokens.chars_of(start, end)) for start, end in mention]
    start, end = pieces[0][0], pieces[-1][1]
    found = {"start": start, "end": end, "text": text[start:end]}
    if len(pieces) > 1:
        found["fragments"] = pieces
        found["text"] = " ".join(text[s:e] for s, e in pieces)
    return found


def _chars(mention: dict) -> tuple[tuple[int, int], ...]:
    return tuple(map(tuple, mention.get("fragments") or [(mention["start"], mention["end"])]))


def _without_duplicates(structures: list[dict], key: object) -> list[dict]:
    """Tokens that share a character give one structure twice: keep the better one, in text order."""
    best: dict[object, dict] = {}
    for structure in structures:
        name = key(structure)
        if name not in best or best[name]["score"] < structure["score"]:
            best[name] = structure
    return [best[name] for name in sorted(best)]


def keep_flat(mentions: list[dict]) -> list[dict]:
    """Mentions that overlap no better-scored one, in text order.

    Args:
        mentions: Entities with `score`.

    Returns:
        A subset without overlaps; fragments count, the gaps between them do not.
    """
    taken: list[tuple[int, int]] = []
    kept = []
    for mention in sorted(mentions, key=lambda m: (-m["score"], m["start"], m["end"], m["type"])):
        pieces = _chars(mention)
        if all(end <= s or start >= e for start, end in pieces for s, e in taken):
            taken += pieces
            kept.append(mention)
    return sorted(kept, key=lambda m: (m["start"], m["end"], m["type"]))


def _typed_argument(
    argument: dict, allowed: tuple[str, ...] | None, entities: dict[tuple, list[dict]]
) -> dict | None:
    """An argument with type and score of the best entity at its place, or untyped where there is none.

    `None` if the entities there are all of types that the relation does not declare for it.
    """
    here = entities.get(_chars(argument), [])
    fitting = [entity for entity in here if allowed is None or entity["type"] in allowed]
    if here and not fitting:
        return None
    best = max(fitting, key=lambda entity: entity["score"], default=None)
    known = (
        {"type": best["type"], "score": best["score"]} if best else {"type": None, "score": argument["score"]}
    )
    return known | {k: v for k, v in argument.items() if k != "score"}


def _relation_key(relation: dict) -> tuple:
    return (_chars(relation["head"]), _chars(relation["tail"]), relation["type"])


def build_result(
    text: str,
    loops: list[Loop],
    tokens: TextTokens,
    schema: Schema,
    overlap: str = "nested",
    truncated: bool = False,
) -> dict:
    """One text's result.

    Args:
        text: The text.
        loops: Decoded structures.
        tokens: Tokens of the text.
        schema: What was asked for; a structure that was not asked for has no key.
        overlap: `"nested"` keeps all entities, `"flat"` the best-scored without overlaps.
        truncated: Whether decoding stopped at its step limit.

    Returns:
        A record with `text` and `score` on every mention and structure, plus `truncated`. A relation whose
        schema declares argument types is left out if an argument is an entity of other types only.

    Raises:
        ValueError: If the overlap policy is unknown.
    """
    if overlap not in OVERLAP_POLICIES:
        raise ValueError(
            f"overlap: {overlap!r} is unknown; use one of {', '.join(map(repr, OVERLAP_POLICIES))}"
        )
    labels = schema.labels
    entities, pairs = [], []
    for loop in loops:
        label = labels[loop.label]
        found = [_mention_dict(mention, tokens, text) for mention in loop.mentions]
        if label.kind == LabelKind.MENTION:
            entities.append({"type": label.name, **found[0], "score": loop.score})
        else:
            pairs.append((label.name, loop.score, found))
    entities = _without_duplicates(entities, lambda m: (_chars(m), m["type"]))
    if overlap == "flat":
        entities = keep_flat(entities)
    result: dict = {"text": text}
    if schema.entities:
        result["entities"] = entities
    if schema.relations:
        result["relations"] = _relations(pairs, entities, schema)
    return result | {"truncated": truncated}


def _relations(
    pairs: list[tuple[str, float, list[dict]]], entities: list[dict], schema: Schema
) -> list[dict]:
    declared = {relation.name: relation for relation in schema.relations}
    at: dict[tuple, list[dict]] = {}
    for entity in entities:
        at.setdefault(_chars(entity), []).append(entity)
    relations = []
    for name, score, found in pairs:
        relation = declared[name]
        if relation.symmetric:
            found = sorted(found, key=lambda m: (m["start"], m["end"]))
        head, tail = (m | {"score": score} for m in found)
        head, tail = _typed_argument(head, relation.head, at), _typed_argument(tail, relation.tail, at)
        if head is not None and tail is not None:
            relations.append({"type": name, "head": head, "tail": tail, "score": score})
    return _without_duplicates(relations, _relation_key)


def empty_result(text: str, schema: Schema) -> dict:
    """The result of a text in which nothing can be found."""
    return build_result(text, [], TextTokens([], [], []), schema)
