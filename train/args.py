"""Arguments of the training verbs: dataclasses whose fields are flags and YAML keys alike."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from transformers import TrainingArguments
from transformers.integrations import is_tensorboard_available

from ldnet.train.parsing import ArgumentsError


@dataclass
class DataArguments:
    """What to train and score on."""

    train: list[str] = field(metadata={"help": "Record files (.jsonl, .jsonl.gz, .json) to train on."})
    dev: list[str] = field(
        default_factory=list, metadata={"help": "Record files to score on after every epoch."}
    )
    data_root: str = field(
        default="", metadata={"help": "Folder that relative --train and --dev paths start from."}
    )
    schema: str | None = field(
        default=None,
        metadata={
            "help": "Schema for all files: inline JSON or a file. Default: schema.json beside each file."
        },
    )
    instruction: str | None = field(
        default=None,
        metadata={"help": "Text that stands before the labels; default: that of each schema, if it has one."},
    )
    max_labels: int | None = field(
        default=None, metadata={"help": "Most labels of a training batch; default all."}
    )
    label_dropout: float = field(
        default=0.0, metadata={"help": "Share of labels a batch does not ask for, in [0, 1)."}
    )
    few_labels: float = field(
        default=0.0,
        metadata={"help": "Share of training texts that see a draw of the batch's labels, in [0, 1]."},
    )
    many_labels: float = field(
        default=0.0, metadata={"help": "Share of batches that ask labels of all files, in [0, 1]."}
    )
    most_labels: int = field(default=300, metadata={"help": "Labels of such a batch."})
    special_domains: list[str] = field(
        default_factory=list,
        metadata={
            "help": "File folders of special domains, each 'a,b,c': labels that only one domain has are "
            "negatives in the texts of the others."
        },
    )
    other_names: str | None = field(
        default=None,
        metadata={"help": "YAML file: label name -> other names to draw; 'default' is the package's own."},
    )
    other_names_share: float = field(
        default=0.3, metadata={"help": "Share of labels called by another name, with --other_names."}
    )
    instructions: str = field(
        default="default",
        metadata={
            "help": "YAML file: structure -> phrasings of what is asked; 'default': the package's own."
        },
    )
    instruction_share: float = field(
        default=0.0, metadata={"help": "Share of the batches that get an instruction, in [0, 1]."}
    )
    replay: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Record files of an earlier training: a share of every epoch comes from them, so that "
            "what the checkpoint knows is not forgotten."
        },
    )
    replay_share: float = field(default=0.5, metadata={"help": "That share, in (0, 1)."})
    skip_dev_texts: bool = field(
        default=False,
        metadata={
            "help": "Leave out training texts that stand in a --dev file, word for word or nearly so; else "
            "they are counted and warned of."
        },
    )
    types_from_relations: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Training files' folders that are trained on once more, as NAME+types: their mentions "
            "with the finer types that their relations tell."
        },
    )
    rename_types: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Entity types that a file's folder means otherwise than the other files, each "
            "'folder/type=name'."
        },
    )
    lower_case_share: float = field(
        default=0.0, metadata={"help": "Share of training texts whose case the model is not told, in [0, 1]."}
    )
    source_cap: int | None = field(
        default=None, metadata={"help": "Most texts of a file in an epoch; default all."}
    )
    source_caps: list[str] = field(
        default_factory=list, metadata={"help": "The same for single files' folders, each 'name=number'."}
    )
    rare_labels: float = field(
        default=0.0,
        metadata={
            "help": "Favour rare labels of a file where caps leave texts out: n times as rare is n ** this "
            "times as likely; 0 = all alike."
        },
    )
    mix_sources: bool = field(
        default=True, metadata={"help": "Draw batches from all files together; false: from one file each."}
    )
    max_dev_records: int | None = field(
        default=None, metadata={"help": "Score on the first so many records a file."}
    )

    def __post_init__(self) -> None:
        shares = ("few_labels", "many_labels", "other_names_share", "instruction_share", "lower_case_share")
        wrong = [
            f"{name}: {getattr(self, name)} is no share; take a number from 0 to 1"
            for name in shares
            if not 0 <= getattr(self, name) <= 1
        ]
        if not 0 <= self.label_dropout < 1:
            wrong.append(f"label_dropout: {self.label_dropout} is not in [0, 1); take a small share as 0.1")
        if self.rare_labels < 0:
            wrong.append(f"rare_labels: {self.rare_labels} is below 0; 0.5 favours them, 0 does not")
        if wrong:
            raise ArgumentsError("\n".join(wrong))

    def renames(self) -> dict[str, dict[str, str]]:
        """`rename_types` by folder: type -> name.

        Raises:
            ArgumentsError: With every entry of another form.
        """
        found: dict[str, dict[str, str]] = {}
        wrong = []
        for entry in self.rename_types:
            folder, _, pair = entry.partition("/")
            old, _, new = (part.strip() for part in pair.partition("="))
            if not (folder and old and new):
                wrong.append(entry)
            found.setdefault(folder, {})[old] = new
        if wrong:
            raise ArgumentsError(
                f"rename_types: {wrong} are not of the form 'folder/type=name', as 'gum/person=any person'"
            )
        return found

    def caps(self) -> dict[str, int]:
        """`source_caps` as numbers.

        Raises:
            ArgumentsError: With every entry that is no name with a number.
        """
        pairs = [entry.rpartition("=") for entry in self.source_caps]
        if wrong := [
            entry
            for entry, (name, _, cap) in zip(self.source_caps, pairs, strict=True)
            if not name or not cap.isdecimal()
        ]:
            raise ArgumentsError(f"source_caps: {wrong} are not of the form 'name=number', as 'squad_v2=500'")
        return {name: int(cap) for name, _, cap in pairs}


NOT_IN_CONFIG = (
    "encoder",
    "model",
    "paper",
    "encoder_dropout",
    "freeze_encoder",
    "freeze_word_embeddings",
    "lora_rank",
)


@dataclass
class ModelArguments:
    """What to train: a bare encoder with fresh heads, or an LDNet checkpoint."""

    encoder: str | None = field(
        default=None,
        metadata={"help": "Hub id or folder of an encoder; 'minilm' is that of the train extra."},
    )
    model: str | None = field(
        default=None, metadata={"help": "Folder or Hub id of an LDNet checkpoint to go on from."}
    )
    encoder_dropout: float | None = field(
        default=None, metadata={"help": "Dropout in the encoder; default: as in its configuration."}
    )
    freeze_encoder: bool = field(default=False, metadata={"help": "Train the heads alone."})
    freeze_word_embeddings: bool | None = field(
        default=None,
        metadata={
            "help": "Leave the word embeddings as they are; default: unless label_state is marker, whose "
            "markers have to be learned."
        },
    )
    lora_rank: int | None = field(
        default=None,
        metadata={
            "help": "Train the encoder by adapters of this rank (peft); the saved model is a plain one."
        },
    )
    schema_attention: Literal["prefix", "full"] | None = field(
        default=None, metadata={"help": "See LDNetConfig."}
    )
    label_state: Literal["mean", "marker"] | None = field(default=None, metadata={"help": "See LDNetConfig."})
    case_embedding: bool | None = field(
        default=None,
        metadata={"help": "Tell the encoder how tokens are written; default: if its tokenizer ignores case."},
    )
    space_embedding: bool | None = field(
        default=None,
        metadata={"help": "Tell it which follow without a space; default: if its tokenizer ignores that."},
    )
    head_size: int | None = field(default=None, metadata={"help": "Width of the link heads."})
    head_activation: Literal["none", "gelu"] | None = field(
        default=None, metadata={"help": "See LDNetConfig."}
    )
    shared_links: bool | None = field(
        default=None, metadata={"help": "One matrix for all link kinds; see LDNetConfig."}
    )
    label_drop: Literal["joint", "prob", "logit", "none"] | None = field(
        default=None, metadata={"help": "Form of the gate; none = without label drop."}
    )
    relevance_target: Literal["text", "endpoint", "span"] | None = field(
        default=None, metadata={"help": "Which tokens count as relevant."}
    )
    relevance_loss: Literal["balanced", "mean"] | None = field(
        default=None, metadata={"help": "See LDNetConfig."}
    )
    relevance_weight: float | None = field(default=None, metadata={"help": "Weight of the relevance loss."})
    max_fragments: int | None = field(
        default=None, metadata={"help": "Most fragments of a mention; 1 = contiguous."}
    )
    fragment_links: Literal["as", "a2a"] | None = field(default=None, metadata={"help": "See LDNetConfig."})
    confirm_loops: bool | None = field(
        default=None, metadata={"help": "Judge every closed loop as a whole; see LDNetConfig."}
    )
    confirm_weight: float | None = field(default=None, metadata={"help": "Weight of the confirmation loss."})
    threshold: float | None = field(
        default=None, metadata={"help": "Probability from which a link is kept; the checkpoint's default."}
    )
    paper: bool = field(
        default=False, metadata={"help": "Start from LDNetConfig.paper() (arXiv 2502.12614)."}
    )

    def config_fields(self) -> dict[str, Any]:
        """Fields of `LDNetConfig` that were set."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NOT_IN_CONFIG}
        return {name: value for name, value in chosen.items() if value is not None}


@dataclass
class LDNetTrainingArguments(TrainingArguments):
    """Every `TrainingArguments` field, with defaults for small encoders, and what LDNet adds."""

    output_dir: str = field(default="", metadata={"help": "Folder for checkpoints and the final model."})
    learning_rate: float = field(default=2e-4, metadata={"help": "Learning rate of the encoder."})
    head_learning_rate: float | None = field(
        default=1e-3, metadata={"help": "Learning rate of everything but the encoder."}
    )
    layer_decay: float = field(
        default=1.0,
        metadata={"help": "Factor of the rate from each layer of the encoder to the one below, in (0, 1]."},
    )
    num_train_epochs: float = field(default=10.0, metadata={"help": "Epochs."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Warm-up steps, or their share if below 1."})
    weight_decay: float = field(default=0.01, metadata={"help": "Weight decay of AdamW."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to score: no, steps or epoch."})
    save_strategy: str = field(
        default="epoch", metadata={"help": "When to write a checkpoint: no, steps, epoch."}
    )
    save_total_limit: int | None = field(
        default=1, metadata={"help": "Checkpoints to keep (the best stays too)."}
    )
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Keep the best epoch, not the last."}
    )
    metric_for_best_model: str | None = field(
        default="f1", metadata={"help": "f1 is the mean of the tasks' F1."}
    )
    patience: int | None = field(
        default=None, metadata={"help": "Stop after so many scorings without a better one."}
    )

    def __post_init__(self) -> None:
        if not self.output_dir:
            raise ArgumentsError("output_dir: none is given; name a folder with --output_dir")
        if not 0 < self.layer_decay <= 1:
            raise ArgumentsError(
                f"layer_decay: {self.layer_decay} is not in (0, 1]; 0.8 spares the lower layers, 1 does not"
            )
        # transformers refuses --bf16 on a CPU unless it is told that the CPU is meant
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        super().__post_init__()


@dataclass
class PretrainingArguments(LDNetTrainingArguments):
    """The same with what a long training wants: logs that can be looked at while it runs."""

    include_num_input_tokens_seen: str = field(
        default="non_padding", metadata={"help": "Which tokens the log counts: all, non_padding or no."}
    )
    report_to: str | list[str] = field(
        default_factory=lambda: ["tensorboard"] if is_tensorboard_available() else [],
        metadata={"help": "Where logs go besides the terminal; tensorboard where it is installed."},
    )
