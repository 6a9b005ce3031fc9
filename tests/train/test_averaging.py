import copy

import pytest
import torch

from ldnet.modeling_ldnet import LDNetModel
from ldnet.train.averaging import average_checkpoints, main


@pytest.fixture
def checkpoints(make_model, make_processor, tmp_path):
    """Two folders of tiny models with other weights, and the models."""
    models = []
    for number in range(2):
        model = make_model("bert")
        with torch.no_grad():
            for weight in model.parameters():
                weight += number * torch.randn(weight.shape)
        model.save_pretrained(tmp_path / str(number))
        make_processor(model.config).save_pretrained(tmp_path / str(number))
        models.append(model)
    return [str(tmp_path / str(number)) for number in range(2)], models


def test_main_writes_the_weighted_mean_and_the_settings_of_the_last(checkpoints, tmp_path):
    folders, models = checkpoints
    main(["--models", *folders, "--shares", "0.2", "0.8", "--output", str(tmp_path / "mean")])
    mean = LDNetModel.from_pretrained(tmp_path / "mean").state_dict()
    first, second = (model.state_dict() for model in models)
    for name, weight in mean.items():
        torch.testing.assert_close(weight, 0.2 * first[name] + 0.8 * second[name])
    assert any(not torch.equal(weight, second[name]) for name, weight in mean.items())
    assert (tmp_path / "mean" / "processor_config.json").exists()


def test_equal_shares_are_the_default(checkpoints, tmp_path):
    folders, models = checkpoints
    average_checkpoints(folders, tmp_path / "mean")
    mean = LDNetModel.from_pretrained(tmp_path / "mean").link_head.state_dict()
    first, second = (model.link_head.state_dict() for model in models)
    for name, weight in mean.items():
        torch.testing.assert_close(weight, (first[name] + second[name]) / 2)


def test_encoder_moves_half_way_back_and_markers_and_heads_stay(checkpoints, tmp_path):
    folders, (model, _) = checkpoints
    encoder = copy.deepcopy(model.encoder)
    encoder.resize_token_embeddings(model.encoder.config.vocab_size - 7)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight += torch.randn(weight.shape)
    encoder.save_pretrained(tmp_path / "encoder")
    flags = ["--encoder", str(tmp_path / "encoder"), "--encoder_share", "0.25"]
    main(["--models", folders[0], *flags, "--output", str(tmp_path / "out")])
    found = LDNetModel.from_pretrained(tmp_path / "out").state_dict()
    old = {f"encoder.{name}": weight for name, weight in encoder.named_parameters()}
    for name, weight in model.named_parameters():
        wanted = weight.detach().clone()
        if name in old:
            wanted[: len(old[name])].lerp_(old[name].detach(), 0.25)
        torch.testing.assert_close(found[name], wanted)
    assert len(old) > 10


def test_another_encoder_is_refused(checkpoints, tmp_path):
    folders, (model, _) = checkpoints
    encoder = copy.deepcopy(model.encoder)
    encoder.resize_token_embeddings(model.encoder.config.vocab_size + 1)
    encoder.save_pretrained(tmp_path / "encoder")
    for share, message in ((0.5, "name the encoder that it began with"), (1.5, "1.5 is out of range")):
        with pytest.raises(ValueError, match=message):
            average_checkpoints(folders[:1], tmp_path / "out", None, str(tmp_path / "encoder"), share)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("number", "shares", "message"),
    [
        (1, None, "--shares: 1 for 1 checkpoints"),
        (2, [1.0], "--shares: 1 for 2 checkpoints"),
        (2, [0.5, 0.6], "must be 0 or more and 1 in sum"),
        (2, [-0.5, 1.5], "must be 0 or more and 1 in sum"),
    ],
)
def test_wrong_shares_are_named(checkpoints, tmp_path, number, shares, message):
    with pytest.raises(ValueError, match=message):
        average_checkpoints(checkpoints[0][:number], tmp_path / "mean", shares)
    assert not (tmp_path / "mean").exists()


def test_other_shapes_and_an_old_folder_are_named(checkpoints, make_model, make_processor, tmp_path):
    folders, _ = checkpoints
    other = make_model("bert", head_size=16)
    other.save_pretrained(tmp_path / "other")
    make_processor(other.config).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"0: link_head\.\S+ has the shape .* average checkpoints of one"):
        average_checkpoints([folders[0], str(tmp_path / "other")], tmp_path / "mean")
    with pytest.raises(ValueError, match="is there already"):
        average_checkpoints(folders, folders[0])
