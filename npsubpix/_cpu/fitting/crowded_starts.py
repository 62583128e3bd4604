"""Where spots that are fitted together begin, and when they move again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.jit import device, summing
from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.shape_starts import misfit, shape_start_of
from npsubpix._cpu.fitting.starts import summarize
from npsubpix._definitions.constants import (
    FIT_EQUAL,
    FIT_LEAST_BACKGROUND,
    FIT_LEAST_FLUX,
    FIT_START_SIGMA,
    FIT_WIDEST_SIGMA,
)
from npsubpix._definitions.flags import FitFlags
from npsubpix._definitions.spot_models import Model

__all__ = ["BEFORE", "DAMPING", "DEGREES", "LEAST", "SCALE", "STATES", "USED", "VARIANCE", "change", "crowded_start_of"]

_SINGULAR = int(FitFlags.SINGULAR)

#: State of a spot: damping, the last Newton decrement, free parameters, least background, scale of the flux, degrees
#: of freedom, and the variance of its residuals.
STATES = 7
DAMPING, BEFORE, USED, LEAST, SCALE, DEGREES, VARIANCE = range(STATES)


@device
def _amplitude(data, spread, mean, level, box, padded, likelihood, reach):
    """Return the flux of the pixels around the central one, by least squares, and the magnitudes of their sum."""
    top, bottom, size = 0.0, 0.0, 0.0
    z, y, x = (box[0] - 1) // 2, (box[1] - 1) // 2, (box[2] - 1) // 2
    for d in range(max(0, z - reach), min(box[0], z + reach + 1)):
        for j in range(max(0, y - reach), min(box[1], y + reach + 1)):
            for i in range(max(0, x - reach), min(box[2], x + reach + 1)):
                k = (d * box[1] + j) * padded + i
                if spread[k] < math.inf if likelihood else spread[k] > 0.0:
                    top += mean[k] * (data[k] - level)
                    bottom += mean[k] * mean[k]
                    size += abs(data[k] - level)
    return (top / bottom if bottom > 0.0 else 0.0), size


@summing
def change(others, seen, data, spread, variance, likelihood):
    """Return the squared change of the light of neighbours, in units of the variances of pixels."""
    total = 0.0
    for k in range(others.size):
        difference = others[k] - seen[k]
        known = data[k] + spread[k]
        weight = 1.0 / (known if known > 1.0 else 1.0) if likelihood else spread[k] / variance
        total += weight * difference * difference
    return total


def crowded_start_of(model: Model, functions: SpotFunctions) -> Callable[..., Any]:
    """Make the function that writes where a spot begins: the flux of its brightest pixels, and the usual width."""
    write, means, begin_shape = functions.write, functions.means, shape_start_of(model, functions)
    axes, count, starts = model.axes, model.parameters, model.starts
    width_of_axis, last = model.width_of_axis, model.parameters - 1

    @device
    def begin(parameters, state, data, spread, least_spread, start, sigma, constants, box, padded, likelihood, memory):
        _, _, lines, edges, pixels, _ = memory
        many, level, size = summarize(data, spread, box, padded, likelihood)
        state[:] = 0.0
        state[BEFORE], state[USED], state[DEGREES], state[VARIANCE] = math.inf, count, many - count, 1.0
        if many <= count:
            return _SINGULAR
        parameters[:] = 0.0
        parameters[axes] = 1.0
        for a in range(axes):
            parameters[a] = start[a]
            k = width_of_axis[a]
            if k >= 0:
                known = max(min(sigma[a], FIT_WIDEST_SIGMA * box[3 - axes + a]), FIT_START_SIGMA)
                parameters[k] = known if sigma[a] > 0.0 else (box[3 - axes + a] - 1) / 6.0
        best, least_misfit = 0, math.inf
        for which in range(starts + (starts > 1)):
            own = which if which < starts else best
            begin_shape(parameters, data, spread, sigma, constants, own, box, padded, likelihood, memory)
            write(parameters, sigma, constants, box, padded, lines, edges)
            pixels[0, :] = 0.0
            means(pixels[0], parameters, box, padded, lines)
            if starts > 1:
                found = misfit(data, spread, pixels[0], likelihood)
                if found < least_misfit:
                    best, least_misfit = own, found
        flux, inner = _amplitude(data, spread, pixels[0], level, box, padded, likelihood, 1)
        if not inner > FIT_EQUAL * size:  # as where the central pixels are masked
            flux, inner = _amplitude(data, spread, pixels[0], level, box, padded, likelihood, data.size)
        if not inner > FIT_EQUAL * size:
            return _SINGULAR
        flux = max(flux, FIT_LEAST_FLUX * inner)
        least = FIT_LEAST_BACKGROUND - least_spread if likelihood else -math.inf
        parameters[axes], parameters[last] = flux, max(level, least)
        state[LEAST], state[SCALE] = least, flux
        return 0

    return begin
