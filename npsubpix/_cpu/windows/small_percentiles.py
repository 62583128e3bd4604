"""Percentiles of small windows: networks that sort them, for many windows at once as vector code.

A sorting network [1]_ is a fixed list of pairs, each of which is put in order. The compiler removes
comparisons that do not lead to the requested ranks.

References
----------
.. [1] K. E. Batcher, "Sorting networks and their applications", AFIPS Spring Joint Computer
   Conference 1968, 307-314.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange, types
from numba.extending import intrinsic

from npsubpix._cpu.compiler.intrinsics import copy_to, keep, lend
from npsubpix._cpu.compiler.jit import Kernel, device, kernel, made_once
from npsubpix._cpu.formulas.sorting import insert
from npsubpix._definitions.percentiles import rank_of

__all__ = ["LARGEST", "compiled_rank_of", "interpolated", "small_percentiles"]

#: Largest number of pixels of a window that is sorted by a network.
LARGEST = 27

_BAND, _TILE = 32, 1024  # lines of the result that one thread computes one after the other, and pixels of a line
_LINE = _TILE + LARGEST  # from one line that is kept to the next


def network(count: int) -> list[tuple[int, int]]:
    """Return the pairs of Batcher's odd-even merge sort of `count` numbers."""
    pairs, p = [], 1
    while p < count:
        k = p
        while k:
            for j in range(k % p, count - k, 2 * k):
                places = range(j, j + min(k, count - j - k))
                pairs += [(i, i + k) for i in places if i // (2 * p) == (i + k) // (2 * p)]
            k //= 2
        p *= 2
    return pairs


def _sorter(lines: int, length: int, rank: int, last: int) -> Callable[..., Any]:
    """Make a function (pixels, j) that returns two ranks of the pixels from j on of lines that start `_LINE` apart."""
    pairs = network(lines * length)
    places = [line * _LINE + k for line in range(lines) for k in range(length)]

    @intrinsic  # type: ignore[untyped-decorator]
    def sort(typing_context: Any, array: Any, place: Any) -> Any:
        number = array.dtype

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            first = builder.gep(data, [args[1]], inbounds=True)
            values = [builder.load(builder.gep(first, [args[1].type(k)], inbounds=True)) for k in places]
            if isinstance(number, types.Float):
                compare = builder.fcmp_ordered
            else:
                compare = builder.icmp_signed if number.signed else builder.icmp_unsigned
            for i, k in pairs:
                v, w = values[i], values[k]
                values[i], values[k] = (builder.select(compare(sign, v, w), v, w) for sign in "<>")
            return context.make_tuple(builder, signature.return_type, [values[rank], values[last]])

        return types.UniTuple(number, 2)(array, place), generate

    return sort  # type: ignore[no-any-return]


compiled_rank_of = device(rank_of)


@device
def interpolated(like, low, high, fraction, integer):
    """Interpolate between two pixels of the dtype of `like`; integers are rounded, and stay between the two."""
    T = like.dtype.type
    a, b = np.float64(low), np.float64(high)
    v = (1 - fraction) * a + fraction * b
    v = np.rint(v) if integer else v
    if fraction == 0 or low == high or v <= a:
        return low
    return high if v >= b else T(v)


@device
def _sorted_percentile(values, count, quantile, integer, none):
    """Sort the first numbers and return a percentile; NaN if one is, and `none` if there are no numbers."""
    if count == 0:
        return none
    for k in range(count):
        if values[k] != values[k]:
            return values[k]
    insert(values[:count])
    rank, fraction = compiled_rank_of(quantile, count)
    return interpolated(values, values[rank], values[min(rank + 1, count - 1)], fraction, integer)


@device
def _copy(line, pixels, columns, fill):
    """Copy a line of the image; tell whether it has NaN."""
    T, n = line.dtype.type, line.size
    if columns[0] >= 0 and columns[n - 1] == columns[0] + n - 1:
        copy_to(line, pixels[columns[0] : columns[0] + n])
    else:
        for j in range(n):
            line[j] = T(pixels[columns[j]]) if columns[j] >= 0 else fill
    missing = 0
    for j in range(n):
        missing += line[j] != line[j]
    return missing > 0


@device
def _has_skipped(skipped, columns):
    """Tell whether a line has pixels that do not count."""
    found = False
    for j in range(columns.size):
        found |= columns[j] >= 0 and skipped[columns[j]]
    return found


@device
def _gather(values, x, skipped, planes, rows, columns, shrink, fill):
    """Copy the pixels of one window that count, of the image and beyond it; return how many there are."""
    T = values.dtype.type
    count = 0
    for z in planes:
        for y in rows:
            for c in columns:
                inside = z >= 0 and y >= 0 and c >= 0
                counts = inside or not shrink
                if inside and skipped.size > 0:
                    counts = not skipped[z, y, c]
                if counts:
                    values[count] = T(x[z, y, c]) if inside else fill
                    count += 1
    return count


def small_percentiles(size: tuple[int, ...], quantile: float) -> Kernel:
    """Return the kernel that finds a quantile, from 0 to 1, of windows of up to `LARGEST` pixels."""
    return _sorting_kernel(*size, *rank_of(quantile, math.prod(size)))


@made_once
def _sorting_kernel(deep: int, tall: int, wide: int, rank: int, fraction: float) -> Kernel:
    """Make the kernel of windows of a size, whose clipped windows take the quantile from an argument."""
    last = min(rank + 1, deep * tall * wide - 1)
    sort, between = _sorter(deep * tall, wide, rank, last if fraction else rank), fraction > 0

    @device
    def sort_line(out, lines, integer):
        for k in range(out.size):
            j = np.uint64(k)
            low, high = sort(lines, j)
            out[j] = interpolated(out, low, high, fraction, integer) if between else low

    @device
    def write(out, line, stride):
        if stride == 1:
            copy_to(out, line[: out.size])
        else:
            for j in range(out.size):
                out[j] = line[j * stride]

    def find(x, skipped, planes, rows, columns, edges, stride, quantile, shrink, integer, fill, none, out):
        depth, height, width = out.shape
        T = fill.dtype.type
        step = _TILE // stride[2] if stride[2] < _TILE else 1
        bands, tiles = (height + _BAND - 1) // _BAND, (width + step - 1) // step
        for task in prange(depth * bands * tiles):
            z, first, left = task // (bands * tiles), task // tiles % bands * _BAND, task % tiles * step
            right = min(left + step, width)
            n = (right - left - 1) * stride[2] + 1
            own, missing = np.empty(deep * tall * _LINE, T), np.zeros((deep, tall), np.bool_)
            found, values = np.empty(n, T), np.empty(deep * tall * wide, T)
            image, lines, line, image_out, absent = lend(x), lend(own), lend(found), lend(out), lend(skipped)
            here = lend(columns)[left * stride[2] : left * stride[2] + n + wide - 1]
            for i in range(first, min(first + _BAND, height)):
                begin = i * stride[1]
                old = max(tall - stride[1], 0) if i > first else 0  # lines that the last window had too
                any_missing, whole = False, True
                for a in range(deep):
                    plane = planes[z * stride[0] + a]
                    whole &= plane >= 0
                    for r in range(tall):
                        row, k = rows[begin + r], (a * tall + r) * _LINE
                        whole &= row >= 0
                        if r < old:
                            m = k + stride[1] * _LINE
                            copy_to(lines[k : k + here.size], lines[m : m + here.size])
                            missing[a, r] = missing[a, r + stride[1]]
                        elif plane >= 0 and row >= 0:
                            missing[a, r] = _copy(lines[k : k + here.size], image[plane, row], here, fill[0])
                            if absent.size > 0:
                                missing[a, r] |= _has_skipped(absent[plane, row], here)
                        else:
                            lines[k : k + here.size] = fill[0]
                            missing[a, r] = fill[0] != fill[0]
                        any_missing |= missing[a, r]
                if integer:
                    sort_line(line, lines, True)
                else:
                    sort_line(line, lines, False)
                easy, end = left, left  # windows that are whole, with no NaN
                if not any_missing and (whole or not shrink):
                    easy = min(max(-(-edges[0] // stride[2]), left), right)
                    end = min(max(-(-edges[1] // stride[2]), left), right)
                    end = max(easy, end)
                    write(image_out[z, i, easy:end], line[(easy - left) * stride[2] :], stride[2])
                for m in range(right - left - (end - easy)):
                    j = left + m if left + m < easy else left + m + end - easy
                    c = here[(j - left) * stride[2] :][:wide]
                    down, deeper = rows[begin : begin + tall], planes[z * stride[0] : z * stride[0] + deep]
                    count = _gather(values, image, absent, deeper, down, c, shrink, fill[0])
                    image_out[z, i, j] = _sorted_percentile(values, count, quantile, integer, none[0])
            keep(own)
            keep(found)
        keep(x)
        keep(skipped)
        keep(columns)
        keep(out)

    return kernel(f"percentile_{deep}_{tall}_{wide}_{rank}_{fraction}")(find)
