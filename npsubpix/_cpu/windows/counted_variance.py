"""Variances of windows in which some pixels do not count, at a cost that does not depend on their size.

Parts of windows are joined as in `running_variance`. But the count of a part is not the product of its lines and its
columns: it is kept, pixel by pixel, beside its sum and its squares.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to, keep, lend
from npsubpix._cpu.compiler.jit import device, fused, kernel

__all__ = ["counted_var"]

_SAMPLES = 9  # lines and columns whose pixels are sampled for a level

# A part of a window is a row of (3, n): its count, its sum, and its sum of squared differences from its mean.


@fused
def _join(counts, sums, squares, counts_a, sums_a, squares_a, counts_b, sums_b, squares_b):
    for k in range(counts.size):
        j = np.uint64(k)  # no index is negative, and so none is counted from the end
        n, m = counts_a[j], counts_b[j]
        d = sums_a[j] * m - sums_b[j] * n  # 0 if one of both has no pixels
        squares[j] = squares_a[j] + squares_b[j] + d * d / max(n * m * (n + m), 1.0)
        sums[j] = sums_a[j] + sums_b[j]
        counts[j] = n + m


@fused
def _join_in_place(counts, sums, squares, counts_b, sums_b, squares_b):
    for k in range(counts.size):
        j = np.uint64(k)
        n, m = counts[j], counts_b[j]
        d = sums[j] * m - sums_b[j] * n
        squares[j] = squares[j] + squares_b[j] + d * d / max(n * m * (n + m), 1.0)
        sums[j] = sums[j] + sums_b[j]
        counts[j] = n + m


@device
def _joined(out, a, b):
    _join(out[0], out[1], out[2], a[0], a[1], a[2], b[0], b[1], b[2])


@device
def _add(out, b):
    _join_in_place(out[0], out[1], out[2], b[0], b[1], b[2])


@device
def _copy(out, a):
    for k in range(3):
        copy_to(out[k], a[k, : out.shape[1]])


@device
def _fold_line(out, line, other, length):
    """Join all pixels of each window of a line, which is lost: windows of powers of two, for each bit of the length."""
    n, done, p = out.shape[1], 0, 1
    while True:
        if length & p:
            if done == 0:
                _copy(out, line)
            else:
                part = slice(done, done + n)
                _join_in_place(out[0], out[1], out[2], line[0, part], line[1, part], line[2, part])
            done += p
        if done == length:
            break
        m = n + length - 2 * p
        _join(
            other[0, :m], other[1, :m], other[2, :m], line[0, :m], line[1, :m], line[2, :m],
            line[0, p : p + m], line[1, p : p + m], line[2, p : p + m],
        )  # fmt: skip
        line, other = other, line
        p *= 2


@device
def _get(out, x, skipped, row, columns, line, other, length, fill, beyond, level):
    """Fold a line of the image, of differences from `level`; padding counts if `beyond`."""
    for j in range(columns.size):
        inside = row >= 0 and columns[j] >= 0
        counts = not skipped[row, columns[j]] if inside else beyond
        value = np.float64(x[row, columns[j]]) if inside else fill
        line[0, j] = 1.0 if counts else 0.0
        value = value - level if counts else 0.0
        line[1, j], line[2, j] = value, value - value  # 0, or NaN if it is not finite
    _fold_line(out, line, other, length)


@device
def _level(x, skipped, rows, columns):
    """Return the sampled pixel closest to 0: an outlier far from 0 would cost the digits of all other pixels."""
    level = np.inf
    for k in range(_SAMPLES):
        row = rows[(2 * k + 1) * rows.size // (2 * _SAMPLES)]
        for m in range(_SAMPLES):
            column = columns[(2 * m + 1) * columns.size // (2 * _SAMPLES)]
            if row >= 0 and column >= 0 and not skipped[row, column]:
                v = np.float64(x[row, column])
                if abs(v) < abs(level):
                    level = v
    return level if abs(level) < np.inf else 0.0


@kernel("counted_var")
def counted_var(x, skipped, rows, columns, size, stride, fill, shrink, root, tile, band, out):
    """Fill `out` with variances of the pixels that are not skipped, or their square roots; NaN where there are none.

    With `shrink`, windows are clipped to the image.
    """
    batch, height, width = out.shape
    down, along = size
    R = out.dtype.type
    full, step = (height - 1) * stride[0] + 1, tile // stride[1] + 1
    bands, tiles = (full + band - 1) // band, (width + step - 1) // step
    for task in prange(batch * bands * tiles):
        b, first = task // (bands * tiles), task // tiles % bands * band
        left, right = task % tiles * step, min((task % tiles + 1) * step, width)
        n, place = (right - left - 1) * stride[1] + 1, left * stride[1]
        here = columns[place : place + n + along - 1]
        level = _level(x[b], skipped[b], rows[first : min(first + band, full) + down - 1], here)
        own, own_lines = np.empty((2, 3, n + along - 1)), np.empty((down + 2, 3, n))
        line, other, lines = lend(own)[0], lend(own)[1], lend(own_lines)
        begun, whole = lines[down], lines[down + 1]
        for i in range(first, min(first + band, full)):
            j = (i - first) % down
            for r in range(i if i == first else i + down - 1, i + down):
                # to where the line was that no window needs any more
                target = lines[(r - first) % down]
                _get(target, x[b], skipped[b], rows[r], here, line, other, along, fill, not shrink, level)
            if j == 0:
                for k in range(down - 2, -1, -1):
                    _add(lines[k], lines[k + 1])
                _copy(whole, lines[0])
            else:
                if j == 1:
                    _copy(begun, lines[0])
                else:
                    _add(begun, lines[j - 1])
                _joined(whole, lines[j], begun)
            if i % stride[0] == 0:
                found = out[b, i // stride[0], left:right]
                for k in range(right - left):
                    v = whole[2, k * stride[1]] / whole[0, k * stride[1]]
                    found[k] = R(np.sqrt(v)) if root else R(v)
        keep(own)
        keep(own_lines)
