import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.processing.schema import Schema
from ldnet.train import cli
from ldnet.train.args import DataArguments, LDNetTrainingArguments, ModelArguments
from ldnet.train.commands.distill import TeacherArguments, build_student_trainer, main
from ldnet.train.distillation import DistillationCallback
from ldnet.train.parsing import ArgumentsError
from ldnet.train.teacher_store import StoreError, TeacherStore
from ldnet.train.teachers import TeacherError

QUIET = ["--use_cpu", "--report_to", "none", "--disable_tqdm", "true", "--dataloader_pin_memory", "false"]
QUIET += ["--eval_strategy", "no", "--save_strategy", "no", "--no_load_best_model_at_end"]


@pytest.fixture
def files(tmp_path, work, write_set):
    """Record files of the 'work' set."""
    folder = tmp_path / "work"
    write_set(folder, work[0], work[1][:3], "dev.jsonl")
    return {"train": str(write_set(folder, *work)), "dev": str(folder / "dev.jsonl")}


@pytest.fixture
def teacher(trainable, tmp_path):
    """A folder with a tiny checkpoint."""
    model, processor = trainable(confirm_loops=False)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.link_head.projection.weight, std=0.3)
    pipe = UniversalIEPipeline(model=model, processor=processor, device="cpu")
    pipe.save_pretrained(tmp_path / "teacher")
    return str(tmp_path / "teacher")


@pytest.fixture
def store(teacher, files, tmp_path):
    """What that checkpoint knows of the training file."""
    path = tmp_path / "store.arrow"
    assert main(["store", "--teachers", teacher, "--train", files["train"], "--store", str(path)]) == 0
    return str(path)


@pytest.fixture
def flags(files, encoder_folder, tmp_path):
    """Flags of a student that trains one epoch from the encoder."""
    start = ["--encoder", encoder_folder, "--head_size", "8", "--num_train_epochs", "1"]
    return [*start, "--train", files["train"], "--output_dir", str(tmp_path / "out"), *QUIET]


def error_of(capsys, *arguments):
    """Stderr lines of a command line that must fail."""
    capsys.readouterr()
    assert cli.main(["distill", *map(str, arguments)]) == 2
    return capsys.readouterr().err.splitlines()


# ---- the whole commands


def test_store_writes_what_the_teacher_knows_and_reports_it(teacher, files, tmp_path, caplog):
    out = tmp_path / "s.arrow"
    caplog.set_level("INFO")
    report = tmp_path / "report.json"
    code = cli.main(
        ["distill", "store", "--teachers", teacher, teacher, "--train", files["train"], files["dev"],
         "--store", str(out), "--floor", "0.2", "--report", str(report)]
    )  # fmt: skip
    assert code == 0
    store = TeacherStore.open(out)
    assert len(store) == 12  # the dev texts are training texts too
    assert (store.header.floor, store.header.teachers) == (0.2, ("teacher", "teacher"))
    found = json.loads(report.read_text())["all"]
    assert found["texts"] == 12
    assert found["lost_percent"] > 0
    assert found["bytes"] == out.stat().st_size
    assert "12 texts" in caplog.text
    assert "lost mass" in caplog.text


def test_student_learns_from_a_store(flags, store, tmp_path):
    code = cli.main(["distill", "--stores", store, *flags, "--logging_steps", "1"])
    assert code == 0
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    steps = [log for log in state["log_history"] if "loss" in log]
    assert len(steps) == 2
    assert all(log["transfer_loss"] > 0 and log["taught_share"] == 1 for log in steps)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_student_learns_from_texts_that_nobody_annotated(teacher, flags, work, write_set, tmp_path):
    schema, records = work
    texts = str(write_set(tmp_path / "texts", schema, [{"text": record["text"]} for record in records]))
    store = str(tmp_path / "texts.arrow")
    assert main(["store", "--teachers", teacher, "--train", texts, "--store", store]) == 0
    assert len(TeacherStore.open(store)) == len(records)
    flags = [*flags, "--train", texts, "--logging_steps", "1", "--transfer_weight", "3"]
    assert main(["--stores", store, *flags]) == 0
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    steps = [log for log in history if "transfer_loss" in log]
    assert len(steps) == 2
    # There is nothing but the teacher: gold links, relevance and confirmation of these texts count 0.
    assert all(log["loss"] == pytest.approx(3 * log["transfer_loss"], rel=1e-3) for log in steps)
    assert all(log["transfer_loss"] > 0 for log in steps)


def test_texts_beside_the_records_are_taught_too(capsys, teacher, files, flags, work, write_set, tmp_path):
    more = [{"text": f"Number {i} met Ada in Paris."} for i in range(9)]
    texts = str(write_set(tmp_path / "more", None, more))
    store = str(tmp_path / "all.arrow")
    judged = ["--train", files["train"], "--texts", texts]
    assert main(["store", "--teachers", teacher, *judged, "--store", store]) == 0
    assert len(TeacherStore.open(store)) == len(work[1]) + len(more)
    trainer = build_student_trainer(
        DataArguments([files["train"]]),
        ModelArguments(model=teacher),
        LDNetTrainingArguments(str(tmp_path / "out"), use_cpu=True, report_to="none"),
        TeacherArguments([store], texts=[texts], texts_share=1 / 3),
    )
    drawn = [trainer.train_dataset.examples[i].source.name for i in trainer._get_train_sampler()]
    assert drawn.count("train.jsonl+texts") == len(work[1]) / 2  # a third of the epoch
    assert main(["--teachers", teacher, *flags, "--texts", texts]) == 0
    (line,) = error_of(capsys, "--stores", store, *flags, "--texts", texts, "--texts_share", "1")
    assert line.startswith("texts_share: 1.0 is not between 0 and 1")


def test_student_learns_from_checkpoints_that_run_along(flags, teacher, files, tmp_path):
    flags = [*flags, "--dev", files["dev"], "--transfer_loss", "kl", "--transfer_weight", "0.5"]
    assert main(["--teachers", teacher, teacher, *flags]) == 0
    assert "eval_f1" in json.loads((tmp_path / "out" / "eval_results.json").read_text())


def test_one_teacher_stored_and_live_trains_the_same_student(flags, teacher, store, tmp_path):
    """Without label draws both see the same cells; a store rounds to 16 bits and drops below the floor."""
    flags = [*flags, "--learning_rate", "0.01", "--optim", "sgd", "--transfer_reduction", "sum"]
    flags += ["--transfer_weight", "1"]
    trained = []
    for name, who in (("a", ["--stores", store]), ("b", ["--teachers", teacher]), ("c", None)):
        out = ["--output_dir", str(tmp_path / name)]
        weight = ["--transfer_weight", "0.001"] if who is None else []
        assert main([*(who or ["--stores", store]), *flags, *out, *weight]) == 0
        trained.append(load_file(tmp_path / name / "model.safetensors"))
    apart = [max(float((one[name] - trained[0][name]).abs().max()) for name in one) for one in trained[1:]]
    assert apart[0] < 2e-4
    assert apart[1] > 20 * apart[0]


def test_settings_reach_the_callback(files, encoder_folder, store, training_arguments, tmp_path):
    trainer = build_student_trainer(
        DataArguments([files["train"]]),
        ModelArguments(encoder=encoder_folder),
        training_arguments(tmp_path / "out"),
        TeacherArguments([store], [], 0.7, "kl", "mean", 0.2, missing_texts="skip"),
    )
    first = trainer.callback_handler.callbacks[0]
    assert isinstance(first, DistillationCallback)
    settings = first.settings
    assert (settings.weight, settings.form, settings.reduction, settings.support_floor) == (
        0.7, "kl", "mean", 0.2
    )  # fmt: skip
    assert first.teacher is trainer.data_collator.teacher
    assert first.teacher.missing == "skip"


# ---- errors: one line each, nothing written


def test_no_teacher_or_two_kinds_are_refused(flags, store, teacher, capsys, tmp_path):
    for who in ([], ["--stores", store, "--teachers", teacher]):
        (line,) = error_of(capsys, *who, *flags)
        assert line.startswith("stores, teachers: name one of them")
    assert not (tmp_path / "out").exists()


def test_teachers_that_are_missing_or_broken_are_refused(flags, store, capsys, tmp_path):
    (line,) = error_of(capsys, "--stores", tmp_path / "none", *flags)
    assert "none: there is no such store; write it with ldnet distill store" in line
    (line,) = error_of(capsys, "--teachers", tmp_path / "none", *flags)
    assert "none: " in line
    assert "Name a folder or Hub id" in line
    (tmp_path / "cut").write_bytes((tmp_path / "store.arrow").read_bytes()[:-100])
    (line,) = error_of(capsys, "--stores", tmp_path / "cut", *flags)
    assert "cut: no whole teacher store" in line
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_texts_and_labels_that_the_store_does_not_have_are_refused(
    flags, store, work, opinion, write_set, capsys, tmp_path
):
    other = write_set(tmp_path / "opinion", *opinion)
    (line,) = error_of(capsys, "--stores", store, *flags, "--train", other)
    assert "5 of 5 texts are not in it (opinion 5)" in line
    wide = Schema.from_any(work[0].to_dict() | {"classes": {"topic": {"labels": ["news"]}}})
    (line,) = error_of(capsys, "--stores", store, *flags, "--schema", wide.to_json())
    assert "its teacher was not asked for 'news'" in line
    both = [tmp_path / "work" / "train.jsonl", other]
    with pytest.raises(TeacherError, match="5 of 17 texts are not in it"):
        main(["--stores", store, *flags, "--train", *map(str, both)])
    assert main(["--stores", store, *flags, "--train", *map(str, both), "--missing_texts", "skip"]) == 0


def test_every_wrong_setting_is_a_line(flags, store, capsys):
    lines = error_of(capsys, "--stores", store, *flags, "--transfer_weight", "0", "--support_floor", "2")
    assert [line.split(":")[0] for line in lines] == ["transfer_weight", "support_floor"]
    (line,) = error_of(capsys, "--stores", store, *flags, "--transfer_wieght", "1")
    assert "did you mean 'transfer_weight'" in line


def test_store_names_what_is_missing_and_keeps_files(capsys, teacher, files, store, tmp_path):
    lines = error_of(capsys, "store")
    assert [line.split(":")[0] for line in lines] == ["teachers", "train", "store"]
    wanted = ["store", "--teachers", teacher, "--train", files["train"], "--store"]
    with pytest.raises(StoreError, match="there is a file already"):
        main([*wanted, store])
    (line,) = error_of(capsys, *wanted, tmp_path / "none" / "s.arrow")
    assert "its folder does not exist" in line
    with pytest.raises(ArgumentsError, match="unknown flag 'teacher'; did you mean 'teachers'"):
        main(["store", "--teacher", teacher])


@pytest.mark.parametrize("verb", [["distill"], ["distill", "store"]])
def test_help_shows_two_examples(capsys, verb):
    capsys.readouterr()
    assert cli.main([*verb, "--help"]) == 0
    examples = " ".join(capsys.readouterr().out.split()).partition("Examples: ")[2].partition("options:")[0]
    assert examples.count(f"ldnet {' '.join(verb)} --") >= 2


# ---- several processes


@pytest.mark.slow
def test_two_processes_train_as_one_does(trainable, store, work, write_set, tmp_path):
    model, processor = trainable(confirm_loops=False)
    UniversalIEPipeline(model=model, processor=processor, device="cpu").save_pretrained(tmp_path / "student")
    four = write_set(tmp_path / "four", work[0], work[1][:4])
    flags = [
        "--model", str(tmp_path / "student"), "--train", str(four), "--stores", store, *QUIET,
        "--max_steps", "1", "--learning_rate", "0.01", "--optim", "sgd", "--warmup_steps", "0",
        "--max_grad_norm", "0",
    ]  # fmt: skip
    torchrun = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "ldnet.train.cli",
    ]
    two = ["distill", *flags, "--output_dir", str(tmp_path / "two"), "--per_device_train_batch_size", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, *two],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert main([*flags, "--output_dir", str(tmp_path / "one"), "--per_device_train_batch_size", "4"]) == 0
    before, one, two = (
        load_file(tmp_path / name / "model.safetensors") for name in ("student", "one", "two")
    )
    assert all(torch.allclose(one[name], two[name], rtol=0, atol=1e-5) for name in one)
    assert max(float((one[name] - before[name]).abs().max()) for name in one) > 1e-3
