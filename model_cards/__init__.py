"""Checkpoints that come with the package; a folder is exactly what its Hub repository holds."""

from pathlib import Path

DEFAULT_MODEL_FOLDER = Path(__file__).with_name("ldnet-minilm")

__all__ = ["DEFAULT_MODEL_FOLDER"]
