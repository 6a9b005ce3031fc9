"""What is drawn of a result: marks on its text, arcs between marks, and the text as nested HTML elements."""

import heapq
import html
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 12  # marks on one character; an HTML reader gives up at some hundred elements inside each other
MAX_ARCS = 400  # of one text; more of them are a black surface, and slow
HUE_START = 1405  # of the checksum: with it person, organization, location and date are far from each other
LABEL_LENGTH = 40  # characters of a label that stands in the text; the whole one is in its tip
# A browser reads a NUL, or half of a surrogate pair, as this anyway or not at all.
REPLACED = dict.fromkeys([0, *range(0xD800, 0xE000)], "\ufffd")


@dataclass
class Mark:
    """A highlighted mention.

    Args:
        number: Its place in the list of marks.
        kind: `"entity"`, `"trigger"`, `"answer"`, `"span"`, or `"argument"`: what only a relation or an
            event mentions.
        label: Its type; `None` where there is none.
        pieces: Character offsets `(start, end)` in text order; more than one if it is discontinuous.
        words: Its text.
        score: In `[0, 1]`; `None` in a record without scores.
        key: Its entry in the legend; `None` = it has none.
    """

    number: int
    kind: str
    label: str | None
    pieces: tuple[tuple[int, int], ...]
    words: str
    score: float | None
    key: int | None


@dataclass
class Arc:
    """A labelled arrow from one mark to another: a relation, a qualifier, or an event's argument.

    Args:
        source: Number of the mark where it begins.
        target: Number of the mark that its head points to.
        label: Relation, qualifier or role.
        score: In `[0, 1]` or `None`.
        key: Its entry in the legend.
        name: What gives it its colour.
        dashed: Whether it adds to another arc (a qualifier).
    """

    source: int
    target: int
    label: str
    score: float | None
    key: int
    name: str
    dashed: bool = False


@dataclass
class Legend:
    """What occurs in the results of a page, numbered in order of its first occurrence.

    Args:
        numbers: (kind, type) -> number of the entry.
        counts: How many there are, by number.
    """

    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)

    def add(self, kind: str, name: str, count: int = 1) -> int:
        """Count one more of a kind and type.

        Args:
            kind: Such as `"entity"`.
            name: Its type.
            count: 0 only asks for the number.

        Returns:
            The entry's number.
        """
        number = self.numbers.setdefault((kind, name), len(self.counts))
        if number == len(self.counts):
            self.counts.append(0)
        self.counts[number] += count
        return number


def label_hue(name: str) -> int:
    """The hue of a label: a function of its name alone, so that it is the same on every page.

    Args:
        name: The label.

    Returns:
        Degrees, in `[0, 360)`.
    """
    return zlib.crc32(name.encode("utf-8", "surrogatepass"), HUE_START) % 360


def escape(value: object) -> str:
    """Text as it may stand between tags or in a quoted attribute; a browser reads exactly it back.

    Args:
        value: Anything; its `str` is taken.

    Returns:
        HTML. What a browser cannot hold (NUL, half of a surrogate pair) is U+FFFD.
    """
    text = html.escape(str(value).translate(REPLACED), quote=True)
    return text.replace("\r", "&#13;")  # bare, it would be read as a line feed


def format_score(score: float | None) -> str:
    """A score with two decimals; empty where there is none."""
    return "" if score is None else f"{score:.2f}"


def pieces_of(mention: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    """Character offsets `(start, end)` of a mention's pieces, in text order."""
    return tuple(tuple(piece) for piece in mention.get("fragments") or [(mention["start"], mention["end"])])


def words_of(mention: Mapping[str, Any], text: str) -> str:
    """A mention's text, also where the record does not repeat it."""
    return mention.get("text") or " ".join(text[start:end] for start, end in pieces_of(mention))


class Drawing:
    """Marks and arcs of one result.

    Args:
        result: A result, or a record (which has no scores).
        legend: Where kinds and types are counted.

    Raises:
        ValueError: If a mention is not inside the text.
    """

    def __init__(self, result: Mapping[str, Any], legend: Legend) -> None:
        self.text: str = result["text"]
        self.marks: list[Mark] = []
        self.arcs: list[Arc] = []
        self.legend = legend
        self._at: dict[tuple[tuple[int, int], ...], list[Mark]] = {}
        for entity in result.get("entities") or ():
            self._mark("entity", entity["type"], entity)
        for event in result.get("events") or ():
            self._event(event)
        for kind in ("answer", "span"):
            for mention in result.get(f"{kind}s") or ():
                self._mark(kind, None, mention)
        for relation in result.get("relations") or ():
            self._relation("relation", relation)
        for relation in result.get("hyper_relations") or ():
            self._relation("hyper_relation", relation)

    def _mark(self, kind: str, label: str | None, mention: Mapping[str, Any]) -> Mark:
        """Add a mark, or find the one that is there already."""
        pieces = pieces_of(mention)
        here = self._at.setdefault(pieces, [])
        for mark in here:
            if (mark.kind, mark.label) == (kind, label):
                return mark
        for start, end in pieces:
            if not 0 <= start < end <= len(self.text):
                raise ValueError(
                    f"result: the {label or kind} from {start} to {end} is not inside the text of "
                    f"{len(self.text)} characters; offsets count from 0, end exclusive"
                )
        key = None
        if kind != "argument":
            key = self.legend.add("event" if kind == "trigger" else kind, label or kind, kind != "trigger")
        words = words_of(mention, self.text)
        mark = Mark(len(self.marks), kind, label, pieces, words, mention.get("score"), key)
        here.append(mark)
        self.marks.append(mark)
        return mark

    def _end(self, mention: Mapping[str, Any]) -> int:
        """The mark that an arc begins or ends at: best an entity of the same type, else a new one."""
        here = self._at.get(pieces_of(mention), [])
        best = max(here, key=lambda m: (m.kind == "entity", m.label == mention.get("type")), default=None)
        return (best or self._mark("argument", None, mention)).number

    def _event(self, event: Mapping[str, Any]) -> None:
        name, key = event["type"], self.legend.add("event", event["type"])
        trigger = self._mark("trigger", name, {"score": event.get("score")} | event["trigger"]).number
        for argument in event.get("arguments") or ():
            score = argument.get("score")
            self.arcs.append(Arc(trigger, self._end(argument), argument["role"], score, key, name))

    def _relation(self, kind: str, relation: Mapping[str, Any]) -> None:
        name, key = relation["type"], self.legend.add(kind, relation["type"])
        head, tail = self._end(relation["head"]), self._end(relation["tail"])
        self.arcs.append(Arc(head, tail, name, relation.get("score"), key, name))
        for qualifier in relation.get("qualifiers") or ():
            end, label = self._end({**qualifier, "type": None}), qualifier["type"]
            self.arcs.append(Arc(tail, end, label, qualifier.get("score"), key, name, dashed=True))

    def arcs_json(self) -> str:
        """The arcs as the page's script reads them: the best-scored, at most `MAX_ARCS`."""
        best = sorted(self.arcs, key=lambda arc: -1 if arc.score is None else -arc.score)[:MAX_ARCS]
        return json.dumps([self._arc_dict(arc) for arc in best], ensure_ascii=False, separators=(",", ":"))

    def _arc_dict(self, arc: Arc) -> dict[str, Any]:
        source, target = self.marks[arc.source].words, self.marks[arc.target].words
        score = "" if arc.score is None else f" · score {format_score(arc.score)}"
        tip = f"{arc.label}: {shorten(source)} → {shorten(target)}{score}"
        shown = {"s": arc.source, "t": arc.target, "l": shorten(arc.label), "k": arc.key, "d": arc.dashed}
        return shown | {"c": label_hue(arc.name), "tip": tip}


def shorten(words: str) -> str:
    """Words on one line, at most `LABEL_LENGTH` characters of them."""
    line = " ".join(words.split())
    return line if len(line) <= LABEL_LENGTH else line[: LABEL_LENGTH - 1] + "…"


@dataclass
class _Part:
    """One element: a piece of a mark, or a part of one where marks cross."""

    start: int
    end: int
    mark: Mark
    fragment: int  # which piece of the mark
    begins: bool = True  # whether the piece begins with this part
    ends: bool = True
    depth: int = 0
    height: int = 0  # levels of parts inside


def _nested_parts(marks: list[Mark]) -> tuple[list[_Part], int]:
    """Parts in the order of their opening tags, split so that they nest; and how many marks found no room."""
    waiting = [
        (start, -end, mark.number, i, True) for mark in marks for i, (start, end) in enumerate(mark.pieces)
    ]
    heapq.heapify(waiting)
    parts: list[_Part] = []
    open_parts: list[_Part] = []
    left_out: set[int] = set()
    while waiting:
        start, end, number, fragment, begins = heapq.heappop(waiting)
        end = -end
        while open_parts and open_parts[-1].end <= start:
            open_parts.pop()
        if len(open_parts) == MAX_DEPTH:
            left_out.add(number)
            continue
        part = _Part(start, end, marks[number], fragment, begins, depth=len(open_parts))
        if open_parts and open_parts[-1].end < end:  # it crosses: the rest comes after
            part.end, part.ends = open_parts[-1].end, False
            heapq.heappush(waiting, (part.end, -end, number, fragment, False))
        parts.append(part)
        open_parts.append(part)
    _measure_heights(parts)
    return parts, len(left_out)


def _measure_heights(parts: list[_Part]) -> None:
    """Set how many levels are inside each part; children follow their parents."""
    path: list[_Part] = []
    for part in parts:
        del path[part.depth :]
        path.append(part)
        for above, parent in enumerate(path):
            parent.height = max(parent.height, part.depth - above)


def _tip(mark: Mark) -> str:
    places = ", ".join(f"{start}–{end}" for start, end in mark.pieces)
    facts = [mark.label or mark.kind, *(["trigger"] if mark.kind == "trigger" else [])]
    facts += [] if mark.score is None else [f"score {format_score(mark.score)}"]
    return " · ".join([*facts, f"characters {places}", shorten(mark.words)])


def _opening_tag(part: _Part) -> str:
    mark = part.mark
    classes = [mark.kind, "h", *(["from"] if not part.begins else []), *(["on"] if not part.ends else [])]
    if len(mark.pieces) > 1:
        classes.append("piece")
    label = shorten(mark.label or ("answer" if mark.kind == "answer" else ""))
    if label and len(mark.pieces) > 1:
        label += f" {part.fragment + 1}/{len(mark.pieces)}"
    hue = label_hue(mark.label or mark.kind)
    tag = f'<mark class="{" ".join(classes)}" style="--c:{hue};--h:{part.height}" data-m="{mark.number}"'
    if mark.key is not None:
        tag += f' data-k="{mark.key}"'
    if label and part.ends:
        tag += f' data-l="{escape(label)}"'
    if part.begins and part.fragment == 0:
        tag += ' tabindex="0"'
    return f'{tag} title="{escape(_tip(mark))}">'


def _tags(parts: list[_Part]) -> Iterator[tuple[int, str]]:
    """Offsets and tags in the order in which they stand in the text."""
    open_parts: list[_Part] = []
    for part in parts:
        while len(open_parts) > part.depth:
            yield open_parts.pop().end, "</mark>"
        yield part.start, _opening_tag(part)
        open_parts.append(part)
    while open_parts:
        yield open_parts.pop().end, "</mark>"


def marked_text(drawing: Drawing) -> tuple[str, int]:
    """The text with its marks.

    Args:
        drawing: What is drawn.

    Returns:
        HTML whose text is exactly the drawing's text (labels are attributes), and the number of marks that
        are not in it because `MAX_DEPTH` others stand at their place.
    """
    parts, left_out = _nested_parts(drawing.marks)
    written, at = [], 0
    for offset, tag in _tags(parts):
        written += [escape(drawing.text[at:offset]), tag]
        at = offset
    return "".join([*written, escape(drawing.text[at:])]), left_out
