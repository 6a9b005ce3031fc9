"""Charts of experiments as PNG files, without a display and without global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Point = tuple[float, float, float | None]  # x, mean, standard deviation

SIZE = (7.0, 4.2)  # inches
DOTS_PER_INCH = 150
BAND_OPACITY = 0.15
BARS_WIDTH = 0.8  # of the room that a group has


def make_figure() -> Any:
    """An empty figure.

    Returns:
        A matplotlib `Figure` that no window belongs to.

    Raises:
        ValueError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            "plots: matplotlib is not installed; run pip install 'ldnet[train]', or turn them off with "
            "--plots false"
        ) from error
    return Figure(figsize=SIZE, dpi=DOTS_PER_INCH, layout="constrained")


def save_lines(
    path: Path, series: Mapping[str, Sequence[Point]], *, title: str, x_label: str, y_label: str = "F1"
) -> None:
    """Draw a line with a band of one standard deviation for each series.

    Args:
        path: PNG file.
        series: Name -> points, in the order of x.
        title: Above the chart.
        x_label: Below it.
        y_label: Beside it.

    Raises:
        ValueError: If matplotlib is not installed.
        OSError: If the file cannot be written.
    """
    figure = make_figure()
    axes = figure.add_subplot()
    for name, points in series.items():
        x, mean, std = zip(*points, strict=True)
        (line,) = axes.plot(x, mean, marker="o", markersize=3.5, label=name)
        if any(std):
            low, high = ([m + sign * (s or 0) for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
            axes.fill_between(x, low, high, color=line.get_color(), alpha=BAND_OPACITY, linewidth=0)
    axes.set_xticks(sorted({point[0] for points in series.values() for point in points}))
    _finish(path, figure, axes, title, x_label, y_label)


def save_bars(
    path: Path,
    groups: Sequence[str],
    series: Mapping[str, Mapping[str, tuple[float, float | None]]],
    *,
    title: str,
    y_label: str = "F1",
) -> None:
    """Draw a group of bars, with standard deviations, for each of several names.

    Args:
        path: PNG file.
        groups: Names below the bars.
        series: Name of a colour -> group -> mean and standard deviation; a group may lack it.
        title: Above the chart.
        y_label: Beside it.

    Raises:
        ValueError: If matplotlib is not installed.
        OSError: If the file cannot be written.
    """
    figure = make_figure()
    axes = figure.add_subplot()
    width = BARS_WIDTH / max(len(series), 1)
    for place, (name, bars) in enumerate(series.items()):
        there = [(i, *bars[group]) for i, group in enumerate(groups) if group in bars]
        x = [i + (place - (len(series) - 1) / 2) * width for i, *_ in there]
        error = [std or 0 for *_, std in there]
        axes.bar(
            x, [mean for _, mean, _ in there], width, yerr=error, label=name, error_kw={"linewidth": 0.8}
        )
    axes.set_xticks(range(len(groups)), groups)
    _finish(path, figure, axes, title, "", y_label)


def _finish(path: Path, figure: Any, axes: Any, title: str, x_label: str, y_label: str) -> None:
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize="small", frameon=False)
    beside = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(beside, format="png", metadata={"Software": None})
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
