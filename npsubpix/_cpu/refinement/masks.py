"""Positions for which a masked pixel was used, whatever the method."""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import device, inlined, kernel
from npsubpix._definitions.flags import PeakFlags

__all__ = ["reject_masked", "start_of"]

_MASKED = int(PeakFlags.MASKED)


@device
def _any_masked(mask, start, centre, extent):
    """Whether a pixel is masked that a method used on its way from its start to its last centre."""
    depth, height, width = mask.shape
    for a in range(max(min(start[0], centre[0]) - extent[0], 0), min(max(start[0], centre[0]) + extent[0] + 1, depth)):
        for b in range(
            max(min(start[1], centre[1]) - extent[1], 0), min(max(start[1], centre[1]) + extent[1] + 1, height)
        ):
            for c in range(
                max(min(start[2], centre[2]) - extent[2], 0), min(max(start[2], centre[2]) + extent[2] + 1, width)
            ):
                if mask[a, b, c]:
                    return True
    return False


@inlined
def start_of(starts, k):
    """Return a start along depth, rows and columns."""
    axes = starts.shape[1]
    return (starts[k, 0] if axes == 3 else 0), starts[k, axes - 2], starts[k, axes - 1]


@kernel("reject_masked")
def reject_masked(x, images, starts, mask, extent, centres, coords, values, flags):
    """Flag positions for which a masked pixel was used, and return them to their starts.

    Few searches have a mask: kernels of methods compile sooner without.
    """
    depth, height, width = x.shape[1:]
    for k in prange(len(starts)):
        d, i, j = start_of(starts, k)
        if d < 0 or d >= depth or i < 0 or i >= height or j < 0 or j >= width:
            continue
        centre = centres[k, 0], centres[k, 1], centres[k, 2]
        if _any_masked(lend(mask)[images[k]], (d, i, j), centre, extent):
            flags[k] |= _MASKED
            coords[k, 0], coords[k, 1], coords[k, 2] = d, i, j
            values[k] = np.float64(lend(x)[images[k]][d, i, j])
    keep(x)
    keep(mask)
