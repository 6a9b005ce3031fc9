"""`python -m ldnet.train.averaging`: the mean of the weights of several checkpoints of one origin.

Checkpoints that were trained from the same weights lie in one basin; their mean often generalises better than
any of them (Wortsman et al. 2022, "Model soups"; "Robust fine-tuning of zero-shot models").
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import AutoModel

from ldnet.modeling_ldnet import LDNetModel
from ldnet.train.cli import run_guarded
from ldnet.train.loading import load_checkpoint, resolve_encoder
from ldnet.train.parsing import parse_arguments


@dataclass
class AveragingArguments:
    """What to average."""

    models: list[str] = field(metadata={"help": "Folders or Hub ids; settings are those of the last one."})
    output: str = field(metadata={"help": "New folder to write."})
    shares: list[float] | None = field(
        default=None, metadata={"help": "Weight of each checkpoint, 1 in sum; equal by default."}
    )
    word_embeddings: str | None = field(
        default=None,
        metadata={"help": "Encoder that gives back the embeddings of its words: a folder, Hub id or minilm."},
    )


def restore_word_embeddings(model: LDNetModel, encoder: str) -> None:
    """Give a model back the word embeddings of the encoder that it began with; markers keep theirs.

    A long training by Adam moves the vectors of rare words a lot for little reason, see
    `freeze_word_embeddings`.

    Args:
        model: Changed in place.
        encoder: Folder or Hub id, or `"minilm"`.

    Raises:
        ValueError: If the encoder's embeddings are of another width, or of more words.
    """
    words = model.encoder.get_input_embeddings().weight
    old = AutoModel.from_pretrained(resolve_encoder(encoder)).get_input_embeddings().weight
    if len(old) > len(words) or old.shape[1:] != words.shape[1:]:
        raise ValueError(
            f"--word_embeddings: those of {encoder} have the shape {tuple(old.shape)}, the checkpoint's "
            f"{tuple(words.shape)}; name the encoder that it began with"
        )
    with torch.no_grad():
        words[: len(old)] = old


def average_checkpoints(
    models: Sequence[str],
    output: str | Path,
    shares: Sequence[float] | None = None,
    word_embeddings: str | None = None,
) -> None:
    """Write a checkpoint whose weights are the mean of others.

    Args:
        models: Folders or Hub ids, two or more; configuration and processor are those of the last one. One is
            enough if `word_embeddings` is given.
        output: New folder.
        shares: Weight of each checkpoint in [0, 1], 1 in sum; `None` = equal.
        word_embeddings: Encoder for `restore_word_embeddings`; `None` = those of the mean.

    Raises:
        ValueError: If shares, shapes or the output folder do not fit.
    """
    shares = [1 / len(models)] * len(models) if shares is None else list(shares)
    if len(models) < 1 + (word_embeddings is None) or len(shares) != len(models):
        raise ValueError(f"--shares: {len(shares)} for {len(models)} checkpoints; name two or more, one each")
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"--shares: {shares} are no shares; they must be 0 or more and 1 in sum")
    if Path(output).exists():
        raise ValueError(f"--output: {output} is there already; name a new folder")
    *others, (last, processor) = [load_checkpoint(name) for name in models]
    weights = [model.state_dict() for model in (*(model for model, _ in others), last)]
    mean = {}
    for name, final in weights[-1].items():
        of_all = [one.get(name) for one in weights]
        for model, weight in zip(models, of_all, strict=True):
            if weight is None or weight.shape != final.shape:
                shape = None if weight is None else tuple(weight.shape)
                raise ValueError(
                    f"{model}: {name} has the shape {shape}, that of {models[-1]} {tuple(final.shape)}; "
                    "average checkpoints of one configuration"
                )
        total = sum(share * weight.double() for share, weight in zip(shares, of_all, strict=True))
        mean[name] = total.to(final.dtype)
    last.load_state_dict(mean)
    if word_embeddings is not None:
        restore_word_embeddings(last, word_embeddings)
    last.save_pretrained(output)
    processor.save_pretrained(output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the module.

    Args:
        argv: Its arguments; the process's own by default.

    Returns:
        Exit code.
    """
    (args,) = parse_arguments((AveragingArguments,), argv, "ldnet.train.averaging", __doc__ or "")
    average_checkpoints(args.models, args.output, args.shares, args.word_embeddings)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_guarded(main))
