"""Results as HTML: one page that needs no other file, or a part of one for a notebook.

Highlights, legend and tables are plain HTML and CSS; a small script inside the page adds arcs, tips and
switches. Everything that comes from a result is escaped.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .visualization_assets import SCRIPT, STYLE
from .visualization_marks import (
    MAX_ARCS,
    Drawing,
    Legend,
    escape,
    format_score,
    label_hue,
    marked_text,
    words_of,
)

# kind -> its name in the legend and the counts
KINDS = {
    "entity": ("entity", "entities"),
    "relation": ("relation", "relations"),
    "hyper_relation": ("n-ary relation", "n-ary relations"),
    "event": ("event", "events"),
    "answer": ("answer", "answers"),
    "span": ("span", "spans"),
}


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _hued(name: str, inner: str, tag: str = "span") -> str:
    return f'<{tag} class="h" style="--c:{label_hue(name)}">{inner}</{tag}>'


def _legend_html(legend: Legend) -> str:
    """What occurs how often, a group for each kind, with a switch for each entry."""
    groups = []
    for kind, (_, many) in KINDS.items():
        keys = []
        found = [(name, number) for (own, name), number in legend.numbers.items() if own == kind]
        for name, number in sorted(found, key=lambda item: -legend.counts[item[1]]):
            box = f'<input type="checkbox" value="{number}" checked>'
            keys.append(
                f'<label class="key h" style="--c:{label_hue(name)}">{box}<bdi>{escape(name)}</bdi>'
                f"<b>{legend.counts[number]:,}</b></label>"
            )
        if keys:
            groups.append(f'<div class="group" role="group"><span>{many}</span>{"".join(keys)}</div>')
    return f'<div class="legend">{"".join(groups)}</div>' if groups else ""


def _words(mention: Mapping[str, Any], text: str) -> str:
    """A mention in a table: its text, and its type where it has one."""
    kind = f" <small><bdi>{escape(mention['type'])}</bdi></small>" if mention.get("type") else ""
    return f"<bdi>{escape(words_of(mention, text))}</bdi>{kind}"


def _named(name: str, mention: Mapping[str, Any], text: str) -> str:
    score = format_score(mention.get("score"))
    title = f' title="score {score}"' if score else ""
    words = escape(words_of(mention, text))
    return f"<span{title}><small><bdi>{escape(name)}</bdi></small> <bdi>{words}</bdi></span>"


def _rows(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str, float | None]]:
    """Kind, type, HTML of what it joins and score of everything that is drawn as arcs."""
    text = result["text"]
    for kind in ("relation", "hyper_relation"):
        for relation in result.get(f"{kind}s") or ():
            parts = [f"{_words(relation['head'], text)} → {_words(relation['tail'], text)}"]
            parts += [_named(q["type"], q, text) for q in relation.get("qualifiers") or ()]
            yield KINDS[kind][0], relation["type"], " · ".join(parts), relation.get("score")
    for event in result.get("events") or ():
        parts = [_words(event["trigger"], text)]
        parts += [_named(a["role"], a, text) for a in event.get("arguments") or ()]
        yield "event", event["type"], " · ".join(parts), event.get("score")


def _table(result: Mapping[str, Any]) -> str:
    """Relations and events as a table: for readers without a script, for print, for whoever prefers it."""
    rows = [
        f"<tr><td>{kind}</td><td>{_hued(name, f'<bdi>{escape(name)}</bdi>')}</td><td>{what}</td>"
        f"<td>{format_score(score)}</td></tr>"
        for kind, name, what, score in _rows(result)
    ]
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("kind", "type", "text", "score"))
    summary = f"<summary>{_count(len(rows), 'structure', 'structures')} as a table</summary>"
    return (
        f'<details class="structures drawn" open>{summary}<table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></details>"
    )


def _chip(name: str, words: str, score: float | None, before: str) -> str:
    shown = f" <small>{format_score(score)}</small>" if score is not None else ""
    return _hued(name, f"<small><bdi>{escape(before)}</bdi></small> <bdi>{escape(words)}</bdi>{shown}", "li")


def _chips(result: Mapping[str, Any]) -> str:
    """Classes and answers."""
    chips = []
    for task, labels in (result.get("classes") or {}).items():
        for label in labels:
            plain = {"label": label} if isinstance(label, str) else label  # a record has names only
            chips.append(_chip(plain["label"], plain["label"], plain.get("score"), task))
        if not labels:
            chips.append(f"<li><small><bdi>{escape(task)}</bdi></small> <i>none</i></li>")
    for answer in result.get("answers") or ():
        chips.append(_chip("answer", words_of(answer, result["text"]), answer.get("score"), "answer"))
    if result.get("answers") == []:
        chips.append("<li><i>no answer in this text</i></li>")
    return f'<ul class="chips">{"".join(chips)}</ul>' if chips else ""


def _notes(result: Mapping[str, Any], drawing: Drawing, left_out: int) -> Iterator[str]:
    if not drawing.marks and not any(result.get(key) for key in ("classes", "answers")):
        yield "Nothing found."
    if left_out:
        yield f"{_count(left_out, 'mention stands', 'mentions stand')} inside too many others to be drawn."
    if len(drawing.arcs) > MAX_ARCS:
        yield f"Only the {MAX_ARCS} best of {len(drawing.arcs):,} arcs are drawn; the table has all."
    if (result.get("windows") or 1) > 1:
        yield f"Read in {result['windows']:,} windows."
    if result.get("truncated"):
        yield "More links were found than could be followed; the result is not complete."


def _article(result: Mapping[str, Any], legend: Legend, heading: str = "") -> str:
    """One text with everything that was found in it."""
    drawing = Drawing(result, legend)
    text, left_out = marked_text(drawing)
    arcs = f' data-arcs="{escape(drawing.arcs_json())}"' if drawing.arcs or _has_pieces(drawing) else ""
    parts = [heading]
    if result.get("question") is not None:
        parts.append(f'<p dir="auto"><strong>{escape(result["question"])}</strong></p>')
    parts.append(_chips(result))
    svg = '<svg class="arcs" role="group" aria-label="relations and events"></svg>' if arcs else ""
    parts.append(f'<div class="stage"{arcs}>{svg}<div class="text" dir="auto" lang="">{text}</div></div>')
    parts += [f'<p class="note">{note}</p>' for note in _notes(result, drawing, left_out)]
    parts.append(_table(result))
    return f'<article class="result">{"".join(parts)}</article>'


def _has_pieces(drawing: Drawing) -> bool:
    return any(len(mark.pieces) > 1 for mark in drawing.marks)


def _headed_articles(results: list[Mapping[str, Any]], legend: Legend) -> list[str]:
    """Articles with headings where there are several texts, or names to tell."""
    articles = []
    for number, result in enumerate(results, start=1):
        name = result.get("id")
        words = f"Text {number:,}" if len(results) > 1 else ""
        if name is not None:
            words += f"{' · ' if words else ''}<bdi>{escape(name)}</bdi>"
        articles.append(_article(result, legend, f"<h2>{words}</h2>" if words else ""))
    return articles


def results_page(
    results: Mapping[str, Any] | Iterable[Mapping[str, Any]], title: str = "Results", note: str = ""
) -> str:
    """One HTML page with texts and what was found in them.

    It loads nothing, needs no script to be read, follows the reader's light or dark colours, and can be
    printed. Highlights that are inside each other are drawn inside each other; arcs are drawn by a script
    inside the page, which knows where lines end.

    Args:
        results: A result, or several. Records of the record format are results without scores.
        title: Heading and title of the page.
        note: A line below the heading, for instance that these are not all texts.

    Returns:
        The page; UTF-8 is declared in it.

    Raises:
        ValueError: If a mention is not inside its text.
    """
    several = [results] if isinstance(results, Mapping) else list(results)
    legend = Legend()
    articles = _headed_articles(several, legend)
    facts = [_count(len(several), "text", "texts")]
    for kind, names in KINDS.items():
        number = sum(legend.counts[i] for (own, _), i in legend.numbers.items() if own == kind)
        facts += [_count(number, *names)] if number else []
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n"
        f'<body class="ldnet"><main><h1 dir="auto">{escape(title)}</h1>'
        f'<p class="muted">{" · ".join(facts)}</p>{f"<p>{escape(note)}</p>" if note else ""}'
        f"{_legend_html(legend)}\n"
        + "\n".join(articles)
        + f"\n</main><script>{SCRIPT}</script></body></html>\n"
    )


def _policy() -> str:
    """A second wall behind the escaping: the browser runs our one script and loads nothing."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def result_fragment(result: Mapping[str, Any]) -> str:
    """One result as a part of a page, for notebooks.

    Args:
        result: A result or a record.

    Returns:
        An HTML element with its own style and script, which touch nothing outside of it.

    Raises:
        ValueError: If a mention is not inside the text.
    """
    legend = Legend()
    article = _article(result, legend)
    style, script = f"<style>{STYLE}</style>", f"<script>{SCRIPT}</script>"
    return f'<div class="ldnet">{style}{_legend_html(legend)}{article}{script}</div>'
