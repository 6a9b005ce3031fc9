"""`LDNetModel` from encoders, to files and back."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.modeling_ldnet import LDNetModel


def saved_bytes(folder):
    return b"".join(p.read_bytes() for p in Path(folder).rglob("*") if p.suffix in (".json", ".md"))


def shake(model, seed=3):
    """Give every weight a value that no initialisation gives."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def test_save_load_gives_bit_equal_logits(make_any_model, make_inputs, tmp_path, run):
    model = shake(make_any_model(rotary_base=500.0))
    inputs = make_inputs(model)
    model.save_pretrained(tmp_path)
    for loaded in (LDNetModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert not loaded.training
        assert torch.equal(loaded.link_head.inverse_frequency, model.link_head.inverse_frequency)
        assert torch.equal(loaded.kind_embedding.weight, model.kind_embedding.weight)
        left, right = run(model, inputs), run(loaded, inputs)
        for name, logits in left.link_logits._asdict().items():
            assert torch.equal(logits, getattr(right.link_logits, name)), name
        for name, found in left.links._asdict().items():
            other = getattr(right.links, name)
            assert found is other is None or torch.equal(found, other), name
        for name, found in left.loop_states._asdict().items():
            assert torch.equal(found, getattr(right.loop_states, name)), name
    assert b"ldnet_sdpa" not in saved_bytes(tmp_path)
    assert b"ldnet_eager" not in saved_bytes(tmp_path)


def test_load_reports_no_missing_or_unexpected_weights(make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    _, info = LDNetModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_float16_storage_loads_as_float32(make_model, make_inputs, tmp_path, run):
    model = shake(make_model())
    inputs = make_inputs(model)
    expected = make_model()
    expected.load_state_dict({name: tensor.half().float() for name, tensor in model.state_dict().items()})
    model.half().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "float32"}))
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    loaded = AutoModel.from_pretrained(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.link_head.inverse_frequency, expected.link_head.inverse_frequency)
    left, right = run(expected, inputs), run(loaded, inputs)
    for name, logits in left.link_logits._asdict().items():
        assert torch.equal(logits, getattr(right.link_logits, name)), name


def test_load_in_bfloat16_keeps_the_heads_in_float32(any_model, make_inputs, tmp_path, run):
    any_model.save_pretrained(tmp_path)
    loaded = LDNetModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.link_head.parameters()} == {torch.float32}
    assert {p.dtype for p in loaded.relevance_head.parameters()} == {torch.float32}
    assert {p.dtype for p in loaded.encoder.parameters()} == {torch.bfloat16}
    output = run(loaded, make_inputs(any_model))
    assert output.link_logits.open.dtype == torch.float32
    assert torch.isfinite(output.link_logits.open).all()


# Encoders


@pytest.fixture
def save_encoder(make_encoder_config, tmp_path):
    """`save_encoder(kind, **options)`: a tiny random encoder in a folder of this machine."""

    def save(kind="bert", dtype=torch.float32, **fields):
        torch.manual_seed(11)
        encoder = AutoModel.from_config(make_encoder_config(kind, **fields)).to(dtype).eval()
        encoder.save_pretrained(tmp_path / "encoder")
        return str(tmp_path / "encoder"), encoder

    return save


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert", "deberta-v2"])
def test_from_encoder_keeps_every_weight_of_the_encoder(save_encoder, kind):
    path, encoder = save_encoder(kind)
    model = LDNetModel.from_encoder(path, head_size=8)
    own = model.encoder.state_dict()
    expected = {
        name: tensor for name, tensor in encoder.state_dict().items() if not name.startswith("pooler.")
    }
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in expected.items())
    assert model.config.head_size == 8
    assert model.config.schema_attention == ("full" if kind == "deberta-v2" else "prefix")
    assert not model.kind_embedding.weight.any()


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_from_encoder_leaves_no_path_of_this_machine_in_what_is_saved(save_encoder, tmp_path, kind):
    path, _ = save_encoder(kind)
    LDNetModel.from_encoder(path, head_size=8).save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "config.json").exists()
    assert str(tmp_path).encode() not in saved_bytes(tmp_path / "model")


def test_from_encoder_of_float16_weights_is_float32(save_encoder):
    path, encoder = save_encoder(dtype=torch.float16)
    model = LDNetModel.from_encoder(path, head_size=8)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    weight = model.get_input_embeddings().weight
    assert torch.equal(weight, encoder.get_input_embeddings().weight.float())


def test_from_encoder_with_missing_weights_names_them(save_encoder):
    path, _ = save_encoder()
    file = Path(path) / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("layer.1.output.dense.weight"))
    del weights[name]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"encoder weights are missing .*layer\.1\.output\.dense\.weight.*complete"
    ):
        LDNetModel.from_encoder(path)


def test_from_encoder_takes_fields_of_the_configuration(save_encoder):
    path, _ = save_encoder()
    model = LDNetModel.from_encoder(path, **LDNetConfig.paper_fields(), head_size=8)
    assert model.config.to_dict().items() >= LDNetConfig.paper_fields().items()
    assert model.encoder.config._attn_implementation == "sdpa"


def test_every_weight_gets_a_gradient(any_model, make_inputs, make_gold):
    """An unused weight, as that of a pooler, would stop plain DistributedDataParallel."""
    inputs = make_inputs(any_model)
    any_model(**inputs, **make_gold(inputs, candidates=True)).loss.backward()
    assert [name for name, parameter in any_model.named_parameters() if parameter.grad is None] == []


def test_fresh_heads_follow_the_initializer_range_and_kinds_start_at_zero(make_encoder_config):
    torch.manual_seed(0)
    model = LDNetModel(LDNetConfig(encoder_config=make_encoder_config(), head_size=64, initializer_range=0.3))
    assert model.link_head.projection.weight.std().item() == pytest.approx(0.3, rel=0.05)
    assert not model.kind_embedding.weight.any()
    assert model.encoder.embeddings.word_embeddings.weight.std().item() == pytest.approx(0.1, rel=0.05)


def test_auto_classes_know_ldnet(make_model, tmp_path):
    model = make_model()
    model.config.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(AutoModel.from_config(config)) is LDNetModel
