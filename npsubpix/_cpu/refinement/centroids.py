"""Centroids under a Gaussian window that moves with them.

Along an axis on which the image cuts the window, moments would be those of what is seen. There, a Gaussian is fitted
to the planes of the window: for each, the sum of its pixels under the weights of the other axes; by least squares of
the logarithm, with the weights that make the noise of all planes equal (H. Guo, "A simple algorithm for fitting a
Gaussian function", IEEE Signal Processing Magazine 28(5), 2011).
"""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cpu.compiler.jit import allocating, device
from npsubpix._definitions.constants import (
    CENTROID_LEAST_FACTOR,
    CENTROID_LEAST_MASS,
    CENTROID_TOLERANCE,
    LEAST_CURVED,
    MOST_AT_CUT,
)
from npsubpix._definitions.flags import PeakFlags

__all__ = ["centroid", "ring_mean"]

_NONFINITE = int(PeakFlags.NONFINITE)
_SINGULAR = int(PeakFlags.SINGULAR)
_NOT_CONVERGED = int(PeakFlags.NOT_CONVERGED)
_AT_BORDER = int(PeakFlags.AT_BORDER)
_TOO_FAR = int(PeakFlags.TOO_FAR)
_MOVED = int(PeakFlags.MOVED)
_FIXED_Z = int(PeakFlags.FIXED_Z)
_FIXED_Y = int(PeakFlags.FIXED_Y)
_FIXED_X = int(PeakFlags.FIXED_X)


@device
def ring_mean(x, d, i, j, hd, hi, hj):
    """Return the mean of the pixels just outside a box of half-widths h, as far as they are in the image; NaN if none.

    Differences from one of them are summed, so that the mean of equal pixels is exact.
    """
    depth, height, width = x.shape
    total = 0.0
    count = 0
    outer = 1 if hd > 0 else 0
    first = np.float64(x[max(d - hd - outer, 0), max(i - hi - 1, 0), max(j - hj - 1, 0)])
    for a in range(max(d - hd - outer, 0), min(d + hd + outer + 1, depth)):
        for b in range(max(i - hi - 1, 0), min(i + hi + 2, height)):
            on_face = abs(b - i) == hi + 1 or abs(a - d) == hd + 1
            step = 1 if on_face else 2 * hj + 2
            for c in range(j - hj - 1, j + hj + 2, step):
                if 0 <= c < width:
                    total += np.float64(x[a, b, c]) - first
                    count += 1
    return (first + total / count if count > 0 else 0.0), count


@device
def _weights(first, position, spread, out):
    """Gaussian weights of the pixels from `first` on, around a position."""
    for k in range(out.size):
        u = (first + k - position) / spread if spread > 0.0 else 0.0
        out[k] = math.exp(-0.5 * u * u)


@device
def _unshrunk(first, second, mass, spread):
    """Return the shift of a Gaussian spot, from its first and second moments under the window.

    A Gaussian window of variance s**2 pulls the centroid of a Gaussian spot of variance p**2
    towards its own centre by the factor ``1 - m / s**2``, where ``m = s**2 p**2 / (s**2 + p**2)`` is
    the variance of the spot under the window.
    """
    if spread <= 0.0:
        return 0.0
    kept = 1.0 - second / (mass * spread * spread)
    return first / mass / min(max(kept, CENTROID_LEAST_FACTOR), 1.0)


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


@allocating
def centroid(x, d0, i0, j0, n_iters, max_shift, half, spread):
    """Iterate the Gaussian-windowed centroid until it converges; the window moves with it.

    An axis along which the start lies at the border stays as it is; one along which the window is cut once, is
    measured by `_gaussian_step` from then on.
    """
    depth, height, width = x.shape
    hd, hi, hj = half
    sd, si, sj = spread
    start = (d0, i0, j0)
    pd, pi, pj = float(d0), float(i0), float(j0)
    value = np.float64(x[d0, i0, j0])
    still_d = d0 == 0 or d0 == depth - 1
    still_i = i0 == 0 or i0 == height - 1
    still_j = j0 == 0 or j0 == width - 1
    background, around = ring_mean(x, d0, i0, j0, hd, hi, hj)
    if around == 0 or (still_d and still_i and still_j):
        return pd, pi, pj, value, _AT_BORDER, start
    flags = (_FIXED_Z if still_d and hd > 0 else 0) | (_FIXED_Y if still_i else 0) | (_FIXED_X if still_j else 0)
    cut_d = cut_i = cut_j = False
    all_wd, all_wi, all_wj = np.empty(2 * hd + 1), np.empty(2 * hi + 1), np.empty(2 * hj + 1)
    planes_d, planes_i, planes_j = np.empty(2 * hd + 1), np.empty(2 * hi + 1), np.empty(2 * hj + 1)
    for _ in range(n_iters):
        d, i, j = round(pd), round(pi), round(pj)
        if d < 0 or d >= depth or i < 0 or i >= height or j < 0 or j >= width:
            return pd, pi, pj, value, _AT_BORDER, start
        low = max(d - hd, 0), max(i - hi, 0), max(j - hj, 0)
        count = min(d + hd + 1, depth) - low[0], min(i + hi + 1, height) - low[1], min(j + hj + 1, width) - low[2]
        cut_d |= count[0] <= 2 * hd
        cut_i |= count[1] <= 2 * hi
        cut_j |= count[2] <= 2 * hj
        wd, wi, wj = all_wd[: count[0]], all_wi[: count[1]], all_wj[: count[2]]
        _weights(low[0], pd, sd, wd)
        _weights(low[1], pi, si, wi)
        _weights(low[2], pj, sj, wj)
        mass = magnitude = md = mi = mj = vd = vi = vj = 0.0
        for a in range(wd.size):
            ud = low[0] + a - pd
            for b in range(wi.size):
                ui = low[1] + b - pi
                row_mass = row_first = row_second = 0.0
                for c in range(wj.size):
                    uj = low[2] + c - pj
                    w = wd[a] * wi[b] * wj[c] * (np.float64(x[low[0] + a, low[1] + b, low[2] + c]) - background)
                    row_mass += w
                    row_first += w * uj
                    row_second += w * uj * uj
                    magnitude += abs(w)
                mass += row_mass
                md += row_mass * ud
                mi += row_mass * ui
                mj += row_first
                vd += row_mass * ud * ud
                vi += row_mass * ui * ui
                vj += row_second
        if not abs(mass) < math.inf or not abs(background) < math.inf:
            return pd, pi, pj, value, _NONFINITE, start
        if abs(mass) <= CENTROID_LEAST_MASS * magnitude:
            return pd, pi, pj, value, _SINGULAR, start
        step_d = 0.0 if still_d else _unshrunk(md, vd, mass, sd)
        step_i = 0.0 if still_i else _unshrunk(mi, vi, mass, si)
        step_j = 0.0 if still_j else _unshrunk(mj, vj, mass, sj)
        if cut_d or cut_i or cut_j:
            of_d, of_i, of_j = planes_d[: wd.size], planes_i[: wi.size], planes_j[: wj.size]
            _sum_planes(x, low, wd, wi, wj, background, of_d, of_i, of_j)
            if cut_d and not still_d:
                step_d = _gaussian_step(of_d, wd, low[0], depth, pd, mass, step_d)
            if cut_i and not still_i:
                step_i = _gaussian_step(of_i, wi, low[1], height, pi, mass, step_i)
            if cut_j and not still_j:
                step_j = _gaussian_step(of_j, wj, low[2], width, pj, mass, step_j)
            if math.isnan(step_d) or math.isnan(step_i) or math.isnan(step_j):
                return pd, pi, pj, value, _SINGULAR, start
        # One by one: Numba's max drops a NaN, and the pixel of a NaN is out of bounds.
        if not ((abs(step_d) < math.inf) & (abs(step_i) < math.inf) & (abs(step_j) < math.inf)):
            return pd, pi, pj, value, _NONFINITE, start
        pd, pi, pj = pd + step_d, pi + step_i, pj + step_j
        if max(abs(pd - d0), abs(pi - i0), abs(pj - j0)) > max_shift:
            return pd, pi, pj, value, _TOO_FAR, start
        if max(abs(step_d), abs(step_i), abs(step_j)) <= CENTROID_TOLERANCE:
            d, i, j = round(pd), round(pi), round(pj)
            if d < 0 or d >= depth or i < 0 or i >= height or j < 0 or j >= width:
                return pd, pi, pj, value, _AT_BORDER, start
            if d != d0 or i != i0 or j != j0:
                flags |= _MOVED
            return pd, pi, pj, np.float64(x[d, i, j]), flags, (d, i, j)
    return pd, pi, pj, value, _NOT_CONVERGED, start
