"""One iteration of image alignment: sample, differentiate, compare and sum, in one pass over the pixels.

For each pixel x of the fixed image F, the moving image M is sampled at W(x), for a matrix W. The
residual is r = M(W(x)) - a F(x) - b, with gain a and bias b. Its derivatives by the parameters of the
transform are the gradient of M there, or -a times that of F at x, times the derivatives of a
projected point by the entries of matrices. What is summed are products of derivatives, and of
derivatives and residual: the normal equations. Nothing of the size of an image is written.

Images come as coefficients of cubic B-splines, and the fixed one as pixels too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu._jit import Kernel, device, fused, kernel
from npsubpix._cpu._taps import TAPS

__all__ = ["LOSSES", "MARGIN", "ROWS", "normal_equations"]

#: Rows of the fixed image that are summed together.
ROWS = 16

#: Pixels at the border of the moving image that are not compared, unless it is small: splines are less exact there.
MARGIN = 4

LOSSES = {"least_squares": 0, "huber": 1, "tukey": 2}

_weights, _slopes = TAPS["bspline3"].weights, TAPS["bspline3"].slopes
_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)


@fused
def _sample(c, o, width, ty, tx, F):  # type: ignore[no-untyped-def]
    """Value and gradient of a spline whose first coefficient is at o."""
    u, du = _weights(tx, F, (0, 0)), _slopes(tx, F, (0, 0))
    v, dv = _weights(ty, F, (0, 0)), _slopes(ty, F, (0, 0))
    a, b, d, e = F(0), F(0), F(0), F(0)
    p, q, r, s = F(0), F(0), F(0), F(0)
    for k in range(4):
        w, x, y, z = F(c[o]), F(c[o + _ONE]), F(c[o + _TWO]), F(c[o + _THREE])
        a += v[k] * w
        b += v[k] * x
        d += v[k] * y
        e += v[k] * z
        p += dv[k] * w
        q += dv[k] * x
        r += dv[k] * y
        s += dv[k] * z
        o += width
    value = u[0] * a + u[1] * b + u[2] * d + u[3] * e
    return value, u[0] * p + u[1] * q + u[2] * r + u[3] * s, du[0] * a + du[1] * b + du[2] * d + du[3] * e


@fused
def _gradient_at_pixel(c, i, j, F):  # type: ignore[no-untyped-def]
    """Gradient of a spline at a pixel."""
    third, sixth = F(1.0 / 3.0), F(1.0 / 12.0)
    gy = third * (c[i + 1, j] - c[i - 1, j]) + sixth * (
        c[i + 1, j - 1] - c[i - 1, j - 1] + c[i + 1, j + 1] - c[i - 1, j + 1]
    )
    gx = third * (c[i, j + 1] - c[i, j - 1]) + sixth * (
        c[i - 1, j + 1] - c[i - 1, j - 1] + c[i + 1, j + 1] - c[i + 1, j - 1]
    )
    return gy, gx


@device
def _robust_weight(r, scale, loss):  # type: ignore[no-untyped-def]
    if loss == 1:
        return 1.0 if abs(r) <= scale else scale / abs(r)
    if loss == 2:
        u = r / scale
        return (1.0 - u * u) * (1.0 - u * u) if abs(u) < 1.0 else 0.0
    return 1.0


def _make(name: str, inverse: bool) -> Kernel:
    @fused
    def row_equations(  # type: ignore[no-untyped-def]
        sums, jacobian, i, fixed, fixed_spline, moving, hidden, masked, bad, matrix, basis, gain, bias, scale, loss
    ):
        """Add row i to sums: the lower triangle of J'J, J'r, weights, weighted squares, and the number of pixels."""
        width = fixed.shape[1]
        height_m, width_m = moving.shape
        margin = MARGIN if min(height_m, width_m) >= 8 * MARGIN else 1
        F = fixed.dtype.type
        flat = moving.reshape(moving.size)
        count = basis.shape[0]
        size = jacobian.size
        y = np.float64(i)
        for j in range(1, width - 1):
            if masked and hidden[i, j]:
                continue
            x = np.float64(j)
            w = matrix[2, 0] * y + matrix[2, 1] * x + matrix[2, 2]
            py = (matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]) / w
            px = (matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]) / w
            if not (margin <= py < height_m - 1 - margin and margin <= px < width_m - 1 - margin):
                continue
            iy, ix = np.int64(py), np.int64(px)
            if bad.size > 0 and (bad[iy, ix] or bad[iy + 1, ix] or bad[iy, ix + 1] or bad[iy + 1, ix + 1]):
                continue
            o = np.uint64((iy - 1) * width_m + ix - 1)
            value, gy, gx = _sample(flat, o, np.uint64(width_m), F(py - iy), F(px - ix), F)
            r = np.float64(value) - gain * np.float64(fixed[i, j]) - bias
            if inverse:
                fy, fx = _gradient_at_pixel(fixed_spline, i, j, F)
                ay, ax = -gain * np.float64(fy), -gain * np.float64(fx)
                qy, qx, scaled = y, x, 1.0
            else:
                ay, ax = np.float64(gy), np.float64(gx)
                qy, qx, scaled = py, px, 1.0 / w
            across = -(ay * qy + ax * qx) * scaled
            ay *= scaled
            ax *= scaled
            for k in range(count):
                b0 = basis[k, 0, 0] * y + basis[k, 0, 1] * x + basis[k, 0, 2]
                b1 = basis[k, 1, 0] * y + basis[k, 1, 1] * x + basis[k, 1, 2]
                b2 = basis[k, 2, 0] * y + basis[k, 2, 1] * x + basis[k, 2, 2]
                jacobian[k] = ay * b0 + ax * b1 + across * b2
            if size > count:
                jacobian[count] = -np.float64(fixed[i, j])
                jacobian[count + 1] = -1.0
            weight = _robust_weight(r, scale, loss)
            place = 0
            for k in range(size):
                weighted = weight * jacobian[k]
                for m in range(k + 1):
                    sums[place] += weighted * jacobian[m]
                    place += 1
                sums[place] += weighted * r
                place += 1
            sums[place] += weight
            sums[place + 1] += weight * r * r
            sums[place + 2] += 1.0

    @kernel(f"normal_equations_{name}")
    def equations(fixed, fixed_spline, moving, hidden, bad, matrix, basis, gain, bias, scale, loss, size, out):  # type: ignore[no-untyped-def]
        height = fixed.shape[0]
        blocks, length = out.shape
        for r in prange(blocks):
            sums, jacobian = np.zeros(length), np.empty(size)
            for i in range(max(r * ROWS, 1), min((r + 1) * ROWS, height - 1)):
                row_equations(
                    sums,
                    jacobian,
                    i,
                    fixed,
                    fixed_spline,
                    moving,
                    hidden,
                    hidden.size > 0,
                    bad,
                    matrix,
                    basis,
                    gain,
                    bias,
                    scale,
                    loss,
                )
            out[r] = sums

    return equations


_kernels = {True: _make("inverse", inverse=True), False: _make("forward", inverse=False)}


def normal_equations(inverse: bool, size: int, height: int, work: int, *arguments: Any) -> tuple[Any, ...]:
    """Return J'J, J'r, the sum of weights, the sum of weighted squares, and the number of pixels."""
    length = size * (size + 1) // 2 + size + 3
    partial = np.zeros((-(-height // ROWS), length))
    _kernels[inverse].run(work, *arguments, size, partial)
    sums = partial.sum(0)
    products, right = np.zeros((size, size)), np.zeros(size)
    place = 0
    for k in range(size):
        products[k, : k + 1] = sums[place : place + k + 1]
        products[: k + 1, k] = products[k, : k + 1]
        right[k] = sums[place + k + 1]
        place += k + 2
    return products, right, sums[-3], sums[-2], sums[-1]
