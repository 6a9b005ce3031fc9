"""Record files -> sources of a training mixture, with what their folders say about them."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ldnet.processing.schema import HyperRelationType, RelationType, Schema
from ldnet.train.data import RecordError, load_records, load_schema_for, manifest_of, read_records
from ldnet.train.dataset import Source
from ldnet.train.overlap import OverlapFinder

TEXTS = "+texts"  # behind the name of a source of which only the texts count
OWN_QUESTION = "?"  # stands in the schema of a data set whose records bring a question each

Part = tuple[Source, list[dict]]  # with its records
Relation = TypeVar("Relation", RelationType, HyperRelationType)

logger = logging.getLogger(__name__)


def is_partial(path: Path) -> bool:
    """Whether the manifest beside a file says that not every mention is marked.

    Sets that annotate a record's own `labels` are complete for those labels.

    Args:
        path: A record file.

    Returns:
        Whether unmarked spans are no negatives.
    """
    manifest = manifest_of(path)
    return manifest.get("mentions_complete") is False and manifest.get("annotated") != "the record's labels"


def trainable_schema(schema: Schema, partial: bool) -> Schema:
    """The part of a schema that training can use.

    Args:
        schema: All that a data set annotates.
        partial: Not every mention is marked. Those that are marked still tell their type from others; one
            type alone would tell nothing.

    Returns:
        All of it, or all but the entities.
    """
    return replace(schema, entities=()) if partial and len(schema.entities) < 2 else schema


def schema_of_records(known: Schema | None, records: list[dict]) -> Schema:
    """What can be asked of the texts of a data set.

    Args:
        known: Its schema, if it has one.
        records: Its records.

    Returns:
        The schema, or that of the labels in use. Records that bring answers bring their questions.
    """
    schema = known or Schema.from_records(records)
    answered = any(record.get("answers") is not None for record in records)
    return replace(schema, question=OWN_QUESTION) if answered and schema.question is None else schema


def load_source(
    path: str, root: str = "", schema: Schema | None = None, instruction: str | None = None
) -> tuple[Source, list[dict]]:
    """One record file with its schema.

    Args:
        path: A record file.
        root: Folder that a relative path starts from.
        schema: Overrides the `schema.json` beside the file; without both, the records' own labels are taken.
        instruction: Overrides that of the schema.

    Returns:
        The source and its records.

    Raises:
        RecordError: With every problem of the file, or if nothing in it can be trained on.
    """
    file = Path(root) / path
    known = schema or load_schema_for(file)
    records = load_records(file, known)
    partial = is_partial(file)
    name = file.parent.name if (file.parent / "schema.json").exists() else file.name
    usable = trainable_schema(schema_of_records(known, records), partial)
    if not usable.labels:
        why = "its mentions are marked in part and it has nothing else" if partial else "it has no structures"
        raise RecordError(f"{file}: nothing to train on: {why}. Leave the file out.")
    if instruction is not None:
        usable = replace(usable, instruction=instruction)
    return Source(name, usable, partial), records


def load_texts(paths: Sequence[str], root: str, like: Sequence[Part]) -> list[Part]:
    """The texts of record files without what is annotated there, for teachers to judge.

    Args:
        paths: Record files.
        root: Folder that a relative path starts from.
        like: What is trained on; the texts are asked the same.

    Returns:
        Sources NAME+texts whose records hold a text each.

    Raises:
        ValueError: If what is trained on has several schemas, or asks questions.
        RecordError: With every file that holds no text.
    """
    if not paths:
        return []
    schemas = [source.schema for source, _ in like]
    if any(schema != schemas[0] for schema in schemas) or schemas[0].question is not None:
        raise ValueError(
            "texts: they are asked what the training files are, and those have several schemas or a question "
            "a text; train on files of one schema, or name one for all with --schema"
        )
    parts, problems = [], []
    for path in paths:
        file = Path(root) / path
        records = [record for record in read_records(file) if isinstance(record.get("text"), str)]
        found = [{"text": record["text"]} for record in records]
        name = file.parent.name if (file.parent / "schema.json").exists() else file.name
        parts.append((Source(name + TEXTS, schemas[0]), found))
        problems += [] if found else [f"{file}: holds no text; leave it out"]
    if problems:
        raise RecordError(problems)
    return parts


def rename_types(source: Source, records: list[dict], names: Mapping[str, str]) -> Part:
    """A source whose entity types are called by other names.

    For data sets that mean something else by a word than all others: if one counts "she" as a person, its
    persons need another name in a mixture.

    Args:
        source: A data set.
        records: Its records.
        names: Entity type -> what it is called.

    Returns:
        The source and its records; the ones given where nothing is renamed.

    Raises:
        ValueError: If the source has no such entity type.
    """
    if not names:
        return source, records
    known = {item.name for item in source.schema.entities}
    if unknown := sorted(names.keys() - known):
        raise ValueError(
            f"rename_types: {source.name} has no entity types {unknown}; name some of {sorted(known)}"
        )
    schema = source.schema
    schema = replace(
        schema,
        entities=tuple(replace(item, name=names.get(item.name, item.name)) for item in schema.entities),
        relations=tuple(_with_ends(item, names) for item in schema.relations),
        hyper_relations=tuple(_with_ends(item, names) for item in schema.hyper_relations),
    )
    return replace(source, schema=schema), [_renamed(record, names) for record in records]


def _with_ends(relation: Relation, names: Mapping[str, str]) -> Relation:
    ends = {end: getattr(relation, end) for end in ("head", "tail")}
    return replace(
        relation,
        **{end: types and tuple(names.get(name, name) for name in types) for end, types in ends.items()},
    )


def _renamed(record: dict, names: Mapping[str, str]) -> dict:
    def mention(item: dict) -> dict:
        return item | {"type": names.get(item["type"], item["type"])} if "type" in item else item

    changed = dict(record)
    if "entities" in record:
        changed["entities"] = [mention(item) for item in record["entities"]]
    for key in ("relations", "hyper_relations"):
        if key in record:
            changed[key] = [
                item | {end: mention(item[end]) for end in ("head", "tail")} for item in record[key]
            ]
    looked_for = record.get("labels") or {}
    if "entities" in looked_for:
        mine = [names.get(name, name) for name in looked_for["entities"]]
        changed["labels"] = looked_for | {"entities": mine}
    return changed


def replay_caps(train: Sequence[Part], more: Sequence[Part], share: float, flag: str) -> dict[str, int]:
    """How many texts of an epoch come from each source that is trained on beside the first ones.

    Args:
        train: What is trained on.
        more: What the checkpoint was trained on before, or texts for teachers.
        share: Share of the texts of an epoch that come from those, in (0, 1).
        flag: What named them, for messages.

    Returns:
        Source name -> texts, the same for each.

    Raises:
        ValueError: If the share is no share, or a source is among both.
    """
    if not 0 < share < 1:
        raise ValueError(
            f"{flag}_share: {share} is not between 0 and 1; 0.5 takes as many of them as of --train"
        )
    both = {source.name for source, _ in train} & {source.name for source, _ in more}
    if both:
        raise ValueError(f"{flag}: {sorted(both)} are trained on already; leave them out of one list")
    texts = sum(len(records) for _, records in train) * share / (1 - share)
    return {source.name: math.ceil(texts / len(more)) for source, _ in more}


def compare_with_dev(train: Sequence[Part], dev: Sequence[Part], skip: bool) -> list[Part]:
    """Find training texts that stand in a dev file too: scores on that file would be too good.

    Args:
        train: What is trained on.
        dev: What is scored on.
        skip: Leave such texts out; else they are only warned of.

    Returns:
        What is left to train on.

    Raises:
        ValueError: If nothing is left of a source.
    """
    left, empty = [], []
    for source, records in train:
        finder = OverlapFinder([record["text"] for record in records])
        for scored, texts in dev:
            for i, record in enumerate(texts):
                finder.add(record["text"], f"{scored.name}[{i}]")
        seen = {overlap.index: overlap for overlap in finder.overlaps()}
        if seen:
            first = next(iter(seen.values()))
            logger.warning(
                "%s: %d of %d texts stand in the dev files too (the first in %s: %s); %s",
                source.name, len(seen), len(records), first.place, first.text,
                "left out" if skip else "scores will be too good: --skip_dev_texts true leaves them out",
            )  # fmt: skip
        kept = [record for i, record in enumerate(records) if not (skip and i in seen)]
        empty += [source.name] if records and not kept else []
        left.append((source, kept))
    if empty:
        raise ValueError(f"skip_dev_texts: all texts of {empty} stand in the dev files; name other files")
    return left
