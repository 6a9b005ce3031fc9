import json

import pytest

from ldnet.train.commands.ceiling import SPURIOUS


def mention(start, end, label="person"):
    return {"type": label, "start": start, "end": end}


def relation(head, tail):
    return {"type": "likes", "head": head, "tail": tail}


@pytest.fixture
def crossing(write_lines):
    """Relations whose shared links close two more, and an entity inside a token."""
    text = "ann bob cyd dan"
    ann, bob, cyd, dan = (mention(i, i + 3) for i in range(0, 16, 4))
    pairs = [relation(ann, bob), relation(cyd, dan), relation(ann, dan) | {"type": "knows"}]
    inside = {"text": "organization", "entities": [mention(1, 12)], "relations": []}
    return write_lines(
        "x.jsonl", [{"id": "c-1", "text": text, "entities": [ann, bob, cyd, dan], "relations": pairs}, inside]
    )


def test_ceiling_prints_scores_and_causes_and_writes_json(run_ldnet, tmp_path, crossing, tiny_tokenizer_path):
    target = tmp_path / "ceiling.json"
    code, out, err = run_ldnet(
        "ceiling", "--data", crossing, "--encoder", tiny_tokenizer_path, "--json", target
    )
    assert (code, err) == (0, [])
    report = json.loads(target.read_text())
    assert report["texts"] == 2
    assert report["data"] == str(crossing)
    assert report["model"] == tiny_tokenizer_path
    assert report["tasks"]["entities"]["fn"] == 1
    assert report["tasks"]["entities"]["recall"] == pytest.approx(80.0)
    assert report["tasks"]["relations"]["tp"] == 3
    assert report["tasks"]["relations"]["fp"] == report["causes"][SPURIOUS]["count"] >= 1
    confirmed = report["confirmed"]["tasks"]
    assert (confirmed["relations"]["f1"], confirmed["relations"]["fp"]) == (100.0, 0)
    assert confirmed["entities"] == report["tasks"]["entities"]
    assert report["causes"]["boundary inside a token"] == {
        "count": 1,
        "examples": ["record 1: entity 'person' at 1-12"],
    }
    assert "1 x boundary inside a token\n    record 1: entity 'person' at 1-12\n" in out
    rows = [line.replace("│", " ").split() for line in out.splitlines()]
    plain, beside = next((row[:5], row[-2:]) for row in rows if row[:1] == ["relations"])
    assert plain[4] == f"{report['tasks']['relations']['f1']:.2f}" != "100.00"
    assert ["relations", "100.00"] in [row[-2:] for row in rows], beside
    assert f"x {SPURIOUS}\n    c-1: relation 'likes' at 0-3, 12-15 (ann | dan)" in out


def test_ceiling_without_loss_says_so(run_ldnet, write_lines, ann_and_bob, tiny_tokenizer_path):
    path = write_lines("x.jsonl", [ann_and_bob])
    code, out, _ = run_ldnet("ceiling", "--data", path, "--encoder", tiny_tokenizer_path)
    assert code == 0
    assert out.endswith("nothing is lost\n")


def test_ceiling_of_a_model_folder_uses_its_tokens(
    run_ldnet, write_lines, ann_and_bob, tiny_processor, tmp_path
):
    tiny_processor.save_pretrained(tmp_path / "model")
    path = write_lines("x.jsonl", [ann_and_bob])
    code, out, _ = run_ldnet("ceiling", "--data", path, "--model", tmp_path / "model")
    assert (code, "100.00" in out) == (0, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "a", "--encoder", "b"], "--model and --encoder: both are given"),
        (["--encoder", "no/such/folder"], "no/such/folder"),
        (["--model", "no/such/folder"], "no/such/folder"),
        (["--json", "no/such/x.json"], "x.json: its folder does not exist"),
        (["--schema", '{"entities": ["place"]}'], "'person'"),
    ],
)
def test_ceiling_wrong_options_are_one_line(run_ldnet, write_lines, ann_and_bob, options, message):
    code, out, err = run_ldnet("ceiling", "--data", write_lines("x.jsonl", [ann_and_bob]), *options)
    assert (code, out, len(err)) == (2, "", 4 if "--schema" in options else 1)
    assert message in err[0]


def test_ceiling_asks_what_the_schema_beside_the_data_asks(
    run_ldnet, write_lines, ann_and_bob, tiny_tokenizer_path, tmp_path
):
    event = {
        "type": "see",
        "trigger": {"start": 4, "end": 8},
        "arguments": [{"role": "who", "start": 0, "end": 3}],
    }
    schema = {"entities": ["person"], "relations": ["knows"], "events": [{"type": "see", "roles": ["who"]}]}
    write_lines("schema.json", [json.dumps(schema)])
    path = write_lines("x.jsonl", [ann_and_bob | {"events": [event]}])
    target = tmp_path / "ceiling.json"
    code, _, err = run_ldnet("ceiling", "--data", path, "--encoder", tiny_tokenizer_path, "--json", target)
    assert (code, err) == (0, [])
    tasks = json.loads(target.read_text())["tasks"]
    assert {name: tasks[name]["f1"] for name in ("triggers", "arguments", "relations")} == {
        "triggers": 100.0,
        "arguments": 100.0,
        "relations": 100.0,
    }


def test_ceiling_of_questions_asks_those_of_the_records(
    run_ldnet, write_lines, tiny_tokenizer_path, tmp_path
):
    record = {"text": "ann saw bob", "question": "whom ?", "answers": [{"start": 8, "end": 11}]}
    path = write_lines("x.jsonl", [record, record | {"answers": [{"start": 9, "end": 11}]}])
    target = tmp_path / "ceiling.json"
    code, out, _ = run_ldnet("ceiling", "--data", path, "--encoder", tiny_tokenizer_path, "--json", target)
    assert code == 0
    report = json.loads(target.read_text())
    assert report["tasks"]["answers"]["exact_match"] == 100.0  # ##o of bob is a token of its own
    assert report["confirmed"]["tasks"]["answers"]["f1"] == 100.0
    assert out.endswith("nothing is lost\n")
