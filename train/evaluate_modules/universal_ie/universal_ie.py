"""Universal information extraction as a metric of the library `evaluate`."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import datasets
import evaluate

from ldnet.processing.schema import Schema
from ldnet.train.class_metrics import class_name
from ldnet.train.metric_check import PredictionError, prediction_problems
from ldnet.train.metric_keys import Asked
from ldnet.train.metrics import ExtractionMetrics
from ldnet.train.sources import schema_of_records
from ldnet.train.validation import validate_records

DESCRIPTION = """
Scores of extracted entities, relations, hyper-relations, events, spans, answers and classes against gold
records: precision, recall and F1 per task and label, micro and macro, each with a 95 % bootstrap interval.
"""
CITATION = ""
INPUTS = """
Args:
    predictions: Results of `pipeline("universal-ie")`, or records in the same format: dicts or JSON strings.
    references: Gold records, in the same order: dicts or JSON strings.
    schema: What was asked: anything that `ldnet.processing.schema.Schema.from_any` reads. By default all
        labels that occur in the references.
    bootstrap: Draws for the intervals; 0 = none.
    seed: Of the draws.

Returns:
    `{"tasks": {task: {"precision", "recall", "f1", "support", "interval", "labels", ...}}, "texts": n}`.

Raises:
    PredictionError: With every record that is not in the format, and every predicted label that was not
        asked for.
"""


def _as_json(record: Any) -> str:
    """A record as the string that `evaluate` stores; a string is taken for JSON already."""
    return record if isinstance(record, str) else json.dumps(record, default=_plain_number)


def _plain_number(value: Any) -> Any:
    """A number of numpy or torch as one of Python."""
    if not hasattr(value, "item"):
        raise TypeError(
            f"record: {value!r:.60} is a {type(value).__name__}, which JSON cannot hold; convert it"
        )
    return value.item()


def _as_record(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text  # named, with its place, by the check


def _bare(record: Any) -> Any:
    """A result as the record check knows it: classes by name, and answers need no question."""
    if not isinstance(record, Mapping):
        return record
    bare = dict(record)
    if isinstance(bare.get("classes"), Mapping):
        bare["classes"] = {
            task: [class_name(item) for item in items] if _are_classes(items) else items
            for task, items in bare["classes"].items()
        }
    if bare.get("answers") is not None:
        bare.setdefault("question", "?")
    return bare


def _are_classes(items: Any) -> bool:
    return isinstance(items, list) and all(
        isinstance(item, str) or (isinstance(item, dict) and "label" in item) for item in items
    )


def _problems(side: str, records: list[Any], texts: Iterable[Any]) -> list[str]:
    """What is wrong with the form of records; a result without text has that of its reference."""
    whole = [
        {"text": text, **record} if isinstance(record, dict) else record
        for record, text in zip(map(_bare, records), texts, strict=True)
    ]
    places = [f"{side}[{i}]" for i in range(len(records))]
    # Ids need not be unique here, and what a pipeline says about its work is no annotation.
    return [
        str(problem)
        for problem in validate_records(whole, places=places)
        if problem.field not in ("id", "windows", "rows", "calibrated")
    ]


def check_records(predictions: list[Any], references: list[Any]) -> None:
    """Refuse records that cannot be scored.

    Args:
        predictions: Results.
        references: Gold records.

    Raises:
        PredictionError: With every problem of every record.
    """
    texts = [record.get("text") if isinstance(record, dict) else "" for record in references]
    problems = _problems("references", references, texts) + _problems("predictions", predictions, texts)
    for i, (found, text) in enumerate(zip(predictions, texts, strict=True)):
        if isinstance(found, dict) and isinstance(text, str) and found.get("text", text) != text:
            problems.append(
                f"predictions[{i}]: text = {found['text']!r:.60} is not that of references[{i}], "
                f"{text!r:.60}. Pass both in one order."
            )
    if problems:
        raise PredictionError(problems)


class UniversalIE(evaluate.Metric):
    """Scores of universal information extraction, as `ldnet evaluate` shows them."""

    def _info(self) -> evaluate.MetricInfo:
        """What the library shows, and the form in which it stores records: JSON."""
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add a result and its gold record, as dicts or JSON strings."""
        super().add(prediction=_as_json(prediction), reference=_as_json(reference), **kwargs)

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Add results and their gold records, as dicts or JSON strings."""
        sides = (list(map(_as_json, side)) for side in (predictions, references))
        predictions, references = sides
        super().add_batch(predictions=predictions, references=references, **kwargs)

    def _compute(
        self,
        predictions: list[str],
        references: list[str],
        schema: Any = None,
        bootstrap: int = 1000,
        seed: int = 0,
    ) -> dict[str, Any]:
        """The report of `ExtractionMetrics.to_dict`."""
        found, gold = (list(map(_as_record, side)) for side in (predictions, references))
        check_records(found, gold)
        asked = schema_of_records(None if schema is None else Schema.from_any(schema), gold)
        lookup = Asked(asked)
        problems = [
            problem
            for i, result in enumerate(found)
            for problem in prediction_problems(result, lookup, f"predictions[{i}]")
        ]
        if problems:
            raise PredictionError(problems)
        metrics = ExtractionMetrics(asked)
        for right, result in zip(gold, found, strict=True):
            metrics.add(right, result)
        return metrics.to_dict(bootstrap, seed)
