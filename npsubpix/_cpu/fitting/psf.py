"""A measured point spread function: the cubic spline through its samples, which are integrals over pixels already."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._cpu.fitting.contract import PixelFunctions
from npsubpix._definitions.spot_models import Model

__all__ = ["measured_psf"]


@fused
def _weights(t):
    """Return the weights of four coefficients at a distance, from 0 to 1, after the second; and their derivatives."""
    u = 1.0 - t
    tt, uu = t * t, u * u
    weights = uu * u / 6.0, 2.0 / 3.0 - tt * (1.0 - 0.5 * t), 2.0 / 3.0 - uu * (1.0 - 0.5 * u), tt * t / 6.0
    return weights, (-0.5 * uu, t * (1.5 * t - 2.0), u * (2.0 - 1.5 * u), 0.5 * tt)


@fused
def _dot(values, weights):
    return (values[0] * weights[0] + values[1] * weights[1]) + (values[2] * weights[2] + values[3] * weights[3])


@fused
def _row(constants, k, weights, slopes):
    """Return the value and the derivative along a row of four coefficients."""
    values = constants[k], constants[k + 1], constants[k + 2], constants[k + 3]
    return _dot(values, weights), _dot(values, slopes)


@fused
def _plane(constants, k, step, wy, sy, wx, sx):
    """Return the value and the derivatives with respect to y and x in a plane of four by four coefficients."""
    v0, x0 = _row(constants, k, wx, sx)
    v1, x1 = _row(constants, k + step, wx, sx)
    v2, x2 = _row(constants, k + 2 * step, wx, sx)
    v3, x3 = _row(constants, k + 3 * step, wx, sx)
    values = v0, v1, v2, v3
    return _dot(values, wy), _dot(values, sy), _dot((x0, x1, x2, x3), wy)


def measured_psf(model: Model) -> PixelFunctions:
    """Make the functions of its pixels; `psf_geometry` has the constants."""
    axes, volume = model.axes, model.axes == 3
    coefficients = 3 * axes

    @device
    def place(constants, axis, distance):
        """Return the first of four coefficients, or -1 outside; and the distance after the second."""
        position = constants[3 * axis + 2] + constants[3 * axis + 1] * distance
        base = math.floor(position)
        inside = base >= 1.0 and base <= constants[3 * axis] - 3.0
        return int(base) - 1 if inside else -1, position - base

    @device
    def prepare(shared, parameters, sigma, constants):
        pass

    @device
    def pixel(slopes, shared, parameters, sigma, constants, d, j, i):
        row, along_y = place(constants, axes - 2, j - parameters[axes - 2])
        column, along_x = place(constants, axes - 1, i - parameters[axes - 1])
        plane, along_z = place(constants, 0, d - parameters[0]) if volume else (0, 0.0)
        for a in range(axes):
            slopes[a] = 0.0
        if min(row, column, plane) < 0:
            return 0.0
        wy, sy = _weights(along_y)
        wx, sx = _weights(along_x)
        width = int(constants[3 * axes - 3])
        height = int(constants[3 * axes - 6])
        first = coefficients + (plane * height + row) * width + column
        value, by_y, by_x = _plane(constants, first, width, wy, sy, wx, sx)
        if volume:
            wz, sz = _weights(along_z)
            step = height * width
            v1, y1, x1 = _plane(constants, first + step, width, wy, sy, wx, sx)
            v2, y2, x2 = _plane(constants, first + 2 * step, width, wy, sy, wx, sx)
            v3, y3, x3 = _plane(constants, first + 3 * step, width, wy, sy, wx, sx)
            values = value, v1, v2, v3
            slopes[0] = -constants[1] * _dot(values, sz)
            value, by_y, by_x = _dot(values, wz), _dot((by_y, y1, y2, y3), wz), _dot((by_x, x1, x2, x3), wz)
        slopes[axes - 2] = -constants[3 * axes - 5] * by_y
        slopes[axes - 1] = -constants[3 * axes - 2] * by_x
        return value

    return PixelFunctions(prepare, pixel)
