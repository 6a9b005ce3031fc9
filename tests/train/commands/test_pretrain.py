import json

import pytest
import yaml

from ldnet.train import cli
from ldnet.train.commands.pretrain import main
from ldnet.train.parsing import ArgumentsError

QUIET = ("--use_cpu", "true", "--disable_tqdm", "true", "--dataloader_pin_memory", "false")


@pytest.fixture
def config(tmp_path, work, opinion, write_set, encoder_folder):
    """A mixture of two sets with everything that only mixtures use."""
    keys = {
        "encoder": encoder_folder,
        "head_size": 8,
        "train": [str(write_set(tmp_path / name, *data)) for name, data in (("work", work), ("op", opinion))],
        "source_caps": ["op=3"],
        "max_labels": 4,
        "few_labels": 0.5,
        "many_labels": 0.5,
        "most_labels": 6,
        "special_domains": ["op"],
        "other_names": "default",
        "instruction_share": 0.5,
        "max_steps": 3,
        "logging_steps": 1,
        "per_device_train_batch_size": 4,
    }
    file = tmp_path / "mixture.yaml"
    file.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return ["--config", str(file), "--output_dir", str(tmp_path / "out"), *QUIET]


def test_pretrain_writes_model_log_and_curve(config, tmp_path):
    assert main(config) == 0
    out = tmp_path / "out"
    assert (out / "model.safetensors").exists()
    assert (out / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    log = json.loads((out / "trainer_state.json").read_text())["log_history"]
    steps = [line for line in log if "loss" in line]
    assert len(steps) == 3
    assert all(line["tokens_per_second"] > 0 for line in steps)


def test_pretrain_is_a_verb_of_the_command_line(capsys):
    assert cli.main(["pretrain", "--help"]) == 0
    assert "ldnet pretrain --config" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--few_labels", "7", "few_labels: 7.0 is no share; take a number from 0 to 1"),
        ("--label_dropout", "1", r"label_dropout: 1.0 is not in \[0, 1\)"),
        ("--source_caps", "op", r"source_caps: \['op'\] are not of the form 'name=number'"),
        (
            "--types_from_relations",
            "wrk",
            r"types_from_relations: \['wrk'\] are not among the training files",
        ),
    ],
)
def test_names_that_mean_nothing_are_one_line(config, flag, value, message):
    with pytest.raises(ArgumentsError, match=message):
        main([*config, flag, value])


def test_types_from_relations_add_a_source(config, tmp_path, capsys):
    assert main([*config, "--types_from_relations", "work", "--max_steps", "1"]) == 0
