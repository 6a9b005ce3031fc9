"""Texts of a training batch that see a part of its labels."""

import pytest
import torch

PART = {"entities": ["person"], "relations": ["in"]}  # of the schema that `make_inputs` takes
SEEN = [True, False, False, True]


@pytest.fixture(params=["sdpa", "eager"])
def model(request, make_model):
    model = make_model()
    model.set_attn_implementation(request.param)
    return model


def test_a_text_reads_the_labels_it_sees_as_a_schema_of_those_alone(model, make_inputs, run):
    whole, part = make_inputs(model), make_inputs(model, schema=PART)
    asked = torch.tensor([SEEN, [True] * 4, SEEN])
    found = run(model, whole, asked=asked)
    alone, complete = run(model, part), run(model, whole)
    torch.testing.assert_close(
        found.link_logits.open[[0, 2]][:, SEEN], alone.link_logits.open[[0, 2]], atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        found.link_logits.inside[[0, 2]], alone.link_logits.inside[[0, 2]], atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(found.link_logits.open[1], complete.link_logits.open[1], atol=1e-5, rtol=1e-5)
    assert (found.link_logits.inside[0] - complete.link_logits.inside[0]).abs().max() > 1e-4


def test_all_labels_seen_is_the_default(make_any_model, make_inputs, run):
    model = make_any_model()
    inputs = make_inputs(model)
    found = run(model, inputs, asked=torch.ones((len(inputs["input_ids"]), 4), dtype=torch.bool))
    torch.testing.assert_close(
        found.link_logits.inside, run(model, inputs).link_logits.inside, atol=1e-5, rtol=1e-5
    )


def test_a_label_that_no_text_sees_cannot_change_the_texts(make_any_model, make_inputs, run):
    model = make_any_model()
    inputs = make_inputs(model)
    asked = torch.tensor([SEEN] * len(inputs["input_ids"]))
    before = run(model, inputs, asked=asked).last_hidden_state
    hidden = torch.isin(inputs["schema_blocks"], torch.tensor([1, 2]))
    changed = inputs | {"schema_input_ids": inputs["schema_input_ids"].masked_fill(hidden, 7)}
    assert (run(model, changed).last_hidden_state - before).abs().max() > 1e-4
    if model.config.schema_attention == "prefix":  # in full attention the labels themselves attend to it
        after = run(model, changed, asked=asked).last_hidden_state
        torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)
