"""Where positions and pixels outside of an image are found inside it.

A mode of `scipy.ndimage` is two rules: one folds a position into the image, and one folds the
pixels that the window around a position reaches. They differ where the first is a stretch of the
image that the second goes beyond.
"""

from __future__ import annotations

import numpy as np

from npsubpix._cpu.compiler.jit import device

__all__ = [
    "CVAL",
    "GRID_WRAP",
    "INSIDE",
    "MIRROR",
    "MODES",
    "OUTSIDE",
    "REFLECT",
    "UNKNOWN",
    "WRAP",
    "fold_pixel",
    "fold_position",
]

MIRROR, REFLECT, WRAP, GRID_WRAP, NEAREST, CVAL, FREE = range(7)

#: Rules for positions and for pixels.
MODES = {
    "reflect": (REFLECT, REFLECT),
    "grid-mirror": (REFLECT, REFLECT),
    "mirror": (MIRROR, MIRROR),
    "wrap": (WRAP, MIRROR),
    "grid-wrap": (GRID_WRAP, GRID_WRAP),
    "nearest": (FREE, NEAREST),
    "constant": (CVAL, MIRROR),
    "grid-constant": (FREE, CVAL),
}

#: What became of a position.
INSIDE, OUTSIDE, UNKNOWN = range(3)

#: Pixels beyond the image at which no window reaches into it.
_FAR = 8.0


@device
def fold_position(c, n, rule):
    """Return where in an axis of n pixels a position is found, the derivative of that, and what became of it."""
    last = n - 1.0
    if 0.0 <= c <= last:
        return c, 1.0, INSIDE
    if c != c:
        return 0.0, 0.0, UNKNOWN
    if rule == CVAL:
        return 0.0, 0.0, OUTSIDE
    if rule == FREE:
        return min(max(c, -_FAR), last + _FAR), 1.0, INSIDE
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
