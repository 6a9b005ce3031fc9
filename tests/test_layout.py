"""The rules of the house that no linter checks; exceptions are listed by name with their reason."""

import ast
import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {"modeling_ldnet": "ldnet", "processing": "ldnet.processing", "train": "ldnet.train"}  # lowest first
SOURCES = sorted(path for folder in LAYERS for path in (ROOT / folder).rglob("*.py"))
TEXT_SUFFIXES = {".py", ".md", ".cfg", ".toml", ".yaml", ".yml", ".json", ".txt", ""}
NOT_OURS = re.compile(r"\.(?!ci$|pre-commit|gitignore).*|build|dist|runs|out|__pycache__|.*\.egg-info")

MAX_FILE_LINES = 399
MAX_FUNCTION_LINES = 40
MAX_BRANCHES = 10
MAX_PARAMETERS = 8
# (rule, "file::function") -> why
EXCEPTIONS = {
    ("imports", "modeling_ldnet/__init__.py"): "registers processor and pipeline with transformers",
    ("parameters", "modeling_ldnet/modeling_ldnet.py::LDNetModel.forward"): "a batch's tensors, by keyword",
    ("lines", "modeling_ldnet/modeling_ldnet.py::LDNetModel.forward"): "half of it is the signature",
    ("parameters", "processing/processing_ldnet.py::LDNetProcessor.__init__"): "its fields, saved by name",
    ("parameters", "train/commands/extract.py::run"): "a flag of the command line each",
    ("parameters", "train/commands/evaluate.py::run"): "a flag of the command line each",
    ("parameters", "train/commands/calibrate.py::run"): "a flag of the command line each",
}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def layer_of(path):
    return path.relative_to(ROOT).parts[0]


def functions_of(path):
    """(qualified name, node, whether it is a method) of every function in a file."""
    found = []

    def walk(node, prefix, in_class):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((f"{prefix}{child.name}", child, in_class))
                walk(child, f"{prefix}{child.name}.", False)
            elif isinstance(child, ast.ClassDef):
                walk(child, f"{prefix}{child.name}.", True)
            else:
                walk(child, prefix, in_class)

    walk(ast.parse(path.read_text(encoding="utf-8")), "", False)
    return found


def count_lines(function, in_class):
    """Lines without decorators and docstring."""
    body = function.body
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        lines -= body[0].end_lineno - body[0].lineno + 1
    return lines


def count_branches(function, in_class):
    """Ways that the flow can part, not counting functions inside."""
    branching = ast.If | ast.For | ast.While | ast.ExceptHandler | ast.match_case
    count, waiting = 0, list(function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            count += isinstance(node, branching)
            waiting.extend(ast.iter_child_nodes(node))
    return count


def count_parameters(function, in_class):
    """Parameters without `self`, `*args` and `**kwargs`."""
    arguments = function.args
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
    return len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs) - (in_class and not static)


RULES = {
    "lines": (count_lines, MAX_FUNCTION_LINES),
    "branches": (count_branches, MAX_BRANCHES),
    "parameters": (count_parameters, MAX_PARAMETERS),
}


def imported_layers(path):
    """Layers whose modules a file imports, anywhere in it."""
    layers = {package: folder for folder, package in LAYERS.items()}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{name_of(path)}:{node.lineno}: import our own modules by their full name"
            )
            names = [node.module]
        for name in names:
            if name.split(".")[0] == "ldnet":
                package = ".".join(name.split(".")[:2])
                yield layers.get(package, "modeling_ldnet"), name, node.lineno


def violations(rule):
    """`file::function` -> value of everything above a rule's limit."""
    count, limit = RULES[rule]
    return {
        f"{name_of(path)}::{name}": count(function, in_class)
        for path in SOURCES
        for name, function, in_class in functions_of(path)
        if count(function, in_class) > limit
    }


def excepted(rule):
    return {where for kind, where in EXCEPTIONS if kind == rule}


def test_imports_point_one_way():
    order = list(LAYERS)
    wrong = {
        name_of(path): f"line {line}: {name}"
        for path in SOURCES
        for layer, name, line in imported_layers(path)
        if order.index(layer) > order.index(layer_of(path))
    }

    assert wrong.keys() == excepted("imports"), wrong


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_is_under_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("rule", RULES)
def test_functions_keep_the_limits(rule):
    found = violations(rule)

    assert found.keys() == excepted(rule), found


def test_counters_count_what_they_say():
    source = '''
class A:
    @decorated
    def f(self, a, *args, b=1, **kwargs):
        """One.

        Two.
        """
        if a:
            for x in b:
                pass
        elif b:
            try:
                pass
            except ValueError:
                pass
        def inner():
            while True:
                pass
'''
    function = ast.parse(source).body[0].body[0]

    assert count_lines(function, True) == 12
    assert count_branches(function, True) == 4
    assert count_parameters(function, True) == 2


def test_public_functions_and_classes_are_documented():
    missing = []
    for path in SOURCES:
        waiting = list(ast.parse(path.read_text(encoding="utf-8")).body)
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                if ast.get_docstring(node) is None:
                    missing.append(f"{name_of(path)}:{node.lineno}: {node.name}")
                if isinstance(node, ast.ClassDef):
                    waiting.extend(node.body)

    assert missing == []


def test_signatures_are_annotated():
    missing = [
        f"{name_of(path)}:{function.lineno}: {name}({argument.arg})"
        for path in SOURCES
        for name, function, in_class in functions_of(path)
        for argument in (function.args.args + function.args.kwonlyargs)[in_class:]
        if argument.annotation is None and argument.arg not in ("self", "cls")
    ]

    assert missing == []


def test_tests_mirror_the_tree():
    modules = {path.relative_to(ROOT).with_suffix("") for path in SOURCES if path.stem != "__init__"}
    wanted = {(Path("tests") / module.parent / f"test_{module.name}.py").as_posix() for module in modules}
    there = {name_of(path) for folder in LAYERS for path in (ROOT / "tests" / folder).rglob("test_*.py")}

    assert sorted(wanted - there) == [], "modules without tests"
    # Tests of a long module may stand in several files: test_<module>_<part>.py.
    starts = tuple(name.removesuffix(".py") + "_" for name in wanted)
    assert sorted(name for name in there - wanted if not name.startswith(starts)) == [], "no such module"


def test_stems_of_modules_that_ship_are_unique():
    stems = [path.stem for path in SOURCES if layer_of(path) != "train" and path.stem != "__init__"]

    assert len(stems) == len(set(stems))


def test_packages_of_the_wheel_are_the_packages_of_the_tree():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    folders = {
        line.split(" = ")[0]: line.split(" = ")[1] for line in setup["options"]["package_dir"].split("\n")[1:]
    }
    tree = {path.parent.relative_to(ROOT).as_posix() for path in SOURCES if path.stem == "__init__"}

    assert listed == folders.keys()
    assert all(package == "ldnet" or package.startswith("ldnet.") for package in listed)
    assert set(folders.values()) == tree | {"model_cards"}
    for path in SOURCES:
        assert path.parent.relative_to(ROOT).as_posix() in tree, f"{name_of(path)}: no __init__.py beside it"


def test_nothing_is_imported_from_the_tests_or_without_the_package_name():
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else names
            roots = {name.split(".")[0] for name in names if name}
            assert not roots & {"processing", "train", "modeling_ldnet", "tests"}, (
                f"{name_of(path)}:{node.lineno}"
            )


def test_no_file_names_a_path_of_a_machine():
    pattern = re.compile(r"(?<![\w.~:/-])/(?:work|farm|root|tmp|Users/\w+|home/\w+)/")
    files = [path for path in ROOT.rglob("*") if path.is_file() and path.suffix in TEXT_SUFFIXES]
    ours = [path for path in files if not any(map(NOT_OURS.fullmatch, path.relative_to(ROOT).parts))]
    assert set(SOURCES) <= set(ours)

    found = {
        f"{name_of(path)}:{number}": line
        for path in ours
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line) and path != Path(__file__).resolve()
    }

    assert found == {}
