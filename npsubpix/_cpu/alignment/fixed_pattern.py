"""Pixels that stand out from those around them at one place of both images."""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.jit import device, kernel
from npsubpix._definitions.alignment.fixed_pattern import deviation

__all__ = ["fixed_pattern"]

_deviation = device(deviation)


@kernel("alignment_fixed_pattern", late=True)
def _find(fixed, moving, found):
    for i in prange(2, fixed.shape[0] - 2):
        for j in range(2, fixed.shape[1] - 2):
            a = _deviation(fixed, i, j)
            if a != 0:
                b = _deviation(moving, i, j)
                found[i, j] = (a > 0 and b > 0) or (a < 0 and b < 0)


def fixed_pattern(fixed: HostArray, moving: HostArray) -> HostArray:
    """Return True for pixels that stand out in both images, of one shape and dtype."""
    found = np.zeros(fixed.shape, bool)
    _find.run(20 * fixed.size, fixed, moving, found)
    return found
