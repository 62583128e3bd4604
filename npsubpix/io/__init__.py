"""Files: images in, tables out. Each function imports the library that it needs, when it is called."""

from __future__ import annotations

from npsubpix.io._source import ImageError, ImageWarning
from npsubpix.io.localizations import read_picasso, read_thunderstorm
from npsubpix.io.source import ImageSource, open_image
from npsubpix.io.tables import OutputError, peak_columns, read_table, replacing, write_table

__all__ = [
    "ImageError",
    "ImageSource",
    "ImageWarning",
    "OutputError",
    "open_image",
    "peak_columns",
    "read_picasso",
    "read_table",
    "read_thunderstorm",
    "replacing",
    "write_table",
]
