"""The table of formats, and reading and writing by name."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ldnet.processing.converters.brat import read_brat, write_brat
from ldnet.processing.converters.conll import read_conll, write_conll
from ldnet.processing.converters.doccano import read_doccano
from ldnet.processing.converters.dygie import read_dygie
from ldnet.processing.converters.files import json_rows
from ldnet.processing.converters.gliner import read_gliner
from ldnet.processing.converters.gliner2 import read_gliner2
from ldnet.processing.converters.label_studio import write_label_studio
from ldnet.processing.converters.label_studio_export import read_label_studio
from ldnet.processing.converters.mirror import read_mirror
from ldnet.processing.converters.report import AlignmentReport, ConversionError, fail
from ldnet.processing.converters.spacy_docbin import read_spacy, write_spacy
from ldnet.processing.converters.spert import read_spert
from ldnet.processing.converters.squad import read_squad
from ldnet.processing.converters.uie import read_uie
from ldnet.processing.schema import Schema
from ldnet.processing.schema_types import did_you_mean

RECORDS = "records"


@dataclass(frozen=True)
class Format:
    """One format.

    Args:
        about (`str`): What its files are.
        read (`Callable`, *optional*): `read(path, report, **options)` gives records.
        write (`Callable`, *optional*): `write(records, path, report, **options)`.
        suffixes (`tuple[str, ...]`): Endings of file names that no other format has.
        keys (`tuple[tuple[str, ...], ...]`): Keys of a row that show the format; any one group of them.
        needs_path (`bool`): Whether it is a folder or bytes, so that it cannot go to stdout.
    """

    about: str
    read: Callable[..., Iterator[dict[str, Any]]] | None = None
    write: Callable[..., None] | None = None
    suffixes: tuple[str, ...] = ()
    keys: tuple[tuple[str, ...], ...] = ()
    needs_path: bool = False


# In the order in which `guess_format` asks: the more particular keys first.
FORMATS: dict[str, Format] = {
    "bio": Format(
        "columns of tokens and tags: CoNLL, BIO, IOBES, BILOU",
        read_conll,
        write_conll,
        (".conll", ".bio", ".iob", ".iob2", ".iobes", ".bioes", ".conllu"),
    ),
    "brat": Format("folder of .txt and .ann (standoff)", read_brat, write_brat, (".ann",), needs_path=True),
    "spacy": Format("DocBin", read_spacy, write_spacy, (".spacy",), needs_path=True),
    "gliner": Format("GLiNER training rows", read_gliner, keys=(("tokenized_text", "ner"),)),
    "gliner2": Format("GLiNER2 training rows", read_gliner2, keys=(("input", "output"),)),
    "mirror": Format("Mirror's unified data", read_mirror, keys=(("schema", "ans"),)),
    "dygie": Format("DyGIE++ and PURE documents", read_dygie, keys=(("sentences", "doc_key"),)),
    "uie": Format(
        "UIE: PaddleNLP's prompts, or the T5 version's tokens",
        read_uie,
        keys=(("content", "prompt", "result_list"), ("tokens", "spot"), ("tokens", "entity")),
    ),
    "spert": Format("SpERT documents", read_spert, keys=(("tokens", "entities", "relations"),)),
    "squad": Format("SQuAD 1.1 and 2.0", read_squad, keys=(("data", "version"), ("context", "question"))),
    "label-studio": Format(
        "Label Studio: export (JSON, JSON-MIN) in, tasks with pre-annotations out",
        read_label_studio,
        write_label_studio,
        keys=(("data", "annotations"), ("data", "completions"), ("annotator", "annotation_id")),
    ),
    "doccano": Format(
        "doccano export",
        read_doccano,
        keys=(("text", "label"), ("data", "label"), ("text", "Comments"), ("text", "cats")),
    ),
}
ALIASES = {"conll": "bio", "pure": "dygie", "docbin": "spacy"}
OWN_KEYS = ("entities", "relations", "hyper_relations", "events", "classes", "question", "spans")


def format_named(name: str, verb: str) -> Format:
    """The format of a name.

    Args:
        name (`str`): A key of `FORMATS`.
        verb (`str`): What is to be done with it: "read" or "write".

    Raises:
        ConversionError: If there is no such format, or it cannot be read (written).
    """
    able = [key for key, item in FORMATS.items() if getattr(item, verb)]
    name = ALIASES.get(name, name)
    if name not in able:
        why = f"there is no way to {verb} it" if name in FORMATS else "is not known"
        allowed = ", ".join([RECORDS, *able])
        fail(f"format {name!r}: {why}. Allowed: {allowed}.{did_you_mean(name, able)}")
    return FORMATS[name]


def guess_format(path: str | Path) -> str:
    """The format of a file or folder, by its name and the keys of its first row.

    Args:
        path (`str` or `Path`): What is to be read.

    Returns:
        A key of `FORMATS`, or "records".

    Raises:
        ConversionError: If it shows no format, or several.
        OSError: If it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        found = ["brat"] if next(path.rglob("*.ann"), None) else []
    else:
        name = path.name.lower()
        found = [key for key, item in FORMATS.items() if name.endswith(item.suffixes)]
        if not found and name.endswith((".json", ".jsonl", ".jsonl.gz", ".json.gz", ".parquet")):
            _, row = next(json_rows(path, AlignmentReport(str(path))), ("", {}))
            found = _formats_of(row)
    if len(found) != 1:
        shown = f"could be {' or '.join(found)}" if found else "shows no format"
        fail(f"{path}: {shown}. Name it with --from: {', '.join([RECORDS, *FORMATS])}.")
    return found[0]


def _formats_of(row: dict[str, Any]) -> list[str]:
    found = [
        name for name, item in FORMATS.items() if any(all(key in row for key in group) for group in item.keys)
    ]
    if "label-studio" in found:  # whose JSON-MIN may have a control "label"
        found = ["label-studio"]
    lists = [item for key in OWN_KEYS for item in row.get(key) or () if isinstance(row.get(key), list)]
    own = isinstance(row.get("text"), str) and any(key in row for key in OWN_KEYS)
    if own and not any("start_offset" in item for item in lists if isinstance(item, dict)):
        found.append(RECORDS)
    return found or (["doccano"] if own else [])


def options_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The options of a reader or writer: its keyword-only parameters that a user can spell."""
    parameters = inspect.signature(function).parameters
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "schema"
    }


def parse_options(function: Callable[..., Any], given: dict[str, str]) -> dict[str, Any]:
    """Options from their text.

    Args:
        function (`Callable`): A reader or writer.
        given (`dict[str, str]`): Name -> text.

    Returns:
        Name -> value of the parameter's type.

    Raises:
        ConversionError: With every option that there is not, and every value that cannot be.
    """
    options, problems, values = options_of(function), [], {}
    for name, text in given.items():
        if name not in options:
            allowed = ", ".join(options) or "none"
            problems.append(f"--set {name}: no such option. Allowed: {allowed}.{did_you_mean(name, options)}")
            continue
        choices = get_args(options[name].annotation)
        values[name] = text
        if choices and text not in choices:
            problems.append(f"--set {name}={text}: unknown value. Allowed: {', '.join(choices)}.")
        elif options[name].annotation is int:
            try:
                values[name] = int(text)
            except ValueError:
                problems.append(f"--set {name}={text}: not a whole number. Write e.g. {name}=-1.")
    if problems:
        raise ConversionError(problems)
    return values


def read_format(
    name: str, path: str | Path, report: AlignmentReport, *, schema: Schema | None = None, **options: Any
) -> Iterator[dict[str, Any]]:
    """Read a file of a named format; the report is complete when the last record was taken.

    Args:
        name (`str`): A key of `FORMATS`.
        path (`str` or `Path`): File or folder.
        report (`AlignmentReport`): Filled.
        schema (`Schema`, *optional*): What was annotated, where a format does not say it.
        **options (`Any`): Options of the reader.

    Returns:
        The records.

    Raises:
        ConversionError: If the file is not in the format.
        OSError: If it cannot be read.
    """
    read = format_named(name, "read").read
    if "schema" in inspect.signature(read).parameters:
        options["schema"] = schema
    return read(path, report, **options)


def write_format(
    name: str, records: Iterable[dict[str, Any]], path: str | Path, report: AlignmentReport, **options: Any
) -> None:
    """Write records in a named format.

    Args:
        name (`str`): A key of `FORMATS`.
        records (`Iterable[dict]`): Records in our format.
        path (`str` or `Path`): File or folder; `-` is stdout, for formats of text.
        report (`AlignmentReport`): Filled.
        **options (`Any`): Options of the writer.

    Raises:
        ConversionError: If the format cannot be written, or not there.
        OSError: If the file cannot be written.
    """
    found = format_named(name, "write")
    if found.needs_path and str(path) == "-":
        fail(f"format {name!r}: cannot be written to stdout. Name a file or folder with --output.")
    found.write(records, path, report, **options)


def rename_labels(record: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A record with other names for its labels.

    Args:
        record (`dict`): A record in our format.
        names (`dict[str, str]`): Label -> its new name; types, roles, classes and tasks alike.

    Returns:
        A new record.
    """

    def rename(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            inner = {name: rename(item, name) for name, item in value.items()}
            tasks = key == "classes"  # whose keys are labels too
            return {names.get(name, name): item for name, item in inner.items()} if tasks else inner
        if isinstance(value, list):
            return [rename(item, key) for item in value]
        return names.get(value, value) if isinstance(value, str) and key not in NOT_LABELS else value

    return {key: rename(value, key) for key, value in record.items()}


NOT_LABELS = ("id", "text", "question", "image")
