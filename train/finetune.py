"""`python -m ldnet.train.finetune`: the same as `ldnet finetune`, for torchrun and notebooks."""

import sys

from ldnet.train.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["finetune", *sys.argv[1:]]))
