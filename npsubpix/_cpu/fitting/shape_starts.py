"""Where the parameters of a shape begin, and the choice among fits that began at different places."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.goodness import compare, likelihood_ratio
from npsubpix._definitions.constants import FIT_DEPTHS, FIT_START_INVERSE_BETA
from npsubpix._definitions.flags import FIT_REJECTED, FitFlags
from npsubpix._definitions.spot_models import Model

__all__ = ["chooser_of", "misfit", "shape_start_of"]

_REJECTED = int(FIT_REJECTED)
_SINGULAR = int(FitFlags.SINGULAR)
_TOO_FAR = int(FitFlags.TOO_FAR)


@device
def misfit(data, spread, mean, likelihood):
    """Return the least sum of squared residuals of a spot of any flux on any background, from means of 1 and 0."""
    count, m, v, mm, mv, vv = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(data.size):
        if spread[k] < math.inf if likelihood else spread[k] > 0.0:
            count += 1
            m += mean[k]
            v += data[k]
            mm += mean[k] * mean[k]
            mv += mean[k] * data[k]
            vv += data[k] * data[k]
    spot, product = mm - m * m / count, mv - m * v / count
    rise = max(product, 0.0)
    return vv - v * v / count - (rise * rise / spot if spot > 0.0 else 0.0)


def shape_start_of(model: Model, functions: SpotFunctions) -> Callable[..., Any]:
    """Make the function that writes the parameters of a shape, other than widths, with which a fit begins.

    On a curve of widths, z is that of the least squares among some depths on one side of the focus, of which there are
    two starts.
    """
    exponent, depth = model.parameter("inverse_beta"), model.parameter("z")
    axes, count, first = model.axes, model.parameters, model.numbers_at
    write, means = functions.write, functions.means

    @device
    def begin_shape(parameters, data, spread, sigma, constants, which, box, padded, likelihood, memory):
        if exponent >= 0:
            parameters[exponent] = FIT_START_INVERSE_BETA
        if depth >= 0 and which >= 0:
            small, _, lines, edges, pixels, _ = memory
            trial, mean = small[2], pixels[0]
            low, high = constants[first], constants[first + 1]
            focus = min(max(0.5 * (constants[first + 3] + constants[first + 8]), low), high)
            begin, end = (low, focus) if which == 0 else (focus, high)
            least = math.inf
            for k in range(FIT_DEPTHS):
                copy_to(trial[:count], parameters)
                trial[axes], trial[count - 1] = 1.0, 0.0
                trial[depth] = begin + (k + 0.5) / FIT_DEPTHS * (end - begin)
                write(trial, sigma, constants, box, padded, lines, edges)
                means(mean, trial, box, padded, lines)
                sum_of_squares = misfit(data, spread, mean, likelihood)
                if sum_of_squares < least:
                    least = sum_of_squares
                    parameters[depth] = trial[depth]

    return begin_shape


def chooser_of(model: Model, functions: SpotFunctions, fit: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that fits from each start of a model, and keeps the fit of the greatest likelihood."""
    means, starts, axes, count = functions.means, model.starts, model.axes, model.parameters
    if starts == 1:

        @device
        def only(data, spread, least, start, sigma, constants, box, padded, options, max_shift, memory):
            return fit(data, spread, least, start, sigma, constants, 0, box, padded, options, memory)

        return only

    @device
    def score(data, spread, box, padded, likelihood, memory):
        """Return the likelihood at the parameters before the last step."""
        small, _, lines, _, pixels, _ = memory
        means(pixels[0], small[4], box, padded, lines)
        if likelihood:
            return likelihood_ratio(data, pixels[0], spread)
        return -compare(pixels[1], pixels[2], data, pixels[0], spread, False)

    @device
    def best(data, spread, least, start, sigma, constants, box, padded, options, max_shift, memory):
        small = memory[0]
        greatest, flags, total = -math.inf, _SINGULAR, 0
        for which in range(starts):
            found, n_iters, _ = fit(data, spread, least, start, sigma, constants, which, box, padded, options, memory)
            total += n_iters
            for a in range(axes):
                if found & _REJECTED == 0 and not abs(small[0, a] - start[a]) <= max_shift:
                    found |= _TOO_FAR
            if found & _REJECTED == 0:
                likelihood = score(data, spread, box, padded, options[0] == 0, memory)
                if likelihood > greatest:
                    greatest = likelihood
                    copy_to(small[6, :count], small[0])
            elif greatest == -math.inf:
                flags = found
        if greatest == -math.inf:
            return flags, total, count
        found, n_iters, used = fit(data, spread, least, start, sigma, constants, -1, box, padded, options, memory)
        return found, total + n_iters, used

    return best
