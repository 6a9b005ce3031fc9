import json

import pytest
import yaml

from ldnet.train.args import DataArguments, LDNetTrainingArguments, ModelArguments
from ldnet.train.parsing import ArgumentsError, parse_arguments

TYPES = (DataArguments, ModelArguments, LDNetTrainingArguments)
PROG = "ldnet finetune"


@pytest.fixture
def parse(tmp_path):
    """`parse("--flag", value, ..., keys={...})`: the three dataclasses; `keys` go into a YAML file."""

    def run(*flags, keys=None, required=True):
        argv = ["--train", "a.jsonl", "--output_dir", str(tmp_path / "out"), "--use_cpu"] if required else []
        if keys is not None:
            (tmp_path / "config.yaml").write_text(keys if isinstance(keys, str) else yaml.safe_dump(keys))
            argv += ["--config", str(tmp_path / "config.yaml")]
        return parse_arguments(TYPES, [*argv, *map(str, flags)], PROG, "About it.")

    return run


def test_parse_gives_one_instance_a_dataclass(parse):
    data, model, training = parse("--encoder", "minilm")
    assert (data.train, data.dev, data.schema) == (["a.jsonl"], [], None)
    assert (model.encoder, model.model, model.config_fields()) == ("minilm", None, {})
    assert training.head_learning_rate == 1e-3
    assert isinstance(training, LDNetTrainingArguments)


def test_every_training_argument_and_own_field_is_a_flag(parse):
    data, model, training = parse(
        *("--dev", "b.jsonl", "c.jsonl", "--max_labels", 7, "--label_dropout", 0.1, "--schema", '["person"]'),
        *("--head_size", 16, "--label_drop", "none", "--schema_attention", "full", "--paper"),
        *("--learning_rate", "3e-5", "--lr_scheduler_type", "cosine", "--patience", 2, "--seed", 7),
        *("--gradient_accumulation_steps", 4, "--no_load_best_model_at_end", "--head-learning-rate", 0.01),
    )
    assert (data.dev, data.max_labels, data.label_dropout) == (["b.jsonl", "c.jsonl"], 7, 0.1)
    assert data.schema == '["person"]'
    assert model.config_fields() == {"head_size": 16, "label_drop": "none", "schema_attention": "full"}
    assert model.paper is True
    assert (training.learning_rate, training.patience, training.seed) == (3e-5, 2, 7)
    assert training.lr_scheduler_type == "cosine"
    assert (training.gradient_accumulation_steps, training.load_best_model_at_end) == (4, False)
    assert training.head_learning_rate == 0.01


def test_yaml_holds_the_same_keys(parse, tmp_path):
    keys = {
        "train": ["a.jsonl", "b.jsonl"],
        "dev": "c.jsonl",
        "encoder": "minilm",
        "learning_rate": 0.0003,
        "num_train_epochs": 2,
        "paper": False,
        "load_best_model_at_end": False,
        "use_cpu": True,
        "output_dir": str(tmp_path / "x"),
        "lr_scheduler_kwargs": {"num_cycles": 2},
        "patience": None,
        "schema": None,
    }
    data, model, training = parse(keys=keys, required=False)
    assert (data.train, data.dev) == (["a.jsonl", "b.jsonl"], ["c.jsonl"])
    assert (model.encoder, model.paper) == ("minilm", False)
    assert (training.learning_rate, training.num_train_epochs) == (0.0003, 2)
    assert (training.load_best_model_at_end, training.patience) == (False, None)
    assert training.lr_scheduler_kwargs == {"num_cycles": 2}


def test_number_that_yaml_reads_as_text_is_a_number(parse):
    assert parse(keys="learning_rate: 3e-5\ndev: []\n")[2].learning_rate == 3e-5


@pytest.mark.parametrize("equals", [False, True])
def test_flag_wins_over_yaml_wherever_it_stands(tmp_path, equals):
    (tmp_path / "c.yaml").write_text("learning_rate: 0.5\nseed: 5\ntrain: [x.jsonl, y.jsonl]\n")
    config = [f"--config={tmp_path}/c.yaml"] if equals else ["--config", f"{tmp_path}/c.yaml"]
    own = ["--learning_rate", "0.1", "--train", "a.jsonl", "--output_dir", str(tmp_path), "--use_cpu"]
    for argv in ([*config, *own], [*own, *config]):
        data, _, training = parse_arguments(TYPES, argv, PROG, "")
        assert (training.learning_rate, training.seed, data.train) == (0.1, 5, ["a.jsonl"])


def test_unknown_yaml_keys_are_all_named_with_the_nearest_match(parse, tmp_path):
    with pytest.raises(ArgumentsError) as caught:
        parse(keys={"lerning_rate": 1, "seed": 2, "xyzzy": 3, "config": "x", 5: 6})
    where = f"{PROG}: unknown key in {tmp_path}/config.yaml:"
    assert caught.value.problems == [
        f"{where} 'lerning_rate'; did you mean 'learning_rate'?",
        f"{where} 'xyzzy'; see --help for all",
        f"{where} 'config'; did you mean 'config'?",
        f"{where} '5'; see --help for all",
    ]


@pytest.mark.parametrize(
    ("flags", "problems"),
    [
        (["--lerning_rate", "1"], ["unknown flag 'lerning_rate'; did you mean 'learning_rate'?"]),
        (["--max_label=3"], ["unknown flag 'max_label'; did you mean 'max_labels'?"]),
        (["--encod", "x"], ["unknown flag 'encod'; did you mean 'encoder'?"]),
        (
            ["--learn", "1", "--xyzzy"],
            ["unknown flag 'learn'; see --help for all", "unknown flag 'xyzzy'; see --help for all"],
        ),
    ],
)
def test_unknown_flags_are_all_named_with_the_nearest_match(parse, flags, problems):
    with pytest.raises(ArgumentsError) as caught:
        parse(*flags)
    assert caught.value.problems == [f"{PROG}: {problem}" for problem in problems]


def test_misspelt_required_flag_is_named_rather_than_missed(parse):
    with pytest.raises(ArgumentsError, match="unknown flag 'trian'; did you mean 'train'"):
        parse("--trian", "a.jsonl", required=False)


def test_stray_argument_is_named():
    with pytest.raises(ArgumentsError, match="unknown argument 'stray'"):
        parse_arguments(TYPES, ["stray", "--train", "a", "--output_dir", "x"], PROG, "")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seed", "many"], "argument --seed: invalid int value: 'many'"),
        (["--label_drop", "all"], "argument --label_drop/--label-drop: invalid choice: 'all'"),
        (["--seed"], "argument --seed: expected one argument"),
        (["--config"], "--config: no file is named"),
    ],
)
def test_bad_value_is_one_line(parse, flags, message):
    with pytest.raises(ArgumentsError) as caught:
        parse(*flags)
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


def test_required_arguments_are_named(tmp_path):
    with pytest.raises(ArgumentsError, match="ldnet finetune: the following arguments are required: --train"):
        parse_arguments(TYPES, ["--output_dir", str(tmp_path)], PROG, "")
    with pytest.raises(ArgumentsError, match="output_dir: none is given; name a folder with --output_dir"):
        parse_arguments(TYPES, ["--train", "a.jsonl"], PROG, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "config.yaml: cannot be read as YAML (while parsing"),
        ("- seed\n", "config.yaml: holds no keys; write for instance 'learning_rate: 0.0002'"),
        ("", "config.yaml: holds no keys"),
        ("learning_rate:\n", "config.yaml: 'learning_rate' has no value; write one, or leave the key out"),
    ],
)
def test_unusable_yaml_is_one_line(parse, content, message):
    with pytest.raises(ArgumentsError) as caught:
        parse(keys=content)
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


def test_missing_or_second_config_is_an_error(parse, tmp_path):
    with pytest.raises(ArgumentsError, match=r"none.yaml: cannot be read as YAML .*No such file"):
        parse("--config", tmp_path / "none.yaml")
    with pytest.raises(ArgumentsError, match="--config: a second file is named"):
        parse("--config", "other.yaml", keys={"seed": 1})


def test_help_shows_the_examples_and_every_field(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_arguments(TYPES, ["--help"], PROG, "About it.")
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "About it." in out
    for flag in ("--train", "--encoder", "--head_learning_rate", "--warmup_steps", "--config"):
        assert flag in out


def test_defaults_survive_a_round_trip_through_json(parse):
    training = parse()[2]
    assert json.loads(training.to_json_string())["head_learning_rate"] == 1e-3


def test_types_to_rename_are_read_by_folder():
    data = DataArguments(train=["a"], rename_types=["gum/person=any person", "gum/place = site", "b/x=y"])
    assert data.renames() == {"gum": {"person": "any person", "place": "site"}, "b": {"x": "y"}}
    wrong = DataArguments(train=["a"], rename_types=["gum/person", "person=x", "gum/a=b"])
    with pytest.raises(
        ArgumentsError, match=r"rename_types: \['gum/person', 'person=x'\] are not of the form"
    ):
        wrong.renames()


def test_rare_labels_are_not_disfavoured():
    with pytest.raises(ArgumentsError, match=r"rare_labels: -1 is below 0"):
        DataArguments(train=["a"], rare_labels=-1)
