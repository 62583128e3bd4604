"""Extrema of three levels, in space and scale, row by row: windows are clipped at the border.

Vector code compares a row with the rows beside it. The few pixels that are left are compared with all others.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import device, kernel
from npsubpix._cpu.nms.comparisons import lowest2d, topmost2d

__all__ = ["extrema_kernel"]

_BAND = 16  # rows that one thread searches one after the other


@device
def _maxima(out, before, row, after, low):
    for j in range(out.size):
        v = row[j + 1]
        out[j] = topmost2d(v, before, row, after, j) & (v > low)


@device
def _minima(out, before, row, after, low):
    for j in range(out.size):
        v = row[j + 1]
        out[j] = lowest2d(v, before, row, after, j) & (v < -low)


@device
def _exceeds(levels, z, i, j, sign, low):
    """Whether a pixel of the middle level, times a sign, exceeds a limit and all its neighbours.

    Of equal ones it is the first: it exceeds the level below and the pixels before it, and is no less than the others.
    """
    below, x, above = levels
    depth, height, width = x.shape
    v = sign * x[z, i, j]
    if not v > low:
        return False
    for d in range(max(z - 1, 0), min(z + 2, depth)):
        for k in range(max(i - 1, 0), min(i + 2, height)):
            for c in range(max(j - 1, 0), min(j + 2, width)):
                if not (v > sign * below[d, k, c] and v >= sign * above[d, k, c]):
                    return False
                is_before = d < z or (d == z and (k < i or (k == i and c < j)))
                beside = sign * x[d, k, c]
                if not (v > beside if is_before else v >= beside):
                    return False
    return True


@kernel("blob_extrema")
def extrema_kernel(below, x, above, sign, low, out):
    """Mark pixels of the middle level that exceed a limit and all neighbours, in three levels, times a sign."""
    depth, height, width = x.shape
    rows = depth * height
    levels = (below, x, above)
    for band in prange((rows + _BAND - 1) // _BAND):
        beyond = np.full(width, -sign * np.float32(math.inf), np.float32)
        for r in range(band * _BAND, min((band + 1) * _BAND, rows)):
            z, i = r // height, r % height
            line = out[z, i]
            line[0] = line[width - 1] = True
            before = x[z, i - 1] if i > 0 else beyond
            after = x[z, i + 1] if i < height - 1 else beyond
            if width > 2:
                if sign > 0:
                    _maxima(line[1 : width - 1], before, x[z, i], after, low)
                else:
                    _minima(line[1 : width - 1], before, x[z, i], after, low)
            for j in range(width):
                if line[j]:
                    line[j] = _exceeds(levels, z, i, j, sign, low)
