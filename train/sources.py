"""Record files -> sources of a training mixture, with what their folders say about them."""

import logging
from pathlib import Path

from ldnet.processing.schema import Schema
from ldnet.train.data import RecordError, load_records, load_schema_for, manifest_of
from ldnet.train.dataset import Source

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
        partial: Entities of partly marked sets teach wrong negatives: only their relations are used.

    Returns:
        Entities and relations.
    """
    return Schema(
        entities=() if partial else schema.entities,
        relations=schema.relations,
        instruction=schema.instruction,
    )


def load_source(path: str, root: str = "", schema: Schema | None = None) -> tuple[Source, list[dict]]:
    """One record file with its schema.

    Args:
        path: A record file.
        root: Folder that a relative path starts from.
        schema: Overrides the `schema.json` beside the file; without both, the records' own labels are taken.

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
    usable = trainable_schema(known or Schema.from_records(records), partial)
    if not usable.labels:
        why = (
            "its mentions are marked in part and it has no relations"
            if partial
            else "it has no entities or relations"
        )
        raise RecordError(f"{file}: nothing to train on: {why}. Leave the file out.")
    return Source(name, usable, partial), records
