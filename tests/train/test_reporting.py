import gzip
import io
import json
import os
import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_examples import FULL
from rich.console import Console

from ldnet.processing.schema import Schema
from ldnet.train.metrics import ExtractionMetrics
from ldnet.train.reporting import (
    atomic_write,
    check_target,
    format_score,
    make_console,
    one_line,
    printable,
    result_table,
    scores_table,
    to_json,
    write_json,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(renderable, monkeypatch, columns=100):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "dumb")  # no styles
    make_console().print(renderable)
    return screen.getvalue()


def test_atomic_write_without_error_replaces_the_file(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("new – ü\r\n")
        assert path.read_text() == "old"
    assert path.read_bytes() == "new – ü\r\n".encode()
    assert os.listdir(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_write_with_error_leaves_nothing_behind(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as file:
            file.write("half")
            raise error

    pytest.raises(error, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_atomic_write_gz_is_compressed_and_reproducible(tmp_path):
    contents = []
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        with atomic_write(tmp_path / name) as file:
            file.write("línea\n" * 100)
        contents.append((tmp_path / name).read_bytes())
    assert gzip.decompress(contents[0]).decode() == "línea\n" * 100
    assert contents[0] == contents[1]
    assert contents[0][3:8] == bytes(5)  # no name, no time


def test_atomic_write_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with atomic_write(tmp_path / "link.txt") as file:
        file.write("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_atomic_write_gives_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("")
    with atomic_write(tmp_path / "ours") as file:
        file.write("")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")]
    assert modes[0] == modes[1]


def test_atomic_write_to_a_device_writes_to_it():
    with atomic_write(os.devnull) as file:
        file.write("gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_check_target_that_cannot_be_written_is_an_error(tmp_path):
    check_target(None)
    check_target(tmp_path / "new.json")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_target(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing.new\.json: its folder does not exist"):
        check_target(tmp_path / "missing" / "new.json")


def test_write_json_with_nan_is_an_error_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"f1": float("nan")})
    assert os.listdir(tmp_path) == []


def test_write_json_keeps_characters(tmp_path):
    write_json(tmp_path / "x.json", {"北京": 1})
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n "北京": 1\n}\n'


@given(st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\x85\u2028\u2029\r\n"))))
def test_to_json_is_one_line_that_reads_back(text):
    line = to_json({"text": text})
    assert line.splitlines() == [line]
    assert json.loads(line) == {"text": text}


@given(st.text())
def test_printable_and_one_line_have_no_control_characters(text):
    assert all(c.isprintable() or c == "\n" for c in printable(text))
    assert one_line(text).isprintable()


def test_one_line_joins_lines_and_escapes_escapes():
    assert one_line("a\n  b\t\x1b[31mc") == "a b \\x1b[31mc"


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, "-"), (12345, "12,345"), (83.3333, "83.33"), (0.0, "0.00"), ([80.04, 90.06], "80.0-90.1")],
)
def test_format_score(value, cell):
    assert format_score(value) == cell


def test_scores_table_shows_micro_macro_labels_and_interval(monkeypatch):
    schema = Schema.from_any(["[LM] person", "place"])
    metrics = ExtractionMetrics(schema)
    found = [{"type": "[LM] person", "start": i, "end": i + 1} for i in range(3)]
    place = {"type": "place", "start": 0, "end": 1}
    metrics.add({"entities": [*found[:2], place]}, {"entities": found})
    rows = [line for line in shown(scores_table(metrics.to_dict()), monkeypatch).splitlines() if "│" in line]
    cells = {row[1].strip(): row[2:7] for row in (line.split("│") for line in rows)}
    cells = {name: [cell.strip() for cell in row] for name, row in cells.items()}
    assert cells["entities"] == ["3", "66.67", "66.67", "66.67", "66.7-66.7"]
    assert cells["macro"] == ["", "", "", "40.00", ""]
    assert cells["[LM] person"] == ["2", "66.67", "100.00", "80.00", ""]
    assert cells["place"] == ["1", "-", "0.00", "0.00", ""]


def test_scores_table_of_classes_and_answers_names_their_own_scores(monkeypatch):
    schema = Schema.from_any({"classes": {"topic": ["[a]", "b"]}, "question": "?"})
    metrics = ExtractionMetrics(schema)
    gold = {"text": "Ann met", "classes": {"topic": ["[a]"]}, "answers": [{"start": 0, "end": 3}]}
    metrics.add(gold, {"classes": {"topic": ["[a]"]}, "answers": [{"start": 0, "end": 7}]})
    metrics.add(gold | {"classes": {"topic": ["b"]}}, {"classes": {"topic": ["[a]"]}, "answers": []})
    metrics.add(gold | {"classes": {"topic": ["b"]}, "answers": []}, {"classes": {"topic": ["b"]}})
    screen = shown(scores_table(metrics.to_dict(bootstrap=0)), monkeypatch)
    lines = [line.split("│")[1:-1] for line in screen.splitlines() if "│" in line]
    assert [(row[0][1:].rstrip(), *(cell.strip() for cell in row[1:])) for row in lines] == [
        ("answers", "3", "", "", "55.56", "-"),
        ("  exact match", "", "", "", "33.33", ""),
        ("  answerable", "2", "", "", "33.33", ""),
        ("    exact match", "", "", "", "0.00", ""),
        ("  unanswerable", "1", "", "", "100.00", ""),
        ("    exact match", "", "", "", "100.00", ""),
        ("classes", "3", "66.67", "66.67", "66.67", "-"),
        ("  macro", "", "", "", "66.67", ""),
        ("  topic", "3", "66.67", "66.67", "66.67", "-"),
        ("    macro", "", "", "", "66.67", ""),
        ("    accuracy", "", "", "", "66.67", ""),
        ("    Matthews", "", "", "", "50.00", ""),
        ("  topic: [a]", "1", "50.00", "100.00", "66.67", ""),
        ("  topic: b", "2", "100.00", "50.00", "66.67", ""),
    ]


def test_result_table_shows_mentions_relations_and_no_markup(monkeypatch):
    ann = {"type": "[b]person", "start": 0, "end": 3, "text": "Ann", "score": 0.91}
    pair = {"start": 4, "end": 9, "fragments": [[4, 5], [7, 9]], "type": None, "text": "B :ok:", "score": 0.7}
    result = {
        "text": "Ann\x1b[2J [red]B[/red]",
        "entities": [ann],
        "relations": [{"type": "knows", "head": ann, "tail": pair, "score": 0.5}],
        "truncated": True,
    }
    screen = shown(result_table(result), monkeypatch)
    assert "\x1b" not in screen
    assert "Ann\\x1b[2J [red]B[/red]" in screen
    row = next(line for line in screen.splitlines() if "knows" in line)
    assert "Ann ([b]person) → B :ok:" in row
    assert "0-3 → 4-5, 7-9" in row
    assert "0.50" in row
    assert "not complete" in screen


def test_result_table_shows_events_facts_classes_answers_and_spans():
    screen = io.StringIO()
    Console(file=screen, width=140).print(result_table(FULL))
    lines = screen.getvalue().splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert rows[4:] == [
        ["relation", "works for", "Ann Lee (person) → Acme (organization)", "0-7 → 11-15", "0.75"],
        ["hyper-relation", "employer", "Acme (organization) → said", "11-15 → 16-20", "0.65"],
        ["qualifier", "place", "arms", "36-40", "0.60"],
        ["event", "statement", "said", "16-20", "0.55"],
        ["argument", "speaker", "Ann Lee", "0-7", "0.45"],
        ["argument", "topic", "arms", "36-40", "0.60"],
        ["class", "tone: neutral", "", "", "0.85"],
        ["answer", "", "Ann Lee", "0-7", "0.95"],
        ["span", "", "<b>pain</b>", "21-32", "0.35"],
    ]
    assert lines[1] == "Who spoke?"


def test_result_table_of_an_unanswered_question_says_so(monkeypatch):
    result = {"text": "Hm.", "question": "Why?", "answers": [], "truncated": False}
    screen = shown(result_table(result), monkeypatch)
    assert [line.strip() for line in screen.splitlines()] == ["Hm.", "Why?", "no answer"]


def test_result_table_of_nothing_says_so(monkeypatch):
    screen = shown(result_table({"text": "Hm.", "entities": [], "truncated": False}), monkeypatch)
    assert [line.strip() for line in screen.splitlines()] == ["Hm.", "nothing found"]


def test_make_console_to_a_pipe_does_not_cut_names(capsys):
    metrics = ExtractionMetrics(Schema.from_any(["a very long label " * 5 + "end"]))
    metrics.add(
        {"entities": []}, {"entities": [{"type": metrics.schema.labels[0].name, "start": 0, "end": 1}]}
    )
    make_console().print(scores_table(metrics.to_dict()))
    assert metrics.schema.labels[0].name in capsys.readouterr().out


def test_make_console_prints_brackets_and_colons_as_they_are(capsys):
    make_console().print("[red]LM[/red] :smile: [LM]")
    assert capsys.readouterr().out == "[red]LM[/red] :smile: [LM]\n"
