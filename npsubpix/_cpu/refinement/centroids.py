"""Centroids under a Gaussian window that moves with them.

Along an axis on which the image cuts the window, moments would be those of what is seen. There, a Gaussian is fitted
to the planes of the window: for each, the sum of its pixels under the weights of the other axes; by least squares of
the logarithm, with the weights that make the noise of all planes equal (H. Guo, "A simple algorithm for fitting a
Gaussian function", IEEE Signal Processing Magazine 28(5), 2011).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from npsubpix._cpu.compiler.intrinsics import on_stack, shaped
from npsubpix._cpu.compiler.jit import allocating, device, inlined, inlined_fused, summing
from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._cpu.refinement.moments import plane_moments
from npsubpix._definitions.constants import (
    CENTROID_LEAST_FACTOR,
    CENTROID_LEAST_MASS,
    CENTROID_TOLERANCE,
    LEAST_CURVED,
    MOST_AT_CUT,
)
from npsubpix._definitions.flags import PeakFlags

__all__ = ["centroid", "centroid_tables", "ring_mean"]

_NONFINITE = int(PeakFlags.NONFINITE)
_SINGULAR = int(PeakFlags.SINGULAR)
_NOT_CONVERGED = int(PeakFlags.NOT_CONVERGED)
_AT_BORDER = int(PeakFlags.AT_BORDER)
_TOO_FAR = int(PeakFlags.TOO_FAR)
_MOVED = int(PeakFlags.MOVED)
_FIXED_Z = int(PeakFlags.FIXED_Z)
_FIXED_Y = int(PeakFlags.FIXED_Y)
_FIXED_X = int(PeakFlags.FIXED_X)

_ON_STACK = 192  # numbers: the weights of a window of 31 pixels, and what few columns take of one of five


@summing
def _sum_differences(values, first):
    total = 0.0
    for k in range(values.size):
        total += np.float64(values[k]) - first
    return total


@device
def ring_mean(x, d, i, j, hd, hi, hj):
    """Return the mean of the pixels just outside a box of half-widths h, as far as they are in the image; NaN if none.

    Differences from one of them are summed, so that the mean of equal pixels is exact.
    """
    depth, height, width = x.shape
    along = before = after = 0.0
    count = 0
    outer = 1 if hd > 0 else 0
    left, right = j - hj - 1, j + hj + 1
    begin, end = max(left, 0), min(right + 1, width)
    has_left, has_right = left >= 0, right < width
    first = np.float64(x[max(d - hd - outer, 0), max(i - hi - 1, 0), begin])
    for a in range(max(d - hd - outer, 0), min(d + hd + outer + 1, depth)):
        for b in range(max(i - hi - 1, 0), min(i + hi + 2, height)):
            if abs(b - i) == hi + 1 or abs(a - d) == hd + 1:
                along += _sum_differences(x[a, b, begin:end], first)
                count += end - begin
                continue
            if has_left:
                before += np.float64(x[a, b, left]) - first
                count += 1
            if has_right:
                after += np.float64(x[a, b, right]) - first
                count += 1
    return (first + (along + before + after) / count if count > 0 else 0.0), count


@inlined
def _nearest(position):
    """Return the nearest pixel, of two the even one, as `round` does in more time."""
    return np.int64(np.rint(position))


@inlined_fused
def _weight(u, inverse):
    """Gaussian weight at a distance, of the inverse of its standard deviation."""
    t = u * inverse
    return exponential64(-0.5 * t * t)


@device
def _weights(first, position, spread, out):
    """Gaussian weights of the pixels from `first` on, around a position."""
    inverse = 1.0 / spread if spread > 0.0 else 0.0
    for k in range(out.size):
        out[k] = _weight(first + k - position, inverse)


@inlined
def _weights_around(low, position, spread, count, rows, columns):
    """Write weights of rows, and these times distances and their squares; weights and distances of columns by fours.

    The last four columns end with the last one; those that overlap the ones before have weights of 0.
    """
    inverse_i, inverse_j = 1.0 / spread[1], 1.0 / spread[2]
    weights, slopes, squares = rows[0], rows[1], rows[2]
    across, distances = columns[0], columns[1]
    begin = (count[2] - 1) // BLOCK * BLOCK
    shift = begin + BLOCK - count[2]
    for k in range(weights.size):  # all of it vector code: what is written in parts waits before it is read as vectors
        column = k - (shift if k >= begin else 0)
        u, v = low[1] + k - position[1], low[2] + column - position[2]
        w = _weight(u, inverse_i)
        weights[k], slopes[k], squares[k] = w, w * u, w * u * u
        is_twice = (k >= begin) & (k < begin + shift)
        across[k], distances[k] = (0.0 if is_twice else _weight(v, inverse_j)), v


@inlined
def _unshrunk(first, second, mass, spread):
    """Return the shift of a Gaussian spot, from its first and second moments under the window.

    A Gaussian window of variance s**2 pulls the centroid of a Gaussian spot of variance p**2
    towards its own centre by the factor ``1 - m / s**2``, where ``m = s**2 p**2 / (s**2 + p**2)`` is
    the variance of the spot under the window.
    """
    if spread <= 0.0:
        return 0.0
    kept = 1.0 - second / (mass * spread * spread)
    return first / (mass * min(max(kept, CENTROID_LEAST_FACTOR), 1.0))


@device
def _sum_planes(x, low, wd, wi, wj, background, pd, pi, pj):
    """Sum the signal of the planes of a window along each axis, under the weights of the other two."""
    pd[:] = 0.0
    pi[:] = 0.0
    pj[:] = 0.0
    for a in range(pd.size):
        for b in range(pi.size):
            row = 0.0
            for c in range(pj.size):
                v = np.float64(x[low[0] + a, low[1] + b, low[2] + c]) - background
                row += wj[c] * v
                pj[c] += wd[a] * wi[b] * v
            pd[a] += wi[b] * row
            pi[b] += wd[a] * row


@device
def _gaussian_step(planes, weights, first, end, position, mass, moment):
    """Return the shift from a position to the vertex of the Gaussian through planes, the first of which is `first`.

    Planes without signal do not count. If the others determine no vertex, return the shift by moments, `moment`, where
    these are valid: next to no signal lies in the planes at the border of an axis that has `end` of them. Else NaN.
    """
    s0 = s1 = s2 = s3 = s4 = t0 = t1 = t2 = 0.0
    for k in range(planes.size):
        signal = planes[k] / mass
        if signal > 0.0:
            u = first + k - position
            w = weights[k] * signal * signal
            v = w * math.log(signal)
            s0, s1, s2, s3, s4 = s0 + w, s1 + w * u, s2 + w * u * u, s3 + w * u * u * u, s4 + w * u * u * u * u
            t0, t1, t2 = t0 + v, t1 + v * u, t2 + v * u * u
    det = s0 * (s2 * s4 - s3 * s3) - s1 * (s1 * s4 - s2 * s3) + s2 * (s1 * s3 - s2 * s2)
    slope = s0 * (t1 * s4 - t2 * s3) - t0 * (s1 * s4 - s2 * s3) + s2 * (s1 * t2 - s2 * t1)
    bend = s0 * (s2 * t2 - s3 * t1) - s1 * (s1 * t2 - s2 * t1) + t0 * (s1 * s3 - s2 * s2)
    if det > LEAST_CURVED * s0 * s2 * s4 and bend < 0.0:
        return -0.5 * slope / bend
    last = planes.size - 1
    at_cut = abs(planes[0] * weights[0]) if first == 0 else 0.0
    if first + planes.size == end:
        at_cut = max(at_cut, abs(planes[last] * weights[last]))
    return moment if at_cut <= MOST_AT_CUT * abs(mass) else math.nan


@device
def _cut_steps(x, low, count, position, still, cut, background, mass, steps, spread, scratch):
    """Return steps along each axis, by Gaussians where the window is cut."""
    wd, wi, wj = scratch[0, : count[0]], scratch[1, : count[1]], scratch[2, : count[2]]
    of_d, of_i, of_j = scratch[3, : count[0]], scratch[4, : count[1]], scratch[5, : count[2]]
    _weights(low[0], position[0], spread[0], wd)
    _weights(low[1], position[1], spread[1], wi)
    _weights(low[2], position[2], spread[2], wj)
    _sum_planes(x, low, wd, wi, wj, background, of_d, of_i, of_j)
    depth, height, width = x.shape
    step_d, step_i, step_j = steps
    if cut[0] and not still[0]:
        step_d = _gaussian_step(of_d, wd, low[0], depth, position[0], mass, step_d)
    if cut[1] and not still[1]:
        step_i = _gaussian_step(of_i, wi, low[1], height, position[1], mass, step_i)
    if cut[2] and not still[2]:
        step_j = _gaussian_step(of_j, wj, low[2], width, position[2], mass, step_j)
    return step_d, step_i, step_j


@inlined  # a call with as many arguments takes a tenth of the time of an iteration
def _moments(x, origin, low, count, position, spread, background, weights):
    """Return the sum of weighted pixels, of their magnitudes, and their first and second moments along each axis.

    `origin` is where the first pixel of the window is, `low` its position; `weights` are of its rows and columns.
    """
    rows, columns = weights[:3], weights[3:5]
    inverse = 1.0 / spread[0] if spread[0] > 0.0 else 0.0
    mass = magnitude = md = mi = mj = vd = vi = vj = 0.0
    for a in range(count[0]):
        ud = low[0] + a - position[0]
        wd = _weight(ud, inverse) if inverse > 0.0 else 1.0  # of the only plane
        place = origin[0] + a, origin[1], origin[2]
        plane, own, first_i, second_i, first_j, second_j = plane_moments(
            x, place, (count[1], max(count[2], BLOCK)), rows, columns, background
        )
        magnitude += wd * own
        mi, vi = mi + wd * first_i, vi + wd * second_i
        mj, vj = mj + wd * first_j, vj + wd * second_j
        plane *= wd
        mass += plane
        md, vd = md + plane * ud, vd + plane * ud * ud
    return mass, magnitude, md, mi, mj, vd, vi, vj


@device
def _iterated(x, start, n_iters, max_shift, half, spread, first, few, space):
    """Iterate; `space` holds as many weights as `first` and one line more, and a window of fewer than four columns."""
    length = first.shape[1]
    depth, height, width = x.shape
    d0, i0, j0 = start
    hd, hi, hj = half
    scratch = shaped(space, (6, length))
    window = shaped(space[6 * length :].view(x.dtype), (2 * hd + 1, 2 * hi + 1, few))
    sd, si, sj = spread
    pd, pi, pj = float(d0), float(i0), float(j0)
    value = np.float64(x[d0, i0, j0])
    still = d0 == 0 or d0 == depth - 1, i0 == 0 or i0 == height - 1, j0 == 0 or j0 == width - 1
    background, around = ring_mean(x, d0, i0, j0, hd, hi, hj)
    if around == 0 or (still[0] and still[1] and still[2]):
        return pd, pi, pj, value, _AT_BORDER, start
    flags = (_FIXED_Z if still[0] and hd > 0 else 0) | (_FIXED_Y if still[1] else 0) | (_FIXED_X if still[2] else 0)
    corner = np.int64(0), np.int64(0), np.int64(0)
    cut_d = cut_i = cut_j = False
    for n in range(n_iters):
        d, i, j = _nearest(pd), _nearest(pi), _nearest(pj)
        if d < 0 or d >= depth or i < 0 or i >= height or j < 0 or j >= width:
            return pd, pi, pj, value, _AT_BORDER, start
        low = max(d - hd, 0), max(i - hi, 0), max(j - hj, 0)
        count = min(d + hd + 1, depth) - low[0], min(i + hi + 1, height) - low[1], min(j + hj + 1, width) - low[2]
        cut_d |= count[0] <= 2 * hd
        cut_i |= count[1] <= 2 * hi
        cut_j |= count[2] <= 2 * hj
        position, weights = (pd, pi, pj), scratch
        if n == 0 and count[1] == 2 * hi + 1 and count[2] == 2 * hj + 1:
            weights = first  # of a pixel, for all of them
        else:
            _weights_around(low, position, spread, count, scratch[:3], scratch[3:5])
        if count[2] >= BLOCK:
            found = _moments(x, low, low, count, position, spread, background, weights)
        else:
            for a in range(count[0]):
                for b in range(count[1]):
                    for c in range(BLOCK):
                        window[a, b, c] = x[low[0] + a, low[1] + b, low[2] + max(c + count[2] - BLOCK, 0)]
            found = _moments(window, corner, low, count, position, spread, background, weights)
        mass, magnitude, md, mi, mj, vd, vi, vj = found
        if not abs(mass) < math.inf or not abs(background) < math.inf:
            return pd, pi, pj, value, _NONFINITE, start
        if abs(mass) <= CENTROID_LEAST_MASS * magnitude:
            return pd, pi, pj, value, _SINGULAR, start
        step_d = 0.0 if still[0] else _unshrunk(md, vd, mass, sd)
        step_i = 0.0 if still[1] else _unshrunk(mi, vi, mass, si)
        step_j = 0.0 if still[2] else _unshrunk(mj, vj, mass, sj)
        if cut_d or cut_i or cut_j:
            cut, steps = (cut_d, cut_i, cut_j), (step_d, step_i, step_j)
            step_d, step_i, step_j = _cut_steps(
                x, low, count, position, still, cut, background, mass, steps, spread, scratch
            )
            if math.isnan(step_d) or math.isnan(step_i) or math.isnan(step_j):
                return pd, pi, pj, value, _SINGULAR, start
        # One by one: Numba's max drops a NaN, and the pixel of a NaN is out of bounds.
        if not ((abs(step_d) < math.inf) & (abs(step_i) < math.inf) & (abs(step_j) < math.inf)):
            return pd, pi, pj, value, _NONFINITE, start
        pd, pi, pj = pd + step_d, pi + step_i, pj + step_j
        if max(abs(pd - d0), abs(pi - i0), abs(pj - j0)) > max_shift:
            return pd, pi, pj, value, _TOO_FAR, start
        if max(abs(step_d), abs(step_i), abs(step_j)) <= CENTROID_TOLERANCE:
            d, i, j = _nearest(pd), _nearest(pi), _nearest(pj)
            if d < 0 or d >= depth or i < 0 or i >= height or j < 0 or j >= width:
                return pd, pi, pj, value, _AT_BORDER, start
            if d != d0 or i != i0 or j != j0:
                flags |= _MOVED
            return pd, pi, pj, np.float64(x[d, i, j]), flags, (d, i, j)
    return pd, pi, pj, value, _NOT_CONVERGED, start


@allocating
def _in_new_space(x, start, n_iters, max_shift, half, spread, first, few, size):
    return _iterated(x, start, n_iters, max_shift, half, spread, first, few, np.empty(size))


_space_on_stack = on_stack((_ON_STACK,))


@device
def centroid(x, d0, i0, j0, n_iters, max_shift, half, tables):
    """Iterate the Gaussian-windowed centroid until it converges; the window moves with it.

    An axis along which the start lies at the border stays as it is; one along which the window is cut once, is
    measured by `_gaussian_step` from then on.
    """
    hd, hi, hj = half
    first, spread = tables[:5], (tables[5, 0], tables[5, 1], tables[5, 2])
    few = BLOCK if hj + 1 < BLOCK or x.shape[2] < BLOCK else 0  # of windows that the border may cut to fewer columns
    size = 6 * first.shape[1] + (2 * hd + 1) * (2 * hi + 1) * few
    if size > _ON_STACK:
        return _in_new_space(x, (d0, i0, j0), n_iters, max_shift, half, spread, first, few, size)
    space = _space_on_stack(np.float64)
    return _iterated(x, (d0, i0, j0), n_iters, max_shift, half, spread, first, few, space)


@functools.lru_cache(maxsize=64)
def centroid_tables(half: tuple[int, ...], spreads: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return weights around a pixel, in the lines of `_weights_around`, and a line of the standard deviations.

    One array: Numba fails to compile some loops over threads that are handed a tuple within a tuple.
    """
    k = np.arange((2 * max(half) + 8) // 8 * 8)  # of vectors
    last = 2 * half[2] // BLOCK * BLOCK
    shift = last + BLOCK - (2 * half[2] + 1)
    u, v = k - float(half[1]), k - shift * (k >= last) - float(half[2])
    w, across = np.exp(-0.5 * (u / spreads[1]) ** 2), np.exp(-0.5 * (v / spreads[2]) ** 2)
    across[last : last + shift] = 0.0
    numbers = np.zeros(k.size)
    numbers[:3] = spreads
    return np.array([w, w * u, w * u * u, across, v, numbers])
