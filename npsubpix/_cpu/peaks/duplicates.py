"""Peaks that refinement moved to the place of a stronger one."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._cpu.compiler.jit import kernel
from npsubpix._definitions.constants import DUPLICATE_DISTANCE
from npsubpix._definitions.flags import REJECTED, PeakFlags

__all__ = ["flag_duplicates"]

_MOVED = int(PeakFlags.MOVED)


@kernel("duplicates")
def _duplicates_kernel(lines, columns, rows, coords, moved, neighbours, found):
    """Mark each row that has a stronger one within the distance, if one of both moved.

    `rows` are in order of `lines`, the lines of pixels in which they lie, and of `columns` within a line.
    """
    for k in prange(rows.size):
        a = rows[k]
        for n in range(neighbours.size):
            line = lines[k] + neighbours[n]
            begin, end = 0, rows.size
            while begin < end:
                middle = (begin + end) // 2
                if lines[middle] < line or (
                    lines[middle] == line and columns[middle] <= columns[k] - DUPLICATE_DISTANCE
                ):
                    begin = middle + 1
                else:
                    end = middle
            while begin < rows.size and lines[begin] == line and columns[begin] < columns[k] + DUPLICATE_DISTANCE:
                b = rows[begin]
                if b < a and (moved[a] or moved[b]):
                    distance = 0.0
                    for axis in range(coords.shape[1]):
                        distance += (coords[a, axis] - coords[b, axis]) ** 2
                    if distance < DUPLICATE_DISTANCE * DUPLICATE_DISTANCE:
                        found[a] = True
                begin += 1


def flag_duplicates(
    coords: npt.NDArray[np.float64],
    flags: npt.NDArray[np.int32],
    frames: npt.NDArray[np.int64],
    shape: tuple[int, ...],
) -> None:
    """Flag the peaks whose place a stronger one of the image has too; maxima and minima do not interact.

    Rows are image by image, the strongest first. Only rows that were refined count.
    """
    refined = (flags & int(REJECTED)) == 0
    if not ((flags & _MOVED) != 0)[refined].any():
        return
    rows = np.flatnonzero(refined)
    # Lines of pixels, with one more around the image, so that neighbours are lines of the same image.
    line = 2 * frames[rows] + ((flags[rows] & int(PeakFlags.MINIMUM)) != 0)
    steps = np.zeros(1, np.int64)
    for axis, count in enumerate(shape[1:-1]):
        line = line * (count + 4) + np.rint(coords[rows, axis]).astype(np.int64) + 2
        steps = np.array([(count + 4) * step + k for step, k in itertools.product(steps, (-1, 0, 1))])
    order = np.lexsort((coords[rows, -1], line))
    rows, line = rows[order], line[order]
    found = np.zeros(len(flags), bool)
    moved = (flags & _MOVED) != 0
    _duplicates_kernel.run(100 * rows.size, line, coords[rows, -1], rows, coords, moved, steps, found)
    flags[found] |= int(PeakFlags.DUPLICATE)
