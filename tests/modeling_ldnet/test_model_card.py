import pytest
from huggingface_hub import ModelCard

from ldnet.model_card import CardFacts, render_card, write_card

REPORT = {
    "tasks": {
        "entities": {"precision": 90.126, "recall": 80.0, "f1": 84.76, "support": 50, "tp": 40},
        "relations_strict": {"precision": None, "recall": 0.0, "f1": None, "support": 3},
    },
    "texts": 12,
}


def test_card_without_facts_has_front_matter_of_the_hub_and_no_licence():
    card = ModelCard(render_card(CardFacts()))

    assert card.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "token-classification",
        "tags": ["ldnet", "information-extraction", "named-entity-recognition", "relation-extraction"],
    }
    assert 'pipeline(model="path/to/this/folder", trust_remote_code=True)' in card.text
    assert "## Results" not in card.text


def test_card_with_facts_states_them():
    facts = CardFacts(
        name="me/news",
        base_model="org/encoder",
        license="mit",
        languages=["en"],
        datasets=["conll04"],
        tags=["news", "ldnet"],
    )

    data = ModelCard(render_card(facts)).data

    assert (data.base_model, data.license, data.language, data.datasets) == (
        "org/encoder",
        "mit",
        ["en"],
        ["conll04"],
    )
    assert data.tags[-1] == "news"
    assert data.tags.count("ldnet") == 1


def test_card_with_results_has_a_table_and_an_index_of_defined_figures():
    card = ModelCard(render_card(CardFacts(name="me/news", results={"conll04": REPORT})))

    figures = [(r.dataset_name, r.metric_name, r.metric_type, r.metric_value) for r in card.data.eval_results]
    assert figures == [
        ("conll04", "entities: precision", "precision", 90.13),
        ("conll04", "entities: recall", "recall", 80.0),
        ("conll04", "entities: f1", "f1", 84.76),
        ("conll04", "relations strict: recall", "recall", 0.0),
    ]
    assert card.data.model_name == "me/news"
    assert "| conll04 | entities | 90.1 | 80.0 | 84.8 |\n" in card.text
    assert "| conll04 | relations strict | – | 0.0 | – |\n" in card.text


@pytest.mark.parametrize(("overwrite", "expected"), [(False, "by hand"), (True, "---\n")])
def test_write_card_replaces_only_on_request(tmp_path, overwrite, expected):
    (tmp_path / "README.md").write_text("by hand")

    written = write_card(tmp_path, CardFacts(), overwrite=overwrite)

    assert written is overwrite
    assert (tmp_path / "README.md").read_text().startswith(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
