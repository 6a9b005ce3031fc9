"""Structures of a record -> loops on token indices, for all tasks (Fig. 1, App. A.3)."""

from collections.abc import Iterator

from ldnet.processing.alignment import TextTokens
from ldnet.processing.links import Loop, LoopLimits, Mention, RecordLinks, encode_loops
from ldnet.processing.schema import Schema, SchemaError

TYPELESS = {"answers": "answer", "spans": "span"}  # structures without labels of their own, and their nouns


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


def structures_of(record: dict, schema: Schema) -> Iterator[tuple[int, str, list[dict]]]:
    """Every structure of a record that has a loop, whole facts in their binary and ternary parts.

    Args:
        record: A record.
        schema: What is asked for; structures whose label is not in it are left out.

    Yields:
        Label, a name for reports, and the mentions that the loop goes through.
    """
    for structure, owner, name, noun, mentions in _parts(record, schema):
        try:
            label = schema.label_id(structure, name, owner)
        except SchemaError:
            continue
        yield label, noun if structure in TYPELESS else f"{noun} {name!r}", mentions


def _parts(record: dict, schema: Schema) -> Iterator[tuple[str, str | None, str, str, list[dict]]]:
    """Structure, owner, name, noun and mentions of every part, in the order of the schema's labels."""
    for entity in record.get("entities") or ():
        yield "entities", None, entity["type"], "entity", [entity]
    symmetric = {relation.name for relation in schema.relations if relation.symmetric}
    for relation in record.get("relations") or ():
        pair = [relation["head"], relation["tail"]]
        if relation["type"] in symmetric:
            pair.sort(key=lambda mention: (mention["start"], mention["end"]))
        yield "relations", None, relation["type"], "relation", pair
    yield from _facts(record)
    for task, names in (record.get("classes") or {}).items():
        yield from (("classes", task, name, "class", []) for name in names)
    for structure, noun in TYPELESS.items():
        yield from ((structure, None, noun, noun, [mention]) for mention in record.get(structure) or ())


def _facts(record: dict) -> Iterator[tuple[str, str | None, str, str, list[dict]]]:
    """Hyper-relations with their qualifiers, events with their arguments."""
    for fact in record.get("hyper_relations") or ():
        pair = [fact["head"], fact["tail"]]
        yield "hyper_relations", None, fact["type"], "hyper-relation", pair
        for qualifier in fact.get("qualifiers") or ():
            yield "qualifiers", None, qualifier["type"], "qualifier", [*pair, qualifier]
    for event in record.get("events") or ():
        yield "events", None, event["type"], "event", [event["trigger"]]
        for argument in event.get("arguments") or ():
            yield "roles", event["type"], argument["role"], "argument", [event["trigger"], argument]


def record_loops(
    record: dict, schema: Schema, tokens: TextTokens, max_fragments: int
) -> tuple[list[Loop], list[str]]:
    """Loops of a record's structures, and what could not be encoded.

    Args:
        record: A record; structures whose label is not in the schema are left out.
        schema: What is asked for.
        tokens: Tokens of the record's text.
        max_fragments: Most fragments of a mention.

    Returns:
        Loops without repetitions, and descriptions of lost structures.
    """
    loops: dict[Loop, None] = {}
    lost = []
    for label, name, mentions in structures_of(record, schema):
        encoded = [mention_tokens(mention, tokens, max_fragments) for mention in mentions]
        causes = [(m, cause) for m, cause in zip(mentions, encoded, strict=True) if isinstance(cause, str)]
        lost += [f"{cause}: {name} at {m['start']}-{m['end']}" for m, cause in causes]
        if not causes:
            loops[Loop(label, tuple(encoded))] = None
    return list(loops), lost


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
