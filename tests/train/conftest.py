"""Small data sets and encoders to train on."""

import json

import pytest
import torch
from transformers import AutoModel

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.schema import Schema
from ldnet.train.args import LDNetTrainingArguments

WORK = {
    "entities": ["person", "organization", "place"],
    "relations": [
        {"type": "works for", "head": ["person"], "tail": ["organization"]},
        {"type": "near", "symmetric": True},
    ],
}
OPINION = {"entities": ["aspect", {"type": "place", "description": "of the text"}], "relations": ["positive"]}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def mention(text, words, kind=None):
    start = text.index(words)
    return ({"type": kind} if kind else {}) | {"start": start, "end": start + len(words)}


def work_record(i):
    person, organization, place = f"P{i} of {'x' * (i % 4)}y", f"O{i}", f"L{i}"
    text = f"{person} works for {organization} in {place} " + "and " * (i % 3) + "."
    ends = {kind: mention(text, words, kind) for kind, words in
            (("person", person), ("organization", organization), ("place", place))}  # fmt: skip
    relations = [{"type": "works for", "head": ends["person"], "tail": ends["organization"]}]
    if i % 2:
        relations.append({"type": "near", "head": ends["place"], "tail": ends["organization"]})
    return {"id": f"work-{i}", "text": text, "entities": list(ends.values()), "relations": relations}


def opinion_record(i):
    text = f"The A{i} was good at K{i}"
    aspect = mention(text, f"A{i}", "aspect")
    positive = {"type": "positive", "head": aspect, "tail": mention(text, "good")}
    return {"text": text, "entities": [aspect, mention(text, f"K{i}", "place")], "relations": [positive]}


@pytest.fixture(scope="session")
def work():
    """Schema and 12 records, every label annotated in each."""
    return Schema.from_any(WORK), [work_record(i) for i in range(12)]


@pytest.fixture(scope="session")
def opinion():
    """Another schema, with another 'place' and 'in', and 5 records."""
    return Schema.from_any(OPINION), [opinion_record(i) for i in range(5)]


@pytest.fixture(scope="session")
def write_set():
    """`write_set(folder, schema, records, name=..., **manifest)`: the record file of a written data set."""

    def write(folder, schema, records, name="train.jsonl", **manifest):
        folder.mkdir(parents=True, exist_ok=True)
        if schema is not None:
            (folder / "schema.json").write_text(json.dumps(schema.to_dict()))
        if manifest:
            (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
        return folder / name

    return write


@pytest.fixture(scope="session")
def trainable(make_encoder_config, make_processor):
    """`trainable(**config)`: a tiny model without dropout, in training mode, and its processor."""

    def make(**config):
        torch.manual_seed(0)
        fields = {"head_size": 8, "head_dropout": 0.0, "initializer_range": 0.2}
        encoder = make_encoder_config("bert", **NO_DROPOUT)
        model = LDNetModel(LDNetConfig(encoder_config=encoder, **(fields | config)))
        return model, make_processor(model.config)

    return make


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory, make_encoder_config, tiny_tokenizer_path):
    """A folder like that of a pretrained encoder."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    AutoModel.from_config(make_encoder_config()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_tokenizer_path).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def training_arguments():
    """`training_arguments(folder, **fields)`: quiet arguments that write and score nothing by themselves."""

    def make(folder, **fields):
        quiet = {
            "eval_strategy": "no",
            "save_strategy": "no",
            "load_best_model_at_end": False,
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "dataloader_pin_memory": False,
            "logging_strategy": "no",
        }
        return LDNetTrainingArguments(output_dir=str(folder), **(quiet | fields))

    return make
