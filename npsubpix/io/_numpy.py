"""Read NumPy's own formats: arrays are read in parts, and pickles never."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix.io._arrays import axes_of_array
from npsubpix.io._raw import RawArray
from npsubpix.io._source import ImageError, Options, Source

__all__ = ["array_at", "header_of", "numpy_file"]

_LONGEST_HEADER = 10_000  # what NumPy parses


@contextlib.contextmanager
def numpy_file(path: Path, options: Options) -> Iterator[Source]:
    """Open an array; its axes have no names."""
    del options  # there is nothing to choose
    array = array_at(path, path.name)
    array.check()
    axes, colour = axes_of_array(array.shape)
    yield Source(array.shape, axes, array.dtype, array.fetch, colour, is_concurrent=True)


def array_at(path: Path, name: str, place: int = 0) -> RawArray:
    """Return the array whose header, in NumPy's format, begins at a place of a file."""
    with path.open("rb") as file:
        file.seek(place)
        try:
            shape, in_fortran_order, dtype = header_of(file)
        except ValueError as error:
            raise ImageError(f"{path}: {name} is no NumPy file, or is damaged: {error}") from error
        if dtype.hasobject:
            raise ImageError(f"{path}: holds pickled objects, which are not loaded; needed are numbers")
        return RawArray(path, file.tell(), shape, dtype, "F" if in_fortran_order else "C")


def header_of(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an array: its shape, whether it is in Fortran order, and its dtype."""
    if np.lib.format.read_magic(file) == (1, 0):
        shape, order, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        count = file.read(4)
        length = int.from_bytes(count, "little")
        if length > _LONGEST_HEADER:  # NumPy would ask for as much memory before it looks
            raise ValueError(f"a header of {length} bytes")
        shape, order, dtype = np.lib.format.read_array_header_2_0(io.BytesIO(count + file.read(length)))
    return tuple(map(int, shape)), bool(order), dtype
