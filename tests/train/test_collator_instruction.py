from dataclasses import replace

import pytest
import torch

from ldnet.processing.prompt import Marker
from ldnet.train.args import DataArguments
from ldnet.train.collator import LDNetCollator
from ldnet.train.commands.finetune import load_parts
from ldnet.train.dataset import ExtractionDataset, Source
from ldnet.train.label_sampling import LabelSampler

INSTRUCTION = "the person works for organization"


def batch_of(processor, *parts):
    collator = LDNetCollator(processor, LabelSampler(shuffle=False))
    return collator(ExtractionDataset(processor, parts).examples)


@pytest.mark.parametrize("schema_attention", ["prefix", "full"])
def test_batch_has_the_prompt_that_extraction_will_have(make_model, make_processor, work, schema_attention):
    processor = make_processor(make_model(schema_attention=schema_attention).config)
    schema = replace(work[0], instruction=INSTRUCTION)
    batch = batch_of(processor, (Source("work", schema), work[1][:3]))
    for name, tensor in processor.encode_schema(schema).items():
        assert torch.equal(batch[name], tensor), name


def test_batch_of_sets_with_several_instructions_has_none(make_model, make_processor, work, opinion):
    processor = make_processor(make_model().config)
    first, second = replace(work[0], instruction=INSTRUCTION), replace(opinion[0], instruction="another")
    marker = processor.special_ids.markers[Marker.INSTRUCTION]
    alone = batch_of(processor, (Source("work", first), work[1][:2]))
    both = batch_of(
        processor, (Source("work", first), work[1][:2]), (Source("opinion", second), opinion[1][:2])
    )
    assert (alone["schema_input_ids"] == marker).sum() == 1
    assert (both["schema_input_ids"] == marker).sum() == 0


def test_load_parts_gives_every_set_the_instruction_of_the_flag(tmp_path, work, opinion, write_set):
    files = [str(write_set(tmp_path / "a", replace(work[0], instruction="own"), work[1]))]
    files.append(str(write_set(tmp_path / "b", *opinion)))
    for flag, expected in ((None, ["own", ""]), ("given", ["given", "given"]), ("", ["", ""])):
        train, dev = load_parts(DataArguments(train=files, dev=files, instruction=flag))
        assert [source.schema.instruction for source, _ in train] == expected
        assert [source.schema.instruction for source, _ in dev] == expected
