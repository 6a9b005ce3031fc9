import copy
import json
import xml.etree.ElementTree as ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_strategies import records, same

from ldnet.processing.converters.label_studio import label_config, tasks_from_results, write_label_studio
from ldnet.processing.converters.label_studio_export import read_label_studio
from ldnet.processing.converters.report import AlignmentReport
from ldnet.processing.schema import Schema

MARKED = "end or argument that is no entity: marked as region"


def accepted(tasks):
    """The export of tasks whose predictions an annotator submitted as they are."""
    return [
        {"id": 100 + index, "data": task["data"], "annotations": copy.deepcopy(task.get("predictions", []))}
        for index, task in enumerate(tasks)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records(classes=True), min_size=1, max_size=3))
def test_label_studio_there_and_back_is_the_same(read, many):
    report = AlignmentReport("out")
    tasks = tasks_from_results(many, report)
    assert json.loads(json.dumps(tasks)) == tasks
    back, reading = read(read_label_studio, accepted(tasks), "export.json")
    assert list(map(same, back)) == list(map(same, many))
    assert [report.lost, report.repaired, reading.lost, reading.repaired] == [{}, {}, {}, {}]
    assert report.structures == reading.structures


def test_tasks_from_results_marks_what_was_found_with_scores():
    ann = {"type": "person", "start": 3, "end": 6, "text": "Ann", "score": 0.9}
    acme = {"type": "company", "start": 12, "end": 16, "text": "Acme", "score": 0.8}
    result = {
        "id": "n-1",
        "text": "🙂: Ann runs Acme",
        "entities": [ann, acme],
        "relations": [{"type": "runs", "head": ann, "tail": acme, "score": 0.7}],
        "classes": {"topic": [{"label": "business", "score": 0.6}]},
        "truncated": False,
    }
    (task, empty, unknown) = tasks_from_results([result, {"text": "x", "entities": []}, {"text": "y"}])
    prediction = task["predictions"][0]
    assert task["data"] == {"text": result["text"], "record_id": "n-1"}
    assert (prediction["score"], prediction["model_version"]) == (0.6, "ldnet")
    assert prediction["result"] == [
        {
            "id": "r0",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {"start": 3, "end": 6, "text": "Ann", "labels": ["person"]},
            "score": 0.9,
        },
        {
            "id": "r1",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {"start": 12, "end": 16, "text": "Acme", "labels": ["company"]},
            "score": 0.8,
        },
        {
            "id": "c2",
            "from_name": "topic",
            "to_name": "text",
            "type": "choices",
            "value": {"choices": ["business"]},
        },
        {"from_id": "r0", "to_id": "r1", "type": "relation", "direction": "right", "labels": ["runs"]},
    ]
    assert empty == {"data": {"text": "x"}, "predictions": [{"model_version": "ldnet", "result": []}]}
    assert unknown == {"data": {"text": "y"}}


def test_tasks_from_results_counts_what_cannot_be_marked(counts):
    pieces = {"start": 0, "end": 5, "fragments": [[0, 1], [4, 5]]}
    here = {"start": 2, "end": 3}
    record = {
        "text": "a b c",
        "entities": [{"type": "x", **pieces}],
        "relations": [
            {"type": "r", "head": {"type": "x", **pieces}, "tail": here},
            {"type": "r", "head": here, "tail": {"type": "y", **here}},
        ],
        "events": [{"type": "e", "trigger": pieces, "arguments": []}],
        "spans": [here],
    }
    report = AlignmentReport("out")
    (task,) = tasks_from_results([record], report)
    values = [
        item["value"]["labels"] for item in task["predictions"][0]["result"] if item["type"] == "labels"
    ]
    assert values == [[], ["y"]]
    assert counts(report) == (
        {
            "discontinuous mention": 3,
            "relation or argument with a mention that cannot be marked": 1,
            "spans: Label Studio cannot hold them": 1,
        },
        {MARKED: 2},
    )
    assert dict(report.structures) == {"relations": 1, "classes": 0}


def test_relation_ends_without_type_stay_so(read):
    record = {
        "text": "a b",
        "entities": [],
        "relations": [{"type": "r", "head": {"start": 0, "end": 1}, "tail": {"start": 2, "end": 3}}],
    }
    (back,), report = read(read_label_studio, accepted(tasks_from_results([record])), "export.json")
    assert back["relations"] == record["relations"]
    assert back["entities"] == []
    assert not report.lost


def test_label_config_has_a_control_for_each_structure():
    schema = Schema.from_dict({
        "entities": ["person", {"type": "R&D <unit>", "description": 'a "lab"'}],
        "relations": ["works for"],
        "events": [{"type": "attack", "roles": ["attacker"]}],
        "classes": {"topic": {"labels": ["x", "y"], "multi_label": True}},
    })  # fmt: skip
    root = ElementTree.fromstring(label_config(schema))
    controls = {(part.tag, part.get("name")): [item.get("value") for item in part] for part in root}
    assert controls == {
        ("Style", None): [],
        ("Relations", None): ["works for", "attacker"],
        ("Labels", "label"): ["person", "R&D <unit>"],
        ("Labels", "trigger"): ["attack"],
        ("Choices", "topic"): ["x", "y"],
        ("Text", "text"): [],
    }
    assert root.find("Labels")[1].get("hint") == 'a "lab"'
    assert root.find("Choices").get("choice") == "multiple"
    assert root.find("Text").get("value") == "$text"
    assert "Relations" not in label_config(Schema(["person"]))


def test_write_label_studio_is_one_json_list(tmp_path, capsys):
    report = AlignmentReport("out")
    write_label_studio([{"text": "京", "entities": []}], tmp_path / "tasks.json", report)
    write_label_studio([{"text": "京", "entities": []}], "-", report)
    assert json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))[0]["data"] == {"text": "京"}
    assert json.loads(capsys.readouterr().out)[0]["data"] == {"text": "京"}
    assert report.records == 2
