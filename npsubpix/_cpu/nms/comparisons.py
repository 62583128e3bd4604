"""Comparisons of a pixel with others, each a small compiled function.

Comparisons are joined by ``&`` without a branch: that is what makes LLVM turn the loop around
them into vector code (10 times faster on AVX2). A row slice begins one pixel before the first
centre, so that no index can be negative. A comparison with NaN is False, so a NaN anywhere in a
window means that its centre is not an extremum.
"""

from __future__ import annotations

from npsubpix._cpu.compiler.jit import device

__all__ = ["greater", "less", "lowest2d", "topmost2d"]


@device
def greater(a, b):
    """Whether a is above b."""
    return a > b


@device
def less(a, b):
    """Whether a is below b."""
    return a < b


@device
def topmost2d(v, above, row, below, j):
    """Whether no neighbour of v, one column after j in `row`, is above it; also if the last in memory is NaN.

    By maxima, which is faster than comparisons, and loses some NaN.
    """
    a = above[j] if above[j] > above[j + 1] else above[j + 1]
    b = row[j] if row[j] > row[j + 2] else row[j + 2]
    c = below[j] if below[j] > below[j + 1] else below[j + 1]
    a = a if a > above[j + 2] else above[j + 2]
    c = c if c > below[j + 2] else below[j + 2]
    b = b if b > c else c
    return v >= (a if a > b else b)


@device
def lowest2d(v, above, row, below, j):
    """Whether no neighbour of v, one column after j in `row`, is below it, as for `topmost2d`."""
    a = above[j] if above[j] < above[j + 1] else above[j + 1]
    b = row[j] if row[j] < row[j + 2] else row[j + 2]
    c = below[j] if below[j] < below[j + 1] else below[j + 1]
    a = a if a < above[j + 2] else above[j + 2]
    c = c if c < below[j + 2] else below[j + 2]
    b = b if b < c else c
    return v <= (a if a < b else b)
