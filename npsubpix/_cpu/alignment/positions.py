"""Positions in the moving image of the pixels of a row of the fixed one, and which of them are compared."""

from __future__ import annotations

import numpy as np

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._definitions.alignment.normal_equations import margin_of
from npsubpix._definitions.sampling.borders import EDGE

__all__ = ["ROWS", "choose", "ignore", "margin_inside", "place", "project"]

#: Rows of the fixed image that are summed together.
ROWS = 16

#: Distance from the last position whose window is inside the moving image, in pixels.
_INSET = 1e-9

margin_inside = device(margin_of)


@fused
def project(i, matrix, scales, py, px):
    """Project the pixels of row i: positions, and one over the depths."""
    y = np.float64(i)
    if matrix[2, 0] == 0 and matrix[2, 1] == 0:
        depth = 1.0 / matrix[2, 2]
        for j in range(px.size):
            scales[j] = depth
    else:
        for j in range(px.size):
            scales[j] = 1.0 / (matrix[2, 0] * y + matrix[2, 1] * np.float64(j) + matrix[2, 2])
    for j in range(px.size):
        x = np.float64(j)
        py[j] = (matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2]) * scales[j]
        px[j] = (matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2]) * scales[j]


@fused
def choose(py, px, height, width, margin, inside):
    """Write 1 for positions inside the moving image without its margin, 0 for others.

    Rounding of a shift by whole pixels does not change which pixels are compared.
    """
    F = inside.dtype.type
    for j in range(inside.size):
        v, u = py[j] + EDGE, px[j] + EDGE
        good = (v >= margin) & (v < height - 1 - margin) & (u >= margin) & (u < width - 1 - margin)
        inside[j] = F(1.0) if good else F(0.0)


@fused
def place(py, px, height, width, inside, starts, t):
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


@device
def ignore(inside, row, fixed_mask, moving_mask, py, px):
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
