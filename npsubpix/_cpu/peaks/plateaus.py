"""Plateaus on the host: regional extrema of several equal pixels, which strict comparison misses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import Kernel, device, kernel
from npsubpix._cpu.nms.comparisons import greater, less
from npsubpix._definitions.nms import clipped_margins, clipped_reach

__all__ = ["Plateaus", "find_plateaus"]

# States of a pixel.
_SEED = 1  # no neighbour wins against it: may belong to a plateau
_SEEN = 2
_KEPT = 3

# Columns of what kernels write for each plateau: its first pixel and that nearest to its centre, as flat indices in the
# image; its number of pixels; its lengths along z, y and x; and the sums of the positions of its pixels.
_FIRST, _NEAREST, _PIXELS, _SUMS = 0, 1, 2, slice(6, 9)
_COLUMNS = 9


class Plateaus(NamedTuple):
    """Plateaus of a stack of images, in the order of their first pixels."""

    indices: npt.NDArray[np.int64]  # flat, in the stack
    centres: npt.NDArray[np.float64]
    extents: npt.NDArray[np.int64]  # number of pixels, and lengths along z, y and x


def _plateau_kernel(name: str, wins: Callable[..., Any]) -> Kernel:
    @device
    def drop_beaten(seeds, own, other):
        """Clear the seeds of a row against which one of three pixels of a row beside it, or of its own, wins."""
        last = seeds.size - 1
        for j in range(1, last):
            v = own[j]
            beaten = wins(other[j - 1], v) | wins(other[j], v) | wins(other[j + 1], v)
            seeds[j] = (seeds[j] == _SEED) & (not beaten)
        for end in range(2):
            j = end * last
            for k in range(max(j - 1, 0), min(j + 1, last) + 1):
                seeds[j] = (seeds[j] == _SEED) & (not wins(other[k], own[j]))

    @device
    def beaten_beyond(x, d, i, j):
        """Whether a neighbour of a pixel in another plane wins against it."""
        depth, height, width = x.shape
        for a in range(max(d - 1, 0), min(d + 2, depth)):
            if a != d:
                for b in range(max(i - 1, 0), min(i + 2, height)):
                    for c in range(max(j - 1, 0), min(j + 2, width)):
                        if wins(x[a, b, c], x[d, i, j]):
                            return True
        return False

    @device
    def stands(x, state, d, i, j, window):
        """Whether nothing in the window of a pixel wins, is NaN, or is a plateau of its value already kept.

        Also whether the pixel wins against anything there.
        """
        v = x[d, i, j]
        depth, height, width = x.shape
        wins_once = False
        for a in range(max(d - window[0], 0), min(d + window[1] + 1, depth)):
            for b in range(max(i - window[2], 0), min(i + window[3] + 1, height)):
                for c in range(max(j - window[4], 0), min(j + window[5] + 1, width)):
                    u = x[a, b, c]
                    if u != u or wins(u, v) or (u == v and state[a, b, c] == _KEPT):
                        return False, wins_once
                    wins_once |= wins(v, u)
        return True, wins_once

    @device
    def flood(x, state, d, i, j, window, margins, stack):
        """Visit the connected pixels of one value; return their number, 0 if they are no plateau, and the stack."""
        depth, height, width = x.shape
        v = x[d, i, j]
        stack[0] = (d * height + i) * width + j
        state[d, i, j] = _SEEN
        count, at = 1, 0
        good, wins_once = True, False
        while at < count:
            d, i, j = stack[at] // (height * width), stack[at] // width % height, stack[at] % width
            at += 1
            if d < margins[0] or d >= depth - margins[1] or i < margins[2] or i >= height - margins[3]:
                good = False
            if j < margins[4] or j >= width - margins[5]:
                good = False
            if good:
                good, wins_here = stands(x, state, d, i, j, window)
                wins_once |= wins_here
            for a in range(max(d - 1, 0), min(d + 2, depth)):
                for b in range(max(i - 1, 0), min(i + 2, height)):
                    for c in range(max(j - 1, 0), min(j + 2, width)):
                        if x[a, b, c] == v and state[a, b, c] < _SEEN:
                            state[a, b, c] = _SEEN
                            if count == stack.size:
                                longer = np.empty(2 * count, np.int64)
                                copy_to(longer[:count], stack)
                                stack = longer
                            stack[count] = (a * height + b) * width + c
                            count += 1
        if not (good and wins_once):
            return 0, stack
        for k in range(count):
            state[stack[k] // (height * width), stack[k] // width % height, stack[k] % width] = _KEPT
        return count, stack

    @device
    def describe(stack, count, strict, row):
        """Write the columns of a plateau of `count` pixels.

        The pixel nearest to the centre has the least sum of distances along the axes, times the number of pixels: of
        integers, so that equal ones are equal. Of these, the first in memory. Strict extrema, which a plateau may
        hold if windows are smaller than three pixels, do not count.
        """
        _, height, width = strict.shape
        least_z, least_y, least_x = stack[0] // (height * width), stack[0] // width % height, stack[0] % width
        most_z, most_y, most_x = least_z, least_y, least_x
        sum_z = sum_y = sum_x = 0
        for k in range(count):
            z, y, x = stack[k] // (height * width), stack[k] // width % height, stack[k] % width
            sum_z, sum_y, sum_x = sum_z + z, sum_y + y, sum_x + x
            least_z, least_y, least_x = min(least_z, z), min(least_y, y), min(least_x, x)
            most_z, most_y, most_x = max(most_z, z), max(most_y, y), max(most_x, x)
        nearest, shortest = stack[0], np.int64(-1)
        for k in range(count):
            z, y, x = stack[k] // (height * width), stack[k] // width % height, stack[k] % width
            if strict[z, y, x] != 0:
                continue
            distance = abs(count * z - sum_z) + abs(count * y - sum_y) + abs(count * x - sum_x)
            if shortest < 0 or distance < shortest or (distance == shortest and stack[k] < nearest):
                nearest, shortest = stack[k], distance
        row[0], row[1], row[2] = stack[0], nearest, count
        row[3], row[4], row[5] = most_z - least_z + 1, most_y - least_y + 1, most_x - least_x + 1
        row[6], row[7], row[8] = sum_z, sum_y, sum_x

    @device
    def drop_ground(x, state, many):
        """Clear the seeds against whose value no pixel loses, where there are many: they are no plateaus, but large."""
        depth, height, width = x.shape
        if 8 * many < depth * height * width:
            return
        last = x[0, 0, 0]
        for d in range(depth):
            for i in range(height):
                for j in range(width):
                    v = x[d, i, j]
                    last = v if last != last or wins(last, v) else last
        for d in range(depth):
            for i in range(height):
                for j in range(width):
                    if not wins(x[d, i, j], last):
                        state[d, i, j] = 0

    @kernel(f"plateaus_{name}")
    def plateaus(x, limit, window, margins, strict, state, busy, found, counts):
        """Write the columns of each plateau to `found`."""
        images, depth, height, width = x.shape
        for r in prange(images * depth * height):
            b, d, i = r // height // depth, r // height % depth, r % height
            own, seeds, extreme = x[b, d, i], state[b, d, i], strict[b, d, i]
            for j in range(width):
                seeds[j] = (own[j] == own[j]) & (extreme[j] == 0) & (not wins(limit[b], own[j]))
            for c in range(max(i - 1, 0), min(i + 2, height)):
                drop_beaten(seeds, own, x[b, d, c])
            count = 0
            for j in range(width):  # few are left, which are compared with other planes one by one
                if seeds[j] != 0:
                    if depth > 1 and beaten_beyond(x[b], d, i, j):
                        seeds[j] = 0
                    else:
                        count += 1
            busy[r] = count
        for b in prange(images):
            stack = np.empty(1024, np.int64)
            seen = state[b]
            many = 0
            for r in range(b * depth * height, (b + 1) * depth * height):
                many += busy[r]
            drop_ground(x[b], seen, many)
            for d in range(depth):
                for i in range(height):
                    for j in range(width if busy[(b * depth + d) * height + i] else 0):
                        if seen[d, i, j] != _SEED:
                            continue
                        size, stack = flood(x[b], seen, d, i, j, window, margins, stack)
                        if size == 0 or counts[b] >= found.shape[1]:  # full: count on, the caller comes again
                            counts[b] += size > 0
                            continue
                        describe(stack, size, strict[b], found[b, counts[b]])
                        counts[b] += 1

    return plateaus


_KERNELS = {True: _plateau_kernel("maxima", greater), False: _plateau_kernel("minima", less)}


def find_plateaus(
    x: HostArray,
    size: tuple[int, ...],
    margins: tuple[int, ...],
    limit: HostArray,
    maxima: bool,
    strict: npt.NDArray[np.uint8],
    *,
    nearest: bool,
) -> Plateaus:
    """Find the plateaus of a stack of images.

    A plateau of a maximum is a set of equal, adjacent pixels none of which has a greater pixel in its window, one of
    which has a smaller one there, and none of which lies in the margins. Of several plateaus of one value in one
    window the first counts. `strict` is not 0 at the strict extrema. A plateau has the index of its first pixel or,
    if `nearest`, of the one nearest to its centre.
    """
    images, *space = x.shape
    volume = x.reshape(images, *(1, *space)[-3:])
    shape = volume.shape[1:]
    window, margins = clipped_reach((1, *size)[-3:], shape), clipped_margins((0, 0, *margins)[-6:], shape)
    state, busy = np.empty(volume.shape, np.uint8), np.empty(math.prod(volume.shape[:3]), np.int64)
    room = max(256, volume[:1].size // 64)  # about a byte per pixel; noise of few levels may need more
    while True:
        found = np.empty((images, room, _COLUMNS), np.int64)
        counts = np.zeros(images, np.int64)
        if x.size:
            strict_of = strict.reshape(volume.shape)
            arguments = volume, limit, window, margins, strict_of, state, busy, found, counts
            _KERNELS[maxima].run(8 * x.size, *arguments)
        if counts.max(initial=0) <= room:
            break
        room = int(counts.max())
    image = np.repeat(np.arange(images), counts)
    rows = np.concatenate([found[b, : counts[b]] for b in range(images)]) if images else found[:0, 0]
    indices = image * volume[:1].size + rows[:, _NEAREST if nearest else _FIRST]
    centres = rows[:, _SUMS] / rows[:, _PIXELS, None]
    return Plateaus(indices, centres[:, 3 - len(space) :], rows[:, 2:6])
