"""The Gaussian model: values integrated over pixels, and their derivatives with respect to its parameters.

An axis of a box has three lines of numbers: the integral of the Gaussian over each pixel, and its derivatives with
respect to the position and to the width. Values and derivatives at a pixel are products of them. The lines of all axes
follow one another: the integrals along z, y and x, then the derivatives in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from npsubpix._cpu.compiler.intrinsics import shaped
from npsubpix._cpu.compiler.jit import device, inlined, inlined_fused
from npsubpix._cpu.fitting.curve import curve_of
from npsubpix._cpu.formulas.error_function import error_function
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._definitions.spot_models import Model

__all__ = [
    "BLOCK",
    "curve_edges",
    "edges_before_x",
    "edges_of",
    "factors_of",
    "lines_of",
    "slopes_of",
    "width_of",
    "write_curves",
]

#: Pixels that rows are padded to multiples of.
BLOCK = 4

_DENSITY = 0.3989422804014327  # 1 / sqrt(2 pi)


@device
def edges_of(pixels):
    """Return the number of edges of the pixels of an axis, one more than these, padded."""
    return (pixels + BLOCK) // BLOCK * BLOCK


@device
def edges_before_x(box, axes):
    """Return the number of edges of all axes but the last: where the lines of x begin."""
    return edges_of(box[1]) + (edges_of(box[0]) if axes == 3 else 0)


@inlined_fused
def _write_places(places, scales, centre, inverse):
    """Write the places of the edges of pixels, in widths from the centre of a Gaussian, and what scales its slope."""
    scale = -_DENSITY * inverse
    for k in range(places.size):
        places[k] = (k - 0.5 - centre) * inverse
        scales[k] = scale


@inlined_fused
def _integrate(integrals, slopes, products, places, scales):
    """Write the integral of a Gaussian up to each place, and its derivatives with respect to the centre and width."""
    for k in range(places.size):
        exponential = exponential64(-0.5 * places[k] * places[k])
        integrals[k] = 0.5 * error_function(places[k], exponential)
        slopes[k] = scales[k] * exponential
        products[k] = scales[k] * exponential * places[k]


@inlined_fused
def _subtract(differences, values):
    """Write by how much each value is less than the next."""
    for k in range(differences.size):
        differences[k] = values[k + 1] - values[k]


@inlined_fused
def _curve(by_both, by_width, slopes, products, places):
    """Write the derivatives of what integrals have as derivative by the width, with respect to both, over the width."""
    for k in range(places.size):
        square = places[k] * places[k]
        by_both[k] = slopes[k] * (square - 1.0)
        by_width[k] = products[k] * (square - 2.0)


@device
def curve_edges(edges_of_axes):
    """Return how many more numbers the edges of all axes need for `write_curves`."""
    return 2 * edges_of_axes + BLOCK


@inlined
def write_curves(lines, edges):
    """Write two more lines of all axes, see `products.py`, after the others."""
    total = lines.shape[1]
    places, curved = edges[3 * total + BLOCK : 4 * total + BLOCK], edges[5 * total + BLOCK :]
    _curve(curved[:total], curved[total:], edges[total : 2 * total], edges[2 * total : 3 * total], places)
    _subtract(shaped(lines[3:], (2 * total,)), curved)


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

    Each step takes all axes at once: loops over the few pixels of one take longer to begin than to run. An axis has
    one edge more than pixels, so the last numbers of its lines mean nothing. On a curve of widths, the derivatives with
    respect to the width are those with respect to z.
    """
    axes, astigmatic = model.axes, model.width == "astigmatic"
    width_along = width_of(model)
    slope_along = curve_of(model)[1] if astigmatic else width_along  # which is not called

    @inlined
    def write_lines(parameters, sigma, constants, box, lines, edges):
        total = lines.shape[1]
        places, scales = edges[3 * total + BLOCK : 4 * total + BLOCK], edges[4 * total + BLOCK :]
        first = 0
        for a in range(axes):
            width = width_along(parameters, sigma, constants, a)
            stop = first + edges_of(box[3 - axes + a])
            _write_places(places[first:stop], scales[first:stop], parameters[a], 1.0 / width)
            first = stop
        _integrate(edges[:total], edges[total : 2 * total], edges[2 * total : 3 * total], places, scales)
        _subtract(shaped(lines, (3 * total,)), edges)
        if astigmatic:
            first = 0
            for a in range(axes):
                slope = slope_along(parameters, sigma, constants, a)
                stop = first + edges_of(box[3 - axes + a])
                for k in range(first, stop):
                    lines[2, k] *= slope
                first = stop

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
        k = (edges_of(box[0]) if volume else 0) + j
        ey, dy, gy = lines[0, k], lines[1, k], lines[2, k]
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
    """Return the derivatives of the means of a column with respect to all parameters, each a sum of terms.

    A term is the name of a line, and the factor of it that the pixels of the column share, None for 1. The lines are
    those of y: ``"value"``, ``"slope"``, ``"spread"``; ``"along"``, the distance from the centre; and ``"one"``. The
    factors are those of the mean, of the derivatives by z and x, by the widths along them, and by the flux; and the
    distances of the column from the centre of the box.
    """
    n, n_z, n_x, g_z, g_x, here, from_z, from_x = shared
    volume = model.axes == 3
    slopes = [[("value", n_z)]] if volume else []
    slopes += [[("slope", n)], [("value", n_x)], [("value", here)]]
    if model.width in ("free", "astigmatic"):
        slopes += [[("value", g_z)]] if volume else []
        slopes += [[("spread", n), ("value", g_x)]]
    elif model.width == "elliptical":
        slopes += [[("value", g_z)]] if volume else []
        slopes += [[("spread", n)], [("value", g_x)]]
    if model.plane:
        slopes += [[("one", from_z)]] if volume else []
        slopes += [[("along", None)], [("one", from_x)]]
    return [*slopes, [("one", None)]]
