"""The paper's settings that ship: they parse, say what Table 8 says, and train a tiny random DeBERTa."""

from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModel, AutoTokenizer

from ldnet.train import args as train_args
from ldnet.train import experiments, run_cell
from ldnet.train.args import DataArguments, LDNetTrainingArguments, ModelArguments
from ldnet.train.commands import fewshot, finetune
from ldnet.train.loading import load_checkpoint
from ldnet.train.parsing import parse_arguments

PAPER = Path(train_args.__file__).parent / "configs" / "paper"
TYPES = (DataArguments, ModelArguments, LDNetTrainingArguments)
QUIET = ["--use_cpu", "--report_to", "none", "--disable_tqdm", "true", "--dataloader_pin_memory", "false"]
STAGES = ("pretrain", "finetune", "fewshot")


@pytest.fixture(scope="module")
def deberta(tmp_path_factory, make_encoder_config, tiny_tokenizer_path):
    """A folder like that of DeBERTa-v3, tiny and random."""
    folder = tmp_path_factory.mktemp("deberta")
    torch.manual_seed(0)
    AutoModel.from_config(make_encoder_config("deberta-v2")).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_tokenizer_path).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def files(tmp_path, work, write_set):
    write_set(tmp_path / "work", work[0], work[1][:3], "dev.jsonl")
    return {"train": str(write_set(tmp_path / "work", *work)), "dev": str(tmp_path / "work" / "dev.jsonl")}


def read(stage, model):
    content = yaml.safe_load((PAPER / f"{stage}_{model}.yaml").read_text())
    return {key: value for key, value in content.items() if key not in ("shots", "seeds")}


@pytest.mark.parametrize("stage", STAGES)
def test_settings_are_those_of_table_8(stage, tmp_path):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(read(stage, "deberta_v3_large")))
    flags = ["--config", str(tmp_path / "x.yaml"), "--train", "x", "--output_dir", str(tmp_path / "out")]
    _, _, args = parse_arguments(TYPES, flags, "x", "")
    assert (args.per_device_train_batch_size, args.learning_rate, args.head_learning_rate) == (4, 2e-5, 1e-4)
    assert (args.weight_decay, args.max_grad_norm, args.warmup_steps) == (0.1, 1.0, 0.1)
    epochs = {"pretrain": (3, None), "finetune": (20, 3), "fewshot": (200, 10)}
    assert (args.num_train_epochs, args.patience) == epochs[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_counterpart_differs_in_encoder_and_learning_rates_only(stage):
    large, small = read(stage, "deberta_v3_large"), read(stage, "minilm")
    assert large.keys() == small.keys()
    allowed = {"encoder", "head_size", "learning_rate", "head_learning_rate"}
    assert {key for key in large if large[key] != small[key]} == allowed & large.keys()


def test_tiny_deberta_goes_through_all_stages(deberta, files, monkeypatch, tmp_path):
    def config(stage):
        return ["--config", str(PAPER / f"{stage}_deberta_v3_large.yaml"), "--train", files["train"], *QUIET]

    one_step = ["--max_steps", "1", "--save_strategy", "no", "--load_best_model_at_end", "false"]
    pretrained = str(tmp_path / "pretrained")
    fresh = ["--encoder", deberta, "--head_size", "8", "--threshold", "0.9"]
    assert finetune.main([*config("pretrain"), *fresh, *one_step, "--output_dir", pretrained]) == 0
    model, _ = load_checkpoint(pretrained)
    assert (model.config.encoder_config.model_type, model.config.schema_attention) == ("deberta-v2", "full")
    assert (model.config.label_drop, model.config.relevance_target) == ("logit", "span")

    tuned = ["--model", pretrained, "--dev", files["dev"], "--num_train_epochs", "1"]
    assert finetune.main([*config("finetune"), *tuned, "--output_dir", str(tmp_path / "tuned")]) == 0
    assert (tmp_path / "tuned" / "eval_results.json").exists()

    monkeypatch.setattr(experiments, "start_process", lambda folder, lock: run_cell.main([str(folder)]))
    few = [*config("fewshot"), *tuned, "--shots", "1", "--seeds", "1", "--plots", "false"]
    assert fewshot.main([*few, "--output_dir", str(tmp_path / "few")]) == 0
    assert (tmp_path / "few" / "results.md").exists()
