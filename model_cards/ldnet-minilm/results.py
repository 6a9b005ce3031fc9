"""Loops on tokens -> results: the record format's keys plus text and score on every mention and structure."""

from .alignment import TextTokens
from .links import Loop, Mention
from .schema import Schema
from .schema_labels import MENTIONS_OF

OVERLAP_POLICIES = ("nested", "one_type", "flat")
# Types that most finer ones are kinds of.
COARSE_TYPES = frozenset(
    "person people human location place organization organisation group entity thing object event product "
    "work miscellaneous misc other".split()
)


def _mention_dict(mention: Mention, tokens: TextTokens, text: str) -> dict:
    pieces = [list(tokens.chars_of(start, end)) for start, end in mention]
    start, end = pieces[0][0], pieces[-1][1]
    found = {"start": start, "end": end, "text": text[start:end]}
    if len(pieces) > 1:
        found["fragments"] = pieces
        found["text"] = " ".join(text[s:e] for s, e in pieces)
    return found


def chars_of(mention: dict) -> tuple[tuple[int, int], ...]:
    """Where a mention is: its fragments, or its one extent."""
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
        mentions: Entities or spans with `score`.

    Returns:
        A subset without overlaps; fragments count, the gaps between them do not.
    """
    taken: list[tuple[int, int]] = []
    kept = []
    for mention in sorted(mentions, key=lambda m: (-m["score"], m["start"], m["end"], m.get("type", ""))):
        pieces = chars_of(mention)
        if all(end <= s or start >= e for start, end in pieces for s, e in taken):
            taken += pieces
            kept.append(mention)
    return sorted(kept, key=lambda m: (m["start"], m["end"], m.get("type", "")))


def keep_one_type(mentions: list[dict]) -> list[dict]:
    """Of the mentions at one place the best-scored type, in text order.

    A coarse type (`COARSE_TYPES`) gives way to any other: who asks for persons and writers wants a writer to
    be one, although the model is surer of the person.

    Args:
        mentions: Entities or spans with `score`.

    Returns:
        A subset; mentions may lie within or across each other.
    """

    def rank(mention: dict) -> tuple[bool, float]:
        return mention.get("type", "").lower() not in COARSE_TYPES, mention["score"]

    best: dict[tuple, dict] = {}
    for mention in mentions:
        known = best.setdefault(chars_of(mention), mention)
        if rank(known) < rank(mention):
            best[chars_of(mention)] = mention
    return [mention for mention in mentions if best[chars_of(mention)] is mention]


def resolve_overlaps(mentions: list[dict], policy: str) -> list[dict]:
    """Entities or spans that an overlap policy keeps.

    Args:
        mentions: With `score`.
        policy: `"nested"` keeps all, `"one_type"` one type of each place, `"flat"` of those the best-scored
            ones without overlaps.

    Returns:
        A subset, in text order.

    Raises:
        ValueError: If the policy is unknown.
    """
    if policy not in OVERLAP_POLICIES:
        raise ValueError(
            f"overlap: {policy!r} is unknown; use one of {', '.join(map(repr, OVERLAP_POLICIES))}"
        )
    if policy == "nested":
        return list(mentions)
    one_type = keep_one_type(mentions)
    return keep_flat(one_type) if policy == "flat" else one_type


def resolve_triggers(events: list[dict], policy: str) -> list[dict]:
    """Events that an overlap policy keeps: the best-scored of those on one trigger, unless it is `"nested"`.

    Args:
        events: With `score`.
        policy: As in `resolve_overlaps`; triggers across each other stay under every policy.

    Returns:
        A subset, in the same order, arguments included.
    """
    if policy == "nested":
        return events
    triggers = [event["trigger"] | {"score": event["score"], "index": i} for i, event in enumerate(events)]
    return [events[trigger["index"]] for trigger in keep_one_type(triggers)]


def typed_argument(
    argument: dict, allowed: tuple[str, ...] | None, entities: dict[tuple, list[dict]]
) -> dict | None:
    """Give an argument type and score of the best entity at its place.

    Args:
        argument: A mention without type, with the relation's score.
        allowed: Types that the relation declares for it; `None` = any.
        entities: Entities by their place (`chars_of`).

    Returns:
        The argument, with the type `None` where there is no entity; `None` if the entities there are all of
        other types.
    """
    here = entities.get(chars_of(argument), [])
    fitting = [entity for entity in here if allowed is None or entity["type"] in allowed]
    if here and not fitting:
        return None
    best = max(fitting, key=lambda entity: entity["score"], default=None)
    score = best["score"] if best else argument["score"]
    return {"type": best["type"] if best else None} | argument | {"score": score}


def _relation_key(relation: dict) -> tuple:
    return (chars_of(relation["head"]), chars_of(relation["tail"]), relation["type"])


class _Found:
    """Decoded loops by the place of the schema that they belong to, as dictionaries of a result."""

    def __init__(self, text: str, loops: list[Loop], tokens: TextTokens, schema: Schema):
        self.schema = schema
        self.by_structure: dict[str, list[tuple[str, str | None, float, list[dict]]]] = {}
        for loop in loops:
            mentions = [
                _mention_dict(mention, tokens, text) | {"score": loop.score} for mention in loop.mentions
            ]
            for structure, name, owner in schema.places[loop.label]:
                if MENTIONS_OF[structure] == len(mentions):
                    self.by_structure.setdefault(structure, []).append((name, owner, loop.score, mentions))

    def typed(self, structure: str) -> list[dict]:
        """Mentions with their type, or without one, in text order."""
        mentions = [
            mention if structure in ("answers", "spans") else {"type": name, **mention}
            for name, _, _, (mention,) in self.by_structure.get(structure, ())
        ]
        return _without_duplicates(mentions, lambda m: (chars_of(m), m.get("type", "")))

    def relations(self, structure: str, entities: list[dict]) -> list[dict]:
        """Relations or the binary part of hyper-relations; arguments get type and score of their entity."""
        declared = {relation.name: relation for relation in getattr(self.schema, structure)}
        at: dict[tuple, list[dict]] = {}
        for entity in entities:
            at.setdefault(chars_of(entity), []).append(entity)
        relations = []
        for name, _, score, pair in self.by_structure.get(structure, ()):
            relation = declared[name]
            if getattr(relation, "symmetric", False):
                pair = sorted(pair, key=lambda m: (m["start"], m["end"]))
            head = typed_argument(pair[0], relation.head, at)
            tail = typed_argument(pair[1], relation.tail, at)
            if head is not None and tail is not None:
                relations.append({"type": name, "head": head, "tail": tail, "score": score})
        return _without_duplicates(relations, _relation_key)

    def hyper_relations(self, entities: list[dict]) -> list[dict]:
        """Relations with the qualifiers that were found on the same head and tail."""
        allowed = {
            relation.name: {qualifier.name for qualifier in relation.qualifiers}
            for relation in self.schema.hyper_relations
        }
        on_pair: dict[tuple, list[dict]] = {}
        for name, _, _, (head, tail, value) in self.by_structure.get("qualifiers", ()):
            on_pair.setdefault((chars_of(head), chars_of(tail)), []).append({"type": name, **value})
        facts = self.relations("hyper_relations", entities)
        for fact in facts:
            score = fact.pop("score")
            here = on_pair.get((chars_of(fact["head"]), chars_of(fact["tail"])), ())
            qualifiers = [qualifier for qualifier in here if qualifier["type"] in allowed[fact["type"]]]
            fact["qualifiers"] = _without_duplicates(qualifiers, lambda m: (chars_of(m), m["type"]))
            fact["score"] = score
        return facts

    def events(self) -> list[dict]:
        """Triggers with the arguments that were found on them; an argument without trigger is left out."""
        on_trigger: dict[tuple, list[dict]] = {}
        for role, owner, _, (trigger, argument) in self.by_structure.get("roles", ()):
            on_trigger.setdefault((owner, chars_of(trigger)), []).append({"role": role, **argument})
        events = []
        for trigger in self.typed("events"):
            name, score = trigger.pop("type"), trigger["score"]
            arguments = on_trigger.get((name, chars_of(trigger)), [])
            arguments = _without_duplicates(arguments, lambda m: (chars_of(m), m["role"]))
            events.append({"type": name, "trigger": trigger, "arguments": arguments, "score": score})
        return events

    def classes(self) -> dict[str, list[dict]]:
        """Of every task the classes that hold, best first."""
        holding: dict[str, list[dict]] = {task.name: [] for task in self.schema.classes}
        for name, task, score, _ in self.by_structure.get("classes", ()):
            holding[task].append({"label": name, "score": score})
        return {task: sorted(found, key=lambda c: -c["score"]) for task, found in holding.items()}


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
        overlap: What happens to entities, spans and triggers at the same tokens; see `resolve_overlaps`.
        truncated: Whether decoding stopped at its step limit.

    Returns:
        A record with `text` and `score` on every mention and structure, plus `truncated`. A relation whose
        schema declares argument types is left out if an argument is an entity of other types only.

    Raises:
        ValueError: If the overlap policy is unknown.
    """
    found = _Found(text, loops, tokens, schema)
    entities = resolve_overlaps(found.typed("entities"), overlap)
    result: dict = {"text": text}
    if schema.entities:
        result["entities"] = entities
    if schema.relations:
        result["relations"] = found.relations("relations", entities)
    if schema.hyper_relations:
        result["hyper_relations"] = found.hyper_relations(entities)
    if schema.events:
        result["events"] = resolve_triggers(found.events(), overlap)
    if schema.classes:
        result["classes"] = found.classes()
    if schema.question is not None:
        result["question"] = schema.question
        result["answers"] = sorted(found.typed("answers"), key=lambda m: -m["score"])
    if schema.spans:
        result["spans"] = resolve_overlaps(found.typed("spans"), overlap)
    return result | {"truncated": truncated}
