"""Converters between our records and the formats of others."""

from ldnet.processing.converters.formats import FORMATS, Format, guess_format, read_format, write_format
from ldnet.processing.converters.report import AlignmentReport, ConversionError

__all__ = [
    "FORMATS",
    "AlignmentReport",
    "ConversionError",
    "Format",
    "guess_format",
    "read_format",
    "write_format",
]
