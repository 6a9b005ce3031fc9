import json

import pytest

from ldnet.processing.schema import Schema
from ldnet.train.commands.ceiling import NOT_FOUND, SPURIOUS, WRONG_TYPE, losses_of

SCHEMA = Schema.from_any({"entities": ["person", "place"], "relations": ["likes"]})


def mention(start, end, label="person"):
    return {"type": label, "start": start, "end": end}


def relation(head, tail):
    return {"type": "likes", "head": head, "tail": tail}


def losses(gold, predicted, unaligned=()):
    gold = {"text": "ann bob cyd dan eve"} | gold
    return list(losses_of(gold, predicted, SCHEMA, list(unaligned)))


def test_losses_of_equal_structures_is_nothing():
    record = {"entities": [mention(0, 3)], "relations": [relation(mention(0, 3), mention(4, 7))]}
    assert losses(record, record) == []


def test_losses_of_spurious_structure_names_it():
    predicted = {"entities": [], "relations": [relation(mention(0, 3), mention(4, 7))]}
    assert losses({"entities": [], "relations": []}, predicted) == [
        (SPURIOUS, "relation 'likes' at 0-3, 4-7 (ann | bob)")
    ]


def test_losses_of_unencoded_structure_is_not_reported_twice():
    gold = {"entities": [mention(1, 3), mention(4, 7)]}
    line = "boundary inside a token: entity 'person' at 1-3"
    assert losses(gold, {"entities": []}, [line]) == [
        ("boundary inside a token", "entity 'person' at 1-3"),
        (NOT_FOUND, "entity 'person' at 4-7 (bob)"),
    ]


def test_losses_of_wrong_argument_type_is_named_as_such():
    gold = {"relations": [relation(mention(0, 3, "place"), mention(4, 7))]}
    predicted = {"relations": [relation(mention(0, 3), mention(4, 7))]}
    assert losses(gold, predicted) == [(WRONG_TYPE, "relation 'likes' at 0-3, 4-7 (ann | bob)")]


def test_losses_of_discontinuous_mention_shows_its_pieces():
    gold = {"entities": [{**mention(0, 11), "fragments": [[0, 3], [8, 11]]}]}
    assert losses(gold, {"entities": []}) == [(NOT_FOUND, "entity 'person' at 0-11 (ann … cyd)")]


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
    assert report["causes"]["boundary inside a token"] == {
        "count": 1,
        "examples": ["record 1: entity 'person' at 1-12"],
    }
    assert "1 x boundary inside a token\n    record 1: entity 'person' at 1-12\n" in out
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
        (["--schema", '{"events": [{"type": "attack"}]}'], "events"),
    ],
)
def test_ceiling_wrong_options_are_one_line(run_ldnet, write_lines, ann_and_bob, options, message):
    code, out, err = run_ldnet("ceiling", "--data", write_lines("x.jsonl", [ann_and_bob]), *options)
    assert (code, out, len(err)) == (2, "", 1)
    assert message in err[0]


def test_ceiling_leaves_out_what_the_schema_beside_the_data_asks_in_vain(
    run_ldnet, write_lines, ann_and_bob, tiny_tokenizer_path
):
    write_lines(
        "schema.json", ['{"entities": ["person"], "relations": ["knows"], "events": [{"type": "attack"}]}']
    )
    path = write_lines("x.jsonl", [ann_and_bob])
    code, out, err = run_ldnet("ceiling", "--data", path, "--encoder", tiny_tokenizer_path)
    assert (code, "entities" in out) == (0, True)
    assert err == [f"{path}: the schema's events cannot be extracted yet and are left out"]
