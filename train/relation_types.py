"""Fine entity types from relations: who directs a film is a film director, whatever a data set calls him."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from ldnet.processing.schema import EntityType, Schema
from ldnet.train.dataset import Source

TABLE = Path(__file__).parent / "configs" / "relation_types.yaml"
SUFFIX = "+types"  # of the name of a source that was made from another

Ends = Sequence[str | None]  # types of head and tail


def load_relation_types() -> dict[str, list[str | None]]:
    """The package's table: relation -> types of its head and its tail."""
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))


def types_from_relations(
    source: Source, records: Sequence[dict], table: Mapping[str, Ends]
) -> tuple[Source, list[dict]]:
    """A data set whose mentions have the finest type that their relations tell.

    A mention of a fine type does not keep its own (as in CrossNER, where a writer is no person besides): the
    model learns to prefer what is more special. Texts without a fine type are left out.

    Args:
        source: A data set with relations.
        records: Its records.
        table: Relation -> types of head and tail.

    Returns:
        The new source, with entities alone, and its records. Where the source is partial, or marks no entity
        types, so is the new one.
    """
    made = []
    for record in records:
        fine: dict[tuple, str] = {}
        for relation in record.get("relations") or record.get("hyper_relations") or ():
            for end, name in zip(("head", "tail"), table.get(relation["type"], (None, None)), strict=True):
                if name is not None:
                    fine.setdefault(_place(relation[end]), name)
        if not fine:
            continue
        own = {item.name for item in source.schema.entities}
        entities = {_place(x): x for x in record.get("entities") or () if x["type"] in own}
        entities |= {
            place: {"start": place[0], "end": place[1], "type": name} for place, name in fine.items()
        }
        made.append({"text": record["text"], "entities": [entities[place] for place in sorted(entities)]})
    known = {item.name: item for item in source.schema.entities}
    names = {mention["type"] for record in made for mention in record["entities"]}
    entities = [known.get(name, EntityType(name)) for name in sorted(names)]
    partial = source.partial or not known
    return replace(
        source, name=source.name + SUFFIX, schema=Schema(entities=tuple(entities)), partial=partial
    ), made


def _place(mention: dict) -> tuple:
    return mention["start"], mention["end"]
