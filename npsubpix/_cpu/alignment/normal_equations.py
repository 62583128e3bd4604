"""One iteration of image alignment: sample, differentiate, compare and sum, in one pass over the pixels.

For each pixel p of the fixed image F, the moving image M is sampled at W(p), for a matrix W. The residual is
r = M(W(p)) - a F(p) - b, with gain a and bias b. Its derivatives with respect to the parameters of the transform are
the gradient of M there, or -a times that of F at p, times the derivatives of a projected point with respect to the
entries of matrices. All of them are linear combinations of few signals times 1, x and y, which
`_definitions/alignment/normal_equations.py` lists. For each pair of signals, the kernel sums their products times
powers of x and y. The normal equations follow from these sums for any parameters, and nothing of the size of an image
is written.

Noise has a gradient too, which adds to products of the gradient of F with itself, but not to those with the gradient
of M: these crossed products, the true sensitivity, give the standard errors.

Images come as coefficients of cubic B-splines, and the fixed one as pixels too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.alignment.rows import gradients_of_row, values_of_row
from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel, summing
from npsubpix._definitions.alignment.gauss_newton import Comparison
from npsubpix._definitions.alignment.normal_equations import (
    CROSSED,
    FIXED,
    PROJECTED,
    SIGNALS,
    Equations,
    equations_of,
    has_perspective,
    margin_of,
)

__all__ = ["ComparedImages", "normal_equations"]

#: Rows of the fixed image that are summed together.
_ROWS = 16

#: Powers of x and of y that a product of two signals is multiplied by: 0, 1 and 2.
_POWERS = 3

_margin = device(margin_of)


@fused
def _place(i, matrix, height, width, margin, inside, scales, py, px, starts, t):
    """Project the pixels of row i: positions, and the windows of those inside the moving image."""
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
    """Write the gradient of a spline at the pixels of a row, except the first and the last, times a factor."""
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
    """Set gradients of ignored pixels, which may not be finite, to 0."""
    F = gy.dtype.type
    for j in range(gy.size):
        gy[j] = gy[j] if inside[j] > 0 else F(0)
        gx[j] = gx[j] if inside[j] > 0 else F(0)


@fused
def _project_gradient(gy, gx, product, scales, py, px, cy, cx):
    """Divide the gradient by the depth of the projected points; write the negative of its product with them."""
    F = gy.dtype.type
    for j in range(gy.size):
        v, u = np.float64(gy[j]) * scales[j], np.float64(gx[j]) * scales[j]
        gy[j], gx[j] = F(v), F(u)
        product[j] = F(-(v * (py[j] - cy) + u * (px[j] - cx)))


@fused
def _pull_back(gy, gx, matrix, scales, py, px):
    """Convert gradients of the moving image to those of the image warped by the matrix, times -1."""
    F = gy.dtype.type
    for j in range(gy.size):
        v, u, w = np.float64(gy[j]), np.float64(gx[j]), -scales[j]
        gy[j] = F(w * ((matrix[0, 0] - py[j] * matrix[2, 0]) * v + (matrix[1, 0] - px[j] * matrix[2, 0]) * u))
        gx[j] = F(w * ((matrix[0, 1] - py[j] * matrix[2, 1]) * v + (matrix[1, 1] - px[j] * matrix[2, 1]) * u))


@summing
def _moments(a, b, x):
    """Sum the products of two signals, times 1, x and x squared."""
    total, first, second = 0.0, 0.0, 0.0
    for j in range(a.size):
        p = np.float64(a[j] * b[j])
        q = p * x[j]
        total += p
        first += q
        second += q * x[j]
    return total, first, second


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
def _ignore(inside, row, fixed_mask, moving_mask, py, px):
    """Ignore pixels that are masked in either image, and those at the ends of a row, which have no gradient."""
    inside[0] = inside[inside.size - 1] = 0
    if fixed_mask.size > 0:
        for j in range(inside.size):
            if fixed_mask[row, j]:
                inside[j] = 0
    if moving_mask.size > 0:
        for j in range(inside.size):
            if inside[j] > 0:
                a, b = np.int64(py[j]), np.int64(px[j])
                if moving_mask[a, b] or moving_mask[a + 1, b] or moving_mask[a, b + 1] or moving_mask[a + 1, b + 1]:
                    inside[j] = 0


def _equations_kernel(name: str, inverse: bool) -> Kernel:
    """Make the kernel that differentiates the fixed image, if `inverse`, or the moving one."""

    @device
    def add_row(sums, totals, i, images, matrix, gain, bias, scale, loss, used, scratch):
        """Add the products of the signals of row i to sums (pairs, powers of y, powers of x)."""
        fixed, fixed_spline, moving_spline, fixed_mask, moving_mask = images
        x, lines, signals, weighed, starts, t = scratch
        moving_height, moving_width = moving_spline.shape
        margin = _margin((moving_height, moving_width))
        F = fixed.dtype.type
        scales, py, px = lines[0], lines[1], lines[2]
        gy, gx, residuals, inside = signals[0], signals[1], signals[5], signals[4]
        values, weights = weighed[0], weighed[SIGNALS]
        _place(i, matrix, moving_height, moving_width, margin, inside, scales, py, px, starts, t)
        _ignore(inside, i, fixed_mask, moving_mask, py, px)
        count = _sum(inside)
        if count == 0:
            return
        plane, shape = moving_spline.reshape(moving_spline.size), (1, moving_height, moving_width)
        if inverse:
            if used[CROSSED]:
                moving_y, moving_x = signals[CROSSED], signals[CROSSED + 1]
                gradients_of_row(plane, starts, t, shape, values, moving_y, moving_x)
                _pull_back(moving_y, moving_x, matrix, scales, py, px)
                _clear(moving_y, moving_x, inside)
            else:
                values_of_row(plane, starts, t, shape, values)
            _gradient_of_row(fixed_spline, i, F(-gain), gy, gx)
            if used[PROJECTED]:
                py[:], scales[:] = i, 1.0
                for j in range(px.size):
                    px[j] = j
        else:
            gradients_of_row(plane, starts, t, shape, values, gy, gx)
        _clear(gy, gx, inside)
        _compare(residuals, values, fixed[i], inside, gain, bias)
        if used[PROJECTED]:
            cy, cx = 0.5 * (fixed.shape[0] - 1), 0.5 * (fixed.shape[1] - 1)
            _project_gradient(gy, gx, signals[PROJECTED], scales, py, px, cy, cx)
            if used[CROSSED]:
                crossed_y, crossed_x = signals[CROSSED], signals[CROSSED + 1]
                _project_gradient(crossed_y, crossed_x, signals[CROSSED + PROJECTED], scales, py, px, cy, cx)
        if used[FIXED]:
            _product(signals[FIXED], fixed[i], inside)
        if loss > 0:
            _weigh(weights, residuals, inside, scale, loss)
        else:
            copy_to(weights, inside)
        y = np.float64(i) - 0.5 * (fixed.shape[0] - 1)
        pair = 0
        for k in range(SIGNALS):
            if used[k] and loss > 0:
                _product(weighed[k], signals[k], weights)
            for m in range(k + 1):
                if used[k] and used[m]:
                    total, first, second = _moments(weighed[k] if loss > 0 else signals[k], signals[m], x)
                    power = 1.0
                    for n in range(3):
                        sums[pair, n, 0] += power * total
                        sums[pair, n, 1] += power * first
                        sums[pair, n, 2] += power * second
                        power *= y
                pair += 1
        totals[0] += _sum(weights)
        totals[1] += count

    @kernel(f"normal_equations_{name}")
    def equations(
        fixed, fixed_spline, moving_spline, fixed_mask, moving_mask, matrix, gain, bias, scale, loss, used, sums, totals
    ):
        height, width = fixed.shape
        images = fixed, fixed_spline, moving_spline, fixed_mask, moving_mask
        for r in prange(sums.shape[0]):
            x = np.arange(width) - 0.5 * (width - 1)
            lines = np.zeros((3, width))
            signals, weighed = np.zeros((SIGNALS, width), fixed.dtype), np.zeros((SIGNALS + 1, width), fixed.dtype)
            starts, t = np.empty(width, np.int32), np.zeros((3, width), fixed.dtype)
            scratch = x, lines, signals, weighed, starts, t
            for i in range(max(r * _ROWS, 1), min((r + 1) * _ROWS, height - 1)):
                add_row(sums[r], totals[r], i, images, matrix, gain, bias, scale, loss, used, scratch)

    return equations


_kernels = {
    True: _equations_kernel("inverse", inverse=True),
    False: _equations_kernel("forward", inverse=False),
}


class ComparedImages(NamedTuple):
    """The images of one level: the fixed one as pixels, both as coefficients of splines, and their masks."""

    fixed: HostArray
    fixed_spline: HostArray
    moving_spline: HostArray
    fixed_mask: HostArray
    moving_mask: HostArray


def normal_equations(images: ComparedImages, basis: HostArray, comparison: Comparison) -> Equations:
    """Sum up the normal equations of one iteration."""
    matrix, gain, bias, loss, scale, inverse, gain_bias, crossed = comparison
    shape = images.fixed.shape
    perspective = has_perspective(basis, matrix)
    used = [True, True, perspective, gain_bias, gain_bias, True, crossed, crossed, crossed and perspective]
    blocks, pairs = -(-shape[0] // _ROWS), SIGNALS * (SIGNALS + 1) // 2
    sums, totals = np.zeros((blocks, pairs, _POWERS, _POWERS)), np.zeros((blocks, 2))
    work = 100 * images.fixed.size
    _kernels[inverse].run(work, *images, matrix, gain, bias, scale, loss, np.array(used), sums, totals)
    moments = np.zeros((SIGNALS, SIGNALS, _POWERS, _POWERS))
    below = np.tril_indices(SIGNALS)
    moments[below] = moments[below[::-1]] = sums.sum(0)
    powers_y, powers_x = np.array([0, 0, 1]), np.array([0, 1, 0])  # of 1, x and y
    gram = moments[:, :, powers_y[:, None] + powers_y, powers_x[:, None] + powers_x].transpose(0, 2, 1, 3)
    gram = gram.reshape(3 * SIGNALS, 3 * SIGNALS)
    weight, count = totals.sum(0)
    return equations_of(gram, basis, shape, gain_bias, crossed, weight, count)
