"""Spots that are products of functions of one axis: Gaussians along the axes of the image.

Their values and derivatives are products of lines of numbers, see `gaussian.py`, and normal equations are summed by
planes as vector code, see `sums.py`.
"""

from __future__ import annotations

from npsubpix._cpu.compiler.jit import device, inlined, inlined_fused
from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.gaussian import edges_before_x, edges_of, factors_of, lines_of, width_of
from npsubpix._cpu.fitting.products import LINES
from npsubpix._cpu.fitting.sums import plane_sums_of
from npsubpix._definitions.spot_models import Model

__all__ = ["separable"]


@inlined_fused
def _write_means(row, line, flux, level, tilt, first):
    for i in range(row.size):
        row[i] = flux * line[i] + level + tilt * (first + i)


def separable(model: Model) -> SpotFunctions:
    """Make the functions of a model whose spots are products of lines."""
    axes, factors, last, plane, volume = (
        model.axes,
        factors_of(model),
        model.parameters - 1,
        model.plane,
        model.axes == 3,
    )
    add_likelihood, add_weighted = plane_sums_of(model, True), plane_sums_of(model, False)
    write_lines = lines_of(model)

    @inlined
    def write(parameters, sigma, constants, box, padded, lines, edges):
        write_lines(parameters, sigma, constants, box, lines, edges)

    @device
    def add_rows(sums, parameters, box, padded, lines, data, spread, likelihood):
        sums[:] = 0.0
        x, tilts = edges_before_x(box, axes), (0.0, 0.0)
        y = edges_of(box[0]) if volume else 0
        if plane:
            tilts = parameters[last - 2], parameters[last - 1]
        for d in range(box[0]):
            level, start, along_z = parameters[last], d * box[1] * padded, (1.0, 0.0, 0.0, 0.0)
            if volume:
                from_z = d - 0.5 * (box[0] - 1)
                along_z = lines[0, d], lines[1, d], lines[2, d], from_z
                if plane:
                    level += parameters[last - 3] * from_z
            if likelihood:
                add_likelihood(
                    sums, lines, y, x, data, spread, start, box[1], padded, box[2], parameters[axes], along_z, level,
                    tilts,
                )  # fmt: skip
            else:
                add_weighted(
                    sums, lines, y, x, data, spread, start, box[1], padded, box[2], parameters[axes], along_z, level,
                    tilts,
                )  # fmt: skip

    @device
    def means(mean, parameters, box, padded, lines):
        start, x = 0, edges_before_x(box, axes)
        for d in range(box[0]):
            for j in range(box[1]):
                shared, level, tilt, first = factors(parameters, box, lines, d, j)
                line = lines[0, x : x + box[2]]
                _write_means(mean[start : start + box[2]], line, shared[0], level, tilt, first)
                start += padded

    return SpotFunctions(write, add_rows, means, width_of(model), LINES, by_pixel=False)
