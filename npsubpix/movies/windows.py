"""Arrays of the shape of a frame of which only a box is in memory.

Positions are rounded differently in a tile, counted from its corner, and in the whole frame. Kernels that measure
positions therefore get an array of the whole frame: its addresses are reserved, and the system gives memory to the
pages that are written, those of the box.
"""

from __future__ import annotations

import math
import mmap
import sys

import numpy as np

from npsubpix._arrays.library import HostArray

__all__ = ["window", "window_bytes"]

_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def window(shape: tuple[int, ...], box: tuple[slice, ...], pixels: HostArray) -> HostArray:
    """Return an array of a shape that holds pixels in a box, zeros elsewhere, and takes the memory of the box."""
    size = max(math.prod(shape) * pixels.dtype.itemsize, 1)
    if hasattr(mmap, "MAP_ANONYMOUS"):
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):  # a huge page holds rows beside the box
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    else:
        memory = mmap.mmap(-1, size)
    array: HostArray = np.frombuffer(memory, pixels.dtype, math.prod(shape)).reshape(shape)
    array[box] = pixels
    return array


def window_bytes(shape: tuple[int, ...], lengths: tuple[int, ...], itemsize: int) -> int:
    """Return the memory of a box of an array of a shape: whole pages, those between its rows too if they are close."""
    run, runs, stride = lengths[-1] * itemsize, 1, shape[-1] * itemsize
    for length, whole in zip(lengths[-2::-1], shape[-2::-1], strict=True):
        if runs == 1 and stride - run < mmap.PAGESIZE:
            run += (length - 1) * stride
        else:
            runs *= length
        stride *= whole
    return runs * (-(-run // mmap.PAGESIZE) + 1) * mmap.PAGESIZE
