import json

from ldnet.train.ablation_report import (
    Table,
    drop_rate_section,
    headline,
    label_drop_section,
    scores_section,
    write_report,
)
from ldnet.train.experiments import Outcome, aggregate


def result(variant, seed, **values):
    """What a cell on the set `s` leaves; `f1_at_50` is F1 at the drop rate 50 %."""
    rows = []
    for metric, value in values.items():
        metric, _, rate = metric.partition("_at_")
        row = {"set": "s", "metric": metric, "value": value}
        rows.append(row | ({"drop_rate": int(rate) / 100} if rate else {}))
    return {"factors": {"set": "s", "variant": variant, "seed": seed}, "rows": rows}


OFF = {"f1": 40.0, "entities_f1": 59.0, "relations_f1": 20.0}
RATES = {"f1_at_50": 45.0, "f1_at_100": 50.0}
OUTCOME = Outcome(
    [
        result("base", 1, f1=50.0, entities_f1=60.0, relations_f1=40.0, entities_recall=9.0, **RATES),
        result("off", 1, **OFF, label_drop_accuracy=98.0, relevance_f1_ta=70.0),
        result("base", 2, f1=54.0, entities_f1=64.0, relations_f1=44.0, f1_at_50=47.0, f1_at_100=54.0),
    ],
    {"variant-off_seed-2": "exit code 2"},
)
TABLE = Table(aggregate(OUTCOME.rows))


def test_scores_section_compares_every_variant_with_the_first():
    assert scores_section(TABLE, "base").splitlines() == [
        "| variant | s entities | s relations |",
        "| --- | ---: | ---: |",
        "| base | 62.0 ± 2.8 | 42.0 ± 2.8 |",
        "| off | 59.0 (-3.0) | 20.0 (-22.0) |",
    ]


def test_drop_rate_section_has_a_row_for_each_rate():
    assert drop_rate_section(TABLE, {}).splitlines() == [
        "| drop rate | s f1, base |",
        "| --- | ---: |",
        "| 50 % | 46.0 ± 1.4 |",
        "| 100 % | 52.0 ± 2.8 |",
    ]
    assert drop_rate_section(Table([]), {}) == ""


def test_label_drop_section_shows_accuracy_beside_f1():
    assert label_drop_section(TABLE).splitlines()[2:] == [
        "| s | off | all kinds | 98.0 | - | - | - |",
        "| s | off | TA | - | - | - | 70.0 |",
    ]
    assert label_drop_section(Table([])) == ""


def test_headline_is_the_mean_unless_another_is_named():
    assert (headline({"s": "relations_f1"}, "s"), headline({}, "s")) == ("relations_f1", "f1")
    assert headline({"s": "relations_f1"}, "s calibrated") == "relations_f1"


def test_write_report_writes_tables_and_charts(tmp_path):
    text = write_report(OUTCOME, tmp_path, "base", {"s": "f1"}, plots=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "drop_rate.png",
        "results.csv",
        "results.json",
        "results.md",
        "variants.png",
    ]
    assert (tmp_path / "results.md").read_text() == text
    assert [line for line in text.splitlines() if line.startswith("##")][1:] == [
        "## Drop rate",
        "## Label drop by itself",
    ]
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["failed"] == OUTCOME.failed
    assert written["table"][0]["values"] == [50.0, 54.0]
    assert (tmp_path / "results.csv").read_text().splitlines()[:2] == [
        "set,variant,metric,mean,std,n,values,drop_rate",
        "s,base,f1,52.0000,2.8284,2,50.0000 54.0000,",
    ]


def test_write_report_of_nothing_draws_nothing(tmp_path):
    write_report(Outcome(), tmp_path, "base", {}, plots=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv", "results.json", "results.md"]
