import importlib
from pathlib import Path

import pytest

import ldnet
from ldnet.hub_ldnet import remote_files
from ldnet.model_cards import DEFAULT_MODEL_FOLDER

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"modeling_ldnet": "ldnet", "processing": "ldnet.processing", "train": "ldnet.train"}
MODULES = sorted(
    f"{package}.{path.stem}"
    for folder, package in PACKAGES.items()
    for path in (ROOT / folder).glob("*.py")
    if path.stem != "__init__"
)


def test_public_names_of_the_package_are_its_all():
    public = [
        name
        for name, value in vars(ldnet).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("ldnet")
    ]

    assert sorted(public) == ldnet.__all__


@pytest.mark.parametrize("module", MODULES)
def test_listed_names_exist_and_are_public(module):
    names = getattr(importlib.import_module(module), "__all__", [])

    assert len(names) == len(set(names))
    for name in names:
        assert not name.startswith("_")
        assert hasattr(importlib.import_module(module), name)


def test_embedded_checkpoint_holds_the_code_of_the_package():
    code = {path.name: path.read_bytes() for path in DEFAULT_MODEL_FOLDER.glob("*.py")}

    differing = sorted(
        name for name in code.keys() | remote_files().keys() if code.get(name) != remote_files().get(name)
    )
    assert differing == [], "refresh with ldnet.hub_ldnet.write_remote_code(folder); remove what is left over"


def test_embedded_checkpoint_is_complete_and_small():
    files = {path.name: path.stat().st_size for path in DEFAULT_MODEL_FOLDER.iterdir() if path.is_file()}

    documents = {"README.md", "TRAINING.md"}
    parts = {"config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"} | documents
    assert files.keys() == parts | {"model.safetensors"} | remote_files().keys()
    assert files["model.safetensors"] <= 50_000_000
