"""`ldnet finetune`: train on record files with the HF Trainer."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import TrainerCallback, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.processing.schema import Schema
from ldnet.train.adapters import add_lora, freeze_encoder, freeze_word_embeddings, merge_lora
from ldnet.train.args import DataArguments, LDNetTrainingArguments, ModelArguments
from ldnet.train.collator import LDNetCollator
from ldnet.train.commands import quiet_libraries
from ldnet.train.dataset import ExtractionDataset, Source, usual_overlap, usual_window
from ldnet.train.label_sampling import LabelSampler, foreign_labels, label_pool
from ldnet.train.loading import forget_operating_point, from_encoder, load_checkpoint, set_dropout
from ldnet.train.parsing import ArgumentsError, parse_arguments
from ldnet.train.relation_types import load_relation_types, types_from_relations
from ldnet.train.sources import (
    Part,
    compare_with_dev,
    load_source,
    load_texts,
    rename_types,
    replay_caps,
)
from ldnet.train.trainer import LDNetTrainer, Patience
from ldnet.train.word_lists import load_word_lists

logger = logging.getLogger(__name__)

DESCRIPTION = """Train LDNet on record files.

Examples:
  ldnet finetune --encoder minilm --train data/train.jsonl --dev data/dev.jsonl --output_dir out
  ldnet finetune --model out --train more/train.jsonl --dev more/dev.jsonl --config finetune.yaml --output_dir
  out2
"""


def build_model(args: ModelArguments) -> tuple[LDNetModel, LDNetProcessor]:
    """Model and processor from the arguments.

    Args:
        args: Either an encoder or a checkpoint.

    Returns:
        Both, ready to train.

    Raises:
        ArgumentsError: If neither or both are named, or a checkpoint shall have settings that it has not (the
            threshold may be chosen anew).
    """
    if (args.encoder is None) == (args.model is None):
        raise ArgumentsError(
            "encoder, model: name one of them: --encoder for a fresh start, --model to go on"
        )
    chosen = args.config_fields()
    if args.encoder is not None:
        try:
            return from_encoder(args.encoder, **(LDNetConfig.paper_fields() if args.paper else {}) | chosen)
        except StrictDataclassError as error:  # huggingface_hub wraps what the configuration says
            raise ArgumentsError(str(error.__cause__ or error).splitlines()[0]) from error
    threshold = chosen.pop("threshold", LDNetConfig.threshold)
    if args.paper:
        raise ArgumentsError(f"paper: set by the checkpoint {args.model}; leave it out")
    model, processor = load_checkpoint(args.model)
    own = {name: getattr(model.config, name) for name in chosen}
    if other := [
        f"{name} is {own[name]!r}, not {chosen[name]!r}" for name in own if own[name] != chosen[name]
    ]:
        raise ArgumentsError(f"{args.model}: {', '.join(other)}; leave out what a checkpoint has settled")
    forget_operating_point(model, processor, threshold)
    return model, processor


def load_parts(args: DataArguments) -> tuple[list[Part], list[Part]]:
    """Read and check all record files.

    Args:
        args: The files.

    Returns:
        Sources with their records, to train on and to score on.
    """
    schema = None if args.schema is None else Schema.from_any(args.schema)
    train, dev = (
        [load_source(path, args.data_root, schema, args.instruction) for path in paths]
        for paths in (args.train, args.dev)
    )
    renames = args.renames()
    if unknown := sorted(renames.keys() - {source.name for source, _ in train}):
        raise ArgumentsError(
            f"rename_types: {unknown} are not among the training files; name folders of --train"
        )
    train, dev = (
        [rename_types(*part, renames.get(part[0].name, {})) for part in parts] for parts in (train, dev)
    )
    by_name = {source.name: (source, records) for source, records in train}
    if unknown := [name for name in args.types_from_relations if name not in by_name]:
        raise ArgumentsError(
            f"types_from_relations: {unknown} are not among the training files {list(by_name)}; "
            "name folders of --train"
        )
    table = load_relation_types() if args.types_from_relations else {}
    train += [types_from_relations(*by_name[name], table) for name in args.types_from_relations]
    return train, [(source, records[: args.max_dev_records]) for source, records in dev]


def load_mixture(
    data: DataArguments, texts: Sequence[str], texts_share: float
) -> tuple[list[Part], list[Part], dict[str, int]]:
    """All that a training reads, and how much of each file an epoch takes.

    Args:
        data: The files.
        texts: Record files of which only the texts count.
        texts_share: Share of an epoch that comes from those, in (0, 1).

    Returns:
        Sources with their records, to train on and to score on, and source name -> most texts of an epoch.
    """
    train, dev = load_parts(data)
    replay = [load_source(path, data.data_root) for path in data.replay]
    taught = load_texts(texts, data.data_root, train)
    train, replay, taught = (
        compare_with_dev(parts, dev, data.skip_dev_texts) for parts in (train, replay, taught)
    )
    caps = replay_caps(train, replay, data.replay_share, "replay")
    caps |= replay_caps(train, taught, texts_share, "texts") | data.caps()
    return [*train, *replay, *taught], dev, caps


def resume_point(args: LDNetTrainingArguments) -> str | None:
    """The checkpoint to resume from: a folder, or the last whole one of the output folder for `true`."""
    wanted = args.resume_from_checkpoint
    if wanted in (None, "false", "False"):
        return None
    if wanted not in ("true", "True", "last"):
        return wanted
    folders = Path(args.output_dir).glob("checkpoint-*[0-9]")
    whole = [folder for folder in folders if is_whole(folder)]
    return str(max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]))) if whole else None


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: the state of the trainer comes last."""
    try:
        return bool(json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def choose_trained(model: LDNetModel, args: ModelArguments) -> None:
    """Set which parts of a model a training changes, and its dropout.

    Args:
        model: Changed in place.
        args: What was asked for.
    """
    if args.encoder_dropout is not None:
        set_dropout(model.encoder, args.encoder_dropout)
    if args.freeze_encoder:
        freeze_encoder(model)
    freeze_words = args.freeze_word_embeddings
    if freeze_words is None:  # new markers are all alike at first: those that stand for labels have to learn
        freeze_words = model.config.label_state == "mean"
    if freeze_words:
        freeze_word_embeddings(model)
    if args.lora_rank is not None:
        add_lora(model, args.lora_rank)


def build_trainer(
    data: DataArguments,
    model_args: ModelArguments,
    args: LDNetTrainingArguments,
    texts: Sequence[str] = (),
    texts_share: float = 0.5,
) -> LDNetTrainer:
    """Everything put together.

    Args:
        data: The files.
        model_args: The model.
        args: How to train.
        texts: Record files of which only the texts count, for teachers.
        texts_share: Share of an epoch that comes from those, in (0, 1).

    Returns:
        A trainer that can `train()`.
    """
    set_seed(args.seed)
    # Before the model: what is wrong with the files shows at once.
    train, dev, caps = load_mixture(data, texts, texts_share)
    with quiet_libraries():
        model, processor = build_model(model_args)
    choose_trained(model, model_args)
    if not dev:
        args.eval_strategy, args.load_best_model_at_end = "no", False
    callbacks: list[Any] = []
    if args.patience is not None:
        callbacks.append(Patience(args.patience))
    train_dataset = ExtractionDataset(processor, train)
    # Longer texts will be read in windows of the kind that the model knows.
    processor.window_length, processor.window_unit = usual_window(train_dataset.examples)
    processor.overlap = usual_overlap(train_dataset.examples)
    return LDNetTrainer(
        model=model,
        args=args,
        train_dataset=train_dataset,
        eval_dataset=ExtractionDataset(processor, dev, whole=True) if dev else None,
        data_collator=build_collator(data, processor, [source for source, _ in train], args.seed),
        head_learning_rate=args.head_learning_rate,
        layer_decay=args.layer_decay,
        source_cap=data.source_cap,
        source_caps=caps,
        mix_sources=data.mix_sources,
        rare_labels=data.rare_labels,
        callbacks=callbacks,
    )


def build_collator(
    data: DataArguments, processor: LDNetProcessor, sources: Sequence[Source], seed: int
) -> LDNetCollator:
    """The collator of a training.

    Args:
        data: How labels are drawn.
        processor: Of the model.
        sources: All that is trained on.
        seed: Of all draws.

    Returns:
        The collator.
    """
    sampler = LabelSampler(
        max_labels=data.max_labels,
        label_dropout=data.label_dropout,
        few_labels=data.few_labels,
        many_labels=data.many_labels,
        most_labels=data.most_labels,
        pool=label_pool(sources) if data.many_labels else {},
        foreign=foreign_labels(sources, [names.split(",") for names in data.special_domains]),
    )
    names = {} if data.other_names is None else load_word_lists(data.other_names, "label_names.yaml")
    return LDNetCollator(
        processor,
        sampler,
        other_names=names,
        other_names_share=data.other_names_share,
        instructions=load_word_lists(data.instructions, "instructions.yaml")
        if data.instruction_share
        else {},
        instruction_share=data.instruction_share,
        lower_case_share=data.lower_case_share,
        seed=seed,
    )


def train(
    argv: Sequence[str] | None,
    prog: str,
    description: str,
    arguments: type[LDNetTrainingArguments] = LDNetTrainingArguments,
    callbacks: Sequence[TrainerCallback] = (),
) -> int:
    """Parse the flags, train, save and score.

    Args:
        argv: Arguments of the verb; the process's own by default.
        prog: Its name.
        description: Shown in its help.
        arguments: How to train, with the verb's defaults.
        callbacks: Further callbacks of the trainer.

    Returns:
        Exit code.
    """
    data, model_args, args = parse_arguments(
        (DataArguments, ModelArguments, arguments), argv, prog, description
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trainer = build_trainer(data, model_args, args)
    for callback in callbacks:
        trainer.add_callback(callback)
    run_training(trainer)
    return 0


def run_training(trainer: LDNetTrainer) -> None:
    """Train or resume, save the model, and score it if there is anything to score on.

    Args:
        trainer: What `build_trainer` made.
    """
    args = trainer.args
    trainer.train(resume_from_checkpoint=resume_point(args))
    merge_lora(trainer.model)
    trainer.save_model(args.output_dir)
    trainer.save_state()
    if trainer.eval_dataset is not None:
        metrics = trainer.evaluate()
        if trainer.is_world_process_zero():
            trainer.save_metrics("eval", metrics)
            logger.info("%s", {k: round(v, 2) for k, v in metrics.items() if k.endswith("f1")})
    logger.info("saved %s", Path(args.output_dir))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb.

    Args:
        argv: Its arguments; the process's own by default.

    Returns:
        Exit code.
    """
    return train(argv, "ldnet finetune", DESCRIPTION)
