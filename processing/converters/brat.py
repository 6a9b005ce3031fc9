"""brat standoff: a folder of texts (`.txt`) with their annotations (`.ann`), and back."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import read_text, text_lines, write_beside
from ldnet.processing.converters.report import AlignmentReport, fail
from ldnet.processing.converters.spans import flatten, fragments_mention, pieces_of, realign, same_words
from ldnet.processing.converters.writing import fill_keys, lose_other, name_of

OTHER_LINES = {
    "A": "attribute: records have none",
    "M": "attribute: records have none",
    "N": "normalization: records have none",
    "#": "note: records have none",
    "*": "equivalence (line *): records have none",
}
UNTYPED = "Mention"  # what ends and arguments that are no entity are called
LABELS_FILE = "visual.conf"  # where brat keeps how a label is shown; its own names have no spaces


@dataclass
class Document:
    """The annotations of one text.

    Args:
        text (`str`): The text, line ends as in the file.
        mentions (`dict`): Id -> mention with its type (lines T).
        relations (`list`): (where, type, ends as (name, id)) (lines R).
        events (`dict`): Id -> (where, type, trigger id, arguments as (role, id)) (lines E).
    """

    text: str
    mentions: dict[str, dict[str, Any]] = field(default_factory=dict)
    relations: list[tuple[str, str, list[tuple[str, str]]]] = field(default_factory=list)
    events: dict[str, tuple[str, str, str, list[tuple[str, str]]]] = field(default_factory=dict)


def read_brat(path: str | Path, report: AlignmentReport) -> Iterator[dict[str, Any]]:
    """Read a folder, with those in it, or a single `.ann` or `.txt` file.

    A text-bound annotation that is the trigger of an event is no entity. `relations` and `events` are keys of
    all records if one text has them.

    Args:
        path (`str` or `Path`): The folder or file.
        report (`AlignmentReport`): Filled.

    Yields:
        Records, named after their files.

    Raises:
        ConversionError: With every annotation file that has no text.
        OSError: If a file cannot be read.
    """
    path = Path(path)
    root = path if path.is_dir() else path.parent
    files = sorted(path.rglob("*.ann"), key=_in_order) if path.is_dir() else [path.with_suffix(".ann")]
    if not files:
        fail(f"{path}: no .ann file in it. Name the folder that holds the .txt and .ann files.")
    for text_file in sorted(path.rglob("*.txt")) if path.is_dir() else ():
        if text_file.with_suffix(".ann") not in files:
            report.lose("text without an .ann file: not annotated", str(text_file))
    records = []
    for file in files:
        text_file = file.with_suffix(".txt")
        if not text_file.is_file():
            report.problem(
                str(file), "text", None, f"there is no {text_file.name}", "Put the text beside it."
            )
            continue
        document = Document(read_text(text_file))
        for where, line in text_lines(file):
            _read_line(document, line, where, report)
        record = _record_of(document, _shown_labels(file.parent, root), report)
        records.append({"id": file.relative_to(root).with_suffix("").as_posix(), **record})
    report.finish()
    for record in fill_keys(records):
        yield report.take(record, record["id"])


def _in_order(path: Path) -> list[str]:
    """Numbers in names count as numbers: text-2 comes before text-10."""
    return [part.zfill(20) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))]


def _shown_labels(folder: Path, root: Path) -> dict[str, str]:
    """Labels that differ from their shown form in the spaces only, from the nearest `visual.conf`."""
    places = [folder, *folder.parents]
    for place in places[: places.index(root) + 1]:
        if (place / LABELS_FILE).is_file():
            section = re.search(r"^\[labels\]$(.*?)(?=^\[|\Z)", read_text(place / LABELS_FILE), re.M | re.S)
            pairs = [line.split("|") for line in (section[1] if section else "").splitlines() if "|" in line]
            shown = {pair[0].strip(): pair[1].strip() for pair in pairs}
            return {name: label for name, label in shown.items() if brat_name(label) == name}
    return {}


def brat_name(label: str) -> str:
    """A label as brat writes it: letters, digits, `_` and `-`."""
    return re.sub(r"[^\w-]", "_", label)


def _read_line(document: Document, line: str, where: str, report: AlignmentReport) -> None:
    kind = line[:1]
    fields = line.split("\t")
    if not line.strip():
        return
    if kind in OTHER_LINES:
        report.lose(OTHER_LINES[kind], where, line)
    elif kind == "T" and len(fields) >= 2:
        _read_mention(document, fields, where, report)
    elif kind in "RE" and len(fields) >= 2:
        # A role may stand without a value in hand-written files; "Arg1:T1" has both.
        name, *rest = fields[1].split()
        pairs = [tuple(part.split(":", 1)) for part in rest if ":" in part]
        head, _, trigger = name.partition(":")
        if kind == "R":
            document.relations.append((where, name, pairs))
        else:
            document.events[fields[0]] = (where, head, trigger, pairs)
    else:
        report.lose("line that is none of brat's", where, line)


def _read_mention(document: Document, fields: list[str], where: str, report: AlignmentReport) -> None:
    match = re.fullmatch(r"(\S+) (\d+ \d+(?:;\d+ \d+)*)", fields[1].strip())
    if match is None:
        report.lose("mention whose offsets cannot be read", where, fields[1])
        return
    text, surface = document.text, "\t".join(fields[2:])
    pieces = [tuple(map(int, piece.split())) for piece in match[2].split(";")]
    inside = all(0 <= start < end <= len(text) for start, end in pieces)
    covered = " ".join(text[start:end] for start, end in pieces)
    if not inside or (surface and not same_words(covered, surface)):
        found = realign(text, *pieces[0], surface) if len(pieces) == 1 and surface else None
        if found is None:
            report.lose("mention whose words are not at its offsets", where, surface or match[2])
            return
        report.repair(found[2] or "line breaks of two characters", where, surface)
        pieces = [found[:2]]
    mention = fragments_mention(pieces)
    if pieces_of(mention) != tuple(pieces):
        report.repair("pieces that overlap or are not in text order: put in order", where, match[2])
    document.mentions[fields[0]] = {"type": match[1], **mention}


def _record_of(document: Document, labels: dict[str, str], report: AlignmentReport) -> dict[str, Any]:
    for mention in document.mentions.values():
        mention["type"] = labels.get(mention["type"], mention["type"])
    triggers = {event[2] for event in document.events.values()}
    entities = [mention for name, mention in document.mentions.items() if name not in triggers]
    record: dict[str, Any] = {"text": document.text, "entities": entities}
    for where, kind, pairs in document.relations:
        ends = [_target(document, name, where, report) for _, name in pairs]
        if len(ends) != 2 or None in ends:
            report.lose("relation without two known ends", where, kind)
        else:
            relation = {"type": labels.get(kind, kind), "head": ends[0], "tail": ends[1]}
            record.setdefault("relations", []).append(relation)
    for where, kind, trigger, pairs in document.events.values():
        if trigger not in document.mentions:
            report.lose("event without a known trigger", where, kind, 1 + len(pairs))
            continue
        event = {"type": labels.get(kind, kind), "trigger": _untyped(document.mentions[trigger])}
        event["arguments"] = _arguments(document, pairs, labels, where, report)
        record.setdefault("events", []).append(event)
    return record


def _arguments(
    document: Document,
    pairs: list[tuple[str, str]],
    labels: dict[str, str],
    where: str,
    report: AlignmentReport,
) -> list[dict[str, Any]]:
    arguments = []
    roles = {role for role, _ in pairs}
    for role, name in pairs:
        target = _target(document, name, where, report)
        base = role.rstrip("0123456789")
        if target is None:
            report.lose("argument that is no known mention", where, f"{role}:{name}")
            continue
        # brat numbers a role that an event has twice: Theme, Theme2.
        role = base if base in roles else role
        arguments.append({"role": labels.get(role, role), **_untyped(target)})
    return arguments


def _untyped(mention: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mention.items() if key != "type"}


def _target(document: Document, name: str, where: str, report: AlignmentReport) -> dict[str, Any] | None:
    """The mention that an id stands for; for an event, that of its trigger."""
    if name not in document.events:
        return document.mentions.get(name)
    report.repair("event in the place of a mention: its trigger stands for it", where, name)
    trigger = document.mentions.get(document.events[name][2])
    return None if trigger is None else _untyped(trigger)


def write_brat(records: Iterable[dict[str, Any]], path: str | Path, report: AlignmentReport) -> None:
    """Write a folder: for each record a `.txt` and an `.ann`, and the `annotation.conf` that brat needs.

    Labels that brat cannot spell are written with `_`; their own form is in `visual.conf`.

    Args:
        records (`Iterable[dict]`): Records in our format.
        path (`str` or `Path`): The folder; it must be empty or not there.
        report (`AlignmentReport`): Filled.

    Raises:
        ConversionError: If the folder is not empty.
        OSError: If it cannot be written.
    """
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        fail(f"{path}: is there and not empty. Name a folder that is not there.")
    names = Names(report)
    taken: set[str] = set()
    with write_beside(target) as beside:
        beside.mkdir()
        for index, record in enumerate(records):
            where = name_of(record, index)
            file = _file_name(record, index, taken, report)
            (beside / f"{file}.txt").write_bytes(record["text"].encode())
            lines = _lines_of(record, names, where, report)
            (beside / f"{file}.ann").write_bytes("".join(f"{line}\n" for line in lines).encode())
        (beside / "annotation.conf").write_bytes(names.configuration().encode())
        (beside / LABELS_FILE).write_bytes(names.shown().encode())


class Names:
    """What brat calls the labels of a set, and its configuration files.

    Args:
        report (`AlignmentReport`): Gets the labels that are written in another way.
    """

    def __init__(self, report: AlignmentReport) -> None:
        self.report = report
        self.names: dict[str, str] = {}
        self.used: dict[str, dict[str, set[str]]] = {"entities": {}, "relations": {}, "events": {}}

    def of(self, label: str) -> str:
        """The name of a label; two labels have two names."""
        if label not in self.names:
            name, number = brat_name(label), 1
            while name in self.names.values():
                number += 1
                name = f"{brat_name(label)}_{number}"
            if name != label:
                self.report.repair("label that brat cannot spell: see visual.conf", label, name)
            self.names[label] = name
        return self.names[label]

    def use(self, section: str, label: str, roles: Iterable[str] = ()) -> str:
        """The name of a label that stands in a section of the configuration, with these roles."""
        self.used[section].setdefault(self.of(label), set()).update(map(self.of, roles))
        return self.of(label)

    def configuration(self) -> str:
        """The text of `annotation.conf`."""
        sections = {
            "entities": sorted(self.used["entities"]),
            "relations": [f"{name}\tArg1:<ANY>, Arg2:<ANY>" for name in sorted(self.used["relations"])],
            "events": [
                name + "\t" + ", ".join(f"{role}*:<ANY>" for role in sorted(roles))
                for name, roles in sorted(self.used["events"].items())
            ],
            "attributes": [],
        }
        return "\n".join("\n".join([f"[{name}]", *lines, ""]) for name, lines in sections.items())

    def shown(self) -> str:
        """The text of `visual.conf`: each name with its label."""
        lines = [f"{name} | {label}" for label, name in sorted(self.names.items())]
        return "\n".join(["[labels]", *lines, "", "[drawing]", ""])


def _file_name(record: dict[str, Any], index: int, taken: set[str], report: AlignmentReport) -> str:
    wanted = str(record.get("id", "")) or f"record-{index:06}"
    stem = re.sub(r"[^\w.-]+", "_", wanted).strip(".") or f"record-{index:06}"
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    if name != wanted:
        report.repair("id that cannot be a file name", wanted, name)
    return name


def _lines_of(record: dict[str, Any], names: Names, where: str, report: AlignmentReport) -> list[str]:
    lose_other(record, {"entities", "relations", "events"}, "brat", where, report)
    report.count({key: record.get(key) for key in ("entities", "relations", "events")})
    bounds = Bounds(record["text"], names)
    for entity in record.get("entities") or ():
        bounds.add(entity, entity["type"])
    lines = []
    for index, relation in enumerate(record.get("relations") or (), start=1):
        ends = [bounds.find(relation[end], where, report) for end in ("head", "tail")]
        name = names.use("relations", relation["type"])
        lines.append(f"R{index}\t{name} Arg1:{ends[0]} Arg2:{ends[1]}")
    for index, event in enumerate(record.get("events") or (), start=1):
        arguments = event.get("arguments") or ()
        name = names.use("events", event["type"], [argument["role"] for argument in arguments])
        parts = [f"{name}:{bounds.add(event['trigger'], event['type'], 'events')}"]
        seen: Counter = Counter()
        for argument in arguments:
            role = names.of(argument["role"])
            seen[role] += 1
            number = seen[role] if seen[role] > 1 else ""
            parts.append(f"{role}{number}:{bounds.find(argument, where, report)}")
        lines.append(f"E{index}\t{' '.join(parts)}")
    return bounds.lines + lines


class Bounds:
    """The text-bound annotations of a text.

    Args:
        text (`str`): The text.
        names (`Names`): What brat calls the labels.
    """

    def __init__(self, text: str, names: Names) -> None:
        self.text = text
        self.names = names
        self.lines: list[str] = []
        self.entities: dict[tuple, list[tuple[str, str]]] = {}  # pieces -> (type, id)

    def add(self, mention: dict[str, Any], label: str, section: str = "entities") -> str:
        """Write a mention and return its id."""
        pieces = pieces_of(mention)
        name = f"T{len(self.lines) + 1}"
        offsets = ";".join(f"{start} {end}" for start, end in pieces)
        words = flatten(" ".join(self.text[start:end] for start, end in pieces))
        self.lines.append(f"{name}\t{self.names.use(section, label)} {offsets}\t{words}")
        if section == "entities":
            self.entities.setdefault(pieces, []).append((label, name))
        return name

    def find(self, mention: dict[str, Any], where: str, report: AlignmentReport) -> str:
        """The id of the entity at a mention's place; one is written where there is none."""
        wanted = mention.get("type")
        for label, name in self.entities.get(pieces_of(mention), ()):
            if wanted is None or label == wanted:
                return name
        report.repair("end or argument that is no entity: written as one", where, mention)
        return self.add(mention, wanted or UNTYPED)
