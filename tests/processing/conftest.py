"""Processors over tokenizers of three families: cased words, words without accents, bytes."""

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ldnet.processing.processing_ldnet import LDNetProcessor

SAMPLE = "Jerry Smith joined Acme. 東京 に 住む ภาษาไทย مرحبا person works for organization 🙂"


def save_uncased(folder):
    """WordPiece that lowers and strips accents, as most English encoders do."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(0x21, 0x7F)]
    pieces = dict.fromkeys([*specials, *letters, *(f"##{c}" for c in letters)])
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(
        tokenizer_object=backend, **dict(zip(names, specials, strict=True))
    ).save_pretrained(folder)


def save_byte_level(folder):
    """BPE over bytes: a character outside ASCII is several tokens with one offset."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    names = ("pad_token", "unk_token", "bos_token", "eos_token", "mask_token")
    specials = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[AddedToken(name, special=True) for name in specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([SAMPLE] * 3, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=backend, **dict(zip(names, specials, strict=True))
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def processors(tmp_path_factory, tiny_tokenizer_path):
    """Kind -> `LDNetProcessor` of a tokenizer of this kind."""
    paths = {"words": tiny_tokenizer_path}
    for kind, save in (("uncased", save_uncased), ("bytes", save_byte_level)):
        paths[kind] = str(tmp_path_factory.mktemp(kind))
        save(paths[kind])
    return {kind: LDNetProcessor.from_tokenizer(path) for kind, path in paths.items()}


@pytest.fixture(scope="session")
def words_of():
    """`words_of(processor, rows)`: token ids as readable tokens."""

    def convert(processor, rows):
        return [processor.tokenizer.convert_ids_to_tokens(list(row)) for row in rows]

    return convert
