import csv
import json

import pytest

from ldnet.train import cli, experiments, run_cell
from ldnet.train.args import DataArguments
from ldnet.train.commands.fewshot import (
    FewShotArguments,
    few_shot_table,
    main,
    read_training_files,
    without_flags,
    write_sample,
)
from ldnet.train.parsing import ArgumentsError, make_parser

QUIET = ["--use_cpu", "--report_to", "none", "--disable_tqdm", "true", "--dataloader_pin_memory", "false"]


@pytest.fixture
def files(tmp_path, work, write_set):
    write_set(tmp_path / "work", work[0], work[1][:4], "dev.jsonl")
    return {"train": str(write_set(tmp_path / "work", *work)), "dev": str(tmp_path / "work" / "dev.jsonl")}


@pytest.fixture
def flags(files, encoder_folder, tmp_path):
    # Fresh heads link everything at the usual threshold.
    start = ["--encoder", encoder_folder, "--head_size", "8", "--threshold", "0.9", "--num_train_epochs", "1"]
    return [
        *start,
        "--train",
        files["train"],
        "--dev",
        files["dev"],
        "--output_dir",
        str(tmp_path / "out"),
        *QUIET,
    ]


@pytest.fixture
def started(monkeypatch):
    """Cells run in this process; their names, and their specifications."""
    seen = {}

    def start(folder, lock=None):
        seen[folder.name] = json.loads((folder / "cell.json").read_text())
        return run_cell.main([str(folder)])

    monkeypatch.setattr(experiments, "start_process", start)
    return seen


@pytest.fixture
def pretend(monkeypatch):
    """Cells are not trained; F1 is ten times the shots plus the seed."""
    seen = {}

    def start(folder, lock=None):
        spec = seen[folder.name] = json.loads((folder / "cell.json").read_text())
        value = 10.0 * spec["factors"]["shots"] + spec["factors"]["seed"]
        rows = [{"set": "work", "metric": metric, "value": value} for metric in ("entities_f1", "f1")]
        (folder / "result.json").write_text(json.dumps(spec | {"rows": rows}))
        return 0

    monkeypatch.setattr(experiments, "start_process", start)
    return seen


def test_fewshot_trains_every_cell_and_writes_tables_and_a_chart(flags, started, tmp_path):
    assert cli.main(["fewshot", *flags, "--shots", "1", "2", "--seeds", "1"]) == 0
    assert list(started) == ["shots-1_seed-1", "shots-2_seed-1"]
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "cells", "few_shot.png", "results.csv", "results.json", "results.md", "samples",
    ]  # fmt: skip
    with open(out / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["shots"], row["set"]) for row in rows} == {("1", "work"), ("2", "work")}
    assert {row["metric"] for row in rows} >= {"f1", "entities_f1", "relations_f1"}
    assert (out / "results.md").read_text().startswith("| set | F1 of | 1-shot | 2-shot |\n")
    assert not list(out.rglob("model"))


def test_fewshot_default_schedule_is_that_of_table_8_and_flags_stand_above_it(flags, pretend, tmp_path):
    flags = [flag for flag in flags if flag not in ("--num_train_epochs", "1")]
    assert main([*flags, "--shots", "2", "--seeds", "7", "--eval_delay", "3"]) == 0
    assert "--eval_delay 20" not in " ".join(pretend.popitem()[1]["flags"])
    assert main([*flags, "--shots", "1", "--seeds", "7", "--patience", "4", "--plots", "false"]) == 0
    (spec,) = pretend.values()
    given = dict(zip(spec["flags"], spec["flags"][1:], strict=False))  # what stands last wins
    assert (given["--num_train_epochs"], given["--patience"], given["--seed"]) == ("200", "4", "7")
    assert (given["--save_strategy"], given["--eval_delay"]) == ("best", "20.0")
    assert not {"--shots", "--seeds", "--plots", "--output_dir", "--data_root"} & set(spec["flags"])
    (sample,) = (tmp_path / "out" / "samples" / "shots-1_seed-7").rglob("train.jsonl")
    assert given["--train"] == str(sample)
    assert set(spec["contents"]) == {str(sample), spec["measure"]["dev"][0], given["--encoder"]}


def test_fewshot_means_and_deviations_are_over_seeds(flags, pretend, tmp_path):
    assert main([*flags, "--shots", "5", "1", "--seeds", "1", "2", "3"]) == 0
    assert list(pretend)[:3] == ["shots-5_seed-1", "shots-1_seed-1", "shots-5_seed-2"]
    text = (tmp_path / "out" / "results.md").read_text()
    assert text.splitlines()[2:] == ["| work | entities | 12.0 ± 1.0 | 52.0 ± 1.0 |"]
    table = json.loads((tmp_path / "out" / "results.json").read_text())["table"]
    assert [row["values"] for row in table if row["metric"] == "f1"] == [
        [51.0, 52.0, 53.0],
        [11.0, 12.0, 13.0],
    ]


def test_fewshot_run_again_trains_only_what_is_new(flags, pretend):
    assert main([*flags, "--shots", "1", "--seeds", "1"]) == 0
    pretend.clear()
    assert main([*flags, "--shots", "1", "2", "--seeds", "1"]) == 0
    assert list(pretend) == ["shots-2_seed-1"]
    with pytest.raises(ArgumentsError, match="shots-1_seed-1: is finished, but with other flags"):
        main([*flags, "--shots", "1", "--seeds", "1", "--learning_rate", "0.5"])


def test_fewshot_failing_cell_is_code_1_and_shown(flags, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(experiments, "start_process", lambda folder, lock: 3)
    assert main([*flags, "--shots", "1", "--seeds", "1"]) == 1
    assert "shots-1_seed-1: failed: exit code 3" in caplog.text
    assert json.loads((tmp_path / "out" / "results.json").read_text())["failed"].keys() == {"shots-1_seed-1"}


def test_fewshot_reads_a_yaml_file(flags, pretend, tmp_path):
    (tmp_path / "few.yaml").write_text("shots: [2]\nseeds: [4, 5]\nlearning_rate: 0.25\n")
    assert main(["--config", str(tmp_path / "few.yaml"), *flags, "--seeds", "6"]) == 0
    (spec,) = pretend.values()
    assert spec["factors"] == {"shots": 2, "seed": 6}
    assert spec["flags"][spec["flags"].index("--learning_rate") + 1] == "0.25"


@pytest.mark.parametrize(
    ("extra", "lines"),
    [
        (["--shots", "0"], ["shots: [0] are no numbers of structures; use 1 or more"]),
        (["--seed", "3"], ["seed: a grid has several; use --seeds"]),
        (["--seeds", "1", "1"], ["seeds: [1, 1] repeats a value; name each once"]),
        (["--model", "x", "--resume_from_checkpoint", "true"], [
            "encoder, model: name one of them: --encoder for a fresh start, --model to go on",
            "resume_from_checkpoint: finished cells are kept; run the same command again",
        ]),
        (["--shot", "1"], ["unknown flag 'shot'; did you mean 'shots'?"]),
    ],
)  # fmt: skip
def test_fewshot_wrong_flags_are_a_line_each_and_nothing_is_written(flags, tmp_path, capsys, extra, lines):
    capsys.readouterr()
    assert cli.main(["fewshot", *flags, *extra]) == 2
    assert capsys.readouterr().err.splitlines() == [f"ldnet fewshot: {line}" for line in lines]
    assert not (tmp_path / "out").exists()


def test_fewshot_wrong_records_show_before_the_first_training(flags, pretend, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(ValueError, match=r"bad\.jsonl:1"):
        main([*flags, "--dev", str(tmp_path / "bad.jsonl")])
    assert pretend == {}
    assert not (tmp_path / "out").exists()


def test_write_sample_keeps_schema_and_manifest(tmp_path, work, write_set):
    write_set(tmp_path / "part", *work, "more.jsonl", mentions_complete=False, licence="x")
    data = DataArguments(train=["part/more.jsonl"], data_root=str(tmp_path))
    (file,) = read_training_files(data)
    assert file.source.partial
    sample = write_sample(tmp_path / "samples", file, 1, 0)
    assert sample == tmp_path / "samples" / "part-more" / "train.jsonl"
    again = DataArguments(train=[str(sample)])
    (copy,) = read_training_files(again)
    assert (copy.source.schema, copy.source.partial, copy.schema) == (file.source.schema, True, file.schema)
    assert 0 < len(copy.records) < len(file.records)
    assert all(record in file.records for record in copy.records)


def test_write_sample_without_a_schema_file_asks_for_all_labels_of_the_data(tmp_path, work, write_set):
    records = [
        dict(record, relations=record["relations"] if i == 3 else []) for i, record in enumerate(work[1])
    ]
    path = write_set(tmp_path / "bare", None, records)
    (file,) = read_training_files(DataArguments(train=[str(path)]))
    sample = write_sample(tmp_path / "samples", file, 1, 0)
    assert {name for name in json.loads((sample.parent / "schema.json").read_text())} >= {
        "entities",
        "relations",
    }
    assert len(read_training_files(DataArguments(train=[str(sample)]))[0].schema.labels) == len(
        file.schema.labels
    )


def test_without_flags_leaves_values_out_too():
    argv = ["--shots", "1", "5", "--train", "a", "--no_plots", "--seed=3", "--bf16", "--seeds", "1"]
    assert without_flags(argv, ["shots", "plots", "seed", "seeds"]) == ["--train", "a", "--bf16"]


def test_few_shot_table_has_a_dash_where_a_cell_is_missing():
    rows = [
        {"shots": k, "set": s, "metric": "entities_f1", "mean": 1.0, "std": None}
        for k, s in ((5, "a"), (1, "b"))
    ]
    assert few_shot_table(rows).splitlines()[2:] == [
        "| a | entities | - | 1.0 |",
        "| b | entities | 1.0 | - |",
    ]


def test_fewshot_help_shows_its_flags_and_examples(capsys):
    assert cli.main(["fewshot", "--help"]) == 0
    out = capsys.readouterr().out
    assert " ".join(out.split()).count(" ldnet fewshot --") == 2
    assert "--shots" in out
    assert make_parser((FewShotArguments,), "x", "").parse([])[0].shots == [1, 5, 10]
