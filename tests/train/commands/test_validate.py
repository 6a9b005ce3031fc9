import pytest


def test_validate_good_files_are_counted(run_ldnet, write_lines, ann_and_bob):
    good = write_lines("good.jsonl", [ann_and_bob])
    texts = write_lines("texts.jsonl", [{"text": "a"}, {"text": "b"}])
    code, out, err = run_ldnet("validate", good, texts)
    assert (code, err) == (0, [])
    assert out.splitlines() == [
        f"{good}: no problems in 1 records: 2 entities, 1 relations",
        f"{texts}: no problems in 2 records: texts only",
    ]


def test_validate_reports_every_problem_of_every_file_at_once(run_ldnet, write_lines, ann_and_bob):
    outside = {"text": "Ann", "entities": [{"type": "person", "start": 0, "end": 9}], "entites": []}
    first = write_lines("first.jsonl", [outside, "{broken"])
    good = write_lines("good.jsonl", [ann_and_bob])
    code, out, err = run_ldnet("validate", first, good, "missing.jsonl")
    assert code == 2
    assert out.splitlines() == [f"{good}: no problems in 1 records: 2 entities, 1 relations"]
    assert len(err) == 4
    assert any(f"{first}:1: entities[0]" in line and "9" in line for line in err)
    assert any(f"{first}:1: entites" in line and "entities" in line for line in err)
    assert any(f"{first}:2: line" in line and "not valid JSON" in line for line in err)
    assert any("missing.jsonl" in line for line in err)


def test_validate_label_outside_the_given_schema_is_a_problem(run_ldnet, write_lines, ann_and_bob):
    path = write_lines("x.jsonl", [ann_and_bob])
    code, _, err = run_ldnet("validate", path, "--schema", '["Person"]')
    assert code == 2
    assert len(err) == 4  # two entities, head and tail
    assert all("'person'" in line and "Did you mean 'Person'" in line for line in err)


def test_validate_uses_the_schema_beside_the_data(run_ldnet, write_lines, ann_and_bob):
    write_lines("schema.json", ['{"relations": ["likes"]}'])
    code, _, err = run_ldnet("validate", write_lines("x.jsonl", [ann_and_bob]))
    assert code == 2
    assert len(err) == 1
    assert "relations[0].type" in err[0]
    assert "likes" in err[0]


def test_validate_wrong_schema_is_one_line(run_ldnet, write_lines, ann_and_bob):
    code, out, err = run_ldnet("validate", write_lines("x.jsonl", [ann_and_bob]), "--schema", "person,place")
    assert (code, out, len(err)) == (2, "", 1)
    assert "person,place" in err[0]


@pytest.mark.parametrize("start", [0, 1])
def test_validate_with_an_encoder_counts_what_its_tokens_cannot_express(
    run_ldnet, write_lines, tiny_tokenizer_path, start
):
    record = {"text": "organization", "entities": [{"type": "x", "start": start, "end": 12}]}
    code, out, err = run_ldnet("validate", write_lines("x.jsonl", [record]), "--encoder", tiny_tokenizer_path)
    assert (code, err) == (0, [])
    expected = "1 x boundary inside a token" if start else "nothing"
    assert out.splitlines()[1].endswith(f"x.jsonl: lost to tokens: {expected}")


def all_structures(inside=0):
    """A record of every structure; `inside` moves ends into a token."""
    ann, bob = {"start": 0, "end": 3 - inside}, {"start": 8, "end": 11}
    fact = {"type": "works", "head": ann, "tail": bob, "qualifiers": [{"type": "since", **bob}]}
    return {
        "text": "for the and",
        "entities": [{"type": "person", **ann}],
        "relations": [{"type": "knows", "head": ann, "tail": bob}],
        "hyper_relations": [fact],
        "events": [{"type": "meet", "trigger": bob, "arguments": [{"role": "who", **ann}]}],
        "classes": {"topic": ["news"]},
        "spans": [ann, bob],
    }


def test_validate_counts_every_structure(run_ldnet, write_lines):
    question = {"text": "for", "question": "who ?", "answers": [{"start": 0, "end": 3}]}
    path = write_lines("all.jsonl", [all_structures(), question])
    code, out, err = run_ldnet("validate", path)
    assert (code, err) == (0, [])
    assert out.splitlines() == [
        f"{path}: no problems in 2 records: 1 entities, 1 relations, 1 hyper_relations, 1 events, 1 classes,"
        " 1 answers, 2 spans"
    ]


@pytest.mark.parametrize(("inside", "lost"), [(0, "nothing"), (1, "5 x boundary inside a token")])
def test_validate_with_an_encoder_counts_losses_of_every_structure(
    run_ldnet, write_lines, tiny_tokenizer_path, inside, lost
):
    path = write_lines("all.jsonl", [all_structures(inside)])
    code, out, err = run_ldnet("validate", path, "--encoder", tiny_tokenizer_path)
    assert (code, err) == (0, [])
    # The entity, relation, fact, qualifier and argument; spans are not asked for beside labels.
    assert out.splitlines()[1] == f"{path}: lost to tokens: {lost}"
