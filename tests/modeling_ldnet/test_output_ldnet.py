import pytest
import torch

SCHEMA = {"entities": ["person"], "relations": ["works for"]}


@pytest.mark.parametrize("confirm", [True, False])
def test_output_has_links_and_what_was_asked_for(make_model, make_processor, confirm):
    model = make_model(confirm_loops=confirm)
    inputs = make_processor(model.config)(["the person", "in the place of"], SCHEMA)
    with torch.no_grad():
        plain, full = model(**inputs), model(**inputs, return_logits=True)
    assert (plain.loop_states is not None) == confirm
    assert plain.links is not None
    assert plain.loss is plain.link_logits is plain.last_hidden_state is None
    width = inputs["input_ids"].shape[1]
    assert full.last_hidden_state.shape == (2, width, 32)
    assert full.link_logits.open.shape == (2, 2, width)
    if confirm:
        assert plain.loop_states.start.shape == (2, width, 3, model.config.confirm_size)
