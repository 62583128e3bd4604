"""Where fits begin: background from the border of a box, flux, position and widths from moments."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, summing
from npsubpix._definitions.constants import (
    FIT_EQUAL,
    FIT_LEAST_FLUX,
    FIT_NOISY_PIXEL,
    FIT_START_SIGMA,
    FIT_START_WIDTH,
    FIT_WIDEST_SIGMA,
    FIT_WIDEST_START,
)

__all__ = ["begin", "places_of_pixels", "summarize"]


@device
def places_of_pixels(places, box, padded):
    """Write the place of each pixel of a box along z, y and x."""
    k = 0
    for d in range(box[0]):
        for j in range(box[1]):
            for i in range(padded):
                places[0, k], places[1, k], places[2, k] = d, j, i
                k += 1


@summing
def _sums(data, spread, likelihood):
    """Return the number of pixels that count, their sum and the sum of their magnitudes.

    Those count that do not have an infinite read variance, or a weight of 0.
    """
    count, total, size = 0, 0.0, 0.0
    for k in range(data.size):
        used = spread[k] < math.inf if likelihood else spread[k] > 0.0
        value = data[k] if used else 0.0
        count += 1 if used else 0
        total += value
        size += abs(value)
    return count, total, size


@device
def _border(data, spread, box, padded, likelihood):
    """Return the number and the sum of the pixels at the border of a box that count."""
    depth, height, width = box
    count, total, start = 0, 0.0, 0
    for d in range(depth):
        face = depth > 1 and (d == 0 or d == depth - 1)
        for j in range(height):
            step = 1 if face or j == 0 or j == height - 1 else max(width - 1, 1)
            for k in range(start, start + width, step):
                if spread[k] < math.inf if likelihood else spread[k] > 0.0:
                    total += data[k]
                    count += 1
            start += padded
    return count, total


@device
def summarize(data, spread, box, padded, likelihood):
    """Return the number of pixels that count, their background, and the sum of their magnitudes.

    The background is the mean of the border of the box, or that of all pixels if it is less.
    """
    count, total, size = _sums(data, spread, likelihood)
    outer_count, outer = _border(data, spread, box, padded, likelihood)
    level = total / max(count, 1)
    return count, (min(outer / outer_count, level) if outer_count > 0 else level), size


@summing
def _moments(out, data, spread, z, y, x, level, likelihood):
    """Write sums of the pixels above a level, times 1, coordinates and their squares; return sums of differences.

    Pixels whose read variance is much greater than their background do not take part.
    """
    flux, size = 0.0, 0.0
    m0, mz, my, mx, mzz, myy, mxx = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    most = FIT_NOISY_PIXEL * max(level, 1.0)
    for k in range(data.size):
        used = spread[k] < math.inf if likelihood else spread[k] > 0.0
        above = data[k] - level if used else 0.0
        quiet = spread[k] <= most if likelihood else used
        m = above if quiet else 0.0
        m = m if m > 0.0 else 0.0
        flux += above
        size += abs(above)
        m0 += m
        mz += m * z[k]
        my += m * y[k]
        mx += m * x[k]
        mzz += m * z[k] * z[k]
        myy += m * y[k] * y[k]
        mxx += m * x[k] * x[k]
    out[0], out[1], out[2], out[3], out[4], out[5], out[6] = m0, mz, my, mx, mzz, myy, mxx
    return flux, size


@device
def begin(
    parameters, moments, start, sigma, data, spread, box, places, axes, width_of_axis, likelihood, whole, level,
    all_size,
):  # fmt: skip
    """Write the parameters at which a fit begins; return the scale of its flux, 0 if all pixels are equal."""
    flux, size = _moments(moments, data, spread, places[0], places[1], places[2], level, likelihood)
    if not size > FIT_EQUAL * all_size:
        return 0.0
    mass = moments[0]
    flux = max(flux, FIT_LEAST_FLUX * size)
    parameters[:] = 0.0
    parameters[axes] = flux
    parameters[parameters.size - 1] = level
    for a in range(axes):
        first, second = moments[4 - axes + a], moments[7 - axes + a]
        mean = first / mass if mass > 0 else 0.5 * (box[3 - axes + a] - 1)
        parameters[a] = mean if whole else start[a]
        width = width_of_axis[a]
        if width >= 0:
            variance = second / mass - mean * mean if mass > 0 else 1.0
            moment = min(math.sqrt(max(variance, 0.0)), FIT_WIDEST_START * box[3 - axes + a])
            known = min(sigma[a], FIT_WIDEST_SIGMA * box[3 - axes + a])
            parameters[width] = max(known, FIT_START_SIGMA) if sigma[a] > 0 else max(moment, FIT_START_WIDTH)
    return flux
