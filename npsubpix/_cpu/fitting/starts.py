"""Where fits begin: background from the border of a box, flux, position and widths from moments."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device
from npsubpix._definitions.constants import FIT_EQUAL, FIT_LEAST_FLUX, FIT_START_WIDTH

__all__ = ["begin", "counts"]


@device
def counts(spread, likelihood):
    """Whether a pixel counts: those that do not have an infinite read variance, or a weight of 0."""
    return spread < math.inf if likelihood else spread > 0.0


@device
def _background(data, spread, box, padded, likelihood):
    """Return the mean of the pixels at the border of a box, or that of all if it is less; and the sum of magnitudes."""
    depth, height, width = box
    outer, outer_count, whole, whole_count, size = 0.0, 0, 0.0, 0, 0.0
    start = 0
    for d in range(depth):
        face = depth > 1 and (d == 0 or d == depth - 1)
        for j in range(height):
            edge = face or j == 0 or j == height - 1
            for i in range(width):
                k = start + i
                if counts(spread[k], likelihood):
                    whole += data[k]
                    whole_count += 1
                    size += abs(data[k])
                    if edge or i == 0 or i == width - 1:
                        outer += data[k]
                        outer_count += 1
            start += padded
    level = whole / max(whole_count, 1)
    return (min(outer / outer_count, level) if outer_count > 0 else level), size


@device
def _moments(out, data, spread, box, padded, level, likelihood):
    """Write sums of the pixels above a level, times 1, coordinates and their squares; return sums of differences.

    A pixel whose read variance exceeds its background counts less.
    """
    depth, height, width = box
    out[:] = 0.0
    flux, size = 0.0, 0.0
    scale = max(level, 1.0)
    start = 0
    for d in range(depth):
        for j in range(height):
            for i in range(width):
                k = start + i
                if counts(spread[k], likelihood):
                    above = data[k] - level
                    flux += above
                    size += abs(above)
                    m = max(above, 0.0)
                    if likelihood:
                        m *= scale / (scale + spread[k])
                    out[0] += m
                    out[1] += m * d
                    out[2] += m * j
                    out[3] += m * i
                    out[4] += m * d * d
                    out[5] += m * j * j
                    out[6] += m * i * i
            start += padded
    return flux, size


@device
def begin(parameters, moments, start, sigma, data, spread, box, padded, axes, width_of_axis, likelihood, whole):
    """Write the parameters at which a fit begins; return the scale of its flux, 0 if all pixels are equal."""
    level, greatest = _background(data, spread, box, padded, likelihood)
    flux, size = _moments(moments, data, spread, box, padded, level, likelihood)
    if not size > FIT_EQUAL * greatest:
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
            moment = min(max(math.sqrt(max(variance, 0.0)), FIT_START_WIDTH), 0.2 * box[3 - axes + a])
            parameters[width] = sigma[a] if sigma[a] > 0 else max(moment, FIT_START_WIDTH)
    return flux
