"""Normal equations of one fit, and their solution by Cholesky's factors, in float64."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._definitions.constants import FIT_LEAST_PIVOT

__all__ = ["backward", "factor", "forward", "invert", "multiply", "trace_of", "unpack"]


@device
def _total(sums, place):
    first = BLOCK * place
    return (sums[first] + sums[first + 1]) + (sums[first + 2] + sums[first + 3])


@device
def unpack(matrix, gradient, sums, count):
    """Write the lower triangle of the information matrix, and the gradient, from sums in four parts; return chi2."""
    place = 0
    for a in range(count):
        for b in range(a + 1):
            matrix[a, b] = _total(sums, place)
            place += 1
    for a in range(count):
        gradient[a] = _total(sums, place)
        place += 1
    return _total(sums, place)


@fused
def factor(lower, matrix, count, damping):
    """Write Cholesky's factor of the first rows of a matrix, its diagonal raised; return whether it is regular.

    The diagonal of the factor has its inverses.
    """
    for a in range(count):
        for b in range(a + 1):
            value = matrix[a, b]
            if a == b:
                value *= 1.0 + damping
            for k in range(b):
                value -= lower[a, k] * lower[b, k]
            if a == b:
                if not value > FIT_LEAST_PIVOT * matrix[a, a]:
                    return False
                lower[a, a] = 1.0 / math.sqrt(value)
            else:
                lower[a, b] = value * lower[b, b]
    return True


@fused
def forward(out, lower, values, count):
    """Solve the factor times x = values; return the squared length of x."""
    length = 0.0
    for a in range(count):
        value = values[a]
        for k in range(a):
            value -= lower[a, k] * out[k]
        value *= lower[a, a]
        out[a] = value
        length += value * value
    return length


@fused
def backward(out, lower, count):
    """Solve the transposed factor times x = out, in place."""
    for a in range(count - 1, -1, -1):
        value = out[a]
        for k in range(a + 1, count):
            value -= lower[k, a] * out[k]
        out[a] = value * lower[a, a]


@fused
def invert(out, lower, scratch, count):
    """Write the inverse of the matrix of a factor."""
    for a in range(count):
        for k in range(a):
            scratch[k] = 0.0
        for r in range(a, count):
            value = 1.0 if r == a else 0.0
            for k in range(a, r):
                value -= lower[r, k] * scratch[k]
            scratch[r] = value * lower[r, r]
        backward(scratch, lower, count)
        for r in range(count):
            out[r, a] = scratch[r]


@fused
def multiply(out, matrix, triangle, count):
    """Write the product of a matrix and a symmetric one of which the lower triangle is known."""
    for a in range(count):
        for b in range(count):
            total = 0.0
            for k in range(count):
                total += matrix[a, k] * (triangle[k, b] if k >= b else triangle[b, k])
            out[a, b] = total


@fused
def trace_of(matrix, other, count):
    """Return the trace of the product of two matrices."""
    total = 0.0
    for a in range(count):
        for b in range(count):
            total += matrix[a, b] * other[b, a]
    return total
