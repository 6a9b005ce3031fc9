import copy

import pytest

from ldnet.processing.schema import Schema, SchemaError
from ldnet.train.data import RecordError
from ldnet.train.dataset import Source
from ldnet.train.sources import (
    compare_with_dev,
    is_partial,
    load_source,
    load_texts,
    rename_types,
    replay_caps,
    schema_of_records,
    trainable_schema,
)


def test_load_source_takes_schema_and_name_from_the_folder(tmp_path, work, write_set):
    path = write_set(tmp_path / "mine", *work)
    source, records = load_source(str(path))
    assert (source.name, source.schema, source.partial) == ("mine", work[0], False)
    assert records == work[1]
    assert load_source("mine/train.jsonl", str(tmp_path))[0] == source


def test_load_source_with_a_schema_of_the_user_takes_that(tmp_path, work, write_set):
    schema, records = work
    path = write_set(tmp_path / "mine", Schema(["other"]), records)
    assert load_source(str(path), schema=schema)[0].schema == schema


def test_load_source_without_schema_takes_the_labels_of_the_records(tmp_path, work, write_set):
    source, _ = load_source(str(write_set(tmp_path, None, work[1])))
    assert source.name == "train.jsonl"
    assert [entity.name for entity in source.schema.entities] == ["organization", "person", "place"]
    assert [relation.name for relation in source.schema.relations] == ["near", "works for"]


def test_records_that_do_not_fit_the_schema_are_all_named(tmp_path, work, write_set):
    records = [work[1][0], {"text": "ab", "entities": [{"type": "persn", "start": 0, "end": 9}]}]
    path = write_set(tmp_path, work[0], records)
    with pytest.raises(RecordError) as caught:
        load_source(str(path))
    assert len(caught.value.problems) >= 2
    assert all(problem.startswith(f"{path}:2") for problem in caught.value.problems)
    assert "person" in str(caught.value)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ({}, False),
        ({"mentions_complete": True}, False),
        ({"mentions_complete": False}, True),
        ({"mentions_complete": False, "annotated": "the record's labels"}, False),
        ({"mentions_complete": False, "annotated": "everything"}, True),
    ],
)
def test_is_partial_reads_the_manifest(tmp_path, write_set, manifest, expected):
    assert is_partial(write_set(tmp_path, None, [], **manifest)) is expected


def test_partial_source_is_partial_and_keeps_its_types(tmp_path, work, write_set):
    source, _ = load_source(str(write_set(tmp_path / "a", *work, mentions_complete=False)))
    assert source.partial
    assert source.schema.entities == work[0].entities
    assert [relation.name for relation in source.schema.relations] == ["works for", "near"]


EVERYTHING = {
    "entities": ["a"],
    "relations": ["r"],
    "hyper_relations": [{"type": "h", "qualifiers": ["q"]}],
    "events": [{"type": "e", "roles": ["x"]}],
    "classes": {"t": ["b"]},
    "spans": True,
    "instruction": "find",
}


def test_trainable_schema_is_all_but_a_single_entity_type_of_partly_marked_sets():
    schema = Schema.from_any(EVERYTHING)
    assert trainable_schema(schema, False) == schema
    rest = {key: value for key, value in EVERYTHING.items() if key != "entities"}
    assert trainable_schema(schema, True) == Schema.from_any(rest)


def test_entity_types_of_partly_marked_sets_tell_each_other_apart():
    two = Schema.from_any(["a", "b"])
    assert trainable_schema(two, True) == two
    assert trainable_schema(Schema.from_any(["a"]), True) == Schema()


def test_schema_of_records_with_answers_asks_questions():
    asked = [{"text": "x", "question": "y", "answers": []}]
    assert schema_of_records(None, asked) == Schema(question="?")
    assert schema_of_records(Schema(["a"]), asked) == Schema(["a"], question="?")
    assert schema_of_records(Schema(["a"], question="Who?"), asked) == Schema(["a"], question="Who?")
    silent = [{"text": "x", "question": "y"}, {"text": "x", "answers": None}]
    assert schema_of_records(Schema(["a"]), silent) == Schema(["a"])


def test_source_of_questions_keeps_the_question_of_each_record(tmp_path, write_set):
    records = [{"text": "ab", "question": q, "answers": [{"start": 0, "end": 1}]} for q in ("b?", "c?")]
    source, loaded = load_source(str(write_set(tmp_path, None, records)))
    assert [label.name for label in source.schema.labels] == ["answer"]
    assert [record["question"] for record in loaded] == ["b?", "c?"]


def test_source_of_every_structure_is_asked_all_of_them(tmp_path, write_set):
    schema = Schema.from_any(EVERYTHING)
    source, _ = load_source(str(write_set(tmp_path / "x", schema, [{"text": "x"}])))
    assert source.schema == schema


@pytest.mark.parametrize(
    ("schema", "manifest", "why"),
    [
        ({"instruction": "find"}, {}, "it has no structures"),
        ({"entities": ["a"]}, {"mentions_complete": False}, "marked in part and it has nothing else"),
    ],
)
def test_source_with_nothing_to_train_on_is_an_error(tmp_path, write_set, schema, manifest, why):
    path = write_set(tmp_path, Schema.from_any(schema), [{"text": "x"}], **manifest)
    with pytest.raises(RecordError, match=f"nothing to train on: .*{why}"):
        load_source(str(path))


def test_missing_file_and_broken_schema_are_named(tmp_path, write_set):
    with pytest.raises(RecordError, match=r"none.jsonl: the file cannot be read"):
        load_source(str(tmp_path / "none.jsonl"))
    path = write_set(tmp_path, Schema(["a"]), [])
    (tmp_path / "schema.json").write_text('{"entitys": ["a"]}')
    with pytest.raises(SchemaError, match="Did you mean 'entities'"):
        load_source(str(path))


def part(name, texts):
    return Source(name, Schema.from_any(["a"])), [{"text": "x", "entities": []}] * texts


def test_replay_caps_share_an_epoch_between_new_and_old():
    assert replay_caps([part("new", 30)], [part("a", 100), part("b", 5)], 0.25, "replay") == {"a": 5, "b": 5}
    assert replay_caps([part("new", 30)], [part("a", 100)], 0.5, "replay") == {"a": 30}
    assert replay_caps([part("new", 30)], [], 0.5, "replay") == {}


@pytest.mark.parametrize(("name", "share", "message"), [("a", 1.0, "between 0 and 1"), ("new", 0.5, "'new'")])
def test_replay_of_what_is_trained_on_or_of_all_is_an_error(name, share, message):
    with pytest.raises(ValueError, match=message):
        replay_caps([part("new", 3)], [part(name, 3)], share, "replay")


def test_renamed_types_are_renamed_in_schema_and_records(work):
    schema = Schema.from_any(
        {
            "entities": ["person", "place"],
            "relations": [{"type": "lives in", "head": ["person"], "tail": ["place"]}, "near"],
        }
    )
    person = {"start": 0, "end": 3, "type": "person"}
    place = {"start": 13, "end": 18, "type": "place"}
    record = {
        "text": "She lives in Paris",
        "entities": [person, place],
        "relations": [{"type": "lives in", "head": person, "tail": {"start": 13, "end": 18}}],
        "labels": {"entities": ["person"], "relations": ["lives in"]},
    }
    before = copy.deepcopy(record)
    source, (renamed,) = rename_types(Source("set", schema), [record], {"person": "any person"})
    assert record == before
    assert [item.name for item in source.schema.entities] == ["any person", "place"]
    assert source.schema.relations[0].head == ("any person",)
    assert source.schema.relations[1].head is None
    assert renamed["entities"] == [person | {"type": "any person"}, place]
    assert renamed["relations"][0]["head"]["type"] == "any person"
    assert renamed["relations"][0]["type"] == "lives in"
    assert renamed["labels"] == {"entities": ["any person"], "relations": ["lives in"]}
    assert "labels" not in rename_types(Source("set", schema), [{"text": "x"}], {"person": "y"})[1][0]
    assert rename_types(Source("set", schema), [record], {}) == (Source("set", schema), [record])


def test_renaming_a_type_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"set has no entity types \['pesron'\]; name some of"):
        rename_types(Source("set", Schema(["person"])), [], {"pesron": "people"})


def texts_of(name, *texts):
    return Source(name, Schema(["thing"])), [{"text": text, "entities": []} for text in texts]


TRAIN = texts_of("mine", "The soup was cold.", "A long walk by the old sea wall.", "Nothing like it.")
DEV = texts_of(
    "dev", "the soup, was COLD", "We took a long walk by the old sea wall, twice.", "Something else."
)


def test_training_texts_of_a_dev_file_are_left_out(caplog):
    ((source, kept),) = compare_with_dev([TRAIN], [DEV], skip=True)
    assert source == TRAIN[0]
    assert [record["text"] for record in kept] == ["Nothing like it."]
    assert "mine: 2 of 3 texts stand in the dev files" in caplog.text
    assert "dev[0]" in caplog.text


def test_training_texts_of_a_dev_file_are_warned_of(caplog):
    assert compare_with_dev([TRAIN], [DEV], skip=False) == [TRAIN]
    assert "--skip_dev_texts true" in caplog.text


def test_other_texts_raise_no_warning(caplog):
    other = texts_of("other", "Nothing of this kind.")
    assert compare_with_dev([other, TRAIN], [], skip=True) == [other, TRAIN]
    assert compare_with_dev([other], [DEV], skip=True) == [other]
    assert not caplog.text


def test_a_source_that_was_empty_before_is_no_error():
    assert compare_with_dev([texts_of("mine")], [DEV], skip=True) == [texts_of("mine")]


def test_a_file_of_which_nothing_is_left_is_an_error():
    with pytest.raises(ValueError, match=r"all texts of \['mine'\] stand in the dev files"):
        compare_with_dev([TRAIN], [texts_of("same", *(r["text"] for r in TRAIN[1]))], skip=True)


def test_texts_are_taken_without_their_annotation(tmp_path, work, write_set):
    schema, records = work
    write_set(tmp_path / "other", None, [{**record, "entities": "?"} for record in records])
    ((source, found),) = load_texts(["other/train.jsonl"], str(tmp_path), [(Source("x", schema), records)])
    assert (source.name, source.schema) == ("train.jsonl+texts", schema)
    assert found == [{"text": record["text"]} for record in records]


def test_texts_that_nothing_can_be_asked_of_are_refused(tmp_path, work, write_set):
    schema, records = work
    path = str(write_set(tmp_path, None, [{"name": "no text"}]))
    with pytest.raises(RecordError, match="holds no text"):
        load_texts([path], "", [(Source("x", schema), records)])
    with pytest.raises(ValueError, match="texts: .* several schemas"):
        load_texts([path], "", [(Source("x", schema), records), TRAIN])
    assert load_texts([], "", [(Source("x", schema), records), TRAIN]) == []
