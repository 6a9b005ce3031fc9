"""What a conversion kept, mended and lost: every converter fills one report."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ldnet.processing.converters.spans import clean_label
from ldnet.processing.schema_types import shorten

MAX_EXAMPLES = 5  # of one cause
MAX_PROBLEMS = 50  # of one file: a file of another format has one on every line
LISTS = ("entities", "relations", "hyper_relations", "events", "answers", "spans", "document_relations")


class ConversionError(ValueError):
    """A file that is not in the format it should be; `problems` holds every problem found, one line each."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__(problems)  # the list itself: the error must survive pickling between processes

    def __str__(self) -> str:
        return "\n".join(self.problems)


@dataclass
class Tally:
    """How often something happened, with its first examples.

    Args:
        count (`int`): How often.
        examples (`list[tuple[str, str]]`): Where, and the value there.
    """

    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, value: Any, count: int) -> None:
        """Count `count` more, the first of them at `where`."""
        self.count += count
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append((where, "" if value is None else shorten(value)))


@dataclass
class AlignmentReport:
    """What became of the structures of a source: nothing is dropped without a line here.

    Args:
        source (`str`): File or folder.
        records (`int`): Records that came out.
        structures (`Counter`): Structures in them, by the record's key.
        lost (`dict[str, Tally]`): What could not be held, by cause.
        repaired (`dict[str, Tally]`): What was changed to be held, by cause.
        descriptions (`dict[str, str]`): What the source says about its entity types; records have no room for
            it, a schema has.
    """

    source: str
    records: int = 0
    structures: Counter = field(default_factory=Counter)
    lost: dict[str, Tally] = field(default_factory=dict)
    repaired: dict[str, Tally] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)
    _unshown: int = 0
    _first_use: dict[Any, str] = field(default_factory=dict)

    def lose(self, cause: str, where: str, value: Any = None, count: int = 1) -> None:
        """Count what the other side cannot hold.

        Args:
            cause (`str`): Why; the same words for the same cause.
            where (`str`): File and line, or name of the record.
            value (`Any`): What was lost.
            count (`int`): How many structures.
        """
        if count:
            self.lost.setdefault(cause, Tally()).add(where, value, count)

    def repair(self, cause: str, where: str, value: Any = None, count: int = 1) -> None:
        """Count what was changed on the way; arguments as for `lose`."""
        if count:
            self.repaired.setdefault(cause, Tally()).add(where, value, count)

    def problem(self, where: str, field: str, value: Any, message: str, fix: str) -> None:
        """Note a place that is not in the format; `finish` raises.

        Args:
            where (`str`): File and line.
            field (`str`): The place in it.
            value (`Any`): What stands there; None where something is missing.
            message (`str`): What is wrong.
            fix (`str`): What is allowed, and what to do; whole sentences.
        """
        if len(self._problems) >= MAX_PROBLEMS:
            self._unshown += 1
            return
        shown = "" if value is None else f" = {shorten(value)}"
        self._problems.append(f"{where}: {field}{shown}: {message}. {fix}")

    def listed(self, value: Any, name: str, where: str) -> list[Any]:
        """What should be a list: empty for null, and for anything else, which is counted.

        Args:
            value (`Any`): The value.
            name (`str`): What it is, for the cause.
            where (`str`): Its place.
        """
        if isinstance(value, list):
            return value
        self.lose(f"{name}: not a list", where, value, int(value is not None))
        return []

    def names(self, value: Any, name: str, where: str) -> list[str]:
        """The labels in what should be a list of them, each once; what is no label is counted.

        Args:
            value (`Any`): The list.
            name (`str`): What it is, for the cause.
            where (`str`): Its place.
        """
        found = [(clean_label(item), item) for item in self.listed(value, name, where)]
        for label, item in found:
            self.lose(f"{name}: not a name", where, item, int(label is None))
        return list(dict.fromkeys(label for label, _ in found if label is not None))

    def count(self, record: dict[str, Any]) -> None:
        """Count a record and the structures that came over."""
        self.records += 1
        for key in LISTS:
            if record.get(key):
                self.structures[key] += len(record[key])
        self.structures["classes"] += len(record.get("classes") or ())

    def take(self, record: dict[str, Any], where: str) -> dict[str, Any]:
        """Count a finished record and see that its id is unique and its text can be encoded.

        Args:
            record (`dict`): A record in our format; changed in place.
            where (`str`): Where it comes from.

        Returns:
            The record.
        """
        self.count(record)
        name = record.get("id")
        if name is not None and not isinstance(name, str) and type(name) is not int:
            self.repair("id that is no string: left out", where, name)
            del record["id"]
        elif name is not None and self._first_use.setdefault(name, where) != where:
            self.repair("id that another record has: left out", where, name)
            del record["id"]
        try:
            record["text"].encode()
        except UnicodeEncodeError:
            self.repair("half of a surrogate pair: replaced by U+FFFD", where)
            # One character for one, so that the offsets stay.
            record["text"] = "".join(c if not 0xD800 <= ord(c) < 0xE000 else "\ufffd" for c in record["text"])
        return record

    def finish(self) -> None:
        """Raise what `problem` collected.

        Raises:
            ConversionError: If there is a problem.
        """
        if self._problems:
            more = [f"{self.source}: {self._unshown:,} more problems of the file are not shown"]
            raise ConversionError(self._problems + more[: self._unshown])

    def to_dict(self) -> dict[str, Any]:
        """Return the plain form, for JSON."""
        return {
            "source": self.source,
            "records": self.records,
            "structures": {key: count for key, count in self.structures.items() if count},
            "lost": _plain(self.lost),
            "repaired": _plain(self.repaired),
        }

    def __str__(self) -> str:
        kept = ", ".join(f"{count:,} {key}" for key, count in self.structures.items() if count)
        lost = sum(tally.count for tally in self.lost.values())
        repaired = sum(tally.count for tally in self.repaired.values())
        return (
            f"{self.source}: {self.records:,} records, {kept or 'no structures'}; "
            f"{lost:,} lost, {repaired:,} repaired"
        )


def _plain(tallies: dict[str, Tally]) -> dict[str, Any]:
    return {
        cause: {
            "count": tally.count,
            "examples": [{"where": where, "value": value} for where, value in tally.examples],
        }
        for cause, tally in sorted(tallies.items(), key=lambda item: (-item[1].count, item[0]))
    }


def fail(message: str) -> NoReturn:
    """Raise a `ConversionError` of one line."""
    raise ConversionError([message])
