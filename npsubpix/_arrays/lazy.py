"""Arrays that are in a file, or not computed yet: they are loaded whole, and a warning says so."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

import numpy as np

from npsubpix._definitions.dtypes import HostArray

__all__ = ["LazyFrames", "is_lazy", "load"]

#: Libraries whose arrays are in files, also where these are not chunked.
_FILES = ("h5py", "netCDF4", "tensorstore", "zarr")

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def is_lazy(x: Any) -> bool:
    """Whether the numbers of an array are not in memory: arrays of dask, zarr, h5py and the like."""
    return getattr(x, "chunks", None) is not None or type(x).__module__.partition(".")[0] in _FILES


def load(x: Any, name: str) -> HostArray:
    """Load a lazy array into memory, all of it, after a warning with its size."""
    shape, dtype = tuple(x.shape), np.dtype(x.dtype)
    library = type(x).__module__.partition(".")[0]
    warnings.warn(
        f"{name} is an array of {library}, of shape {shape} and dtype {dtype}, and is loaded whole: "
        f"{_size(math.prod(shape) * dtype.itemsize)}. Pass a part at a time to need less memory, such as "
        f"np.asarray({name}[0]), or np.asarray({name}) to load it without this warning",
        stacklevel=_level_of_caller(),
    )
    return np.asarray(x)


class LazyFrames:
    """The frames of a lazy array, along its first axis, each of which is loaded when it is asked for."""

    def __init__(self, stack: Any) -> None:
        self._stack = stack

    def __len__(self) -> int:
        return int(self._stack.shape[0])

    def __getitem__(self, number: int) -> HostArray:
        return np.asarray(self._stack[number])


def _size(count: float) -> str:
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {_UNITS[unit]}"


def _level_of_caller() -> int:
    """Return the level of the stack, above the function that warns, of the first function outside of the package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "npsubpix":
        level, frame = level + 1, frame.f_back
    return level
