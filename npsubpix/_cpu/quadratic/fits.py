"""Quadratic fits around a pixel, and the walk from pixel to pixel that repeats them.

A fit takes a volume and a pixel, which must not lie on the border of the axes it uses, and returns
the shift to its stationary point along depth, rows and columns, the difference in value between
that point and the pixel, and flags. Derivatives are central differences over the 3 x 3 (x 3) neighbours,
as in M. Brown and D. Lowe, "Invariant features from interest point groups", BMVC 2002. They are
computed in float64 whatever the image holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._cpu.compiler.jit import device, inlined
from npsubpix._definitions.constants import SINGULAR_TOLERANCE
from npsubpix._definitions.flags import PeakFlags

__all__ = [
    "fit_free_parabola",
    "fit_free_quadratic",
    "fit_parabola2d",
    "fit_parabola3d",
    "fit_quadratic2d",
    "fit_quadratic3d",
    "fixed_curvature",
    "follower",
    "has_free_neighbours",
    "mixed_difference",
    "scaled3d",
    "second_difference",
    "solved3d",
    "stationary3d",
    "unit_scale",
]

_NONFINITE = int(PeakFlags.NONFINITE)
_SINGULAR = int(PeakFlags.SINGULAR)
_SADDLE = int(PeakFlags.SADDLE)
_NOT_CONVERGED = int(PeakFlags.NOT_CONVERGED)
_AT_BORDER = int(PeakFlags.AT_BORDER)
_TOO_FAR = int(PeakFlags.TOO_FAR)
_MOVED = int(PeakFlags.MOVED)


@device
def _central_difference(before, after):
    return 0.5 * (np.float64(after) - np.float64(before))


@device
def second_difference(before, centre, after):
    return np.float64(after) - 2.0 * np.float64(centre) + np.float64(before)


@device
def mixed_difference(low_low, low_high, high_low, high_high):
    return 0.25 * (np.float64(high_high) - np.float64(high_low) - np.float64(low_high) + np.float64(low_low))


@device
def scaled3d(hessian):
    """Multiply a Hessian by a power of two that makes its largest entry about 1.

    It keeps every digit, and the products of tiny or huge responses in range. Return the scaled
    entries, the power, the largest of them, and the determinant.
    """
    xx, yy, zz, xy, xz, yz = hessian
    m = max(max(abs(xx), abs(yy), abs(zz)), max(abs(xy), abs(xz), abs(yz)))
    scale = unit_scale(m)
    xx, yy, zz, xy, xz, yz = scale * xx, scale * yy, scale * zz, scale * xy, scale * xz, scale * yz
    det = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    return (xx, yy, zz, xy, xz, yz), scale, scale * m, det


@device
def solved3d(hessian, det, rx, ry, rz):
    """Solve a symmetric system of three."""
    xx, yy, zz, xy, xz, yz = hessian
    a = ry * zz - yz * rz
    b = ry * yz - yy * rz
    c = xy * rz - ry * xz
    sx = (rx * (yy * zz - yz * yz) - xy * a + xz * b) / det
    sy = (xx * a - rx * (xy * zz - yz * xz) + xz * c) / det
    sz = (rx * (xy * yz - yy * xz) - xx * b - xy * c) / det
    return sx, sy, sz


@device
def stationary3d(hessian, gx, gy, gz):
    """Return the shift (z, y, x) to the stationary point of a quadratic, its gain and flags."""
    unit, scale, m, det = scaled3d(hessian)
    if not abs(det) < math.inf:
        return 0.0, 0.0, 0.0, 0.0, _NONFINITE
    if abs(det) <= SINGULAR_TOLERANCE * m * m * m:
        return 0.0, 0.0, 0.0, 0.0, _SINGULAR
    sx, sy, sz = solved3d(unit, det, -scale * gx, -scale * gy, -scale * gz)
    definite = unit[0] * unit[1] - unit[3] * unit[3] > 0.0 and unit[0] * det > 0.0
    return sz, sy, sx, 0.5 * (gx * sx + gy * sy + gz * sz), 0 if definite else _SADDLE


@device
def fit_quadratic3d(x, d, i, j):
    """Fit with the full 3 x 3 Hessian, solved by Cramer's rule."""
    gx = _central_difference(x[d, i, j - 1], x[d, i, j + 1])
    gy = _central_difference(x[d, i - 1, j], x[d, i + 1, j])
    gz = _central_difference(x[d - 1, i, j], x[d + 1, i, j])
    c = x[d, i, j]
    xx = second_difference(x[d, i, j - 1], c, x[d, i, j + 1])
    yy = second_difference(x[d, i - 1, j], c, x[d, i + 1, j])
    zz = second_difference(x[d - 1, i, j], c, x[d + 1, i, j])
    xy = mixed_difference(x[d, i - 1, j - 1], x[d, i - 1, j + 1], x[d, i + 1, j - 1], x[d, i + 1, j + 1])
    xz = mixed_difference(x[d - 1, i, j - 1], x[d - 1, i, j + 1], x[d + 1, i, j - 1], x[d + 1, i, j + 1])
    yz = mixed_difference(x[d - 1, i - 1, j], x[d - 1, i + 1, j], x[d + 1, i - 1, j], x[d + 1, i + 1, j])
    return stationary3d((xx, yy, zz, xy, xz, yz), gx, gy, gz)


@device
def fit_quadratic2d(x, d, i, j):
    """Fit with the full 2 x 2 Hessian."""
    c = x[d, i, j]
    gx = _central_difference(x[d, i, j - 1], x[d, i, j + 1])
    gy = _central_difference(x[d, i - 1, j], x[d, i + 1, j])
    xx = second_difference(x[d, i, j - 1], c, x[d, i, j + 1])
    yy = second_difference(x[d, i - 1, j], c, x[d, i + 1, j])
    xy = mixed_difference(x[d, i - 1, j - 1], x[d, i - 1, j + 1], x[d, i + 1, j - 1], x[d, i + 1, j + 1])
    m = max(abs(xx), abs(yy), abs(xy))
    scale = unit_scale(m)
    xx, yy, xy, rx, ry = scale * xx, scale * yy, scale * xy, -scale * gx, -scale * gy
    m *= scale
    det = xx * yy - xy * xy
    if not abs(det) < math.inf:
        return 0.0, 0.0, 0.0, 0.0, _NONFINITE
    if abs(det) <= SINGULAR_TOLERANCE * m * m:
        return 0.0, 0.0, 0.0, 0.0, _SINGULAR
    sx = (rx * yy - ry * xy) / det
    sy = (ry * xx - rx * xy) / det
    return 0.0, sy, sx, 0.5 * (gx * sx + gy * sy), 0 if det > 0.0 else _SADDLE


@device
def _vertex(before, centre, after):
    """Return the shift to the vertex of the parabola through three pixels, its gain, second difference and flags."""
    g = _central_difference(before, after)
    h = second_difference(before, centre, after)
    if not abs(h) < math.inf:
        return 0.0, 0.0, h, _NONFINITE
    # The rounding of the pixels themselves can bend a straight line by this much.
    if abs(h) <= SINGULAR_TOLERANCE * max(abs(g), abs(h)):
        return 0.0, 0.0, h, _SINGULAR
    shift = -g / h
    return shift, 0.5 * g * shift, h, 0


@device
def fit_parabola2d(x, d, i, j):
    """Fit a parabola along rows and one along columns."""
    si, gain_i, hi, flags_i = _vertex(x[d, i - 1, j], x[d, i, j], x[d, i + 1, j])
    sj, gain_j, hj, flags_j = _vertex(x[d, i, j - 1], x[d, i, j], x[d, i, j + 1])
    flags = flags_i | flags_j
    if flags == 0 and (hi > 0.0) != (hj > 0.0):
        flags = _SADDLE
    return 0.0, si, sj, gain_i + gain_j, flags


@device
def fit_parabola3d(x, d, i, j):
    """Fit a parabola along each of three axes."""
    _, si, sj, gain, flags = fit_parabola2d(x, d, i, j)
    sd, gain_d, hd, flags_d = _vertex(x[d - 1, i, j], x[d, i, j], x[d + 1, i, j])
    flags |= flags_d
    centre = np.float64(x[d, i, j])
    if flags == 0 and (hd > 0.0) != (second_difference(x[d, i - 1, j], centre, x[d, i + 1, j]) > 0.0):
        flags = _SADDLE
    return sd, si, sj, gain + gain_d, flags


@device
def fixed_curvature(xx, yy, zz, xy, xz, yz):
    """Return a second difference for axes that are held fixed, of the sign and the size of the others."""
    m = max(max(abs(xx), abs(yy), abs(zz)), max(abs(xy), abs(xz), abs(yz)))
    return math.copysign(m, xx + yy + zz)


@device
def fit_free_quadratic(free, d, i, j):
    """Fit along some of the axes: `free` is an image and, per axis, 1 if it is free and 0 if it is held fixed.

    Neighbours along a fixed axis are replaced by the pixel, so that all differences along it are 0.
    """
    x, ed, ei, ej = free
    c = x[d, i, j]
    gx = _central_difference(x[d, i, j - ej], x[d, i, j + ej])
    gy = _central_difference(x[d, i - ei, j], x[d, i + ei, j])
    gz = _central_difference(x[d - ed, i, j], x[d + ed, i, j])
    xx = second_difference(x[d, i, j - ej], c, x[d, i, j + ej])
    yy = second_difference(x[d, i - ei, j], c, x[d, i + ei, j])
    zz = second_difference(x[d - ed, i, j], c, x[d + ed, i, j])
    xy = mixed_difference(x[d, i - ei, j - ej], x[d, i - ei, j + ej], x[d, i + ei, j - ej], x[d, i + ei, j + ej])
    xz = mixed_difference(x[d - ed, i, j - ej], x[d - ed, i, j + ej], x[d + ed, i, j - ej], x[d + ed, i, j + ej])
    yz = mixed_difference(x[d - ed, i - ei, j], x[d - ed, i + ei, j], x[d + ed, i - ei, j], x[d + ed, i + ei, j])
    fixed = fixed_curvature(xx, yy, zz, xy, xz, yz)
    xx, yy, zz = (xx if ej else fixed), (yy if ei else fixed), (zz if ed else fixed)
    sz, sy, sx, gain, flags = stationary3d((xx, yy, zz, xy, xz, yz), gx, gy, gz)
    return sz * ed, sy * ei, sx * ej, gain, flags


@device
def fit_free_parabola(free, d, i, j):
    """Fit a parabola along each free axis; `free` is that of `fit_free_quadratic`."""
    x, ed, ei, ej = free
    sd = si = sj = gain = 0.0
    up = down = False
    flags = 0
    if ed:
        sd, part, h, flag = _vertex(x[d - 1, i, j], x[d, i, j], x[d + 1, i, j])
        gain, flags, up, down = gain + part, flags | flag, up | (h > 0.0), down | (h < 0.0)
    if ei:
        si, part, h, flag = _vertex(x[d, i - 1, j], x[d, i, j], x[d, i + 1, j])
        gain, flags, up, down = gain + part, flags | flag, up | (h > 0.0), down | (h < 0.0)
    if ej:
        sj, part, h, flag = _vertex(x[d, i, j - 1], x[d, i, j], x[d, i, j + 1])
        gain, flags, up, down = gain + part, flags | flag, up | (h > 0.0), down | (h < 0.0)
    if flags == 0 and up and down:
        flags = _SADDLE
    return sd, si, sj, gain, flags


@device
def has_free_neighbours(free, d, i, j):
    """Whether a pixel has the neighbours that a fit along the free axes needs."""
    x, ed, ei, ej = free
    depth, height, width = x.shape
    deep = (d >= ed) & (d < depth - ed)
    return deep & (i >= ei) & (i < height - ei) & (j >= ej) & (j < width - ej)


def follower(
    fit: Callable[..., Any], axes: int, has_neighbours: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Make the function that repeats a fit, moving by one pixel at a time, until it stays at its pixel.

    The function takes the image, a start, the number of iterations, the shift that leads to the
    next pixel, the largest final shift, the greatest distance from the start in pixels, and
    whether to move along depth. It returns pixel, shift, gain and flags; with a flag that rejects,
    pixel and shift are those of the start. `has_neighbours` says whether a pixel has the neighbours that
    the fit needs: by default, all along the axes.
    """
    volume = axes == 3
    rejecting = _NONFINITE | _SINGULAR

    @device
    def step(shift, threshold):
        return int(shift > threshold) - int(shift < -threshold)

    @device
    def has_all(x, d, i, j):
        depth, height, width = x.shape
        deep = (d >= 1) & (d <= depth - 2) if volume else True
        return deep & (i >= 1) & (i <= height - 2) & (j >= 1) & (j <= width - 2)

    inside = has_all if has_neighbours is None else has_neighbours

    @inlined
    def follow(x, d0, i0, j0, n_iters, threshold, limit, radius, depth_steps):
        d, i, j = d0, i0, j0
        mark_d, mark_i, mark_j = d0, i0, j0
        moves, lap = 0, 1
        has_fit = inside(x, d, i, j)
        failure = _NOT_CONVERGED if has_fit else _AT_BORDER
        for _ in range(n_iters if has_fit else 0):
            sd, si, sj, gain, flags = fit(x, d, i, j)
            if flags & rejecting:
                failure = flags
                break
            # One by one: Numba's max drops a NaN.
            if not ((abs(sd) < math.inf) & (abs(si) < math.inf) & (abs(sj) < math.inf) & (abs(gain) < math.inf)):
                failure = _NONFINITE
                break
            di, dj = step(si, threshold), step(sj, threshold)
            dd = step(sd, threshold) if depth_steps else 0
            if (dd == 0) & (di == 0) & (dj == 0):
                if max(abs(sd), abs(si), abs(sj)) > limit:
                    failure = _TOO_FAR
                    break
                if (d != d0) | (i != i0) | (j != j0):
                    flags |= _MOVED
                return d, i, j, sd, si, sj, gain, flags
            d, i, j = d + dd, i + di, j + dj
            # Brent's test for a cycle: such a walk would go on for ever.
            if (d == mark_d) & (i == mark_i) & (j == mark_j):
                break
            moves += 1
            if moves == lap:
                mark_d, mark_i, mark_j = d, i, j
                moves = 0
                lap *= 2
            if not inside(x, d, i, j):
                failure = _AT_BORDER
                break
            if max(abs(d - d0), abs(i - i0), abs(j - j0)) > radius:
                failure = _TOO_FAR
                break
        return d0, i0, j0, 0.0, 0.0, 0.0, 0.0, failure

    return follow


@device
def unit_scale(m):
    """Return the power of two that brings m > 0 to [0.5, 1); 1 for 0, infinity and NaN."""
    if m == 0.0 or not m < math.inf:
        return 1.0
    return math.ldexp(1.0, min(-math.frexp(m)[1], 1000))
