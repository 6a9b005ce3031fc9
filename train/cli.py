"""The command `ldnet`: lists the verbs and turns errors into one line each; nothing else."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from ldnet import __version__
from ldnet.train.commands import calibrate, ceiling, convert, evaluate, extract, validate

WRONG_INPUT = 2  # exit code
# Click's error, or that of the copy of click inside newer versions of typer.
UsageError = typer.BadParameter.__base__

# Verbs with the flags of `TrainingArguments`: their own parser reads them.
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

app = typer.Typer(
    name="ldnet",
    epilog="ldnet VERB --help explains a verb and shows examples. Exit code 2: the input is wrong, with a "
    "line on stderr for each problem; the variable LDNET_TRACEBACK=1 shows where it was found.",
    add_completion=False,
    rich_markup_mode=None,  # plain help: the examples stay as they are, and it is there at once
    pretty_exceptions_enable=False,
)


@app.command("finetune", add_help_option=False, context_settings=PASSED_ON)
def finetune(context: typer.Context) -> int:
    """Train a model on your own records."""
    from ldnet.train.commands.finetune import main as run

    return run(context.args)


@app.command("pretrain", add_help_option=False, context_settings=PASSED_ON)
def pretrain(context: typer.Context) -> int:
    """Train a model on many data sets at once."""
    from ldnet.train.commands.pretrain import main as run

    return run(context.args)


@app.command("distill", add_help_option=False, context_settings=PASSED_ON)
def distill(context: typer.Context) -> int:
    """Train a student that learns from teachers too."""
    from ldnet.train.commands.distill import main as run

    return run(context.args)


def pass_on(context: typer.Context) -> int:
    """Hand all arguments over to the verb's module, which is imported now."""
    return importlib.import_module(f"ldnet.train.commands.{context.info_name}").main(context.args)


for verb, words in {
    "fewshot": "Train on a few examples of each label, several times.",
    "zeroshot": "Score a model on sets that it has not seen.",
    "ablate": "Train variants of a model and compare them.",
}.items():
    app.command(verb, help=words, add_help_option=False, context_settings=PASSED_ON)(pass_on)


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Universal information extraction: entities, relations and opinions from a schema that you write."""
    if version:
        print(f"ldnet {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


app.command("extract")(extract.run)
app.command("evaluate")(evaluate.run)
app.command("calibrate")(calibrate.run)
app.command("ceiling")(ceiling.run)
app.command("validate")(validate.run)
app.command("convert")(convert.run)


def problem_lines(error: Exception) -> list[str] | None:
    """What an error that a user can cure says, a line for each problem.

    Args:
        error: What a verb raised.

    Returns:
        Lines for stderr; `None` for an error of ours, which keeps its traceback.
    """
    from ldnet.train.reporting import one_line

    safetensors = sys.modules.get("safetensors")  # not imported for this: an error of it needs it loaded
    if isinstance(error, UsageError):
        command = error.ctx.command_path if error.ctx else "ldnet"
        problems = [f"{command}: {error.format_message()} See {command} --help"]
    elif isinstance(error, ValueError):
        problems = getattr(error, "problems", None) or [str(error) or type(error).__name__]
    elif isinstance(error, OSError):
        where = "" if error.filename is None else f"{error.filename}: "
        problems = [
            f"{where}{error.strerror}. Check the path and the disk." if error.strerror else str(error)
        ]
    elif safetensors is not None and isinstance(error, safetensors.SafetensorError):
        problems = [f"the weights are damaged or cut off ({error}). Copy or download the model again."]
    else:
        return None
    return [one_line(problem) for problem in problems]


def run_guarded(verb: Callable[[], int | None]) -> int:
    """Run something whose wrong input is to be a line for each problem; for modules run by `python -m` too.

    Args:
        verb: What to run.

    Returns:
        Its exit code; 2 for wrong input, 130 if interrupted.
    """
    try:
        return verb() or 0
    except SystemExit as stop:  # argparse in finetune, or a reader that closed the pipe
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        lines = problem_lines(error)
        if lines is None or os.environ.get("LDNET_TRACEBACK"):
            raise
        print("\n".join(lines), file=sys.stderr)
        return WRONG_INPUT


def main(argv: list[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv: What follows `ldnet`; `None` = the arguments of the process.

    Returns:
        Exit code: 0, 2 for wrong input, 130 if interrupted.
    """
    return run_guarded(lambda: app(args=argv, prog_name="ldnet", standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
