"""Gaussians through the 3 x 3 (x 3) pixels around a pixel: the quadratic fitted to the logarithm of the signal.

The signal is the difference from the background around. The fit is by least squares, and each pixel has the weight of
its signal, as the noise of photons needs: that of the logarithm is the noise of the signal divided by the signal.
"""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cpu.compiler.jit import allocating, device
from npsubpix._cpu.quadratic.fits import fixed_curvature, follower, stationary3d
from npsubpix._cpu.refinement.centroids import ring_mean
from npsubpix._definitions.constants import FIT_LEAST_PIVOT, MOVE_THRESHOLD
from npsubpix._definitions.flags import REJECTED, PeakFlags

__all__ = ["TERMS", "add_normal_equations", "free_axes", "log_quadratic", "solve", "substitute"]

_REJECTED = int(REJECTED)
_NONFINITE = int(PeakFlags.NONFINITE)
_SINGULAR = int(PeakFlags.SINGULAR)
_AT_BORDER = int(PeakFlags.AT_BORDER)
_FIXED_Z = int(PeakFlags.FIXED_Z)
_FIXED_Y = int(PeakFlags.FIXED_Y)
_FIXED_X = int(PeakFlags.FIXED_X)

#: Coefficients of a quadratic in three dimensions.
TERMS = 10


@device
def substitute(factor, right):
    """Solve equations in place whose matrix is given by its factor of Cholesky, in the lower half."""
    for k in range(TERMS):
        s = right[k]
        for m in range(k):
            s -= factor[k, m] * right[m]
        right[k] = s / factor[k, k]
    for k in range(TERMS - 1, -1, -1):
        s = right[k]
        for m in range(k + 1, TERMS):
            s -= factor[m, k] * right[m]
        right[k] = s / factor[k, k]


@device
def solve(normal, right):
    """Solve normal equations in place by the factors of Cholesky, from the lower half; whether they determine all."""
    for k in range(TERMS):
        pivot = normal[k, k]
        for m in range(k):
            pivot -= normal[k, m] * normal[k, m]
        if not pivot > FIT_LEAST_PIVOT * normal[k, k]:
            return False
        root = math.sqrt(pivot)
        normal[k, k] = root
        for row in range(k + 1, TERMS):
            s = normal[row, k]
            for m in range(k):
                s -= normal[row, m] * normal[k, m]
            normal[row, k] = s / root
    substitute(normal, right)
    return True


@device
def add_normal_equations(free, d, i, j):
    """Sum the normal equations of the fit along the free axes; whether all pixels are finite.

    Coefficients that belong to a fixed axis are 0.
    """
    x, ed, ei, ej, background, height, normal, right, term = free
    normal[:] = 0.0
    right[:] = 0.0
    for a in range(-ed, ed + 1):
        for b in range(-ei, ei + 1):
            for c in range(-ej, ej + 1):
                signal = (float(x[d + a, i + b, j + c]) - background) / height
                if not abs(signal) < math.inf:
                    return False
                if signal > 0.0:
                    log = math.log(signal)
                    term[0], term[1], term[2], term[3] = 1.0, c, b, a
                    term[4], term[5], term[6], term[7], term[8], term[9] = c * c, b * b, a * a, b * c, a * c, a * b
                    for k in range(TERMS):
                        part = signal * term[k]
                        right[k] += part * log
                        for m in range(k + 1):
                            normal[k, m] += part * term[m]
    for k in range(1, TERMS):
        if not ((k in (1, 4, 7, 8) and not ej) or (k in (2, 5, 7, 9) and not ei) or (k in (3, 6, 8, 9) and not ed)):
            continue
        normal[k, k] = 1.0
    return True


@device
def _fit_log(free, d, i, j):
    """Fit along the free axes."""
    x, ed, ei, ej, background, height, normal, right, _ = free
    if not add_normal_equations(free, d, i, j):
        return 0.0, 0.0, 0.0, 0.0, _NONFINITE
    if not solve(normal, right):
        return 0.0, 0.0, 0.0, 0.0, _SINGULAR
    xx, yy, zz, xy, xz, yz = 2.0 * right[4], 2.0 * right[5], 2.0 * right[6], right[7], right[8], right[9]
    fixed = fixed_curvature(xx, yy, zz, xy, xz, yz)
    xx, yy, zz = (xx if ej else fixed), (yy if ei else fixed), (zz if ed else fixed)
    sz, sy, sx, gain, flags = stationary3d((xx, yy, zz, xy, xz, yz), right[1], right[2], right[3])
    value = background + height * math.exp(right[0] + gain)
    return sz * ed, sy * ei, sx * ej, value - float(x[d, i, j]), flags


@device
def _has_free(free, d, i, j):
    """Whether a pixel has neighbours along the free axes."""
    depth, height, width = free[0].shape
    ed, ei, ej = free[1], free[2], free[3]
    deep = (d >= ed) & (d < depth - ed)
    return deep & (i >= ei) & (i < height - ei) & (j >= ej) & (j < width - ej)


_follow = follower(_fit_log, 3, _has_free)


@device
def free_axes(x, half, centre):
    """Return 1 for axes along which a pixel has both neighbours, 0 for others, and for the depth of an image."""
    depth, rows, width = x.shape
    d, i, j = centre
    return int(half[0] > 0 and 1 <= d <= depth - 2), int(1 <= i <= rows - 2), int(1 <= j <= width - 2)


@allocating
def log_quadratic(x, d, i, j, n_iters, max_shift, half, spread):
    """Walk to the pixel of the best fit; axes along which it starts at the border stay.

    The sign of the signal, that of a maximum or of a minimum, is that of the pixel at which it starts.
    """
    hd, hi, hj = half
    ed, ei, ej = free_axes(x, half, (d, i, j))
    background, around = ring_mean(x, d, i, j, hd, hi, hj)
    start = float(d), float(i), float(j)
    height = float(x[d, i, j]) - background
    if around == 0 or ed + ei + ej == 0:
        return *start, height, _AT_BORDER, (d, i, j)
    if not abs(height) < math.inf:
        return *start, height, _NONFINITE, (d, i, j)
    if height == 0.0:
        return *start, height, _SINGULAR, (d, i, j)
    work = np.empty((TERMS, TERMS)), np.empty(TERMS), np.empty(TERMS)
    free = (x, ed, ei, ej, background, height, work[0], work[1], work[2])
    steps = int(max_shift) + 1
    d1, i1, j1, sd, si, sj, gain, flags = _follow(free, d, i, j, n_iters, MOVE_THRESHOLD, math.inf, steps, True)
    if flags & _REJECTED == 0:
        flags |= (_FIXED_Z if hd > 0 and not ed else 0) | (0 if ei else _FIXED_Y) | (0 if ej else _FIXED_X)
    return d1 + sd, i1 + si, j1 + sj, float(x[d1, i1, j1]) + gain, flags, (d1, i1, j1)
