import json
import subprocess
import sys

import pytest

from ldnet.train.experiments import (
    Cell,
    Outcome,
    aggregate,
    cell_lock,
    content_hash,
    markdown_table,
    mean_and_std,
    read_json,
    report_failures,
    run_cells,
    slug,
    write_csv,
)
from ldnet.train.parsing import ArgumentsError


def cells_of(count, **fields):
    return [Cell({"variant": f"v {i}", "seed": 1}, ["--x", str(i)], **fields) for i in range(count)]


class Starter:
    """Stands for the process of a cell: writes a model and a result; may fail or be interrupted."""

    def __init__(self, **ends):
        self.ends, self.started = ends, []

    def __call__(self, folder, lock=None):
        self.started.append(folder.name)
        end = self.ends.get(folder.name.split("_")[0].removeprefix("variant-v-"))
        (folder / "model").mkdir(exist_ok=True)
        (folder / "model" / f"of-{len(self.started)}").touch()
        if isinstance(end, BaseException):
            raise end
        if end is not None:
            (folder / "log.txt").write_text(f"first line\n\nit is broken\x1b\n code {end}\n\n")
            return end
        spec = json.loads((folder / "cell.json").read_text())
        value = float(spec["flags"][1])
        (folder / "result.json").write_text(
            json.dumps(spec | {"rows": [{"set": "s", "metric": "f1", "value": value}]})
        )
        return 0


def values(outcome):
    return [row["value"] for row in outcome.rows]


def test_run_cells_gives_every_result_and_removes_models(tmp_path):
    outcome = run_cells(cells_of(2), tmp_path, start=Starter())
    assert outcome.rows == [
        {"variant": "v 0", "seed": 1, "set": "s", "metric": "f1", "value": 0.0},
        {"variant": "v 1", "seed": 1, "set": "s", "metric": "f1", "value": 1.0},
    ]
    assert sorted(path.name for path in (tmp_path / "variant-v-0_seed-1").iterdir()) == [
        "cell.json",
        "lock",
        "result.json",
    ]
    run_cells(cells_of(1), tmp_path / "kept", start=Starter(), keep_models=True)
    assert (tmp_path / "kept" / "variant-v-0_seed-1" / "model" / "of-1").exists()


def test_run_cells_goes_on_where_it_was_stopped(tmp_path):
    interrupted = Starter(**{"1": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells_of(3), tmp_path, start=interrupted)
    again = Starter()
    assert values(run_cells(cells_of(3), tmp_path, start=again)) == [0.0, 1.0, 2.0]
    assert again.started == ["variant-v-1_seed-1", "variant-v-2_seed-1"]
    run_cells(cells_of(3), tmp_path, start=(third := Starter()))
    assert third.started == []


def test_run_cells_failing_cell_loses_no_other_and_is_run_again(tmp_path):
    outcome = run_cells(cells_of(3), tmp_path, start=Starter(**{"0": 2, "1": -9}))
    assert values(outcome) == [2.0]
    assert outcome.failed == {
        "variant-v-0_seed-1": f"exit code 2: code 2 (see {tmp_path}/variant-v-0_seed-1/log.txt)",
        "variant-v-1_seed-1": f"signal 9: code -9 (see {tmp_path}/variant-v-1_seed-1/log.txt)",
    }
    assert report_failures(outcome, tmp_path) == 1
    outcome = run_cells(cells_of(3), tmp_path, start=Starter())
    assert (values(outcome), outcome.failed) == ([0.0, 1.0, 2.0], {})
    assert report_failures(outcome, tmp_path) == 0


def test_run_cells_process_that_leaves_no_result_has_failed(tmp_path):
    outcome = run_cells(cells_of(1), tmp_path, start=lambda folder, lock: 0)
    assert list(outcome.failed.values()) == [f"exit code 0 (see {tmp_path}/variant-v-0_seed-1/log.txt)"]


def test_run_cells_refuses_results_of_other_settings_before_anything_runs(tmp_path):
    data = tmp_path / "train.jsonl"
    data.write_text("{}")
    run_cells(cells_of(2, files=(str(data),)), tmp_path / "out", start=Starter())
    other = [
        *cells_of(1, files=(str(data),)),
        Cell({"variant": "v 1", "seed": 1}, ["--x", "7"]),
        *cells_of(3)[2:],
    ]
    starter = Starter()
    with pytest.raises(ArgumentsError) as caught:
        run_cells(other, tmp_path / "out", start=starter)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(
        f"{tmp_path}/out/variant-v-1_seed-1: is finished, but with other flags and contents; "
    )
    assert starter.started == []
    data.write_text('{"text": "changed"}')
    with pytest.raises(ArgumentsError, match="with other contents"):
        run_cells(cells_of(1, files=(str(data),)), tmp_path / "out", start=starter)


@pytest.mark.parametrize(("flags", "changed", "kept"), [
    (["--x", "1", "--resume_from_checkpoint", "true"], False, True),
    (["--x", "1", "--resume_from_checkpoint", "true"], True, False),
    (["--x", "1"], False, False),
])  # fmt: skip
def test_run_cells_keeps_half_a_training_only_to_resume_it(tmp_path, flags, changed, kept):
    cell = Cell({"seed": 1}, flags)
    with pytest.raises(KeyboardInterrupt):
        run_cells([cell], tmp_path, start=Starter(**{"seed-1": KeyboardInterrupt()}))
    again = Cell({"seed": 1}, [*flags, "--y"]) if changed else cell
    starter = Starter()
    starter.started.append("")  # so that it writes another file
    run_cells([again], tmp_path, start=starter, keep_models=True)
    found = {path.name for path in (tmp_path / "seed-1" / "model").iterdir()}
    assert found == ({"of-1", "of-2"} if kept else {"of-2"})


def test_run_cells_refuses_cells_of_one_name(tmp_path):
    cells = [Cell({"variant": name}, []) for name in ("a b", "a-b", "c")]
    with pytest.raises(ArgumentsError, match="variant-a-b stands for more than one cell"):
        run_cells(cells, tmp_path, start=Starter())


def test_run_cells_passes_over_what_another_process_trains(tmp_path):
    """The lock lives as long as the process that was handed its descriptor, not as its parent."""
    place = tmp_path / "variant-v-0_seed-1"
    place.mkdir()
    with cell_lock(place) as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    outcome = run_cells(cells_of(2), tmp_path, start=Starter())
    child.communicate(b"\n")
    assert outcome.elsewhere == ["variant-v-0_seed-1"]
    assert values(outcome) == [1.0]
    assert values(run_cells(cells_of(2), tmp_path, start=Starter())) == [0.0, 1.0]


def test_run_cells_reads_what_another_process_has_finished_meanwhile(tmp_path):
    first = tmp_path / "variant-v-0_seed-1"
    first.mkdir()
    starter = Starter()

    def start(folder, lock=None):
        (first / "cell.json").write_text(json.dumps(cells_of(1)[0].to_dict()))
        starter(first)
        return starter(folder)

    with cell_lock(first):
        outcome = run_cells(cells_of(2), tmp_path, start=start)
    assert (values(outcome), outcome.elsewhere) == ([0.0, 1.0], [])


def test_start_process_runs_a_cell_and_keeps_what_it_says(tmp_path):
    cell = Cell({"seed": 1}, ["--learning_rat", "1"])
    outcome = run_cells([cell], tmp_path)
    (reason,) = outcome.failed.values()
    assert reason.startswith("exit code 2: ldnet finetune: unknown flag 'learning_rat'; did you mean")


def test_content_hash_is_of_files_with_their_schema_and_of_weights(tmp_path):
    data = tmp_path / "a.jsonl"
    assert content_hash(data) is None
    data.write_text("x")
    first = content_hash(data)
    (tmp_path / "schema.json").write_text("{}")
    assert content_hash(data) not in (first, None)
    model = tmp_path / "model"
    model.mkdir()
    assert content_hash(model) is None
    (model / "model.safetensors").write_text("w")
    with_weights = content_hash(model)
    (model / "training_args.bin").write_text("not of the model")
    assert content_hash(model) == with_weights is not None


def test_slug_is_a_part_of_a_file_name():
    assert [slug(value) for value in ("a b/c", "..", 0.5, "{x}")] == ["a-b-c", "x", "0.5", "x"]


def test_read_json_gives_whole_objects_only(tmp_path):
    for text in ("{", "[1]", ""):
        (tmp_path / "x").write_text(text)
        assert read_json(tmp_path / "x") is None
    assert read_json(tmp_path / "none") is None


def test_aggregate_is_over_seeds_alone():
    rows = [
        {"shots": shots, "seed": seed, "set": "s", "metric": "f1", "value": value}
        for seed, shots, value in ((1, 1, 10.0), (2, 1, 14.0), (1, 5, 50.0))
    ]
    one, two = {"set": "s", "metric": "f1", "shots": 1}, {"set": "s", "metric": "f1", "shots": 5}
    assert aggregate([*rows, rows[0] | {"drop_rate": 0.5}]) == [
        one | {"mean": 12.0, "std": pytest.approx(8**0.5), "n": 2, "values": [10.0, 14.0]},
        two | {"mean": 50.0, "std": None, "n": 1, "values": [50.0]},
        one | {"drop_rate": 0.5, "mean": 10.0, "std": None, "n": 1, "values": [10.0]},
    ]


def test_mean_and_std_shows_what_there_is():
    assert mean_and_std({"mean": 61.24, "std": 0.81}) == "61.2 ± 0.8"
    assert (mean_and_std({"mean": 61.0, "std": None}), mean_and_std(None)) == ("61.0", "-")


def test_markdown_table_escapes_bars():
    assert markdown_table(["a", "b"], [["x|y", 1]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n"


def test_write_csv_has_a_column_for_each_key(tmp_path):
    write_csv(tmp_path / "x.csv", [{"a": 1, "b": [0.5, 2.0]}, {"a": None, "c": "x, y", "d": 1 / 3}])
    assert (tmp_path / "x.csv").read_text() == 'a,b,c,d\n1,0.5000 2.0000,,\n,,"x, y",0.3333\n'


def test_outcome_to_dict_is_plain():
    assert json.loads(json.dumps(Outcome([{"rows": []}], {"a": "b"}, ["c"]).to_dict())) == {
        "cells": [{"rows": []}],
        "failed": {"a": "b"},
        "elsewhere": ["c"],
    }
