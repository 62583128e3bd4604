"""Percentiles of small windows: networks that sort them, for many windows at once as vector code."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to, keep, lend
from npsubpix._cpu.compiler.jit import Kernel, device, kernel, made_once
from npsubpix._cpu.formulas.sorting import insert
from npsubpix._cpu.windows.networks import column_sorter, pair_merger, selector
from npsubpix._definitions.percentiles import rank_of

__all__ = ["LARGEST", "compiled_rank_of", "interpolated", "small_percentiles"]

#: Largest number of pixels of a window that is sorted by a network.
LARGEST = 27

_BAND, _TILE = 32, 1024  # lines of the result that one thread computes one after the other, and pixels of a line
_BLOCK = 64  # pixels that are sorted together: a vector of bytes
_LINE = _TILE + LARGEST + _BLOCK  # from one line that is kept to the next
_BYTES = 1024  # of a line that are sorted before the next ones, so that columns in order stay in the fastest cache


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
def _run_of(columns):
    """Return where the longest run of columns that follow each other in the image begins and ends."""
    first = last = begin = 0
    for j in range(1, columns.size + 1):
        if j == columns.size or columns[j] != columns[j - 1] + 1 or columns[j - 1] < 0:
            if j - begin > last - first:
                first, last = begin, j
            begin = j
    return (first, last) if columns[first] >= 0 else (0, 0)


@device
def _copy(line, pixels, columns, run, fill):
    """Copy a line of the image, of which a run of columns is copied as it is; tell whether it has NaN."""
    T, n = line.dtype.type, line.size
    first, last = run
    for j in range(first):
        line[j] = T(pixels[columns[j]]) if columns[j] >= 0 else fill
    if first < last:
        copy_to(line[first:last], pixels[columns[first] : columns[first] + last - first])
    for j in range(last, n):
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
    lines, between = deep * tall, fraction > 0
    by_columns, by_pairs = lines > 1 and wide > 1, wide >= 4
    in_columns = lines * _LINE if by_columns else 0
    buffers = lines * (1 + by_columns + 2 * by_pairs)
    sort_column, merge_pair = column_sorter(lines, _LINE), pair_merger(lines, _LINE)
    select = selector(lines, wide, (rank, last if between else rank), by_pairs, _LINE)

    @device
    def sort_columns(columns, pixels, count):
        for k in range(count):
            sort_column(pixels, columns, np.uint64(k))

    @device
    def merge_pairs(pairs, columns, count):
        for k in range(count):
            merge_pair(columns, pairs, np.uint64(k))

    @device
    def select_ranks(out, columns, pairs, integer, count):
        for k in range(count):
            j = np.uint64(k)
            low, high = select(columns, pairs, j)
            out[j] = interpolated(out, low, high, fraction, integer) if between else low

    @device
    def sort_line(out, pixels, spare, integer):
        columns, pairs = spare[:in_columns], spare[in_columns:]
        step = _BYTES // out.itemsize
        for begin in range(0, out.size - _BLOCK, step):
            count = min(step, (out.size - _BLOCK - begin + _BLOCK - 1) // _BLOCK * _BLOCK)
            part = pixels[begin:]
            if by_columns:
                sort_columns(columns, part, count + _BLOCK)
                part = columns
            if by_pairs:
                merge_pairs(pairs, part, count + _BLOCK)
            select_ranks(out[begin:], part, pairs, integer, count)

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
            own, missing = np.empty(buffers * _LINE, T), np.zeros((deep, tall), np.bool_)
            found, values = np.empty(n + _BLOCK, T), np.empty(lines * wide, T)
            image, buffer, ranks, image_out, absent = lend(x), lend(own), lend(found), lend(out), lend(skipped)
            ring, spare = buffer[: lines * _LINE], buffer[lines * _LINE :]
            here = lend(columns)[left * stride[2] : left * stride[2] + n + wide - 1]
            run = _run_of(here)
            for i in range(first, min(first + _BAND, height)):
                begin = i * stride[1]
                old = max(tall - stride[1], 0) if i > first else 0  # lines that the last window had too
                any_missing, whole = False, True
                for a in range(deep):
                    plane = planes[z * stride[0] + a]
                    whole &= plane >= 0
                    for r in range(tall):
                        row, place = rows[begin + r], (begin + r) % tall
                        k = (a * tall + place) * _LINE
                        whole &= row >= 0
                        if r >= old:
                            if plane >= 0 and row >= 0:
                                line = ring[k : k + here.size]
                                missing[a, place] = _copy(line, image[plane, row], here, run, fill[0])
                                if absent.size > 0:
                                    missing[a, place] |= _has_skipped(absent[plane, row], here)
                            else:
                                ring[k : k + here.size] = fill[0]
                                missing[a, place] = fill[0] != fill[0]
                        any_missing |= missing[a, place]
                if integer:
                    sort_line(ranks, ring, spare, True)
                else:
                    sort_line(ranks, ring, spare, False)
                easy, end = left, left  # windows that are whole, with no NaN
                if not any_missing and (whole or not shrink):
                    easy = min(max(-(-edges[0] // stride[2]), left), right)
                    end = min(max(-(-edges[1] // stride[2]), left), right)
                    end = max(easy, end)
                    write(image_out[z, i, easy:end], ranks[(easy - left) * stride[2] :], stride[2])
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
