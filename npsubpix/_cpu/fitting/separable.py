"""Spots that are products of functions of one axis: Gaussians along the axes of the image.

Their values and derivatives are products of lines of numbers, see `gaussian.py`, and normal equations are summed by
rows as vector code, see `rows.py`.
"""

from __future__ import annotations

from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.gaussian import edges_before_x, factors_of, lines_of, width_of
from npsubpix._cpu.fitting.rows import row_sums_of
from npsubpix._definitions.spot_models import Model

__all__ = ["separable"]

#: Lines: the integrals of the spot along all axes, and their derivatives.
_LINES = 3


def separable(model: Model) -> SpotFunctions:
    """Make the functions of a model whose spots are products of lines."""
    axes, factors = model.axes, factors_of(model)
    add_likelihood, add_weighted = row_sums_of(model, True), row_sums_of(model, False)
    write_lines = lines_of(model)

    @device
    def write(parameters, sigma, constants, box, padded, lines, edges):
        write_lines(parameters, sigma, constants, box, lines, edges)

    @device
    def add_rows(sums, parameters, box, padded, lines, data, spread, likelihood):
        sums[:] = 0.0
        start, x = 0, edges_before_x(box, axes)
        for d in range(box[0]):
            for j in range(box[1]):
                shared, level, tilt, first = factors(parameters, box, lines, d, j)
                if likelihood:
                    add_likelihood(sums, lines, x, data, spread, start, padded, shared, level, tilt, first)
                else:
                    add_weighted(sums, lines, x, data, spread, start, padded, shared, level, tilt, first)
                start += padded

    @device
    def means(mean, parameters, box, padded, lines):
        start, x = 0, edges_before_x(box, axes)
        for d in range(box[0]):
            for j in range(box[1]):
                shared, level, tilt, first = factors(parameters, box, lines, d, j)
                for i in range(box[2]):
                    mean[start + i] = shared[0] * lines[0, x + i] + level + tilt * (first + i)
                start += padded

    return SpotFunctions(write, add_rows, means, width_of(model), _LINES, by_pixel=False)
