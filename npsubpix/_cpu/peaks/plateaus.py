"""Plateaus on the host: regional extrema of several equal pixels, which strict comparison misses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import Kernel, device, kernel
from npsubpix._cpu.nms.comparisons import greater, less
from npsubpix._definitions.nms import clipped_margins, clipped_reach

__all__ = ["find_plateaus"]

# States of a pixel.
_SEED = 1  # no neighbour wins against it: may belong to a plateau
_SEEN = 2
_KEPT = 3


def _plateau_kernel(name: str, wins: Callable[..., Any]) -> Kernel:
    @device
    def is_seed(x, d, i, j):
        """Whether no neighbour wins against a pixel."""
        v = x[d, i, j]
        if v != v:
            return False
        depth, height, width = x.shape
        for a in range(max(d - 1, 0), min(d + 2, depth)):
            for b in range(max(i - 1, 0), min(i + 2, height)):
                for c in range(max(j - 1, 0), min(j + 2, width)):
                    if wins(x[a, b, c], v):
                        return False
        return True

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

    @kernel(f"plateaus_{name}")
    def plateaus(x, limit, window, margins, strict, state, found, counts):
        """Write plane, row, column of the first pixel and of the centroid of each plateau to `found`."""
        images, depth, height, width = x.shape
        for b in prange(images):
            stack = np.empty(1024, np.int64)
            seen = state[b]
            for d in range(depth):
                for i in range(height):
                    for j in range(width):
                        free = not strict[b, d, i, j] and not wins(limit[b], x[b, d, i, j])
                        seen[d, i, j] = _SEED if free and is_seed(x[b], d, i, j) else 0
            for d in range(depth):
                for i in range(height):
                    for j in range(width):
                        if seen[d, i, j] != _SEED:
                            continue
                        size, stack = flood(x[b], seen, d, i, j, window, margins, stack)
                        if size == 0 or counts[b] >= found.shape[1]:  # full: count on, the caller comes again
                            counts[b] += size > 0
                            continue
                        row = found[b, counts[b]]
                        row[:] = 0.0
                        row[0], row[1], row[2] = d, i, j
                        for k in range(size):
                            row[3] += stack[k] // (height * width)
                            row[4] += stack[k] // width % height
                            row[5] += stack[k] % width
                        row[3:] /= size
                        counts[b] += 1

    return plateaus


_KERNELS = {True: _plateau_kernel("maxima", greater), False: _plateau_kernel("minima", less)}


def find_plateaus(
    x: HostArray,
    size: tuple[int, ...],
    margins: tuple[int, ...],
    limit: HostArray,
    maxima: bool,
    strict: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return flat indices of the first pixels, and centroids, of the plateaus of a stack of images.

    A plateau of a maximum is a set of equal, adjacent pixels none of which has a greater pixel in its window, one of
    which has a smaller one there, and none of which lies in the margins. Of several plateaus of one value in one
    window the first counts. `strict` are the flat indices of the strict extrema.
    """
    images, *space = x.shape
    volume = x.reshape(images, *(1, *space)[-3:])
    shape = volume.shape[1:]
    window, margins = clipped_reach((1, *size)[-3:], shape), clipped_margins((0, 0, *margins)[-6:], shape)
    is_strict = np.zeros(volume.shape, bool)
    is_strict.reshape(-1)[strict] = True
    state = np.empty(volume.shape, np.uint8)
    room = 256
    while True:
        found = np.empty((images, room, 6))
        counts = np.zeros(images, np.int64)
        _KERNELS[maxima].run(
            20 * x.size if images > 1 else 0, volume, limit, window, margins, is_strict, state, found, counts
        )
        if counts.max(initial=0) <= room:
            break
        room = int(counts.max())
    image = np.repeat(np.arange(images), counts)
    rows = np.concatenate([found[b, : counts[b]] for b in range(images)]) if images else np.empty((0, 6))
    place = (image, *rows[:, :3].T.astype(np.int64))
    return np.ravel_multi_index(place, volume.shape).astype(np.int64), rows[:, 6 - len(space) :]
