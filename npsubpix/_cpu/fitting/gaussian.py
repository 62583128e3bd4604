"""The Gaussian model: values integrated over pixels, and their derivatives with respect to its parameters.

An axis of a box has three lines of numbers: the integral of the Gaussian over each pixel, and its derivatives with
respect to the position and to the width. Values and derivatives at a pixel are products of them.

Rows of a box, and so lines, are padded to a multiple of four pixels. A block of four is read before it is written, so
that it becomes vector code whether or not arrays overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._cpu.formulas.error_function import error_function
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._definitions.fitting import Model

__all__ = ["BLOCK", "gaussian_of"]

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
def _difference(line, edges, sign):
    for k in range(line.size):
        line[k] = sign * (edges[k + 1] - edges[k])


@device
def _lines(values, by_position, by_width, edges, centre, width):
    """Write the three lines of an axis."""
    count = values.size + BLOCK
    _edges(edges[0, :count], edges[1, :count], edges[2, :count], centre, width)
    _difference(values, edges[0], 1.0)
    _difference(by_position, edges[1], -1.0)
    _difference(by_width, edges[2], -1.0)


@fused
def _scaled(out, start, line, factor):
    """Write a line times a factor to a row."""
    for i in range(0, line.size, BLOCK):
        a, b, c, d = line[i], line[i + 1], line[i + 2], line[i + 3]
        k = start + i
        out[k], out[k + 1], out[k + 2], out[k + 3] = factor * a, factor * b, factor * c, factor * d


@fused
def _shifted(out, start, line, factor, level, tilt, first):
    """Write a line times a factor, plus a level that grows by `tilt` from pixel to pixel, to a row."""
    for i in range(0, line.size, BLOCK):
        a, b, c, d = line[i], line[i + 1], line[i + 2], line[i + 3]
        k, here = start + i, level + tilt * (first + i)
        out[k] = factor * a + here
        out[k + 1] = factor * b + (here + tilt)
        out[k + 2] = factor * c + (here + 2 * tilt)
        out[k + 3] = factor * d + (here + 3 * tilt)


@fused
def _summed(out, start, line, factor, other, other_factor):
    """Write the sum of two lines times factors to a row."""
    for i in range(0, line.size, BLOCK):
        a, b, c, d = line[i], line[i + 1], line[i + 2], line[i + 3]
        e, f, g, h = other[i], other[i + 1], other[i + 2], other[i + 3]
        k = start + i
        out[k] = factor * a + other_factor * e
        out[k + 1] = factor * b + other_factor * f
        out[k + 2] = factor * c + other_factor * g
        out[k + 3] = factor * d + other_factor * h


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

    @device
    def row(mean, slopes, lines, padded, start, factors, level, tilt, first):
        """Write a row of pixels, from the factors that it shares."""
        n, n_z, n_y, g_z, g_y, here = factors
        ex, dx, gx = lines[6, :padded], lines[7, :padded], lines[8, :padded]
        if volume:
            _scaled(slopes[0], start, ex, n_z)
        _scaled(slopes[y_axis], start, ex, n_y)
        _scaled(slopes[x_axis], start, dx, n)
        _scaled(slopes[axes], start, ex, here)
        if volume and (free or elliptical):
            _scaled(slopes[wz], start, ex, g_z)
        if free:
            _summed(slopes[wy], start, ex, g_y, gx, n)
        if elliptical:
            _scaled(slopes[wy], start, ex, g_y)
            _scaled(slopes[wx], start, gx, n)
        _shifted(mean, start, ex, n, level, tilt, first)

    @device
    def write(parameters, sigma, box, padded, lines, edges, mean, slopes):
        depth, height, width = box
        if volume:
            _lines(lines[0, :depth], lines[1, :depth], lines[2, :depth], edges, parameters[0],
                   width_of(parameters, sigma, wz, 0))  # fmt: skip
        _lines(lines[3, :height], lines[4, :height], lines[5, :height], edges, parameters[y_axis],
               width_of(parameters, sigma, wy, y_axis))  # fmt: skip
        _lines(lines[6, :padded], lines[7, :padded], lines[8, :padded], edges, parameters[x_axis],
               width_of(parameters, sigma, wx, x_axis))  # fmt: skip
        flux, background = parameters[axes], parameters[last]
        tilt = parameters[last - 1] if plane else 0.0
        start = 0
        for d in range(depth):
            ez, dz, gz = (lines[0, d], lines[1, d], lines[2, d]) if volume else (1.0, 0.0, 0.0)
            for j in range(height):
                ey, dy, gy = lines[3, j], lines[4, j], lines[5, j]
                level = background
                if plane:
                    level += parameters[last - 2] * (j - 0.5 * (height - 1))
                    if volume:
                        level += parameters[last - 3] * (d - 0.5 * (depth - 1))
                n = flux * ez * ey
                factors = n, flux * dz * ey, flux * ez * dy, flux * gz * ey, flux * ez * gy, ez * ey
                row(mean, slopes, lines, padded, start, factors, level, tilt, -0.5 * (width - 1))
                start += padded

    return write
