"""Arguments of the training verbs: dataclasses whose fields are flags and YAML keys alike."""

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments
from transformers.integrations import is_tensorboard_available


class ArgumentsError(ValueError):
    """Flags or YAML keys that cannot be used, one line a problem."""

    @property
    def problems(self) -> list[str]:
        """The lines."""
        return str(self).splitlines()


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
    types_from_relations: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Training files' folders that are trained on once more, as NAME+types: their mentions "
            "with the finer types that their relations tell."
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
        if wrong:
            raise ArgumentsError("\n".join(wrong))

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


NOT_IN_CONFIG = ("encoder", "model", "paper", "encoder_dropout", "freeze_encoder", "lora_rank")


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


class Parser(HfArgumentParser):
    """`HfArgumentParser` that reads YAML first and says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise ArgumentsError(f"{self.prog}: {message}; see --help")

    def known_names(self) -> list[str]:
        """All flags without dashes."""
        return [
            name[2:] for action in self._actions for name in action.option_strings if name.startswith("--")
        ]

    def expand(self, argv: Sequence[str]) -> list[str]:
        """Flags with those of `--config file.yaml` before them, where they lose against what follows.

        Args:
            argv: Arguments of the verb.

        Returns:
            Flags and values without `--config`.

        Raises:
            ArgumentsError: With every unknown key and its nearest match.
        """
        given = [flag.split("=", 1) if flag.startswith("--config=") else [flag] for flag in argv]
        argv = [part for parts in given for part in parts]
        if "--config" in argv:
            at = argv.index("--config")
            if at + 1 == len(argv):
                self.error("--config: no file is named")
            argv = [*self._flags_of(Path(argv[at + 1])), *argv[:at], *argv[at + 2 :]]
        flags = [flag[2:].split("=")[0] for flag in argv if flag.startswith("--")]
        if unknown := [flag for flag in flags if flag not in self.known_names()]:
            self._raise_unknown(unknown, "flag")  # before argparse misses the flag that was meant
        return argv

    def parse(self, argv: Sequence[str]) -> tuple[Any, ...]:
        """Dataclasses from `--config file.yaml` and flags; flags win.

        Args:
            argv: Arguments of the verb.

        Returns:
            One instance a dataclass.

        Raises:
            ArgumentsError: With every unknown key and its nearest match.
        """
        argv = self.expand(argv)
        *parsed, own, rest = self.parse_args_into_dataclasses(
            argv, return_remaining_strings=True, look_for_args_file=False
        )
        if rest:
            self._raise_unknown(rest, "argument")
        if own.config is not None:
            self.error(f"--config: a second file is named, {own.config!r}; put all keys in one file")
        return tuple(parsed)

    def _raise_unknown(self, names: list[str], kind: str) -> NoReturn:
        known = self.known_names()
        lines = []
        for name in names:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see --help for all"
            lines.append(f"{self.prog}: unknown {kind} {name!r}; {hint}")
        raise ArgumentsError("\n".join(lines))

    def _flags_of(self, path: Path) -> list[str]:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ArgumentsError(
                f"{path}: cannot be read as YAML ({str(error).splitlines()[0]}); mend the file"
            ) from error
        if not isinstance(content, dict):
            raise ArgumentsError(f"{path}: holds no keys; write for instance 'learning_rate: 0.0002'")
        known = set(self.known_names()) - {"help", "config"}
        unknown = [str(key) for key in content if key not in known]
        if unknown:
            self._raise_unknown(unknown, f"key in {path}:")
        flags: list[str] = []
        for key, value in content.items():
            if value is None and self.get_default(key) is not None:
                raise ArgumentsError(f"{path}: {key!r} has no value; write one, or leave the key out")
            if value is None or value == []:
                continue
            values = value if isinstance(value, list) else [value]
            flags += [f"--{key}", *(json.dumps(v) if isinstance(v, dict) else str(v) for v in values)]
        return flags


def make_parser(types: Sequence[type], prog: str, description: str) -> Parser:
    """A parser of flags and YAML.

    Args:
        types: Dataclasses.
        prog: Shown in help and errors.
        description: Shown in help.

    Returns:
        The parser; `--config` is among its flags.
    """
    # Abbreviations would pass misspelt flags, and flags that a later version calls otherwise.
    parser = Parser(list(types), prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--config", help="YAML file with the same keys as the flags; flags win.")
    return parser


def parse_arguments(
    types: Sequence[type], argv: Sequence[str] | None, prog: str, description: str
) -> tuple[Any, ...]:
    """Parse flags and YAML into dataclasses.

    Args:
        types: Dataclasses.
        argv: Arguments; the process's own by default.
        prog: Shown in help and errors.
        description: Shown in help.

    Returns:
        One instance a dataclass.

    Raises:
        ArgumentsError: In one line a problem.
    """
    parser = make_parser(types, prog, description)
    return parser.parse(sys.argv[1:] if argv is None else argv)
