"""Symmetric equations of any number, solved by Cholesky's factors."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import fused
from npsubpix._definitions.constants import FIT_LEAST_PIVOT

__all__ = ["backward", "factor", "forward"]


@fused
def factor(lower, matrix, count):
    """Write the factor of the first rows of a matrix, inverses in its diagonal; return whether it is regular."""
    for a in range(count):
        for b in range(a + 1):
            value = matrix[a, b]
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
