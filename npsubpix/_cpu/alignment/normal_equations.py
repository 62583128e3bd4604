"""One iteration of image alignment: sample, differentiate, compare and sum, in one pass over the pixels.

For each pixel p of the fixed image F, the moving image M is sampled at W(p), for a matrix W. The
residual is r = M(W(p)) - a F(p) - b, with gain a and bias b. Its derivatives by the parameters of the
transform are the gradient of M there, or -a times that of F at p, times the derivatives of a
projected point by the entries of matrices. All of them are combinations of few signals times 1, x
and y: the gradient (along y and x, over the depth of the projected point), minus its product with
the projected point, F, 1 and r. So for each pair of signals the sums of their products times powers
of x and y are taken, from which the normal equations follow, whatever the parameters are. Nothing
of the size of an image is written.

Noise has a gradient too, which adds to products of the gradient of F with itself, but not to those
with the gradient of M: by these crossed products, the true sensitivity, errors are estimated.

Images come as coefficients of cubic B-splines, and the fixed one as pixels too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.alignment.rows import gradients_of_row, values_of_row
from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel, summing
from npsubpix._definitions.alignment.normal_equations import CROSSED, SIGNALS, Equations, equations_of, margin_of

__all__ = ["normal_equations"]

#: Rows of the fixed image that are summed together.
_ROWS = 16

#: Powers of x and of y that a product of two signals is multiplied by: 0, 1 and 2.
_POWERS = 3


_margin = device(margin_of)


@fused
def _place(i, matrix, height, width, margin, inside, scales, py, px, starts, t):
    """Find where row i goes: positions, and the windows of those that are inside."""
    F = inside.dtype.type
    y = np.float64(i)
    if matrix[2, 0] == 0 and matrix[2, 1] == 0:
        depth = 1.0 / matrix[2, 2]
        for j in range(inside.size):
            x = np.float64(j)
            scales[j] = depth
            py[j] = (matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]) * depth
            px[j] = (matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]) * depth
    else:
        for j in range(inside.size):
            x = np.float64(j)
            depth = 1.0 / (matrix[2, 0] * y + matrix[2, 1] * x + matrix[2, 2])
            scales[j] = depth
            py[j] = (matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]) * depth
            px[j] = (matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]) * depth
    for j in range(inside.size):
        v, u = py[j], px[j]
        good = (v >= margin) & (v < height - 1 - margin) & (u >= margin) & (u < width - 1 - margin)
        inside[j] = F(1.0) if good else F(0.0)
        v = v if good else 1.0
        u = u if good else 1.0
        a, b = np.floor(v), np.floor(u)
        starts[j] = (np.int32(a) - np.int32(1)) * np.int32(width) + np.int32(b) - np.int32(1)
        t[1, j] = v - a
        t[2, j] = u - b


@fused
def _gradient_of_row(c, i, factor, gy, gx):
    """Gradient of a spline at the pixels of a row, but the first and the last, times a factor."""
    above, here, below = c[i - 1], c[i], c[i + 1]
    third, twelfth = factor / c.dtype.type(3.0), factor / c.dtype.type(12.0)
    for j in range(1, gy.size - 1):
        corners = below[j - 1] - above[j - 1] + below[j + 1] - above[j + 1]
        gy[j] = third * (below[j] - above[j]) + twelfth * corners
    for j in range(1, gx.size - 1):
        corners = above[j + 1] - above[j - 1] + below[j + 1] - below[j - 1]
        gx[j] = third * (here[j + 1] - here[j - 1]) + twelfth * corners


@fused
def _compare(residuals, values, row, inside, gain, bias):
    F = residuals.dtype.type
    for j in range(residuals.size):
        r = np.float64(values[j]) - gain * np.float64(row[j]) - bias
        residuals[j] = F(r) if inside[j] > 0 else F(0)


@fused
def _clear(gy, gx, inside):
    """Set to 0 what is left out, which may not be finite."""
    F = gy.dtype.type
    for j in range(gy.size):
        gy[j] = gy[j] if inside[j] > 0 else F(0)
        gx[j] = gx[j] if inside[j] > 0 else F(0)


@fused
def _deepen(gy, gx, depth, scales, py, px, cy, cx):
    """Divide the gradient by the depth of the projected points, and multiply it with them."""
    F = gy.dtype.type
    for j in range(gy.size):
        v, u = np.float64(gy[j]) * scales[j], np.float64(gx[j]) * scales[j]
        gy[j], gx[j] = F(v), F(u)
        depth[j] = F(-(v * (py[j] - cy) + u * (px[j] - cx)))


@fused
def _pull_back(gy, gx, matrix, scales, py, px):
    """Turn gradients of the moving image into those of the image warped by the matrix, times -1."""
    F = gy.dtype.type
    for j in range(gy.size):
        v, u, w = np.float64(gy[j]), np.float64(gx[j]), -scales[j]
        gy[j] = F(w * ((matrix[0, 0] - py[j] * matrix[2, 0]) * v + (matrix[1, 0] - px[j] * matrix[2, 0]) * u))
        gx[j] = F(w * ((matrix[0, 1] - py[j] * matrix[2, 1]) * v + (matrix[1, 1] - px[j] * matrix[2, 1]) * u))


@summing
def _moments(a, b, x):
    """Sum the products of two signals, times 1, x and x squared."""
    none, first, second = 0.0, 0.0, 0.0
    for j in range(a.size):
        p = np.float64(a[j] * b[j])
        q = p * x[j]
        none += p
        first += q
        second += q * x[j]
    return none, first, second


@summing
def _sum(a):
    total = 0.0
    for j in range(a.size):
        total += np.float64(a[j])
    return total


@device
def _weigh(weights, residuals, inside, scale, loss):
    F = weights.dtype.type
    for j in range(weights.size):
        r = np.float64(residuals[j])
        if loss == 1:
            w = 1.0 if abs(r) <= scale else scale / abs(r)
        else:
            u = r / scale
            w = (1.0 - u * u) * (1.0 - u * u) if abs(u) < 1.0 else 0.0
        weights[j] = F(w) * inside[j]


@fused
def _product(out, a, b):
    for j in range(out.size):
        out[j] = a[j] * b[j]


@device
def _leave_out(inside, row, hidden, bad, py, px):
    """Take out pixels that are hidden, whose samples are among bad ones, or that have no gradient."""
    inside[0] = inside[inside.size - 1] = 0
    if hidden.size > 0:
        for j in range(inside.size):
            if hidden[row, j]:
                inside[j] = 0
    if bad.size > 0:
        for j in range(inside.size):
            if inside[j] > 0:
                a, b = np.int64(py[j]), np.int64(px[j])
                if bad[a, b] or bad[a + 1, b] or bad[a, b + 1] or bad[a + 1, b + 1]:
                    inside[j] = 0


def _make(name: str, inverse: bool) -> Kernel:
    @device
    def add_row(sums, totals, i, images, matrix, gain, bias, scale, loss, shown, scratch):
        """Add the products of the signals of row i to sums (pairs, powers of y, powers of x)."""
        fixed, fixed_spline, moving, hidden, bad = images
        x, lines, signals, weighed, starts, t = scratch
        height_m, width_m = moving.shape
        margin = _margin((height_m, width_m))
        F = fixed.dtype.type
        scales, py, px = lines[0], lines[1], lines[2]
        gy, gx, residuals, inside = signals[0], signals[1], signals[5], signals[4]
        values, weights = weighed[0], weighed[SIGNALS]
        _place(i, matrix, height_m, width_m, margin, inside, scales, py, px, starts, t)
        _leave_out(inside, i, hidden, bad, py, px)
        count = _sum(inside)
        if count == 0:
            return
        plane, shape = moving.reshape(moving.size), (1, height_m, width_m)
        if inverse:
            if shown[CROSSED]:
                moving_y, moving_x = signals[CROSSED], signals[CROSSED + 1]
                gradients_of_row(plane, starts, t, shape, values, moving_y, moving_x)
                _pull_back(moving_y, moving_x, matrix, scales, py, px)
                _clear(moving_y, moving_x, inside)
            else:
                values_of_row(plane, starts, t, shape, values)
            _gradient_of_row(fixed_spline, i, F(-gain), gy, gx)
            if shown[2]:
                py[:], scales[:] = i, 1.0
                for j in range(px.size):
                    px[j] = j
        else:
            gradients_of_row(plane, starts, t, shape, values, gy, gx)
        _clear(gy, gx, inside)
        _compare(residuals, values, fixed[i], inside, gain, bias)
        if shown[2]:
            cy, cx = 0.5 * (fixed.shape[0] - 1), 0.5 * (fixed.shape[1] - 1)
            _deepen(gy, gx, signals[2], scales, py, px, cy, cx)
            if shown[CROSSED]:
                last = CROSSED + 2
                _deepen(signals[CROSSED], signals[CROSSED + 1], signals[last], scales, py, px, cy, cx)
        if shown[3]:
            _product(signals[3], fixed[i], inside)
        if loss > 0:
            _weigh(weights, residuals, inside, scale, loss)
        else:
            copy_to(weights, inside)
        y = np.float64(i) - 0.5 * (fixed.shape[0] - 1)
        place = 0
        for k in range(SIGNALS):
            if shown[k] and loss > 0:
                _product(weighed[k], signals[k], weights)
            for m in range(k + 1):
                if shown[k] and shown[m]:
                    none, first, second = _moments(weighed[k] if loss > 0 else signals[k], signals[m], x)
                    power = 1.0
                    for n in range(3):
                        sums[place, n, 0] += power * none
                        sums[place, n, 1] += power * first
                        sums[place, n, 2] += power * second
                        power *= y
                place += 1
        totals[0] += _sum(weights)
        totals[1] += count

    @kernel(f"normal_equations_{name}")
    def equations(fixed, fixed_spline, moving, hidden, bad, matrix, gain, bias, scale, loss, shown, sums, totals):
        height, width = fixed.shape
        images = fixed, fixed_spline, moving, hidden, bad
        for r in prange(sums.shape[0]):
            x = np.arange(width) - 0.5 * (width - 1)
            lines = np.zeros((3, width))
            signals, weighed = np.zeros((SIGNALS, width), fixed.dtype), np.zeros((SIGNALS + 1, width), fixed.dtype)
            starts, t = np.empty(width, np.int32), np.zeros((3, width), fixed.dtype)
            scratch = x, lines, signals, weighed, starts, t
            for i in range(max(r * _ROWS, 1), min((r + 1) * _ROWS, height - 1)):
                add_row(sums[r], totals[r], i, images, matrix, gain, bias, scale, loss, shown, scratch)

    return equations


_kernels = {True: _make("inverse", inverse=True), False: _make("forward", inverse=False)}


def normal_equations(
    inverse: bool,
    gain_bias: bool,
    crossed: bool,
    basis: HostArray,
    images: tuple[HostArray, ...],
    work: int,
    *options: Any,
) -> Equations:
    """Sum up the equations of one iteration; `crossed` products are of the inverse form only."""
    shape = images[0].shape
    matrix = options[0]
    perspective = bool(basis[:, 2].any() or matrix[2, :2].any() or matrix[2, 2] != 1)
    of_moving = crossed and inverse
    shown = [True, True, perspective, gain_bias, gain_bias, True, of_moving, of_moving, of_moving and perspective]
    blocks, pairs = -(-shape[0] // _ROWS), SIGNALS * (SIGNALS + 1) // 2
    sums, totals = np.zeros((blocks, pairs, _POWERS, _POWERS)), np.zeros((blocks, 2))
    _kernels[inverse].run(work, *images, *options, np.array(shown), sums, totals)
    moments = np.zeros((SIGNALS, SIGNALS, _POWERS, _POWERS))
    below = np.tril_indices(SIGNALS)
    moments[below] = moments[below[::-1]] = sums.sum(0)
    powers_y, powers_x = np.array([0, 0, 1]), np.array([0, 1, 0])  # of 1, x and y
    gram = moments[:, :, powers_y[:, None] + powers_y, powers_x[:, None] + powers_x].transpose(0, 2, 1, 3)
    gram = gram.reshape(3 * SIGNALS, 3 * SIGNALS)
    weight, count = totals.sum(0)
    return equations_of(gram, basis, shape, gain_bias, of_moving, weight, count)
