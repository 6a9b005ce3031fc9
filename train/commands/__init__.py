"""One file per verb of the command line; here is what several verbs share."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ldnet.processing.schema import Schema

# Of a mention where only a tokenizer is given: no setting shall limit the oracle.
MAX_FRAGMENTS = 8
SCHEMA_HELP = (
    "What to look for: JSON such as '[\"person\"]', or a .json or .yaml file. "
    "Default: the schema.json beside the data"
)
SchemaOption = Annotated[
    str | None, typer.Option("--schema", help=f"{SCHEMA_HELP}, else the labels of its records.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Folder or Hub id. Default: the checkpoint inside the package.")
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder", help="Folder or Hub id of an encoder whose tokens count, instead of a model's."
    ),
]
DATA_HELP = "Records: .jsonl, .jsonl.gz, .json or .parquet."
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold", help="Keep what scores above this, between 0 and 1. Default: the model's own."
    ),
]


class Overlap(StrEnum):
    """What to do with entities at the same tokens."""

    nested = "nested"
    one_type = "one_type"
    flat = "flat"


OverlapOption = Annotated[
    Overlap | None,
    typer.Option(
        "--overlap",
        help="nested keeps all, one_type one type of each mention and trigger, flat of the entities also the "
        "best that do not overlap. Default: the model's own.",
    ),
]
SchemaCacheOption = Annotated[
    Path | None,
    typer.Option(
        "--schema-cache",
        metavar="FILE",
        help="Keep the label states of the schema in this file: read if it fits, else written anew. Saves "
        "time with hundreds of labels.",
    ),
]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", min=1, help="Texts of a batch.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the scores to this file as JSON.")]


def note(message: str) -> None:
    """Say something on stderr that is no error.

    Args:
        message: One line.
    """
    typer.echo(message, err=True)


def load_data(data: Path, schema: str | None) -> tuple[list[dict[str, Any]], "Schema"]:
    """Checked records, and what to ask of their texts.

    Args:
        data: File of records.
        schema: What the user gave: JSON or a file; `None` = the `schema.json` beside the data, else the
            labels of the records.

    Returns:
        Records and schema.

    Raises:
        RecordError: With every problem of the records.
        SchemaError: With every problem of the schema.
    """
    from ldnet.processing.schema import Schema
    from ldnet.train.data import load_records, load_schema_for
    from ldnet.train.sources import schema_of_records

    if schema is not None:
        asked = Schema.from_any(schema)
        return load_records(data, asked), asked
    beside = load_schema_for(data)
    records = load_records(data, beside)
    return records, schema_of_records(beside, records)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No bars and remarks of transformers while the block runs, so that stderr holds our lines only.

    On a terminal the bars stay: loading from the Hub may take its time.
    """
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_pipeline(model: str | None) -> Any:
    """The pipeline of a checkpoint, loaded without remarks.

    Args:
        model: Folder or Hub id; `None` = the embedded default.

    Returns:
        The pipeline.

    Raises:
        ModelError: If it cannot be loaded.
    """
    with quiet_libraries():
        from ldnet.train import loading

        return loading.load_pipeline(model)


def load_processor(model: str | None, encoder: str | None) -> Any:
    """Only the processor: for what needs tokens but no weights.

    Args:
        model: Folder or Hub id of a checkpoint; `None` = the embedded default.
        encoder: Folder or Hub id of an encoder, instead of a model.

    Returns:
        The processor.

    Raises:
        ValueError: If both are given, or there is no such tokenizer.
    """
    if model is not None and encoder is not None:
        raise ValueError("--model and --encoder: both are given; name the one whose tokens count")
    with quiet_libraries():
        from ldnet.processing.processing_ldnet import LDNetProcessor
        from ldnet.train import loading

        name = encoder or model or str(loading.DEFAULT_MODEL_FOLDER)
        try:
            if encoder is not None:
                return LDNetProcessor.from_tokenizer(
                    loading.resolve_encoder(encoder), max_fragments=MAX_FRAGMENTS
                )
            return LDNetProcessor.from_pretrained(name)
        except loading.ModelError:
            raise
        except (OSError, ValueError) as error:
            reason = str(error).strip().split("\n")[0]
            raise ValueError(
                f"{name}: its tokenizer cannot be loaded ({reason}). Name a folder or Hub id that has one."
            ) from error


def cache_option(path: Path | None) -> dict[str, str]:
    """The pipeline's `schema_cache`, checked before the model is loaded.

    Args:
        path: What the user gave.

    Returns:
        The option; empty without a file.

    Raises:
        OSError: If it is a folder, or in a folder that does not exist.
    """
    from ldnet.train.reporting import check_target

    check_target(path)
    return {} if path is None else {"schema_cache": str(path)}


def model_name(model: str | None) -> str:
    """What reports call a model.

    Args:
        model: What the user gave.

    Returns:
        The same, or the name of the embedded default.
    """
    from ldnet.train import loading

    return loading.DEFAULT_MODEL_FOLDER.name if model is None else model


def text_problem(text: Any) -> tuple[str, str] | None:
    """Why a text cannot be extracted from.

    Args:
        text: What was given as a text.

    Returns:
        What is wrong and what to do, or `None`.
    """
    if not isinstance(text, str):
        return "not a string", "Write the text in quotes."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half of a surrogate pair in it", "Decode the text again from its source."
    return None
