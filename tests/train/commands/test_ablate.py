import json
from pathlib import Path

import pytest
import yaml

from ldnet.train import cli, experiments, run_cell
from ldnet.train.commands import ablate
from ldnet.train.commands.ablate import AblateArguments, as_flags, main, make_cells, read_grid
from ldnet.train.parsing import ArgumentsError

CONFIGS = Path(ablate.__file__).parents[1] / "configs"
QUIET = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "dataloader_pin_memory": False}


def make_arguments(**fields):
    base = {"output_dir": "out", "seeds": [1]}
    base["sets"] = {"s": {"train": ["s/train.jsonl"], "dev": ["s/dev.jsonl"]}}
    base["variants"] = {"base": {}, "off": {"label_drop": "none"}}
    base["flags"] = {"encoder": "e", "head_size": 8}
    merged = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in (base | fields).items()}
    return AblateArguments(**merged)


def cells_of(**fields):
    args = make_arguments(**fields)
    return make_cells(args, read_grid(args))


@pytest.fixture
def config(tmp_path, work, write_set, encoder_folder):
    """A YAML file with a grid of two variants on one set."""
    for name, records in (("train", work[1]), ("dev", work[1][:4])):
        write_set(tmp_path / "work", work[0], records, f"{name}.jsonl")
    content = {
        "sets": {"w": {"train": ["work/train.jsonl"], "dev": ["work/dev.jsonl"], "metric": "relations_f1"}},
        "variants": {"base": {}, "without": {"label_drop": "none"}},
        "flags": {
            "encoder": encoder_folder,
            "head_size": 8,
            "threshold": 0.9,
            "max_steps": 1,
            "save_strategy": "no",
        }
        | {"load_best_model_at_end": False, "eval_strategy": "no"}
        | QUIET,
        "seeds": [1],
        "drop_rates": [0.5, 1.0],
        "label_drop": True,
        "data_root": str(tmp_path),
        "output_dir": str(tmp_path / "out"),
    }
    path = tmp_path / "ablate.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def test_ablate_trains_every_cell_and_writes_tables_and_charts(config, monkeypatch, tmp_path):
    monkeypatch.setattr(experiments, "start_process", lambda folder, lock: run_cell.main([str(folder)]))
    assert cli.main(["ablate", "--config", config]) == 0
    out = tmp_path / "out"
    names = ["cells", "drop_rate.png", "results.csv", "results.json", "results.md", "variants.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    text = (out / "results.md").read_text()
    assert "| variant | w entities | w relations |" in text
    assert "| drop rate | w relations_f1, base |" in text
    assert "| w | base | all kinds | " in text
    assert "| w | without | all kinds | " not in text
    assert {path.name for path in (out / "cells").iterdir()} == {
        "set-w_variant-base_seed-1",
        "set-w_variant-without_seed-1",
    }


def test_ablate_dry_run_shows_cells_and_starts_none(config, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(experiments, "start_process", lambda folder, lock: 1 / 0)
    with caplog.at_level("INFO"):
        assert main(["--config", config, "--dry_run", "--seeds", "1", "2", "--only_variants", "without"]) == 0
    first, second = [message for message in caplog.messages if "_seed-" in message]
    assert first.startswith("set-w_variant-without_seed-1: ldnet finetune --encoder ")
    assert "--label_drop none" in first
    assert "--seed 2 --resume_from_checkpoint true" in second
    assert not (tmp_path / "out").exists()


def test_ablate_wrong_data_shows_before_the_first_training(config, monkeypatch, tmp_path):
    monkeypatch.setattr(experiments, "start_process", lambda folder, lock: 1 / 0)
    (tmp_path / "work" / "dev.jsonl").write_text("{")
    with pytest.raises(ValueError, match=r"dev\.jsonl:1"):
        main(["--config", config])
    assert not (tmp_path / "out").exists()


def test_make_cells_has_every_combination_the_first_seed_first():
    sets = {name: {"train": ["t"], "dev": ["d"]} for name in ("a", "b")}
    cells = cells_of(sets=sets, seeds=[3, 4])
    assert [tuple(cell.factors.values()) for cell in cells] == [
        (name, variant, seed) for seed in (3, 4) for name in ("a", "b") for variant in ("base", "off")
    ]
    assert len({cell.name for cell in cells}) == 8


def test_make_cells_flags_of_the_variant_stand_above_those_of_set_and_grid():
    one = {
        "train": ["t"],
        "dev": ["d"],
        "flags": {"head_size": 16, "num_train_epochs": 3, "instruction": "Find."},
    }
    variants = {"base": {"num_train_epochs": 5, "instruction": None}}
    (cell,) = cells_of(sets={"a": one}, variants=variants, data_root="root", drop_rates=[0.5])
    assert cell.flags == [
        "--encoder", "e", "--head_size", "16", "--num_train_epochs", "5",
        "--train", "root/t", "--dev", "root/d", "--seed", "1", "--resume_from_checkpoint", "true",
    ]  # fmt: skip
    assert cell.measure["instruction"] is None
    assert (cell.measure["drop_rates"], cell.measure["seed"], cell.measure["name"]) == ([0.5], 1, "a")
    assert cell.files == ("root/t", "root/d", "e")
    assert "calibrated" not in cell.measure
    (cell,) = cells_of(sets={"a": one}, variants=variants, data_root="root", calibrated=True)
    assert cell.measure["calibrated"] is True


def test_make_cells_model_of_a_variant_takes_the_place_of_the_encoder():
    variants = {"pre-trained": {"model": "{model}"}, "bare": {}, "other verb": {"verb": "distill", "x": 1}}
    flags = {"encoder": "e"}
    cells = cells_of(variants=variants, flags=flags, model="some/folder")
    assert [cell.flags[:2] for cell in cells] == [
        ["--model", "some/folder"],
        ["--encoder", "e"],
        ["--encoder", "e"],
    ]
    assert [cell.verb for cell in cells] == ["finetune", "finetune", "distill"]
    assert cells[0].files[-1] == "some/folder"
    with pytest.raises(ArgumentsError, match="'pre-trained' on s: needs a checkpoint; name it with --model"):
        cells_of(variants=variants, flags=flags)


def test_make_cells_fills_in_set_seed_and_output_folder_and_knows_stores_by_their_content(tmp_path):
    taught = {"verb": "distill", "stores": ["{output_dir}/{set}-{seed}.arrow"], "transfer_weight": 2}
    grid = dict(variants={"taught": taught}, flags={"encoder": "e"}, output_dir=str(tmp_path), seeds=[1, 2])
    with pytest.raises(ArgumentsError, match=r"'taught' on s: there is no store .*s-1\.arrow; write it with"):
        cells_of(**grid)
    for seed in (1, 2):
        (tmp_path / f"s-{seed}.arrow").write_text("a store")
    first, second = cells_of(**grid)
    assert first.flags[:6] == [
        "--encoder",
        "e",
        "--stores",
        f"{tmp_path}/s-1.arrow",
        "--transfer_weight",
        "2",
    ]
    assert second.files[-1] == f"{tmp_path}/s-2.arrow"
    before = first.to_dict()
    (tmp_path / "s-1.arrow").write_text("another store")
    assert first.to_dict() != before


def test_make_cells_names_every_flag_that_cannot_be_used():
    variants = {
        "a": {"label_dorp": "none"},
        "b": {"label_drop": "never"},
        "c": {"seed": 3},
        "d": {"encoder": None},
        "e": {"num_train_epochs": "many"},
    }
    with pytest.raises(ArgumentsError) as caught:
        cells_of(variants=variants, seeds=[1, 2])
    lines = str(caught.value).splitlines()
    assert len(lines) == 5  # once for both seeds
    for line, name, reason in zip(
        lines,
        "abcde",
        (
            "did you mean 'label_drop'",
            "invalid choice: 'never'",
            "'seed' is set by the grid",
            "names not one of",
            "many",
        ),
        strict=True,
    ):
        assert line.startswith(f"ldnet ablate: variant {name!r} on s: ")
        assert reason in line


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"sets": "{"}, "sets: not JSON"),
        ({"sets": {}}, "sets: {} is no mapping with entries"),
        ({"sets": {"a": 3}}, "sets: 'a' is 3, not a mapping with train and dev"),
        ({"sets": {"a": {"train": ["x"], "dev": ["y"], "metrik": "f1"}}}, "'metrik'. Did you mean 'metric'?"),
        ({"sets": {"a": {"train": ["x"], "dev": []}}}, "no list of record files under 'dev'"),
        (
            {"sets": {"a": {"train": ["x"], "dev": ["y"], "metric": "relation_f1"}}},
            "Did you mean 'relations_f1'?",
        ),
        ({"variants": {"a": 3}}, "variants: 'a' is 3, not flags"),
        ({"only_variants": ["of"]}, "only_variants: there is no 'of'. Did you mean 'off'?"),
        ({"only_sets": ["x"]}, "only_sets: there is no 'x'."),
        ({"seeds": [1, 1]}, "seeds: [1, 1] is empty or repeats a value"),
        ({"drop_rates": [50.0]}, "drop_rates: 50.0 is no share in [0, 1]"),
    ],
)
def test_read_grid_says_what_is_wrong(fields, shown):
    with pytest.raises(ArgumentsError) as caught:
        read_grid(make_arguments(**fields))
    (line,) = str(caught.value).splitlines()
    assert line.startswith("ldnet ablate: ")
    assert shown in line


def test_read_grid_narrows_to_what_was_asked_for():
    sets = {name: {"train": ["t"], "dev": ["d"]} for name in "abc"}
    grid = read_grid(make_arguments(sets=sets, only_sets=["c", "a"], only_variants=["off"]))
    assert (list(grid.sets), list(grid.variants)) == (["a", "c"], ["off"])


def test_as_flags_of_lists_mappings_and_nothing():
    values = {"a": [1, 2], "b": None, "c": True, "d": {"x": 1}, "e": ""}
    assert as_flags(values) == ["--a", "1", "2", "--c", "True", "--d", '{"x": 1}', "--e", ""]


@pytest.mark.parametrize("name", ["ablate", "ablate_pretraining"])
def test_configs_that_ship_make_a_whole_grid(name, caplog, tmp_path):
    content = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    (tmp_path / "stores").mkdir()
    for of_set in content["sets"]:
        (tmp_path / "stores" / f"{of_set}.arrow").write_text("a store")
    flags = ["--output_dir", str(tmp_path), "--data_root", "data", "--model", "checkpoint", "--dry_run"]
    with caplog.at_level("INFO"):
        assert main(["--config", str(CONFIGS / f"{name}.yaml"), *flags]) == 0
    cells = [message for message in caplog.messages if "_seed-" in message]
    assert len(cells) == len(content["sets"]) * len(content["variants"]) * len(content["seeds"]) >= 18
