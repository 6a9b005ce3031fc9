"""Flags and YAML keys of a verb -> dataclasses; what is wrong with them in a line each."""

import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser


class ArgumentsError(ValueError):
    """Flags or YAML keys that cannot be used, one line a problem."""

    @property
    def problems(self) -> list[str]:
        """The lines."""
        return str(self).splitlines()


class Parser(HfArgumentParser):
    """`HfArgumentParser` that reads YAML first and says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise ArgumentsError(f"{self.prog}: {message}; see --help")

    def known_names(self) -> list[str]:
        """All flags without dashes."""
        return [
            name[2:] for action in self._actions for name in action.option_strings if name.startswith("--")
        ]

    def expand(self, argv: Sequence[str]) -> list[str]:
        """Flags with those of `--config file.yaml` before them, where they lose against what follows.

        Args:
            argv: Arguments of the verb.

        Returns:
            Flags and values without `--config`.

        Raises:
            ArgumentsError: With every unknown key and its nearest match.
        """
        given = [flag.split("=", 1) if flag.startswith("--config=") else [flag] for flag in argv]
        argv = [part for parts in given for part in parts]
        if "--config" in argv:
            at = argv.index("--config")
            if at + 1 == len(argv):
                self.error("--config: no file is named")
            argv = [*self._flags_of(Path(argv[at + 1])), *argv[:at], *argv[at + 2 :]]
        flags = [flag[2:].split("=")[0] for flag in argv if flag.startswith("--")]
        if unknown := [flag for flag in flags if flag not in self.known_names()]:
            self._raise_unknown(unknown, "flag")  # before argparse misses the flag that was meant
        return argv

    def parse(self, argv: Sequence[str]) -> tuple[Any, ...]:
        """Dataclasses from `--config file.yaml` and flags; flags win.

        Args:
            argv: Arguments of the verb.

        Returns:
            One instance a dataclass.

        Raises:
            ArgumentsError: With every unknown key and its nearest match.
        """
        argv = self.expand(argv)
        *parsed, own, rest = self.parse_args_into_dataclasses(
            argv, return_remaining_strings=True, look_for_args_file=False
        )
        if rest:
            self._raise_unknown(rest, "argument")
        if own.config is not None:
            self.error(f"--config: a second file is named, {own.config!r}; put all keys in one file")
        return tuple(parsed)

    def _raise_unknown(self, names: list[str], kind: str) -> NoReturn:
        known = self.known_names()
        lines = []
        for name in names:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see --help for all"
            lines.append(f"{self.prog}: unknown {kind} {name!r}; {hint}")
        raise ArgumentsError("\n".join(lines))

    def _flags_of(self, path: Path) -> list[str]:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ArgumentsError(
                f"{path}: cannot be read as YAML ({str(error).splitlines()[0]}); mend the file"
            ) from error
        if not isinstance(content, dict):
            raise ArgumentsError(f"{path}: holds no keys; write for instance 'learning_rate: 0.0002'")
        known = set(self.known_names()) - {"help", "config"}
        unknown = [str(key) for key in content if key not in known]
        if unknown:
            self._raise_unknown(unknown, f"key in {path}:")
        flags: list[str] = []
        for key, value in content.items():
            if value is None and self.get_default(key) is not None:
                raise ArgumentsError(f"{path}: {key!r} has no value; write one, or leave the key out")
            if value is None or value == []:
                continue
            values = value if isinstance(value, list) else [value]
            flags += [f"--{key}", *(json.dumps(v) if isinstance(v, dict) else str(v) for v in values)]
        return flags


def make_parser(types: Sequence[type], prog: str, description: str) -> Parser:
    """A parser of flags and YAML.

    Args:
        types: Dataclasses.
        prog: Shown in help and errors.
        description: Shown in help.

    Returns:
        The parser; `--config` is among its flags.
    """
    # Abbreviations would pass misspelt flags, and flags that a later version calls otherwise.
    parser = Parser(list(types), prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--config", help="YAML file with the same keys as the flags; flags win.")
    return parser


def parse_arguments(
    types: Sequence[type], argv: Sequence[str] | None, prog: str, description: str
) -> tuple[Any, ...]:
    """Parse flags and YAML into dataclasses.

    Args:
        types: Dataclasses.
        argv: Arguments; the process's own by default.
        prog: Shown in help and errors.
        description: Shown in help.

    Returns:
        One instance a dataclass.

    Raises:
        ArgumentsError: In one line a problem.
    """
    parser = make_parser(types, prog, description)
    return parser.parse(sys.argv[1:] if argv is None else argv)
