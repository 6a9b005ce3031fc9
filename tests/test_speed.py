"""Measurements on real data: `LDNET_DATA=data pytest -m slow tests/test_speed.py -s` (folders of records)."""

import os
import statistics
import time
from pathlib import Path

import pytest
import torch

from ldnet.processing.schema import Schema
from ldnet.train.data import load_schema_for, read_records
from ldnet.train.loading import load_pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("LDNET_DATA" not in os.environ, reason="LDNET_DATA names no folder of data sets"),
]
OTHER_SETS = ("redocred_sent", "multidogo", "sgd", "hwu64")  # label names nothing in CoNLL-2004 has
ROUNDS = 5


def other_labels(count):
    """Label names of other sets, in order."""
    names = []
    for name in OTHER_SETS:
        schema = load_schema_for(Path(os.environ["LDNET_DATA"]) / name / "train.jsonl.gz")
        names += [label.name for label in schema.labels if label.name not in names]
    return names[:count]


def seconds(pipe, texts, schema):
    start = time.process_time()
    pipe(texts, schema=schema, progress=False)
    return time.process_time() - start


@pytest.fixture
def report(request):
    return request.config.get_terminal_writer().line


def test_extract_200_further_labels_costs_at_most_twice_the_time(report):
    torch.set_num_threads(1)
    path = Path(os.environ["LDNET_DATA"]) / "conll04" / "dev.jsonl.gz"
    texts = [record["text"] for record in read_records(path)]
    few = load_schema_for(path)
    known = {label.name for label in few.labels}
    more = [name for name in other_labels(300) if name not in known][:200]
    many = Schema.from_dict({**few.to_dict(), "entities": [*few.to_dict()["entities"], *more]})
    assert len(many.labels) == len(few.labels) + 200
    pipe = load_pipeline(None, device="cpu")
    times = {len(schema.labels): [] for schema in (few, many)}
    for _ in range(ROUNDS):  # interleaved: the machine may be shared
        for schema in (few, many):
            times[len(schema.labels)].append(seconds(pipe, texts, schema))
    middle = {count: statistics.median(values) for count, values in times.items()}
    ratio = middle[len(many.labels)] / middle[len(few.labels)]
    for count, value in middle.items():
        report(f"{count} labels: {1000 * value / len(texts):.1f} ms a text (one thread, {len(texts)} texts)")
    report(f"{len(many.labels)} labels cost {ratio:.2f} x the time of {len(few.labels)}")
    assert ratio <= 2.0
