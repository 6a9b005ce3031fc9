"""`ldnet distill`: train a student with teachers (eq. 19-20); `ldnet distill store` writes what they know."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Schema
from ldnet.train.args import DataArguments, LDNetTrainingArguments, ModelArguments
from ldnet.train.commands import quiet_libraries
from ldnet.train.commands.finetune import build_trainer, run_training
from ldnet.train.distillation import DistillationCallback, TransferSettings
from ldnet.train.loading import load_checkpoint
from ldnet.train.parsing import ArgumentsError, parse_arguments
from ldnet.train.reporting import check_target, write_json
from ldnet.train.sources import load_source, load_texts
from ldnet.train.stored_teacher import StoredTeacher
from ldnet.train.teacher_store import TeacherStore
from ldnet.train.teacher_writing import TeacherWriter
from ldnet.train.teachers import LiveTeacher, Teacher, TeacherModels
from ldnet.train.trainer import LDNetTrainer

logger = logging.getLogger(__name__)

DESCRIPTION = """Train LDNet on record files and on what teachers find in them: all flags of ldnet finetune,
and --stores (written before by ldnet distill store) or --teachers (checkpoints that run along).

Examples:
  ldnet distill --stores conll04.arrow --model start --train train.jsonl --dev dev.jsonl --output_dir out
  ldnet distill --teachers large other --model start --train train.jsonl --dev dev.jsonl --output_dir out
  ldnet distill --teachers large --model start --train train.jsonl --texts many_more.jsonl --output_dir out
"""
STORE_DESCRIPTION = """Write the link probabilities of teachers for all texts of record files into a store.

Examples:
  ldnet distill store --teachers best --train train.jsonl --store conll04.arrow
  ldnet distill store --teachers seed1 seed2 seed3 --train train.jsonl --store mean.arrow --report mean.json
"""


@dataclass
class TeacherArguments:
    """Who teaches, and how much it counts."""

    stores: list[str] = field(
        default_factory=list,
        metadata={"help": "Stores of teachers; where several hold a text, their mean teaches."},
    )
    teachers: list[str] = field(
        default_factory=list,
        metadata={"help": "Checkpoints that teach while they run along; of several the mean."},
    )
    transfer_weight: float = field(
        default=10.0, metadata={"help": "Weight of the transfer loss; about 1 for --transfer_reduction sum."}
    )
    transfer_loss: Literal["mse", "kl"] = field(
        default="mse", metadata={"help": "mse: squared difference (the paper); kl: Kullback-Leibler."}
    )
    transfer_reduction: Literal["support", "mean", "sum"] = field(
        default="support",
        metadata={
            "help": "Over which cells of a text: mean over all (the paper; vanishes), over those where "
            "teacher or student sees a link (support), or their sum."
        },
    )
    support_floor: float = field(
        default=0.01, metadata={"help": "Probability from which a cell belongs to the support."}
    )
    texts: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Record files of which only the texts count: students learn from them what their "
            "teachers say."
        },
    )
    texts_share: float = field(
        default=0.5, metadata={"help": "Share of an epoch that comes from --texts, in (0, 1)."}
    )
    missing_texts: Literal["error", "skip"] = field(
        default="error",
        metadata={"help": "Texts that no store holds: refuse, or train without teacher."},
    )

    def settings(self) -> TransferSettings:
        """How student and teacher are compared."""
        return TransferSettings(
            self.transfer_weight, self.transfer_loss, self.transfer_reduction, self.support_floor
        )


@dataclass
class StoreArguments:
    """What `ldnet distill store` reads and writes."""

    teachers: list[str] = field(
        default_factory=list, metadata={"help": "Checkpoints; the mean of their probabilities is stored."}
    )
    train: list[str] = field(default_factory=list, metadata={"help": "Record files whose texts are judged."})
    store: str = field(default="", metadata={"help": "File to write; there must be none yet."})
    texts: list[str] = field(
        default_factory=list,
        metadata={"help": "Record files of which only the texts are judged, asked what --train is asked."},
    )
    data_root: str = field(default="", metadata={"help": "Folder that relative paths start from."})
    schema: str | None = field(
        default=None, metadata={"help": "As in training; default: schema.json beside each file."}
    )
    floor: float = field(default=1e-4, metadata={"help": "Smaller probabilities are dropped."})
    batch_size: int = field(default=16, metadata={"help": "Texts read together."})
    report: str | None = field(default=None, metadata={"help": "Write sizes and lost mass here as JSON."})
    use_cpu: bool = field(default=False, metadata={"help": "Read on the CPU even where there is a GPU."})

    def __post_init__(self) -> None:
        wanted = {
            "teachers": "a checkpoint with --teachers",
            "train": "record files with --train",
            "store": "the file to write with --store",
        }
        if missing := [name for name in wanted if not getattr(self, name)]:
            raise ArgumentsError("\n".join(f"{name}: none is given; name {wanted[name]}" for name in missing))


def load_teachers(names: Sequence[str]) -> TeacherModels:
    """Checkpoints that judge together.

    Args:
        names: Folders or Hub ids.

    Returns:
        The teachers.

    Raises:
        ModelError: If one cannot be loaded.
        TeacherError: If their tokenizers differ.
    """
    with quiet_libraries():
        loaded = [load_checkpoint(name) for name in names]
    return TeacherModels([model for model, _ in loaded], [processor for _, processor in loaded], names)


def make_teacher(args: TeacherArguments, processor: LDNetProcessor) -> Teacher:
    """The teacher of a student.

    Args:
        args: Stores or checkpoints.
        processor: The student's.

    Returns:
        The teacher.

    Raises:
        ValueError: If it does not fit the student.
    """
    if args.stores:
        stores = [TeacherStore.open(path) for path in args.stores]
        return StoredTeacher(stores, processor, args.missing_texts)
    return LiveTeacher(load_teachers(args.teachers), processor)


def build_student_trainer(
    data: DataArguments, model_args: ModelArguments, args: LDNetTrainingArguments, own: TeacherArguments
) -> LDNetTrainer:
    """Everything put together, with a teacher.

    Args:
        data: The files.
        model_args: The student.
        args: How to train.
        own: The teacher.

    Returns:
        A trainer that can `train()`.

    Raises:
        ArgumentsError: If no teacher is named, or both kinds.
        TeacherError: If the teacher does not fit student or texts.
    """
    if bool(own.stores) == bool(own.teachers):
        raise ArgumentsError(
            "stores, teachers: name one of them: --stores for what teachers have written, --teachers for "
            "checkpoints that run along; without a teacher use ldnet finetune"
        )
    callback_settings = own.settings()
    for path in own.stores:
        TeacherStore.open(path)  # before the model: what is wrong with them shows at once
    trainer = build_trainer(data, model_args, args, own.texts, own.texts_share)
    teacher = make_teacher(own, trainer.data_collator.processor)
    teacher.check(trainer.train_dataset.examples)
    trainer.data_collator.teacher = teacher
    # Before the callbacks that report, so that they see what it logs.
    trainer.callback_handler.callbacks.insert(0, DistillationCallback(teacher, callback_settings))
    return trainer


def write_store(args: StoreArguments) -> None:
    """Write a store and say what is in it.

    Args:
        args: What to read and write.
    """
    check_target(Path(args.store))
    check_target(None if args.report is None else Path(args.report))
    schema = None if args.schema is None else Schema.from_any(args.schema)
    parts = [load_source(path, args.data_root, schema) for path in args.train]
    parts += load_texts(args.texts, args.data_root, parts)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    writer = TeacherWriter(
        load_teachers(args.teachers),
        floor=args.floor,
        batch_size=args.batch_size,
        device=torch.device("cpu") if args.use_cpu or device is None else device,
    )
    reports = writer.write(args.store, parts)
    for name, report in reports.items():
        if name != "all" or len(reports) > 2:
            logger.info("%s: %s", name, report)
    logger.info("wrote %s: %s", args.store, reports["all"])
    if args.report is not None:
        write_json(args.report, {name: report.to_dict() for name, report in reports.items()})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb.

    Args:
        argv: Its arguments; the process's own by default. `store` in front writes a store.

    Returns:
        Exit code.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if argv[:1] == ["store"]:
        (own,) = parse_arguments((StoreArguments,), argv[1:], "ldnet distill store", STORE_DESCRIPTION)
        write_store(own)
        return 0
    data, model_args, args, teaching = parse_arguments(
        (DataArguments, ModelArguments, LDNetTrainingArguments, TeacherArguments),
        argv,
        "ldnet distill",
        DESCRIPTION,
    )
    run_training(build_student_trainer(data, model_args, args, teaching))
    return 0
