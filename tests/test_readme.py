"""README's code runs and prints what README shows.

A block ```python runs, all of them in one namespace; a block ```text behind it is what it prints. In a block
```bash that a block ```text follows, what starts with `ldnet` runs and prints that (what begins with `{` on a
pipe, all else on a terminal). Figures may differ by 0.02. A block ```python that cannot run here has
`<!-- not run: why -->` on the line before it.
"""

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: \S.* -->\n$")
NUMBER = re.compile(r"-?\d+\.\d+")
FIGURE_TOLERANCE = 0.02


@dataclass
class Block:
    language: str
    code: str
    line: int
    runs: bool
    shown: str | None = None


def read_blocks(text):
    """Code blocks in order; a text block that follows one directly becomes what it shows."""
    blocks, end = [], 0
    for match in BLOCK.finditer(text):
        language, code = match.groups()
        if language == "text" and blocks and not text[end : match.start()].strip():
            blocks[-1].shown = code
        else:
            runs = not NOT_RUN.search(text[: match.start()])
            blocks.append(Block(language, code, text[: match.start()].count("\n") + 1, runs))
        end = match.end()
    return blocks


def assert_prints(printed, shown):
    """Equal but for the spaces around lines and small differences of figures."""
    printed, shown = (
        ["".join(line.split()) for line in text.strip().splitlines()] for text in (printed, shown)
    )
    assert [NUMBER.sub("#", line) for line in printed] == [NUMBER.sub("#", line) for line in shown]
    for have, want in zip(printed, shown, strict=True):
        figures = zip(map(float, NUMBER.findall(have)), map(float, NUMBER.findall(want)), strict=True)
        assert all(abs(a - b) <= FIGURE_TOLERANCE for a, b in figures), f"{have!r} is not {want!r}"


def read_terminal(leader):
    """Everything that a process writes to a terminal."""
    data = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(leader, 65536):
            data += piece
    return data


def run_shell(code, folder, *, terminal=False):
    """Output of the `ldnet` commands of a block; nothing else of it runs."""
    commands = code.replace("\\\n", " ").replace("&&", "\n").splitlines()
    commands = [command.strip().removeprefix("$ ") for command in commands]
    script = "\n".join(["set -e", *(command for command in commands if command.startswith("ldnet "))])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    size = ("COLUMNS", "LINES")  # a dumb terminal of unknown size is 80 wide
    env = {name: value for name, value in os.environ.items() if name not in size}
    env |= {"PATH": path, "NO_COLOR": "1", "TERM": "dumb"}
    leader, follower = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        ["bash", "-c", script],
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.PIPE,
    )
    os.close(follower)
    try:
        printed = read_terminal(leader)
        _, errors = process.communicate(timeout=120)
    finally:
        os.close(leader)
    assert process.returncode == 0, errors.decode()[-2000:]
    return printed.decode()


def test_readme_is_short_and_its_first_code_comes_early():
    lines = README.read_text(encoding="utf-8").splitlines()

    assert len(lines) <= 200
    assert any(line.startswith("```") for line in lines[:15])


def test_readme_s_python_blocks_print_what_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = [b for b in read_blocks(README.read_text(encoding="utf-8")) if b.language == "python" and b.runs]
    assert any(block.shown for block in blocks)

    space = {"__name__": "readme"}
    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * block.line + block.code, README.name, "exec"), space)
        assert_prints(printed.getvalue(), block.shown or "")


def test_readme_s_commands_print_what_is_shown(tmp_path):
    blocks = [b for b in read_blocks(README.read_text(encoding="utf-8")) if b.language == "bash" and b.shown]
    assert blocks

    for block in blocks:
        terminal = not block.shown.startswith("{")
        assert_prints(run_shell(block.code, tmp_path, terminal=terminal), block.shown)


def test_readme_s_blocks_in_other_languages_are_not_code_in_disguise():
    languages = {block.language for block in read_blocks(README.read_text(encoding="utf-8"))}

    assert languages <= {"python", "bash", "json", "text", "bibtex", "yaml"}


def test_read_blocks_pairs_code_with_what_follows_and_reads_reasons():
    text = (
        "# A\n```python\n1\n```\n\n```text\none\n```\ntext\n```text\nalone\n```\n"
        "<!-- not run: needs an account -->\n```python\n2\n```\n<!-- not run: -->\n```python\n3\n```\n"
    )

    found = [(b.language, b.code, b.line, b.runs, b.shown) for b in read_blocks(text)]

    assert found == [
        ("python", "1\n", 2, True, "one\n"),
        ("text", "alone\n", 10, True, None),
        ("python", "2\n", 14, False, None),
        ("python", "3\n", 18, True, None),
    ]


@pytest.mark.parametrize(
    ("shown", "fits"),
    [
        ("a 0.91\nb\n", True),
        ("a   0.90\nb", True),
        ("a 0.95\nb", False),
        ("a 0.91\nc", False),
        ("a 0.91", False),
    ],
)
def test_assert_prints_allows_spaces_and_small_differences_only(shown, fits):
    with contextlib.nullcontext() if fits else pytest.raises(AssertionError):
        assert_prints("a 0.91\nb\n", shown)


@pytest.mark.parametrize("terminal", [False, True])
def test_run_shell_runs_only_our_commands(tmp_path, monkeypatch, terminal):
    (tmp_path / "ldnet").write_text(
        '#!/bin/sh\nif [ -t 1 ]; then echo terminal; else echo pipe; fi; echo "$@"\n'
    )
    (tmp_path / "ldnet").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    folder = tmp_path / "folder"
    folder.mkdir()

    printed = run_shell("touch made && $ ldnet a \\\n  b\nldnet-other\n", folder, terminal=terminal)

    assert printed.splitlines() == ["terminal" if terminal else "pipe", "a b"]
    assert list(folder.iterdir()) == []


def test_run_shell_of_a_failing_command_fails(tmp_path):
    with pytest.raises(AssertionError, match="No such command 'nothing'|nothing"):
        run_shell("ldnet nothing\n", tmp_path)
