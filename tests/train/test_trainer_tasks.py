"""From records with all structures to a model that extracts them."""

import pytest
import torch

from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.schema import Schema
from ldnet.train.collator import LDNetCollator
from ldnet.train.confirmation import LoopProposer
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.label_sampling import LabelSampler
from ldnet.train.metrics import compare_record, count_tasks, mean_f1
from ldnet.train.trainer import scoring_input

SCHEMA = Schema.from_any(
    {
        "entities": ["person", "organization"],
        "relations": [{"type": "works for", "head": ["person"], "tail": ["organization"]}],
        "hyper_relations": [{"type": "employer", "qualifiers": ["place"]}],
        "events": [{"type": "work", "roles": ["person", "place"]}, {"type": "move", "roles": ["person"]}],
        "classes": {
            "topic": ["sport", "business"],
            "tone": {"labels": ["new", "good", "old"], "multi_label": True},
        },
        "question": "?",
        "spans": True,
    }
)
TEXT = "Ann works for Acme in the place, and Bob."


def mention(words, kind=None):
    start = TEXT.index(words)
    return ({"type": kind} if kind else {}) | {"start": start, "end": start + len(words)}


ANN, ACME, BOB, PLACE = (mention(words) for words in ("Ann", "Acme", "Bob", "the place"))
RECORD = {
    "text": TEXT,
    "entities": [
        {"type": "person", **ANN},
        {"type": "organization", **ACME},
        {"type": "person", **BOB},
        mention("Acme in the place", "organization"),
    ],
    "relations": [
        {"type": "works for", "head": {"type": "person", **ANN}, "tail": {"type": "organization", **ACME}}
    ],
    "hyper_relations": [
        {"type": "employer", "head": ANN, "tail": ACME, "qualifiers": [{"type": "place", **PLACE}]}
    ],
    "events": [
        {
            "type": "work",
            "trigger": mention("works for"),
            "arguments": [{"role": "person", **ANN}, {"role": "place", **PLACE}, {"role": "person", **BOB}],
        }
    ],
    "classes": {"topic": ["business"], "tone": ["good", "new"]},
    "question": "who works ?",
    "answers": [ANN],
    "spans": [ANN, ACME],
}


def train(model, processor, records, steps):
    """Loss of the links after each step on all records."""
    examples = ExtractionDataset(processor, [(Source("x", SCHEMA), records)]).examples
    collator = LDNetCollator(processor, LabelSampler(shuffle=False))
    model.propose_loops = LoopProposer(processor.limits)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    losses = []
    for step in range(steps):
        collator.epoch = step
        optimizer.zero_grad()
        output = model(**collator(examples))
        output.loss.backward()
        optimizer.step()
        losses.append(output.link_loss.item())
        if max(losses[-3:]) < 0.1 and output.confirmation_loss < 0.05:
            break
    model.propose_loops = None
    return losses


@pytest.mark.parametrize("attention", ["prefix", "full"])
def test_model_overfits_one_record_with_all_structures_and_extracts_them(trainable, attention):
    model, processor = trainable(schema_attention=attention)
    losses = train(model, processor, [RECORD], 120)
    assert losses[-1] < 0.3 < losses[0]
    pipe = UniversalIEPipeline(model=model.eval(), processor=processor, device="cpu")
    result = pipe(scoring_input(RECORD, SCHEMA), schema=SCHEMA)
    tasks = dict((task, sides) for task, *sides in compare_record(RECORD, result, SCHEMA))
    assert {task: found - gold for task, (gold, found) in tasks.items()} == {task: set() for task in tasks}
    assert {task: gold - found for task, (gold, found) in tasks.items()} == {task: set() for task in tasks}
    assert len(tasks) == 10
    assert [(answer["start"], answer["end"]) for answer in result["answers"]] == [(0, 3)]
    assert result["question"] == RECORD["question"]
    assert mean_f1(count_tasks(RECORD, result, SCHEMA)) == 100.0
