"""Normal equations of one fit, and their solution by Cholesky's factors, in float64."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, fused, summing
from npsubpix._definitions.constants import FIT_LEAST_PIVOT

__all__ = ["backward", "factor", "forward", "information", "invert", "quadratic_form"]


@summing
def _weigh(out, weights, slopes, residuals):
    """Multiply a line of derivatives by weights; return the sum of its products with residuals."""
    total = 0.0
    for k in range(out.size):
        product = weights[k] * slopes[k]
        out[k] = product
        total += product * residuals[k]
    return total


@summing
def _dot(a, b):
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@summing
def _dots(a, b, c):
    """Return the sums of the products of one line with two others."""
    first, second = 0.0, 0.0
    for k in range(a.size):
        first += a[k] * b[k]
        second += a[k] * c[k]
    return first, second


@device
def information(matrix, gradient, weights, slopes, residuals, weighted):
    """Write the lower triangle of the information matrix, and the gradient of the objective.

    They are the sums over pixels of weights times products of derivatives, and times residuals.
    """
    for a in range(gradient.size):
        gradient[a] = _weigh(weighted, weights, slopes[a], residuals)
        for b in range(0, a, 2):
            matrix[a, b], matrix[a, b + 1] = _dots(weighted, slopes[b], slopes[b + 1])
        if a % 2 == 0:
            matrix[a, a] = _dot(weighted, slopes[a])


@fused
def factor(lower, matrix, count, damping):
    """Write Cholesky's factor of the first rows of a matrix, its diagonal raised; return whether it is regular."""
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
                lower[a, a] = math.sqrt(value)
            else:
                lower[a, b] = value / lower[b, b]
    return True


@fused
def forward(out, lower, values, count):
    """Solve the factor times x = values; return the squared length of x."""
    length = 0.0
    for a in range(count):
        value = values[a]
        for k in range(a):
            value -= lower[a, k] * out[k]
        value /= lower[a, a]
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
        out[a] = value / lower[a, a]


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
            scratch[r] = value / lower[r, r]
        backward(scratch, lower, count)
        for r in range(count):
            out[r, a] = scratch[r]


@fused
def quadratic_form(matrix, slopes, pixel, count):
    """Return v' M v for the derivatives v of a pixel and a symmetric matrix M."""
    total = 0.0
    for a in range(count):
        inner = 0.0
        for b in range(a):
            inner += matrix[a, b] * slopes[b, pixel]
        total += slopes[a, pixel] * (2.0 * inner + matrix[a, a] * slopes[a, pixel])
    return total
