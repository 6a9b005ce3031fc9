import pytest
import torch

from ldnet.configuration_ldnet import LDNetConfig

SCHEMA = {"entities": ["person"], "relations": ["works for"]}


@pytest.fixture(params=["prefix", "full"])
def model(request, make_model):
    model = make_model(schema_attention=request.param, case_embedding=True)
    torch.nn.init.normal_(model.case_embedding.weight[1:])
    return model


def logits(model, processor, text, **changed):
    with torch.no_grad():
        return model(**(processor(text, SCHEMA) | changed), return_logits=True).link_logits


def largest_difference(first, second):
    return max((a - b).abs().max().item() for a, b in zip(first, second, strict=True))


def test_case_changes_scores_of_tokens_that_are_the_same(model, make_processor):
    processor = make_processor(model.config)
    inputs = processor("the person", SCHEMA)
    title = inputs["case_ids"].clone()
    title[0, 2] = 2
    assert (
        largest_difference(
            logits(model, processor, "the person"), logits(model, processor, "the person", case_ids=title)
        )
        > 1e-3
    )


def test_untrained_vectors_change_nothing(make_model, make_processor):
    told, silent = make_model(case_embedding=True), make_model()
    silent.load_state_dict({k: v for k, v in told.state_dict().items() if k != "case_embedding.weight"})
    assert not told.case_embedding.weight.any()
    assert (
        largest_difference(
            logits(told, make_processor(told.config), "The PLACE"),
            logits(silent, make_processor(silent.config), "The PLACE"),
        )
        < 1e-6
    )


def test_labels_and_special_tokens_keep_their_embedding(model, make_processor):
    assert not model.case_embedding.weight[0].any()
    batch = make_processor(model.config)("The person", SCHEMA)
    model.train()
    model(**batch, return_logits=True).link_logits.open.sum().backward()
    assert not model.case_embedding.weight.grad[0].any()
    assert model.case_embedding.weight.grad[1].any()


def test_missing_case_ids_are_an_error(model, make_processor):
    batch = make_processor(model.config)("The person", SCHEMA)
    del batch["case_ids"]
    with pytest.raises(ValueError, match="case_ids are missing"):
        model(**batch)


def test_case_embedding_survives_saving(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(loaded.case_embedding.weight, model.case_embedding.weight)


def test_paper_has_no_case_embedding():
    assert not LDNetConfig.paper().case_embedding
