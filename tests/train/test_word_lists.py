import pytest

from ldnet.train.word_lists import load_word_lists


def test_the_package_has_other_names():
    names = load_word_lists("default", "label_names.yaml")
    assert "human" in names["person"]
    assert all(name not in others for name, others in names.items())


def test_the_package_has_phrasings_for_every_structure():
    assert set(load_word_lists("default", "instructions.yaml")) == {
        "entities", "relations", "hyper_relations", "events", "classes", "answers", "spans", "mixed"
    }  # fmt: skip


def test_a_file_of_ones_own_is_read_with_names_in_small_letters(tmp_path):
    (tmp_path / "own.yaml").write_text("Person: [human]\n", encoding="utf-8")
    assert load_word_lists(str(tmp_path / "own.yaml"), "label_names.yaml") == {"person": ["human"]}


@pytest.mark.parametrize("content", ["person: human", "- person", "person: [1]", "person: ["])
def test_anything_but_lists_of_texts_is_an_error(tmp_path, content):
    (tmp_path / "own.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"own\.yaml: "):
        load_word_lists(str(tmp_path / "own.yaml"), "label_names.yaml")


def test_all_wrong_names_are_told_at_once(tmp_path):
    (tmp_path / "own.yaml").write_text("a: 1\nb: [x]\nc: [2]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"'a' has 1; .*\n.*'c' has \[2\]; "):
        load_word_lists(str(tmp_path / "own.yaml"), "label_names.yaml")
