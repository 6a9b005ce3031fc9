import json
import sys

import pytest

from ldnet.processing.calibration import Calibration
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.train import loading
from ldnet.train.commands.calibrate import every_nth, write_calibration

NAMES = ("Ann", "Bob", "Eve", "Kim")


@pytest.fixture
def data(write_lines):
    """Forty texts with a person each, whom a random model finds now and then."""
    texts = [f"{NAMES[i % 4]} works in the place {i}" for i in range(40)]
    records = [{"text": text, "entities": [{"type": "person", "start": 0, "end": 3}]} for text in texts]
    return write_lines("dev.jsonl", records)


@pytest.fixture
def checkpoint(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(str(tmp_path / "model"))
    return tmp_path / "model"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_calibrate_stores_what_extraction_then_uses(run_ldnet, checkpoint, data, tmp_path):
    before = contents(checkpoint)
    report_file, plot = tmp_path / "report.json", tmp_path / "curve.svg"
    code, out, err = run_ldnet(
        "calibrate", "--model", checkpoint, "--data", data, "--report", report_file, "--plot", plot
    )
    assert (code, err) == (0, [f"{checkpoint}: the calibration is stored in its processor_config.json"])
    after = contents(checkpoint)
    assert [name for name in after if after[name] != before.get(name)] == ["processor_config.json"]
    assert after.keys() == before.keys()
    assert out.startswith(f"{checkpoint}: 40 texts in 2 parts\n")
    assert "calibration error" in out
    report = json.loads(report_file.read_text())
    assert plot.read_text().startswith("<?xml")
    stored = LDNetProcessor.from_pretrained(checkpoint).calibration
    assert stored == report["calibration"] == Calibration.from_dict(stored).to_dict()
    own = report["tasks"]["entities"]
    assert own["ece"]["after"] < own["ece"]["before"]
    pipe = loading.load_pipeline(str(checkpoint))
    (found,) = pipe(["Ann works in the place 0"], schema=["person"])
    assert found["calibrated"] is True


def test_calibrate_again_starts_from_raw_scores(run_ldnet, checkpoint, data):
    assert run_ldnet("calibrate", "--model", checkpoint, "--data", data)[0] == 0
    first = contents(checkpoint)
    assert run_ldnet("calibrate", "--model", checkpoint, "--data", data)[0] == 0
    assert contents(checkpoint) == first


def test_calibrate_with_output_leaves_the_checkpoint_and_fits_several_files_together(
    run_ldnet, checkpoint, data, tmp_path
):
    before, copy = contents(checkpoint), tmp_path / "copy"
    code, out, err = run_ldnet(
        "calibrate", "--model", checkpoint, "--data", data, "--data", data, "--output", copy, "--folds", 4
    )
    assert (code, err) == (0, [f"{copy}: the calibration is stored in its processor_config.json"])
    assert out.startswith(f"{checkpoint}: 80 texts in 4 parts\n")
    assert contents(checkpoint) == before
    after = contents(copy)
    assert [name for name in after if after[name] != before.get(name)] == ["processor_config.json"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_write_calibration_brings_code_that_knows_it(checkpoint):
    (checkpoint / "calibration.py").unlink()
    (checkpoint / "processing_ldnet.py").write_text("# of an older version")
    write_calibration(checkpoint, Calibration())
    assert (checkpoint / "calibration.py").exists()
    assert "calibration" in (checkpoint / "processing_ldnet.py").read_text()
    assert LDNetProcessor.from_pretrained(checkpoint).calibration == {"tasks": {}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--output: the checkpoint inside the package stays as it is"),
        (["--model", "some/model"], "--output: some/model is no folder"),
        (["--output", "dev.jsonl"], "is there already"),
        (["--output", "missing/copy"], "its folder does not exist"),
        (["--output", "copy", "--report", "missing/x.json"], "its folder does not exist"),
        (["--output", "copy", "--plot", "curve.gif"], "end it in .png, .svg, .pdf"),
        (["--output", "copy", "--plot", "x.svg", "--report", "x.svg"], "name two files"),
        (["--output", "copy", "--folds", "1"], "folds"),
        (["--output", "copy", "--data", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_calibrate_wrong_options_are_one_line_before_a_model_is_loaded(
    run_ldnet, fake_pipeline, data, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_ldnet("calibrate", "--data", data, *options)
    assert (code, out, len(err)) == (2, "", 1)
    assert message in err[0]
    assert fake_pipeline.names == []
    assert [path.name for path in tmp_path.iterdir()] == ["dev.jsonl"]


def test_calibrate_plot_without_matplotlib_names_the_installation(
    run_ldnet, fake_pipeline, data, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = run_ldnet("calibrate", "--data", data, "--output", data.parent / "copy", "--plot", "x.png")
    assert (code, len(err)) == (2, 1)
    assert "pip install matplotlib" in err[0]


def test_calibrate_of_texts_in_which_nothing_is_found_writes_nothing(
    run_ldnet, checkpoint, write_lines, tmp_path
):
    before = contents(checkpoint)
    path = write_lines("dev.jsonl", [{"text": "", "entities": []}, {"text": " ", "entities": []}])
    options = ["--schema", '["person"]', "--report", tmp_path / "report.json"]
    code, out, err = run_ldnet("calibrate", "--model", checkpoint, "--data", path, *options)
    assert (code, out, len(err)) == (2, "", 1)
    assert "finds nothing in these texts" in err[0]
    assert contents(checkpoint) == before
    assert not (tmp_path / "report.json").exists()


def test_calibrate_on_some_records_of_a_file(run_ldnet, checkpoint, data, tmp_path):
    report_file = tmp_path / "report.json"
    code, out, _ = run_ldnet(
        "calibrate", "--model", checkpoint, "--data", data, "--report", report_file, "--max-records", "9"
    )
    assert code == 0
    assert out.startswith(f"{checkpoint}: 9 texts in 2 parts\n")
    assert json.loads(report_file.read_text())["texts"] == 9


def test_every_nth_record_is_taken_and_long_texts_are_left_out():
    records = [{"text": "x" * (1 + i % 10)} for i in range(100)]
    assert every_nth(records) == records
    assert every_nth(records, most=200) == records
    assert every_nth(records, most=9) == records[::11][:9]
    short = [record for record in records if len(record["text"]) <= 4]
    assert every_nth(records, characters=4) == short
    assert every_nth(records, 5, 4) == short[::8]
    assert every_nth([], 5) == []
