"""Tables and charts of a grid of variants: scores, drop rates (Figure 2), label drop accuracy (Table 6)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ldnet.train.experiments import (
    CALIBRATED,
    Outcome,
    Row,
    aggregate,
    markdown_table,
    mean_and_std,
    write_csv,
    write_text,
)
from ldnet.train.metrics import TASKS
from ldnet.train.plots import save_bars, save_lines
from ldnet.train.reporting import write_json

F1 = tuple(f"{task}_f1" for task in TASKS)
RELEVANCE = ("label_drop_accuracy", "relevance_precision", "relevance_recall", "relevance_f1")
KINDS = {"": "all kinds", "_ta": "TA", "_as": "AS", "_a2a": "A2A"}


class Table:
    """Aggregated rows, looked up by what they measure.

    Args:
        rows: What `aggregate` gives; all have `variant`, `set`, `metric`, some a `drop_rate`.
    """

    def __init__(self, rows: Sequence[Row]):
        self.rows = list(rows)
        self._by_key = {self._key(row): row for row in rows}
        self.variants = list(dict.fromkeys(row["variant"] for row in rows))
        self.sets = list(dict.fromkeys(row["set"] for row in rows))
        self.drop_rates = sorted({row["drop_rate"] for row in rows if "drop_rate" in row})

    @staticmethod
    def _key(row: Row) -> tuple:
        return row["variant"], row["set"], row["metric"], row.get("drop_rate")

    def find(self, variant: str, name: str, metric: str, drop_rate: float | None = None) -> Row | None:
        """The row of a quantity, if it was measured."""
        return self._by_key.get((variant, name, metric, drop_rate))

    def tasks(self, name: str) -> list[str]:
        """F1 metrics of a set, in the order of the tasks."""
        there = {row["metric"] for row in self.rows if row["set"] == name}
        return [metric for metric in F1 if metric in there]


def headline(metrics: Mapping[str, str], name: str) -> str:
    """The metric that stands for a set; the mean F1 of its tasks unless another is named."""
    return metrics.get(name.removesuffix(CALIBRATED), "f1")


def scores_section(table: Table, baseline: str) -> str:
    """F1 of every variant, set and task, with the difference to the baseline in brackets.

    Args:
        table: The rows.
        baseline: Name of a variant; differences are to its mean.

    Returns:
        A Markdown table.
    """
    columns = [(name, metric) for name in table.sets for metric in table.tasks(name)]
    rows = []
    for variant in table.variants:
        cells = []
        for name, metric in columns:
            row, base = table.find(variant, name, metric), table.find(baseline, name, metric)
            gain = f" ({row['mean'] - base['mean']:+.1f})" if row and base and variant != baseline else ""
            cells.append(mean_and_std(row) + gain)
        rows.append([variant, *cells])
    header = [f"{name} {metric.removesuffix('_f1')}" for name, metric in columns]
    return markdown_table(["variant", *header], rows)


def drop_rate_section(table: Table, metrics: Mapping[str, str]) -> str:
    """Headline F1 of every set and variant over drop rates (Figure 2, Table 16).

    Args:
        table: The rows.
        metrics: Set -> its headline metric.

    Returns:
        A Markdown table; empty if no drop rate was measured.
    """
    if not table.drop_rates:
        return ""
    first = table.drop_rates[0]
    columns = [
        (variant, name)
        for name in table.sets
        for variant in table.variants
        if table.find(variant, name, headline(metrics, name), first)
    ]
    rows = [
        [
            f"{100 * rate:g} %",
            *(mean_and_std(table.find(v, n, headline(metrics, n), rate)) for v, n in columns),
        ]
        for rate in table.drop_rates
    ]
    header = [f"{name} {headline(metrics, name)}, {variant}" for variant, name in columns]
    return markdown_table(["drop rate", *header], rows)


def label_drop_section(table: Table) -> str:
    """Accuracy of label drop (Table 6) beside precision, recall and F1 of relevance.

    Args:
        table: The rows.

    Returns:
        A Markdown table; empty if it was not measured.
    """
    rows = []
    for name in table.sets:
        for variant in table.variants:
            for suffix, kind in KINDS.items():
                found = [table.find(variant, name, metric + suffix) for metric in RELEVANCE]
                if any(found):
                    rows.append([name, variant, kind, *map(mean_and_std, found)])
    header = ["set", "variant", "links", "label drop accuracy", "relevance P", "R", "F1"]
    return markdown_table(header, rows) if rows else ""


def draw(table: Table, metrics: Mapping[str, str], folder: Path) -> None:
    """Charts: `variants.png` and, where drop rates were measured, `drop_rate.png`.

    Args:
        table: The rows.
        metrics: Set -> its headline metric.
        folder: Where.

    Raises:
        ValueError: If matplotlib is not installed.
    """
    bars: dict[str, dict[str, tuple[float, float | None]]] = {}
    lines: dict[str, list[tuple[float, float, float | None]]] = {}
    for variant in table.variants:
        for name in table.sets:
            if row := table.find(variant, name, headline(metrics, name)):
                bars.setdefault(variant, {})[name] = row["mean"], row["std"]
            points = [
                (rate, table.find(variant, name, headline(metrics, name), rate)) for rate in table.drop_rates
            ]
            measured = [(100 * rate, row["mean"], row["std"]) for rate, row in points if row]
            if measured:
                lines[f"{name}, {variant}" if len(table.variants) > 1 else name] = measured
    if bars:
        save_bars(folder / "variants.png", table.sets, bars, title="Ablations")
    if lines:
        x_label = "drop rate: share of columns that are gated (%)"
        save_lines(folder / "drop_rate.png", lines, title="Label drop", x_label=x_label)


def write_report(
    outcome: Outcome, folder: Path, baseline: str, metrics: Mapping[str, str], plots: bool
) -> str:
    """Write `results.json`, `results.csv`, `results.md` and the charts.

    Args:
        outcome: What was run.
        folder: Where.
        baseline: The variant that others are compared with.
        metrics: Set -> its headline metric.
        plots: Whether to draw.

    Returns:
        The text of `results.md`.
    """
    rows = aggregate(outcome.rows)
    table = Table(rows)
    sections = {
        "F1 (mean ± standard deviation over seeds; in brackets against the first variant)": scores_section(
            table, baseline
        ),
        "Drop rate": drop_rate_section(table, metrics),
        "Label drop by itself": label_drop_section(table),
    }
    text = "\n".join(f"## {title}\n\n{section}" for title, section in sections.items() if section)
    write_json(folder / "results.json", outcome.to_dict() | {"table": rows})
    write_csv(folder / "results.csv", rows)
    write_text(folder / "results.md", text)
    if plots and rows:
        draw(table, metrics, folder)
    return text
