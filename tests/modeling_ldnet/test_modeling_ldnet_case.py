import pytest
import torch

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.modeling_ldnet import NUM_CASES
from ldnet.processing.alignment import TokenCase

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


@pytest.mark.parametrize("case_embedding", [False, True])
def test_space_before_a_token_changes_scores(make_model, make_processor, case_embedding):
    model = make_model(space_embedding=True, case_embedding=case_embedding)
    processor = make_processor(model.config)
    together, apart = processor(["the person.", "the person ."], SCHEMA)["input_ids"]
    assert torch.equal(together, apart)
    together, apart = (logits(model, processor, text) for text in ("the person.", "the person ."))
    assert largest_difference(together, apart) == 0  # untrained vectors say nothing
    torch.nn.init.normal_(model.space_embedding.weight[1:])
    together, apart = (logits(model, processor, text) for text in ("the person.", "the person ."))
    assert largest_difference(together, apart) > 1e-3


def test_model_and_processor_count_the_same_cases():
    assert len(TokenCase) == NUM_CASES


def test_case_and_space_do_not_mix(make_model, make_processor):
    both = make_model(space_embedding=True, case_embedding=True)
    torch.nn.init.normal_(both.case_embedding.weight[1:])
    torch.nn.init.normal_(both.space_embedding.weight[1:])
    case = both.case_embedding.weight[torch.arange(10) % 5]
    space = both.space_embedding.weight[torch.arange(10) // 5]
    ids = torch.full((1, 10), 7)
    embedded = both._token_inputs(ids, torch.arange(10)[None])["inputs_embeds"]
    assert torch.allclose(embedded[0], both.get_input_embeddings()(ids)[0] + case + space)


def test_missing_case_ids_are_an_error(model, make_processor):
    batch = make_processor(model.config)("The person", SCHEMA)
    del batch["case_ids"]
    with pytest.raises(ValueError, match="case_ids are missing"):
        model(**batch)


def test_case_embedding_survives_saving(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(loaded.case_embedding.weight, model.case_embedding.weight)


def test_paper_is_told_neither_case_nor_space():
    assert not LDNetConfig.paper().reads_case_ids
    assert LDNetConfig(space_embedding=True).reads_case_ids
