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
def _separate_kernel(ranks, starts, rows, columns, minima, row_starts, shape, weights, limit, wrap, alive):
    """Let each candidate, the strongest first, remove those too close to it; maxima and minima do not interact.

    In a periodic image distances are those to the nearest of the repetitions of a candidate.
    """
    depth, height, width = shape
    reach_z = int(math.sqrt(limit / weights[0]))
    reach_y = int(math.sqrt(limit / weights[1]))
    if wrap:
        reach_z, reach_y = min(reach_z, depth // 2), min(reach_y, height // 2)
    for image in prange(starts.size - 1):
        for rank in range(starts[image], starts[image + 1]):
            p = ranks[rank]
            if not alive[p]:
                continue
            z, y = rows[p] // height % depth, rows[p] % height
            first_z, last_z = (-reach_z, reach_z) if wrap else (max(-reach_z, -z), min(reach_z, depth - 1 - z))
            first_y, last_y = (-reach_y, reach_y) if wrap else (max(-reach_y, -y), min(reach_y, height - 1 - y))
            turns = 1 if wrap else 0
            for dz in range(first_z, last_z + 1):
                for dy in range(first_y, last_y + 1):
                    left = limit - weights[0] * dz * dz - weights[1] * dy * dy
                    if left <= 0.0:
                        continue
                    reach_x = int(math.sqrt(left / weights[2]))
                    # By differences, as modulo is dear.
                    row = rows[p] + ((z + dz) % depth - z if wrap else dz) * height
                    row += (y + dy) % height - y if wrap else dy
                    end = row_starts[row + 1]
                    for turn in range(-turns, turns + 1):
                        centre = columns[p] + turn * width
                        q = _first_at_least(columns, row_starts[row], end, centre - reach_x)
                        while q < end and columns[q] <= centre + reach_x:
                            dx = columns[q] - centre
                            if q != p and minima[q] == minima[p] and weights[2] * dx * dx < left:
                                alive[q] = False
                            q += 1


def far_apart(
    found: Candidates,
    ranks: npt.NDArray[np.int64],
    shape: tuple[int, ...],
    min_distance: tuple[float, ...],
    wrap: bool = False,
) -> npt.NDArray[np.bool_]:
    """Select candidates so that no two maxima, and no two minima, of an image are closer than `min_distance`.

    Goes greedily through `ranks`, the rows of candidates image by image, the strongest first.
    """
    images = shape[0]
    depth, height, width = (1, *shape[1:])[-3:]
    rows, columns = np.divmod(found.indices, width)
    row_starts = np.searchsorted(rows, np.arange(images * depth * height + 1))
    starts = np.searchsorted(rows[ranks] // (depth * height), np.arange(images + 1))
    weights, limit = distance_weights(min_distance, shape[1:])
    alive = np.ones(found.indices.size, bool)
    minima = found.flags & PeakFlags.MINIMUM
    work = 1000 * alive.size if images > 1 else 0
    space = depth, height, width
    _separate_kernel.run(work, ranks, starts, rows, columns, minima, row_starts, space, weights, limit, wrap, alive)
    return alive
