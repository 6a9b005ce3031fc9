import pytest

from ldnet.train.args import DataArguments
from ldnet.train.parsing import ArgumentsError, make_parser


def test_expand_puts_the_keys_of_the_file_before_the_flags(tmp_path):
    config = tmp_path / "x.yaml"
    config.write_text("train: [a, b]\nmax_labels: 3\n")
    parser = make_parser((DataArguments,), "ldnet x", "")
    flags = parser.expand(["--max_labels", "4", f"--config={config}"])
    assert flags == ["--train", "a", "b", "--max_labels", "3", "--max_labels", "4"]
    assert parser.expand(flags) == flags
    assert parser.parse(flags)[0] == DataArguments(train=["a", "b"], max_labels=4)


def test_expand_names_unknown_flags():
    parser = make_parser((DataArguments,), "ldnet x", "")
    with pytest.raises(ArgumentsError, match="ldnet x: unknown flag 'max_label'; did you mean 'max_labels'"):
        parser.expand(["--max_label", "4"])
