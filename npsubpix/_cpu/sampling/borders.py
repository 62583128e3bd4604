"""Where positions and pixels outside of an image are found inside it, by the border rules of the definition."""

from __future__ import annotations

import numpy as np

from npsubpix._cpu.compiler.jit import device
from npsubpix._definitions.sampling.borders import (
    CVAL,
    FAR,
    FREE,
    GRID_WRAP,
    INSIDE,
    MIRROR,
    NEAREST,
    OUTSIDE,
    REFLECT,
    UNKNOWN,
    WRAP,
)

__all__ = ["fold_pixel", "fold_position"]


@device
def fold_position(c, n, rule):
    """Return where in an axis of n pixels a position is found, the derivative of that, and its status."""
    last = n - 1.0
    if 0.0 <= c <= last:
        return c, 1.0, INSIDE
    if c != c:
        return 0.0, 0.0, UNKNOWN
    if rule == CVAL:
        return 0.0, 0.0, OUTSIDE
    if rule == FREE:
        return min(max(c, -FAR), last + FAR), 1.0, INSIDE
    if abs(c) == np.inf:
        return 0.0, 0.0, UNKNOWN
    if n == 1:
        return 0.0, 0.0, INSIDE
    period = 2.0 * last if rule == MIRROR else (2.0 * n if rule == REFLECT else (last if rule == WRAP else float(n)))
    r = c - period * np.floor(c / period)
    r = min(max(r, 0.0), period)
    if rule == MIRROR:  # the pixel after the last is left to the rule for pixels, as SciPy does
        return (r, 1.0, INSIDE) if r <= last or (c > 0 and r < n) else (period - r, -1.0, INSIDE)
    if rule == REFLECT:
        if r <= n - 0.5:
            return r, 1.0, INSIDE
        return (period - 1.0 - r, -1.0, INSIDE) if r <= period - 0.5 else (r - period, 1.0, INSIDE)
    if rule == WRAP and r == 0.0 and c < 0:
        return last, 1.0, INSIDE
    return r, 1.0, INSIDE


@device
def fold_pixel(i, n, rule):
    """Return the pixel of an axis of n pixels that pixel i is a copy of; -1 if there is none."""
    if 0 <= i < n:
        return i
    if rule == CVAL:
        return -1
    if n == 1:
        return 0
    if rule == NEAREST:
        return 0 if i < 0 else n - 1
    if rule == GRID_WRAP:
        return i % n
    period = 2 * n - 2 if rule == MIRROR else 2 * n
    i = i % period
    return i if i < n else period - i - (0 if rule == MIRROR else 1)
