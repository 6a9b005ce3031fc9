"""Many labels on real data: `LDNET_DATA=data pytest -m slow tests/test_many_labels.py -s`.

LDNET_MODEL names another checkpoint than the embedded one.
"""

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ldnet.processing.schema import Schema
from ldnet.train.data import load_schema_for, read_records
from ldnet.train.loading import load_pipeline
from ldnet.train.metrics import count_tasks, scores_from_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("LDNET_DATA" not in os.environ, reason="LDNET_DATA names no folder of data sets"),
]
FIVE = ["political party", "election", "organization", "politician", "location"]  # the commonest of the set
DISTRACTORS = 500


def other_entity_types(known):
    """Entity types of all other sets, shuffled."""
    found = {}
    for path in sorted(Path(os.environ["LDNET_DATA"]).glob("*/schema.json")):
        if "politics" not in path.parent.name:
            entities = load_schema_for(path.parent / "train.jsonl.gz").entities
            found |= {item.name.lower(): item.name for item in entities if item.name.lower() not in known}
    names = list(found.values())
    random.Random(0).shuffle(names)
    return names


def test_five_labels_are_found_among_five_hundred_others(request):
    torch.set_num_threads(1)
    path = Path(os.environ["LDNET_DATA"]) / "crossner_politics" / "dev.jsonl.gz"
    records = [
        {**record, "entities": [x for x in record["entities"] if x["type"] in FIVE]}
        for record in read_records(path)
    ]
    known = {item.name.lower() for item in load_schema_for(path).entities}
    many = [*FIVE, *other_entity_types(known)[:DISTRACTORS]]
    random.Random(0).shuffle(many)
    pipe = load_pipeline(os.environ.get("LDNET_MODEL"), device="cpu")
    schema, scores, times = Schema.from_any(FIVE), {}, {}
    for labels in (FIVE, many, FIVE, many):  # twice: the first round warms up
        start = time.process_time()
        results = pipe([r["text"] for r in records], schema=labels, overlap="nested", progress=False)
        times[len(labels)] = (time.process_time() - start) / len(records)
        rows = []
        for record, result in zip(records, results, strict=True):
            found = {**result, "entities": [x for x in result["entities"] if x["type"] in FIVE]}
            rows.append(np.stack(count_tasks(record, found, schema)).reshape(-1))
        scores[len(labels)] = scores_from_rows(np.stack(rows))["entities_f1"]
    line = request.config.get_terminal_writer().line
    for count, seconds in times.items():
        line(f"{count} labels: F1 of the five {scores[count]:.1f}, {1000 * seconds:.1f} ms a text")
    assert scores[len(many)] >= scores[5] - 3
    assert times[len(many)] <= 4.5 * times[5]
