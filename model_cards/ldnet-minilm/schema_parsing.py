"""Reading a schema from plain values, JSON text or a file, and writing it back: an exact inverse pair."""

import importlib
import json
from pathlib import Path
from typing import Any

from .schema_types import (
    NESTED,
    SINGULAR,
    STRUCTURES,
    ClassTask,
    LabelType,
    SchemaError,
    did_you_mean,
    show,
)

# What each definition may hold beside its name, in the order in which it is written.
KEYS = {
    "entities": ("description", "threshold"),
    "relations": ("head", "tail", "symmetric", "description", "threshold"),
    "hyper_relations": ("head", "tail", "qualifiers", "description", "threshold"),
    "events": ("roles", "description", "threshold"),
    "qualifiers": ("description", "threshold"),
    "roles": ("description", "threshold"),
    "labels": ("description", "threshold"),
    "classes": ("labels", "multi_label"),
}
# Written even where it holds nothing but its default.
ALWAYS_WRITTEN = ("qualifiers", "roles", "labels", "multi_label")
# Here a name alone is written as a string, elsewhere as {"type": name}.
PLAIN_NAMES = ("entities", "qualifiers", "roles", "labels")
SCALARS = ("question", "spans", "instruction")
EXAMPLE = '{"entities": ["person"], "relations": [{"type": "works for"}]}'
SEPARATOR = "::"  # "name::description" in one string


def parse_schema(value: Any, source: str) -> tuple[dict[str, Any], list[str]]:
    """Read the plain form of a schema.

    Args:
        value (`Any`): The dict of `schema.json`.
        source (`str`): What the messages begin with: a file name, or "Schema".

    Returns:
        The arguments for `Schema`, and one line for each problem of form; the values are checked afterwards.
    """
    if not isinstance(value, dict):
        return {}, [f"{source}: {show(value)} is not a schema. Write {EXAMPLE} or a list of entity types."]
    problems: list[str] = []
    fields: dict[str, Any] = {}
    for key, content in value.items():
        if content is None and key in (*STRUCTURES, *SCALARS):
            continue  # as in records: the same as an absent key
        if key == "classes":
            fields[key] = _parse_classes(content, source, problems)
        elif key in STRUCTURES:
            fields[key] = _parse_list(key, content, source, problems)
        elif key in SCALARS:
            fields[key] = content
        else:
            problems.append(_unknown_key(f"{source}:", key, (*STRUCTURES, *SCALARS)))
    return fields, problems


def _unknown_key(where: str, key: Any, allowed: tuple[str, ...]) -> str:
    near = did_you_mean(key, allowed) or " Correct or remove it."
    return f"{where} unknown key {show(key)}. Allowed: {', '.join(allowed)}.{near}"


def _parse_list(key: str, content: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(content, list | tuple):
        return content  # the check of the values says that it is not a list
    places = [f"{where}: {key}[{position}]" for position in range(len(content))]
    return tuple(_parse_item(key, item, place, problems) for item, place in zip(content, places, strict=True))


def _parse_item(key: str, item: Any, where: str, problems: list[str]) -> Any:
    """Read one definition, a name or a dict with "type"; what is neither is left for the later check."""
    label_type = {**STRUCTURES, **NESTED}[key]
    if isinstance(item, LabelType):
        return item
    if isinstance(item, str):
        name, separator, description = item.partition(SEPARATOR)
        return label_type(name.strip(), description.strip()) if separator else label_type(item)
    if not isinstance(item, dict):
        return item
    if "type" not in item:
        problems.append(f'{where} has no "type": {show(item)}. Name the {SINGULAR[key]}: {{"type": "…"}}.')
        return label_type(where)  # stands in, so that the rest is checked as well
    return label_type(item["type"], **_parse_options(key, item, where, problems))


def _parse_options(key: str, item: dict, where: str, problems: list[str]) -> dict[str, Any]:
    """Read what a definition holds beside its name."""
    options: dict[str, Any] = {}
    for option, content in item.items():
        if content is None and option in KEYS[key]:
            continue
        if option in NESTED and option in KEYS[key]:
            options[option] = _parse_list(option, content, where, problems)
        elif option in KEYS[key]:
            options[option] = content
        elif option != "type" or key == "classes":
            allowed = KEYS[key] if key == "classes" else ("type", *KEYS[key])
            problems.append(_unknown_key(f"{where} has the", option, allowed))
    return options


def _parse_classes(content: Any, source: str, problems: list[str]) -> Any:
    """Read the class tasks: {task: {"labels": […], "multi_label": bool}}, or {task: […]} (single label)."""
    if isinstance(content, list | tuple) and all(isinstance(task, ClassTask) for task in content):
        return tuple(content)
    if not isinstance(content, dict):
        problems.append(
            f"{source}: classes is {show(content)}, not a dict. "
            'Write {"task": {"labels": ["…"], "multi_label": false}}.'
        )
        return ()
    tasks = []
    for name, task in content.items():
        where = f"{source}: classes[{show(name)}]"
        if isinstance(task, list | tuple):
            task = {"labels": task}
        if isinstance(task, dict):
            tasks.append(ClassTask(name, **_parse_options("classes", task, where, problems)))
        else:
            problems.append(
                f'{where} is {show(task)}, not a dict. Write {{"labels": ["…"], "multi_label": false}}.'
            )
    return tuple(tasks)


def dump_schema(schema: Any) -> dict[str, Any]:
    """Write a `Schema` in the canonical plain form: what `parse_schema` reads, without empty keys."""
    plain: dict[str, Any] = {}
    for key in STRUCTURES:
        items = [_dump_item(key, item) for item in getattr(schema, key)]
        if items and key == "classes":
            plain[key] = {task.name: item for task, item in zip(schema.classes, items, strict=True)}
        elif items:
            plain[key] = items
    plain.update({key: getattr(schema, key) for key in SCALARS if getattr(schema, key)})
    return plain


def _dump_item(key: str, item: Any) -> Any:
    options: dict[str, Any] = {}
    for option in KEYS[key]:
        content = getattr(item, option)
        if option in NESTED:
            options[option] = [_dump_item(option, label) for label in content]
        elif option in ALWAYS_WRITTEN or (content is not None and content is not False):
            options[option] = list(content) if isinstance(content, tuple) else content
    if key == "classes":
        return options
    # A name that looks like "name::description" would be split when it is read back as a string.
    if key in PLAIN_NAMES and not options and SEPARATOR not in item.name:
        return item.name
    return {"type": item.name, **options}


def parse_json(text: str, source: str) -> Any:
    """Parse JSON, refusing an object that names a key twice (the first would be lost in silence)."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
        if twice:
            raise SchemaError(f"{source}: the key {twice[0]!r} is given twice in one object. Merge the two.")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise SchemaError(
            f"{source}: not valid JSON at line {error.lineno} column {error.colno} ({error.msg}): "
            f"{show(text)}. Write it like {EXAMPLE}."
        ) from None
    except RecursionError:
        raise SchemaError(f"{source}: the JSON is nested too deeply. Write it like {EXAMPLE}.") from None


def read_schema_file(path: str | Path) -> Any:
    """Read the plain form of a schema from a `.json`, `.yaml` or `.yml` file."""
    path, source = Path(path), str(path)
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise SchemaError(
            f"Schema: {show(source)} is neither JSON nor a .json, .yaml or .yml file. Pass such a file, a "
            f'list of entity types such as ["person"], or {EXAMPLE}.'
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # an editor may have put a byte order mark in front
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SchemaError(f"{source}: the schema file cannot be read ({reason}). Check the path.") from None
    return parse_json(text, source) if path.suffix.lower() == ".json" else _parse_yaml(text, source)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise SchemaError(
            f"{source}: reading it needs PyYAML. Run `pip install pyyaml` or use JSON."
        ) from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SchemaError(f"{source}: not valid YAML ({reason}). Correct it there.") from None
