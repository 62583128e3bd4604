"""Sums and extrema of windows, at a cost that does not depend on their size.

Along a line, a window of 2, 4, 8, … pixels is joined from two of half the length, and a window of any
length from these: vector code. Across lines [1]_, lines are divided into blocks as long as the window.
A window is the end of one block and the beginning of the next, and both are accumulated, the ends
backwards. No sum is subtracted from another: NaN and huge values affect only windows that contain them.

References
----------
.. [1] M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and
   octagonal kernels", Pattern Recognition Letters 13, 517-521 (1992).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to, keep, lend
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, kernel

__all__ = ["RUNNING", "columns_of_tile", "rows_of_band"]

_CACHED = 1 << 18  # bytes of lines that are kept for a block: they stay in the second cache


def rows_of_band(length: int) -> int:
    """Return how many lines of the result one thread computes one after the other: whole blocks."""
    return -(-max(64, 4 * length) // length) * length


def columns_of_tile(length: int, itemsize: int) -> int:
    """Return how many pixels of a line are processed together."""
    return min(max(_CACHED // (length * itemsize), 256), 4096)


@device
def _sum(a, b):
    return a + b


@device
def _maximum(a, b):
    return a if (a >= b) | (a != a) else b


@device
def _minimum(a, b):
    return a if (a <= b) | (a != a) else b


@device
def _same(v):
    return v


def _keys(dtype: Any, nan: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make functions from the bits of floats to integers of their order, with NaN as `nan`, and back."""
    info, infinite = np.iinfo(dtype), int(np.array(np.inf, f"f{np.dtype(dtype).itemsize}").view(dtype))
    most = int(info.max)

    @device
    def to_key(bits):
        key = bits ^ most if bits < 0 else bits
        return nan if (bits & most) > infinite else key

    @device
    def to_bits(key):
        return key ^ most if key < 0 else key

    return to_key, to_bits


def _folder(
    name: str, combine: Callable[..., Any], overlaps: bool,
    load: Callable[..., Any] = _same, save: Callable[..., Any] = _same,
) -> Kernel:  # fmt: skip
    """Make the kernel of an operation on what pixels are loaded as; `overlaps` if pixels may count twice."""

    @device
    def join(out, a, b):
        for k in range(out.size):
            j = np.uint64(k)  # no index is negative, and so none is counted from the end
            out[j] = combine(a[j], b[j])

    @device
    def add(out, a):
        for k in range(out.size):  # in place: vector code is for arrays that do not overlap
            j = np.uint64(k)
            out[j] = combine(out[j], a[j])

    @device
    def join_three(out, a, b, c):
        for k in range(out.size):
            j = np.uint64(k)
            out[j] = combine(combine(a[j], b[j]), c[j])

    @device
    def save_three(out, a, b, c):
        T = out.dtype.type
        for k in range(out.size):
            j = np.uint64(k)
            out[j] = T(save(combine(combine(a[j], b[j]), c[j])))

    @device
    def fold_short(out, pixels, length):
        """Join the up to three pixels of each window, from whatever they are."""
        T = out.dtype.type
        if length == 1:
            for k in range(out.size):
                out[k] = T(load(pixels[k]))
        elif length == 2:
            b = pixels[1:]
            for k in range(out.size):
                j = np.uint64(k)
                out[j] = combine(T(load(pixels[j])), T(load(b[j])))
        else:
            b, c = pixels[1:], pixels[2:]
            for k in range(out.size):
                j = np.uint64(k)
                out[j] = combine(combine(T(load(pixels[j])), T(load(b[j]))), T(load(c[j])))

    @device
    def fold_any(out, line, other, length):
        """Join windows of powers of two, one for each bit of the length."""
        n, done, p = out.size, 0, 1
        while True:
            if length & p:
                if done == 0:
                    copy_to(out, line[:n])
                else:
                    add(out, line[done : done + n])
                done += p
            if done == length:
                break
            m = n + length - 2 * p
            join(other[:m], line[:m], line[p : p + m])
            line, other = other, line
            p *= 2

    @device
    def fold_overlapping(out, line, other, length):
        """Join two windows of the largest power of two."""
        n, p = out.size, 1
        while 2 * p < length:
            m = n + length - 2 * p
            join(other[:m], line[:m], line[p : p + m])
            line, other = other, line
            p *= 2
        join(out, line[:n], line[length - p : length - p + n])

    fold_long = fold_overlapping if overlaps else fold_any

    @device
    def fold_loaded(out, line, length):
        if length == 1:
            copy_to(out, line)
        elif length == 2:
            join(out, line[: out.size], line[1:])
        else:
            join_three(out, line[: out.size], line[1:], line[2:])

    @device
    def fold_line(out, line, other, length):
        """Join all pixels of each window of a line, which is lost."""
        if length <= 3:
            fold_loaded(out, line, length)
        else:
            fold_long(out, line, other, length)

    @device
    def copy(line, pixels, columns, fill):
        T = line.dtype.type
        for j in range(line.size):
            line[j] = T(load(pixels[columns[j]])) if columns[j] >= 0 else fill

    @device
    def copy_inner(line, pixels):
        T = line.dtype.type
        for j in range(line.size):
            line[j] = T(load(pixels[j]))

    @allocating
    def get(out, x, row, columns, first, line, other, length, fill):
        """Fold a line of the image, from place `first` of its columns on."""
        n, start = line.size, columns[first]
        inside = row >= 0 and start >= 0 and columns[first + n - 1] == start + n - 1
        if inside and length <= 3:
            fold_short(out, x[row, start : start + n], length)
            return
        if inside:
            copy_inner(line, x[row, start : start + n])
        elif row >= 0:
            copy(line, x[row], columns[first : first + n], fill)
        else:
            line[:] = fill
        fold_line(out, line, other, length)

    @device
    def write(out, values, scales, scale, stride, subtract):
        T = out.dtype.type
        if subtract:
            for j in range(out.size):
                out[j] = T(out[j] - T(values[j * stride]))
        elif scales.size:
            for j in range(out.size):
                out[j] = T(values[j * stride] * (scale * scales[j]))
        elif stride == 1:
            for j in range(out.size):
                out[j] = T(save(values[j]))
        else:
            for j in range(out.size):
                out[j] = T(save(values[j * stride]))

    def fold(x, rows, columns, size, stride, fill, row_scales, column_scales, tile, band, subtract, out):
        batch, height, width = out.shape
        down, along = size
        T = fill.dtype.type
        beyond = T(load(fill[0]))
        full, step = (height - 1) * stride[0] + 1, tile // stride[1] + 1
        bands, tiles = (full + band - 1) // band, (width + step - 1) // step
        plain = stride[1] == 1 and column_scales.size == 0 and not subtract
        for task in prange(batch * bands * tiles):
            b, first = task // (bands * tiles), task // tiles % bands * band
            left, right = task % tiles * step, min((task % tiles + 1) * step, width)
            n, place = (right - left - 1) * stride[1] + 1, left * stride[1]
            own = np.empty(2 * (n + along - 1) + (down + 2) * n, T)
            image, result, scratch = lend(x), lend(out), lend(own)
            line, other = scratch[: n + along - 1], scratch[n + along - 1 : 2 * (n + along - 1)]
            begun, whole = scratch[2 * (n + along - 1) :][:n], scratch[2 * (n + along - 1) + n :][:n]
            lines = scratch[2 * (n + along - 1) + 2 * n :].reshape(down, n)
            scales = lend(column_scales)[left:right] if column_scales.size else lend(column_scales)
            of_places = lend(columns)
            for i in range(first, min(first + band, full)):
                j = (i - first) % down
                if i == first or down <= 3:
                    for r in range(i + down - 1 if i > first else i, i + down):
                        get(lines[(r - first) % down], image[b], rows[r], of_places, place, line, other, along, beyond)
                else:  # to where the line was that no window needs any more
                    r, k = i + down - 1, down - 1 if j == 0 else j - 1
                    get(lines[k], image[b], rows[r], of_places, place, line, other, along, beyond)
                if down == 3 and plain and i % stride[0] == 0:
                    save_three(result[b, i // stride[0], left:right], lines[0], lines[1], lines[2])
                    continue
                if down == 1:
                    copy_to(whole, lines[0])
                elif down == 2:
                    join(whole, lines[0], lines[1])
                elif down == 3:
                    join_three(whole, lines[0], lines[1], lines[2])
                elif j == 0:
                    for k in range(down - 2, -1, -1):
                        add(lines[k], lines[k + 1])
                    copy_to(whole, lines[0])
                else:
                    if j == 1:
                        copy_to(begun, lines[0])
                    else:
                        add(begun, lines[j - 1])
                    join(whole, lines[j], begun)
                if i % stride[0] == 0:
                    q = i // stride[0]
                    scale = row_scales[q] if row_scales.size else T(1)
                    write(result[b, q, left:right], whole, scales, scale, stride[1], subtract)
            keep(own)
        keep(x)
        keep(out)
        keep(columns)
        keep(column_scales)

    return kernel(name)(fold)


#: Kernels by name; those of floats take their bits, whose order a comparison of integers finds, with NaN beyond all.
RUNNING = {
    "sum": _folder("running_sum", _sum, overlaps=False),
    "min": _folder("running_min", _minimum, overlaps=True),
    "max": _folder("running_max", _maximum, overlaps=True),
    **{
        f"{name} of {bits}": _folder(f"running_{name}_{bits}", combine, True, *_keys(bits, nan))
        for name, combine in (("min", _minimum), ("max", _maximum))
        for bits in ("int32", "int64")
        for nan in (int(np.iinfo(bits).min if name == "min" else np.iinfo(bits).max),)
    },
}
