"""The boxes around spots: pixels in electrons, and their read variances or weights."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import device, inlined_summing, kernel
from npsubpix._definitions.flags import FitFlags

__all__ = ["boxes_kernel"]

_PARTIAL_WINDOW = int(FitFlags.PARTIAL_WINDOW)
_MASKED = int(FitFlags.MASKED)
_NONFINITE = int(FitFlags.NONFINITE)
_NEGATIVE_PIXELS = int(FitFlags.NEGATIVE_PIXELS)


@device
def _spread(factor, variance, likelihood):
    """Return the read variance in electrons, or the weight of a pixel; and whether it, or the factor, is valid."""
    error = variance * factor
    spread = error * factor if likelihood else 1.0 / (error * error)
    right = spread >= 0.0 if likelihood else error > 0.0
    return spread, right and factor > 0.0 and factor < math.inf


@device
def _pixel(value, factor, variance, likelihood):
    """Return a pixel in electrons, its read variance or weight, and flags."""
    spread, right = _spread(factor, variance, likelihood)
    if right and (spread == math.inf if likelihood else spread == 0.0):  # a dead pixel
        return 0.0, spread, 0
    data = value * factor
    if not (right and abs(data) < math.inf):
        return data, spread, _NONFINITE
    return data, spread, _NEGATIVE_PIXELS if likelihood and data + spread < 0.0 else 0


@inlined_summing
def _plain_row(out, line, offset, factor, least):
    """Write a row of pixels in electrons; return how many are not finite, and how many less than a number."""
    wrong, negative = 0, 0
    for i in range(line.size):
        value = (np.float64(line[i]) - offset) * factor
        out[i] = value
        wrong += 0 if abs(value) < math.inf else 1
        negative += 1 if value < least else 0
    return wrong, negative


@device
def _plain_box(data, image, corner, box, padded, offset, factor, spread, likelihood):
    """Write a box inside an image, of a camera whose pixels are all alike; return flags."""
    wrong, negative, start = 0, 0, 0
    least = -spread if likelihood else -math.inf
    for d in range(corner[0], corner[0] + box[0]):
        for j in range(corner[1], corner[1] + box[1]):
            line = image[d, j, corner[2] : corner[2] + box[2]]
            bad, below = _plain_row(data[start : start + box[2]], line, offset, factor, least)
            wrong += bad
            negative += below
            start += padded
    return (_NONFINITE if wrong else 0) | (_NEGATIVE_PIXELS if negative else 0)


@device
def _mapped_box(data, spread, image, frame, mask, maps, steps, corner, box, padded, likelihood):
    """Write a box that the border may cut, with masked pixels, of a camera whose pixels differ; return flags."""
    depth, height, width = image.shape
    offsets, factors, variances = maps
    flag, start = 0, 0
    for d in range(corner[0], corner[0] + box[0]):
        for j in range(corner[1], corner[1] + box[1]):
            for i in range(corner[2], corner[2] + box[2]):
                k = start + i - corner[2]
                if d < 0 or d >= depth or j < 0 or j >= height or i < 0 or i >= width:
                    flag |= _PARTIAL_WINDOW
                elif mask.size > 0 and mask[frame if mask.shape[0] > 1 else 0, d, j, i]:
                    flag |= _MASKED
                else:
                    p = (d * height + j) * width + i
                    value = np.float64(image[d, j, i]) - offsets[frame * steps[0] + p * steps[1]]
                    factor = factors[frame * steps[2] + p * steps[3]]
                    variance = variances[frame * steps[4] + p * steps[5]]
                    data[k], spread[k], found = _pixel(value, factor, variance, likelihood)
                    flag |= found
            start += padded
    return flag


@kernel("fit_boxes")
def boxes_kernel(x, frames, origins, mask, maps, steps, box, padded, likelihood, data, spread, least, flags):
    """Write the boxes of spots, with rows of `padded` pixels; those outside the image, and masked ones, do not count.

    `maps` are the offset, the factor to electrons and the read variance (or error), flat, and `steps` how far apart
    two frames and two pixels are in each, one after the other. `least` are the least read variances of boxes. Spots
    that have a flag already are left out.
    """
    depth, height, width = x.shape[1:]
    offsets, factors, variances = maps
    absent = math.inf if likelihood else 0.0
    alike = mask.size == 0 and offsets.size == 1 and factors.size == 1 and variances.size == 1
    common, valid = _spread(factors[0], variances[0], likelihood) if alike else (0.0, False)
    plain = alike and valid and common != absent
    for n in prange(flags.size):
        if flags[n] == 0:
            corner = origins[n, 0], origins[n, 1], origins[n, 2]
            inside = min(corner) >= 0 and corner[0] + box[0] <= depth and corner[1] + box[1] <= height
            inside = inside and corner[2] + box[2] <= width
            pixels, spreads, images = lend(data), lend(spread), lend(x)
            own, own_spread, image = pixels[n], spreads[n], images[frames[n]]
            for k in range(data.shape[1]):
                own[k], own_spread[k] = 0.0, absent
            least[n] = common
            if plain and inside:
                for first in range(0, box[0] * box[1] * padded, padded):
                    for k in range(first, first + box[2]):
                        own_spread[k] = common
                flags[n] = _plain_box(own, image, corner, box, padded, offsets[0], factors[0], common, likelihood)
            else:
                flags[n] = _mapped_box(
                    own, own_spread, image, frames[n], mask, maps, steps, corner, box, padded, likelihood
                )
                least[n] = own_spread.min()
            keep(data)
            keep(spread)
            keep(x)
