"""Functions of models, as sweeps call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.fitting.gaussian import lines_of
from npsubpix._cpu.fitting.solver import _averager, _finisher, _limited, _summer
from npsubpix._definitions.constants import FIT_FLUX_STEP, FIT_LEAST_BACKGROUND, FIT_LEAST_WIDTH
from npsubpix._definitions.fitting import Model


def functions_of(model: Model):
    write_lines = lines_of(model)

    @device
    def write(parameters, sigma, constants, box, padded, lines, edges):
        write_lines(parameters, sigma, box, lines, edges)

    return write, _summer(model), _averager(model), 9


def finisher_of(model: Model, add_rows) -> Callable[..., Any]:
    own = _finisher(model, add_rows)

    @device
    def finish(
        row, moments, memory, data, spread, start, sigma, constants, box, padded, estimator, max_shift, used, table, n
    ):
        return own(row, moments, memory, data, spread, start, sigma, box, padded, estimator, max_shift, used, table, n)

    return finish


def mover_of(model: Model) -> Callable[..., Any]:
    axes, width_of_axis, last = model.axes, model.width_of_axis, model.parameters - 1
    end = axes + 1 + model.widths

    @device
    def move(parameters, steps, constants, box, least):
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
                parameters[k] = min(max(wider, FIT_LEAST_WIDTH), 0.5 * box[3 - axes + a])
        for k in range(end, last):
            parameters[k] += steps[k]
        level = parameters[last] + steps[last]
        if level < least + 0.2 * (parameters[last] - least):
            level = least + 0.2 * (parameters[last] - least)
            if level - least < FIT_LEAST_BACKGROUND:
                level = least
        parameters[last] = level

    return move
