"""`ldnet pretrain`: train on many data sets at once."""

from collections.abc import Sequence

from ldnet.train.args import PretrainingArguments
from ldnet.train.commands.finetune import train
from ldnet.train.progress import TokensPerSecond, TrainingCurve

DESCRIPTION = """Pre-train LDNet on a mixture of record files, as a YAML file describes it.

It takes the flags of finetune, logs tokens a second, writes TensorBoard logs where tensorboard is installed
and training_curve.png into the output folder.

Examples:
  ldnet pretrain --config mixture.yaml --data_root data --encoder minilm --output_dir out
  ldnet pretrain --config mixture.yaml --model out --output_dir more --resume_from_checkpoint true
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb.

    Args:
        argv: Its arguments; the process's own by default.

    Returns:
        Exit code.
    """
    callbacks = [TokensPerSecond(), TrainingCurve()]
    return train(argv, "ldnet pretrain", DESCRIPTION, PretrainingArguments, callbacks)
