"""The Gaussian model: values integrated over pixels, and their derivatives with respect to its parameters.

An axis of a box has three lines of numbers: the integral of the Gaussian over each pixel, and its derivatives with
respect to the position and to the width. Values and derivatives at a pixel are products of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._cpu.formulas.error_function import error_function
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._definitions.fitting import Model

__all__ = ["gaussian_of"]

_DENSITY = 0.3989422804014327  # 1 / sqrt(2 pi)


@fused
def _edges(edges, centre, width):
    """Write the integral of a Gaussian up to the edges of pixels, its negative derivatives by position and width."""
    inverse = 1.0 / width
    density = _DENSITY * inverse
    for k in range(edges.shape[1]):
        u = (k - 0.5 - centre) * inverse
        exponential = exponential64(-0.5 * u * u)
        slope = density * exponential
        edges[0, k] = 0.5 * error_function(u, exponential)
        edges[1, k] = slope
        edges[2, k] = slope * u


@fused
def _lines(lines, edges, centre, width):
    """Write the three lines of an axis."""
    _edges(edges, centre, width)
    for k in range(lines.shape[1]):
        lines[0, k] = edges[0, k + 1] - edges[0, k]
        lines[1, k] = edges[1, k] - edges[1, k + 1]
        lines[2, k] = edges[2, k] - edges[2, k + 1]


def gaussian_of(model: Model) -> Callable[..., Any]:
    """Make the function that writes the means of the pixels of a box, and their derivatives.

    The derivatives with respect to the background and its slopes do not depend on parameters, and are not written.
    """
    volume, elliptical, free = model.axes == 3, model.width == "elliptical", model.width == "free"
    axes, plane = model.axes, model.plane
    last = model.parameters - 1
    wz, wy, wx = ((-1, *model.width_of_axis) if axes == 2 else model.width_of_axis)[-3:]
    y_axis, x_axis = axes - 2, axes - 1

    @device
    def width_of(parameters, sigma, parameter, axis):
        return parameters[parameter] if parameter >= 0 else sigma[axis]

    @fused
    def row(mean, slopes, x, start, factors, background, tilt, centre):
        """Write a row of pixels, from the factors that it shares."""
        n, n_z, n_y, g_z, g_y, here = factors
        for i in range(x.shape[1]):
            k = start + i
            ex, dx, gx = x[0, i], x[1, i], x[2, i]
            if volume:
                slopes[0, k] = n_z * ex
            slopes[y_axis, k] = n_y * ex
            slopes[x_axis, k] = n * dx
            slopes[axes, k] = here * ex
            if volume and (free or elliptical):
                slopes[wz, k] = g_z * ex
            if free:
                slopes[wy, k] = g_y * ex + n * gx
            if elliptical:
                slopes[wy, k] = g_y * ex
                slopes[wx, k] = n * gx
            value = n * ex + background
            if plane:
                value += tilt * (i - centre)
            mean[k] = value

    @device
    def write(parameters, sigma, box, lines, edges, mean, slopes):
        depth, height, width = box
        z, y, x = lines[0, :, :depth], lines[1, :, :height], lines[2, :, :width]
        if volume:
            _lines(z, edges[:, : depth + 1], parameters[0], width_of(parameters, sigma, wz, 0))
        _lines(y, edges[:, : height + 1], parameters[y_axis], width_of(parameters, sigma, wy, y_axis))
        _lines(x, edges[:, : width + 1], parameters[x_axis], width_of(parameters, sigma, wx, x_axis))
        flux, background = parameters[axes], parameters[last]
        tilt = parameters[last - 1] if plane else 0.0
        start = 0
        for d in range(depth):
            ez, dz, gz = (z[0, d], z[1, d], z[2, d]) if volume else (1.0, 0.0, 0.0)
            for j in range(height):
                here = ez * y[0, j]
                level = background
                if plane:
                    level += parameters[last - 2] * (j - 0.5 * (height - 1))
                    if volume:
                        level += parameters[last - 3] * (d - 0.5 * (depth - 1))
                n = flux * here
                n_z, n_y = flux * dz * y[0, j], flux * ez * y[1, j]
                g_z, g_y = flux * gz * y[0, j], flux * ez * y[2, j]
                row(mean, slopes, x, start, (n, n_z, n_y, g_z, g_y, here), level, tilt, 0.5 * (width - 1))
                start += width

    return write
