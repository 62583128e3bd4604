"""Noise of both images, and how much alike they are, over the pixels compared."""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.alignment.positions import ROWS, choose, ignore, margin_inside, project
from npsubpix._cpu.alignment.rows import SHORTEST, end_of_run
from npsubpix._cpu.compiler.intrinsics import shaped
from npsubpix._cpu.compiler.jit import device, fused, kernel, summing
from npsubpix._definitions.alignment.normal_equations import Likeness

__all__ = ["likeness_of"]


@fused
def _begin_windows(py, px, width, inside, starts):
    """Write where the windows of 3 x 3 pixels begin around the nearest pixels of a flat image."""
    for j in range(starts.size):
        a, b = (np.floor(py[j] + 0.5), np.floor(px[j] + 0.5)) if inside[j] > 0 else (1.0, 1.0)
        starts[j] = (np.int32(a) - np.int32(1)) * np.int32(width) + np.int32(b) - np.int32(1)


@fused
def _second_differences(a, b, c, values, differences):
    """Write the pixels of a row, from the second on, and their second differences along both axes.

    These have the standard deviation of the noise of a pixel.
    """
    for j in range(values.size):
        corners = a[j] + a[j + 2] + c[j] + c[j + 2]
        sides = a[j + 1] + c[j + 1] + b[j] + b[j + 2]
        values[j] = np.float64(b[j + 1])
        differences[j] = (np.float64(corners) - 2.0 * np.float64(sides) + 4.0 * np.float64(b[j + 1])) / 6.0


@device
def _differences_at(x, starts, width, values, differences):
    """Write the pixels in the middle of windows of a flat image, and their second differences."""
    begin = np.int64(0)  # no literal, for which `end_of_run` would be compiled as well
    while begin < starts.size:
        end = end_of_run(starts, begin)
        if end - begin >= SHORTEST:
            o, n = np.int64(starts[begin]), end - begin + 2
            a, b, c = x[o : o + n], x[o + width : o + width + n], x[o + 2 * width : o + 2 * width + n]
            _second_differences(a, b, c, values[begin:end], differences[begin:end])
        else:
            for j in range(begin, end):
                o = np.int64(starts[j])
                p, q = o + width, o + 2 * width
                corners, sides = x[o] + x[o + 2] + x[q] + x[q + 2], x[o + 1] + x[q + 1] + x[p] + x[p + 2]
                values[j] = np.float64(x[p + 1])
                differences[j] = (np.float64(corners) - 2.0 * np.float64(sides) + 4.0 * np.float64(x[p + 1])) / 6.0
        begin = end


@summing
def _add(sums, inside, of_fixed, of_moving, fixed_mean, moving_mean):
    """Add squared second differences of both images, 1, products of both images, and squared products."""
    first, second, count, total, square = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(inside.size):
        product = inside[j] * (of_fixed[0, j] - fixed_mean) * (of_moving[0, j] - moving_mean)
        first += inside[j] * of_fixed[1, j] * of_fixed[1, j]
        second += inside[j] * of_moving[1, j] * of_moving[1, j]
        count += inside[j]
        total += product
        square += product * product
    sums[0] += first
    sums[1] += second
    sums[2] += count
    sums[3] += total
    sums[4] += square


@kernel("alignment_likeness", late=True)
def _likeness(fixed, moving, fixed_mask, moving_mask, matrix, fixed_mean, moving_mean, sums):
    height, width = fixed.shape
    moving_height, moving_width = moving.shape
    margin = margin_inside((moving_height, moving_width))
    plane = shaped(moving, (moving.size,))
    for r in prange(sums.shape[0]):
        lines, starts = np.zeros((3, width), np.float64), np.empty(width, np.int32)
        inside = np.zeros(width, fixed.dtype)
        of_fixed, of_moving = np.zeros((2, width), np.float64), np.zeros((2, width), np.float64)
        scales, py, px = lines[0], lines[1], lines[2]
        for i in range(max(r * ROWS, 1), min((r + 1) * ROWS, height - 1)):
            project(i, matrix, scales, py, px)
            choose(py, px, moving_height, moving_width, margin, inside)
            ignore(inside, i, fixed_mask, moving_mask, py, px)
            _begin_windows(py, px, moving_width, inside, starts)
            _second_differences(
                fixed[i - 1], fixed[i], fixed[i + 1], of_fixed[0, 1 : width - 1], of_fixed[1, 1 : width - 1]
            )
            _differences_at(plane, starts, moving_width, of_moving[0], of_moving[1])
            _add(sums[r], inside, of_fixed, of_moving, fixed_mean, moving_mean)


def likeness_of(
    images: tuple[HostArray, HostArray, HostArray, HostArray], matrix: HostArray, fixed_mean: float, moving_mean: float
) -> Likeness:
    """Return the likeness of the fixed and the moving image, with their masks."""
    sums = np.zeros((-(-images[0].shape[0] // ROWS), 5))
    _likeness.run(80 * images[0].size, *images, np.ascontiguousarray(matrix), fixed_mean, moving_mean, sums)
    return Likeness.of(sums.sum(0))
