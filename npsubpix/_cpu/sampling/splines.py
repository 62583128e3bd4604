"""From the pixels of an image to the coefficients of the B-splines that go through them.

Each pole z of the filter is one run forward, c[k] = s[k] + z c[k - 1], and one backward,
d[k] = z (d[k + 1] - c[k]). Where the runs begin depends on how the image goes on beyond its ends.
Source: Unser, Aldroubi and Eden, "B-spline signal processing: part II", IEEE Transactions on Signal
Processing 41 (1993).

Lines along the last axis are worked on sixteen at a time, turned around in scratch memory, so that
the loops run across lines and not along them, where each step waits for the one before.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import device, fused, kernel
from npsubpix._cpu.sampling.borders import GRID_WRAP, MIRROR, REFLECT
from npsubpix._definitions.sampling import POLES, mode_of_filter

__all__ = ["spline_coefficients", "spline_coefficients_vjp"]

_LANES = 16
_COLUMNS = 64
_SMALL = 1e-17  # powers of a pole below this are nothing


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
    """Replace the first row by what the run forward has there, summed over the image beyond it."""
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
        if abs(power) < _SMALL:
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
            if abs(power) < _SMALL:
                break
            _add_times(sums, lines[k][j0:j1], F(power))
        _scale(sums, F(-z / (1.0 - z**n)))
        copy_to(last, sums)
    else:
        _add_times(last, lines[n - 2][j0:j1], F(z))
        _scale(last, F(z / (z * z - 1.0)))


@device
def _filter_lines(lines, j0, j1, poles, rule):
    """Filter the columns j0 to j1 of rows."""
    n = lines.shape[0]
    F = lines.dtype.type
    total = np.empty(j1 - j0, F)
    for p in range(poles.size):
        z = poles[p]
        _begin_forward(lines, j0, j1, z, rule, total)
        for i in range(1, n):
            _add_times(lines[i][j0:j1], lines[i - 1][j0:j1], F(z))
        _begin_backward(lines, j0, j1, z, rule, total)
        for i in range(n - 2, -1, -1):
            _step_back(lines[i][j0:j1], lines[i + 1][j0:j1], F(z))


@device
def _turn(out, rows, gain):
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            out[j, i] = gain * out.dtype.type(rows[i, j])


@device
def _turn_back(out, lines):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = lines[j, i]


@kernel("spline_rows")
def _rows_kernel(source, out, poles, gain, rule):
    """Filter along the last axis, from one array to another."""
    count, n = source.shape
    F = out.dtype.type
    for r in prange((count + _LANES - 1) // _LANES):
        first = r * _LANES
        last = min(first + _LANES, count)
        lines = np.zeros((n, _LANES), F)
        _turn(lines, source[first:last], F(gain))
        _filter_lines(lines, 0, _LANES, poles, rule)
        _turn_back(out[first:last], lines)


@kernel("spline_columns")
def _columns_kernel(x, poles, rule):
    """Filter along the middle of three axes, in place."""
    outer, _, inner = x.shape
    blocks = (inner + _COLUMNS - 1) // _COLUMNS
    for r in prange(outer * blocks):
        begin = r % blocks * _COLUMNS
        _filter_lines(x[r // blocks], begin, min(begin + _COLUMNS, inner), poles, rule)


_RULES = {"mirror": MIRROR, "reflect": REFLECT, "grid-wrap": GRID_WRAP}


def _rule(mode: str) -> int:
    return _RULES[mode_of_filter(mode)]


def spline_coefficients(x: HostArray, degree: int, mode: str, axes: int, dtype: np.dtype[np.floating]) -> HostArray:
    """Filter the last axes of an array."""
    poles, rule = np.array(POLES[degree]), _rule(mode)
    out = np.empty(x.shape, dtype)
    filtered = [a for a in range(x.ndim - axes, x.ndim) if x.shape[a] > 1]
    gain = float(np.prod((1 - poles) * (1 - 1 / poles))) ** len(filtered)
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


def spline_coefficients_vjp(cotangent: HostArray, degree: int, mode: str, axes: int) -> HostArray:
    """Apply the transpose of the filter to the last axes of an array.

    The filter is the inverse of a matrix that is symmetric, except where the image is mirrored about
    its outermost pixels: there it becomes so if their rows are halved.
    """
    if _rule(mode) != MIRROR:
        return spline_coefficients(cotangent, degree, mode, axes, cotangent.dtype)
    ends = [a for a in range(cotangent.ndim - axes, cotangent.ndim) if cotangent.shape[a] > 1]
    doubled = cotangent.copy()
    _scale_ends(doubled, ends, 2.0)
    out = spline_coefficients(doubled, degree, mode, axes, cotangent.dtype)
    _scale_ends(out, ends, 0.5)
    return out


def _scale_ends(x: HostArray, axes: list[int], factor: float) -> None:
    for a in axes:
        for k in (0, x.shape[a] - 1):
            x[(slice(None),) * a + (k,)] *= factor
