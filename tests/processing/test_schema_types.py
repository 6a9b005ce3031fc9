import pytest

from ldnet.processing.schema_types import (
    ClassTask,
    EntityType,
    EventType,
    HyperRelationType,
    RelationType,
    RoleType,
    did_you_mean,
    find_problems,
    show,
    show_names,
)


@pytest.mark.parametrize(("key", "items", "problem"), [
    ("entities", (EntityType(3),),
     "entities[0] has the name 3 (int), which is not a string. Write it in quotes."),
    ("entities", (EntityType(""),), "entities[0] has the name '', which is empty. Give it a word."),
    ("entities", (EntityType("a "),),
     "entities[0] has the name 'a ', which is surrounded by white space. Write 'a'."),
    ("entities", (EntityType("a"), None),
     "entities[1] is None, not a label. Write its name as a string, in quotes, or {\"type\": \"…\"}."),
    ("entities", (RelationType("a"),), None),
    ("entities", 7, "entities is 7 (int), not a list. Write [\"…\", \"…\"]."),
    ("entities", (EntityType("a", ""),),
     "entity type 'a' has the description '', which is empty. Give it a word, or leave it out."),
    ("entities", (EntityType("a", ["x"]),),
     "entity type 'a' has the description ['x'] (list), which is not a string. Write it in quotes,"
     " or leave it out."),
    ("entities", (EntityType("a", threshold=0.0),),
     "entity type 'a' has the threshold 0.0 (float), not a number between 0 and 1, such as 0.5."),
    ("entities", (EntityType("a", threshold=True),),
     "entity type 'a' has the threshold True (bool), not a number between 0 and 1, such as 0.5."),
    ("entities", (EntityType("a", threshold=float("nan")),),
     "entity type 'a' has the threshold nan (float), not a number between 0 and 1, such as 0.5."),
    ("entities", (EntityType("a", threshold="0.5"),),
     "entity type 'a' has the threshold '0.5', not a number between 0 and 1, such as 0.5."),
    ("entities", (EntityType("a"), EntityType("a", "x")),
     "entity type 'a' is defined twice, differently: description is None and 'x'. Merge the two into one"
     " (head and tail take lists)."),
    ("relations", (RelationType("r", symmetric=1),),
     "relation 'r' has symmetric 1 (int). Write true or false."),
    ("relations", (RelationType("r", head=()),),
     "relation 'r' has an empty head: nothing could stand there. List entity types or leave it out."),
    ("relations", (RelationType("r", tail=5),),
     "relation 'r' has tail 5 (int), not a list of entity types. Write [\"…\"]."),
    ("relations", (RelationType("r", tail=["a", 5]),),
     "relation 'r' has tail type 5 (int), which is not a string. Write it in quotes."),
    ("hyper_relations", (HyperRelationType("h", qualifiers=[""]),),
     "hyper-relation 'h': qualifiers[0] has the name '', which is empty. Give it a word."),
    ("events", (EventType("e", roles=[RoleType("x"), RoleType("x", "y")]),),
     "event type 'e': role 'x' is defined twice, differently: description is None and 'y'. Merge the two"
     " into one (head and tail take lists)."),
    ("events", (EventType("e", roles=None),),
     "event type 'e': roles is None, not a list. Write [\"…\", \"…\"]."),
    ("classes", (ClassTask("c"),),
     "class task 'c' has no labels. List at least one, e.g. {\"labels\": [\"yes\", \"no\"]}."),
    ("classes", (ClassTask("c", ["x"], multi_label="no"),),
     "class task 'c' has multi_label 'no'. Write true or false."),
])  # fmt: skip
def test_find_problems_names_place_value_and_fix(key, items, problem):
    found = find_problems({key: items}, "s.json")
    if problem is None:  # a label type of another structure
        assert len(found) == 1
        assert found[0].startswith("s.json: entities[0] is RelationType(")
    else:
        assert found == [f"s.json: {problem}"]


def test_find_problems_head_type_is_checked_only_when_entities_are_given():
    relations = (RelationType("r", head=["Persn"]),)
    assert find_problems({"entities": (), "relations": relations}, "Schema") == []
    assert find_problems({"entities": (EntityType("person"),), "relations": relations}, "Schema") == [
        "Schema: relation 'r' has head type 'Persn', not one of ['person']. Did you mean 'person'?"
        " Correct it or add the type."
    ]
    hyper = (HyperRelationType("h", tail=["thing"]),)
    assert find_problems(
        {"entities": (EntityType("person"), EntityType(3)), "hyper_relations": hyper}, "Schema"
    ) == [
        "Schema: entities[1] has the name 3 (int), which is not a string. Write it in quotes.",
        "Schema: hyper-relation 'h' has tail type 'thing', not one of ['person']."
        " Correct it or add the type.",
    ]


def test_find_problems_of_valid_structures_is_empty():
    structures = {
        "entities": (EntityType("person", "a human being", 0.25),),
        "relations": (RelationType("knows", head=["person"], tail=["person"], symmetric=True),),
        "events": (EventType("attack"),),
    }
    assert find_problems(structures, "Schema") == []


def test_show_shortens_long_values_to_one_line():
    assert show("x\ny") == r"'x\ny'"
    assert show(None) == "None"
    assert show(0.5) == "0.5 (float)"
    assert len(show("a" * 5000)) < 90


def test_show_names_says_how_many_more_there_are():
    assert show_names(["a", "b"]) == "['a', 'b']"
    assert show_names([str(number) for number in range(500)]).endswith("'9'] and 490 more")


@pytest.mark.parametrize(("name", "allowed", "answer"), [
    ("Person", ["place", "person"], " Did you mean 'person'?"),
    ("Work_For", ["work for"], " Did you mean 'work for'?"),
    ("hyper relation", ["hyper_relations"], " Did you mean 'hyper_relations'?"),
    ("xyz", ["place"], ""),
    (3, ["place"], ""),
    ("x", [], ""),
])  # fmt: skip
def test_did_you_mean_finds_the_nearest_word(name, allowed, answer):
    assert did_you_mean(name, allowed) == answer
