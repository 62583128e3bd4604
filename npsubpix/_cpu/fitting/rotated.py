"""A Gaussian with axes of any direction, integrated over pixels by quadrature.

Its parameters are the widths along y and x, and their correlation: unlike axes and an angle, these are determined where
the spot is round.
"""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, summing
from npsubpix._cpu.fitting.contract import PixelFunctions
from npsubpix._cpu.fitting.quadrature import choose_nodes
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._definitions.spot_models import NODES, Model

__all__ = ["rotated"]


@summing
def _sums(constants, first, count, v_pixel, u_pixel, yy, yx, xx):
    """Return sums over the nodes of a pixel of weighted values times 1, v, u, their squares and product."""
    total, by_v, by_u, by_vv, by_vu, by_uu = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(first, first + count):
        v, u, weight = v_pixel + constants[k], u_pixel + constants[k + NODES], constants[k + 2 * NODES]
        square = yy * v * v - 2.0 * yx * v * u + xx * u * u
        value = weight * exponential64(-0.5 * (square if square > 0.0 else 0.0))
        total += value
        by_v += value * v
        by_u += value * u
        by_vv += value * v * v
        by_vu += value * v * u
        by_uu += value * u * u
    return total, by_v, by_u, by_vv, by_vu, by_uu


def rotated(model: Model) -> PixelFunctions:
    """Make the functions of its pixels."""
    nodes_at = model.nodes_at

    @device
    def prepare(shared, parameters, sigma, constants):
        y, x, correlation = parameters[3], parameters[4], parameters[5]
        free = 1.0 - correlation * correlation
        shared[0], shared[1], shared[2] = 1.0 / (free * y * y), correlation / (free * y * x), 1.0 / (free * x * x)
        shared[3] = 1.0 / (2.0 * math.pi * y * x * math.sqrt(free))
        # The smaller eigenvalue of the covariance
        mean, half, mixed = 0.5 * (y * y + x * x), 0.5 * (y * y - x * x), correlation * y * x
        narrowest = mean - math.sqrt(half * half + mixed * mixed)
        shared[4], shared[5] = choose_nodes(math.sqrt(max(narrowest, 0.0)))

    @device
    def pixel(slopes, shared, parameters, sigma, constants, d, j, i):
        yy, yx, xx, scale = shared[0], shared[1], shared[2], shared[3]
        y, x, correlation = parameters[3], parameters[4], parameters[5]
        total, by_v, by_u, by_vv, by_vu, by_uu = _sums(
            constants, nodes_at + int(shared[4]), int(shared[5]), j - parameters[0], i - parameters[1], yy, yx, xx
        )
        slopes[0] = scale * (yy * by_v - yx * by_u)
        slopes[1] = scale * (xx * by_u - yx * by_v)
        slopes[3] = scale * (yy * by_vv - yx * by_vu - total) / y
        slopes[4] = scale * (xx * by_uu - yx * by_vu - total) / x
        square = yy * by_vv - 2.0 * yx * by_vu + xx * by_uu
        free = 1.0 - correlation * correlation
        slopes[5] = scale * (correlation * (total - square) + by_vu / (y * x)) / free
        return scale * total

    return PixelFunctions(prepare, pixel)
