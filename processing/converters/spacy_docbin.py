"""spaCy's DocBin (`.spacy`), and back."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import read_bytes, write_beside
from ldnet.processing.converters.report import AlignmentReport, fail
from ldnet.processing.converters.spans import clean_label
from ldnet.processing.converters.writing import lose_other, name_of

TASK = "class"  # spaCy's categories have no name
SPANS_KEY = "sc"  # where spaCy's span categorizer looks
RECORD_ID = "ldnet_id"
HOLDS = 0.5  # a category with this value or more


def _spacy() -> Any:
    try:
        import spacy
        import spacy.tokens
        import spacy.vocab
    except ImportError:
        fail("spacy: is not installed, but .spacy files need it. Run: pip install 'ldnet[spacy]'")
    return spacy


def read_spacy(path: str | Path, report: AlignmentReport) -> Iterator[dict[str, Any]]:
    """Read the documents of a DocBin: `ents` and all span groups as entities, `cats` as classes.

    Args:
        path (`str` or `Path`): The `.spacy` file.
        report (`AlignmentReport`): Filled.

    Yields:
        Records; `entities` where the document was annotated with them.

    Raises:
        ConversionError: If spaCy is missing or the file is no DocBin.
        OSError: If it cannot be read.
    """
    spacy = _spacy()
    content = read_bytes(path)
    try:
        docs = list(spacy.tokens.DocBin().from_bytes(content).get_docs(spacy.vocab.Vocab()))
    except Exception as error:  # whatever zlib, msgpack and spaCy raise on foreign bytes
        fail(
            f"{path}: is no DocBin of spaCy ({type(error).__name__}: {error}). Write it with DocBin.to_disk."
        )
    for index, doc in enumerate(docs):
        where = f"{path}[{index}]"
        name = doc.user_data.get(RECORD_ID)
        record: dict[str, Any] = ({} if name is None else {"id": name}) | {"text": doc.text}
        if doc.has_annotation("ENT_IOB") or doc.spans:
            groups = [doc.ents, *(doc.spans[key] for key in doc.spans)]
            record["entities"] = list(_entities([span for group in groups for span in group], where, report))
        if doc.cats:
            record["classes"] = {TASK: [label for label, value in doc.cats.items() if value >= HOLDS]}
            record["labels"] = {"classes": {TASK: list(doc.cats)}}
        others = [key for key in doc.user_data if key != RECORD_ID]
        report.lose("user data (extension attributes)", where, others, len(others))
        yield report.take(record, where)


def _entities(spans: list[Any], where: str, report: AlignmentReport) -> Iterator[dict[str, Any]]:
    seen = set()
    for span in spans:
        label = clean_label(span.label_)
        entity = (label, span.start_char, span.end_char)
        if label is None or span.start_char == span.end_char:
            report.lose("span without a label or without characters", where, span.text)
        elif entity not in seen:  # ents often stand in a span group as well
            seen.add(entity)
            yield {"type": label, "start": span.start_char, "end": span.end_char}
        report.lose("link to a knowledge base", where, span.kb_id_, int(bool(span.kb_id_)))


def write_spacy(
    records: Iterable[dict[str, Any]], path: str | Path, report: AlignmentReport, *, language: str = "xx"
) -> None:
    """Write a DocBin: all entities in `doc.spans["sc"]`, the longest without overlaps in `doc.ents` too.

    Args:
        records (`Iterable[dict]`): Records in our format.
        path (`str` or `Path`): The `.spacy` file.
        report (`AlignmentReport`): Filled.
        language (`str`): Whose rules split the texts: "en", "zh", …; "xx" are those of no language.

    Raises:
        ConversionError: If spaCy is missing or does not know the language.
        OSError: If the file cannot be written.
    """
    spacy = _spacy()
    try:
        pipeline = spacy.blank(language)
    except ImportError as error:
        fail(
            f"language: spaCy cannot load {language!r} ({str(error).strip()}). Write e.g. --set language=en."
        )
    records = list(records)
    tasks: dict[str, dict[str, None]] = {}
    for record in records:
        for task, holding in (record.get("classes") or {}).items():
            tasks.setdefault(task, {}).update(dict.fromkeys(holding))
    docs = spacy.tokens.DocBin(store_user_data=True)
    for index, record in enumerate(records):
        where = name_of(record, index)
        lose_other(record, {"entities", "classes"}, "spaCy", where, report)
        doc = pipeline.make_doc(record["text"])
        entities = _add_entities(doc, record, where, report)
        if record.get("classes") is not None:
            doc.cats = _categories(record["classes"], tasks)
        if record.get("id") is not None:
            doc.user_data[RECORD_ID] = record["id"]
        report.count({"entities": entities, "classes": record.get("classes")})
        docs.add(doc)
    with write_beside(path) as beside:
        beside.write_bytes(docs.to_bytes())


def _add_entities(doc: Any, record: dict[str, Any], where: str, report: AlignmentReport) -> list[Any]:
    if record.get("entities") is None:
        return []
    spans = []
    for entity in record["entities"]:
        words = record["text"][entity["start"] : entity["end"]]
        if entity.get("fragments"):
            report.lose("discontinuous mention", where, words)
            continue
        span = doc.char_span(entity["start"], entity["end"], label=entity["type"])
        if span is None:
            report.lose("boundary inside a token of spaCy (try --set language=…)", where, words)
        else:
            spans.append(span)
    doc.spans[SPANS_KEY] = spans
    flat: list[Any] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
        if all(span.end <= other.start or other.end <= span.start for other in flat):
            flat.append(span)
    doc.set_ents(flat)
    report.repair(f"overlapping entity: only in spans[{SPANS_KEY!r}]", where, None, len(spans) - len(flat))
    return spans


def _categories(classes: dict[str, list[str]], tasks: dict[str, dict[str, None]]) -> dict[str, float]:
    """A value for each class of the record's tasks, named with its task if there are several."""
    return {
        label if len(tasks) == 1 else f"{task}: {label}": float(label in holding)
        for task, holding in classes.items()
        for label in tasks[task]
    }
