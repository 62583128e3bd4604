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
from npsubpix._definitions.alignment.losses import weight_of
from npsubpix._definitions.alignment.normal_equations import (
    CROSSED,
    FIXED,
    PROJECTED,
    SIGNALS,
    Comparison,
    Equations,
    Likeness,
    equations_of,
    has_perspective,
    margin_of,
)
from npsubpix._definitions.sampling.borders import EDGE

__all__ = ["ComparedImages", "likeness_of", "normal_equations"]

#: Rows of the fixed image that are summed together.
_ROWS = 16

#: Powers of x and of y that a product of two signals is multiplied by: 0, 1 and 2.
_POWERS = 3

#: Distance from the last position whose window is inside the moving image, in pixels.
_INSET = 1e-9

_margin, _weight = device(margin_of), device(weight_of)


@fused
def _project(i, matrix, scales, py, px):
    """Project the pixels of row i: positions, and one over the depths."""
    y = np.float64(i)
    if matrix[2, 0] == 0 and matrix[2, 1] == 0:
        depth = 1.0 / matrix[2, 2]
        for j in range(px.size):
            x = np.float64(j)
            scales[j] = depth
            py[j] = (matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]) * depth
            px[j] = (matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]) * depth
    else:
        for j in range(px.size):
            x = np.float64(j)
            depth = 1.0 / (matrix[2, 0] * y + matrix[2, 1] * x + matrix[2, 2])
            scales[j] = depth
            py[j] = (matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]) * depth
            px[j] = (matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]) * depth


@fused
def _choose(py, px, height, width, margin, inside):
    """Write 1 for positions inside the moving image without its margin, 0 for others.

    Rounding of a shift by whole pixels does not change which pixels are compared.
    """
    F = inside.dtype.type
    for j in range(inside.size):
        v, u = py[j] + EDGE, px[j] + EDGE
        good = (v >= margin) & (v < height - 1 - margin) & (u >= margin) & (u < width - 1 - margin)
        inside[j] = F(1.0) if good else F(0.0)


@fused
def _place(py, px, height, width, inside, starts, t):
    """Write the windows of the positions inside the moving image.

    Positions moved a little since they were chosen, perhaps to where a window would leave the image.
    """
    F = inside.dtype.type
    for j in range(inside.size):
        v, u = py[j], px[j]
        good = (inside[j] > 0) & (v >= 0.0) & (v <= height - 1.0) & (u >= 0.0) & (u <= width - 1.0)
        inside[j] = F(1.0) if good else F(0.0)
        v = min(max(v, 1.0), height - 2.0 - _INSET) if good else 1.0
        u = min(max(u, 1.0), width - 2.0 - _INSET) if good else 1.0
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
    """Divide the gradient by the depth of each projected point.

    Write minus the scalar product of the gradient with the position of that point from the centre.
    """
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
def _weigh(weights, residuals, inside, scale, loss, use):
    F = weights.dtype.type
    for j in range(weights.size):
        weights[j] = F(_weight(np.float64(residuals[j]), scale, loss, use)) * inside[j]


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
                a, b = np.int64(py[j] + EDGE), np.int64(px[j] + EDGE)
                if moving_mask[a, b] or moving_mask[a + 1, b] or moving_mask[a, b + 1] or moving_mask[a + 1, b + 1]:
                    inside[j] = 0


def _equations_kernel(name: str, inverse: bool) -> Kernel:
    """Make the kernel that differentiates the fixed image, if `inverse`, or the moving one."""

    @device
    def add_row(sums, totals, i, images, matrix, overlap, gain, bias, weighing, used, scratch):
        """Add the products of the signals of row i to sums (pairs, powers of y, powers of x)."""
        fixed, fixed_spline, moving_spline, fixed_mask, moving_mask = images
        x, lines, signals, weighed, starts, t = scratch
        moving_height, moving_width = moving_spline.shape
        margin = _margin((moving_height, moving_width))
        F = fixed.dtype.type
        scale, loss, use = weighing
        weighted = loss > 0 or use > 0
        scales, py, px = lines[0], lines[1], lines[2]
        gy, gx, residuals, inside = signals[0], signals[1], signals[5], signals[4]
        values, weights = weighed[0], weighed[SIGNALS]
        _project(i, overlap, scales, py, px)
        _choose(py, px, moving_height, moving_width, margin, inside)
        _ignore(inside, i, fixed_mask, moving_mask, py, px)
        _project(i, matrix, scales, py, px)
        _place(py, px, moving_height, moving_width, inside, starts, t)
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
        if weighted:
            _weigh(weights, residuals, inside, scale, loss, use)
        else:
            copy_to(weights, inside)
        y = np.float64(i) - 0.5 * (fixed.shape[0] - 1)
        pair = 0
        for k in range(SIGNALS):
            if used[k] and weighted:
                _product(weighed[k], signals[k], weights)
            for m in range(k + 1):
                if used[k] and used[m]:
                    total, first, second = _moments(weighed[k] if weighted else signals[k], signals[m], x)
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
        fixed, fixed_spline, moving_spline, fixed_mask, moving_mask, matrix, overlap, gain, bias, scale, loss, use,
        used, sums, totals,
    ):  # fmt: skip
        height, width = fixed.shape
        images = fixed, fixed_spline, moving_spline, fixed_mask, moving_mask
        for r in prange(sums.shape[0]):
            x = np.arange(width) - 0.5 * (width - 1)
            lines = np.zeros((3, width))
            signals, weighed = np.zeros((SIGNALS, width), fixed.dtype), np.zeros((SIGNALS + 1, width), fixed.dtype)
            starts, t = np.empty(width, np.int32), np.zeros((3, width), fixed.dtype)
            scratch = x, lines, signals, weighed, starts, t
            for i in range(max(r * _ROWS, 1), min((r + 1) * _ROWS, height - 1)):
                weighing = scale, loss, use
                add_row(sums[r], totals[r], i, images, matrix, overlap, gain, bias, weighing, used, scratch)

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
    matrix, overlap, gain, bias, loss, use, scale, inverse, brightness, crossed = comparison
    shape = images.fixed.shape
    perspective = has_perspective(basis, matrix)
    used = [True, True, perspective, brightness, brightness, True, crossed, crossed, crossed and perspective]
    blocks, pairs = -(-shape[0] // _ROWS), SIGNALS * (SIGNALS + 1) // 2
    sums, totals = np.zeros((blocks, pairs, _POWERS, _POWERS)), np.zeros((blocks, 2))
    work = 100 * images.fixed.size
    _kernels[inverse].run(work, *images, matrix, overlap, gain, bias, scale, loss, use, np.array(used), sums, totals)
    moments = np.zeros((SIGNALS, SIGNALS, _POWERS, _POWERS))
    below = np.tril_indices(SIGNALS)
    moments[below] = moments[below[::-1]] = sums.sum(0)
    powers_y, powers_x = np.array([0, 0, 1]), np.array([0, 1, 0])  # of 1, x and y
    gram = moments[:, :, powers_y[:, None] + powers_y, powers_x[:, None] + powers_x].transpose(0, 2, 1, 3)
    gram = gram.reshape(3 * SIGNALS, 3 * SIGNALS)
    weight, count = totals.sum(0)
    return equations_of(gram, basis, shape, brightness, crossed, weight, count)


@device
def _second_difference(x, i, j):
    """Return the second difference along both axes, with the standard deviation of the noise of a pixel."""
    corners = x[i - 1, j - 1] + x[i - 1, j + 1] + x[i + 1, j - 1] + x[i + 1, j + 1]
    sides = x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1]
    return (np.float64(corners) - 2.0 * np.float64(sides) + 4.0 * np.float64(x[i, j])) / 6.0


@kernel("alignment_likeness")
def _likeness(fixed, moving, fixed_mask, moving_mask, matrix, fixed_mean, moving_mean, sums):
    height, width = fixed.shape
    moving_height, moving_width = moving.shape
    margin = _margin((moving_height, moving_width))
    for r in prange(sums.shape[0]):
        lines, inside = np.zeros((3, width)), np.zeros(width)
        scales, py, px = lines[0], lines[1], lines[2]
        for i in range(max(r * _ROWS, 1), min((r + 1) * _ROWS, height - 1)):
            _project(i, matrix, scales, py, px)
            _choose(py, px, moving_height, moving_width, margin, inside)
            _ignore(inside, i, fixed_mask, moving_mask, py, px)
            for j in range(width):
                if inside[j] > 0:
                    a, b = np.int64(py[j] + 0.5), np.int64(px[j] + 0.5)  # the nearest pixel of the moving image
                    product = (np.float64(fixed[i, j]) - fixed_mean) * (np.float64(moving[a, b]) - moving_mean)
                    sums[r, 0] += _second_difference(fixed, i, j) ** 2
                    sums[r, 1] += _second_difference(moving, a, b) ** 2
                    sums[r, 2] += 1.0
                    sums[r, 3] += product
                    sums[r, 4] += product * product


def likeness_of(
    images: tuple[HostArray, HostArray, HostArray, HostArray], matrix: HostArray, fixed_mean: float, moving_mean: float
) -> Likeness:
    """Return the likeness of the fixed and the moving image, with their masks."""
    sums = np.zeros((-(-images[0].shape[0] // _ROWS), 5))
    _likeness.run(80 * images[0].size, *images, np.ascontiguousarray(matrix), fixed_mean, moving_mean, sums)
    return Likeness.of(sums.sum(0))
