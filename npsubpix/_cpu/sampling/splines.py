"""B-spline filters: the coefficients of the splines through the pixels of an image.

Each pole z of a filter is a causal recursion, c[k] = s[k] + z c[k - 1], and an anti-causal one,
d[k] = z (d[k + 1] - c[k]). The border extension sets their initial values.

Lines along the last axis are filtered sixteen at a time, transposed in scratch memory, so that the
inner loops run across lines. Along a line each step waits for the previous one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, fused, kernel
from npsubpix._cpu.sampling.filling import fill_pixels, unfill_pixels
from npsubpix._cpu.sampling.transposition import LANES, transpose_block
from npsubpix._definitions.sampling.borders import GRID_WRAP, REFLECT
from npsubpix._definitions.sampling.splines import POLES, SMALLEST_POWER, filter_rule, gain_of, transposed

__all__ = ["bad_pixels", "spline_coefficients", "spline_coefficients_vjp"]

_COLUMNS = 64


@fused
def _add_times(out, row, factor):
    for j in range(out.size):
        out[j] += factor * row[j]


@fused
def _step_back(row, after, z):
    for j in range(row.size):
        row[j] = z * (after[j] - row[j])


@device
def _scale(row, factor):
    for j in range(row.size):
        row[j] *= factor


@device
def _begin_forward(lines, j0, j1, z, rule, total):
    """Replace the first row by the initial value of the causal recursion, summed over the border extension."""
    n = lines.shape[0]
    F = lines.dtype.type
    first = total[: j1 - j0]
    if rule == GRID_WRAP:
        period, offset, start = n, 0, 1
    elif rule == REFLECT:
        period, offset, start = 2 * n, 1, 1
    else:
        period, offset, start = 2 * n - 2, 0, 1
    copy_to(first, lines[0][j0:j1])
    power = 1.0
    for k in range(start, period):
        power *= z
        if abs(power) < SMALLEST_POWER:
            break
        m = n - k if rule == GRID_WRAP else k - offset
        if m >= n:
            m = period - k
        _add_times(first, lines[m][j0:j1], F(power))
    _scale(first, F(1.0 / (1.0 - z**period)))
    copy_to(lines[0][j0:j1], first)


@device
def _begin_backward(lines, j0, j1, z, rule, total):
    n = lines.shape[0]
    F = lines.dtype.type
    last = lines[n - 1][j0:j1]
    if rule == REFLECT:
        _scale(last, F(z / (z - 1.0)))
    elif rule == GRID_WRAP:
        sums = total[: j1 - j0]
        copy_to(sums, last)
        power = 1.0
        for k in range(n - 1):
            power *= z
            if abs(power) < SMALLEST_POWER:
                break
            _add_times(sums, lines[k][j0:j1], F(power))
        _scale(sums, F(-z / (1.0 - z**n)))
        copy_to(last, sums)
    else:
        _add_times(last, lines[n - 2][j0:j1], F(z))
        _scale(last, F(z / (z * z - 1.0)))


@fused
def _forward(lines, z):
    """Filter lines side by side, flat, each step from the one before: a distance that vector code allows for."""
    for k in range(LANES, lines.size):
        lines[k] += z * lines[k - LANES]


@fused
def _backward(lines, z):
    for k in range(lines.size - LANES - 1, -1, -1):
        lines[k] = z * (lines[k + LANES] - lines[k])


@allocating
def _filter_lines(lines, flat, j0, j1, poles, rule):
    """Filter the columns j0 to j1 of rows, which are also passed flat if there are as many columns as lanes."""
    n = lines.shape[0]
    F = lines.dtype.type
    total = np.empty(j1 - j0, F)
    for p in range(poles.size):
        z = poles[p]
        _begin_forward(lines, j0, j1, z, rule, total)
        if flat.size > 0:
            _forward(flat, F(z))
        else:
            for i in range(1, n):
                _add_times(lines[i][j0:j1], lines[i - 1][j0:j1], F(z))
        _begin_backward(lines, j0, j1, z, rule, total)
        if flat.size > 0:
            _backward(flat, F(z))
        else:
            for i in range(n - 2, -1, -1):
                _step_back(lines[i][j0:j1], lines[i + 1][j0:j1], F(z))


@device
def _turn(out, rows, gain):
    begin = 0
    if rows.shape[0] == LANES and rows.strides[1] == rows.itemsize:
        while begin + LANES <= rows.shape[1]:
            transpose_block(out, begin, 0, rows, 0, begin, gain)
            begin += LANES
    for i in range(rows.shape[0]):
        for j in range(begin, rows.shape[1]):
            out[j, i] = gain * out.dtype.type(rows[i, j])


@device
def _turn_back(out, lines):
    begin = 0
    if out.shape[0] == LANES:
        while begin + LANES <= out.shape[1]:
            transpose_block(out, 0, begin, lines, begin, 0, out.dtype.type(1.0))
            begin += LANES
    for i in range(out.shape[0]):
        for j in range(begin, out.shape[1]):
            out[i, j] = lines[j, i]


@kernel("spline_rows")
def _rows_kernel(source, out, poles, gain, rule):
    """Filter along the last axis, from one array to another."""
    count, n = source.shape
    F = out.dtype.type
    for r in prange((count + LANES - 1) // LANES):
        first = r * LANES
        last = min(first + LANES, count)
        flat = np.zeros(n * LANES, F)
        lines = flat.reshape((n, LANES))
        _turn(lines, source[first:last], F(gain))
        _filter_lines(lines, flat, 0, LANES, poles, rule)
        _turn_back(out[first:last], lines)


@kernel("spline_columns")
def _columns_kernel(x, poles, rule):
    """Filter along the middle of three axes, in place."""
    outer, _, inner = x.shape
    blocks = (inner + _COLUMNS - 1) // _COLUMNS
    nothing = np.empty(0, x.dtype)
    for r in prange(outer * blocks):
        begin = r % blocks * _COLUMNS
        _filter_lines(x[r // blocks], nothing, begin, min(begin + _COLUMNS, inner), poles, rule)


def bad_pixels(x: HostArray) -> HostArray | None:
    """Return which pixels of an array are not finite, None if all are."""
    bad = None if x.dtype.kind in "iu" else ~np.isfinite(x)
    return bad if bad is not None and bad.any() else None


def spline_coefficients(x: HostArray, degree: int, mode: str, axes: int, dtype: np.dtype[np.floating]) -> HostArray:
    """Filter the last axes of an array; the coefficients of pixels that are not finite are NaN."""
    coefficients = _filtered(x, degree, mode, axes, dtype)
    bad = bad_pixels(x) if _is_spoilt(coefficients, axes) else None
    if bad is None:
        return coefficients
    coefficients = _filtered(_replaced(fill_pixels, x.astype(dtype, copy=False), bad, axes), degree, mode, axes, dtype)
    coefficients[bad] = np.nan
    return coefficients


def _is_spoilt(filtered: HostArray, axes: int) -> bool:
    """Return whether an array was filtered that had a number that is not finite: the recursion takes it to each end."""
    own = filtered.shape[filtered.ndim - axes :]
    first: Any = (..., *(0,) * axes)
    return filtered.size > 0 and max(own) > 1 and not bool(np.isfinite(filtered[first]).all())


def _replaced(kernel: Kernel, x: HostArray, bad: HostArray, axes: int) -> HostArray:
    """Run a kernel that replaces bad pixels of images, or their cotangents, along the last axes of an array."""
    own = x.shape[x.ndim - axes :]
    shape = (math.prod(x.shape[: x.ndim - axes]), *(1,) * (3 - axes), *own)
    out = np.empty(x.shape, x.dtype)
    pixels, wrong = np.ascontiguousarray(x).reshape(shape), np.ascontiguousarray(bad).reshape(shape)
    kernel.run(4 * x.size, pixels, wrong, out.reshape(shape))
    return out


def _filtered(x: HostArray, degree: int, mode: str, axes: int, dtype: np.dtype[np.floating]) -> HostArray:
    poles, rule = np.array(POLES[degree]), filter_rule(mode)
    out = np.empty(x.shape, dtype)
    filtered = [a for a in range(x.ndim - axes, x.ndim) if x.shape[a] > 1]
    gain = math.prod(map(gain_of, POLES[degree])) ** len(filtered)
    if x.size == 0:
        return out
    if x.shape[-1] > 1:
        rows = (-1, x.shape[-1])
        _rows_kernel.run(8 * x.size, x.reshape(rows), out.reshape(rows), poles, gain, rule)
        filtered.pop()
    else:
        np.multiply(x, gain, out=out, casting="unsafe")
    for a in filtered:
        _columns_kernel.run(4 * x.size, out.reshape(math.prod(x.shape[:a]), x.shape[a], -1), poles, rule)
    return out


def spline_coefficients_vjp(
    cotangent: HostArray, degree: int, mode: str, axes: int, bad: HostArray | None = None
) -> HostArray:
    """Apply the transpose of the filter to the last axes of an array; `bad` are pixels that were not finite.

    Cotangents that are not finite do not spoil those of other pixels.
    """
    ends = [a for a in range(cotangent.ndim - axes, cotangent.ndim) if cotangent.shape[a] > 1]

    def filtered(x: HostArray) -> HostArray:
        return _filtered(x, degree, mode, axes, cotangent.dtype)

    def with_scaled_ends(x: HostArray, factor: float) -> HostArray:
        scaled: HostArray = x.copy()
        for a in ends:
            for k in (0, x.shape[a] - 1):
                scaled[(slice(None),) * a + (k,)] *= factor
        return scaled

    bad = bad if ends else None
    if bad is not None:
        cotangent = np.where(bad, 0, cotangent)
    back = transposed(filtered, with_scaled_ends, cotangent, mode)
    unknown = bad_pixels(cotangent) if _is_spoilt(back, axes) else None
    if unknown is not None:
        back = transposed(filtered, with_scaled_ends, np.where(unknown, 0, cotangent), mode)
    if bad is not None:
        back = _replaced(unfill_pixels, back, bad, axes)
    if unknown is not None:
        back[unknown] = np.nan
    return back
