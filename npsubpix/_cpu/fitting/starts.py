"""Where fits begin: background from the border of a box, flux, position and widths from moments."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._definitions.constants import FIT_EQUAL, FIT_LEAST_FLUX, FIT_MOST_TIED, FIT_NOISY_PIXEL, FIT_START_WIDTH

__all__ = ["begin", "summarize"]


@device
def summarize(data, spread, box, padded, likelihood):
    """Return the number of pixels that count, their background and sum of magnitudes, the least read variance of all.

    Then, whether many share the greatest value. Those count that do not have an infinite read variance, or a weight
    of 0. The background is the mean of the border of the box, or that of all pixels if it is less.
    """
    depth, height, width = box
    outer, outer_count, whole, count, size, least = 0.0, 0, 0.0, 0, 0.0, math.inf
    top, ties = -math.inf, 0
    start = 0
    for d in range(depth):
        face = depth > 1 and (d == 0 or d == depth - 1)
        for j in range(height):
            total, found = 0.0, 0
            for k in range(start, start + width):
                used = spread[k] < math.inf if likelihood else spread[k] > 0.0
                value = data[k] if used else 0.0
                total += value
                size += abs(value)
                found += used
                least = spread[k] if spread[k] < least else least
                if used and value >= top:
                    ties = 1 if value > top else ties + 1
                    top = value
            whole += total
            count += found
            if face or j == 0 or j == height - 1:
                outer += total
                outer_count += found
            else:
                for k in (start, start + width - 1):
                    if spread[k] < math.inf if likelihood else spread[k] > 0.0:
                        outer += data[k]
                        outer_count += 1
            start += padded
    level = whole / max(count, 1)
    return count, (min(outer / outer_count, level) if outer_count > 0 else level), size, least, ties > FIT_MOST_TIED


@fused
def _moments(out, data, spread, box, padded, level, likelihood):
    """Write sums of the pixels above a level, times 1, coordinates and their squares; return sums of differences.

    Pixels whose read variance is much greater than their background do not take part.
    """
    depth, height, width = box
    out[:] = 0.0
    flux, size = 0.0, 0.0
    most = FIT_NOISY_PIXEL * max(level, 1.0)
    start = 0
    for d in range(depth):
        for j in range(height):
            mass, first, second = 0.0, 0.0, 0.0
            for i in range(width):
                k = start + i
                used = spread[k] < math.inf if likelihood else spread[k] > 0.0
                above = data[k] - level if used else 0.0
                flux += above
                size += abs(above)
                m = above if above > 0.0 and not (likelihood and spread[k] > most) else 0.0
                mass += m
                first += m * i
                second += m * i * i
            out[0] += mass
            out[1] += mass * d
            out[2] += mass * j
            out[3] += first
            out[4] += mass * d * d
            out[5] += mass * j * j
            out[6] += second
            start += padded
    return flux, size


@device
def begin(
    parameters, moments, start, sigma, data, spread, box, padded, axes, width_of_axis, likelihood, whole, level,
    all_size,
):  # fmt: skip
    """Write the parameters at which a fit begins; return the scale of its flux, 0 if all pixels are equal."""
    flux, size = _moments(moments, data, spread, box, padded, level, likelihood)
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
            moment = min(max(math.sqrt(max(variance, 0.0)), FIT_START_WIDTH), 0.2 * box[3 - axes + a])
            parameters[width] = sigma[a] if sigma[a] > 0 else max(moment, FIT_START_WIDTH)
    return flux
