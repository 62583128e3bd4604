"""Arrays that are in a file, or not computed yet: they may be larger than memory, and are not loaded in silence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["LazyFrames", "bytes_as_text", "is_lazy", "refuse_lazy"]

#: Libraries whose arrays are in files, also where these are not chunked.
_FILES = ("h5py", "netCDF4", "tensorstore", "zarr")

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def is_lazy(x: Any) -> bool:
    """Whether the numbers of an array are not in memory: arrays of dask, zarr, h5py and the like."""
    if getattr(x, "chunks", None) is not None or type(x).__module__.partition(".")[0] in _FILES:
        return True
    return getattr(getattr(x, "variable", None), "_in_memory", True) is False  # of xarray, from a file


def refuse_lazy(x: Any, name: str, *, is_image: bool) -> None:
    """Refuse a lazy array, which would be loaded whole; say what reads it in parts."""
    shape, dtype = tuple(x.shape), np.dtype(x.dtype)
    library = type(x).__module__.partition(".")[0]
    how = f"np.asarray({name}) loads it"
    if is_image:
        how = f"npsubpix.locate finds spots in it block by block, np.asarray({name}[0]) loads a part, and {how}"
    raise TypeError(
        f"{name} is an array of {library}, of shape {shape} and dtype {dtype}, which is not in memory and would be "
        f"loaded whole, {bytes_as_text(math.prod(shape) * dtype.itemsize)}: {how}"
    )


class LazyFrames:
    """The frames of a lazy array along its first axis, or of a sequence: one is loaded when it is asked for."""

    def __init__(self, stack: Any) -> None:
        self._stack = stack

    def __len__(self) -> int:
        return int(self._stack.shape[0]) if hasattr(self._stack, "shape") else len(self._stack)

    def __getitem__(self, number: int) -> Any:
        frame = self._stack[number]
        return np.asarray(frame) if is_lazy(frame) else frame


def bytes_as_text(count: float) -> str:
    """Return a number of bytes in the largest unit below it."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {_UNITS[unit]}"
