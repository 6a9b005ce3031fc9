"""A result: the plain dict that the pipeline gives, with ways to look at it and to carry it elsewhere."""

import copy
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .visualization import result_fragment, results_page
from .visualization_marks import pieces_of

# JSON lets these stand in a string, but str.splitlines and others take them for the end of a line.
LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}
NOT_IN_RECORDS = ("truncated", "windows", "rows", "calibrated")  # of the extraction, not of the text
NOT_IN_MENTIONS = ("text", "score")
MENTIONS = ("entities", "answers", "spans")
ENDS = ("head", "tail")
END_FIELDS = ("type", "text", "start", "end", "fragments", "score")
COLUMNS = ("kind", "type", "role", "text", "start", "end", "fragments", "score", "parent") + tuple(
    f"{end}_{field}" for end in ENDS for field in END_FIELDS
)
COLUMN_TYPES = {
    "start": "Int64",
    "end": "Int64",
    "parent": "Int64",
    "score": "float64",
    "fragments": "object",
}
SPAN_KEY = "ldnet"  # of spaCy's span groups and user data


class ExtractionResult(dict):
    """What was found in a text: a dict in every respect, equal to the plain one, with methods beside it.

    Its keys are described in `docs/results.md`; offsets are Python string indices, end exclusive.

    ```python
    result = pipe("Tim Cook leads Apple.", schema=["person", "organization"])
    result["entities"][0]["text"]
    result.to_pandas()
    ```
    """

    def to_json(self, indent: int | None = None) -> str:
        """JSON text with letters of all scripts as they are.

        Args:
            indent: Spaces of indentation; `None` = one line.

        Returns:
            The text, without a line feed at its end.

        Raises:
            ValueError: If there is a NaN or infinity in it, which JSON does not know.
        """
        return json.dumps(self, ensure_ascii=False, indent=indent, allow_nan=False).translate(LINE_ENDS)

    def to_record(self) -> dict[str, Any]:
        """The result as a record that can be corrected, validated and trained on.

        Returns:
            A new plain dict without the mentions' `text`, without scores, and without what tells of the
            extraction; ends of unknown type have no `type`; classes are names.
        """
        record = {key: value for key, value in self.items() if key not in NOT_IN_RECORDS}
        for key in MENTIONS:
            if key in record:
                record[key] = [_bare(mention) for mention in record[key]]
        for key in ("relations", "hyper_relations"):
            if key in record:
                record[key] = [_bare_relation(relation) for relation in record[key]]
        if "events" in record:
            record["events"] = [_bare_event(event) for event in record["events"]]
        if "classes" in record:
            record["classes"] = {
                task: [label["label"] for label in labels] for task, labels in record["classes"].items()
            }
        return record

    def to_pandas(self) -> Any:
        """One row for each structure, in the columns `COLUMNS` whatever was found.

        `kind` is `"entity"`, `"relation"`, `"hyper_relation"`, `"qualifier"`, `"event"`, `"argument"`,
        `"class"`, `"answer"` or `"span"`. `type` is the label that holds; `role` is an argument's role, a
        qualifier's type, or a class's task. `text`, `start`, `end` and `fragments` (a list of offsets where a
        mention is discontinuous) are the mention's, for an event its trigger's. `head_*` and `tail_*` are the
        two mentions of a relation. `parent` is the row number of the event or relation that an argument or
        qualifier belongs to.

        Returns:
            A `pandas.DataFrame`; offsets and `parent` are nullable integers, scores floats.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas: pandas is not installed; pip install pandas") from error
        rows = [{name: row.get(name) for name in COLUMNS} for row in _rows(self)]
        types = {
            name: COLUMN_TYPES.get(name.removeprefix("head_").removeprefix("tail_"), "string")
            for name in COLUMNS
        }
        return pandas.DataFrame(rows, columns=list(COLUMNS)).astype(types)

    def to_spacy(self, nlp: Any = None) -> Any:
        """The result as a spaCy `Doc`.

        `doc.ents` has the best-scored entities that do not overlap, `doc.spans["ldnet"]` all of them with
        their scores in `.attrs["scores"]`; a discontinuous entity is there as its pieces, which share a
        `span_id`. Triggers, answers and typeless spans are the groups `"ldnet_triggers"`, `"ldnet_answers"`
        and `"ldnet_spans"`. `doc.cats` has the classes, as `"task: label"`. The whole result, relations and
        events among it, is `doc.user_data["ldnet"]`.

        Args:
            nlp: Whose tokens to take. Default: those of a blank pipeline, also cut where mentions begin and
                end, so that each mention is a span.

        Returns:
            The `spacy.tokens.Doc`. Mentions that are no spans of `nlp`'s tokens are left out of it, listed in
            `doc.user_data["ldnet_unaligned"]`, and counted in a warning.

        Raises:
            ImportError: If spaCy is not installed.
        """
        try:
            import spacy
        except ImportError as error:
            raise ImportError("to_spacy: spaCy is not installed; pip install spacy") from error
        doc = (nlp or spacy.blank("xx")).make_doc(self["text"])
        if nlp is None:
            doc = _cut_doc(doc, self)
        unaligned = [
            mention for key, mentions in _groups(self).items() for mention in _add_group(doc, key, mentions)
        ]
        doc.set_ents(_best_without_overlaps(doc))
        for task, labels in self.get("classes", {}).items():
            doc.cats.update({f"{task}: {label['label']}": label["score"] for label in labels})
        doc.user_data[SPAN_KEY] = copy.deepcopy(dict(self))
        doc.user_data[f"{SPAN_KEY}_unaligned"] = unaligned
        if unaligned:
            warnings.warn(
                f"to_spacy: {len(unaligned)} mentions do not begin and end where tokens of nlp do and are "
                'left out; see doc.user_data["ldnet_unaligned"], or call to_spacy() without nlp',
                stacklevel=2,
            )
        return doc

    def to_html(self, path: str | Path | None = None, title: str = "Result") -> str:
        """A page that shows the text and what was found in it; it needs no other file and no network.

        Args:
            path: Where to write it; the file appears whole or not at all.
            title: Heading and title of the page.

        Returns:
            The page.

        Raises:
            OSError: If it cannot be written.
        """
        page = results_page(self, title)
        if path is not None:
            target = Path(path)
            beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            try:
                beside.write_text(page, encoding="utf-8", newline="\n")
                beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)
        return page

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return result_fragment(self)


def _bare(mention: Mapping[str, Any]) -> dict[str, Any]:
    """A mention without what was added to it."""
    kept = {key: value for key, value in mention.items() if key not in NOT_IN_MENTIONS}
    if kept.get("type", "") is None:
        del kept["type"]
    return kept


def _bare_relation(relation: Mapping[str, Any]) -> dict[str, Any]:
    bare = _bare(relation) | {end: _bare(relation[end]) for end in ENDS}
    if "qualifiers" in relation:
        bare["qualifiers"] = [_bare(qualifier) for qualifier in relation["qualifiers"]]
    return bare


def _bare_event(event: Mapping[str, Any]) -> dict[str, Any]:
    arguments = [_bare(argument) for argument in event["arguments"]]
    return _bare(event) | {"trigger": _bare(event["trigger"]), "arguments": arguments}


def _end_fields(relation: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{end}_{field}": relation[end].get(field) for end in ENDS for field in END_FIELDS}


def _rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of the table; `parent` is the number of a row before."""
    number = 0
    for entity in result.get("entities") or ():
        yield {"kind": "entity", **entity}
        number += 1
    for kind in ("relation", "hyper_relation"):
        for relation in result.get(f"{kind}s") or ():
            own = {"kind": kind, "type": relation["type"], "score": relation["score"]}
            yield own | _end_fields(relation)
            qualifiers = relation.get("qualifiers") or ()
            for part in qualifiers:
                known = {
                    "kind": "qualifier",
                    "type": relation["type"],
                    "role": part["type"],
                    "parent": number,
                }
                yield part | known
            number += 1 + len(qualifiers)
    for event in result.get("events") or ():
        yield event["trigger"] | {"kind": "event", "type": event["type"], "score": event["score"]}
        for part in event["arguments"]:
            yield part | {"kind": "argument", "type": event["type"], "parent": number}
        number += 1 + len(event["arguments"])
    for task, labels in (result.get("classes") or {}).items():
        yield from (
            {"kind": "class", "type": label["label"], "role": task, "score": label["score"]}
            for label in labels
        )
    for kind in ("answer", "span"):
        yield from ({"kind": kind, **mention} for mention in result.get(f"{kind}s") or ())


def _groups(result: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Name of a span group -> mentions with `type` and `score`."""
    triggers = [
        event["trigger"] | {"type": event["type"], "score": event["score"]}
        for event in result.get("events") or ()
    ]
    named = {"triggers": triggers, "answers": result.get("answers"), "spans": result.get("spans")}
    groups = {SPAN_KEY: result.get("entities") or []}
    return groups | {f"{SPAN_KEY}_{name}": found for name, found in named.items() if found}


def _add_group(doc: Any, name: str, mentions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add a span group to a document; returns the mentions that are not spans of its tokens."""
    spans, scores, unaligned = [], [], []
    for number, mention in enumerate(mentions):
        label = mention.get("type") or ""
        span_id = f"{name}-{number}" if "fragments" in mention else ""
        pieces = [
            doc.char_span(start, end, label=label, span_id=span_id) for start, end in pieces_of(mention)
        ]
        if None in pieces:
            unaligned.append(dict(mention))
        else:
            spans += pieces
            scores += [mention["score"]] * len(pieces)
    doc.spans[name] = spans
    doc.spans[name].attrs["scores"] = scores
    return unaligned


def _best_without_overlaps(doc: Any) -> list[Any]:
    """The entities of one piece that overlap no better-scored one."""
    group = doc.spans[SPAN_KEY]
    ranked = sorted(zip(group.attrs["scores"], group, strict=True), key=lambda item: -item[0])
    taken: set[int] = set()
    kept = []
    for _, span in ranked:
        tokens = range(span.start, span.end)
        if not span.id_ and taken.isdisjoint(tokens):
            taken.update(tokens)
            kept.append(span)
    return kept


def _cut_doc(tokens: Any, result: Mapping[str, Any]) -> Any:
    """A document whose tokens are cut further where mentions begin and end."""
    text = result["text"]
    pieces = [
        piece for mentions in _groups(result).values() for mention in mentions for piece in pieces_of(mention)
    ]
    starts, ends = {start for start, _ in pieces}, {end for _, end in pieces}
    cuts = {0, len(text)} | starts | ends
    for token in tokens:
        cuts |= {token.idx, token.idx + len(token)}
    words, spaces = [], []
    places = sorted(cuts)
    for start, end in zip(places, places[1:], strict=False):
        # A single space belongs to the word before, as everywhere in spaCy, unless a mention begins or ends
        # with it.
        if text[start:end] == " " and words and not spaces[-1] and start not in starts and end not in ends:
            spaces[-1] = True
        else:
            words.append(text[start:end])
            spaces.append(False)
    return type(tokens)(tokens.vocab, words=words, spaces=spaces)
