import builtins

import pytest

from ldnet.train.plots import make_figure, save_bars, save_lines


def size_of(path):
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    return tuple(int.from_bytes(content[at : at + 4], "big") for at in (16, 20))


def test_charts_are_png_files_of_one_size_and_nothing_else(tmp_path):
    lines = {"a": [(1, 20.0, 1.0), (5, 40.0, None)], "b": [(1, 30.0, None), (10, 50.0, None)]}
    save_lines(tmp_path / "lines.png", lines, title="t", x_label="x")
    bars = {"v": {"one": (1.0, None), "two": (2.0, 0.5)}, "w": {"two": (3.0, 0.1)}}
    save_bars(tmp_path / "bars.png", ["one", "two"], bars, title="t")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars.png", "lines.png"]
    assert size_of(tmp_path / "lines.png") == size_of(tmp_path / "bars.png") == (1050, 630)


def test_equal_figures_give_equal_files(tmp_path):
    for name in ("a.png", "b.png"):
        save_bars(tmp_path / name, ["one"], {"v": {"one": (1.0, None)}}, title="t")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_chart_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="none"):
        save_lines(tmp_path / "none" / "x.png", {"a": [(1, 2.0, None)]}, title="t", x_label="x")
    assert list(tmp_path.iterdir()) == []


def test_missing_matplotlib_is_one_line_that_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"pip install 'ldnet\[train\]'"):
        make_figure()
