"""Correlation of images of bytes with a kernel of small integers, in integers of 16 bits.

They are half as wide as the floats of `lines`, and no sum of them is rounded. Lines of the image are copied once, with
their border extension, into a ring buffer of as many lines as the kernel covers. Products with the weights that are
not 0 are summed five at a time.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import allocating, device, kernel
from npsubpix._cpu.convolution.lines import BAND, copy_line

__all__ = ["correlate_bytes", "taps_of"]

_FIVE = 5  # products that are summed together: the weights of a Laplacian

#: Weights of a kernel up to which it is not written as a product of lines.
_FEW = 25

#: Place of each weight in a kernel, (plane, row, column), and the weights, as many as make groups of five.
Taps: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]


def taps_of(x: HostArray, kernel: HostArray, cval: float, method: str) -> Taps | None:
    """Return the weights of bytes that are not 0, and their places; None if they are no integers or sums overflow."""
    if not float(cval).is_integer() or (method == "separable" and kernel.size > _FEW):
        return None
    greatest = max(abs(cval), np.iinfo(x.dtype).max, -np.iinfo(x.dtype).min)
    if (
        not np.abs(kernel).sum(dtype=np.float64) * greatest <= np.iinfo(np.int16).max
        or (kernel != np.rint(kernel)).any()
    ):
        return None
    places = np.argwhere(kernel)
    count = max(-(-len(places) // _FIVE) * _FIVE, _FIVE)
    padded, weights = np.zeros((count, 3), np.int64), np.zeros(count, np.int16)
    padded[: len(places)], weights[: len(places)] = places, kernel[kernel != 0]
    return padded, weights


@device
def _sum_five(sums, a, b, c, d, e, weights, begins):
    """Add five lines with a weight each to sums, or begin sums with them."""
    u, v, w, x, y = weights[0], weights[1], weights[2], weights[3], weights[4]
    if begins:
        for k in range(sums.size):
            sums[k] = u * a[k] + v * b[k] + w * c[k] + x * d[k] + y * e[k]
    else:
        for k in range(sums.size):
            sums[k] += u * a[k] + v * b[k] + w * c[k] + x * d[k] + y * e[k]


@device
def _write(out, sums, low, high):
    for j in range(out.size):
        out[j] = min(max(sums[j], low), high)


@device
def _first_of(shape, place, begin, dilation):
    """Return the first pixel under a weight, in a ring of lines (planes, rows, columns) in one axis."""
    return (place[0] * shape[1] + (begin + place[1] * dilation[1]) % shape[1]) * shape[2] + place[2] * dilation[2]


@device
def _sum_ring(sums, ring, shape, places, weights, begin, dilation):
    """Sum the lines of the ring, of which the first is that of row `begin`."""
    for k in range(0, weights.size, _FIVE):
        a = ring[_first_of(shape, places[k], begin, dilation) :]
        b = ring[_first_of(shape, places[k + 1], begin, dilation) :]
        c = ring[_first_of(shape, places[k + 2], begin, dilation) :]
        d = ring[_first_of(shape, places[k + 3], begin, dilation) :]
        e = ring[_first_of(shape, places[k + 4], begin, dilation) :]
        _sum_five(sums, a, b, c, d, e, weights[k : k + _FIVE], k == 0)


@allocating
def _correlate_band(x, places, weights, planes, rows, columns, inner, height, dilation, fill, limits, out, begin):
    """Compute the rows of a band, from its first row on."""
    T = weights.dtype.type
    reach = dilation[1] * (height - 1) + 1
    end = min(begin + BAND, out.shape[0])
    shape = planes.size, reach, columns.size
    own, own_sums = np.empty(planes.size * reach * columns.size, T), np.empty(out.shape[1], T)
    ring, sums = lend(own), lend(own_sums)
    ready = begin  # rows before this are in the ring
    for i in range(begin, end):
        for r in range(ready, i + reach):
            for k in range(planes.size):
                line = ring[(k * reach + r % reach) * columns.size :][: columns.size]
                if planes[k] >= 0 and rows[r] >= 0:
                    copy_line(line, x[planes[k], rows[r]], columns, inner, T(fill))
                else:
                    line[:] = T(fill)
        ready = i + reach
        _sum_ring(sums, ring, shape, places, weights, i, dilation)
        _write(out[i], sums, T(limits[0]), T(limits[1]))
    keep(own)
    keep(own_sums)


@kernel("correlate_bytes")
def _correlate_kernel(x, places, weights, planes, rows, columns, inner, height, dilation, fill, limits, out):
    """Correlate images (B, D, H, W) with the taps of a kernel of a height, in steps of one row and one column."""
    batch, depth, tall, _ = out.shape
    bands = (tall + BAND - 1) // BAND
    for task in prange(batch * depth * bands):
        b, z, band = task // (depth * bands), task // bands % depth, task % bands
        own = planes[z], rows, columns, inner, height, dilation, fill, limits
        _correlate_band(x[b], places, weights, *own, out[b, z], band * BAND)


def correlate_bytes(x: HostArray, taps: Taps, height: int, plan: Any, cval: float, out: HostArray) -> None:
    """Write the correlation of images with the taps of a kernel of a height, kept within the range of `out`."""
    own, sums = np.iinfo(out.dtype), np.iinfo(np.int16)
    limits = max(int(own.min), int(sums.min)), min(int(own.max), int(sums.max))
    _correlate_kernel.run(
        out.size * (len(taps[1]) // 4 + 2), x, *taps, plan.planes, *plan.places[1:], plan.inner, height,
        plan.dilation, int(cval), limits, out,
    )  # fmt: skip
