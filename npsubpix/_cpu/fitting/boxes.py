"""The boxes around spots: pixels in electrons, and their read variances or weights."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import device, kernel
from npsubpix._definitions.flags import FitFlags

__all__ = ["boxes_kernel"]

_PARTIAL_WINDOW = int(FitFlags.PARTIAL_WINDOW)
_MASKED = int(FitFlags.MASKED)
_NONFINITE = int(FitFlags.NONFINITE)
_NEGATIVE_PIXELS = int(FitFlags.NEGATIVE_PIXELS)


@device
def _value(value, variance, factor, likelihood):
    """Return a pixel in electrons, its read variance or weight, and flags."""
    data = value * factor
    if likelihood:
        spread = variance * factor * factor
        right = spread >= 0.0
        flag = _NEGATIVE_PIXELS if data + spread < 0.0 else 0
    else:
        error = variance * factor
        spread = 1.0 / (error * error)
        right, flag = error > 0.0, 0
    if right and (spread == math.inf if likelihood else spread == 0.0):  # a dead pixel
        return 0.0, spread, 0
    if not (right and factor > 0.0 and factor < math.inf and abs(data) < math.inf):
        flag = _NONFINITE
    return data, spread, flag


@kernel("fit_boxes")
def boxes_kernel(x, frames, origins, mask, maps, steps, box, padded, likelihood, data, spread, flags):
    """Write the boxes of spots, with rows of `padded` pixels; those outside the image, and masked ones, do not count.

    `maps` are the offset, the factor to electrons and the read variance (or error), flat, and `steps` how far apart
    two frames and two pixels are in each, one after the other. Spots that have a flag already are left out.
    """
    depth, height, width = x.shape[1:]
    offsets, factors, variances = maps
    absent = math.inf if likelihood else 0.0
    for n in prange(flags.size):
        if flags[n] != 0:
            continue
        image = frames[n]
        top, front, left = origins[n, 1], origins[n, 0], origins[n, 2]
        for k in range(data.shape[1]):
            data[n, k], spread[n, k] = 0.0, absent
        flag, start = 0, 0
        for d in range(front, front + box[0]):
            for j in range(top, top + box[1]):
                for i in range(left, left + box[2]):
                    k = start + i - left
                    if d < 0 or d >= depth or j < 0 or j >= height or i < 0 or i >= width:
                        flag |= _PARTIAL_WINDOW
                    elif mask.size > 0 and mask[image if mask.shape[0] > 1 else 0, d, j, i]:
                        flag |= _MASKED
                    else:
                        p = (d * height + j) * width + i
                        value = np.float64(x[image, d, j, i]) - offsets[image * steps[0] + p * steps[1]]
                        factor = factors[image * steps[2] + p * steps[3]]
                        variance = variances[image * steps[4] + p * steps[5]]
                        data[n, k], spread[n, k], found = _value(value, variance, factor, likelihood)
                        flag |= found
                start += padded
        flags[n] = flag
