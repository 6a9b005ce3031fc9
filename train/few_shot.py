"""A handful of records to train on: at least k structures of every label, and no record too many."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ldnet.processing.record_loops import fragments_of, structures_of
from ldnet.processing.schema import Schema


def structure_counts(record: dict, schema: Schema) -> Counter[int]:
    """Structures of each label in a record; one that is listed twice counts once.

    Args:
        record: A record.
        schema: What is asked for; other labels are left out.

    Returns:
        Label id -> number of structures, labels without any left out. Of an event argument the role counts,
        of a qualifier its name, of a text its classes.
    """
    found = {
        (label, tuple(tuple(fragments_of(mention)) for mention in mentions))
        for label, _, mentions in structures_of(record, schema)
    }
    return Counter(label for label, _ in found)


def sample_shots(records: Sequence[dict], schema: Schema, shots: int, seed: int) -> list[int]:
    """Choose records that hold `shots` structures of every label, or all of them where there are fewer.

    Greedy, as "greedy sampling" of Yang and Katiyar (2020), https://arxiv.org/abs/2010.02405: records are
    shuffled by the seed; labels come in turn, the rarest first; for each, records that hold it are taken in
    the shuffled order until there are enough, counting what records taken before hold already. At last every
    record that can be missed is left out again, the first taken first. Texts without structures are never
    chosen.

    Args:
        records: All records of a data set.
        schema: Its schema.
        shots: Structures of each label, at least 1.
        seed: Of the shuffle.

    Returns:
        Positions of the chosen records, ascending. No record can be left out without a label falling short.

    Raises:
        ValueError: If `shots` is below 1.
    """
    if shots < 1:
        raise ValueError(f"shots: {shots} is not a number of structures; use 1 or more")
    counts = [structure_counts(record, schema) for record in records]
    total = sum(counts, Counter())
    wanted = {label: min(shots, total[label]) for label in total}
    order = np.random.default_rng(seed).permutation(len(records)).tolist()
    holders: dict[int, list[int]] = {label: [] for label in wanted}
    for i in order:
        for label in counts[i]:
            holders[label].append(i)
    have: Counter[int] = Counter()
    chosen: dict[int, None] = {}
    for label in sorted(wanted, key=lambda label: (total[label], label)):
        for i in holders[label]:
            if have[label] >= wanted[label]:
                break
            if i not in chosen:
                chosen[i] = None
                have += counts[i]
    return sorted(_without_spare(chosen, counts, have, wanted))


def _without_spare(
    chosen: dict[int, None], counts: Sequence[Counter[int]], have: Counter[int], wanted: dict[int, int]
) -> list[int]:
    """Chosen records without those that no label needs."""
    kept = []
    for i in chosen:
        if all(have[label] - count >= wanted[label] for label, count in counts[i].items()):
            have = have - counts[i]
        else:
            kept.append(i)
    return kept
