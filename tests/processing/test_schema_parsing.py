import importlib

import pytest

from ldnet.processing.schema import EntityType, Schema, SchemaError
from ldnet.processing.schema_parsing import parse_json, parse_schema, read_schema_file

EXAMPLE = '{"entities": ["person"], "relations": [{"type": "works for"}]}'


@pytest.mark.parametrize(("value", "problem"), [
    (7, f"s: 7 (int) is not a schema. Write {EXAMPLE} or a list of entity types."),
    ({"labels": []},
     "s: unknown key 'labels'. Allowed: entities, relations, hyper_relations, events, classes, question,"
     " spans, instruction. Correct or remove it."),
    ({"entities": [{"name": "a"}]},
     "s: entities[0] has no \"type\": {'name': 'a'} (dict). Name the entity type: {\"type\": \"…\"}."),
    ({"entities": [{"type": "a", "descripton": "x"}]},
     "s: entities[0] has the unknown key 'descripton'. Allowed: type, description, threshold."
     " Did you mean 'description'?"),
    ({"relations": [{"type": "r", "qualifiers": ["q"]}]},
     "s: relations[0] has the unknown key 'qualifiers'. Allowed: type, head, tail, symmetric, description,"
     " threshold. Correct or remove it."),
    ({"hyper_relations": [{"type": "h", "qualifiers": [{"x": 1}]}]},
     "s: hyper_relations[0]: qualifiers[0] has no \"type\": {'x': 1} (dict). Name the qualifier:"
     " {\"type\": \"…\"}."),
    ({"classes": ["a"]},
     "s: classes is ['a'] (list), not a dict. Write"
     " {\"task\": {\"labels\": [\"…\"], \"multi_label\": false}}."),
    ({"classes": {"t": "a"}},
     "s: classes['t'] is 'a', not a dict. Write {\"labels\": [\"…\"], \"multi_label\": false}."),
    ({"classes": {"t": {"labels": ["a"], "type": "x"}}},
     "s: classes['t'] has the unknown key 'type'. Allowed: labels, multi_label. Correct or remove it."),
])  # fmt: skip
def test_parse_schema_wrong_form_is_named_with_its_fix(value, problem):
    assert parse_schema(value, "s")[1] == [problem]
    if isinstance(value, dict):
        with pytest.raises(SchemaError) as caught:
            Schema.from_dict(value, source="s")
        assert problem in caught.value.problems


def test_parse_schema_separator_splits_strings_but_not_dicts():
    schema = Schema.from_any(["a::b::c", {"type": "x::y"}])
    assert schema.entities == (EntityType("a", "b::c"), EntityType("x::y"))
    assert schema.to_dict() == {"entities": [{"type": "a", "description": "b::c"}, {"type": "x::y"}]}


def test_parse_schema_name_with_an_empty_description_is_an_error():
    with pytest.raises(SchemaError, match="entity type 'a' has the description '', which is empty"):
        Schema.from_any(["a::"])


def test_parse_schema_null_options_are_absent():
    value = {"relations": [{"type": "r", "head": None, "symmetric": None, "threshold": None}]}
    assert Schema.from_dict(value) == Schema(relations=["r"])


@pytest.mark.parametrize(("text", "message"), [
    ('{"entities": [}',
     r"Schema: not valid JSON at line 1 column 15 \(Expecting value\): '{\"entities\": \[}'\. Write"),
    ('{"entities": [], "entities": ["a"]}',
     "Schema: the key 'entities' is given twice in one object. Merge the two."),
    ("[" * 100_000, "Schema: the JSON is nested too deeply. Write it like"),
])  # fmt: skip
def test_parse_json_broken_text_is_named(text, message):
    with pytest.raises(SchemaError, match=message):
        parse_json(text, "Schema")


def test_read_schema_file_neither_json_nor_file_shows_what_to_pass():
    with pytest.raises(SchemaError) as caught:
        Schema.from_any("person")
    assert str(caught.value) == (
        "Schema: 'person' is neither JSON nor a .json, .yaml or .yml file. Pass such a file, a list of"
        f' entity types such as ["person"], or {EXAMPLE}.'
    )


@pytest.mark.parametrize(("name", "content", "message"), [
    ("missing.json", None,
     "missing.json: the schema file cannot be read .No such file or directory.. Check the path"),
    ("s.json", b"\xff\xfe\x00", "s.json: the schema file cannot be read .*utf-8.*. Check the path"),
    ("s.json", b"{", "s.json: not valid JSON at line 1"),
    ("s.json", b'{"entities": [3]}', r"s.json: entities\[0\] is 3 \(int\), not a label"),
    ("s.yaml", b"entities: [no]", r"s.yaml: entities\[0\] is False \(bool\), not a label"),
    ("s.yaml", b"entities: [", "s.yaml: not valid YAML .while parsing a flow .*. Correct it there"),
    ("s.yaml", b"just words", "s.yaml: 'just words' is not a schema"),
])  # fmt: skip
def test_read_schema_file_unusable_file_is_named_in_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SchemaError, match=message) as caught:
        Schema.from_any(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_read_schema_file_yaml_without_pyyaml_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    (tmp_path / "s.yaml").write_text("[a]")
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(SchemaError, match="reading it needs PyYAML. Run `pip install pyyaml` or use JSON"):
        read_schema_file(tmp_path / "s.yaml")
