"""What standard errors of unweighted least squares are made of: see `_definitions/fitting.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.jit import device, inlined, inlined_summing
from npsubpix._cpu.fitting.gaussian import edges_before_x
from npsubpix._cpu.fitting.linear import LinearAlgebra
from npsubpix._cpu.fitting.products import information_of
from npsubpix._definitions.spot_models import Model

__all__ = ["residual_moments_of"]


@inlined_summing
def _sums(signals, weights, residuals, mean, background):
    """Write the signals of pixels; return how many count, and sums of residuals and signals."""
    pixels, s0, s1, total, squares = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(weights.size):
        used, above, q = weights[k] > 0.0, mean[k] - background, residuals[k] * residuals[k]
        m = above if used & (above > 0.0) else 0.0
        q = q if used else 0.0
        signals[k] = m
        pixels += 1.0 if used else 0.0
        s0 += q
        s1 += m * q
        total += m
        squares += m * m
    return pixels, s0, s1, total, squares


@inlined_summing
def _spreads(signals, weights, middle):
    """Return sums of squared differences of signals from one, times powers of signals, which become their squares."""
    t0, t1, t2 = 0.0, 0.0, 0.0
    for k in range(weights.size):
        m, used = signals[k], weights[k] > 0.0
        square = (m - middle) * (m - middle)
        square = square if used else 0.0
        t0 += square
        t1 += square * m
        t2 += square * m * m
        signals[k] = m * m
    return t0, t1, t2


def _weighers(model: Model, add_rows: Callable[..., Any], algebra: LinearAlgebra) -> list[Callable[..., Any]]:
    """Make the functions that write the information with the signals, and with their squares, as weights.

    They take whether these are all pixels of a box, and of the spot alone. `add_rows` sums normal equations.
    """
    unpack = algebra.unpack

    @inlined
    def of_pixels(parameters, signals, data, box, padded, whole, memory):
        small, square, lines, _, _, sums = memory
        add_rows(sums, parameters, box, padded, lines, data, signals, False)
        unpack(square[0], small[1], sums)

    def weigher(power: int) -> Callable[..., Any]:
        information = information_of(model, power)

        @inlined
        def of_lines(parameters, signals, data, box, padded, whole, memory):
            if whole:
                x = edges_before_x(box, 2)
                information(memory[1][0], memory[2], x, box[1], box[2], parameters[2], 1.0)
            else:
                of_pixels(parameters, signals, data, box, padded, whole, memory)

        return of_lines

    return [weigher(power) for power in (1, 2)] if model.has_curves and not model.plane else [of_pixels] * 2


def residual_moments_of(model: Model, add_rows: Callable[..., Any], algebra: LinearAlgebra) -> Callable[..., Any]:
    """Make the function that writes the moments of squared residuals.

    After them come the variances of parameters if the variance of each pixel were its signal, of which the whole
    covariance is left in memory if it is wanted. `alike` is whether all pixels of the box count, and have the signal
    of the spot alone.
    """
    count = model.parameters
    multiply, trace = algebra.multiply, algebra.trace
    weigh, weigh_squares = _weighers(model, add_rows, algebra)

    @device
    def residual_moments(
        out, data, weights, residuals, mean, signals, parameters, box, padded, background, whole, alike, memory
    ):  # fmt: skip
        square = memory[1]
        matrix, product, covariance, by_signal = square[0], square[1], square[2], square[3]
        pixels, s0, s1, total, squares = _sums(signals, weights, residuals, mean, background)
        degrees = pixels - count
        weigh(parameters, signals, data, box, padded, alike, memory)
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
        t0, t1, t2 = _spreads(signals, weights, signal / degrees)
        weigh_squares(parameters, signals, data, box, padded, alike, memory)
        squares -= 2.0 * trace(covariance, matrix)
        out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = (
            degrees, s0, s1, signal, squares + own, t0, t1, t2,
        )  # fmt: skip

    return residual_moments
