"""Spots beyond their boxes: means, derivatives, and the light of neighbours in a box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.gaussian import edges_before_x, factors_of
from npsubpix._definitions.spot_models import Model

__all__ = ["derivatives_of", "light_of", "sum_neighbours"]


def light_of(model: Model, functions: SpotFunctions) -> Callable[..., Any]:
    """Make the function that writes the light of a spot, without background, as far as it reaches."""
    write, means, axes, count = functions.write, functions.means, model.axes, model.parameters
    background = axes + 1 + model.widths

    @device
    def light(out, parameters, margins, sigma, constants, box, padded, memory):
        moved, lines, edges = memory
        for a in range(count):
            moved[a] = parameters[a] + margins[3 - axes + a] if a < axes else parameters[a]
            if a >= background:
                moved[a] = 0.0
        write(moved[:count], sigma, constants, box, padded, lines, edges)
        means(out, moved[:count], box, padded, lines)

    return light


@device
def sum_neighbours(out, light, wide, wide_padded, corners, row, box, padded, margins, offsets, neighbours):
    """Write the light of the neighbours of a spot in its box."""
    out[:] = 0.0
    for k in range(offsets[row], offsets[row + 1]):
        other = neighbours[k]
        z, y, x = (
            corners[row, 0] - corners[other, 0] + margins[0],
            corners[row, 1] - corners[other, 1] + margins[1],
            corners[row, 2] - corners[other, 2] + margins[2],
        )  # of the first pixel of the box in what the other spot reaches
        first, last = max(0, -x), min(box[2], wide[2] - x)
        for d in range(max(0, -z), min(box[0], wide[0] - z)):
            for j in range(max(0, -y), min(box[1], wide[1] - y)):
                at = (d * box[1] + j) * padded
                there = ((d + z) * wide[1] + j + y) * wide_padded + x
                for i in range(first, last):
                    out[at + i] += light[other, there + i]


def derivatives_of(model: Model, functions: SpotFunctions) -> Callable[..., Any]:
    """Make the function that writes the derivatives of means with respect to all parameters, a row for each."""
    write, axes, count, last = functions.write, model.axes, model.parameters, model.parameters - 1
    if functions.by_pixel:

        @device
        def copied(out, parameters, sigma, constants, box, padded, lines, edges):
            write(parameters, sigma, constants, box, padded, lines, edges)
            for a in range(count):
                copy_to(out[a], lines[a])

        return copied

    factors, end, plane, volume = factors_of(model), model.axes + 1 + model.widths, model.plane, model.axes == 3
    shared_width, own_widths = model.width in ("free", "astigmatic"), model.width == "elliptical"

    @device
    def derivatives(out, parameters, sigma, constants, box, padded, lines, edges):
        write(parameters, sigma, constants, box, padded, lines, edges)
        start, x = 0, edges_before_x(box, axes)
        for d in range(box[0]):
            for j in range(box[1]):
                shared, _, _, first = factors(parameters, box, lines, d, j)
                for i in range(box[2]):
                    k = start + i
                    ex, dx, gx = lines[0, x + i], lines[1, x + i], lines[2, x + i]
                    if volume:
                        out[0, k] = shared[1] * ex
                    out[axes - 2, k] = shared[2] * ex
                    out[axes - 1, k] = shared[0] * dx
                    out[axes, k] = shared[5] * ex
                    if shared_width:
                        if volume:
                            out[axes + 1, k] = shared[3] * ex
                        out[end - 1, k] = shared[4] * ex + shared[0] * gx
                    if own_widths:
                        if volume:
                            out[axes + 1, k] = shared[3] * ex
                        out[end - 2, k] = shared[4] * ex
                        out[end - 1, k] = shared[0] * gx
                    if plane:
                        if volume:
                            out[last - 3, k] = shared[6]
                        out[last - 2, k] = shared[7]
                        out[last - 1, k] = first + i
                    out[last, k] = 1.0
                start += padded

    return derivatives
