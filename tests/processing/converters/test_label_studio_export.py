import pytest

from ldnet.processing.converters.label_studio_export import read_label_studio
from ldnet.processing.converters.report import ConversionError
from ldnet.processing.schema import Schema

TEXT = "🙂 Ann Lee runs Acme"
MOVED = "offsets that do not fit the words: moved to the nearest"


def region(name, start, end, *labels, words=None, control="label", **more):
    value = {"start": start, "end": end, "labels": list(labels)} | ({"text": words} if words else {})
    return {"id": name, "from_name": control, "to_name": "text", "type": "labels", "value": value, **more}


def relation(source, target, *labels, direction="right"):
    return {
        "from_id": source,
        "to_id": target,
        "type": "relation",
        "direction": direction,
        "labels": list(labels),
    }


def task(*results, text=TEXT, **more):
    return {"id": 7, "data": {"text": text}, "annotations": [{"id": 1, "result": list(results)}], **more}


def test_read_label_studio_reads_regions_relations_and_choices(read, counts):
    content = task(
        region("a", 2, 9, "person", words="Ann Lee"),
        region("b", 15, 19, "company", words="Acme"),
        region("c", 10, 14, "lead", control="trigger"),
        relation("a", "b", "runs", "owns"),
        relation("a", "b", "run by", direction="left"),
        relation("a", "b", "near", direction="bi"),
        relation("c", "a", "leader"),
        {
            "id": "d",
            "from_name": "tone",
            "to_name": "text",
            "type": "choices",
            "value": {"choices": ["good"]},
        },
    )
    (record,), report = read(read_label_studio, [content], "export.json")
    ann, acme = {"type": "person", "start": 2, "end": 9}, {"type": "company", "start": 15, "end": 19}
    assert record["id"] == 7
    assert record["entities"] == [ann, acme]
    assert [(item["type"], item["head"], item["tail"]) for item in record["relations"]] == [
        ("runs", ann, acme),
        ("owns", ann, acme),
        ("run by", acme, ann),
        ("near", ann, acme),
        ("near", acme, ann),
    ]
    assert record["events"] == [
        {
            "type": "lead",
            "trigger": {"start": 10, "end": 14},
            "arguments": [{"role": "leader", "start": 2, "end": 9}],
        }
    ]
    assert record["classes"] == {"tone": ["good"]}
    assert counts(report) == ({}, {"relation in both directions: read as two": 1})


def test_read_label_studio_takes_the_first_completed_annotation(read, counts):
    first, second = {"result": [region("a", 2, 5, "x")]}, {"result": [region("a", 2, 9, "x")]}
    skipped = {**first, "was_cancelled": True}
    rows = [
        {
            "id": 1,
            "data": {"text": TEXT, "record_id": "mine"},
            "annotations": [skipped, second, first, first],
        },
        {"id": 2, "data": {"text": TEXT}, "annotations": [skipped]},
        {"id": 3, "data": {"text": TEXT}, "annotations": [], "predictions": [first]},
        {"id": 4, "data": {"text": TEXT}, "completions": [{"result": []}]},
    ]
    records, report = read(read_label_studio, rows, "export.json")
    assert [(record["id"], len(record["entities"])) for record in records] == [("mine", 1), (4, 0)]
    assert records[0]["entities"][0]["end"] == 9
    assert counts(report)[0] == {
        "annotation that was skipped": 2,
        "annotation of a further annotator": 2,
        "task without a completed annotation": 2,
    }


@pytest.mark.parametrize(("start", "repaired"), [(2, {}), (3, {"offsets in UTF-16 units": 2})])
def test_read_label_studio_tells_utf16_units_by_the_words(read, counts, start, repaired):
    content = task(
        region("a", start, start + 7, "person", words="Ann Lee"), region("b", start + 13, start + 17, "org")
    )
    (record,), report = read(read_label_studio, [content], "export.json")
    assert [(e["start"], e["end"]) for e in record["entities"]] == [(2, 9), (15, 19)]
    assert counts(report) == ({}, repaired)


def test_read_label_studio_counts_what_it_cannot_read(read, counts):
    content = task(
        region("a", 2, 9, "person", "boss", words="Ann Lee"),
        region("b", 99, 120, "x"),
        region("c", 0, 3, "x", words="Eve"),
        region("d", 12, 16, "x", words="Acme"),
        region("e", 0, 1),
        region("f", 10, 14, "run", "lead", control="trigger"),
        {
            "id": "a",
            "from_name": "other",
            "type": "labels",
            "value": {"start": 2, "end": 9, "labels": ["extra"]},
        },
        {
            "id": "a",
            "from_name": "sure",
            "type": "choices",
            "value": {"start": 2, "end": 9, "choices": ["y"]},
        },
        {"type": "textarea", "value": {"text": ["note"]}},
        {"type": "choices", "value": {"choices": ["x"]}},
        relation("a", "d"),
        relation("a", "z", "r"),
        relation("a", "d", "r"),
    )
    (record,), report = read(read_label_studio, [content], "export.json")
    assert [(e["type"], e["start"]) for e in record["entities"]] == [
        ("person", 2),
        ("boss", 2),
        ("extra", 2),
        ("x", 15),
    ]
    assert record["relations"] == [
        {"type": "r", "head": {"start": 2, "end": 9}, "tail": {"type": "x", "start": 15, "end": 19}}
    ]
    assert counts(report) == (
        {
            "region whose words are not in the text": 2,
            "region without a label": 1,
            "further event type of a trigger": 1,
            "result of type 'choices': not read": 1,
            "result of type 'textarea': not read": 1,
            "choice without the name of its control": 1,
            "relation without a label": 1,
            "relation with an end that is no region": 1,
        },
        {MOVED: 1},
    )


def test_read_label_studio_json_min(read, counts):
    row = {
        "id": 5,
        "text": TEXT,
        "label": [{"start": 2, "end": 9, "text": "Ann Lee", "labels": ["person"]}],
        "tone": {"choices": ["good", "calm"]},
        "topic": "business",
        "source": "a.txt",
        "trigger": [{"start": 10, "end": 14, "text": "runs", "labels": ["lead"]}],
        "annotator": 1,
        "annotation_id": 2,
        "created_at": "2024",
        "updated_at": "2024",
        "lead_time": 2.5,
    }
    (record,), report = read(read_label_studio, [row, {**row, "annotator": 2}], "min.json")
    assert record["entities"] == [{"type": "person", "start": 2, "end": 9}]
    assert record["classes"] == {"tone": ["good", "calm"]}
    assert counts(report)[0] == {
        "field that is no label: if it is a choice, name its task in --schema": 4,
        "event: JSON-MIN has no arguments, export JSON": 2,
        "annotation of a further annotator": 1,
    }
    schema = Schema.from_dict({
        "entities": ["person"],
        "relations": ["runs"],
        "classes": {
            "topic": {"labels": ["business"]},
            "tone": {"labels": ["good", "calm"], "multi_label": True},
        },
    })  # fmt: skip
    (record,), _ = read(read_label_studio, [row], "min.json", schema=schema)
    assert record["classes"] == {"tone": ["good", "calm"], "topic": ["business"]}
    assert "relations" not in record  # JSON-MIN does not say


def test_read_label_studio_lists_are_those_of_all_records(read):
    rows = [
        {**task(region("a", 2, 5, "x"), region("b", 6, 9, "x"), relation("a", "b", "r")), "id": 1},
        {**task(), "id": 2},
    ]
    records, _ = read(read_label_studio, rows, "export.json")
    assert records[1] == {"id": 2, "text": TEXT, "entities": [], "relations": []}
    choice = {"from_name": "tone", "type": "choices", "value": {"choices": ["good"]}}
    (record,), _ = read(read_label_studio, [task(choice)], "export.json")
    assert "entities" not in record


def test_read_label_studio_finds_the_text_under_another_name(read):
    row = {"data": {"body": "a b", "page": 3}, "annotations": [{"result": [region("a", 0, 1, "x")]}]}
    assert read(read_label_studio, [row], "export.json")[0][0]["text"] == "a b"
    row["data"]["title"] = "t"
    assert read(read_label_studio, [row], "export.json", text_key="body")[0][0]["text"] == "a b"
    with pytest.raises(ConversionError, match=r"text: no text \(there are: body, title\)\..*--set text_key="):
        read(read_label_studio, [row], "export.json")


def test_read_label_studio_line_breaks_in_words_may_be_two_characters(read):
    content = task(region("a", 0, 3, "x", words="a\\nb"), text="a\nb c")
    (record,), report = read(read_label_studio, [content], "export.json")
    assert record["entities"] == [{"type": "x", "start": 0, "end": 3}]
    assert not report.repaired
