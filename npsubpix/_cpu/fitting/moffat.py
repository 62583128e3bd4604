"""The Moffat function, integrated over pixels by quadrature, with its exponent fitted or known.

A spot is (1 + r**2 / alpha**2)**-beta times (beta - 1) / (pi alpha**2). Its parameters are sigma, the full width at
half maximum over 2 sqrt(2 ln 2), and 1 / beta, which is 0 for a Gaussian.
"""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, summing
from npsubpix._cpu.fitting.contract import PixelFunctions
from npsubpix._cpu.fitting.quadrature import choose_nodes
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._cpu.formulas.logarithm import logarithm64
from npsubpix._definitions.spot_models import NODES, Model

__all__ = ["moffat"]

_LN2 = math.log(2)
_HALF_WIDTH = math.sqrt(2 * _LN2)  # half the full width at half maximum of a Gaussian of sigma 1


@summing
def _sums(constants, first, count, v_pixel, u_pixel, inverse, beta):
    """Return sums over the nodes of a pixel of weighted values times 1, v / t, u / t, 1 - 1 / t and ln t."""
    total, by_v, by_u, by_alpha, by_beta = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(first, first + count):
        v, u, weight = v_pixel + constants[k], u_pixel + constants[k + NODES], constants[k + 2 * NODES]
        from_one = (v * v + u * u) * inverse
        t = 1.0 + from_one
        logarithm = logarithm64(t)
        value = weight * exponential64(-beta * logarithm)
        part = value / t
        total += value
        by_v += part * v
        by_u += part * u
        by_alpha += part * from_one
        by_beta += value * logarithm
    return total, by_v, by_u, by_alpha, by_beta


def moffat(model: Model) -> PixelFunctions:
    """Make the functions of its pixels."""
    nodes_at, numbers_at = model.nodes_at, model.numbers_at
    width, exponent = model.width_of_axis[0], model.parameter("inverse_beta")

    @device
    def prepare(shared, parameters, sigma, constants):
        beta = 1.0 / parameters[exponent] if exponent >= 0 else constants[numbers_at]
        own = parameters[width] if width >= 0 else sigma[0]
        power = 2.0 ** (1.0 / beta)
        ratio = _HALF_WIDTH / math.sqrt(power - 1.0)  # of alpha to sigma
        alpha = own * ratio
        shared[0], shared[1], shared[2], shared[3] = beta, alpha, ratio, 1.0 / (alpha * alpha)
        shared[4] = (beta - 1.0) / (math.pi * alpha * alpha)
        shared[5] = -0.5 * alpha * power * _LN2 / (power - 1.0)  # the derivative of alpha with respect to 1 / beta
        shared[6], shared[7] = choose_nodes(own)

    @device
    def pixel(slopes, shared, parameters, sigma, constants, d, j, i):
        beta, alpha, inverse, scale = shared[0], shared[1], shared[3], shared[4]
        total, by_v, by_u, by_alpha, by_beta = _sums(
            constants, nodes_at + int(shared[6]), int(shared[7]), j - parameters[0], i - parameters[1], inverse, beta
        )
        slopes[0] = 2.0 * beta * scale * inverse * by_v
        slopes[1] = 2.0 * beta * scale * inverse * by_u
        slope = 2.0 * scale * (beta * by_alpha - total) / alpha
        if width >= 0:
            slopes[width] = slope * shared[2]
        if exponent >= 0:
            slopes[exponent] = slope * shared[5] - beta * beta * scale * (total / (beta - 1.0) - by_beta)
        return scale * total

    return PixelFunctions(prepare, pixel)
