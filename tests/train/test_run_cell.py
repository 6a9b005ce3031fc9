import json

import pytest

from ldnet.processing.pipeline_ldnet import UniversalIEPipeline
from ldnet.train import run_cell
from ldnet.train.experiments import Cell, run_cells
from ldnet.train.metrics import count_tasks, scores_from_rows
from ldnet.train.run_cell import measure, score_records

QUIET = ["--use_cpu", "--report_to", "none", "--disable_tqdm", "true", "--dataloader_pin_memory", "false"]


@pytest.fixture
def pipe(trainable):
    model, processor = trainable(threshold=0.4, confirm_loops=False)
    return UniversalIEPipeline(model=model.eval(), processor=processor, device="cpu")


def in_this_process(folder, lock=None):
    return run_cell.main([str(folder)])


def test_score_records_scores_what_the_pipeline_finds(pipe, work):
    schema, records = work[0], work[1][:4]
    found = pipe([record["text"] for record in records], schema=schema)
    counts = [count_tasks(*pair, schema).flatten() for pair in zip(records, found, strict=True)]
    scores = score_records(pipe, records, schema, batch_size=5)
    assert scores == scores_from_rows(counts)
    assert 0 < scores["entities_precision"] < 100


def test_measure_gives_scores_drop_rates_and_label_drop(pipe, work, write_set, tmp_path):
    dev = write_set(tmp_path / "work", work[0], work[1][:4], "dev.jsonl")
    rows = measure(pipe, {"dev": [str(dev)], "drop_rates": [0.5, 1.0], "label_drop": True})
    assert {row["set"] for row in rows} == {"work"}
    scores = {row["metric"]: row["value"] for row in rows if "drop_rate" not in row}
    assert scores.items() >= score_records(pipe, work[1][:4], work[0]).items()
    assert "label_drop_accuracy_as" in scores
    rated = {(row["drop_rate"], row["metric"]): row["value"] for row in rows if "drop_rate" in row}
    assert {metric for _, metric in rated} == {metric for metric in scores if metric.endswith("f1")} - {
        metric for metric in scores if metric.startswith("relevance")
    }
    assert rated[1.0, "f1"] == scores["f1"]


def test_measure_names_the_files_of_a_set_and_has_no_gate_without_label_drop(
    trainable, work, write_set, tmp_path
):
    model, processor = trainable(label_drop="none", threshold=0.9)
    pipe = UniversalIEPipeline(model=model.eval(), processor=processor, device="cpu")
    dev = [str(write_set(tmp_path / name, work[0], work[1][:2], "dev.jsonl")) for name in ("a", "b")]
    spec = {"name": "both", "drop_rates": [0.5], "label_drop": True}
    rows = measure(pipe, spec | {"dev": dev})
    assert {row["set"] for row in rows} == {"both a", "both b"}
    assert not any("drop_rate" in row or row["metric"].startswith("relevance") for row in rows)
    assert {row["set"] for row in measure(pipe, spec | {"dev": dev[:1]})} == {"both"}


def test_measure_scores_each_half_with_what_is_fitted_on_the_other(
    pipe, work, write_set, tmp_path, monkeypatch
):
    def report(sets):
        (of_set,) = sets
        assert (of_set.name, len(of_set.records), of_set.default) == ("work", 6, pipe.processor.threshold)
        sides = {"entities": {"before": 1.0, "after": 2.0}, "relations": {"before": 3.0, "after": None}}
        return {"f1": {"work": sides}}

    monkeypatch.setattr(run_cell, "cross_fit", report)
    dev = write_set(tmp_path / "work", work[0], work[1][:6], "dev.jsonl")
    rows = measure(pipe, {"dev": [str(dev)], "calibrated": True})
    found = {row["metric"]: row["value"] for row in rows if row["set"] == "work calibrated"}
    assert found == {"entities_f1": 2.0}
    assert {row["set"] for row in rows} == {"work", "work calibrated"}


def test_main_trains_measures_and_writes_the_result(encoder_folder, work, write_set, tmp_path):
    train = str(write_set(tmp_path / "work", *work))
    flags = ["--encoder", encoder_folder, "--head_size", "8", "--max_steps", "1", "--train", train, *QUIET]
    flags += ["--save_strategy", "no", "--load_best_model_at_end", "false", "--threshold", "0.9"]
    cell = Cell({"seed": 1}, flags, {"dev": [train]}, (train, encoder_folder))
    outcome = run_cells([cell], tmp_path / "out", start=in_this_process)
    assert outcome.failed == {}
    written = json.loads((tmp_path / "out" / "seed-1" / "result.json").read_text())
    assert outcome.results == [written]
    assert written.items() >= cell.to_dict().items()
    assert {row["metric"] for row in outcome.rows} >= {"f1"}
    assert set(written["seconds"]) == {"training", "measuring"}


def test_main_of_a_failing_training_gives_its_code_and_no_result(tmp_path, capsys):
    outcome = run_cells([Cell({"seed": 1}, ["--train", "none.jsonl"])], tmp_path, start=in_this_process)
    assert outcome.results == []
    assert outcome.failed["seed-1"].startswith("exit code 2")
    assert "none.jsonl: the file cannot be read" in capsys.readouterr().err
