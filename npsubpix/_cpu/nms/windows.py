"""Strict extrema of windows of any size: 2-D and 3-D, even and odd, clipped at the border or not.

A row is compared with the extrema of the rows above and below it in its window. The algorithm of
van Herk and of Gil and Werman finds these in two comparisons per pixel for any window: it keeps the
running extrema from the start of a block of rows to each row, and from each row to the end of the
block. Doubling extends them across the columns. All of it is vector code over rows that stay in the
second-level cache. The few pixels that exceed the result are compared one by one with their own row
and with the other planes of their window. Arguments are those of `neighbours`, and `window`, the
pixels before and after the centre, per axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, kernel
from npsubpix._cpu.nms.comparisons import greater, less

__all__ = ["window_kernels"]


def _plane_search(wins: Callable[..., Any], mark: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that writes `mark` of each strict winner in a band of rows."""

    @device
    def fold(out, row, ends, i, height, before):
        """Extremum of `row` and `before`. NaN counts as unbeatable, a row outside the image as beaten by all."""
        _, unbeatable = ends
        if i < 0 or i >= height:
            copy_to(out, before)
            return
        for j in range(out.size):
            u = row[j]
            u = unbeatable if u != u else u
            out[j] = u if wins(u, before[j]) else before[j]

    @device
    def fold_block(x, i0, left, right, ends, nothing, prefix, suffix):
        """Find the running extrema of the rows from i0 to each row, and from each row to the last of the block."""
        height = x.shape[0]
        last = prefix.shape[0] - 1
        before = nothing
        for t in range(last + 1):
            i = i0 + t
            fold(prefix[t], x[min(max(i, 0), height - 1), left:right], ends, i, height, before)
            before = prefix[t]
        before = nothing
        for t in range(last, -1, -1):
            i = i0 + t
            fold(suffix[t], x[min(max(i, 0), height - 1), left:right], ends, i, height, before)
            before = suffix[t]

    @device
    def best_of_two(out, a, b):
        for j in range(out.size):
            out[j] = a[j] if wins(a[j], b[j]) else b[j]

    @device
    def best_of_four(out, a, b, c, d):
        for j in range(out.size):
            first = a[j] if wins(a[j], b[j]) else b[j]
            second = c[j] if wins(c[j], d[j]) else d[j]
            out[j] = first if wins(first, second) else second

    @allocating
    def across(line, spare, other, size):
        """Extremum of each run of `size` pixels, by doubling; in one of two spare buffers, or `line` itself."""
        count = line.size
        span = 1
        while span < size:
            step = min(span, size - span)
            count -= step
            best_of_two(spare[:count], line[:count], line[step : step + count])
            line, spare, other = spare, other, spare
            span += step
        return line

    @device
    def wins_elsewhere(x, d, i, j, v, window):
        """Whether v wins in its own row and in the other planes of its window."""
        depth, height, width = x.shape
        begin = max(j - window[4], 0)
        end = min(j + window[5] + 1, width)
        for k in range(begin, end):
            if k != j and not wins(v, x[d, i, k]):
                return False
        for plane in range(max(d - window[0], 0), min(d + window[1] + 1, depth)):
            if plane != d:
                for row in range(max(i - window[2], 0), min(i + window[3] + 1, height)):
                    for k in range(begin, end):
                        if not wins(v, x[plane, row, k]):
                            return False
        return True

    @allocating
    def search(x, limit, ends, d, i0, i1, begin, end, window, out):
        """Find the winners in plane d, rows i0 to i1, columns begin to end."""
        block = window[2] + 1
        left = max(begin - window[4], 0)
        right = min(end + window[5], x.shape[2])
        prefix = np.empty((3, block, right - left), x.dtype)
        suffix = np.empty((3, block, right - left), x.dtype)
        nothing = np.full(right - left, ends[0], x.dtype)
        line = np.full(end - begin + window[4] + window[5], ends[0], x.dtype)
        spare = np.empty_like(line)
        other = np.empty_like(line)
        middle = line[left - begin + window[4] :][: right - left]
        hits = np.zeros((end - begin + 7) // 8 * 8, np.uint8)
        words = hits.view(np.uint64)
        for k in range(2):
            fold_block(x[d], i0 + (k - 1) * block, left, right, ends, nothing, prefix[k], suffix[k])
        for k in range((i1 - i0 + block - 1) // block):
            p0, p1, p2 = k % 3, (k + 1) % 3, (k + 2) % 3
            first = i0 + k * block
            fold_block(x[d], first + block, left, right, ends, nothing, prefix[p2], suffix[p2])
            for t in range(min(block, i1 - first)):
                # Rows above: the end of the block before and the start of this one; below likewise.
                ahead = t + window[3] - window[2]
                a = suffix[p0, t + 1] if t + 1 < block else nothing
                b = prefix[p1, t - 1] if t > 0 else nothing
                c = suffix[p1, t + 1] if t + 1 < block else nothing
                e = prefix[p2, ahead - 1] if ahead > 0 else nothing
                best_of_four(middle, a, b, c, e)
                best = across(line, spare, other, window[4] + window[5] + 1)
                centre = x[d, first + t, begin:end]
                for j in range(centre.size):
                    hits[j] = wins(centre[j], best[j]) & (not wins(limit, centre[j]))
                for word in range(words.size):
                    if words[word] != 0:
                        for j in range(8 * word, 8 * word + 8):
                            if hits[j] and wins_elsewhere(x, d, first + t, begin + j, centre[j], window):
                                out[d, first + t, begin + j] = mark(centre[j])

    return search


@device
def _code_of_maximum(v):
    return 1


@device
def _code_of_minimum(v):
    return 2


@device
def _value(v):
    return v


@device
def _no_search(x, limit, ends, d, i0, i1, begin, end, window, out):
    return


#: Pixels of a block of rows, so that the six blocks that a search holds stay small beside the output, and in cache.
_BLOCK_PIXELS = 8192

#: Rows of a band, the unit of parallel work; a band also reads the two blocks beside it, which is its overhead.
_BAND_ROWS = 128


def _window(name: str, maxima: Callable[..., Any], minima: Callable[..., Any]) -> Kernel:
    @kernel(f"window_{name}")
    def window_extrema(x, low, high, ends, window, margins, out):
        images, depth, height, width = x.shape
        front, back, top, bottom, left, right = margins
        rows = max(1, _BAND_ROWS // (window[2] + 1)) * (window[2] + 1)
        columns = max(256, _BLOCK_PIXELS // (window[2] + 1))
        bands = (height - top - bottom + rows - 1) // rows
        tiles = (width - left - right + columns - 1) // columns
        planes = depth - front - back
        zero = out.dtype.type(0)
        for r in prange(images * depth * height):
            out[r // height // depth, r // height % depth, r % height] = zero
        for r in prange(images * planes * bands * tiles):
            begin = left + r % tiles * columns
            i0 = top + r // tiles % bands * rows
            d = front + r // tiles // bands % planes
            b = r // tiles // bands // planes
            end = min(begin + columns, width - right)
            i1 = min(i0 + rows, height - bottom)
            maxima(x[b], low[b], (ends[0], ends[1]), d, i0, i1, begin, end, window, out[b])
            minima(x[b], high[b], (ends[1], ends[0]), d, i0, i1, begin, end, window, out[b])

    return window_extrema


window_kernels = {
    "mask": _window("mask", _plane_search(greater, _code_of_maximum), _no_search),
    "values": _window("values", _plane_search(greater, _value), _no_search),
    "extrema": _window("extrema", _plane_search(greater, _code_of_maximum), _plane_search(less, _code_of_minimum)),
}
