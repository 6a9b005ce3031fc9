"""The errors of a data set as one HTML page: no script, nothing from outside, texts with their marks."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from ldnet.train.error_analysis import CORRECT, KINDS, AnalysedText, ErrorAnalysis, Finding
from ldnet.train.metric_keys import Key, Pieces, label_text

SHOWN_TEXTS = 1000  # more would make a browser slow
COLOURS = {
    "correct": "#d9f2dd",
    "wrong boundary": "#fff0b3",
    "wrong label": "#ffd9b3",
    "both wrong": "#ffc2a3",
    "missed": "#ffcccc",
    "spurious": "#cfe0ff",
    "out of reach": "#dddddd",
}
STYLE = """
body { font: 16px/1.6 system-ui, sans-serif; color: #111; background: #fff; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #bbb; padding: .2rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
input[name=kind] { margin: 0 .3rem 0 0; }
label { margin-right: 1rem; white-space: nowrap; }
article { border-top: 1px solid #bbb; margin-top: 1.5rem; }
h2 { font-size: 1rem; margin: .6rem 0; overflow-wrap: anywhere; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.g { border-bottom: 3px solid #333; }
.p { border-top: 3px dotted #333; }
.kind { border-radius: .3rem; padding: 0 .4rem; }
li { overflow-wrap: anywhere; }
q { quotes: "\\201c" "\\201d"; }
"""
# No script, picture, font or address can be loaded, whatever a text holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{shown}</p>
{table}
<p>Gold mentions are <span class="g">underlined</span>, predicted ones <span class="p">overlined</span>; the
colour says what is wrong. Show:</p>
{choices}
<main>
"""
FOOT = "</main>\n</body>\n</html>\n"


def quoted(text: str) -> str:
    """Text that stands in HTML as it is, whatever characters it has.

    Args:
        text: Any text.

    Returns:
        The text with what HTML would read as markup, or a browser would change, as character references.
    """
    # Half a surrogate pair cannot be written to a file at all.
    whole = text.encode("utf-8", "replace").decode()
    return escape(whole).replace("\r", "&#13;")


def _name(kind: str) -> str:
    return "k-" + kind.replace(" ", "-")


def _rules() -> str:
    """The colours, and for each choice what it hides."""
    rules = [f".{_name(kind)} {{ background: {colour}; }}" for kind, colour in COLOURS.items()]
    for kind in KINDS[1:]:
        chosen = f"#show-{_name(kind)}:checked ~ main"
        rules.append(f"{chosen} article:not(.has-{_name(kind)}) {{ display: none; }}")
        rules.append(f"{chosen} li:not(.of-{_name(kind)}) {{ display: none; }}")
    return STYLE + "\n".join(rules) + "\n"


def _marks(finding: Finding, length: int) -> Iterator[tuple[int, int, str]]:
    """Start, end and side of every piece of the text that a finding marks."""
    for side, key in (("g", finding.gold), ("p", finding.predicted)):
        for place in () if key is None else key[1:]:
            for start, end in place:
                if 0 <= start < end <= length:
                    yield start, end, side


@dataclass(frozen=True)
class _Mark:
    """What covers a piece of the text.

    Args:
        kind: Index in `KINDS`.
        side: Style class: gold or predicted.
        said: The finding in words.
        alone: Whether it is a structure of one mention: a relation marks its ends too, but their colour shall
            tell of the mentions that stand there.
    """

    kind: int
    side: str
    said: str
    alone: bool


def marked_text(analysed: AnalysedText) -> str:
    """The text in HTML, cut where a mention begins or ends, each cut with what covers it.

    Mentions may nest and cross, so none of them is one element. Where several kinds meet, the last of
    `KINDS` decides the colour.

    Args:
        analysed: The text and its findings.

    Returns:
        HTML; its words are the text, letter by letter.
    """
    text = analysed.text
    opening: dict[int, list[_Mark]] = {}
    closing: dict[int, list[_Mark]] = {}
    for finding in analysed.findings:
        alone = len(finding.gold or finding.predicted or ()) == 2  # label and place
        for start, end, side in _marks(finding, len(text)):
            mark = _Mark(KINDS.index(finding.kind), side, _said(finding), alone)
            opening.setdefault(start, []).append(mark)
            closing.setdefault(end, []).append(mark)
    cuts = sorted({0, len(text), *opening, *closing})
    parts: list[str] = []
    covering: list[_Mark] = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        for mark in closing.get(start, ()):
            covering.remove(mark)
        covering += opening.get(start, ())
        words = quoted(text[start:end])
        parts.append(_marked(words, covering) if covering else words)
    return "".join(parts)


def _marked(words: str, covering: list[_Mark]) -> str:
    deciding = [mark for mark in covering if mark.alone] or covering
    kind = KINDS[max(mark.kind for mark in deciding)]
    sides = " ".join(sorted({mark.side for mark in covering}))
    said = quoted("\n".join(sorted({mark.said for mark in covering})))
    return f'<span class="{sides} {_name(kind)}" title="{said}">{words}</span>'


def _said(finding: Finding) -> str:
    """A finding in words, without the words of the text."""
    sides = [
        f"{side} {label_text(key[0])}"
        for side, key in (("gold", finding.gold), ("predicted", finding.predicted))
        if key is not None
    ]
    return f"{finding.kind}: {', '.join(sides)}"


def _structure(key: Key, text: str) -> str:
    """Label and words of a structure, in HTML."""
    words = [f"<q>{quoted(_words(place, text))}</q>" for place in key[1:] if place]
    return " ".join([f"<b>{quoted(label_text(key[0]))}</b>", *words])


def _words(place: Pieces, text: str) -> str:
    return " … ".join(text[start:end] for start, end in place)


def _item(finding: Finding, text: str) -> str:
    sides = [
        f"{side} {_structure(key, text)}"
        for side, key in (("gold", finding.gold), ("predicted", finding.predicted))
        if key is not None
    ]
    name = _name(finding.kind)
    task = quoted(finding.task.replace("_", " "))
    return (
        f'<li class="of-{name}"><span class="kind {name}">{finding.kind}</span> '
        f"{task}: {'; '.join(sides)}</li>"
    )


def _article(analysed: AnalysedText) -> str:
    errors = [finding for finding in analysed.findings if finding.kind != CORRECT]
    kinds = " ".join(sorted({f"has-{_name(finding.kind)}" for finding in errors}))
    items = "\n".join(_item(finding, analysed.text) for finding in errors)
    return (
        f'<article class="{kinds}">\n<h2>{quoted(analysed.name)}</h2>\n'
        f'<p class="text" dir="auto">{marked_text(analysed)}</p>\n<ul>\n{items}\n</ul>\n</article>\n'
    )


def _table(counts: dict[str, dict[str, int]]) -> str:
    head = "".join(f"<th>{quoted(task.replace('_', ' '))}</th>" for task in counts)
    rows = [
        f"<tr><td>{kind}</td>{''.join(f'<td>{own[kind]:,}</td>' for own in counts.values())}</tr>"
        for kind in KINDS
    ]
    return "\n".join([f"<table>\n<tr><th></th>{head}</tr>", *rows, "</table>"])


def _choices() -> str:
    """A radio button a kind of error, beside `main`: so style rules alone do the filtering."""
    options = [("all", "all errors"), *((_name(kind), kind) for kind in KINDS[1:])]
    return "\n".join(
        f'<input type="radio" name="kind" id="show-{name}"{" checked" if name == "all" else ""}>'
        f'<label for="show-{name}">{words}</label>'
        for name, words in options
    )


def error_page(analysis: ErrorAnalysis, title: str, limit: int = SHOWN_TEXTS) -> Iterator[str]:
    """The page, piece by piece.

    Args:
        analysis: The errors.
        title: What was scored; any text.
        limit: Texts shown at most; the page says how many there are.

    Yields:
        HTML; joined, the pieces are one page that needs no other file and no network.
    """
    shown = f"{len(analysis.wrong):,} of {analysis.texts:,} texts have errors"
    if len(analysis.wrong) > limit:
        shown += f"; the first {limit:,} are shown"
    yield HEAD.format(
        policy=POLICY,
        title=quoted(title),
        style=_rules(),
        shown=f"{shown}.",
        table=_table(analysis.to_dict()),
        choices=_choices(),
    )
    yield from map(_article, analysis.wrong[:limit])
    yield FOOT
