"""Peaks at least a distance apart, selected from the strongest on."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._cpu.compiler.jit import device, kernel
from npsubpix._cpu.peaks.extrema import Candidates
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.peaks import distance_weights

__all__ = ["far_apart"]


@device
def _first_at_least(columns, begin, end, least):
    """Return where `least` would be inserted among ascending columns."""
    while begin < end:
        middle = (begin + end) // 2
        if columns[middle] < least:
            begin = middle + 1
        else:
            end = middle
    return begin


@kernel("separate")
def _separate_kernel(ranks, starts, rows, columns, minima, row_starts, height, depth, weights, limit, alive):
    """Let each candidate, the strongest first, remove those too close to it; maxima and minima do not interact."""
    reach_z = int(math.sqrt(limit / weights[0]))
    reach_y = int(math.sqrt(limit / weights[1]))
    for image in prange(starts.size - 1):
        for rank in range(starts[image], starts[image + 1]):
            p = ranks[rank]
            if not alive[p]:
                continue
            z, y = rows[p] // height % depth, rows[p] % height
            for dz in range(max(-reach_z, -z), min(reach_z, depth - 1 - z) + 1):
                for dy in range(max(-reach_y, -y), min(reach_y, height - 1 - y) + 1):
                    left = limit - weights[0] * dz * dz - weights[1] * dy * dy
                    if left <= 0.0:
                        continue
                    reach_x = int(math.sqrt(left / weights[2]))
                    row = rows[p] + dz * height + dy
                    end = row_starts[row + 1]
                    q = _first_at_least(columns, row_starts[row], end, columns[p] - reach_x)
                    while q < end and columns[q] <= columns[p] + reach_x:
                        dx = columns[q] - columns[p]
                        if q != p and minima[q] == minima[p] and weights[2] * dx * dx < left:
                            alive[q] = False
                        q += 1


def far_apart(
    found: Candidates, ranks: npt.NDArray[np.int64], shape: tuple[int, ...], min_distance: tuple[float, ...]
) -> npt.NDArray[np.bool_]:
    """Select candidates so that no two maxima, and no two minima, of an image are closer than `min_distance`.

    Goes greedily through `ranks`, the rows of candidates image by image, the strongest first.
    """
    images, *space = shape
    depth, height, width = (1, *space)[-3:]
    rows, columns = np.divmod(found.indices, width)
    row_starts = np.searchsorted(rows, np.arange(images * depth * height + 1))
    starts = np.searchsorted(rows[ranks] // (depth * height), np.arange(images + 1))
    weights, limit = distance_weights(min_distance, tuple(space))
    alive = np.ones(found.indices.size, bool)
    minima = found.flags & PeakFlags.MINIMUM
    work = 1000 * alive.size if images > 1 else 0
    _separate_kernel.run(work, ranks, starts, rows, columns, minima, row_starts, height, depth, weights, limit, alive)
    return alive
