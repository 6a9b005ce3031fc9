"""SQuAD 1.1 and 2.0, nested as published or one question a row as in `datasets`."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ldnet.processing.converters.files import check_keys, json_rows
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.converters.spans import realign

ROW = {"context": str, "question": str}


def read_squad(path: str | Path, report: AlignmentReport) -> Iterator[dict[str, Any]]:
    """Read questions: a record each, the passage as its text.

    An impossible question gets `answers: []`; a question without the key `answers` (a test set) gets none.
    A question of which no answer stands in its passage is left out and counted: an empty list would say that
    it cannot be answered.

    Args:
        path (`str` or `Path`): The file.
        report (`AlignmentReport`): Filled.

    Yields:
        Records with `question` and `answers`.

    Raises:
        ConversionError: With every passage without a context, every question without words.
        OSError: If the file cannot be read.
    """
    for where, row in json_rows(path, report):
        for place, question in _questions(row, where, report):
            if check_keys(question, ROW, place, report):
                record = _record_of(question, place, report)
                if record is not None:
                    yield report.take(record, place)
    report.finish()


def _questions(
    row: dict[str, Any], where: str, report: AlignmentReport
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Flat rows of any of the shapes; the whole file is one row in the published shape."""
    if "question" in row:
        yield where, row
        return
    articles = row["data"] if isinstance(row.get("data"), list) else [row]
    for article_index, article in enumerate(articles):
        prefix = f"{where}.data[{article_index}]" if articles is row.get("data") else where
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            fix = 'Write {"data": [{"paragraphs": […]}]}. Check that --from names its format.'
            report.problem(prefix, "paragraphs", paragraphs, "not a list", fix)
            continue
        for index, paragraph in enumerate(paragraphs):
            place = f"{prefix}.paragraphs[{index}]"
            questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
            if not isinstance(questions, list):
                report.problem(place, "qas", questions, "not a list", "List its questions.")
                continue
            for number, question in enumerate(questions):
                flat = {
                    "context": paragraph.get("context"),
                    **(question if isinstance(question, dict) else {}),
                }
                yield f"{place}.qas[{number}]", flat


def _record_of(row: dict[str, Any], where: str, report: AlignmentReport) -> dict[str, Any] | None:
    text = row["context"]
    if not row["question"].strip():
        report.lose("question without words", where)
        return None
    name = row.get("id")
    record: dict[str, Any] = {"id": name} if isinstance(name, str) or type(name) is int else {}
    record |= {"text": text, "question": row["question"].strip()}
    plausible = report.listed(row.get("plausible_answers"), "plausible_answers", where)
    report.lose("plausible answer of an impossible question", where, None, len(plausible))
    given = _answers(row.get("answers"), where, report)
    if row.get("is_impossible") is True:
        report.repair("answers of an impossible question: left out", where, given, len(given or ()))
        return record | {"answers": []}
    if given is None:
        return record
    answers: dict[tuple[int, int], dict] = {}
    for words, start in given:
        found = (
            realign(text, start, start + len(words), words)
            if type(start) is int
            else realign(text, 0, 0, words)
        )
        if found is None:
            report.lose("answer that is not in its passage", where, words)
            continue
        if found[2]:
            report.repair("answer_start that does not fit: moved to the nearest occurrence", where, words)
        answers[found[:2]] = {"start": found[0], "end": found[1]}
    if given and not answers:
        report.lose("question of which no answer is in its passage", where, row["question"])
        return None
    return record | {"answers": [answers[place] for place in sorted(answers)]}


def _answers(value: Any, where: str, report: AlignmentReport) -> list[tuple[str, Any]] | None:
    """Words and starts, from a list of objects or from an object of lists; None if the key is absent."""
    if isinstance(value, dict):
        words, starts = value.get("text"), value.get("answer_start")
        both = isinstance(words, list) and isinstance(starts, list)
        pairs = zip_longest(words, starts) if both else ()
        value = [{"text": text, "answer_start": start} for text, start in pairs] if both else value
    if not isinstance(value, list):
        report.lose("answers that are no list", where, value, int(value is not None))
        return None
    given = []
    for item in value:
        if isinstance(item, dict) and isinstance(item.get("text"), str):
            given.append((item["text"], item.get("answer_start")))
        else:
            report.lose("answer without a text", where, item)
    return given
