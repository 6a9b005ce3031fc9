import pytest
import torch
from transformers import AutoModel

from ldnet.train.loading import ModelError, set_dropout


def test_dropout_is_set_in_modules_and_configuration(encoder_config):
    encoder = AutoModel.from_config(encoder_config)
    set_dropout(encoder, 0.37)
    assert {module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout)} <= {0.37}
    named = {
        name: value
        for name, value in vars(encoder.config).items()
        if "dropout" in name and "classifier" not in name and isinstance(value, float)
    }
    assert named
    assert set(named.values()) == {0.37}
    again = AutoModel.from_config(encoder.config)
    assert any(module.p == 0.37 for module in again.modules() if isinstance(module, torch.nn.Dropout))


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
