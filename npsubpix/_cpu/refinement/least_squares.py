"""Quadratics fitted by least squares to the 3 x 3 (x 3) pixels around a pixel, and the saddles of images.

On a grid of three pixels per axis the fit has a closed form: first, second and mixed derivatives are the central
differences, averaged over all lines, or planes, of the window.
"""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.quadratic.fits import fixed_curvature, follower, stationary3d
from npsubpix._definitions.constants import MOVE_THRESHOLD, SADDLE_SEARCH
from npsubpix._definitions.flags import REJECTED, PeakFlags

__all__ = ["fit_free_least_squares", "fit_least_squares2d", "fit_least_squares3d", "saddle"]

_SADDLE = int(PeakFlags.SADDLE)
_MOVED = int(PeakFlags.MOVED)
_REJECTED = int(REJECTED)
_EXTREMUM = int(PeakFlags.EXTREMUM)


@device
def _derivatives(free, d, i, j):
    """Return the gradient and the Hessian of the fit in the middle, and how far it is above the pixel there.

    `free` is an image and, per axis, 1 if it is free and 0 if it is held fixed: derivatives along it are 0. Pixels
    count as their differences from the pixel itself, so that a constant is exact.
    """
    x, ed, ei, ej = free
    centre = float(x[d, i, j])
    total = gx = gy = gz = xx = yy = zz = xy = xz = yz = 0.0
    for a in range(-ed, ed + 1):
        for b in range(-ei, ei + 1):
            for c in range(-ej, ej + 1):
                v = float(x[d + a, i + b, j + c]) - centre
                total += v
                gx += c * v
                gy += b * v
                gz += a * v
                xx += (3 * c * c - 2) * v
                yy += (3 * b * b - 2) * v
                zz += (3 * a * a - 2) * v
                xy += b * c * v
                xz += a * c * v
                yz += a * b * v
    nd, ni, nj = 2 * ed + 1, 2 * ei + 1, 2 * ej + 1
    xx = xx / (nd * ni) if ej else 0.0
    yy = yy / (nd * nj) if ei else 0.0
    zz = zz / (ni * nj) if ed else 0.0
    above = total / (nd * ni * nj) - (xx + yy + zz) / 3.0
    gradient = 0.5 * gx / (nd * ni), 0.5 * gy / (nd * nj), 0.5 * gz / (ni * nj)
    return gradient, (xx, yy, zz, 0.25 * xy / nd, 0.25 * xz / ni, 0.25 * yz / nj), above


@device
def fit_free_least_squares(free, d, i, j):
    """Fit along the free axes; `free` is that of `_derivatives`."""
    gradient, hessian, above = _derivatives(free, d, i, j)
    xx, yy, zz, xy, xz, yz = hessian
    ed, ei, ej = free[1], free[2], free[3]
    fixed = fixed_curvature(xx, yy, zz, xy, xz, yz)
    xx, yy, zz = (xx if ej else fixed), (yy if ei else fixed), (zz if ed else fixed)
    sz, sy, sx, gain, flags = stationary3d((xx, yy, zz, xy, xz, yz), gradient[0], gradient[1], gradient[2])
    return sz * ed, sy * ei, sx * ej, above + gain, flags


@device
def fit_least_squares2d(x, d, i, j):
    """Fit to 3 x 3 pixels."""
    return fit_free_least_squares((x, 0, 1, 1), d, i, j)


@device
def fit_least_squares3d(x, d, i, j):
    """Fit to 3 x 3 x 3 pixels."""
    return fit_free_least_squares((x, 1, 1, 1), d, i, j)


@device
def _fit_saddle(image, d, i, j):
    """Fit to 3 x 3 pixels, flagged unless the surface has a saddle."""
    sd, si, sj, gain, flags = fit_free_least_squares((image[0], 0, 1, 1), d, i, j)
    if flags == _SADDLE:
        return sd, si, sj, gain, 0
    return sd, si, sj, gain, flags if flags else _EXTREMUM


@device
def _is_clear(image, d, i, j):
    """Whether a pixel is as far from the border as the fit needs: `image` is an image, and two distances."""
    _, height, width = image[0].shape
    ri, rj = image[1], image[2]
    return (i >= ri) & (i < height - ri) & (j >= rj) & (j < width - rj)


_follow = follower(_fit_saddle, 2, _is_clear)


@device
def saddle(x, d, i, j, n_iters, max_shift, half, spread):
    """Walk from the strongest saddle near a pixel, that of the least determinant, to the pixel of the best fit.

    `half` are the distances from the border that a pixel needs.
    """
    image = (x, half[1], half[2])
    steps = int(max_shift) + 1
    reach = min(int(max_shift), SADDLE_SEARCH)
    least, si, sj = 0.0, i, j
    for b in range(i - reach, i + reach + 1):
        for c in range(j - reach, j + reach + 1):
            if _is_clear(image, d, b, c):
                _, hessian, _ = _derivatives((x, 0, 1, 1), d, b, c)
                det = hessian[0] * hessian[1] - hessian[3] * hessian[3]
                if det < least:
                    least, si, sj = det, b, c
    d1, i1, j1, _, shift_i, shift_j, gain, flags = _follow(
        image, d, si, sj, n_iters, MOVE_THRESHOLD, math.inf, steps, False
    )
    if flags & _REJECTED == 0 and (i1 != i or j1 != j):
        flags |= _MOVED
    return float(d), i1 + shift_i, j1 + shift_j, float(x[d1, i1, j1]) + gain, flags, (d1, i1, j1)
