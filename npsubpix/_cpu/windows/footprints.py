"""Sums, extrema and variances of windows with a footprint or weights: one pass over a line per pixel of the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to, keep, lend
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, fused, kernel

__all__ = ["BAND", "FOLDS"]

#: Lines of the result that one thread computes one after the other.
BAND = 32


@device
def _copy(line, mask, pixels, skipped, columns, exists, beyond, fill, neutral):
    """Copy a line of the image, and put 1 into the mask of pixels that count: of padding, only if `beyond`."""
    T = line.dtype.type
    for j in range(line.size):
        there = exists and columns[j] >= 0
        line[j] = T(pixels[columns[j]]) if there else fill
        mask[j] = T(1) if there or beyond else T(0)
    if skipped.size > 0 and exists:
        for j in range(line.size):
            if columns[j] >= 0 and skipped[columns[j]]:
                line[j], mask[j] = neutral, T(0)


@fused
def _add(sums, total, line, mask, weight):
    for j in range(sums.size):
        sums[j] += weight * line[j]
        total[j] += weight * mask[j]


@fused
def _add_squares(sums, means, line, mask, weight):
    for j in range(sums.size):
        difference = line[j] - means[j]
        sums[j] += weight * mask[j] * (difference * difference)


@device
def _raise(best, line):
    for j in range(best.size):
        a, b = best[j], line[j]
        best[j] = a if (a >= b) | (a != a) else b


@device
def _lower(best, line):
    for j in range(best.size):
        a, b = best[j], line[j]
        best[j] = a if (a <= b) | (a != a) else b


@device
def _empty(best, counted, value):
    """Put a value into windows without a pixel that counts."""
    for j in range(best.size):
        best[j] = best[j] if counted[j] > 0 else value


@allocating
def _sum(lines, mask, offsets, weights, ends, first, second, third):
    first[:] = 0
    second[:] = 0
    for k in range(weights.size):
        a, c, d = offsets[k]
        _add(first, second, lines[a, c, d:], mask[a, c, d:], weights[k])
    return first


@allocating
def _mean(lines, mask, offsets, weights, ends, first, second, third):
    _sum(lines, mask, offsets, weights, ends, first, second, third)
    for j in range(first.size):
        first[j] = first[j] / second[j]
    return first


@allocating
def _var(lines, mask, offsets, weights, ends, first, second, third):
    _mean(lines, mask, offsets, weights, ends, first, second, third)
    third[:] = 0
    for k in range(weights.size):
        a, c, d = offsets[k]
        _add_squares(third, first, lines[a, c, d:], mask[a, c, d:], weights[k])
    for j in range(third.size):
        third[j] = third[j] / second[j]
    return third


def _extreme(improve: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that finds an extremum of windows; `ends` has the start of the search and the empty result."""

    @allocating
    def find(lines, mask, offsets, weights, ends, first, second, third):
        first[:] = ends[0]
        second[:] = 0
        for k in range(weights.size):
            a, c, d = offsets[k]
            improve(first, lines[a, c, d:])
            _raise(second, mask[a, c, d:])
        _empty(first, second, ends[1])
        return first

    return find


def _folder(name: str, fold_line: Callable[..., Any]) -> Kernel:
    def fold(x, skipped, planes, rows, columns, size, offsets, weights, stride, fill, beyond, ends, subtract, out):
        depth, height, width = out.shape
        T, R = fill.dtype.type, out.dtype.type
        deep, reach, along = size
        bands, n = (height + BAND - 1) // BAND, columns.size
        for task in prange(depth * bands):
            z, first = task // bands, task % bands * BAND
            own, own_sums = np.empty((2, deep, reach, n), T), np.empty((3, n - along + 1), T)
            image, result, kept, sums, places = lend(x), lend(out), lend(own), lend(own_sums), lend(columns)
            absent = lend(skipped)
            for i in range(first, min(first + BAND, height)):
                begin = i * stride[1]
                old = max(reach - stride[1], 0) if i > first else 0  # lines that the last window had too
                for a in range(deep):
                    plane = planes[z * stride[0] + a]
                    for r in range(old):
                        copy_to(kept[0, a, r], kept[0, a, r + stride[1]])
                        copy_to(kept[1, a, r], kept[1, a, r + stride[1]])
                    for r in range(old, reach):
                        row = rows[begin + r]
                        exists, i_in, j_in = plane >= 0 and row >= 0, max(plane, 0), max(row, 0)
                        gaps = absent[i_in, j_in] if absent.size > 0 else absent[0, 0]  # an empty line
                        line, mask = kept[0, a, r], kept[1, a, r]
                        _copy(line, mask, image[i_in, j_in], gaps, places, exists, beyond, fill[0], ends[0])
                values = fold_line(kept[0], kept[1], offsets, weights, ends, sums[0], sums[1], sums[2])
                found = result[z, i]
                for j in range(width):
                    v = R(values[j * stride[2]])
                    found[j] = R(found[j] - v) if subtract else v
            keep(own)
            keep(own_sums)
        keep(x)
        keep(skipped)
        keep(out)
        keep(columns)

    return kernel(name)(fold)


#: Kernels by name.
FOLDS = {
    "sum": _folder("footprint_sum", _sum),
    "mean": _folder("footprint_mean", _mean),
    "var": _folder("footprint_var", _var),
    "min": _folder("footprint_min", _extreme(_lower)),
    "max": _folder("footprint_max", _extreme(_raise)),
}
