"""Which spots reach each other's boxes, and the order in which they are fitted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.jit import device, kernel
from npsubpix._definitions.crowds import hashed
from npsubpix._definitions.flags import FitFlags

__all__ = ["Graph", "graph_of"]

Indices = npt.NDArray[np.int64]


class Graph(NamedTuple):
    """Spots and their neighbours.

    Attributes
    ----------
    order : array of ints
        All rows: those without neighbours first, then group by group, and in a group colour by colour.
    alone : int
        Number of rows without neighbours.
    offsets, neighbours : arrays of ints
        Neighbours of the spots after these, which are counted from 0: those of spot k begin at ``offsets[k]``.
    groups : array of ints
        First spot of each group, and the number of spots.
    """

    order: Indices
    alone: int
    offsets: Indices
    neighbours: Indices
    groups: Indices


@device
def _visit(out, first, keys, row, reach, shape):
    """Write the neighbours of a spot among spots sorted by their pixels, unless `first` is negative; count them."""
    depth, height, width = shape
    key = keys[row]
    i, j, d = key % width, key // width % height, key // (width * height) % depth
    low_i, high_i = max(-reach[2], -i), min(reach[2], width - 1 - i)
    count = 0
    for dd in range(max(-reach[0], -d), min(reach[0], depth - 1 - d) + 1):
        for jj in range(max(-reach[1], -j), min(reach[1], height - 1 - j) + 1):
            here = key + (dd * height + jj) * width
            low, high = 0, keys.size
            while low < high:
                middle = (low + high) // 2
                if keys[middle] < here + low_i:
                    low = middle + 1
                else:
                    high = middle
            while low < keys.size and keys[low] <= here + high_i:
                if low != row:
                    if first >= 0:
                        out[first + count] = low
                    count += 1
                low += 1
    return count


@kernel("fit_count_neighbours")
def _count_kernel(keys, reach, shape, counts, unused):
    """Count the neighbours of each spot."""
    for n in prange(keys.size):
        counts[n] = _visit(unused, -1, keys, n, reach, shape)


@kernel("fit_find_neighbours")
def _find_kernel(keys, reach, shape, offsets, neighbours):
    """Write the neighbours of each spot."""
    for n in prange(keys.size):
        _visit(neighbours, offsets[n], keys, n, reach, shape)


@kernel("fit_colour_spots")
def _colour_kernel(offsets, neighbours, order, colours, groups, stack):
    """Give each spot the least colour that no neighbour has, in an order; and each group the number of a spot in it."""
    colours[:] = -1
    for n in order:
        colour, k = 0, offsets[n]
        while k < offsets[n + 1]:
            if colours[neighbours[k]] == colour:
                colour, k = colour + 1, offsets[n]
            else:
                k += 1
        colours[n] = colour
    groups[:] = -1
    for first in range(groups.size):
        if groups[first] >= 0:
            continue
        groups[first], stack[0], size = first, first, 1
        while size > 0:
            size -= 1
            n = stack[size]
            for k in range(offsets[n], offsets[n + 1]):
                other = neighbours[k]
                if groups[other] < 0:
                    groups[other], stack[size] = first, other
                    size += 1


def graph_of(
    pixels: HostArray, frames: HostArray, flags: HostArray, shape: tuple[int, ...], reach: tuple[int, ...]
) -> Graph:
    """Return the neighbours of spots; of several that start at one pixel, all but the first row are flagged.

    Spots that have flags are no neighbours.
    """
    keys = np.zeros(len(pixels), np.int64)
    for axis, length in enumerate(shape):
        keys = keys * length + pixels[:, axis]
    in_frame = keys
    keys = keys + frames * int(np.prod(shape))
    rows = np.flatnonzero(flags == 0)
    rows = rows[np.argsort(keys[rows], kind="stable")]
    first = np.ones(len(rows), bool)
    first[1:] = keys[rows[1:]] != keys[rows[:-1]]
    flags[rows[~first]] = int(FitFlags.SINGULAR)
    rows = rows[first]
    lengths = (1, *shape)[-3:]
    work = 200 * len(rows) * (2 * reach[0] + 1) * (2 * reach[1] + 1)
    counts, none = np.zeros(len(rows), np.int64), np.zeros(0, np.int64)
    _count_kernel.run(work, keys[rows], reach, lengths, counts, none)
    rows, counts = rows[counts > 0], counts[counts > 0]
    offsets = np.concatenate([none, [0], np.cumsum(counts)])
    found = np.empty(offsets[-1], np.int64)
    _find_kernel.run(work, keys[rows], reach, lengths, offsets, found)
    priority = hashed(in_frame[rows])
    order = np.argsort(~priority, kind="stable")
    colours, groups, stack = (np.empty(len(rows), np.int64) for _ in range(3))
    _colour_kernel.serial(offsets, found, order, colours, groups, stack)
    sequence = np.lexsort((colours, groups))
    place = np.empty(len(rows), np.int64)
    place[sequence] = np.arange(len(rows))
    counts = counts[sequence]
    ends = np.concatenate([none, [0], np.cumsum(counts)])
    among = np.repeat(offsets[sequence] - ends[:-1], counts) + np.arange(ends[-1])
    begins = np.flatnonzero(np.diff(groups[sequence], prepend=-1))
    alone = np.ones(len(pixels), bool)
    alone[rows] = False
    return Graph(
        np.concatenate([np.flatnonzero(alone), rows[sequence]]),
        len(pixels) - len(rows),
        ends,
        place[found[among]],
        np.append(begins, len(rows)),
    )
