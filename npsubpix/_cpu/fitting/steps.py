"""Steps of a fit, limited so that it converges, and parameters that are held at their limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.jit import inlined
from npsubpix._cpu.fitting.linear import LinearAlgebra
from npsubpix._definitions.constants import FIT_FLUX_STEP, FIT_LEAST_BACKGROUND, FIT_LEAST_WIDTH, FIT_MOST_WIDTH
from npsubpix._definitions.spot_models import Model

__all__ = ["direction_of", "holder_of", "mover_of"]


@inlined
def _limited(step, most):
    return min(max(step, -most), most)


def mover_of(model: Model) -> Callable[..., Any]:
    """Make the function that takes a step."""
    axes, width_of_axis = model.axes, model.width_of_axis
    first, end, last = axes + 1, axes + 1 + model.widths, model.parameters - 1
    limited = end - len(model.limited)

    @inlined
    def move(parameters, steps, constants, box, least):
        """Take a step, limited so that no pixel's mean becomes negative, and the spot does not leave its box."""
        for a in range(axes):
            width = parameters[width_of_axis[a]] if width_of_axis[a] >= 0 else 1.0
            parameters[a] += _limited(steps[a], 0.5 * max(width, 1.0))
        flux = parameters[axes]
        parameters[axes] = max(flux + steps[axes], FIT_FLUX_STEP * flux)
        for a in range(axes):
            k = width_of_axis[a]
            if k >= 0 and (a == 0 or k != width_of_axis[a - 1]):
                width = parameters[k]
                wider = width + _limited(steps[k], 0.3 * width)
                parameters[k] = min(max(wider, FIT_LEAST_WIDTH), FIT_MOST_WIDTH * box[3 - axes + a])
        for k in range(limited, end):
            at = 3 * (k - first)
            value = parameters[k] + _limited(steps[k], constants[at])
            parameters[k] = min(max(value, constants[at + 1]), constants[at + 2])
        for k in range(end, last):
            parameters[k] += steps[k]
        level = parameters[last] + steps[last]
        if level < least + 0.2 * (parameters[last] - least):
            level = least + 0.2 * (parameters[last] - least)
            if level - least < FIT_LEAST_BACKGROUND:
                level = least
        parameters[last] = level

    return move


def holder_of(model: Model) -> Callable[..., Any]:
    """Make the function that holds parameters which would pass their limits; it returns whether there are any.

    Rows and columns of these in the information matrix become 0 but for the diagonal, and `held` tells which they are.
    """
    first, count = model.axes + 1, model.parameters
    end = first + model.widths
    begin = end - len(model.held)

    @inlined
    def hold(held, matrix, gradient, parameters, steps, constants):
        found = False
        for k in range(begin, end):
            low, high = constants[3 * (k - first) + 1], constants[3 * (k - first) + 2]
            held[k] = 0.0
            if (parameters[k] <= low and steps[k] <= 0.0) or (parameters[k] >= high and steps[k] >= 0.0):
                for a in range(count):
                    if a != k:
                        matrix[a, k] = 0.0
                        matrix[k, a] = 0.0
                gradient[k] = 0.0
                held[k] = 1.0
                found = True
        return found

    return hold


def direction_of(model: Model, algebra: LinearAlgebra) -> Callable[..., Any]:
    """Make the function that solves the normal equations, but for a background and parameters at their limits.

    It returns whether they have a solution, how many parameters are free, the squared Newton decrement, and whether
    parameters are held. The steps are left as the solution of the first of the two triangular systems.
    """
    hold, count, last, may_hold = holder_of(model), model.parameters, model.parameters - 1, len(model.held) > 0
    factor, forward, backward = algebra.factor, algebra.forward, algebra.backward

    @inlined
    def direction(parameters, matrix, lower, gradient, steps, held, constants, least):
        used, holds = count, False
        held[:] = 0.0
        if not factor(lower, matrix, 0.0):
            return False, used, 0.0, False
        decrement = forward(steps, lower, gradient, used)
        if may_hold:
            backward(steps, lower, used)
            holds = hold(held, matrix, gradient, parameters, steps, constants)
            if holds:
                factor(lower, matrix, 0.0)
            decrement = forward(steps, lower, gradient, used)
        if parameters[last] <= least:
            backward(steps, lower, used)
            used = last if steps[last] <= 0.0 else count  # the background stays where it is
            decrement = forward(steps, lower, gradient, used)
        return True, used, decrement, holds

    return direction
