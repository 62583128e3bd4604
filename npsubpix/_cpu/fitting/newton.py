"""Normal equations of a fit, and steps of Newton for least squares.

The method of Gauss and Newton leaves out the second derivatives of means, and so converges slowly where residuals are
large. Newton's does not; its matrix is used where it is as positive as that of Gauss and Newton, nearly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from npsubpix._cpu.compiler.jit import device, inlined, summing
from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.gaussian import edges_before_x, write_curves
from npsubpix._cpu.fitting.linear import LinearAlgebra
from npsubpix._cpu.fitting.products import information_of, residual_sums_of
from npsubpix._definitions.constants import FIT_CURVED
from npsubpix._definitions.spot_models import Model

__all__ = ["Equations", "equations_of", "is_alike"]


class Equations(NamedTuple):
    """Functions of a fit.

    Attributes
    ----------
    write : function of (parameters, sigma, constants, box, padded, data, spread, likelihood, alike, memory)
        Write the information and the gradient, and what second derivatives of means add for least squares; return
        chi2. `alike` is whether all pixels have the same weight.
    turn : function of (square, gradient, steps)
        Write the step of Newton, and return True, unless its matrix is not as positive as it should be.
    """

    write: Callable[..., Any]
    turn: Callable[..., Any]


@summing
def is_alike(spread, box):
    """Whether all pixels of a box have the same weight."""
    first, same = spread[0], 0
    for k in range(spread.size):
        same += 1 if spread[k] == first else 0
    return 0.0 < first < math.inf and same == box[0] * box[1] * box[2]


def equations_of(model: Model, functions: SpotFunctions, algebra: LinearAlgebra) -> Equations:
    """Make the functions of a model."""
    write_model, add_rows, unpack = functions.write, functions.add_rows, algebra.unpack

    @inlined
    def write_rows(parameters, sigma, constants, box, padded, data, spread, likelihood, alike, memory):
        small, square, lines, edges, _, sums = memory
        write_model(parameters, sigma, constants, box, padded, lines, edges)
        add_rows(sums, parameters, box, padded, lines, data, spread, likelihood)
        return unpack(square[0], small[1], sums)

    @device
    def never(square, gradient, steps):
        return False

    if not model.has_curves:
        return Equations(write_rows, never)

    information, add_residuals, width_along = information_of(model, 0), residual_sums_of(model), functions.width
    count, last, plane = model.parameters, model.parameters - 1, model.plane
    factor, forward, backward = algebra.factor, algebra.forward, algebra.backward

    @inlined
    def write(parameters, sigma, constants, box, padded, data, spread, likelihood, alike, memory):
        small, square, lines, edges, _, sums = memory
        write_model(parameters, sigma, constants, box, padded, lines, edges)
        if likelihood:
            add_rows(sums, parameters, box, padded, lines, data, spread, likelihood)
            return unpack(square[0], small[1], sums)
        write_curves(lines, edges)
        x, flux, tilts = edges_before_x(box, 2), parameters[2], (0.0, 0.0)
        if plane:
            tilts = parameters[last - 2], parameters[last - 1]
        widths = width_along(parameters, sigma, constants, 0), width_along(parameters, sigma, constants, 1)
        chi2 = add_residuals(
            square[3], small[1], lines, x, data, spread, box[1], padded, box[2], flux, widths, parameters[last], tilts
        )
        if alike:
            information(square[0], lines, x, box[1], box[2], flux, spread[0])
        else:
            add_rows(sums, parameters, box, padded, lines, data, spread, likelihood)
            chi2 = unpack(square[0], small[1], sums)
        return chi2

    @inlined
    def turn(square, gradient, steps):
        matrix, lower, own, curved = square[0], square[1], square[2], square[3]
        for a in range(count):
            for b in range(a + 1):
                curved[a, b] = matrix[a, b] - curved[a, b]
        if not factor(own, curved, 0.0):
            return False
        for a in range(count):
            if not own[a, a] <= FIT_CURVED * lower[a, a]:  # one over pivots
                return False
        forward(steps, own, gradient, count)
        backward(steps, own, count)
        return True

    return Equations(write, turn)
