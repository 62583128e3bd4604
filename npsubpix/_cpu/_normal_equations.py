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

from npsubpix._cpu._inside import gatherers
from npsubpix._cpu._jit import Kernel, device, fused, kernel, summing
from npsubpix._cpu._taps import TAPS

__all__ = ["LOSSES", "MARGIN", "ROWS", "normal_equations"]

#: Rows of the fixed image that are summed together.
ROWS = 16

#: Pixels at the border of the moving image that are not compared, unless it is small: splines are less exact there.
MARGIN = 4

LOSSES = {"least_squares": 0, "huber": 1, "tukey": 2}

_values, _gradients = gatherers(TAPS["bspline3"])


@fused
def _place(i, matrix, height, width, margin, inside, scales, py, px, starts, t):  # type: ignore[no-untyped-def]
    """Find where row i goes: positions, and the windows of those that are inside."""
    y = np.float64(i)
    for j in range(inside.size):
        x = np.float64(j)
        w = 1.0 / (matrix[2, 0] * y + matrix[2, 1] * x + matrix[2, 2])
        v = (matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]) * w
        u = (matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]) * w
        good = (v >= margin) & (v < height - 1 - margin) & (u >= margin) & (u < width - 1 - margin)
        inside[j] = 1.0 if good else 0.0
        scales[j], py[j], px[j] = w, v, u
        v = v if good else 1.0
        u = u if good else 1.0
        a, b = np.floor(v), np.floor(u)
        starts[j] = (np.int32(a) - np.int32(1)) * np.int32(width) + np.int32(b) - np.int32(1)
        t[1, j] = v - a
        t[2, j] = u - b


@fused
def _gradient_of_row(c, i, gy, gx):  # type: ignore[no-untyped-def]
    """Gradient of a spline at the pixels of a row, but the first and the last."""
    above, here, below = c[i - 1], c[i], c[i + 1]
    third, twelfth = c.dtype.type(1.0 / 3.0), c.dtype.type(1.0 / 12.0)
    for j in range(1, gy.size - 1):
        corners = below[j - 1] - above[j - 1] + below[j + 1] - above[j + 1]
        gy[j] = third * (below[j] - above[j]) + twelfth * corners
    for j in range(1, gx.size - 1):
        corners = above[j + 1] - above[j - 1] + below[j + 1] - below[j - 1]
        gx[j] = third * (here[j + 1] - here[j - 1]) + twelfth * corners


@fused
def _compare(residuals, values, row, inside, gain, bias):  # type: ignore[no-untyped-def]
    for j in range(residuals.size):
        r = np.float64(values[j]) - gain * np.float64(row[j]) - bias
        residuals[j] = r if inside[j] > 0 else 0.0


@fused
def _derive(out, i, ay, ax, scales, py, px, b):  # type: ignore[no-untyped-def]
    """Differentiate the samples of row i by a parameter, by which the derivative of the matrix is b."""
    y = np.float64(i)
    for j in range(out.size):
        x = np.float64(j)
        s = b[2, 0] * y + b[2, 1] * x + b[2, 2]
        v = b[0, 0] * y + b[0, 1] * x + b[0, 2] - py[j] * s
        u = b[1, 0] * y + b[1, 1] * x + b[1, 2] - px[j] * s
        out[j] = (ay[j] * v + ax[j] * u) * scales[j]


@fused
def _weighed(out, row, weights):  # type: ignore[no-untyped-def]
    for j in range(out.size):
        out[j] = row[j] * weights[j] if weights[j] > 0 else 0.0


@summing
def _product(a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@device
def _robust_weight(r, scale, loss):  # type: ignore[no-untyped-def]
    if loss == 1:
        return 1.0 if abs(r) <= scale else scale / abs(r)
    if loss == 2:
        u = r / scale
        return (1.0 - u * u) * (1.0 - u * u) if abs(u) < 1.0 else 0.0
    return 1.0


@device
def _leave_out(inside, row, hidden, bad, py, px):  # type: ignore[no-untyped-def]
    """Take out pixels that are hidden, whose samples are among bad ones, or that have no gradient."""
    inside[0] = inside[inside.size - 1] = 0.0
    for j in range(inside.size):
        if hidden.size > 0 and hidden[row, j]:
            inside[j] = 0.0
        if bad.size > 0 and inside[j] > 0:
            a, b = np.int64(py[j]), np.int64(px[j])
            if bad[a, b] or bad[a + 1, b] or bad[a, b + 1] or bad[a + 1, b + 1]:
                inside[j] = 0.0


def _make(name: str, inverse: bool) -> Kernel:
    @device
    def add_row(sums, i, fixed, fixed_spline, moving, hidden, bad, matrix, basis, gain, bias, scale, loss, size):  # type: ignore[no-untyped-def]
        """Add row i to sums: the lower triangle of J'J, J'r, weights, weighted squares, and the number of pixels."""
        width = fixed.shape[1]
        height_m, width_m = moving.shape
        margin = MARGIN if min(height_m, width_m) >= 8 * MARGIN else 1
        F = fixed.dtype.type
        lines = np.zeros((8, width))
        inside, scales, py, px = lines[0], lines[1], lines[2], lines[3]
        residuals, weights, weighed, ones = lines[4], lines[5], lines[6], lines[7]
        samples = np.zeros((3, width), F)
        starts, t = np.empty(width, np.int32), np.zeros((3, width), F)
        jacobian = np.empty((size, width))
        _place(i, matrix, height_m, width_m, margin, inside, scales, py, px, starts, t)
        _leave_out(inside, i, hidden, bad, py, px)
        count = inside.sum()
        if count == 0:
            return
        plane, shape = moving.reshape(moving.size), (1, height_m, width_m)
        if inverse:
            _values(plane, starts, t, shape, 2, (0, 0), False, samples[0])
            _gradient_of_row(fixed_spline, i, samples[1], samples[2])
            samples[1:] *= F(-gain)
            py[:], scales[:] = i, 1.0
            for j in range(width):
                px[j] = j
        else:
            _gradients(plane, starts, t, shape, 2, (0, 0), False, samples[0], samples[1], samples[1], samples[2])
        _compare(residuals, samples[0], fixed[i], inside, gain, bias)
        for j in range(width):
            weights[j] = _robust_weight(residuals[j], scale, loss) if inside[j] > 0 else 0.0
        ones[:] = 1.0
        parameters = basis.shape[0]
        for k in range(parameters):
            _derive(jacobian[k], i, samples[1], samples[2], scales, py, px, basis[k])
        if size > parameters:
            for j in range(width):
                jacobian[parameters, j] = -np.float64(fixed[i, j])
            jacobian[parameters + 1] = -1.0
        for k in range(size):  # what is left out may not be finite
            _weighed(jacobian[k], jacobian[k], inside)
        place = 0
        for k in range(size):
            _weighed(weighed, jacobian[k], weights)
            for m in range(k + 1):
                sums[place] += _product(weighed, jacobian[m])
                place += 1
            sums[place] += _product(weighed, residuals)
            place += 1
        _weighed(weighed, residuals, weights)
        sums[place] += _product(weights, ones)
        sums[place + 1] += _product(weighed, residuals)
        sums[place + 2] += count

    @kernel(f"normal_equations_{name}")
    def equations(  # type: ignore[no-untyped-def]
        fixed, fixed_spline, moving, hidden, bad, matrix, basis, gain, bias, scale, loss, size, out
    ):
        height = fixed.shape[0]
        blocks, length = out.shape
        for r in prange(blocks):
            sums = np.zeros(length)
            for i in range(max(r * ROWS, 1), min((r + 1) * ROWS, height - 1)):
                add_row(sums, i, fixed, fixed_spline, moving, hidden, bad, matrix, basis, gain, bias, scale, loss, size)
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
