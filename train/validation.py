"""Checking records: every problem with its place, field, value and fix."""

from collections.abc import Callable, Iterable
from typing import Any

from ldnet.processing.schema import Schema
from ldnet.processing.schema_types import STRUCTURES, did_you_mean, show_names
from ldnet.train.record_check import Problem, RecordCheck, integers_of, pairs_of


def validate_records(
    records: Iterable[Any],
    schema: Schema | None = None,
    source: str = "data.jsonl",
    *,
    places: list[str] | None = None,
) -> list[Problem]:
    """Check records against the record format and, if there is one, against a schema.

    A structure that the schema does not ask for at all is checked for its form only.

    Args:
        records (`Iterable[Any]`): The records.
        schema (`Schema`, *optional*): The labels that may occur.
        source (`str`): The name of the file; record i is reported as line i + 1 (of `.json`: as item i).
        places (`list[str]`, *optional*): Where each record stands, if not so.

    Returns:
        All problems, in the order of the records.
    """
    check = RecordCheck(schema)
    for position, record in enumerate(records):
        if places is not None:
            check.where = places[position]
        else:
            check.where = f"{source}[{position}]" if source.endswith(".json") else f"{source}:{position + 1}"
        _check_record(check, record)
    return check.problems


def _check_record(check: RecordCheck, record: Any) -> None:
    if not isinstance(record, dict):
        check.report("record", record, "not an object", 'Write {"text": "…", "entities": […]}.')
        return
    check.keys("record", record, "")
    _check_text(check, record.get("text"))
    _check_id(check, record.get("id"))
    _check_own_labels(check, record.get("labels"))
    for key, check_item in _ITEM_CHECKS.items():
        for field, item in check.items(key, record.get(key), key):
            check_item(check, field, item)
    _check_classes(check, record.get("classes"))
    _check_question(check, record)
    _check_document(check, record)


def _check_text(check: RecordCheck, text: Any) -> None:
    check.text = None
    if text is None:
        check.report("text", None, "missing", 'Add "text": the string that the offsets count in.')
    elif not isinstance(text, str):
        check.report("text", text, "not a string", "Write the text in quotes.")
    else:
        check.text = text
        try:
            text.encode()
        except UnicodeEncodeError:
            fix = "No tokenizer can read it: decode the text again from its source."
            check.report("text", text, "half of a surrogate pair in it", fix)


def _check_id(check: RecordCheck, name: Any) -> None:
    if name is None:
        return
    if not isinstance(name, str) and type(name) is not int:
        check.report("id", name, "not a string", "Write it in quotes or leave it out.")
    elif name in check.first_use:
        check.report(
            "id", name, f"already used in {check.first_use[name]}", "Make it unique or leave it out."
        )
    else:
        check.first_use[name] = check.where


def _check_own_labels(check: RecordCheck, labels: Any) -> None:
    """Check the record's own `labels` and keep the well-formed part of them."""
    check.looked_for = {}
    if labels is None:
        return
    if not isinstance(labels, dict):
        check.report("labels", labels, "not an object", 'Write {"entities": ["…"]} or leave it out.')
        return
    for key, names in labels.items():
        field = f"labels.{key}"
        if key not in STRUCTURES:
            near = did_you_mean(key, STRUCTURES) or " Correct or remove it."
            check.report(field, names, "unknown key", f"Allowed: {', '.join(STRUCTURES)}.{near}")
        elif key == "classes" and isinstance(names, dict):
            tasks = {task: _name_set(check, f"{field}.{task}", own) for task, own in names.items()}
            check.looked_for["classes"] = {task: own for task, own in tasks.items() if own is not None}
            for task, own in check.looked_for["classes"].items():
                _check_class_names(check, f"{field}.{task}", task, own)
        else:
            own = _name_set(check, field, names)
            for name in sorted(own or ()):
                check.label(key, field, name, check.schema[key])
            if own is not None and key != "classes":
                check.looked_for[key] = own


def _name_set(check: RecordCheck, field: str, names: Any) -> set[str] | None:
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return set(names)
    check.report(field, names, "not a list of names", 'Write ["…", "…"].')
    return None


def _check_class_names(check: RecordCheck, field: str, task: str, names: Iterable[str]) -> None:
    """Check a task and its classes against the schema, and the classes against the record's own labels."""
    tasks = check.schema["classes"]
    if not check.label("classes", field, task, tasks):
        return
    known = None if tasks is None else [label.name for label in tasks[task].labels]
    own = check.looked_for.get("classes", {}).get(task)
    for name in sorted(names):
        check.label("labels", field, name, known, own)


def _check_classes(check: RecordCheck, classes: Any) -> None:
    if classes is None:
        return
    if not isinstance(classes, dict):
        check.report("classes", classes, "not an object", 'Write {"task": ["class that holds"]}.')
        return
    for task, names in classes.items():
        field = f"classes.{task}"
        if _name_set(check, field, names) is None:
            continue
        _check_class_names(check, field, task, set(names))
        definition = (check.schema["classes"] or {}).get(task)
        if definition is not None and not definition.multi_label and len(set(names)) != 1:
            fix = f'Write one class, or set "multi_label": true for {task!r} in the schema.'
            check.report(field, names, f"{len(set(names))} classes in a single-label task", fix)


def _check_entity(check: RecordCheck, field: str, entity: dict[str, Any]) -> None:
    known = check.schema["entities"]
    check.label("entities", f"{field}.type", entity.get("type"), known, check.looked_for.get("entities"))
    check.mention(field, entity)
    if entity.get("cluster") is not None and type(entity["cluster"]) is not int:
        check.report(f"{field}.cluster", entity["cluster"], "not an integer", "Number the clusters from 0.")
    if entity.get("clusters") is not None and integers_of(entity["clusters"]) is None:
        check.report(f"{field}.clusters", entity["clusters"], "not a list of integers", "Write e.g. [0, 3].")


def _check_relation(
    check: RecordCheck, field: str, relation: dict[str, Any], structure: str = "relations"
) -> None:
    name, known = relation.get("type"), check.schema[structure]
    named = check.label(structure, f"{field}.type", name, known, check.looked_for.get(structure))
    types = {end: _check_end(check, f"{field}.{end}", relation.get(end), end) for end in ("head", "tail")}
    definition = known[name] if named and known is not None else None
    if definition is None or _may_join(definition, types["head"], types["tail"]):
        return
    for end, found in types.items():
        allowed = getattr(definition, end)
        if not _fits(allowed, found):
            fix = f"Allowed: {show_names(allowed)}. Correct it or add the type to the schema."
            check.report(f"{field}.{end}.type", found, f"no {end} of {name!r} in the schema", fix)


def _check_end(check: RecordCheck, field: str, value: Any, end: str) -> str | None:
    """Check the head or tail of a relation; return its type, None where it has none that is right."""
    mention = check.part(end, value, field)
    if mention is None:
        return None
    check.mention(field, mention)
    name = mention.get("type")
    if name is None or not check.label("entities", f"{field}.type", name, check.schema["entities"]):
        return None
    return name


def _may_join(definition: Any, head: str | None, tail: str | None) -> bool:
    if _fits(definition.head, head) and _fits(definition.tail, tail):
        return True
    symmetric = getattr(definition, "symmetric", False)
    return symmetric and _fits(definition.head, tail) and _fits(definition.tail, head)


def _fits(allowed: tuple[str, ...] | None, name: str | None) -> bool:
    return allowed is None or name is None or name in allowed


def _check_hyper_relation(check: RecordCheck, field: str, relation: dict[str, Any]) -> None:
    _check_relation(check, field, relation, "hyper_relations")
    known = _nested_names(check, "hyper_relations", relation.get("type"), "qualifiers")
    for place, qualifier in check.items("qualifiers", relation.get("qualifiers"), f"{field}.qualifiers"):
        check.label("qualifiers", f"{place}.type", qualifier.get("type"), known)
        check.mention(place, qualifier)


def _check_event(check: RecordCheck, field: str, event: dict[str, Any]) -> None:
    known = check.schema["events"]
    check.label("events", f"{field}.type", event.get("type"), known, check.looked_for.get("events"))
    trigger = check.part("trigger", event.get("trigger"), f"{field}.trigger")
    if trigger is not None:
        check.mention(f"{field}.trigger", trigger)
    roles = _nested_names(check, "events", event.get("type"), "roles")
    for place, argument in check.items("arguments", event.get("arguments"), f"{field}.arguments"):
        check.label("roles", f"{place}.role", argument.get("role"), roles)
        check.mention(place, argument)


def _nested_names(check: RecordCheck, structure: str, name: Any, key: str) -> list[str] | None:
    """Return the qualifiers or roles that the schema has under a name; None where it says nothing."""
    definition = (check.schema[structure] or {}).get(name) if isinstance(name, str) else None
    return None if definition is None else [label.name for label in getattr(definition, key)]


def _check_span(check: RecordCheck, field: str, span: dict[str, Any]) -> None:
    check.mention(field, span)


_ITEM_CHECKS: dict[str, Callable[[RecordCheck, str, dict[str, Any]], None]] = {
    "entities": _check_entity,
    "relations": _check_relation,
    "hyper_relations": _check_hyper_relation,
    "events": _check_event,
    "answers": _check_span,
    "spans": _check_span,
}


def _check_question(check: RecordCheck, record: dict[str, Any]) -> None:
    """Check what stands beside the annotations: question, image, truncated."""
    for key in ("question", "image"):
        value = record.get(key)
        if value is not None and not (isinstance(value, str) and value.strip()):
            check.report(key, value, "not a string with content", "Write it in quotes or leave it out.")
    if record.get("answers") is not None and record.get("question") is None:
        check.report("question", None, "missing beside answers", "Add the question or remove the answers.")
    truncated = record.get("truncated")
    if truncated is not None and not isinstance(truncated, bool):
        check.report("truncated", truncated, "not true or false", "Write true or false.")


def _check_document(check: RecordCheck, record: dict[str, Any]) -> None:
    """Check sentences and the relations between clusters."""
    sentences = record.get("sentences")
    if sentences is not None and not _are_sentences(sentences, check.length):
        fix = "Write [[start, end], …], each inside the text and none before the end of the one before."
        check.report("sentences", sentences, "not the sentences of the text in order", fix)
    relations = record.get("document_relations")
    if relations is None:
        return
    known = check.schema["relations"]
    clusters = _clusters(record.get("entities"))
    number = len(sentences) if isinstance(sentences, list) else 0
    for field, relation in check.items("document_relations", relations, "document_relations"):
        own = check.looked_for.get("relations")
        check.label("relations", f"{field}.type", relation.get("type"), known, own)
        for key in ("head_cluster", "tail_cluster"):
            if type(relation.get(key)) is not int or relation[key] not in clusters:
                fix = f"Entities are in {show_names(sorted(clusters))}. Correct it or mark the entities."
                check.report(f"{field}.{key}", relation.get(key), "no cluster of the record's entities", fix)
        stated = relation.get("evidence")
        evidence = integers_of([] if stated is None else stated)
        if evidence is None or not all(0 <= index < number for index in evidence):
            fix = f"List numbers of sentences, from 0 to {number - 1}." if number else "Add the sentences."
            check.report(f"{field}.evidence", stated, "not sentences of the record", fix)


def _are_sentences(value: Any, length: float) -> bool:
    pairs = pairs_of(value)
    if pairs is None:
        return False
    inside = all(0 <= start < end <= length for start, end in pairs)
    return inside and all(before[1] <= after[0] for before, after in zip(pairs, pairs[1:], strict=False))


def _clusters(entities: Any) -> set[int]:
    """Collect the clusters of well-formed entities."""
    found: set[int] = set()
    for entity in entities if isinstance(entities, list) else ():
        if isinstance(entity, dict):
            numbers = [entity.get("cluster"), *(integers_of(entity.get("clusters") or []) or ())]
            found.update(number for number in numbers if type(number) is int)
    return found
