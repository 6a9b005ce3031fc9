import sys

import pytest
import torch

from ldnet.train.adapters import add_lora, freeze_encoder, freeze_word_embeddings, merge_lora

SCHEMA = {"entities": ["person"], "relations": ["works for"]}


@pytest.fixture(params=["bert", "modernbert", "deberta-v2"])
def model(request, make_model):
    return make_model(request.param)


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def logits(model, processor):
    with torch.no_grad():
        return model.eval()(**processor("the person works", SCHEMA), return_logits=True).link_logits


def differ(first, second):
    return max((a - b).abs().max().item() for a, b in zip(first, second, strict=True))


def test_a_frozen_encoder_leaves_the_heads_to_train(model):
    freeze_encoder(model)
    assert trained(model)
    assert not any(name.startswith("encoder.") for name in trained(model))
    assert {name.split(".")[0] for name in trained(model)} >= {
        "link_head",
        "relevance_head",
        "kind_embedding",
    }


def test_frozen_word_embeddings_leave_all_else_to_train(model):
    before = trained(model)
    freeze_word_embeddings(model)
    (words,) = before - trained(model)
    assert "embeddings" in words
    assert dict(model.named_parameters())[words] is model.encoder.get_input_embeddings().weight


def test_lora_trains_adapters_and_heads_and_saves_a_plain_model(model, make_processor):
    processor = make_processor(model.config)
    names, before = set(model.state_dict()), logits(model, processor)
    heads = {name for name in trained(model) if not name.startswith("encoder.")}
    add_lora(model, 2)
    found = trained(model)
    assert heads < found
    assert all("lora_" in name for name in found - heads)
    assert differ(logits(model, processor), before) < 1e-6
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    after = logits(model, processor)
    assert differ(after, before) > 1e-3
    assert merge_lora(model) > 0
    assert set(model.state_dict()) == names
    assert differ(logits(model, processor), after) < 1e-4


def test_nothing_to_merge_changes_nothing(model):
    assert merge_lora(model) == 0


def test_lora_wants_a_rank_and_peft(make_model, monkeypatch):
    with pytest.raises(ValueError, match="lora_rank: 0 is not positive"):
        add_lora(make_model(), 0)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match="pip install peft"):
        add_lora(make_model(), 2)
