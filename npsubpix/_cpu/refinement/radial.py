"""Centres of radial symmetry: the point that is nearest to the lines along the gradients of a box.

R. Parthasarathy, "Rapid, accurate particle tracking by calculation of radial symmetry centers", Nature Methods 9, 724
(2012). Gradients are those of cells between pixels, averaged over 3 x 3 (x 3) cells. The weight of a line is its
squared gradient divided by its distance from the centre, which is known from the previous iteration.
"""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.quadratic.fits import scaled3d, solved3d
from npsubpix._definitions.constants import CENTROID_TOLERANCE, MOVE_THRESHOLD, SINGULAR_TOLERANCE
from npsubpix._definitions.flags import PeakFlags

__all__ = ["ACROSS", "gradient2d", "gradient3d", "radial"]

_NONFINITE = int(PeakFlags.NONFINITE)
_SINGULAR = int(PeakFlags.SINGULAR)
_NOT_CONVERGED = int(PeakFlags.NOT_CONVERGED)
_AT_BORDER = int(PeakFlags.AT_BORDER)
_TOO_FAR = int(PeakFlags.TOO_FAR)
_MOVED = int(PeakFlags.MOVED)
_FIXED_Z = int(PeakFlags.FIXED_Z)
_FIXED_Y = int(PeakFlags.FIXED_Y)
_FIXED_X = int(PeakFlags.FIXED_X)

#: Weights of the four pixels across the direction of a derivative: two of a cell, averaged over three cells.
ACROSS = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


@device
def gradient2d(x, d, i, j):
    """Return derivatives along rows and columns in the middle of the 4 x 4 pixels of which one is the first."""
    gi = gj = 0.0
    for k in range(4):
        gi += ACROSS[k] * (float(x[d, i + 3, j + k]) - float(x[d, i, j + k]))
        gj += ACROSS[k] * (float(x[d, i + k, j + 3]) - float(x[d, i + k, j]))
    return gi / 3.0, gj / 3.0


@device
def gradient3d(x, d, i, j):
    """Return derivatives along each axis in the middle of the 4 x 4 x 4 pixels of which one is the first."""
    gd = gi = gj = 0.0
    for k in range(4):
        row_i, row_j = gradient2d(x, d + k, i, j)
        gi += ACROSS[k] * row_i
        gj += ACROSS[k] * row_j
        for m in range(4):
            gd += ACROSS[k] * ACROSS[m] * (float(x[d + 3, i + k, j + m]) - float(x[d, i + k, j + m]))
    return gd / 3.0, gi, gj


@device
def _nearest_point(x, window, half, spread, position, still):
    """Return the shift from a position to the point nearest to all lines, and flags.

    Distances are measured in units of `spread`, in which an ellipsoid is a sphere.
    """
    depth, height, width = x.shape
    d, i, j = window
    hd, hi, hj = half
    vd, vi, vj = spread
    volume = hd > 0
    first = (max(d - hd, 1) if volume else d), max(i - hi, 1), max(j - hj, 1)
    last = (min(d + hd, depth - 2) if volume else d + 1), min(i + hi, height - 2), min(j + hj, width - 2)
    widest = max(vd, vi, vj)
    least = (0.5 / widest) ** 2
    between = 0.5 if volume else 0.0
    dd = ii = jj = di = dj = ij = rd = ri = rj = 0.0
    for a in range(first[0], last[0]):
        ud = (a + between - position[0]) / vd if volume else 0.0
        for b in range(first[1], last[1]):
            ui = (b + 0.5 - position[1]) / vi
            for c in range(first[2], last[2]):
                uj = (c + 0.5 - position[2]) / vj
                if volume:
                    gd, gi, gj = gradient3d(x, a - 1, b - 1, c - 1)
                    gd, gi, gj = gd * vd, gi * vi, gj * vj
                else:
                    gi, gj = gradient2d(x, a, b - 1, c - 1)
                    gd, gi, gj = 0.0, gi * vi, gj * vj
                w = 1.0 / math.sqrt(max(ud * ud + ui * ui + uj * uj, least))
                square, along = gd * gd + gi * gi + gj * gj, gd * ud + gi * ui + gj * uj
                dd += w * (square - gd * gd)
                ii += w * (square - gi * gi)
                jj += w * (square - gj * gj)
                di -= w * gd * gi
                dj -= w * gd * gj
                ij -= w * gi * gj
                rd += w * (square * ud - along * gd)
                ri += w * (square * ui - along * gi)
                rj += w * (square * uj - along * gj)
    size = max(dd, ii, jj)
    if still[0]:
        dd, di, dj, rd = size, 0.0, 0.0, 0.0
    if still[1]:
        ii, di, ij, ri = size, 0.0, 0.0, 0.0
    if still[2]:
        jj, dj, ij, rj = size, 0.0, 0.0, 0.0
    unit, scale, m, det = scaled3d((jj, ii, dd, ij, dj, di))
    if not abs(det) < math.inf:
        return 0.0, 0.0, 0.0, _NONFINITE
    if abs(det) <= SINGULAR_TOLERANCE * m * m * m:
        return 0.0, 0.0, 0.0, _SINGULAR
    sj, si, sd = solved3d(unit, det, scale * rj, scale * ri, scale * rd)
    return sd * vd, si * vi, sj * vj, 0


@device
def _followed(window, position):
    """Return the pixel around which the box is, along an axis: it stays while the position is not far from it."""
    return round(position) if abs(position - window) > MOVE_THRESHOLD else window


@device
def radial(x, d0, i0, j0, n_iters, max_shift, half, spread):
    """Iterate the centre of radial symmetry until it converges; the box moves with it.

    The border cuts the box. An axis along which the start lies at the border stays as it is.
    """
    depth, height, width = x.shape
    volume = half[0] > 0
    start = (d0, i0, j0)
    value = float(x[d0, i0, j0])
    at_face = d0 == 0 or d0 == depth - 1
    still = (not volume or at_face, i0 == 0 or i0 == height - 1, j0 == 0 or j0 == width - 1)
    pd, pi, pj = float(d0), float(i0), float(j0)
    d, i, j = d0, i0, j0
    if still[0] and still[1] and still[2]:
        return pd, pi, pj, value, _AT_BORDER, start
    for _ in range(n_iters):
        sd, si, sj, flags = _nearest_point(x, (d, i, j), half, spread, (pd, pi, pj), still)
        if flags:
            return pd, pi, pj, value, flags, start
        # One by one: Numba's max drops a NaN, and the pixel of a NaN is out of bounds.
        if not ((abs(sd) < math.inf) & (abs(si) < math.inf) & (abs(sj) < math.inf)):
            return pd, pi, pj, value, _NONFINITE, start
        pd, pi, pj = pd + sd, pi + si, pj + sj
        if max(abs(pd - d0), abs(pi - i0), abs(pj - j0)) > max_shift:
            return pd, pi, pj, value, _TOO_FAR, start
        d1, i1, j1 = _followed(d, pd), _followed(i, pi), _followed(j, pj)
        if d1 < 0 or d1 >= depth or i1 < 0 or i1 >= height or j1 < 0 or j1 >= width:
            return pd, pi, pj, value, _AT_BORDER, start
        moved = d1 != d or i1 != i or j1 != j
        d, i, j = d1, i1, j1
        if not moved and max(abs(sd), abs(si), abs(sj)) <= CENTROID_TOLERANCE:
            d0, i0, j0 = round(pd), round(pi), round(pj)
            if d0 < 0 or d0 >= depth or i0 < 0 or i0 >= height or j0 < 0 or j0 >= width:
                return pd, pi, pj, value, _AT_BORDER, start
            flags = (_FIXED_Z if volume and still[0] else 0) | (_FIXED_Y if still[1] else 0)
            flags |= _FIXED_X if still[2] else 0
            if start != (d0, i0, j0):
                flags |= _MOVED
            return pd, pi, pj, float(x[d0, i0, j0]), flags, (d, i, j)
    return pd, pi, pj, value, _NOT_CONVERGED, start
