import pytest
import torch

from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.prompt import Marker


def test_add_markers_starts_new_embeddings_from_a_known_one(make_model, tmp_path):
    model = make_model()
    before = model.get_input_embeddings().weight.detach().clone()
    model.add_markers(len(before) + 7, like_token_id=2)
    weight = model.get_input_embeddings().weight
    assert torch.equal(weight[: len(before)], before)
    assert torch.equal(weight[len(before) :], before[2].expand(7, -1))
    assert model.config.encoder_config.vocab_size == len(before) + 7
    model.save_pretrained(tmp_path)
    assert torch.equal(LDNetModel.from_pretrained(tmp_path).get_input_embeddings().weight, weight)


def test_add_markers_with_room_to_spare_changes_no_known_embedding(make_model):
    model = make_model()
    before = model.get_input_embeddings().weight.detach().clone()
    model.add_markers(len(before) - 5, like_token_id=2)
    assert torch.equal(model.get_input_embeddings().weight, before)
    assert model.config.encoder_config.vocab_size == len(before)


def test_add_markers_in_spare_rows_starts_them_from_a_known_one_too(make_model):
    model = make_model()
    before = model.get_input_embeddings().weight.detach().clone()
    markers = [600 + i for i in range(len(Marker))]
    model.add_markers(607, like_token_id=2, marker_ids=markers)
    weight = model.get_input_embeddings().weight
    assert weight.shape == before.shape
    assert torch.equal(weight[markers], before[2].expand(7, -1))
    others = [i for i in range(len(before)) if i not in markers]
    assert torch.equal(weight[others], before[others])


def test_set_attn_implementation_without_prefix_form_says_what_works(make_model):
    with pytest.raises(
        ValueError, match="'flex_attention' does not work with prefix attention; use 'sdpa' or 'eager'"
    ):
        make_model().set_attn_implementation("flex_attention")
