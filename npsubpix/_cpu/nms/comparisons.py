"""Comparisons of a pixel with others, each a small compiled function.

Comparisons are joined by ``&`` without a branch: that is what makes LLVM turn the loop around
them into vector code (10 times faster on AVX2). A row slice begins one pixel before the first
centre, so that no index can be negative. A comparison with NaN is False, so a NaN anywhere in a
window means that its centre is not an extremum.
"""

from __future__ import annotations

from npsubpix._cpu.compiler.jit import device

__all__ = ["greater", "less", "maximum2d", "minimum2d"]


@device
def greater(a, b):
    """Whether a is above b."""
    return a > b


@device
def less(a, b):
    """Whether a is below b."""
    return a < b


@device
def maximum2d(v, above, row, below, j):
    """Whether v, one column after j in `row`, is above its 8 neighbours."""
    over = (v > above[j]) & (v > above[j + 1]) & (v > above[j + 2])
    beside = (v > row[j]) & (v > row[j + 2])
    return over & beside & (v > below[j]) & (v > below[j + 1]) & (v > below[j + 2])


@device
def minimum2d(v, above, row, below, j):
    """Whether v, one column after j in `row`, is below its 8 neighbours."""
    under = (v < above[j]) & (v < above[j + 1]) & (v < above[j + 2])
    beside = (v < row[j]) & (v < row[j + 2])
    return under & beside & (v < below[j]) & (v < below[j + 1]) & (v < below[j + 2])
