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
from npsubpix._cpu.alignment.positions import ROWS, choose, ignore, margin_inside, place, project
from npsubpix._cpu.alignment.products import PAIRS, add_products, products_of, wanted_pairs
from npsubpix._cpu.alignment.rows import sample_row
from npsubpix._cpu.compiler.intrinsics import copy_to, shaped
from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel, summing
from npsubpix._definitions.alignment.losses import SCORES, STEP, weight_of
from npsubpix._definitions.alignment.normal_equations import (
    CROSSED,
    FIXED,
    PROJECTED,
    SIGNALS,
    Comparison,
    Equations,
    equations_of,
    has_perspective,
)

__all__ = ["ComparedImages", "normal_equations"]

_weight = device(weight_of)


@fused
def _gradient_of_row(c, i, factor, gy, gx):
    """Write the gradient of a spline at the pixels of a row, except the first and the last, times a factor."""
    above, here, below = c[i - 1], c[i], c[i + 1]
    third, twelfth = factor / c.dtype.type(3.0), factor / c.dtype.type(12.0)
    for j in range(1, gy.size - 1):
        corners = below[j - 1] - above[j - 1] + below[j + 1] - above[j + 1]
        gy[j] = third * (below[j] - above[j]) + twelfth * corners
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
def _weigh_signals(weighed, signals, wanted, weights):
    """Weigh the signals that are the first of a pair wanted."""
    pair = 0
    for k in range(SIGNALS):
        begins = False
        for m in range(pair, pair + k + 1):
            begins |= wanted[m]
        if begins:
            _product(weighed[k], signals[k], weights)
        pair += k + 1


def _equations_kernel(name: str, inverse: bool) -> Kernel:
    """Make the kernel that differentiates the fixed image, if `inverse`, or the moving one."""

    @device
    def add_row(sums, totals, i, images, matrix, overlap, moved, gain, bias, weighing, used, wanted, scratch):
        """Add the products of the signals of row i to sums (uses of weights, pairs, powers of y, powers of x)."""
        fixed, fixed_spline, moving_spline, fixed_mask, moving_mask = images
        x, lines, signals, weighed, starts, t = scratch
        moving_height, moving_width = moving_spline.shape
        margin = margin_inside((moving_height, moving_width))
        F = fixed.dtype.type
        scale, loss, use = weighing
        weighted = loss > 0 or use > 0
        scales, py, px = lines[0], lines[1], lines[2]
        gy, gx, residuals, inside = signals[0], signals[1], signals[5], signals[4]
        values, weights = weighed[0], weighed[SIGNALS]
        project(i, overlap, scales, py, px)
        choose(py, px, moving_height, moving_width, margin, inside)
        ignore(inside, i, fixed_mask, moving_mask, py, px)
        if moved:
            project(i, matrix, scales, py, px)
        place(py, px, moving_height, moving_width, inside, starts, t)
        count = _sum(inside)
        if count == 0:
            return
        plane = shaped(moving_spline, (moving_spline.size,))
        if inverse:
            moving_y, moving_x = signals[CROSSED], signals[CROSSED + 1]
            sample_row(plane, starts, t, moving_width, used[CROSSED], values, moving_y, moving_x)
            if used[CROSSED]:
                _pull_back(moving_y, moving_x, matrix, scales, py, px)
                _clear(moving_y, moving_x, inside)
            _gradient_of_row(fixed_spline, i, F(-gain), gy, gx)
            if used[PROJECTED]:
                py[:], scales[:] = i, 1.0
                for j in range(px.size):
                    px[j] = j
        else:
            sample_row(plane, starts, t, moving_width, True, values, gy, gx)
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
        if weighted:
            _weigh_signals(weighed, signals, wanted[0], weights)
        add_products(sums[0], weighed if weighted else signals, signals, wanted[0], y, x)
        totals[0] += _sum(weights)
        totals[1] += count
        if wanted[1, 0]:
            _weigh(weights, residuals, inside, scale, loss, np.int64(SCORES))  # no literal, which compiles it again
            _weigh_signals(weighed, signals, wanted[1], weights)
            add_products(sums[1], weighed, signals, wanted[1], y, x)

    @kernel(f"normal_equations_{name}", late=True)
    def equations(
        fixed, fixed_spline, moving_spline, fixed_mask, moving_mask, matrix, overlap, moved, gain, bias, scale, loss,
        use, used, wanted, x, sums, totals,
    ):  # fmt: skip
        height, width = fixed.shape
        images = fixed, fixed_spline, moving_spline, fixed_mask, moving_mask
        for r in prange(sums.shape[0]):
            lines = np.zeros((3, width), np.float64)
            signals, weighed = np.zeros((SIGNALS, width), fixed.dtype), np.zeros((SIGNALS + 1, width), fixed.dtype)
            starts, t = np.empty(width, np.int32), np.zeros((3, width), fixed.dtype)
            scratch = x, lines, signals, weighed, starts, t
            for i in range(max(r * ROWS, 1), min((r + 1) * ROWS, height - 1)):
                weighing = scale, loss, use
                add_row(
                    sums[r], totals[r], i, images, matrix, overlap, moved, gain, bias, weighing, used, wanted, scratch
                )

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
    matrix, overlap, gain, bias, loss, use, scale, inverse, brightness, crossed, gain_bias = comparison
    shape = images.fixed.shape
    perspective = has_perspective(basis, matrix)
    used = [True, True, perspective, brightness, brightness, True, crossed, crossed, crossed and perspective]
    scores = crossed and use == STEP and not gain_bias  # the last step may change gain and bias by more than rounding
    wanted = wanted_pairs(perspective, brightness, gain_bias, crossed, scores)
    blocks = -(-shape[0] // ROWS)
    sums, totals = np.zeros((blocks, 2, PAIRS, 3, 3)), np.zeros((blocks, 2))
    weighing, moved = (gain, bias, scale, loss, use), not np.array_equal(matrix, overlap)
    work, x = 100 * images.fixed.size, np.arange(shape[1]) - 0.5 * (shape[1] - 1)
    _kernels[inverse].run(work, *images, matrix, overlap, moved, *weighing, np.array(used), wanted, x, sums, totals)
    weight, count = totals.sum(0)
    of_steps, of_scores = sums.sum(0)
    e = equations_of(products_of(of_steps), basis, shape, brightness, crossed, weight, count)
    if scores:
        e = e._replace(scores=equations_of(products_of(of_scores), basis, shape, brightness, crossed, weight, count))
    return e
