"""Plateaus on the host: regional extrema of several equal pixels, which strict comparison misses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, kernel
from npsubpix._cpu.nms.comparisons import greater, less
from npsubpix._definitions.nms import clipped_margins, clipped_reach

__all__ = ["Plateaus", "find_plateaus", "mark_seeds"]

# Bits of the code of a pixel, of maxima; those of minima are the next ones.
_STRICT = 3  # a strict maximum or a strict minimum
_SEED = 4  # no neighbour wins against it: may belong to a plateau
_SEEN = 16
_KEPT = 64
_FOUND = 15  # the bits that do not change

# Columns of what kernels write for each plateau: its first pixel and that nearest to its centre, as flat indices in the
# image; its number of pixels; its lengths along z, y and x; and the sums of the positions of its pixels.
_FIRST, _NEAREST, _PIXELS, _SUMS = 0, 1, 2, slice(6, 9)
_COLUMNS = 9


class Plateaus(NamedTuple):
    """Plateaus of a stack of images, in the order of their first pixels."""

    indices: npt.NDArray[np.int64]  # flat, in the stack
    centres: npt.NDArray[np.float64]
    extents: npt.NDArray[np.int64]  # number of pixels, and lengths along z, y and x


def _kernels(name: str, sign: int, wins: Callable[..., Any]) -> tuple[Kernel, Kernel]:
    """Make the kernels that mark the seeds of plateaus, and that find the plateaus around them."""
    seed, seen, kept = _SEED << sign, _SEEN << sign, _KEPT << sign
    pattern = np.uint64(seed * 0x0101010101010101)

    @device
    def beaten(row, v, begin, end):
        """Whether one of the pixels of a row wins."""
        found = False
        for k in range(begin, end):
            found |= wins(row[k], v)
        return found

    @device
    def mark_unbeaten(marks, above, own, below, codes, limit):
        """Mark the pixels of a row that no neighbour in three rows wins against, and that are no strict extrema."""
        last = own.size - 1
        for j in range(1, last):
            v = own[j]
            under = wins(above[j - 1], v) | wins(above[j], v) | wins(above[j + 1], v) | wins(own[j - 1], v)
            under |= wins(own[j + 1], v) | wins(below[j - 1], v) | wins(below[j], v) | wins(below[j + 1], v)
            marks[j] = (v == v) & (not under) & (codes[j] & _STRICT == 0) & (not wins(limit, v))
        for end in range(2):
            j = end * last
            v = own[j]
            begin, stop = max(j - 1, 0), min(j + 1, last) + 1
            under = beaten(above, v, begin, stop) | beaten(own, v, begin, stop) | beaten(below, v, begin, stop)
            marks[j] = (v == v) & (not under) & (codes[j] & _STRICT == 0) & (not wins(limit, v))

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
    def stands(x, codes, d, i, j, window, contest):
        """Whether nothing in the window of a pixel wins, is NaN, or in a contest is a plateau already kept.

        Also whether the pixel wins against anything there.
        """
        v = x[d, i, j]
        depth, height, width = x.shape
        wins_once = False
        for a in range(max(d - window[0], 0), min(d + window[1] + 1, depth)):
            for b in range(max(i - window[2], 0), min(i + window[3] + 1, height)):
                for c in range(max(j - window[4], 0), min(j + window[5] + 1, width)):
                    u = x[a, b, c]
                    if u != u or wins(u, v) or (contest and u == v and codes[(a * height + b) * width + c] & kept):
                        return False, wins_once
                    wins_once |= wins(v, u)
        return True, wins_once

    @allocating
    def flood(x, codes, start, window, margins, contest, stack):
        """Visit the connected pixels of one value; return their number, 0 if they are no plateau, and the stack."""
        depth, height, width = x.shape
        stack[0] = start
        codes[start] |= seen
        v = x[start // (height * width), start // width % height, start % width]
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
                good, wins_here = stands(x, codes, d, i, j, window, contest)
                wins_once |= wins_here
            for a in range(max(d - 1, 0), min(d + 2, depth)):
                for b in range(max(i - 1, 0), min(i + 2, height)):
                    for c in range(max(j - 1, 0), min(j + 2, width)):
                        place = (a * height + b) * width + c
                        if x[a, b, c] == v and codes[place] & seen == 0:
                            codes[place] |= seen
                            if count == stack.size:
                                longer = np.empty(2 * count, np.int64)
                                copy_to(longer[:count], stack)
                                stack = longer
                            stack[count] = place
                            count += 1
        if not (good and wins_once):
            return 0, stack
        for k in range(count):
            codes[stack[k]] |= kept
        return count, stack

    @device
    def describe(stack, count, codes, height, width, row):
        """Write the columns of a plateau of `count` pixels.

        The pixel nearest to the centre has the least sum of distances along the axes, times the number of pixels: of
        integers, so that equal ones are equal. Of these, the first in memory. Strict extrema, which a plateau may
        hold if windows are smaller than three pixels, do not count.
        """
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
            if codes[stack[k]] & _STRICT:
                continue
            distance = abs(count * z - sum_z) + abs(count * y - sum_y) + abs(count * x - sum_x)
            if shortest < 0 or distance < shortest or (distance == shortest and stack[k] < nearest):
                nearest, shortest = stack[k], distance
        row[0], row[1], row[2] = stack[0], nearest, count
        row[3], row[4], row[5] = most_z - least_z + 1, most_y - least_y + 1, most_x - least_x + 1
        row[6], row[7], row[8] = sum_z, sum_y, sum_x

    @device
    def drop_ground(x, codes):
        """Clear the seeds against whose value no pixel loses: they are no plateaus, but may be large."""
        depth, height, width = x.shape
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
                        codes[(d * height + i) * width + j] &= ~seed

    @kernel(f"seeds_{name}")
    def seeds(x, limit, margins, codes, counts):
        """Mark seeds outside the margins; count them, row by row."""
        images, depth, height, width = x.shape
        for r in prange(images * depth * height):
            b, d, i = r // height // depth, r // height % depth, r % height
            counts[r] = 0
            if d < margins[0] or d >= depth - margins[1] or i < margins[2] or i >= height - margins[3]:
                continue
            marks, own, line = np.empty(width, np.bool_), x[b, d, i], codes[b, d, i]
            mark_unbeaten(marks, x[b, d, max(i - 1, 0)], own, x[b, d, min(i + 1, height - 1)], line, limit[b])
            for j in range(margins[4], width - margins[5]):  # few are left, which are compared one by one
                if marks[j] and (depth == 1 or not beaten_beyond(x[b], d, i, j)):
                    line[j] |= seed
                    counts[r] += 1

    @kernel(f"plateaus_{name}")
    def plateaus(x, window, margins, contest, many, codes, words, found, counts):
        """Write the columns of each plateau to `found`, those of an image in memory order."""
        images, depth, height, width = x.shape
        pixels = depth * height * width
        for b in prange(images):
            stack = np.empty(1024, np.int64)
            own = codes[b * pixels : (b + 1) * pixels]
            counts[b] = 0
            if many:
                drop_ground(x[b], own)
            for word in range(b * pixels // 8, ((b + 1) * pixels + 7) // 8):
                if words[word] & pattern == 0:
                    continue
                for k in range(max(8 * word - b * pixels, 0), min(8 * word + 8 - b * pixels, pixels)):
                    if own[k] & (seed | seen) != seed:
                        continue
                    size, stack = flood(x[b], own, k, window, margins, contest, stack)
                    if size > 0:
                        if counts[b] < found.shape[1]:  # else full: count on, the caller comes again
                            describe(stack, size, own, height, width, found[b, counts[b]])
                        counts[b] += 1

    return seeds, plateaus


_KERNELS = {True: _kernels("maxima", 0, greater), False: _kernels("minima", 1, less)}


def mark_seeds(
    x: HostArray, margins: tuple[int, ...], limit: HostArray, maxima: bool, codes: npt.NDArray[np.uint8]
) -> int:
    """Mark the pixels of a stack at which plateaus may begin in their codes, for windows of any size; count them.

    No neighbour wins against such a pixel, it exceeds the threshold, and is no strict extremum.
    """
    volume, shape = _volumes(x)
    counts = np.empty(x.size // max(shape[2], 1), np.int64)
    if x.size:
        arguments = volume, limit, _margins(margins, shape), codes.reshape(volume.shape), counts
        _KERNELS[maxima][0].run(8 * x.size, *arguments)
    return int(counts.sum())


def _volumes(x: HostArray) -> tuple[HostArray, tuple[int, ...]]:
    """View a stack of images as one of volumes; return the shape of each too."""
    volume = x.reshape(len(x), *(1, *x.shape[1:])[-3:])
    return volume, volume.shape[1:]


def _margins(margins: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return clipped_margins((0, 0, *margins)[-6:], shape)


def find_plateaus(
    x: HostArray,
    size: tuple[int, ...],
    margins: tuple[int, ...],
    maxima: bool,
    codes: npt.NDArray[np.uint8],
    seeds: int,
    *,
    nearest: bool,
    contest: bool,
) -> Plateaus:
    """Find the plateaus of a stack of images around `seeds` pixels that are marked in their codes.

    A plateau of a maximum is a set of equal, adjacent pixels none of which has a greater pixel in its window, one of
    which has a smaller one there, and none of which lies in the margins. Of several plateaus of one value in one
    window the first counts if there is a `contest`, else all. A plateau has the index of its first pixel or, if
    `nearest`, of the one nearest to its centre. Codes are one byte per pixel, and more to a multiple of eight.
    """
    images, axes = len(x), x.ndim - 1
    volume, shape = _volumes(x)
    window = clipped_reach((1, *size)[-3:], shape)
    pixels = volume[:1].size
    room = max(256, min(seeds, pixels // 64))  # about a byte per pixel; noise of few levels may need more
    while True:
        found = np.empty((images, room, _COLUMNS), np.int64)
        counts = np.zeros(images, np.int64)
        if seeds:
            arguments = volume, window, _margins(margins, shape), contest, 8 * seeds >= pixels
            written = codes, codes.view(np.uint64), found, counts
            _KERNELS[maxima][1].run(x.size if images > 1 else 0, *arguments, *written)
        most = max(counts.tolist(), default=0)
        if most <= room:
            break
        room = most
        codes &= _FOUND
    if images == 1:
        rows = found[0, :most]
        indices = rows[:, _NEAREST if nearest else _FIRST].copy()
        return Plateaus(indices, (rows[:, _SUMS] / rows[:, _PIXELS, None])[:, 3 - axes :], rows[:, 2:6])
    image = np.repeat(np.arange(images), counts)
    rows = np.concatenate([found[b, : counts[b]] for b in range(images)]) if images else found[:0, 0]
    indices = image * pixels + rows[:, _NEAREST if nearest else _FIRST]
    centres = rows[:, _SUMS] / rows[:, _PIXELS, None]
    return Plateaus(indices, centres[:, 3 - axes :], rows[:, 2:6])
