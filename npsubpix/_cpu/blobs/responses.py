"""Responses of a level to blobs, row by row: Laplacians, and determinants of Hessians, of fourth order.

Images have shape (D, H, W). Rows beyond the ends are those of the image reflected about its edge. `factors` are
those of second derivatives along (z, y, x), 0 for an axis that is not used.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import device, fused, kernel
from npsubpix._definitions.scale_space import FIRST, LAPLACIAN

__all__ = ["hessian_kernel", "laplacian_kernel", "subtract_kernel"]

_BAND = 16  # rows that one thread computes one after the other

_W0, _W1, _W2 = (np.float32(w) for w in LAPLACIAN)
_F1, _F2 = (np.float32(w) for w in FIRST)


@device
def _folded(i, n):
    """Return the pixel of which one beyond the ends, by two at most, is the reflection."""
    if i < 0:
        i = -1 - i
    if i >= n:
        i = 2 * n - 1 - i
    return min(max(i, 0), n - 1)


@device
def _pad(line, row):
    """Copy a row with two pixels beyond each end."""
    n = row.size
    for j in range(n):
        line[j + 2] = row[j]
    line[0], line[1] = row[_folded(-2, n)], row[_folded(-1, n)]
    line[n + 2], line[n + 3] = row[_folded(n, n)], row[_folded(n + 1, n)]


@fused
def _along(out, line, factor):
    """Write the negative second derivative along a row that has two pixels more at each end."""
    centre, near, far = -factor * _W0, -factor * _W1, -factor * _W2
    for j in range(out.size):
        out[j] = centre * line[j + 2] + near * (line[j + 1] + line[j + 3]) + far * (line[j] + line[j + 4])


@fused
def _across(out, a, b, c, d, e, factor):
    """Add the negative second derivative across rows."""
    centre, near, far = -factor * _W0, -factor * _W1, -factor * _W2
    for j in range(out.size):
        out[j] += centre * c[j] + near * (b[j] + d[j]) + far * (a[j] + e[j])


@fused
def _slope_along(out, line):
    for j in range(out.size):
        out[j] = _F1 * (line[j + 3] - line[j + 1]) + _F2 * (line[j + 4] - line[j])


@fused
def _slope_across(out, a, b, d, e):
    for j in range(out.size):
        out[j] = _F1 * (d[j] - b[j]) + _F2 * (e[j] - a[j])


@kernel("blob_laplacian")
def laplacian_kernel(x, factors, out):
    """Write the negative Laplacian in units of the width."""
    depth, height, width = x.shape
    fz, fy, fx = np.float32(factors[0]), np.float32(factors[1]), np.float32(factors[2])
    rows = depth * height
    for band in prange((rows + _BAND - 1) // _BAND):
        line = np.empty(width + 4, np.float32)
        for r in range(band * _BAND, min((band + 1) * _BAND, rows)):
            z, i = r // height, r % height
            _pad(line, x[z, i])
            _along(out[z, i], line, fx)
            i0, i1, i2, i3 = (_folded(i - 2, height), _folded(i - 1, height), _folded(i + 1, height),
                              _folded(i + 2, height))  # fmt: skip
            _across(out[z, i], x[z, i0], x[z, i1], x[z, i], x[z, i2], x[z, i3], fy)
            if fz > 0:
                z0, z1, z2, z3 = (
                    _folded(z - 2, depth),
                    _folded(z - 1, depth),
                    _folded(z + 1, depth),
                    _folded(z + 2, depth),
                )
                _across(out[z, i], x[z0, i], x[z1, i], x[z, i], x[z2, i], x[z3, i], fz)


@device
def _determinants2(out, yy, xx, xy):
    for j in range(out.size):
        a, b, c = np.float64(yy[j]), np.float64(xx[j]), np.float64(xy[j])
        det = a * b - c * c
        value = 2.0 * math.sqrt(det) if det > 0.0 else 0.0
        out[j] = value if b > 0.0 else -value


@device
def _determinants3(out, zz, yy, xx, yx, zx, zy):
    for j in range(out.size):
        a, b, c = np.float64(zz[j]), np.float64(yy[j]), np.float64(xx[j])
        p, q, r = np.float64(yx[j]), np.float64(zx[j]), np.float64(zy[j])
        minor = b * c - p * p
        det = a * minor - r * (r * c - q * p) + q * (r * p - q * b)
        value = 3.0 * abs(det) ** (1.0 / 3.0) if (minor > 0.0) & (det * c > 0.0) else 0.0
        out[j] = value if c > 0.0 else -value


@kernel("blob_hessian")
def hessian_kernel(x, factors, out):
    """Write the root of the determinant of the negative Hessian times the number of axes, 0 at saddles."""
    depth, height, width = x.shape
    fz, fy, fx = np.float32(factors[0]), np.float32(factors[1]), np.float32(factors[2])
    rows = depth * height
    near = np.array([-2, -1, 1, 2])
    for band in prange((rows + _BAND - 1) // _BAND):
        line = np.empty(width + 4, np.float32)
        slopes = np.empty((4, width), np.float32)
        second = np.empty((6, width), np.float32)
        for r in range(band * _BAND, min((band + 1) * _BAND, rows)):
            z, i = r // height, r % height
            y = (_folded(i - 2, height), _folded(i - 1, height), _folded(i + 1, height), _folded(i + 2, height))
            _pad(line, x[z, i])
            _along(second[2], line, fx)
            second[1, :] = 0
            _across(second[1], x[z, y[0]], x[z, y[1]], x[z, i], x[z, y[2]], x[z, y[3]], fy)
            for k in range(4):
                _pad(line, x[z, _folded(i + near[k], height)])
                _slope_along(slopes[k], line)
            _slope_across(second[3], slopes[0], slopes[1], slopes[2], slopes[3])
            second[3] *= np.sqrt(fy * fx)
            if fz == 0:
                _determinants2(out[z, i], second[1], second[2], second[3])
                continue
            d = (_folded(z - 2, depth), _folded(z - 1, depth), _folded(z + 1, depth), _folded(z + 2, depth))
            second[0, :] = 0
            _across(second[0], x[d[0], i], x[d[1], i], x[z, i], x[d[2], i], x[d[3], i], fz)
            for k in range(4):
                _pad(line, x[_folded(z + near[k], depth), i])
                _slope_along(slopes[k], line)
            _slope_across(second[4], slopes[0], slopes[1], slopes[2], slopes[3])
            second[4] *= np.sqrt(fz * fx)
            for k in range(4):
                plane = _folded(z + near[k], depth)
                _slope_across(slopes[k], x[plane, y[0]], x[plane, y[1]], x[plane, y[2]], x[plane, y[3]])
            _slope_across(second[5], slopes[0], slopes[1], slopes[2], slopes[3])
            second[5] *= np.sqrt(fz * fy)
            _determinants3(out[z, i], second[0], second[1], second[2], second[3], second[4], second[5])


@kernel("blob_difference")
def subtract_kernel(x, y, out):
    """Write the difference of two images."""
    depth, height, width = x.shape
    for r in prange(depth * height):
        z, i = r // height, r % height
        a, b, c = x[z, i], y[z, i], out[z, i]
        for j in range(width):
            c[j] = a[j] - b[j]
