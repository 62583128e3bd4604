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

from npsubpix._cpu.compiler.intrinsics import copy_to, trailing_zeros
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

    @device
    def across(lines, size):
        """Extremum of each run of `span` pixels, of which four make one of `size`: by doubling, two steps at once.

        Of three lines, the first has the pixels; return the one that has the extrema, and `span`.
        """
        count, span, k = lines.shape[1], 1, 0
        while 4 * span < size:
            line, out = lines[k], lines[1 if k != 1 else 2]
            if 8 * span < size:
                count -= 3 * span
                second, third, fourth = line[span:], line[2 * span :], line[3 * span :]
                best_of_four(out[:count], line, second, third, fourth)
                span *= 4
            else:
                count -= span
                best_of_two(out[:count], line, line[span:])
                span *= 2
            k = 1 if k != 1 else 2
        return k, span

    @device
    def find_hits(hits, centre, limit, a, b, c, d):
        for j in range(centre.size):
            v = centre[j]
            hits[j] = wins(v, a[j]) & wins(v, b[j]) & wins(v, c[j]) & wins(v, d[j]) & (not wins(limit, v))

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

    @device
    def search_rows(x, limit, ends, d, i0, i1, begin, end, window, out, memory):
        """Find the winners in plane d, rows i0 to i1, columns begin to end."""
        prefix, suffix, nothing, lines, hits, words = memory
        block = window[2] + 1
        wide = window[4] + window[5] + 1
        left = max(begin - window[4], 0)
        right = min(end + window[5], x.shape[2])
        middle = lines[0, left - begin + window[4] :][: right - left]
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
                which, span = across(lines, wide)
                best, centre, last = lines[which], x[d, first + t, begin:end], wide - span
                find_hits(hits, centre, limit, best, best[min(span, last) :], best[min(2 * span, last) :], best[last:])
                for w in range(words.size):
                    word = words[w]
                    while word != 0:
                        j = 8 * w + np.int64(trailing_zeros(word) >> np.uint64(3))
                        word &= word - np.uint64(1)
                        if wins_elsewhere(x, d, first + t, begin + j, centre[j], window):
                            out[d, first + t, begin + j] = mark(centre[j])

    @allocating
    def search(x, limit, ends, d, i0, i1, begin, end, window, out):
        """Call `search_rows`, which counts no references to slices, with memory."""
        block, length = window[2] + 1, min(end + window[5], x.shape[2]) - max(begin - window[4], 0)
        prefix, suffix = np.empty((3, block, length), x.dtype), np.empty((3, block, length), x.dtype)
        nothing = np.full(length, ends[0], x.dtype)
        lines = np.full((3, end - begin + window[4] + window[5]), ends[0], x.dtype)
        hits = np.zeros((end - begin + 7) // 8 * 8, np.uint8)
        memory = prefix, suffix, nothing, lines, hits, hits.view(np.uint64)
        search_rows(x, limit, ends, d, i0, i1, begin, end, window, out, memory)

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
