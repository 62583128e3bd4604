"""Read NumPy's own format: arrays are mapped, not loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from npsubpix.io._arrays import axes_of_array
from npsubpix.io._source import ImageError, Source

__all__ = ["numpy_file"]


@contextlib.contextmanager
def numpy_file(path: Path) -> Iterator[Source]:
    """Open an array; its axes have no names."""
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "Python objects" in str(error):
            raise ImageError(f"{path}: holds pickled objects, which are not loaded; needed are numbers") from error
        if "greater than file size" in str(error):
            raise ImageError(f"{path}: is a truncated NumPy file, {path.stat().st_size} bytes long") from error
        raise
    axes, colour = axes_of_array(data.shape)
    yield Source(data.shape, axes, data.dtype, data.__getitem__, colour, is_concurrent=True)
