"""Strict extrema of windows of three pixels per axis, in vector code; comparisons are the bound, then memory traffic.

Kernels take stacks of shape (N, H, W) or (N, D, H, W) in C order; `low` and `high`, the least
value of a maximum and the greatest value of a minimum, one per image; of volumes `ends`, the least
and the greatest value of the dtype; and `margins`, the widths of the border before and after, per
axis, in which nothing is reported. They write every element of their outputs.

The kernels of codes also tell pixels that no neighbour exceeds, though one may equal them: where plateaus may
begin. That takes a few comparisons more of what is in registers, and no further pass over the image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import Kernel, device, kernel
from npsubpix._cpu.nms.blocks import lanes_of, mark_block
from npsubpix._cpu.nms.comparisons import greater, less

__all__ = ["ROWS", "find_peaks_of_band", "near2d_kernels", "near3d_kernels"]


#: Rows of an image, or rows and planes of a volume, of a unit of parallel work.
ROWS, _PLANES = 32, 8

#: Pixels that lines are longer than what they hold, so that they share no set of the cache where rows of volumes do.
_APART = 18


def _search2d(output: str) -> Callable[..., Any]:
    """Make the function that marks the strict extrema in a band of rows of an image, see `mark_block`."""
    mark_four, mark_row, mark_pixel = mark_block(output, 4), mark_block(output, 1), mark_block(output, 1, lanes=1)

    @device
    def search(x, limit, start, rows, columns, out):
        """Mark pixels of so many rows and columns, the first of which is at `start`; blocks may overlap."""
        width, lanes = x.shape[2], lanes_of(x.itemsize)
        fours = rows // 4 * 4 if columns >= lanes else 0
        for i in range(0, fours, 4):
            for j in range(0, columns, lanes):
                mark_four(x, out, start + i * width + min(j, columns - lanes), width, limit)
        for i in range(fours, rows):
            for j in range(0, columns if columns >= lanes else 0, lanes):
                mark_row(x, out, start + i * width + min(j, columns - lanes), width, limit)
            for j in range(0 if columns >= lanes else columns):
                mark_pixel(x, out, start + i * width + j, width, limit)

    return search


@device
def _no_search2d(x, limit, start, rows, columns, out):
    return


@device
def _clear(out, first, last, inner):
    """Write zeros to the rows `first` to `last` of a plane, outside the box `inner`."""
    top, bottom, left, right = inner
    for i in range(first, last):
        line = out[i]
        begin, end = (left, right) if (top <= i) & (i < bottom) & (left < right) else (line.size, line.size)
        for j in range(begin):
            line[j] = 0
        for j in range(end, line.size):
            line[j] = 0


def _near2d(name: str, maxima: Callable[..., Any], minima: Callable[..., Any]) -> Kernel:
    """Make the 3 x 3 kernel that writes maxima, and adds minima."""

    @kernel(f"near2d_{name}")
    def near2d(x, low, high, margins, out):
        images, height, width = x.shape
        top, bottom, left, right = margins
        inner = top, height - bottom, left, width - right
        bands = (height + ROWS - 1) // ROWS
        for r in prange(images * bands):
            b, first = r // bands, r % bands * ROWS
            last = min(first + ROWS, height)
            _clear(out[b], first, last, inner)
            i0, i1, columns = max(first, top), min(last, height - bottom), width - right - left
            if columns > 0:
                start, rows = (b * height + i0) * width + left, i1 - i0
                maxima(x, low[b], start, rows, columns, out)
                minima(x, high[b], start, rows, columns, out)

    return near2d


near2d_kernels = {
    "mask": _near2d("mask", _search2d("mask"), _no_search2d),
    "values": _near2d("values", _search2d("values"), _no_search2d),
    "maxima": _near2d("maxima", _search2d("maxima"), _no_search2d),
    "extrema": _near2d("extrema", _search2d("maxima"), _search2d("minima too")),
}

# In three dimensions the rows of three planes are first reduced to their extrema, voxel by voxel. These serve the rows
# above and below too, so that a voxel of a plane is read once for each plane that it is beside, and is compared with
# six numbers in place of 26. A plane at a time is kept in the cache: a band of its rows, and of the two beside it.

_ZERO, _ONE, _FOUR = np.uint8(0), np.uint8(1), np.uint8(4)


def _search(wins: Callable[..., Any], mark: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that marks the strict winners in a band of rows of a plane."""

    @device
    def better(a, b):
        return a if wins(a, b) else b

    @device
    def through(three, two, before, own, after, unbeatable):
        """Extrema of a row and those before and after it, with and without its own; `unbeatable` for NaN."""
        for j in range(own.size):
            a, b, c = before[j], own[j], after[j]
            best = better(a, c)
            nan = (a != a) | (c != c)
            three[j] = unbeatable if nan | (b != b) else better(best, b)
            two[j] = unbeatable if nan else best

    @device
    def best_of_three(out, a, b, c):
        for j in range(out.size):
            out[j] = better(better(a[j], b[j]), c[j])

    @device
    def mark_row(out, row, above, below, beside, around, limit, zero):
        for j in range(out.size):
            v = row[j + 1]
            over = wins(v, above[j + 1]) & wins(v, below[j + 1]) & wins(v, beside[j + 1])
            over &= wins(v, around[j]) & wins(v, around[j + 2])
            beyond = not wins(limit, v)
            best = better(better(above[j + 1], below[j + 1]), better(beside[j + 1], better(around[j], around[j + 2])))
            out[j] = mark(over & beyond, (v == v) & (not wins(best, v)) & beyond, v, out[j], zero)

    @device
    def search(x, limit, unbeatable, d, first, last, left, right, out, row, lines):
        """Mark voxels of plane d, rows `first` to `last`, columns `left` to `right`, in rows of `out` from `row` on."""
        begin, end = left - 1, right + 1
        for i in range(first - 1, last + 1):
            before, own, after = x[d - 1, i, begin:end], x[d, i, begin:end], x[d + 1, i, begin:end]
            through(lines[i % 3], lines[3 + i % 2], before, own, after, unbeatable)
            k = i - 1
            if k >= first:
                above, below, around = lines[(k + 2) % 3], lines[i % 3], lines[5]
                best_of_three(around, above, lines[k % 3], below)
                line = out[row + k - first, left:right]
                beside = lines[3 + k % 2]
                mark_row(line, x[d, k, begin:end], above, below, beside, around, limit, line.dtype.type(0))

    return search


@device
def _is(found, unbeaten, v, previous, zero):
    return found


@device
def _value(found, unbeaten, v, previous, zero):
    return v if found else zero


@device
def _maximum(found, unbeaten, v, previous, zero):
    return _ONE if found else (_FOUR if unbeaten else _ZERO)


@device
def _also_minimum(found, unbeaten, v, previous, zero):
    return previous | (found << 1) | ((unbeaten ^ found) << 3)


@device
def _no_search(x, limit, unbeatable, d, first, last, left, right, out, row, lines):
    return


def _near3d(name: str, maxima: Callable[..., Any], minima: Callable[..., Any]) -> Kernel:
    """Make the 3 x 3 x 3 kernel that writes maxima to an output, and minima to `second`, unless this is empty."""

    @kernel(f"near3d_{name}")
    def near3d(x, low, high, ends, margins, out, second):
        images, depth, height, width = x.shape
        front, back, top, bottom, left, right = margins
        slabs, bands = (depth + _PLANES - 1) // _PLANES, (height + ROWS - 1) // ROWS
        for r in prange(images * slabs * bands):
            b, slab, first = r // bands // slabs, r // bands % slabs * _PLANES, r % bands * ROWS
            last = min(first + ROWS, height)
            lines = np.empty((6, max(width - left - right, 0) + _APART), x.dtype)
            i0, i1, end = max(first, top), min(last, height - bottom), width - right
            for d in range(slab, min(slab + _PLANES, depth)):
                is_inner = (front <= d) & (d < depth - back) & (left < end)
                inner = top, height - bottom, left, end if is_inner else left
                _clear(out[b, d], first, last, inner)
                if second.size > 0:
                    _clear(second[b, d], first, last, inner)
                if is_inner:
                    maxima(x[b], low[b], ends[1], d, i0, i1, left, end, out[b, d], i0, lines)
                    minima(x[b], high[b], ends[0], d, i0, i1, left, end, second[b, d], i0, lines)

    return near3d


find_peaks_of_band, _find_codes = _search(greater, _is), _search(greater, _maximum)

near3d_kernels = {
    "mask": _near3d("mask", find_peaks_of_band, _no_search),
    "values": _near3d("values", _search(greater, _value), _no_search),
    "maxima": _near3d("maxima", _find_codes, _no_search),
    "extrema": _near3d("extrema", _find_codes, _search(less, _also_minimum)),
    "masks": _near3d("masks", find_peaks_of_band, _search(less, _is)),
}
