import pytest
import torch
from transformers import AutoModel

from ldnet.train.loading import ModelError, set_dropout


def test_dropout_is_set_in_modules_and_never_saved(encoder_config):
    encoder = AutoModel.from_config(encoder_config)
    before = encoder.config.to_dict()
    set_dropout(encoder, 0.37)
    rates = [module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates
    assert set(rates) == {0.37}
    assert encoder.config.to_dict() == before  # of a later training of the same checkpoint


def test_more_dropout_changes_more_in_training(make_encoder_config):
    torch.manual_seed(0)
    encoder = AutoModel.from_config(make_encoder_config()).train()
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    set_dropout(encoder, 0.0)
    assert torch.equal(encoder(ids).last_hidden_state, encoder(ids).last_hidden_state)
    set_dropout(encoder, 0.5)
    assert not torch.equal(encoder(ids).last_hidden_state, encoder(ids).last_hidden_state)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
def test_impossible_dropout_is_named(make_encoder_config, rate):
    with pytest.raises(ModelError, match=rf"encoder_dropout: {rate} is out of range"):
        set_dropout(AutoModel.from_config(make_encoder_config()), rate)
