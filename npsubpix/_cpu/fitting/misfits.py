"""Whether residuals have a shape that spots of a model have not: see `_definitions/misfits.py`."""

from __future__ import annotations

import numpy as np

from npsubpix._cpu.compiler.intrinsics import shaped
from npsubpix._cpu.compiler.jit import device, fused, summing
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._definitions.constants import (
    FIT_SHAPE,
    FIT_SHAPE_ELONGATED,
    FIT_SHAPE_ELONGATED_UNWEIGHTED,
    FIT_SHAPE_SIGNIFICANT,
    FIT_SHAPE_SIGNIFICANT_UNWEIGHTED,
    FIT_SHAPE_WIDTH,
)
from npsubpix._definitions.misfits import ELONGATED, MISFITS, flat_shapes

__all__ = ["is_misshapen"]

#: The shape, the factor and the orders of each term.
_TERMS = np.array([(k, *term) for k, shape in enumerate(MISFITS) for term in shape])

#: The first term of each shape, and the end of the last.
_FIRST = np.cumsum([0, *(len(shape) for shape in MISFITS)])

_SHAPES, _FLAT = len(MISFITS), flat_shapes()

_ORDERS = 5


@fused
def _hermite(place, centre, width):
    """Return a Gaussian times Hermite's polynomials of orders 0 to 4."""
    u = (place - centre) / max(width, FIT_SHAPE_WIDTH)
    square = u * u
    g = exponential64(-0.5 * square)
    return g, g * u, g * (square - 1.0), g * (square - 3.0) * u, g * ((square - 6.0) * square + 3.0)


@summing
def _totals(weights, residuals, mean, background):
    """Return the weighted sums of squared residuals and of the squared signal, and the sum of the signal."""
    squares, power, signals = 0.0, 0.0, 0.0
    for k in range(weights.size):
        signal = mean[k] - background
        signal = signal if signal > 0.0 and weights[k] > 0.0 else 0.0
        squares += weights[k] * residuals[k] * residuals[k]
        power += weights[k] * signal * signal
        signals += signal
    return squares, power, signals


@summing
def _of_row(weights, residuals, mean, background, lines, factors):
    """Return the sums over a row of a shape times residuals, of its square, and of that times the signal."""
    score, own, by_signal = 0.0, 0.0, 0.0
    for i in range(weights.size):
        shape = factors[0] * lines[0, i] + factors[1] * lines[1, i] + factors[2] * lines[2, i]
        shape += factors[3] * lines[3, i] + factors[4] * lines[4, i]
        signal = mean[i] - background
        weighted = weights[i] * shape
        score += weighted * residuals[i]
        own += weighted * shape
        by_signal += weighted * shape * (signal if signal > 0.0 else 0.0)
    return score, own, by_signal


@device
def _factors(number, along_z, along_y, volume):
    """Return the factors of the lines of x in a shape, in a row."""
    f0, f1, f2, f3, f4 = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(_FIRST[number], _FIRST[number + 1]):
        if volume or _TERMS[k, 2] == 0:
            factor = _TERMS[k, 1] * along_z[_TERMS[k, 2]] * along_y[_TERMS[k, 3]]
            order = _TERMS[k, 4]
            f0 += factor if order == 0 else 0.0
            f1 += factor if order == 1 else 0.0
            f2 += factor if order == 2 else 0.0
            f3 += factor if order == 3 else 0.0
            f4 += factor if order == 4 else 0.0
    return f0, f1, f2, f3, f4


@device
def _add_box(sums, weights, residuals, mean, background, lines, centre, width, box, padded):
    """Add the sums of `_of_row` over a box, a row for each shape."""
    depth, height, length = box
    volume, start = depth > 1, 0
    for d in range(depth):
        along_z = _hermite(d, centre[0], width[0]) if volume else (1.0, 0.0, 0.0, 0.0, 0.0)
        for j in range(height):
            along_y, end = _hermite(j, centre[1], width[1]), start + length
            own_weights, own_residuals, own_mean = weights[start:end], residuals[start:end], mean[start:end]
            for number in range(sums.shape[0]):
                factors = _factors(number, along_z, along_y, volume)
                score, own, by_signal = _of_row(own_weights, own_residuals, own_mean, background, lines, factors)
                sums[number, 0] += score
                sums[number, 1] += own
                sums[number, 2] += by_signal
            start += padded


@device
def is_misshapen(
    weights, residuals, mean, scratch, sums, background, centre, width, box, padded, degrees, unweighted
):  # fmt: skip
    """Whether residuals have a shape that the model has not.

    Residuals that are within the noise as a whole, or less than the least share of the signal, are not looked at, nor
    boxes of less than five rows. `sums` are as many numbers as shapes have sums, at least.
    """
    squares, power, signals = _totals(weights, residuals, mean, background)
    if squares <= FIT_SHAPE * FIT_SHAPE * power or not signals > 0.0 or scratch.size < _ORDERS * padded:
        return False
    if degrees <= 0 or (not unweighted and squares <= degrees):
        return False
    lines, shapes = shaped(scratch, (_ORDERS, padded)), shaped(sums, (_SHAPES if box[0] > 1 else _FLAT, 3))
    for i in range(box[2]):
        lines[0, i], lines[1, i], lines[2, i], lines[3, i], lines[4, i] = _hermite(i, centre[2], width[2])
    shapes[:] = 0.0
    _add_box(shapes, weights, residuals, mean, background, lines, centre, width, box, padded)
    significance, elongated, share = 0.0, 0.0, 0.0
    for number in range(shapes.shape[0]):
        score, own, by_signal = shapes[number, 0], shapes[number, 1], shapes[number, 2]
        if own > 0.0:
            share += score * score / own
            noise = max(own / degrees, by_signal / signals) * squares if unweighted else own
            significance += score * score / noise
            elongated += score * score / noise if number < ELONGATED else 0.0
    if share <= FIT_SHAPE * FIT_SHAPE * power:
        return False
    if unweighted:
        return significance > FIT_SHAPE_SIGNIFICANT_UNWEIGHTED or elongated > FIT_SHAPE_ELONGATED_UNWEIGHTED
    return significance > FIT_SHAPE_SIGNIFICANT or elongated > FIT_SHAPE_ELONGATED
