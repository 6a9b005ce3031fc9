"""What writers share: names of records, and the account of what a format has no place for."""

from collections.abc import Iterable
from typing import Any

from ldnet.processing.converters.report import LISTS, AlignmentReport


def name_of(record: dict[str, Any], index: int) -> str:
    """What reports call a record: its id, else its number."""
    return str(record["id"]) if record.get("id") is not None else f"record {index}"


def lose_other(
    record: dict[str, Any], held: set[str], target: str, where: str, report: AlignmentReport
) -> None:
    """Count the structures that the other format has no place for.

    Args:
        record (`dict`): A record in our format.
        held (`set[str]`): The keys that it can hold.
        target (`str`): What the other format is called.
        where (`str`): The record.
        report (`AlignmentReport`): Filled.
    """
    for key in (*LISTS, "classes"):
        items = record.get(key)
        if items and key not in held:
            first = items[0] if isinstance(items, list) else items
            report.lose(f"{key}: {target} cannot hold them", where, first, len(items))
    if record.get("question") is not None and "question" not in held:
        report.lose(f"question: {target} cannot hold one", where, record["question"])


def fill_keys(records: list[dict[str, Any]], keys: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Give every record of a set the list keys that one of them has: who annotated these looked everywhere.

    Args:
        records (`list[dict]`): Records that were annotated alike; changed in place.
        keys (`Iterable[str]`): Keys that all were annotated with, seen or not.

    Returns:
        The records.
    """
    seen = {key for record in records for key in LISTS if record.get(key) is not None}
    for record in records:
        for key in LISTS:
            if key in seen or key in keys:
                record.setdefault(key, [])
    return records
