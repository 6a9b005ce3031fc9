"""`python -m ldnet.train.averaging`: the mean of the weights of several checkpoints of one origin.

Checkpoints that were trained from the same weights lie in one basin; their mean often generalises better than
any of them (Wortsman et al. 2022, "Model soups"; "Robust fine-tuning of zero-shot models").
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
    encoder: str | None = field(
        default=None,
        metadata={"help": "Encoder to move the result towards: a folder, Hub id or minilm."},
    )
    encoder_share: float = field(default=0.5, metadata={"help": "Its weight, in [0, 1]."})


def move_towards_encoder(model: LDNetModel, encoder: str, share: float) -> None:
    """Average a model with the encoder that it began with.

    A long training wears off what the encoder knew, that of rare words first: Adam moves them by whole
    learning rates for a single text. Half-way back a model is the better start for fine-tuning.

    Args:
        model: Changed in place; its heads and the embeddings of its markers stay.
        encoder: Folder or Hub id, or `"minilm"`.
        share: Weight of the encoder, in [0, 1].

    Raises:
        ValueError: If the share is out of range, or the model has another encoder.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"--encoder_share: {share} is out of range; it must lie in [0, 1]")
    own = model.encoder.state_dict()
    words = model.encoder.get_input_embeddings().weight.data_ptr()
    for name, old in AutoModel.from_pretrained(resolve_encoder(encoder)).state_dict().items():
        weight = own.get(name)
        if weight is not None and weight.data_ptr() == words:
            weight = weight[: len(old)]  # markers stand behind the encoder's own words
        if name.startswith("pooler.") or not old.is_floating_point():
            continue
        if weight is None or weight.shape != old.shape:
            shape = None if weight is None else tuple(weight.shape)
            raise ValueError(
                f"--encoder: {name} of {encoder} has the shape {tuple(old.shape)}, the checkpoint's {shape}; "
                "name the encoder that it began with"
            )
        weight.lerp_(old.to(weight.dtype), share)


def average_checkpoints(
    models: Sequence[str],
    output: str | Path,
    shares: Sequence[float] | None = None,
    encoder: str | None = None,
    encoder_share: float = 0.5,
) -> None:
    """Write a checkpoint whose weights are the mean of others.

    Args:
        models: Folders or Hub ids, two or more; configuration and processor are those of the last one. One is
            enough if `encoder` is given.
        output: New folder.
        shares: Weight of each checkpoint in [0, 1], 1 in sum; `None` = equal.
        encoder: What the mean is moved towards, see `move_towards_encoder`; `None` = nothing.
        encoder_share: Its weight.

    Raises:
        ValueError: If shares, shapes or the output folder do not fit.
    """
    shares = [1 / len(models)] * len(models) if shares is None else list(shares)
    if len(models) < 1 + (encoder is None) or len(shares) != len(models):
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
    if encoder is not None:
        move_towards_encoder(last, encoder, encoder_share)
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
    average_checkpoints(args.models, args.output, args.shares, args.encoder, args.encoder_share)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_guarded(main))
