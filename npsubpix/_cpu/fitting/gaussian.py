"""The Gaussian model: values integrated over pixels, and their derivatives with respect to its parameters.

An axis of a box has three lines of numbers: the integral of the Gaussian over each pixel, and its derivatives with
respect to the position and to the width. Values and derivatives at a pixel are products of them. Lines are those of
z (0 to 2), of y (3 to 5) and of x (6 to 8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._cpu.fitting.curve import curve_of
from npsubpix._cpu.formulas.error_function import error_function
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._definitions.spot_models import Model

__all__ = ["BLOCK", "factors_of", "lines_of", "slopes_of", "width_of"]

#: Pixels that rows are padded to multiples of.
BLOCK = 4

_DENSITY = 0.3989422804014327  # 1 / sqrt(2 pi)


@fused
def _edges(integral, slope, product, centre, width):
    """Write the integral of a Gaussian up to the edges of pixels, its negative derivatives by position and width."""
    inverse = 1.0 / width
    density = _DENSITY * inverse
    for k in range(integral.size):
        u = (k - 0.5 - centre) * inverse
        exponential = exponential64(-0.5 * u * u)
        integral[k] = 0.5 * error_function(u, exponential)
        slope[k] = density * exponential
        product[k] = density * exponential * u


@fused
def _write_lines(lines, first, count, edges, centre, width):
    """Write the three lines of an axis."""
    padded = (count + BLOCK) // BLOCK * BLOCK  # there is one edge more than pixels
    _edges(edges[0, :padded], edges[1, :padded], edges[2, :padded], centre, width)
    for k in range(count):
        lines[first, k] = edges[0, k + 1] - edges[0, k]
        lines[first + 1, k] = edges[1, k] - edges[1, k + 1]
        lines[first + 2, k] = edges[2, k] - edges[2, k + 1]


def width_of(model: Model) -> Callable[..., Any]:
    """Make the function that returns the width of a spot along an axis."""
    if model.width == "astigmatic":
        return curve_of(model)[0]
    widths = model.width_of_axis

    @device
    def width(parameters, sigma, constants, axis):
        return parameters[widths[axis]] if widths[axis] >= 0 else sigma[axis]

    return width


def lines_of(model: Model) -> Callable[..., Any]:
    """Make the function that writes the lines of all axes.

    On a curve of widths, the derivatives with respect to the width are those with respect to z.
    """
    axes, astigmatic = model.axes, model.width == "astigmatic"
    width_along = width_of(model)
    slope_along = curve_of(model)[1] if astigmatic else None

    @device
    def write_lines(parameters, sigma, constants, box, lines, edges):
        for a in range(axes):
            axis = 3 - axes + a
            width = width_along(parameters, sigma, constants, a)
            _write_lines(lines, 3 * axis, box[axis], edges, parameters[a], width)
            if astigmatic:
                slope = slope_along(parameters, sigma, constants, a)
                for k in range(box[axis]):
                    lines[3 * axis + 2, k] *= slope

    return write_lines


def factors_of(model: Model) -> Callable[..., Any]:
    """Make the function that returns what the pixels of a row share: factors, and the background along it.

    The factors are those of the lines of x in the mean, and in the derivatives by z and y, by the widths along them,
    and by the flux; and the distances of the row from the centre of the box.
    """
    volume, plane, last = model.axes == 3, model.plane, model.parameters - 1
    axes = model.axes

    @device
    def factors(parameters, box, lines, d, j):
        flux, level, tilt = parameters[axes], parameters[last], 0.0
        ey, dy, gy = lines[3, j], lines[4, j], lines[5, j]
        ez, dz, gz = (lines[0, d], lines[1, d], lines[2, d]) if volume else (1.0, 0.0, 0.0)
        from_z, from_y = d - 0.5 * (box[0] - 1), j - 0.5 * (box[1] - 1)
        if plane:
            tilt = parameters[last - 1]
            level += parameters[last - 2] * from_y
            if volume:
                level += parameters[last - 3] * from_z
        here = ez * ey
        shared = flux * here, flux * dz * ey, flux * ez * dy, flux * gz * ey, flux * ez * gy, here, from_z, from_y
        return shared, level, tilt, -0.5 * (box[2] - 1)

    return factors


def slopes_of(model: Model, shared: Sequence[Any]) -> list[list[tuple[str, Any]]]:
    """Return the derivatives of the means of a row with respect to all parameters, each a sum of terms.

    A term is the name of a line, and a factor of `shared` that it is multiplied by, None for 1. The lines are those of
    x: ``"value"``, ``"slope"``, ``"spread"``; ``"along"``, the distance from the centre; and ``"one"``.
    """
    n, n_z, n_y, g_z, g_y, here, from_z, from_y = shared
    volume = model.axes == 3
    slopes = [[("value", n_z)]] if volume else []
    slopes += [[("value", n_y)], [("slope", n)], [("value", here)]]
    if model.width in ("free", "astigmatic"):
        slopes += [[("value", g_z)]] if volume else []
        slopes += [[("value", g_y), ("spread", n)]]
    elif model.width == "elliptical":
        slopes += [[("value", g_z)]] if volume else []
        slopes += [[("value", g_y)], [("spread", n)]]
    if model.plane:
        slopes += [[("one", from_z)]] if volume else []
        slopes += [[("one", from_y)], [("along", None)]]
    return [*slopes, [("one", None)]]
