import json
import logging
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.schema_cache import (
    SchemaCacheError,
    cached_schema_states,
    load_schema_states,
    save_schema_states,
    states_key,
)

SCHEMA = {"entities": ["person", "organization"], "relations": ["works for"]}
TEXTS = ["Ann works for the organization of Bob in London.", "A person in the place: Åse, Émile.", ""]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "labels.cache.safetensors"


@pytest.fixture
def encodings(tiny_pipeline):
    """Passes over label blocks so far."""
    calls = []
    encode = tiny_pipeline.model.encode_schema
    tiny_pipeline.model.encode_schema = lambda **tensors: calls.append(1) or encode(**tensors)
    return calls


@pytest.fixture
def fresh(tiny_model, tiny_processor):
    """A pipeline as another process has it: nothing in memory."""

    def make(model=tiny_model, processor=tiny_processor):
        return UniversalIEPipeline(model=model, processor=processor, device="cpu")

    return make


def tensors_of(processor, schema=SCHEMA):
    return processor.encode_schema(schema)


def assert_same_states(one, two):
    assert torch.equal(one.states, two.states)
    assert torch.equal(one.kinds, two.kinds)
    assert one.mentions == two.mentions
    assert all(map(torch.equal, one.projected, two.projected))
    assert torch.equal(one.cache.keep, two.cache.keep)
    assert one.cache.layers.keys() == two.cache.layers.keys()
    for layer, pair in one.cache.layers.items():
        assert all(map(torch.equal, pair, two.cache.layers[layer]))
    assert (one.cache.writing, two.cache.writing) == (False, False)


@torch.no_grad()
def test_states_come_back_bit_by_bit(tiny_model, tiny_processor, file):
    states = tiny_model.encode_schema(**tensors_of(tiny_processor))
    save_schema_states(file, states, "key")
    assert_same_states(load_schema_states(file, "key", tiny_model), states)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
def test_results_are_the_same_with_and_without_the_file(make_model, make_processor, fresh, file, kind):
    model = make_model(kind)
    processor = make_processor(model.config)
    expected = fresh(model, processor)(TEXTS, schema=SCHEMA)
    assert any(result["entities"] for result in expected)
    assert fresh(model, processor)(TEXTS, schema=SCHEMA, schema_cache=file) == expected
    written = file.read_bytes()
    assert fresh(model, processor)(TEXTS, schema=SCHEMA, schema_cache=str(file)) == expected
    assert file.read_bytes() == written


def test_layers_that_are_known_by_address_go_by_their_order(make_processor, fresh, file):
    """DistilBERT numbers no layers: what another process stored must find its layer all the same."""
    fields = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 704}
    encoder = AutoConfig.for_model("distilbert", initializer_range=0.1, **fields)

    def make():
        torch.manual_seed(0)
        config = LDNetConfig(encoder_config=encoder, head_size=8, initializer_range=0.4)
        return LDNetModel(config).eval()

    one, two = make(), make()
    processor = make_processor(one.config)
    expected = fresh(one, processor)(TEXTS, schema=SCHEMA, schema_cache=file)
    assert any(result["entities"] for result in expected)
    with torch.no_grad():
        key = states_key(two, tensors_of(processor))
        own, read = two.encode_schema(**tensors_of(processor)), load_schema_states(file, key, two)
    assert_same_states(own, read)
    assert fresh(two, processor)(TEXTS, schema=SCHEMA, schema_cache=file) == expected


def test_file_is_read_instead_of_computing(tiny_pipeline, fresh, encodings, file, caplog):
    for _ in range(2):
        fresh()(TEXTS, schema=SCHEMA, schema_cache=file)
    assert len(encodings) == 1
    assert caplog.records == []


def test_option_may_be_given_to_the_pipeline_itself(tiny_model, tiny_processor, file):
    pipe = UniversalIEPipeline(model=tiny_model, processor=tiny_processor, device="cpu", schema_cache=file)
    pipe(TEXTS[0], schema=SCHEMA)
    assert file.is_file()


def test_own_questions_of_texts_share_the_file(fresh, encodings, file, caplog):
    pipe = fresh()
    asked = [{"text": TEXTS[0], "question": question} for question in ("who?", "where?")]
    pipe(asked, schema={"question": "?"}, schema_cache=file)
    fresh()(asked, schema={"question": "what?"}, schema_cache=file)
    assert len(encodings) == 1
    assert caplog.records == []


# ---- what is not trusted


def change_weight(model):
    with torch.no_grad():
        model.encoder.get_input_embeddings().weight[5, 5] += 1e-3


def flip_last_byte(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def with_key_of(file):
    """Another file of the same kind that claims to be this one."""
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        metadata = json.loads(opened.read(length))["__metadata__"]
    tensors = {name: tensor + 1 for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata)


DAMAGE = {
    "cut off": (lambda file: file.write_bytes(file.read_bytes()[:-100]), "no whole safetensors file"),
    "cut off in its header": (lambda file: file.write_bytes(file.read_bytes()[:20]), "no whole safetensors"),
    "empty": (lambda file: file.write_bytes(b""), "no whole safetensors file"),
    "text": (lambda file: file.write_text("person, place"), "no whole safetensors file"),
    "another program's": (lambda file: save_file({"a": torch.zeros(2)}, file), "no label states"),
    "damaged": (flip_last_byte, "damaged"),
    "forged": (with_key_of, "damaged"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_file_that_is_not_whole_or_not_ours_is_replaced_with_a_note(fresh, file, caplog, kind):
    expected = fresh()(TEXTS, schema=SCHEMA, schema_cache=file)
    whole = file.read_bytes()
    damage, reason = DAMAGE[kind]
    damage(file)
    assert fresh()(TEXTS, schema=SCHEMA, schema_cache=file) == expected
    assert file.read_bytes() == whole
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(file) in record.getMessage()
    assert reason in record.getMessage()


def test_states_of_another_schema_are_replaced_with_a_note(fresh, file, caplog):
    other = SCHEMA | {"entities": ["organization", "person"]}  # in another order: labels go by their place
    expected = fresh()(TEXTS, schema=other)
    fresh()(TEXTS, schema=SCHEMA, schema_cache=file)
    assert fresh()(TEXTS, schema=other, schema_cache=file) == expected
    assert "belongs to another schema" in caplog.text


def test_states_of_other_weights_are_replaced_with_a_note(tiny_model, fresh, file, caplog):
    before = fresh()(TEXTS, schema=SCHEMA, schema_cache=file)
    change_weight(tiny_model)
    after = fresh()(TEXTS, schema=SCHEMA, schema_cache=file)
    assert after == fresh()(TEXTS, schema=SCHEMA)
    assert after != before
    assert "other weights" in caplog.text


def test_key_tells_weights_labels_precision_and_settings_apart(make_model, make_processor):
    model = make_model()
    processor = make_processor(model.config)
    tensors = tensors_of(processor)
    keys = [states_key(model, tensors), states_key(make_model(seed=1), tensors)]
    keys.append(states_key(model, tensors_of(processor, SCHEMA | {"entities": ["person"]})))
    keys.append(states_key(make_model(label_state="marker"), tensors))
    model.set_attn_implementation("eager")
    keys.append(states_key(model, tensors))
    keys.append(states_key(make_model().half(), tensors))
    assert len(set(keys)) == len(keys)


def test_key_is_that_of_the_saved_checkpoint(make_model, make_processor, tmp_path):
    model = make_model()
    tensors = tensors_of(make_processor(model.config))
    model.save_pretrained(tmp_path / "model")
    again = LDNetModel.from_pretrained(tmp_path / "model").eval()
    assert states_key(again, tensors) == states_key(LDNetModel.from_pretrained(tmp_path / "model"), tensors)


def test_load_names_the_reason(tiny_model, tiny_processor, file):
    with torch.no_grad():
        save_schema_states(file, tiny_model.encode_schema(**tensors_of(tiny_processor)), "one")
    with pytest.raises(SchemaCacheError, match="belongs to another schema, other weights"):
        load_schema_states(file, "two", tiny_model)


def test_failed_write_leaves_the_old_file(tiny_model, tiny_processor, file, monkeypatch):
    with torch.no_grad():
        states = tiny_model.encode_schema(**tensors_of(tiny_processor))
    save_schema_states(file, states, "one")
    before = file.read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_schema_states(file, states, "two")
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before


def test_missing_folder_is_named_before_anything_is_computed(fresh, encodings, tmp_path):
    with pytest.raises(FileNotFoundError, match="its folder does not exist"):
        fresh()(TEXTS, schema=SCHEMA, schema_cache=tmp_path / "nowhere" / "x.safetensors")
    assert encodings == []


def test_full_attention_has_nothing_to_keep(make_model, make_processor, fresh, file):
    model = make_model("deberta-v2")
    pipe = fresh(model, make_processor(model.config))
    with pytest.raises(ValueError, match="schema_cache: a model with schema_attention='full'"):
        pipe(TEXTS, schema=SCHEMA, schema_cache=file)


@pytest.mark.parametrize("schema", [[], {"entities": []}])
def test_empty_schema_needs_no_file(fresh, file, schema):
    assert fresh()(TEXTS[0], schema=schema, schema_cache=file) == fresh()(TEXTS[0], schema=schema)


def test_500_labels_give_the_same_with_and_without_the_file(fresh, encodings, file):
    labels = [f"person {i}" for i in range(500)]
    expected = fresh()("in", schema=labels, schema_cache=file)
    assert len(expected["entities"]) > 1
    assert fresh()("in", schema=labels, schema_cache=file) == expected
    assert len(encodings) == 1


@pytest.mark.slow
def test_500_labels_take_less_time_from_the_file(make_encoder_config, make_processor, file, capsys):
    torch.manual_seed(0)
    size = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    model = LDNetModel(LDNetConfig(encoder_config=make_encoder_config("bert", **size))).eval()
    tensors = tensors_of(make_processor(model.config), [f"person {i} in the place" for i in range(500)])
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        cached_schema_states(file, model, tensors)
        seconds.append(time.perf_counter() - start)
    with capsys.disabled():
        sys.stdout.write(
            f"\n500 labels: {seconds[0]:.2f} s to compute and store, {seconds[1]:.2f} s to read\n"
        )
    assert seconds[1] < seconds[0]
