"""`LDNetConfig`: defaults that follow the encoder, checks, and files."""

import json

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, BertConfig, ModernBertConfig

from ldnet.configuration_ldnet import OFFSET_POSITION_ENCODERS, PREFIX_ENCODERS, LDNetConfig

# Every field at a value that is not its default.
OTHER_VALUES = {
    "schema_attention": "full",
    "label_state": "marker",
    "case_embedding": True,
    "space_embedding": True,
    "head_size": 6,
    "head_activation": "gelu",
    "head_dropout": 0.25,
    "rotary_base": 500.0,
    "shared_links": True,
    "label_drop": "prob",
    "relevance_target": "endpoint",
    "relevance_loss": "mean",
    "relevance_weight": 0.125,
    "max_fragments": 3,
    "fragment_links": "a2a",
    "confirm_loops": False,
    "confirm_size": 6,
    "full_weight_tokens": 7,
    "confirm_weight": 0.125,
    "threshold": 0.375,
    "initializer_range": 0.01,
}


@pytest.mark.parametrize(
    ("kind", "schema_attention"),
    [("bert", "prefix"), ("roberta", "prefix"), ("modernbert", "prefix"), ("deberta-v2", "full")],
)
def test_config_defaults_follow_the_encoder(make_encoder_config, kind, schema_attention):
    config = LDNetConfig(encoder_config=make_encoder_config(kind))
    assert (config.schema_attention, config.label_state) == (schema_attention, "mean")


def test_config_without_encoder_is_bert():
    assert isinstance(LDNetConfig().encoder_config, BertConfig)


def test_config_makes_the_encoder_config_class_from_a_dict():
    config = LDNetConfig(
        encoder_config={"model_type": "modernbert", "hidden_size": 48, "num_attention_heads": 4}
    )
    assert isinstance(config.encoder_config, ModernBertConfig)
    assert config.encoder_config.hidden_size == 48


def test_paper_is_eq_15_to_18_on_one_sequence():
    config = LDNetConfig.paper(encoder_config=BertConfig())
    assert {name: getattr(config, name) for name in LDNetConfig.paper_fields()} == {
        "schema_attention": "full",
        "label_state": "marker",
        "case_embedding": False,
        "space_embedding": False,
        "head_activation": "gelu",
        "label_drop": "logit",
        "relevance_target": "span",
        "relevance_loss": "mean",
        "relevance_weight": 1.0,
        "fragment_links": "a2a",
        "confirm_loops": False,
        "threshold": 0.5,
    }


def test_paper_takes_other_fields():
    config = LDNetConfig.paper(label_drop="prob", max_fragments=2)
    assert (config.label_drop, config.max_fragments, config.relevance_target) == ("prob", 2, "span")


def test_other_values_cover_every_field():
    fields = set(LDNetConfig.__annotations__) - {"encoder_config"}
    assert set(OTHER_VALUES) == fields
    default = LDNetConfig()
    assert not [name for name, value in OTHER_VALUES.items() if getattr(default, name) == value]


def test_config_save_load_keeps_every_field(tmp_path, make_encoder_config):
    config = LDNetConfig(encoder_config=make_encoder_config("roberta"), **OTHER_VALUES)
    config.save_pretrained(tmp_path)
    for loaded in (LDNetConfig.from_pretrained(tmp_path), LDNetConfig.from_dict(config.to_dict())):
        assert {name: getattr(loaded, name) for name in OTHER_VALUES} == OTHER_VALUES
        assert type(loaded.encoder_config) is type(config.encoder_config)
        assert loaded.encoder_config.to_dict() == config.encoder_config.to_dict()


def test_config_save_load_keeps_choices_made_for_the_encoder(tmp_path, make_encoder_config):
    LDNetConfig(encoder_config=make_encoder_config("deberta-v2")).save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, LDNetConfig)
    assert loaded.schema_attention == "full"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("head_size", 3, "LDNetConfig: head_size is 3; rotary angles need an even number of at least 2"),
        ("head_size", 0, "head_size is 0"),
        ("head_dropout", 1.0, r"head_dropout is 1.0; it must lie in \[0, 1\)"),
        ("head_dropout", -0.1, "head_dropout is -0.1"),
        ("rotary_base", -1.0, "rotary_base is -1.0; it must be a positive number"),
        ("max_fragments", 0, "max_fragments is 0; it must be at least 1"),
        ("threshold", 1.0, r"threshold is 1.0; it must lie in \(0, 1\)"),
        ("threshold", 0.0, "threshold is 0.0"),
        ("threshold", float("nan"), "threshold is nan"),
        ("relevance_weight", -0.5, "relevance_weight is -0.5; it must be 0 or a positive number"),
        ("relevance_weight", float("nan"), "relevance_weight is nan"),
        ("confirm_weight", -0.5, "confirm_weight is -0.5; it must be 0 or a positive number"),
        ("confirm_weight", float("inf"), "confirm_weight is inf"),
        ("confirm_size", 0, "confirm_size is 0; it must be at least 1"),
        ("full_weight_tokens", 0, "full_weight_tokens is 0; it must be at least 1 or None"),
        (
            "label_drop",
            "jont",
            r"'label_drop' expected one of \('joint', 'prob', 'logit', 'none'\), got jont",
        ),
        ("relevance_target", "spans", "'relevance_target' expected one of"),
        ("relevance_loss", "sum", "'relevance_loss' expected one of"),
        ("fragment_links", "ta", "'fragment_links' expected one of"),
        ("schema_attention", "suffix", "schema_attention"),
        ("label_state", "max", "label_state"),
        ("head_size", "64", r"'head_size' expected int, got str \(value: '64'\)"),
        ("threshold", "0.5", "'threshold' expected float, got str"),
    ],
)
def test_config_with_a_wrong_value_names_it(field, value, message):
    with pytest.raises(StrictDataclassError, match=message):
        LDNetConfig(**{field: value})


def test_config_with_a_wrong_value_in_its_file_names_it(tmp_path):
    LDNetConfig().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_fragments": -2}))
    with pytest.raises(StrictDataclassError, match="max_fragments is -2"):
        LDNetConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("as_dict", [False, True])
def test_prefix_attention_for_an_encoder_without_it_says_what_to_do(make_encoder_config, as_dict):
    encoder = make_encoder_config("deberta-v2")
    message = (
        r"'prefix' does not work with a 'deberta-v2' encoder, only with bert, .*; use schema_attention='full'"
    )
    with pytest.raises(StrictDataclassError, match=message):
        LDNetConfig(encoder_config=encoder.to_dict() if as_dict else encoder, schema_attention="prefix")


@pytest.mark.parametrize(
    ("kind", "fields", "length"),
    [
        ("bert", {"max_position_embeddings": 512}, 512),
        ("roberta", {"max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ("roberta", {"max_position_embeddings": 514, "pad_token_id": 0}, 513),
        ("modernbert", {"max_position_embeddings": 8192}, 8192),
    ],
)
def test_max_text_length_leaves_out_positions_before_the_first_token(
    make_encoder_config, kind, fields, length
):
    assert LDNetConfig(encoder_config=make_encoder_config(kind, **fields)).max_text_length == length


def test_get_text_config_is_the_encoder_so_that_resizing_writes_its_vocabulary():
    config = LDNetConfig()
    assert config.get_text_config() is config.encoder_config
    assert config.get_text_config(decoder=True) is config


def test_encoders_whose_positions_are_offset_are_known_by_their_model_type():
    for kind in sorted(PREFIX_ENCODERS | OFFSET_POSITION_ENCODERS):
        assert AutoConfig.for_model(kind).model_type == kind
