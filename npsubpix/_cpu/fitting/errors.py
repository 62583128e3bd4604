"""What standard errors of unweighted least squares are made of: see `_definitions/fitting.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.fitting.linear import LinearAlgebra
from npsubpix._definitions.spot_models import Model

__all__ = ["residual_moments_of"]


def residual_moments_of(model: Model, add_rows: Callable[..., Any], algebra: LinearAlgebra) -> Callable[..., Any]:
    """Make the function that writes the moments of squared residuals.

    After them come the variances of parameters if the variance of each pixel were its signal, of which the whole
    covariance is left in memory if it is wanted. `add_rows` sums normal equations.
    """
    count = model.parameters
    multiply, trace, unpack = algebra.multiply, algebra.trace, algebra.unpack

    @device
    def residual_moments(
        out, data, weights, residuals, mean, signals, parameters, box, padded, background, whole, memory
    ):  # fmt: skip
        small, square, lines, _, _, sums = memory
        gradient = small[1]
        matrix, product, covariance, by_signal = square[0], square[1], square[2], square[3]
        degrees, s0, s1, total, squares = -float(count), 0.0, 0.0, 0.0, 0.0
        for k in range(weights.size):
            signals[k] = 0.0
            if weights[k] > 0.0:
                m, q = max(mean[k] - background, 0.0), residuals[k] * residuals[k]
                signals[k] = m
                degrees += 1.0
                s0 += q
                s1 += m * q
                total += m
                squares += m * m
        add_rows(sums, parameters, box, padded, lines, data, signals, False)
        unpack(matrix, gradient, sums)
        multiply(product, covariance, matrix)
        leverages, own = 0.0, 0.0
        for a in range(count):
            leverages += product[a, a]
            variance = 0.0
            for b in range(count):
                own += product[a, b] * product[b, a]
                variance += product[a, b] * covariance[b, a]
            out[8 + a] = variance
        if whole:
            multiply(by_signal, product, covariance)
        signal = total - leverages
        t0, t1, t2 = 0.0, 0.0, 0.0
        for k in range(weights.size):
            if weights[k] > 0.0:
                m = signals[k]
                offset = m - signal / degrees
                t0 += offset * offset
                t1 += offset * offset * m
                t2 += offset * offset * m * m
                signals[k] = m * m
        add_rows(sums, parameters, box, padded, lines, data, signals, False)
        unpack(matrix, gradient, sums)
        squares -= 2.0 * trace(covariance, matrix)
        out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = (
            degrees, s0, s1, signal, squares + own, t0, t1, t2,
        )  # fmt: skip

    return residual_moments
