"""Publishing: folders that load without this package, and one commit on the Hub.

transformers runs code of a folder only when it is flat and every file imports its siblings relatively. The
package is nested and imports absolutely, so `remote_files` follows the imports from the public classes and
rewrites them. All `auto_map` entries point at one generated module: with a module for each, every class would
get its own copy of all others, and `isinstance` would fail between model and configuration.
"""

import ast
import functools
import importlib.util
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi
from transformers import PreTrainedConfig
from transformers.dynamic_module_utils import get_relative_import_files

from .model_card import CARD_NAME, CardFacts, write_card

logger = logging.getLogger(__name__)

PACKAGE = "ldnet"
ENTRY = "ldnet_remote"
TASK = "universal-ie"
PUBLIC_CLASSES = {
    "ldnet.configuration_ldnet": "LDNetConfig",
    "ldnet.modeling_ldnet": "LDNetModel",
    "ldnet.processing.processing_ldnet": "LDNetProcessor",
    "ldnet.processing.pipeline_ldnet": "UniversalIEPipeline",
}
AUTO_MAP = {
    "AutoConfig": f"{ENTRY}.LDNetConfig",
    "AutoModel": f"{ENTRY}.LDNetModel",
    "AutoProcessor": f"{ENTRY}.LDNetProcessor",
}
CUSTOM_PIPELINES = {TASK: {"impl": f"{ENTRY}.UniversalIEPipeline", "pt": ["AutoModel"], "type": "text"}}
JSON_PATCHES = {
    "config.json": {"auto_map": AUTO_MAP, "custom_pipelines": CUSTOM_PIPELINES},
    "processor_config.json": {"auto_map": {"AutoProcessor": AUTO_MAP["AutoProcessor"]}},
}
# How a process happened to load a tokenizer; transformers would save it (and fail on a torch dtype).
LOADING_ARGUMENTS = ("dtype", "is_local", "local_files_only")
HUB_ARGUMENTS = ("commit_message", "commit_description", "private", "token", "revision", "create_pr", "tags")
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
IMPORT = re.compile(rb"from\s+[\w.]+\s+import\b")
RELATIVE_IMPORT = re.compile(rb"^\s*from\s+\.(\S+)\s+import", re.MULTILINE)  # what transformers searches for


def _own_imports(tree: ast.AST, package: str) -> Iterator[tuple[ast.ImportFrom, str]]:
    """Import statements of our own modules, with the full module name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE:
                    raise ValueError(f"line {node.lineno}: write `from {alias.name} import ...`")
        elif isinstance(node, ast.ImportFrom):
            name = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            if name.split(".")[0] == PACKAGE:
                yield node, name


def _flatten(source: bytes, package: str) -> tuple[bytes, list[str]]:
    """Make imports of our own modules relative to one flat folder.

    Args:
        source: A module's source.
        package: Package that the module belongs to.

    Returns:
        The new source and the full names of the modules that it imports.

    Raises:
        ValueError: If an import cannot be followed, or text looks like an import to transformers' own search.
    """
    lines = source.split(b"\n")  # as the compiler counts them; splitlines would also split at form feeds
    needed = []
    for node, name in _own_imports(ast.parse(source), package):
        line = lines[node.lineno - 1]
        relative = f"from .{name.rpartition('.')[2]} import".encode()
        changed, count = IMPORT.subn(relative, line[node.col_offset :], count=1)
        if not count:
            raise ValueError(f"line {node.lineno}: write `from {name} import` on one line")
        lines[node.lineno - 1] = line[: node.col_offset] + changed
        needed.append(name)
    flat = b"\n".join(lines)
    imported, found = {name.rpartition(".")[2] for name in needed}, set(RELATIVE_IMPORT.findall(flat))
    if odd := sorted(imported ^ {stem.decode() for stem in found}):
        raise ValueError(f"{', '.join(odd)}: start a line with the import, and no line of text like one")
    return flat, needed


def _locate(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or spec.submodule_search_locations is not None:
        raise ValueError(f"`{module}` is not a module file; import from the file that defines the name")
    return Path(spec.origin)


def _entry_source(stems: dict[str, str]) -> bytes:
    version = getattr(sys.modules.get(PACKAGE), "__version__", "")
    classes = sorted((stems[module], name) for module, name in PUBLIC_CLASSES.items())
    imports = "".join(f"from .{stem} import {name}\n" for stem, name in classes)
    names = ", ".join(f'"{name}"' for name in sorted(PUBLIC_CLASSES.values()))
    doc = f'"""The one entry module of this folder; generated by {PACKAGE} {version}."""'
    return f"{doc}\n\n{imports}\n__all__ = [{names}]\n".encode()


def _files_of_package() -> dict[str, bytes]:
    """Follow the imports of the package and flatten every file on the way."""
    files: dict[str, bytes] = {}
    stems: dict[str, str] = {}
    waiting = list(PUBLIC_CLASSES)
    while waiting:
        module = waiting.pop()
        if module in stems:
            continue
        path = _locate(module)
        if path.name in files or path.stem == ENTRY:
            raise ValueError(f"`{module}`: {path.name} exists twice, but one folder holds all; rename it")
        try:
            files[path.name], needed = _flatten(path.read_bytes(), module.rpartition(".")[0])
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None
        stems[module] = path.stem
        waiting += needed
    files[f"{ENTRY}.py"] = _entry_source(stems)
    return dict(sorted(files.items()))


def _files_of_folder(entry: Path) -> dict[str, bytes]:
    """The files of remote code that is running, as transformers itself found them."""
    paths = {entry, *map(Path, get_relative_import_files(entry))}
    return {path.name: path.read_bytes() for path in sorted(paths)}


@functools.cache
def remote_files() -> dict[str, bytes]:
    """The code that a published folder holds; the same bytes from the package and from remote code.

    Returns:
        File name -> contents.

    Raises:
        ValueError: If a module of the package cannot be exported, naming file and line.
    """
    entry = Path(__file__).with_name(f"{ENTRY}.py")
    return _files_of_folder(entry) if entry.exists() else _files_of_package()


def _replace_file(path: Path, contents: bytes) -> None:
    """Write beside, then rename: readers see the old file or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_bytes(contents)
    beside.replace(path)


def write_remote_code(folder: str | Path) -> None:
    """Add the code to a folder, and to its JSON files where the code is found.

    Args:
        folder: A folder with `config.json`, `processor_config.json` or both.
    """
    folder = Path(folder)
    for name, contents in remote_files().items():
        _replace_file(folder / name, contents)
    for name, patch in JSON_PATCHES.items():
        if (folder / name).exists():
            values = json.loads((folder / name).read_text(encoding="utf-8")) | patch
            for part in values.values():
                if isinstance(part, dict):
                    part.pop("dtype", None)  # an encoder's own would win over the model's
            text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            _replace_file(folder / name, text.encode())


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` whose files move there at the end, if nothing failed."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(dir=folder, prefix=".saving-"))
    try:
        yield stage
        moved = sorted(p.relative_to(stage) for p in stage.rglob("*") if p.is_file())
        for name in moved:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).replace(folder / name)
        if any(WEIGHTS.fullmatch(name.name) for name in moved):
            # One file beside old shards, or shards beside an old file: the loader could take the wrong ones.
            for path in folder.iterdir():
                if WEIGHTS.fullmatch(path.name) and Path(path.name) not in moved:
                    path.unlink()
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _hub_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take the arguments of an upload out of `kwargs`."""
    return {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs}


def _upload(folder: Path, repo_id: str, hub: dict[str, Any]) -> CommitInfo:
    """One commit with everything in `folder`; a card that the repository has stays."""
    api = HfApi(token=hub.get("token"))
    repo_id = api.create_repo(repo_id, private=hub.get("private"), exist_ok=True).repo_id
    revision = hub.get("revision")
    if revision is not None and not revision.startswith("refs/pr"):
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    kept = api.file_exists(repo_id, CARD_NAME, revision=revision)
    return api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        ignore_patterns=[CARD_NAME] if kept else None,
        commit_message=hub.get("commit_message") or "Upload LDNet",
        commit_description=hub.get("commit_description"),
        revision=revision,
        create_pr=hub.get("create_pr"),
    )


class RemoteCodeMixin:
    """First base of configuration, model and processor: what they save is complete and loads anywhere.

    `save_pretrained` writes beside and renames, so that an interrupted save leaves the old files. It also
    takes `card=CardFacts(...)` for the model card, which is written where there is none.
    """

    @classmethod
    def register_for_auto_class(cls, auto_class: object = None) -> None:
        """Do nothing: transformers calls it on loading and would then save only half of the files."""

    def save_pretrained(
        self,
        save_directory: str | Path,
        *args: Any,
        card: CardFacts | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Save with code and card.

        Args:
            save_directory: Folder; made if there is none.
            *args: See the transformers class.
            card: What the card shall say; a card that is there already stays.
            push_to_hub: Upload as well; see `push_to_hub` for the arguments (`repo_id` is the folder's name).
            **kwargs: See the transformers class.

        Returns:
            What the transformers class returns.
        """
        folder = Path(save_directory)
        hub = _hub_arguments(kwargs) if push_to_hub else {}
        repo_id = kwargs.pop("repo_id", folder.name)
        for name in LOADING_ARGUMENTS if hasattr(self, "tokenizer") else ():
            self.tokenizer.init_kwargs.pop(name, None)
        with _staged(folder) as stage:
            result = super().save_pretrained(str(stage), *args, **kwargs)
            if any(stage.iterdir()):  # in distributed training only one process writes
                write_remote_code(stage)
                if not isinstance(self, PreTrainedConfig):
                    _save_card(folder, stage, card)
        if push_to_hub:
            self.push_to_hub(repo_id, card=card, **hub)
        if isinstance(result, list):  # processors return paths
            result = [str(folder / Path(path).relative_to(stage)) for path in result]
        return result

    def push_to_hub(
        self, repo_id: str, *, processor: Any = None, card: CardFacts | None = None, **kwargs: Any
    ) -> CommitInfo:
        """Upload everything in one commit.

        Args:
            repo_id: Repository; made if there is none.
            processor: Processor that belongs to a model, so that the repository is complete.
            card: What the card shall say; a card that the repository has already stays.
            **kwargs: `commit_message`, `commit_description`, `private`, `token`, `revision`, `create_pr` and
                `tags`; the rest goes to `save_pretrained`.

        Returns:
            The commit.
        """
        hub = _hub_arguments(kwargs)
        facts = card or CardFacts(name=repo_id, tags=hub.get("tags") or ())
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, card=facts, **kwargs)
            if processor is not None:
                processor.save_pretrained(folder)
            return _upload(Path(folder), repo_id, hub)


class RemotePipelineMixin(RemoteCodeMixin):
    """First base of the pipeline: saves model and processor, which is all that it is made of."""

    def save_pretrained(
        self,
        save_directory: str | Path,
        *args: Any,
        card: CardFacts | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save model, processor, code and card; see `RemoteCodeMixin.save_pretrained`."""
        hub = _hub_arguments(kwargs) if push_to_hub else {}
        repo_id = kwargs.pop("repo_id", Path(save_directory).name)
        self.model.save_pretrained(save_directory, *args, card=card, **kwargs)
        self.processor.save_pretrained(save_directory)
        if push_to_hub:
            self.push_to_hub(repo_id, card=card, **hub)


def _save_card(folder: Path, stage: Path, card: CardFacts | None) -> None:
    if not (folder / CARD_NAME).exists():
        write_card(stage, card)
    elif card is not None:
        logger.warning("%s: its card stays; `write_card(folder, facts, overwrite=True)` replaces it", folder)


__all__ = ["RemoteCodeMixin", "RemotePipelineMixin", "remote_files", "write_remote_code"]
