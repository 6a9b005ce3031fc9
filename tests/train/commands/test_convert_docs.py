"""The commands that docs/converters.md and docs/correct_and_retrain.md show do what they say."""

import contextlib
import copy
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from ldnet.processing.converters import FORMATS, AlignmentReport, read_format
from ldnet.processing.converters.conll import write_conll
from ldnet.processing.schema import Schema
from ldnet.train.args import DataArguments, LDNetTrainingArguments, ModelArguments
from ldnet.train.cli import main
from ldnet.train.data import load_records, load_schema_for
from ldnet.train.parsing import parse_arguments
from ldnet.train.sources import load_source

DOCS = Path(__file__).resolve().parents[3] / "docs"
TEXT = "Ann Lee runs Acme"
ANN, ACME = {"type": "person", "start": 0, "end": 7}, {"type": "company", "start": 13, "end": 17}
RUNS = {"type": "runs", "head": ANN, "tail": ACME}
REGIONS = [
    {"id": name, "from_name": "label", "type": "labels", "value": {"start": s, "end": e, "labels": [label]}}
    for name, s, e, label in (("a", 0, 7, "person"), ("b", 13, 17, "company"))
]
LINK = {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right", "labels": ["runs"]}
TOKENS = TEXT.split()
# What a stranger has: one text in the format of each file that the page names.
FILES = {
    "train.conll": "Ann B-PER\nLee I-PER\nruns O\nAcme B-ORG\n",
    "names.json": {"PER": "person", "ORG": "company"},
    "gliner.json": [
        {
            "tokenized_text": TOKENS,
            "ner": [[0, 1, "person"], [3, 3, "company"]],
            "relations": [[0, 1, "runs"]],
        }
    ],
    "gliner2.jsonl": {
        "input": TEXT,
        "output": {
            "entities": {"person": ["Ann Lee"], "company": ["Acme"]},
            "entity_descriptions": {"company": "A firm."},
            "relations": [{"runs": {"head": "Ann Lee", "tail": "Acme"}}],
        },
    },
    "scierc.json": {
        "doc_key": "d",
        "sentences": [TOKENS],
        "ner": [[[0, 1, "person"], [3, 3, "company"]]],
        "relations": [[[0, 1, 3, 3, "runs"]]],
    },
    "spert.json": [
        {
            "tokens": TOKENS,
            "entities": [{"type": "person", "start": 0, "end": 2}, {"type": "company", "start": 3, "end": 4}],
            "relations": [{"type": "runs", "head": 0, "tail": 1}],
        }
    ],
    "squad.json": {
        "version": "v2.0",
        "data": [
            {
                "title": "t",
                "paragraphs": [
                    {
                        "context": TEXT,
                        "qas": [
                            {"id": "q", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]},
                            {"id": "r", "question": "When?", "answers": [], "is_impossible": True},
                        ],
                    }
                ],
            }
        ],
    },
    "uie.txt": [
        {"content": TEXT, "prompt": "person", "result_list": [{"text": "Ann Lee", "start": 0, "end": 7}]},
        {"content": TEXT, "prompt": "company", "result_list": [{"text": "Acme", "start": 13, "end": 17}]},
        {"content": TEXT, "prompt": "runs of Ann Lee", "result_list": [{"text": "Acme", "start": 13}]},
    ],
    "mirror.jsonl": {
        "text": TEXT,
        "schema": {"ent": ["person", "company"], "rel": ["runs"]},
        "ans": {
            "ent": [
                {"type": "person", "text": "Ann Lee", "span": [0, 7]},
                {"type": "company", "text": "Acme", "span": [13, 17]},
            ],
            "rel": [
                {
                    "relation": "runs",
                    "head": {"text": "Ann Lee", "span": [0, 7]},
                    "tail": {"text": "Acme", "span": [13, 17]},
                }
            ],
        },
    },
    "export.json": [{"id": 1, "data": {"text": TEXT}, "annotations": [{"result": [*REGIONS, LINK]}]}],
    "doccano.jsonl": {
        "id": 1,
        "text": TEXT,
        "entities": [
            {"id": 4, "label": "person", "start_offset": 0, "end_offset": 7},
            {"id": 5, "label": "company", "start_offset": 13, "end_offset": 17},
        ],
        "relations": [{"id": 6, "from_id": 4, "to_id": 5, "type": "runs"}],
    },
}  # fmt: skip


def commands_of(page):
    """The commands of a page, in order; `NAME=$(…)` and comments are no commands of ours."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line]


def run(command):
    """Run `ldnet …` or `python -c …`, with its `> file`."""
    command, _, target = command.partition(" > ")
    program, *arguments = shlex.split(command)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        if program == "ldnet":
            assert main(arguments) == 0, command
        else:
            assert (program, arguments[0]) == ("python", "-c")
            exec(arguments[1], {})
    if target:
        Path(target).write_text(out.getvalue(), encoding="utf-8")
    return out.getvalue()


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        rows = content if name == "uie.txt" else [content]
        text = content if isinstance(content, str) else "\n".join(json.dumps(row) for row in rows) + "\n"
        Path(name).write_text(text, encoding="utf-8")
    Path("corpus").mkdir()
    Path("corpus/a.txt").write_text(TEXT)
    Path("corpus/a.ann").write_text(
        "T1\tperson 0 7\tAnn Lee\nT2\tcompany 13 17\tAcme\nR1\truns Arg1:T1 Arg2:T2\n"
    )


def plain(record):
    """What every file says: entities and relations, without ids."""
    return {key: record[key] for key in ("text", "entities", "relations") if key in record}


def test_every_command_of_the_converters_page_runs_and_gives_valid_records(files):
    pytest.importorskip("spacy")
    commands = commands_of("converters.md")
    assert {
        command.split(" --from ")[1].split()[0] for command in commands if "--from" in command
    } == FORMATS.keys()
    run("ldnet convert gliner.json --to spacy --output docs.spacy")
    for command in commands:
        run(command)
    full = {"text": TEXT, "entities": [ANN, ACME], "relations": [RUNS]}
    for name in ("corpus", "gliner2.out", "scierc", "spert", "uie", "mirror.out", "corrected", "doccano.out"):
        assert list(map(plain, load_records(f"{name}.jsonl"))) == [full], name
    assert list(map(plain, load_records("gliner.parquet"))) == [full]
    assert plain(load_records("docs.jsonl")[0]) == {"text": TEXT, "entities": [ANN, ACME]}
    assert [record["answers"] for record in load_records("squad.jsonl")] == [[{"start": 0, "end": 3}], []]
    assert load_records("documents.jsonl")[0]["entities"] == [ANN, ACME]
    assert load_schema_for("train.jsonl") == Schema(["ORG", "PER"])
    assert Schema.from_any("described.json").entities[0].description == "A firm."
    assert Path("train.bioes").read_text().splitlines()[:2] == ["Ann\tB-PER", "Lee\tE-PER"]
    assert Path("for_brat/record-000000.ann").read_text().endswith("R1\truns Arg1:T1 Arg2:T2\n")


def test_python_of_the_converters_page_runs(files, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```$", (DOCS / "converters.md").read_text(), re.M | re.S)
    exec(code, {})
    assert capsys.readouterr().out == "train.conll: 1 records, 2 entities; 0 lost, 0 repaired\n"


def correct(tasks):
    """What an annotator exports: a wrong type, a relation that was missed, a task that was not opened."""
    export = []
    for index, task in enumerate(tasks[:-1]):
        result = copy.deepcopy(task["predictions"][0]["result"])
        if index == 0:
            wrong = next(item for item in result if item["value"]["text"] == "Acme")
            wrong["value"]["labels"] = ["organization"]
            result = [item for item in result if item["type"] != "relation"]
            ends = {"from_id": result[0]["id"], "to_id": wrong["id"]}
            result.append({**ends, "type": "relation", "direction": "right", "labels": ["works for"]})
        export.append({"id": index, "data": task["data"], "annotations": [{"result": result}]})
    export.append({"id": len(export), "data": tasks[-1]["data"], "annotations": [], "predictions": []})
    return export


def test_the_loop_of_correcting_and_retraining_runs(tmp_path, monkeypatch, fake_pipeline):
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "correct_and_retrain.md").read_text(encoding="utf-8")
    Path("schema.json").write_text(re.search(r"^```json\n(.*?)^```$", page, re.M | re.S)[1])
    Path("notes.txt").write_text("🙂 Ann leads Acme\nBob sleeps\nEve too\n", encoding="utf-8")
    Path("more.txt").write_text("Cem leads Dia\n")
    commands = iter(commands_of("correct_and_retrain.md"))

    run(next(commands))
    tasks = json.loads(Path("tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["text"] for task in tasks] == ["🙂 Ann leads Acme", "Bob sleeps", "Eve too"]
    run(next(commands))
    assert '<Relation value="works for"/>' in Path("label_config.xml").read_text()

    Path("export.json").write_text(json.dumps(correct(tasks)))
    run(next(commands))
    schema = Schema.from_any("schema.json")
    first, second = load_records("corrected.jsonl", schema)
    ann, acme = {"type": "person", "start": 2, "end": 5}, {"type": "organization", "start": 12, "end": 16}
    assert first["entities"] == [ann, acme]
    assert first["relations"] == [{"type": "works for", "head": ann, "tail": acme}]
    assert (second["entities"][0]["type"], second["relations"]) == ("person", [])
    lost = json.loads(Path("lost.json").read_text())["read"]["lost"]
    assert {cause: item["count"] for cause, item in lost.items()} == {
        "task without a completed annotation": 1
    }
    assert "no problems in 2 records" in run(next(commands))

    name, _, code = next(commands).partition("=")
    model = run(code.removeprefix("$(").removesuffix(")")).strip()
    _, verb, *flags = shlex.split(next(commands).replace(f'"${name}"', model))
    assert verb == "finetune"
    types = (DataArguments, ModelArguments, LDNetTrainingArguments)
    data, chosen, args = parse_arguments(types, flags, "ldnet finetune", "")
    source, records = load_source(data.train[0])
    assert (source.schema, records) == (schema, [first, second])
    assert (Path(chosen.model) / "config.json").is_file()

    last = next(commands)
    assert f"--model {args.output_dir} " in last
    run(last)
    assert [task["data"]["text"] for task in json.loads(Path("tasks.json").read_text())] == ["Cem leads Dia"]
    assert next(commands, None) is None


def test_columns_of_a_page_survive_the_way_back(tmp_path):
    """The first and the last format of the page, without a command line."""
    record = {"text": TEXT, "entities": [ANN, ACME]}
    write_conll([record], tmp_path / "a.bio", AlignmentReport("out"))
    assert list(read_format("bio", tmp_path / "a.bio", AlignmentReport("in"))) == [record]
