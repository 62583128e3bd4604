"""Widths on a curve of z: see `AstigmaticCurve`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.jit import device
from npsubpix._definitions.constants import FIT_LEAST_WIDTH
from npsubpix._definitions.spot_models import Model

__all__ = ["curve_of"]


def curve_of(model: Model) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the functions that return the width along an axis, and its derivative with respect to z."""
    z, first = model.parameter("z"), model.numbers_at + 2

    @device
    def width(parameters, sigma, constants, axis):
        k = first + 5 * axis
        u = (parameters[z] - constants[k + 1]) / constants[k + 2]
        square = 1.0 + u * u * (1.0 + u * (constants[k + 3] + u * constants[k + 4]))
        return max(constants[k] * math.sqrt(max(square, 0.0)), FIT_LEAST_WIDTH)

    @device
    def slope(parameters, sigma, constants, axis):
        k = first + 5 * axis
        u = (parameters[z] - constants[k + 1]) / constants[k + 2]
        square = 1.0 + u * u * (1.0 + u * (constants[k + 3] + u * constants[k + 4]))
        rise = u * (2.0 + u * (3.0 * constants[k + 3] + 4.0 * u * constants[k + 4]))
        return 0.5 * constants[k] / constants[k + 2] * rise / math.sqrt(square) if square > 0.0 else 0.0

    return width, slope
