"""Pixels that are not finite, in B-spline filters: what is put in their place, and the transpose of that.

Images have shape (N, D, H, W).
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import device, kernel
from npsubpix._definitions.sampling.splines import FILL_REACH

__all__ = ["fill_pixels", "unfill_pixels"]


@device
def _steps_to_good(bad, z, y, k, dz, dy, dx):
    """Return the number of steps in a direction to the nearest good pixel, 0 if none is within reach."""
    depth, height, width = bad.shape
    for step in range(1, FILL_REACH + 1):
        a, b, c = z + step * dz, y + step * dy, k + step * dx
        if a < 0 or a >= depth or b < 0 or b >= height or c < 0 or c >= width:
            return 0
        if not bad[a, b, c]:
            return step
    return 0


@device
def _share(steps, dz, dy, dx):
    """Return the weight of a good pixel: 1 over its distance."""
    return 1.0 / (steps * math.sqrt(float(dz * dz + dy * dy + dx * dx)))


@device
def _sum_shares(x, bad, z, y, k):
    """Return the sums of the nearest good pixels in all directions times their weights, and of these."""
    total, weight = 0.0, 0.0
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                steps = _steps_to_good(bad, z, y, k, dz, dy, dx) if dz != 0 or dy != 0 or dx != 0 else 0
                if steps > 0:
                    share = _share(steps, dz, dy, dx)
                    total += share * np.float64(x[z + steps * dz, y + steps * dy, k + steps * dx])
                    weight += share
    return total, weight


@kernel("spline_fill")
def fill_pixels(x, bad, out):
    """Copy images; bad pixels become means of the nearest good ones in each direction, or 0 without any."""
    count, depth, height, width = x.shape
    for r in prange(count * depth * height):
        n, z, y = r // (depth * height), r // height % depth, r % height
        for k in range(width):
            out[n, z, y, k] = x[n, z, y, k]
            if bad[n, z, y, k]:
                total, weight = _sum_shares(x[n], bad[n], z, y, k)
                out[n, z, y, k] = total / weight if weight > 0 else 0.0


@kernel("spline_unfill")
def unfill_pixels(cotangent, bad, out):
    """Add the cotangents of bad pixels to those of the pixels that they were the mean of."""
    count, depth, height, width = out.shape
    for n in prange(count):
        for z in range(depth):
            for y in range(height):
                for k in range(width):
                    out[n, z, y, k] = 0 if bad[n, z, y, k] else cotangent[n, z, y, k]
        for z in range(depth):
            for y in range(height):
                for k in range(width):
                    if bad[n, z, y, k]:
                        _, weight = _sum_shares(out[n], bad[n], z, y, k)
                        for dz in range(-1, 2):
                            for dy in range(-1, 2):
                                for dx in range(-1, 2):
                                    steps = 0
                                    if dz != 0 or dy != 0 or dx != 0:
                                        steps = _steps_to_good(bad[n], z, y, k, dz, dy, dx)
                                    if steps > 0:
                                        part = _share(steps, dz, dy, dx) / weight * cotangent[n, z, y, k]
                                        out[n, z + steps * dz, y + steps * dy, k + steps * dx] += part
