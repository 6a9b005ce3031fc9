import runpy
import sys

import pytest


@pytest.mark.parametrize(
    ("flags", "code", "shown"),
    [
        (["--trian", "x"], 2, "ldnet finetune: unknown flag 'trian'; did you mean 'train'?"),
        (["--train", "x"], 2, "output_dir: none is given; name a folder with --output_dir"),
    ],
)
def test_module_runs_the_verb_and_says_what_is_wrong_in_a_line(flags, code, shown, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["finetune.py", *flags])
    monkeypatch.delitem(sys.modules, "ldnet.train.finetune", raising=False)  # other tests import all modules
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("ldnet.train.finetune", run_name="__main__")
    assert stopped.value.code == code
    assert capsys.readouterr().err.splitlines() == [shown]
