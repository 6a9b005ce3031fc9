"""The card of a published folder: what the Hub's front matter needs and how to load the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

CARD_NAME = "README.md"
TAGS = ("ldnet", "information-extraction", "named-entity-recognition", "relation-extraction")
METRICS = ("precision", "recall", "f1")

BODY = """
# {title}

An [LDNet](https://arxiv.org/abs/2502.12614) model for universal information extraction: you write the schema
(entity types, relations), it returns mentions with character offsets and a score each.

```python
from transformers import pipeline

extract = pipeline(model="{source}", trust_remote_code=True)
extract("Marie Curie was born in Warsaw.", schema={{
    "entities": ["person", "city"],
    "relations": [{{"type": "born in", "head": ["person"], "tail": ["city"]}}],
}})
```

The code of the model is part of this repository (read it before you trust it); `transformers` and `torch` are
enough to run it.
{results}
## Limits

Not stated by the author. Scores depend on the domain, the language and the wording of the labels: measure on
your own texts.
"""


@dataclass(frozen=True)
class CardFacts:
    """What the author of a model says about it; everything is optional.

    Args:
        name: Name of the model, such as its Hub id.
        base_model: Hub id of the encoder or checkpoint that it was trained from.
        license: Licence id of the Hub (`"apache-2.0"`); only the author knows it, so there is no default.
        languages: ISO 639-1 codes.
        datasets: Names of the training sets.
        tags: Further tags.
        results: Data-set name -> what `ldnet evaluate --json` writes for it.
    """

    name: str | None = None
    base_model: str | None = None
    license: str | None = None
    languages: Sequence[str] = ()
    datasets: Sequence[str] = ()
    tags: Sequence[str] = ()
    results: dict[str, dict] = field(default_factory=dict)


def _measured(results: dict[str, dict]) -> list[tuple[str, str, str, float]]:
    """(data set, task, metric, value) of every defined figure, in the order given."""
    return [
        (dataset, task, metric, round(float(scores[metric]), 2))
        for dataset, report in results.items()
        for task, scores in report["tasks"].items()
        for metric in METRICS
        if scores.get(metric) is not None
    ]


def _front_matter(facts: CardFacts, title: str) -> ModelCardData:
    results = [
        EvalResult(
            task_type="token-classification",
            task_name="information extraction",
            dataset_type=dataset,
            dataset_name=dataset,
            metric_type=metric,
            metric_name=f"{task.replace('_', ' ')}: {metric}",  # figures of one data set share a task there
            metric_value=value,
        )
        for dataset, task, metric, value in _measured(facts.results)
    ]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="token-classification",
        tags=list(dict.fromkeys([*TAGS, *facts.tags])),
        license=facts.license,
        language=list(facts.languages) or None,
        datasets=list(facts.datasets) or None,
        base_model=facts.base_model,
        model_name=title if results else None,
        eval_results=results or None,
    )


def _results_table(results: dict[str, dict]) -> str:
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for dataset, task, metric, value in _measured(results):
        rows.setdefault((dataset, task), {})[metric] = value
    if not rows:
        return ""
    lines = ["", "## Results", "", "| data set | task | precision | recall | F1 |", "| --- " * 5 + "|"]
    for (dataset, task), scores in rows.items():
        figures = " | ".join(f"{scores[m]:.1f}" if m in scores else "–" for m in METRICS)
        lines.append(f"| {dataset} | {task.replace('_', ' ')} | {figures} |")
    return "\n".join([*lines, ""])


def render_card(facts: CardFacts) -> str:
    """Write a card.

    Args:
        facts: What is known of the model.

    Returns:
        Markdown with YAML front matter that the Hub accepts.
    """
    title = facts.name or "LDNet"
    body = BODY.format(
        title=title, source=facts.name or "path/to/this/folder", results=_results_table(facts.results)
    )
    return f"---\n{_front_matter(facts, title).to_yaml()}\n---\n{body}"


def write_card(folder: str | Path, facts: CardFacts | None = None, *, overwrite: bool = False) -> bool:
    """Write `README.md` into a folder, unless there is one.

    Args:
        folder: An existing folder.
        facts: What is known of the model.
        overwrite: Replace a card that exists.

    Returns:
        Whether the card was written.
    """
    path = Path(folder) / CARD_NAME
    if path.exists() and not overwrite:
        return False
    beside = path.with_name(f".{CARD_NAME}.tmp")
    beside.write_text(render_card(facts or CardFacts()), encoding="utf-8")
    beside.replace(path)
    return True


__all__ = ["CardFacts", "render_card", "write_card"]
