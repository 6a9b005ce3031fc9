import json

import pytest
import torch

from ldnet.modeling_ldnet import LDNetModel
from ldnet.processing.links import LoopLimits
from ldnet.processing.processing_ldnet import LDNetProcessor
from ldnet.train.release import main


def test_main_writes_float16_that_loads_as_float32_with_the_threshold(tiny_model, tiny_processor, tmp_path):
    tiny_model.save_pretrained(tmp_path / "trained")
    tiny_processor.save_pretrained(tmp_path / "trained")

    main(["--model", str(tmp_path / "trained"), "--output", str(tmp_path / "out"), "--threshold", "0.3"])

    released = LDNetModel.from_pretrained(tmp_path / "out")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("trained", "out")]
    assert sizes[1] < 0.6 * sizes[0]
    assert released.dtype == torch.float32
    assert released.config.threshold == LDNetProcessor.from_pretrained(tmp_path / "out").threshold == 0.3
    for name, weight in tiny_model.state_dict().items():
        torch.testing.assert_close(released.state_dict()[name], weight, rtol=1e-3, atol=1e-4)


def test_main_writes_a_folder_that_loads_without_the_package(tiny_model, tiny_processor, tmp_path):
    tiny_model.save_pretrained(tmp_path / "trained")
    tiny_processor.save_pretrained(tmp_path / "trained")

    main(["--model", str(tmp_path / "trained"), "--output", str(tmp_path / "out")])

    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["auto_map"]["AutoModel"] == "ldnet_remote.LDNetModel"
    assert config["dtype"] == "float32"
    assert (tmp_path / "out" / "ldnet_remote.py").exists()


def test_thresholds_of_links_and_confirmation_are_told_apart(tiny_model, tiny_processor, tmp_path):
    tiny_model.save_pretrained(tmp_path / "trained")
    tiny_processor.calibration = {"tasks": {"entities": {"threshold": 0.4}}}
    tiny_processor.save_pretrained(tmp_path / "trained")
    flags = ["--model", str(tmp_path / "trained"), "--output", str(tmp_path / "out")]

    with pytest.raises(ValueError, match="is calibrated"):
        main([*flags, "--threshold", "0.3"])
    assert not (tmp_path / "out").exists()
    main([*flags, "--confirm_threshold", "0.2", "--confirm_from", "2", "--overlap", "one_type"])
    released = LDNetProcessor.from_pretrained(tmp_path / "out")
    assert released.limits == LoopLimits(confirm_threshold=0.2, confirm_from=2)
    assert released.overlap == "one_type"
