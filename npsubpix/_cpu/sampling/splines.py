"""B-spline filters: the coefficients of the splines through the pixels of an image.

Each pole z of a filter is a causal recursion, c[k] = s[k] + z c[k - 1], and an anti-causal one,
d[k] = z (d[k + 1] - c[k]). The border extension sets their initial values.

Lines along the last axis are filtered sixteen at a time, transposed in scratch memory, so that the
inner loops run across lines. Along a line each step waits for the previous one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import copy_to, on_stack
from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel
from npsubpix._cpu.sampling.filling import fill_pixels, unfill_pixels
from npsubpix._cpu.sampling.transposition import LANES, transpose_block
from npsubpix._definitions.sampling.borders import GRID_WRAP, REFLECT
from npsubpix._definitions.sampling.splines import POLES, SMALLEST_POWER, filter_rule, gain_of, transposed

__all__ = ["bad_pixels", "spline_coefficients", "spline_coefficients_vjp"]

_COLUMNS = 64

#: A line of a block of columns, or of transposed rows.
_total = on_stack((_COLUMNS,))


@fused
def _add_times(out, row, factor):
    for j in range(out.size):
        out[j] += factor * row[j]


@fused
def _step_back(row, after, z):
    for j in range(row.size):
        row[j] = z * (after[j] - row[j])


@device
def _scale(out, row, factor):
    for j in range(row.size):
        out[j] = row[j] * factor


@device
def _begin(lines, begun, j0, j1, start, total):
    """Replace a row by the initial value of a recursion: a sum of rows, scaled."""
    places, factors, scale = start
    first = total[: j1 - j0]
    copy_to(first, lines[begun][j0:j1])
    for k in range(places.size):
        if places[k] < 0:
            break
        _add_times(first, lines[places[k]][j0:j1], factors[k])
    _scale(lines[begun][j0:j1], first, scale)


@fused
def _forward(lines, z):
    """Filter lines side by side, flat, each step from the one before: a distance that vector code allows for."""
    for k in range(LANES, lines.size):
        lines[k] += z * lines[k - LANES]


@fused
def _backward(lines, z):
    for k in range(lines.size - LANES - 1, -1, -1):
        lines[k] = z * (lines[k + LANES] - lines[k])


@device
def _filter_lines(lines, flat, j0, j1, poles, places, factors, scales):
    """Filter the columns j0 to j1 of rows, which are also passed flat if there are as many columns as lanes."""
    n = lines.shape[0]
    total = _total(lines.dtype.type)
    for p in range(poles.size):
        z = poles[p]
        for backwards in range(2):
            start = places[p, backwards], factors[p, backwards], scales[p, backwards]
            _begin(lines, (n - 1) * backwards, j0, j1, start, total)
            if backwards == 0:
                if flat.size > 0:
                    _forward(flat, z)
                else:
                    for i in range(1, n):
                        _add_times(lines[i][j0:j1], lines[i - 1][j0:j1], z)
            elif flat.size > 0:
                _backward(flat, z)
            else:
                for i in range(n - 2, -1, -1):
                    _step_back(lines[i][j0:j1], lines[i + 1][j0:j1], z)


@device
def _transpose(out, x, rows, columns, factor):
    """Write the first rows and columns of an array, times a factor."""
    in_blocks = rows // LANES * LANES, columns // LANES * LANES
    for i in range(0, in_blocks[0], LANES):
        for j in range(0, in_blocks[1], LANES):
            transpose_block(out, j, i, x, i, j, factor)
    for i in range(rows):
        for j in range(in_blocks[1] if i < in_blocks[0] else 0, columns):
            out[j, i] = factor * out.dtype.type(x[i, j])


@kernel("spline_filter", late=True)
def _filter(count, source, out, n, along_rows, gain, poles, places, factors, scales):
    """Filter lines of n pixels: some rows, from one array to another, or some columns of the second array, in place."""
    F = out.dtype.type
    blocks = (out.shape[1] + _COLUMNS - 1) // _COLUMNS
    for task in prange(count):
        first, last = task * LANES, min((task + 1) * LANES, out.shape[0])
        flat = np.zeros(n * LANES if along_rows else 0, F)
        if along_rows:
            lines, begin, end = flat.reshape((n, LANES)), 0, LANES
            _transpose(lines, source[first:last], last - first, n, F(gain))
        else:
            image = task // blocks
            lines, begin = out[image * n : (image + 1) * n], task % blocks * _COLUMNS
            end = min(begin + _COLUMNS, out.shape[1])
        _filter_lines(lines, flat, begin, end, poles, places, factors, scales)
        if along_rows:
            _transpose(out[first:last], lines, n, last - first, F(1.0))


@functools.lru_cache(maxsize=64)
def _starts(degree: int, rule: int, n: int, dtype: np.dtype[np.floating]) -> tuple[HostArray, ...]:
    """Return what starts the recursions along lines of n pixels, for each pole forward and backward.

    The initial value is the sum of the first row, or the last, and of the rows at some places times factors, scaled:
    a sum over the border extension. Places end with -1.
    """
    starts = [start(z, rule, n) for z in POLES[degree] for start in (_start_forward, _start_backward)]
    longest = max(len(terms) for terms, _ in starts) + 1
    places = np.array([[m for m, _ in terms] + [-1] * (longest - len(terms)) for terms, _ in starts])
    factors = np.array([[f for _, f in terms] + [0.0] * (longest - len(terms)) for terms, _ in starts], dtype)
    scales = np.array([scale for _, scale in starts], dtype)
    shape = len(POLES[degree]), 2
    return places.reshape(*shape, -1), factors.reshape(*shape, -1), scales.reshape(shape)


def _start_forward(z: float, rule: int, n: int) -> tuple[list[tuple[int, float]], float]:
    if rule == GRID_WRAP:
        period, rows = n, range(n - 1, 0, -1)
        places = list(rows)
    elif rule == REFLECT:
        period = 2 * n
        places = [*range(n), *range(n - 1, 0, -1)]
    else:
        period = 2 * n - 2
        places = [*range(1, n), *range(n - 2, 0, -1)]
    return _powers(z, places), 1.0 / (1.0 - z**period)


def _start_backward(z: float, rule: int, n: int) -> tuple[list[tuple[int, float]], float]:
    if rule == REFLECT:
        return [], z / (z - 1.0)
    if rule == GRID_WRAP:
        return _powers(z, range(n - 1)), -z / (1.0 - z**n)
    return [(n - 2, z)], z / (z * z - 1.0)


def _powers(z: float, places: Iterable[int]) -> list[tuple[int, float]]:
    """Pair places with the powers of a pole, as far as these matter."""
    terms, power = [], 1.0
    for place in places:
        power *= z
        if abs(power) < SMALLEST_POWER:
            break
        terms.append((place, power))
    return terms


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
    poles, rule = np.array(POLES[degree], dtype), filter_rule(mode)
    out = np.empty(x.shape, dtype)
    filtered = [a for a in range(x.ndim - axes, x.ndim) if x.shape[a] > 1]
    gain = math.prod(map(gain_of, POLES[degree])) ** len(filtered)
    if x.size == 0:
        return out
    width = x.shape[-1]
    source, rows = x.reshape(-1, width), out.reshape(-1, width)
    if width > 1:
        starts = _starts(degree, rule, width, dtype)
        _filter.run(8 * x.size, -(-len(rows) // LANES), source, rows, width, True, gain, poles, *starts)
        filtered.pop()
    else:
        np.multiply(x, gain, out=out, casting="unsafe")
    for a in filtered:
        n, starts = x.shape[a], _starts(degree, rule, x.shape[a], dtype)
        columns = out.reshape(math.prod(x.shape[: a + 1]), -1)
        count = len(columns) // n * -(-columns.shape[1] // _COLUMNS)
        _filter.run(4 * x.size, count, source, columns, n, False, gain, poles, *starts)
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
