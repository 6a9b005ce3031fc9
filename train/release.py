"""`python -m ldnet.train.release`: a trained checkpoint as a small folder to publish."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ldnet.hub_ldnet import write_remote_code
from ldnet.train.cli import run_guarded
from ldnet.train.loading import load_checkpoint
from ldnet.train.parsing import parse_arguments


@dataclass
class ReleaseArguments:
    """What to publish and where."""

    model: str = field(metadata={"help": "Folder of the trained checkpoint."})
    output: str = field(metadata={"help": "Folder to write; a card that is there stays."})
    threshold: float | None = field(
        default=None, metadata={"help": "Default threshold, chosen on dev data; the checkpoint's by default."}
    )
    confirm_threshold: float | None = field(
        default=None, metadata={"help": "The same for the confirmation of whole loops."}
    )
    confirm_from: int | None = field(
        default=None, metadata={"help": "Fewest mentions of a loop that is judged as a whole."}
    )
    overlap: Literal["nested", "one_type", "flat"] | None = field(
        default=None, metadata={"help": "What results keep of entities at the same tokens."}
    )


def write_release(model: str, output: str | Path, threshold: float | None = None, **settings: Any) -> None:
    """Write weights in float16 that load in float32, with processor, code and card.

    Args:
        model: Folder or Hub id of a checkpoint.
        output: Folder to write.
        threshold: Default threshold of model and processor, in (0, 1).
        **settings: Attributes of the processor to set; `None` keeps the checkpoint's.

    Raises:
        ValueError: If a threshold is set beside a calibration, which decides by scores of its own.
    """
    trained, processor = load_checkpoint(model)
    if threshold is not None and processor.calibration is not None:
        raise ValueError(
            f"--threshold: {model} is calibrated: its thresholds are those of `ldnet calibrate`; "
            "leave the flag out"
        )
    for name, value in settings.items():
        if value is not None:
            setattr(processor, name, value)
    if threshold is not None:
        trained.config.threshold = processor.threshold = threshold
    folder = Path(output)
    trained.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    # Half the size on disk, full precision at run time: `dtype` decides what the stored weights become.
    config = folder / "config.json"
    content = json.loads(config.read_text(encoding="utf-8")) | {"dtype": "float32"}
    config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_remote_code(folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the module.

    Args:
        argv: Its arguments; the process's own by default.

    Returns:
        Exit code.
    """
    (args,) = parse_arguments((ReleaseArguments,), argv, "ldnet.train.release", __doc__ or "")
    write_release(**vars(args))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_guarded(main))
