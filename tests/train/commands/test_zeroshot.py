import csv
import json

import pytest

from ldnet.train.commands.zeroshot import ContaminationError, main, rows_of

SCHEMA = {"entities": ["person"], "relations": ["knows"]}


def record(text, *persons):
    return {
        "text": text,
        "entities": [
            {"type": "person", "start": text.index(p), "end": text.index(p) + len(p)} for p in persons
        ],
    }


@pytest.fixture
def data(tmp_path):
    """Unseen sets `one` and `two`, and training files."""

    def write(name, records):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        (path.parent / "schema.json").write_text(json.dumps(SCHEMA))
        path.write_text("".join(json.dumps(one) + "\n" for one in records))
        return path

    write("one/dev.jsonl", [record("Ann sees x", "Ann"), record("Nobody Here", "Here"), record("he is out")])
    write("two/dev.jsonl", [record("Bob and a b c d e", "Bob"), record("Eve", "Eve")])
    write("train/train.jsonl", [{"text": "something else"}])
    return write


@pytest.fixture
def run(run_ldnet, data, tmp_path):
    def call(*options, sets=("one", "two")):
        names = [f"{name}/dev.jsonl" for name in sets]
        trained = [] if "--trained_on" in options else ["--trained_on", "train"]
        return run_ldnet("zeroshot", "--data_root", tmp_path, "--data", *names, *trained, *options)

    return call


def test_zeroshot_scores_every_set_and_their_mean(run, fake_pipeline, tmp_path, caplog):
    caplog.set_level("INFO")
    code, _, err = run("--output_dir", tmp_path / "out", "--model", "m", "--threshold", "0.25")
    assert (code, err) == (0, [])
    assert fake_pipeline.names == ["m"]
    assert fake_pipeline.options["threshold"] == 0.25
    with open(tmp_path / "out" / "zeroshot.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # one: Ann, Nobody, Here found, Nobody is wrong; two: both right
    assert [(row["set"], row["texts"], row["precision"], row["recall"], row["f1"]) for row in rows] == [
        ("one", "3", "66.6667", "100.0000", "80.0000"),
        ("two", "2", "100.0000", "100.0000", "100.0000"),
        ("mean of 2", "", "83.3333", "100.0000", "90.0000"),
    ]
    text = (tmp_path / "out" / "zeroshot.md").read_text()
    assert "| mean of 2 | entities | - | - | 83.33 | 100.00 | 90.00 |" in text
    assert "left out" not in text
    assert text.strip() in caplog.text
    report = json.loads((tmp_path / "out" / "zeroshot.json").read_text())
    assert report["sets"][0]["overlap"] == {"exact": 0, "near": 0, "texts": []}
    assert report["sets"][0]["tasks"]["entities"]["labels"]["person"]["tp"] == 2


def test_zeroshot_text_that_was_seen_is_code_2_with_every_text_listed(run, fake_pipeline, data, tmp_path):
    texts = ["x", "ann SEES, x.", "so a b c d e and Bob and a b c"]
    seen = data("train/train.jsonl", [{"text": text} for text in texts])
    code, out, err = run("--output_dir", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err == [
        f"{tmp_path}/one/dev.jsonl[0]: seen in {seen}[1] (word for word): Ann sees x",
        f"{tmp_path}/two/dev.jsonl[0]: seen in {seen}[2] (67 % of its runs): Bob and a b c d e",
        f"0 more; all texts are in {tmp_path}/out/overlap.json. "
        "Train without them, or leave them out here with --allow_overlap",
    ]
    assert fake_pipeline.names == []
    written = json.loads((tmp_path / "out" / "overlap.json").read_text())
    assert written["trained_on"] == [f"{tmp_path}/train/train.jsonl"]
    assert [one["exact"] for one in written["sets"].values()] == [1, 0]
    assert written["sets"][f"{tmp_path}/two/dev.jsonl"]["texts"][0]["index"] == 0
    assert not (tmp_path / "out" / "zeroshot.json").exists()


def test_zeroshot_allow_overlap_leaves_seen_texts_out_and_counts_them(run, fake_pipeline, data, tmp_path):
    data("train/train.jsonl", [{"text": "Nobody, here!"}])
    code, _, err = run("--output_dir", tmp_path / "out", "--allow_overlap")
    assert (code, err) == (0, [])
    report = json.loads((tmp_path / "out" / "zeroshot.json").read_text())
    assert [one["texts"] for one in report["sets"]] == [2, 2]
    assert report["table"][0]["f1"] == 100.0  # the text with the mistake was seen
    assert "one: left out 1 texts as seen, 0 as near" in (tmp_path / "out" / "zeroshot.md").read_text()


def test_zeroshot_training_on_another_split_of_an_unseen_set_is_code_2(run, fake_pipeline, data, tmp_path):
    data("one/train.jsonl", [{"text": "not in dev"}])
    (tmp_path / "mix.yaml").write_text("train: [train/train.jsonl, one/train.jsonl]")
    code, _, err = run("--trained_on", "mix.yaml")
    assert code == 2
    assert err[0].startswith(f"{tmp_path}/one/train.jsonl: is of the unseen set one; ")
    assert run("--trained_on", "mix.yaml", sets=["two"])[0] == 0


def test_zeroshot_bounds_of_what_counts_as_seen_can_be_set(run, fake_pipeline, data):
    data("train/train.jsonl", [{"text": "a b c d"}])
    assert run("--run_words", "3", "--seen_share", "0.5")[0] == 0  # 2 of 5 runs
    assert run("--run_words", "3", "--seen_share", "0.4")[0] == 2


def test_zeroshot_set_of_which_nothing_is_left_is_an_error(run, fake_pipeline, data):
    data("train/train.jsonl", [{"text": "Eve"}, {"text": "Bob and a b c d e"}])
    code, _, err = run("--allow_overlap")
    assert code == 2
    assert "no text of" in err[0]
    assert "two/dev.jsonl is unseen" in err[0]


def test_zeroshot_will_not_run_without_knowing_what_was_trained_on(run_ldnet, data, tmp_path):
    code, _, err = run_ldnet("zeroshot", "--data", tmp_path / "one/dev.jsonl")
    assert code == 2
    assert "--trained_on" in err[0]
    code, _, err = run_ldnet(
        "zeroshot", "--data", tmp_path / "one/dev.jsonl", "--trained_on", tmp_path / "none"
    )
    assert (code, len(err)) == (2, 1)
    assert "no record file" in err[0]


def test_rows_of_leaves_undefined_scores_out_of_the_mean():
    def report(name, **tasks):
        return {"name": name, "texts": 1, "tasks": tasks}

    none = {"precision": None, "recall": 0.0, "f1": 0.0, "support": 3}
    some = {"precision": 50.0, "recall": 100.0, "f1": 66.0, "support": 1}
    answers = {"exact_match": 1.0, "f1": 2.0, "support": 4}
    rows = rows_of([report("a", entities=none, answers=answers), report("b", entities=some)])
    assert [row["set"] for row in rows] == ["a", "a", "b", "mean of 2", "mean of 1"]
    assert {key: rows[3][key] for key in ("task", "precision", "recall", "f1")} == {
        "task": "entities",
        "precision": 50.0,
        "recall": 50.0,
        "f1": 33.0,
    }
    assert rows[4]["precision"] is None


def test_contamination_error_is_a_line_a_problem():
    error = ContaminationError(["a", "b"])
    assert (str(error), error.problems) == ("a\nb", ["a", "b"])
    with pytest.raises(SystemExit):
        main(["--help"])
