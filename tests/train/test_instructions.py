import numpy as np

from ldnet.processing.schema import Schema
from ldnet.train.collator import LDNetCollator
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.instructions import draw_instruction

TEXTS = {"entities": ["a", "b"], "events": ["c"], "mixed": ["d"]}


def drawn(schema, share=1.0):
    labels = Schema.from_any(schema).labels
    return {draw_instruction(labels, TEXTS, share, np.random.default_rng(i)) for i in range(40)}


def test_an_instruction_fits_the_structures_of_the_batch():
    assert drawn(["person"]) == {"a", "b"}
    assert drawn({"events": [{"type": "attack", "roles": ["place"]}]}) == {"c"}
    assert drawn({"entities": ["person"], "relations": ["knows"]}) == {"d"}
    assert drawn({"classes": {"topic": ["sport"]}}) == {""}


def test_a_share_of_the_batches_gets_one():
    assert drawn(["person"], 0.5) == {"a", "b", ""}
    assert drawn(["person"], 0.0) == {""}


def test_the_prompt_of_a_batch_holds_the_instruction(tiny_processor, work):
    examples = ExtractionDataset(tiny_processor, [(Source("work", work[0]), work[1])]).examples[:2]
    plain = LDNetCollator(tiny_processor)(examples)
    told = LDNetCollator(tiny_processor, instructions={"mixed": ["the person"]}, instruction_share=1.0)(
        examples
    )
    assert len(told["schema_input_ids"]) == len(plain["schema_input_ids"]) + 1
    assert (told["schema_blocks"][-1] == -1).all()
