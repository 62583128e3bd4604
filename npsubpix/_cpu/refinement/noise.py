"""Noise of pixels, and what the standard errors of all methods of refinement share."""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.quadratic.fits import unit_scale

__all__ = ["inverted", "is_on_ring", "ring_variance", "times", "variance_of"]


@device
def variance_of(noise, frame, x, d, i, j):
    """Return the variance of a pixel in squared units of the image; NaN if it is not known.

    `noise` are the offset, the electrons per count and the floor, flat, see `Noise`, and how far apart two frames and
    two pixels are in each, one after the other.
    """
    offsets, factors, floors, steps = noise
    place = (d * x.shape[1] + i) * x.shape[2] + j
    signal = float(x[d, i, j]) - offsets[frame * steps[0] + place * steps[1]]
    factor = factors[frame * steps[2] + place * steps[3]]
    floor = np.float64(floors[frame * steps[4] + place * steps[5]])
    total = (floor * abs(floor) if factor == math.inf else floor) + max(signal, 0.0) / factor
    return total if total >= 0.0 and total < math.inf else math.nan


@device
def inverted(matrix):
    """Return the inverse of a matrix of three rows, one after the other; not finite if there is none."""
    largest = 0.0
    for k in range(9):
        largest = max(largest, abs(matrix[k]))
    scale = unit_scale(largest)
    a, b, c = scale * matrix[0], scale * matrix[1], scale * matrix[2]
    d, e, f = scale * matrix[3], scale * matrix[4], scale * matrix[5]
    g, h, i = scale * matrix[6], scale * matrix[7], scale * matrix[8]
    first, second, third = e * i - f * h, f * g - d * i, d * h - e * g
    s = scale / (a * first + b * second + c * third)
    return (
        s * first, s * (c * h - b * i), s * (b * f - c * e),
        s * second, s * (a * i - c * g), s * (c * d - a * f),
        s * third, s * (b * g - a * h), s * (a * e - b * d),
    )  # fmt: skip


@device
def times(matrix, u, v, w):
    """Return a matrix times a vector."""
    return (
        matrix[0] * u + matrix[1] * v + matrix[2] * w,
        matrix[3] * u + matrix[4] * v + matrix[5] * w,
        matrix[6] * u + matrix[7] * v + matrix[8] * w,
    )


@device
def is_on_ring(start, half, d, i, j):
    """Whether a pixel is one of those just outside the box around a start, in which the background is measured."""
    outer = 1 if half[0] > 0 else 0
    far_d, far_i, far_j = abs(d - start[0]) - half[0], abs(i - start[1]) - half[1], abs(j - start[2]) - half[2]
    return far_d <= outer and far_i <= 1 and far_j <= 1 and max(far_d, far_i, far_j) > 0


@device
def ring_variance(noise, frame, x, start, half):
    """Return the sum of the variances of the pixels just outside the box around a start."""
    depth, height, width = x.shape
    outer = 1 if half[0] > 0 else 0
    d, i, j = start
    total = 0.0
    for a in range(max(d - half[0] - outer, 0), min(d + half[0] + outer + 1, depth)):
        for b in range(max(i - half[1] - 1, 0), min(i + half[1] + 2, height)):
            for c in range(max(j - half[2] - 1, 0), min(j + half[2] + 2, width)):
                if is_on_ring(start, half, a, b, c):
                    total += variance_of(noise, frame, x, a, b, c)
    return total
