"""Symmetric equations of any number, solved by Cholesky's factors.

Inner loops are over what lies side by side in memory: a row of the factor, or the right sides of many equations.
"""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.intrinsics import lend
from npsubpix._cpu.compiler.jit import fused, inlined
from npsubpix._definitions.constants import FIT_LEAST_PIVOT

__all__ = ["factor", "forward"]


@inlined
def factor(out, matrix, count):
    """Write the transposed factor of a matrix, inverses in its diagonal; return whether the matrix is regular.

    Of the symmetric matrix of the first rows and columns, the upper half counts. All further columns are solved for.
    Rows should be as long as a multiple of four. They are worked on as a whole: what is below the diagonal of the
    factor has no meaning.
    """
    upper, known = lend(out), lend(matrix)
    columns = matrix.shape[1]
    for a in range(count):
        row = upper[a]
        for b in range(columns):
            row[b] = known[a, b]
        for k in range(a):
            before, share = upper[k], upper[k, a]
            for b in range(columns):  # all, as loops of a length that the compiler knows are vector code
                row[b] -= share * before[b]
        if not row[a] > FIT_LEAST_PIVOT * known[a, a]:
            return False
        inverse = 1.0 / math.sqrt(row[a])
        for b in range(columns):
            row[b] *= inverse
        row[a] = inverse
    return True


@fused
def forward(out, factors, count, width, column, products, squares):
    """Solve the factor times x = b for many b, the columns of an array of rows, which x replaces.

    Write the product of each x with a further column of the factors, and its squared length.
    """
    rows, upper = lend(out), lend(factors)
    for n in range(width):
        products[n] = squares[n] = 0.0
    for a in range(count):
        row, whole = rows[a], a - a % 4
        for k in range(0, whole, 4):  # four rows at once, as sums are read and written anew each time
            s0, s1, s2, s3 = upper[k, a], upper[k + 1, a], upper[k + 2, a], upper[k + 3, a]
            r0, r1, r2, r3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
            for n in range(width):
                row[n] = row[n] - s0 * r0[n] - s1 * r1[n] - s2 * r2[n] - s3 * r3[n]
        for k in range(whole, a):
            share, before = upper[k, a], rows[k]
            for n in range(width):
                row[n] -= share * before[n]
        inverse, weight = upper[a, a], upper[a, column]
        for n in range(width):
            x = row[n] * inverse
            row[n] = x
            products[n] += weight * x
            squares[n] += x * x
