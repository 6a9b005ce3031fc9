"""Tiny encoders, tokenizers and models for every test; nothing here touches the network or user caches."""

import os
import shutil
import tempfile
from pathlib import Path

# Read when the libraries are imported, hence before those imports.
SCRATCH = Path(tempfile.mkdtemp(prefix="ldnet-tests-"))
os.environ |= {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HOME": str(SCRATCH / "huggingface"),
    "HF_MODULES_CACHE": str(SCRATCH / "modules"),
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers  # noqa: E402
from transformers import AutoConfig, PreTrainedTokenizerFast  # noqa: E402

from ldnet.configuration_ldnet import LDNetConfig  # noqa: E402
from ldnet.modeling_ldnet import LDNetModel  # noqa: E402
from ldnet.processing.pipeline_ldnet import UniversalIEPipeline  # noqa: E402
from ldnet.processing.processing_ldnet import LDNetProcessor  # noqa: E402

hypothesis.settings.register_profile("house", deadline=None)  # two shared cores make single examples slow
hypothesis.settings.load_profile("house")
torch.set_num_threads(1)

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("person", "organization", "place", "works", "for", "the", "in", "of", "and", "##s", "##ing", "##ed")
CHARACTERS = [chr(c) for block in (range(0x21, 0x7F), range(0xA1, 0x180)) for c in block]
ENCODER_KINDS = ("bert", "roberta", "deberta-v2", "modernbert")
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 514,  # RoBERTa counts from 2
    "pad_token_id": 0,
    "initializer_range": 0.1,
}
# Spreads the scores over (0, 1): comparing saturated or equal scores would prove nothing.
HEAD_INITIALIZER_RANGE = 0.4
CONFIRMATION_BIAS = 3.0
EXTRA = {
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 32},
    "modernbert": {
        "global_attn_every_n_layers": 2,
        "local_attention": 32,
        "cls_token_id": 2,
        "sep_token_id": 3,
    }
    | {"bos_token_id": 2, "eos_token_id": 3},
}


def pytest_unconfigure(config):
    shutil.rmtree(SCRATCH, ignore_errors=True)


def build_tokenizer() -> PreTrainedTokenizerFast:
    pieces = dict.fromkeys([*SPECIALS, *WORDS, *CHARACTERS, *(f"##{c}" for c in CHARACTERS)])
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    specials = dict(zip(names, SPECIALS, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **specials)


@pytest.fixture
def tiny_tokenizer():
    """WordPiece over Latin characters and a few words: any Latin text has tokens, other text is `[UNK]`."""
    return build_tokenizer()


@pytest.fixture(scope="session")
def tiny_tokenizer_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def make_encoder_config():
    """`make_encoder_config(kind, **fields)`: a tiny encoder of one of the `ENCODER_KINDS`."""

    def make(kind="bert", **fields):
        return AutoConfig.for_model(kind, **(TINY | EXTRA.get(kind, {}) | {"vocab_size": 704} | fields))

    return make


@pytest.fixture(params=ENCODER_KINDS)
def encoder_config(request, make_encoder_config):
    """Every kind of encoder in turn."""
    return make_encoder_config(request.param)


@pytest.fixture(scope="session")
def make_model(make_encoder_config):
    """`make_model(kind, seed=0, **config)`: a tiny random `LDNetModel` in evaluation mode."""

    def make(kind="bert", *, seed=0, **config):
        torch.manual_seed(seed)
        fields = {"head_size": 8, "confirm_size": 8, "initializer_range": HEAD_INITIALIZER_RANGE} | config
        model = LDNetModel(LDNetConfig(encoder_config=make_encoder_config(kind), **fields)).eval()
        if model.config.confirm_loops:  # most loops pass, so that results hold something to compare
            torch.nn.init.normal_(model.confirmation_head.label.weight, std=0.05)
            torch.nn.init.constant_(model.confirmation_head.label_bias.bias, CONFIRMATION_BIAS)
        return model

    return make


@pytest.fixture(scope="session")
def make_processor(tiny_tokenizer_path):
    """`make_processor(config)`: a processor that fits a model's configuration."""

    def make(config):
        return LDNetProcessor.for_config(tiny_tokenizer_path, config)

    return make


@pytest.fixture
def tiny_model(make_model):
    return make_model()


@pytest.fixture
def tiny_processor(tiny_model, make_processor):
    return make_processor(tiny_model.config)


@pytest.fixture
def tiny_pipeline(tiny_model, tiny_processor):
    return UniversalIEPipeline(model=tiny_model, processor=tiny_processor, device="cpu")
