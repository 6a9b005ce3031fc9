import json
import os
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback

from ldnet.configuration_ldnet import LDNetConfig
from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.schema import Schema
from ldnet.train import cli
from ldnet.train.args import DataArguments, LDNetTrainingArguments, ModelArguments
from ldnet.train.commands.finetune import build_model, build_trainer, load_parts, main, resume_point
from ldnet.train.data import RecordError
from ldnet.train.loading import ModelError, load_pipeline
from ldnet.train.parsing import ArgumentsError

QUIET = ["--use_cpu", "--report_to", "none", "--disable_tqdm", "true", "--dataloader_pin_memory", "false"]
# Counts the steps of this process, and may kill it while a checkpoint is half written.
CHILD = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from ldnet.train.commands.finetune import main
from ldnet.train.trainer import LDNetTrainer
kill_at, steps = int(os.environ["KILL_AT"]), []
save, train = LDNetTrainer._save_rng_state, LDNetTrainer.training_step
def save_or_die(self, folder):
    if self.state.global_step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, folder)
def count(self, *args, **kwargs):
    steps.append(self.state.global_step)
    return train(self, *args, **kwargs)
LDNetTrainer._save_rng_state, LDNetTrainer.training_step = save_or_die, count
main(sys.argv[1:])
print("steps", *steps)
"""


@pytest.fixture
def files(tmp_path, work, write_set):
    """Record files of the 'work' set."""
    folder = tmp_path / "work"
    write_set(folder, work[0], work[1][:5], "dev.jsonl")
    return {"train": str(write_set(folder, *work)), "dev": str(folder / "dev.jsonl")}


@pytest.fixture
def checkpoint(trainable, tmp_path):
    """A folder with a tiny model that finds something."""
    model, processor = trainable(threshold=0.4, confirm_loops=False)
    UniversalIEPipeline(model=model, processor=processor, device="cpu").save_pretrained(
        tmp_path / "checkpoint"
    )
    return str(tmp_path / "checkpoint")


@pytest.fixture
def flags(files, encoder_folder, tmp_path):
    """Flags that train one epoch from the encoder."""
    start = ["--encoder", encoder_folder, "--head_size", "8", "--num_train_epochs", "1"]
    return [*start, "--train", files["train"], "--output_dir", str(tmp_path / "out"), *QUIET]


@pytest.fixture
def run_child(tmp_path):
    """`run_child(*command, **env)`: Python in a fresh process."""

    def run(*command, **env):
        done = subprocess.run(
            [sys.executable, *command],
            env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def scores(folder):
    found = json.loads((folder / "eval_results.json").read_text())
    return {key: value for key, value in found.items() if key.endswith(("precision", "recall", "f1"))}


# ---- the whole command


def test_finetune_writes_a_model_that_extracts_and_its_scores(flags, files, tmp_path):
    assert main([*flags, "--dev", files["dev"]]) == 0
    out = tmp_path / "out"
    assert set(scores(out)) >= {"eval_f1", "eval_entities_recall", "eval_relations_recall"}
    assert json.loads((out / "config.json").read_text())["head_size"] == 8
    pipe = load_pipeline(str(out), device="cpu")
    result = pipe(
        "P1 of xy works for O1", schema={"entities": ["person"], "relations": ["near"]}, threshold=0.01
    )
    assert result["entities"]


def test_finetune_goes_on_from_a_checkpoint(checkpoint, files, tmp_path):
    out = tmp_path / "out"
    base = ["--model", checkpoint, "--train", files["train"], "--output_dir", str(out), *QUIET]
    assert main([*base, "--max_steps", "1", "--warmup_steps", "0"]) == 0
    before, after = (load_file(f"{folder}/model.safetensors") for folder in (checkpoint, out))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert json.loads((out / "config.json").read_text())["threshold"] == LDNetConfig.threshold  # 0.4 before
    assert not (out / "eval_results.json").exists()


def test_finetune_reads_a_yaml_file(files, encoder_folder, tmp_path):
    keys = {
        "encoder": encoder_folder,
        "train": [files["train"]],
        "output_dir": str(tmp_path / "yaml"),
        "head_size": 16,
        "max_steps": 1,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    (tmp_path / "finetune.yaml").write_text(yaml.safe_dump(keys))
    assert main(["--config", str(tmp_path / "finetune.yaml"), "--head_size", "8"]) == 0
    assert json.loads((tmp_path / "yaml" / "config.json").read_text())["head_size"] == 8


def test_finetune_with_adapters_writes_a_plain_model(checkpoint, files, tmp_path, opinion, write_set):
    out = tmp_path / "out"
    old = str(write_set(tmp_path / "opinion", *opinion))
    base = ["--model", checkpoint, "--train", files["train"], "--output_dir", str(out), *QUIET]
    replayed = ["--replay", old, "--replay_share", "0.5"]
    assert main([*base, *replayed, "--lora_rank", "2", "--max_steps", "3", "--learning_rate", "0.1"]) == 0
    before, after = (load_file(f"{folder}/model.safetensors") for folder in (checkpoint, out))
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("encoder.") and "embeddings" not in name for name in moved)
    assert not any("word_embeddings" in name or "LayerNorm" in name for name in moved)


def test_finetune_is_a_verb_of_the_command_line(flags, capsys, tmp_path):
    assert cli.main(["finetune", *flags, "--max_steps", "1"]) == 0
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert cli.main(["finetune", "--help"]) == 0
    assert "ldnet finetune --encoder minilm" in capsys.readouterr().out


# ---- wrong input: one line each, nothing written


def break_record(record, **changes):
    first, *others = record["entities"]
    return record | {"entities": [first | changes, *others]}


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"end": 999}, "entities[0].end = 999"),
        ({"type": "persn"}, "entities[0].type = 'persn'"),
        ({"strat": 1}, "strat"),
    ],
)
@pytest.mark.parametrize("place", ["train", "dev"])
def test_wrong_record_is_one_line_and_nothing_is_written(
    flags, files, work, write_set, tmp_path, capsys, changes, shown, place
):
    wrong = write_set(tmp_path / "wrong", work[0], [work[1][0], break_record(work[1][1], **changes)])
    both = {"train": files["train"], "dev": files["dev"], place: str(wrong)}
    capsys.readouterr()
    assert cli.main(["finetune", *flags, "--train", both["train"], "--dev", both["dev"]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{wrong}:2: ")
    assert shown in line
    assert not (tmp_path / "out").exists()


def test_broken_line_missing_file_and_wrong_schema_are_one_line(flags, tmp_path, capsys):
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    cases = {
        "broken.jsonl": f"{tmp_path}/broken.jsonl:2: ",
        "none.jsonl": f"{tmp_path}/none.jsonl: the file cannot be read",
    }
    for name, start in cases.items():
        capsys.readouterr()
        assert cli.main(["finetune", *flags, "--train", str(tmp_path / name)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(start)
    assert cli.main(["finetune", *flags, "--schema", '{"entites": ["person"]}']) == 2
    assert "Did you mean 'entities'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_data_errors_keep_their_type(flags, tmp_path):
    with pytest.raises(RecordError):
        main([*flags, "--train", str(tmp_path / "none.jsonl")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "encoder, model: name one of them"),
        ({"encoder": "a", "model": "b"}, "encoder, model: name one of them"),
        ({"model": "b", "paper": True}, "paper: set by the checkpoint b; leave it out"),
    ],
)
def test_build_model_wants_an_encoder_or_a_checkpoint(arguments, message):
    with pytest.raises(ArgumentsError, match=message):
        build_model(ModelArguments(**arguments))


def test_settings_of_a_checkpoint_stay(checkpoint):
    config = build_model(ModelArguments(model=checkpoint))[0].config
    same = ModelArguments(model=checkpoint, head_size=config.head_size, max_fragments=config.max_fragments)
    assert build_model(same)[0].config.to_dict() == config.to_dict()
    other = ModelArguments(
        model=checkpoint, head_size=3, max_fragments=config.max_fragments, label_drop="prob"
    )
    with pytest.raises(ArgumentsError) as error:
        build_model(other)
    assert f"head_size is {config.head_size}, not 3, label_drop is 'joint', not 'prob'" in str(error.value)


def test_threshold_can_be_chosen_anew_for_a_checkpoint(checkpoint):
    model, processor = build_model(ModelArguments(model=checkpoint, threshold=0.6))
    assert model.config.threshold == processor.threshold == 0.6


def test_missing_checkpoint_is_one_line(files, tmp_path):
    flags = [
        "--model",
        str(tmp_path / "none"),
        "--train",
        files["train"],
        "--output_dir",
        str(tmp_path / "out"),
    ]
    with pytest.raises(ModelError, match="none: .* Name a folder or Hub id"):
        main([*flags, *QUIET])
    assert not (tmp_path / "out").exists()


# ---- the parts


def test_build_model_takes_the_fields_of_the_paper_and_what_differs(encoder_folder):
    model, processor = build_model(ModelArguments(encoder=encoder_folder, paper=True, head_size=8))
    expected = LDNetConfig.paper_fields() | {"head_size": 8}
    assert {name: getattr(model.config, name) for name in expected} == expected
    assert (processor.schema_attention, processor.fragment_links) == ("full", "a2a")


def test_load_parts_reads_every_file(files, work, opinion, write_set, tmp_path):
    write_set(tmp_path / "opinion", *opinion)
    arguments = DataArguments(
        train=["work/train.jsonl", "opinion/train.jsonl"],
        dev=["work/dev.jsonl", "opinion/train.jsonl"],
        data_root=str(tmp_path),
        max_dev_records=3,
    )
    train, dev = load_parts(arguments)
    assert [(source.name, source.schema, len(records)) for source, records in train] == [
        ("work", work[0], 12),
        ("opinion", opinion[0], 5),
    ]
    assert [(source.name, len(records)) for source, records in dev] == [("work", 3), ("opinion", 3)]
    assert load_parts(DataArguments(train=[files["train"]]))[1] == []


def test_schema_of_the_flag_stands_above_that_beside_the_files(files):
    wide = {"entities": ["place", "person", "organization", "x"], "relations": ["works for", "near"]}
    ((source, _),), _ = load_parts(DataArguments(train=[files["train"]], schema=json.dumps(wide)))
    assert source.schema == Schema.from_any(wide)


def test_build_trainer_passes_its_arguments_on(files, encoder_folder, training_arguments, tmp_path):
    data = DataArguments([files["train"]], [files["dev"]], max_labels=3, label_dropout=0.2, source_cap=4)
    args = training_arguments(
        tmp_path / "out", eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
        patience=2, seed=5, head_learning_rate=0.5,
    )  # fmt: skip
    trainer = build_trainer(data, ModelArguments(encoder=encoder_folder, head_size=8), args)
    collator = trainer.data_collator
    assert (collator.sampler.max_labels, collator.sampler.label_dropout, collator.seed) == (3, 0.2, 5)
    assert (trainer.head_learning_rate, len(trainer._get_train_sampler())) == (0.5, 4)
    (stopping,) = [c for c in trainer.callback_handler.callbacks if isinstance(c, EarlyStoppingCallback)]
    assert stopping.early_stopping_patience == 2
    assert args.load_best_model_at_end


@pytest.mark.parametrize(
    ("own", "trained"),
    [
        ({}, False),
        ({"freeze_word_embeddings": False}, True),
        ({"label_state": "marker"}, True),  # what a marker says has to be learned
        ({"label_state": "marker", "freeze_word_embeddings": True}, False),
    ],
)
def test_word_embeddings_stay_as_they_are_unless_markers_are_learned(
    files, encoder_folder, training_arguments, tmp_path, own, trained
):
    arguments = ModelArguments(encoder=encoder_folder, **own)
    trainer = build_trainer(DataArguments([files["train"]]), arguments, training_arguments(tmp_path / "out"))
    assert trainer.model.get_input_embeddings().weight.requires_grad is trained
    assert trainer.model.link_head.projection.weight.requires_grad


def test_training_texts_of_the_dev_file_are_left_out_on_demand(
    files, encoder_folder, training_arguments, tmp_path
):
    args, model = training_arguments(tmp_path / "out"), ModelArguments(encoder=encoder_folder)
    sizes = []
    for skip in (False, True):
        data = DataArguments([files["train"]], [files["dev"]], skip_dev_texts=skip)
        trainer = build_trainer(data, model, args)
        sizes.append({example.record["text"] for example in trainer.train_dataset.examples})
    dev = {example.record["text"] for example in trainer.eval_dataset.examples}
    assert sizes[0] & dev
    assert sizes[1] == sizes[0] - dev


def test_build_trainer_without_dev_data_scores_nothing(files, encoder_folder, training_arguments, tmp_path):
    args = training_arguments(
        tmp_path / "out", eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True
    )
    trainer = build_trainer(DataArguments([files["train"]]), ModelArguments(encoder=encoder_folder), args)
    assert trainer.eval_dataset is None
    assert (trainer.args.eval_strategy, trainer.args.load_best_model_at_end) == ("no", False)


# ---- resuming


def test_resume_point_is_the_last_checkpoint_that_is_whole(training_arguments, tmp_path):
    def point(wanted):
        return resume_point(training_arguments(tmp_path, resume_from_checkpoint=wanted))

    assert point("true") is None
    for step, state in ((2, '{"epoch": 1}'), (10, '{"epoch": 2}'), (11, '{"epo'), (12, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert point("true") == point("last") == str(tmp_path / "checkpoint-10")
    assert point("some/folder") == "some/folder"
    assert point(None) is point("false") is None


def test_killed_training_resumes_to_the_weights_of_an_uninterrupted_run(flags, run_child, tmp_path):
    """Dropout, label draws and shuffles go on where they stopped: in the middle of the second epoch."""
    flags = [
        *flags, "--num_train_epochs", "3", "--per_device_train_batch_size", "4", "--label_dropout", "0.2",
        "--save_strategy", "steps", "--save_steps", "1", "--no_load_best_model_at_end",
    ]  # fmt: skip
    code, _, err = run_child("-c", CHILD, *flags, KILL_AT="5")
    assert code == -9, err[-2000:]
    assert (tmp_path / "out" / "checkpoint-5" / "model.safetensors").exists()
    assert not (tmp_path / "out" / "checkpoint-5" / "trainer_state.json").exists()
    code, out, err = run_child("-c", CHILD, *flags, "--resume_from_checkpoint", "true", KILL_AT="-1")
    assert code == 0, err[-2000:]
    assert "steps 4 5 6 7 8" in out
    assert main([*flags, "--output_dir", str(tmp_path / "whole")]) == 0
    resumed, whole = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "whole"))
    assert resumed.keys() == whole.keys()
    assert [name for name in whole if not torch.equal(resumed[name], whole[name])] == []


# ---- several processes


def test_two_processes_count_as_one_does(checkpoint, work, opinion, write_set, run_child, tmp_path):
    """Eleven texts of two sources in batches of two: one batch is mixed, the last is filled up again."""
    train = write_set(tmp_path / "work", work[0], work[1][:4])
    dev = [write_set(tmp_path / "work", work[0], work[1][:7], "dev.jsonl")]
    dev.append(write_set(tmp_path / "opinion", opinion[0], opinion[1][:4], "dev.jsonl"))
    flags = [
        "--model", checkpoint, "--train", train, "--dev", *dev, "--max_steps", "1",
        "--learning_rate", "0", "--head_learning_rate", "0",
        "--per_device_train_batch_size", "2", "--per_device_eval_batch_size", "2",
        "--eval_strategy", "no", "--save_strategy", "no", "--no_load_best_model_at_end", *QUIET,
    ]  # fmt: skip
    flags = list(map(str, flags))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*torchrun, "-m", "ldnet.train.finetune", *flags, "--output_dir", str(tmp_path / "two")]
    code, _, err = run_child(*command)
    assert code == 0, err[-3000:]
    assert main([*flags, "--output_dir", str(tmp_path / "one")]) == 0
    one, two = scores(tmp_path / "one"), scores(tmp_path / "two")
    assert two == one
    assert len(one) == 10
    assert 0 < one["eval_entities_precision"] < 100
    before, after = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "checkpoint", tmp_path / "two")
    )
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_renamed_types_hold_in_training_and_scoring_and_unknown_folders_are_named(files):
    data = {"train": [files["train"]], "dev": [files["dev"]]}
    for parts in load_parts(DataArguments(**data, rename_types=["work/person=any person"])):
        ((source, records),) = parts
        assert "any person" in [item.name for item in source.schema.entities]
        assert {x["type"] for record in records for x in record["entities"]} >= {"any person", "place"}
        assert not any(x["type"] == "person" for record in records for x in record["entities"])
    with pytest.raises(ArgumentsError, match=r"rename_types: \['wrok'\] are not among the training files"):
        load_parts(DataArguments(**data, rename_types=["wrok/person=x"]))


def test_rare_labels_reach_the_sampler_and_overlap_the_processor(files, checkpoint, tmp_path):
    data = DataArguments(train=[files["train"]], rare_labels=1.0)
    arguments = LDNetTrainingArguments(output_dir=str(tmp_path / "out"), use_cpu=True, report_to="none")
    trainer = build_trainer(data, ModelArguments(model=checkpoint), arguments)
    assert trainer.data_collator.processor.overlap == "one_type"  # as in its texts, which name no place twice
    weights = trainer._get_train_sampler().weights
    assert weights.min() == 1.0
    assert weights.max() == 2.0  # "near" is in every second record
