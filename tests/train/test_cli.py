import ast
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from ldnet.processing.schema import SchemaError
from ldnet.train import cli
from ldnet.train.cli import main
from ldnet.train.data import RecordError

# The first read their arguments themselves, with heavy imports.
PASSED_ON = ("finetune", "pretrain", "distill", "fewshot", "zeroshot", "ablate")
LIGHT = ("extract", "evaluate", "calibrate", "ceiling", "validate", "convert")
VERBS = PASSED_ON + LIGHT
TRAIN = Path(cli.__file__).parent


def run(capsys, *arguments):
    capsys.readouterr()
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def fail_with(monkeypatch, error):
    """Make `ldnet validate` raise."""

    def load_schema_for(path):
        raise error

    monkeypatch.setattr("ldnet.train.data.load_schema_for", load_schema_for)


def test_main_help_lists_every_verb(capsys):
    for arguments in ([], ["--help"]):
        code, out, err = run(capsys, *arguments)
        assert (code, err) == (0, "")
        assert all(f"\n  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", LIGHT)
def test_main_help_of_a_verb_shows_two_examples_on_their_own_lines(capsys, verb):
    code, out, _ = run(capsys, verb, "--help")
    lines = [line.strip() for line in out.splitlines()]
    assert code == 0
    assert sum(line.startswith(f"ldnet {verb} ") or f"| ldnet {verb} " in line for line in lines) == 2


def test_main_version(capsys):
    import ldnet

    assert run(capsys, "--version") == (0, f"ldnet {ldnet.__version__}\n", "")


def top_level_imports(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:  # imports in functions and under `if TYPE_CHECKING` cost nothing at the start
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize(
    "name", ["cli.py", *(f"commands/{verb}.py" for verb in LIGHT), "commands/__init__.py"]
)
def test_modules_of_the_command_line_import_nothing_heavy(name):
    allowed = sys.stdlib_module_names | {"typer", "ldnet", "ldnet.train.commands"}
    found = set(top_level_imports(TRAIN / name))
    assert {
        module for module in found if module.split(".")[0] not in allowed and module not in allowed
    } == set()
    assert {m for m in found if m.startswith("ldnet.") and m != "ldnet.train.commands"} == set()


def test_main_finetune_gets_its_arguments_untouched(capsys, monkeypatch):
    seen = []
    fake = type(sys)("ldnet.train.commands.finetune")
    fake.main = lambda argv: seen.append(argv) or 7
    monkeypatch.setitem(sys.modules, "ldnet.train.commands.finetune", fake)
    monkeypatch.setattr("ldnet.train.commands.finetune", fake, raising=False)
    arguments = [
        "--train",
        "a.jsonl",
        "b.jsonl",
        "--bf16",
        "-h",
        "--learning_rate=1e-4",
        "--help",
        "--version",
        "-x5",
    ]
    assert main(["finetune", *arguments]) == 7
    assert seen == [arguments]


def test_main_finetune_that_exits_gives_its_code(monkeypatch):
    def stop(argv):
        raise SystemExit(argv[0] if argv[0] != "3" else 3)

    fake = type(sys)("ldnet.train.commands.finetune")
    fake.main = stop
    monkeypatch.setitem(sys.modules, "ldnet.train.commands.finetune", fake)
    monkeypatch.setattr("ldnet.train.commands.finetune", fake, raising=False)
    assert main(["finetune", "3"]) == 3
    assert main(["finetune", "message"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extrat"], "ldnet: No such command 'extrat'."),
        (["extract", "--modle", "x"], "ldnet extract: No such option: --modle"),
        (["evaluate"], "ldnet evaluate: Missing option '--data'."),
        (["extract", "a", "--batch-size", "0"], "ldnet extract: Invalid value for '--batch-size'"),
        (["extract", "a", "--overlap", "both"], "ldnet extract: Invalid value for '--overlap'"),
    ],
)
def test_main_wrong_usage_is_one_line_and_code_2(capsys, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert "--help" in err


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (ValueError("a\n  wrong value"), ["a wrong value"]),
        (ValueError(), ["ValueError"]),
        (SchemaError(["first", "second"]), ["first", "second"]),
        (RecordError(["a.jsonl:1: x", "a.jsonl:2:\ny"]), ["a.jsonl:1: x", "a.jsonl:2: y"]),
        (
            FileNotFoundError(2, "No such file or directory", "x.json"),
            ["x.json: No such file or directory. Check the path and the disk."],
        ),
        (OSError(28, "No space left on device"), ["No space left on device. Check the path and the disk."]),
        (OSError("Can't load\nthe model"), ["Can't load the model"]),
        (json.JSONDecodeError("Expecting value", "{", 1), ["Expecting value: line 1 column 2 (char 1)"]),
    ],
)
def test_main_expected_error_is_a_line_a_problem_and_code_2(capsys, monkeypatch, error, lines):
    fail_with(monkeypatch, error)
    code, out, err = run(capsys, "validate", "a.jsonl")
    assert (code, out, err.splitlines()) == (2, "", lines)


def test_main_safetensors_error_is_one_line(capsys, monkeypatch):
    from safetensors import SafetensorError

    fail_with(monkeypatch, SafetensorError("Error while deserializing header: incomplete"))
    code, _, err = run(capsys, "validate", "a.jsonl")
    assert code == 2
    assert err.splitlines() == [
        "the weights are damaged or cut off (Error while deserializing header: incomplete). "
        "Copy or download the model again."
    ]


def test_main_unexpected_error_keeps_its_traceback(monkeypatch):
    fail_with(monkeypatch, TypeError("a bug of ours"))
    with pytest.raises(TypeError, match="a bug of ours"):
        main(["validate", "a.jsonl"])


def test_main_with_traceback_asked_for_raises_expected_errors(monkeypatch):
    monkeypatch.setenv("LDNET_TRACEBACK", "1")
    fail_with(monkeypatch, ValueError("expected"))
    with pytest.raises(ValueError, match="expected"):
        main(["validate", "a.jsonl"])


def test_main_interrupted_gives_130(capsys, monkeypatch):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert run(capsys, "validate", "a.jsonl")[0] == 130


def test_console_script_fails_with_code_2_and_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ldnet.train.cli", "validate", "no-such-file.jsonl"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("no-such-file.jsonl: the file cannot be read (No such file or directory).")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "flags", "line"),
    [
        ("averaging", ["--models", "a", "b", "--output", "."], "--output: . is there already"),
        ("release", ["--model", "nothing", "--output", "out"], "nothing"),
        ("baselines", ["--train", "none.jsonl", "--dev", "none.jsonl"], "none.jsonl"),
        ("release", ["--modle", "x"], "did you mean"),
    ],
)
def test_modules_say_what_is_wrong_in_a_line_as_verbs_do(module, flags, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, *flags])
    monkeypatch.delitem(sys.modules, f"ldnet.train.{module}", raising=False)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(f"ldnet.train.{module}", run_name="__main__")
    assert stopped.value.code == 2
    (shown,) = capsys.readouterr().err.splitlines()
    assert line in shown
