"""Neighbours of spots, from starts that are sorted by their pixels."""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cpu.compiler.jit import device

__all__ = ["has_neighbour"]


@device
def has_neighbour(keys, order, places, row, key, distance, shape):
    """Whether another start of the same image is nearer than a distance.

    `keys` are the pixels of starts as numbers, in ascending order, and `order` the rows that they are of.
    """
    axes = places.shape[1]
    reach = np.int64(math.ceil(distance)) + 1
    depth, height, width = shape
    j = key // width % height
    d = key // (width * height) % depth if axes == 3 else 0
    planes = reach if axes == 3 else 0
    for dd in range(max(-planes, -d), min(planes, depth - 1 - d) + 1):
        for jj in range(max(-reach, -j), min(reach, height - 1 - j) + 1):
            here = key + (dd * height + jj) * width
            low, high = 0, keys.size
            while low < high:
                middle = (low + high) // 2
                if keys[middle] < here - reach:
                    low = middle + 1
                else:
                    high = middle
            while low < keys.size and keys[low] <= here + reach:
                other = order[low]
                if other != row:
                    square = 0.0
                    for a in range(axes):
                        step = places[other, a] - places[row, a]
                        square += step * step
                    if square < distance * distance:
                        return True
                low += 1
    return False
