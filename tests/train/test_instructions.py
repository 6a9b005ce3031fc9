import numpy as np
import pytest

from ldnet.processing.schema import Schema
from ldnet.train.collator import LDNetCollator
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.instructions import draw_instruction, load_instructions

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


def test_the_package_has_phrasings_for_every_structure():
    known = load_instructions("default")
    assert set(known) == {
        "entities", "relations", "hyper_relations", "events", "classes", "answers", "spans", "mixed"
    }  # fmt: skip


@pytest.mark.parametrize("content", ["entities: find", "- find", "entities: [1]", "entities: ["])
def test_instructions_must_be_lists_of_texts(tmp_path, content):
    file = tmp_path / "own.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"own\.yaml: "):
        load_instructions(str(file))


def test_the_prompt_of_a_batch_holds_the_instruction(tiny_processor, work):
    examples = ExtractionDataset(tiny_processor, [(Source("work", work[0]), work[1])]).examples[:2]
    plain = LDNetCollator(tiny_processor)(examples)
    told = LDNetCollator(tiny_processor, instructions={"mixed": ["the person"]}, instruction_share=1.0)(
        examples
    )
    assert len(told["schema_input_ids"]) == len(plain["schema_input_ids"]) + 1
    assert (told["schema_blocks"][-1] == -1).all()
