"""Level and noise of the background on the host: clipped statistics of boxes, spread over the pixels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.background.mesh import box_ends, fill, median_filter, spread
from npsubpix._cpu.compiler.jit import device, kernel, summing
from npsubpix._cpu.formulas.sorting import sort_floats
from npsubpix._cpu.launch import promoted
from npsubpix._definitions.constants import BACKGROUND_CLIP, CLIPPED_SHARE, LEAST_GROWN

__all__ = ["local_background"]


@device
def _differences(values, from_value, out):
    """Subtract the value in the middle, so that sums do without the digits of a large offset."""
    for k in range(values.size):
        out[k] = np.float64(values[k]) - from_value


@summing
def _sum(values):
    total = 0.0
    for k in range(values.size):
        total += values[k]
    return total


@summing
def _sum_of_squares(values, mean):
    total = 0.0
    for k in range(values.size):
        d = values[k] - mean
        total += d * d
    return total


@device
def _median(values):
    """Median of sorted numbers; if several equal ones are there, as if they were spread evenly.

    They are taken to have been rounded, so that each stands for all numbers halfway to the next ones:
    the median of whole numbers is no whole number.
    """
    n = values.size
    a, b = values[(n - 1) // 2], values[n // 2]
    first = np.searchsorted(values, a, "left")
    last = np.searchsorted(values, a, "right")
    if a != b or last - first == 1 or first == 0 or last == n:
        return 0.5 * (a + b)
    below, above = 0.5 * (a + values[first - 1]), 0.5 * (a + values[last])
    return below + (above - below) * (0.5 * n - first) / (last - first)


@device
def _clip(values):
    """Take off sorted numbers what is far from their median, until nothing is; return where the rest begins and ends.

    Return its median, mean and standard deviation too.
    """
    begin, end = 0, values.size
    while True:
        rest = values[begin:end]
        median = _median(rest)
        mean = _sum(rest) / rest.size
        deviation = math.sqrt(_sum_of_squares(rest, mean) / rest.size)
        far = BACKGROUND_CLIP * deviation
        i, j = begin, end
        while i < j and median - values[i] > far:
            i += 1
        while j > i and values[j - 1] - median > far:
            j -= 1
        if i == j or (i == begin and j == end):
            return begin, end, median, mean, deviation
        begin, end = i, j


@device
def _gather(x, mask, chosen, out):
    """Write the pixels of a box that are finite, not masked and, if there is a choice, chosen; return their number.

    Writes to one element beyond them.
    """
    F = out.dtype.type
    depth, height, width = x.shape
    count = 0
    for i in range(depth):
        for j in range(height):
            for k in range(width):
                v = F(x[i, j, k])
                out[count] = v
                good = math.isfinite(v)
                if mask.size > 0:
                    good &= not mask[i, j, k]
                if chosen.size > 0:
                    good &= chosen[i, j, k]
                count += good
    return count


@device
def _without(values, removed):
    """Take numbers out of sorted ones, both sorted, in place; return how many are left."""
    count = j = 0
    for k in range(values.size):
        v = values[k]
        if j < removed.size and removed[j] == v:
            j += 1
        else:
            values[count] = v
            count += 1
    return count


@device
def _mark_around(marks, i, j, k, lines):
    """Mark the pixels of a box in an ellipsoid around one, given by its lines (z, y, reach along x)."""
    depth, height, width = marks.shape
    for line in range(len(lines)):
        a, b, reach = i + lines[line, 0], j + lines[line, 1], lines[line, 2]
        if 0 <= a < depth and 0 <= b < height:
            for c in range(max(k - reach, 0), min(k + reach + 1, width)):
                marks[a, b, c] = True


@device
def _around_clipped(x, mask, kept, lines):
    """Mark the pixels of a box that are near to a good one beyond the sorted ones that were kept."""
    F = kept.dtype.type
    least, greatest = kept[0], kept[-1]
    marks = np.zeros(x.shape, np.bool_)
    depth, height, width = x.shape
    for i in range(depth):
        for j in range(height):
            for k in range(width):
                v = F(x[i, j, k])
                out = math.isfinite(v) & ((v < least) | (v > greatest))
                if out and (mask.size == 0 or not mask[i, j, k]):
                    _mark_around(marks, i, j, k, lines)
    return marks


@kernel("background_boxes")
def _boxes_kernel(x, mask, ends, lines, use_mean, like, level, noise, good):
    """Level, noise and number of good pixels of each box; `like` are arrays of the floats and of their bits."""
    frames, nz, ny, nx = level.shape
    for box in prange(frames * nz * ny * nx):
        f, i, j, k = box // (nx * ny * nz), box // (nx * ny) % nz, box // nx % ny, box % nx
        z, y, c = ends[0][i : i + 2], ends[1][j : j + 2], ends[2][k : k + 2]
        pixels = x[f, z[0] : z[1], y[0] : y[1], c[0] : c[1]]
        marks = mask[f, z[0] : z[1], y[0] : y[1], c[0] : c[1]] if mask.size > 0 else mask[:, 0, :, :]
        values, spare = np.empty(pixels.size + 1, like[0].dtype), np.empty(pixels.size + 1, like[0].dtype)
        none = np.zeros((0, 0, 0), np.bool_)
        count = _gather(pixels, marks, none, values)
        good[f, i, j, k] = count
        level[f, i, j, k] = noise[f, i, j, k] = math.nan
        if count == 0:
            continue
        sort_floats(values[:count], spare, like[1])
        middle, offsets = np.float64(values[count // 2]), np.empty(count)
        _differences(values[:count], middle, offsets)
        begin, end, median, mean, deviation = _clip(offsets)
        if end - begin < count and len(lines) > 0:
            near = _around_clipped(pixels, marks, values[begin:end], lines)
            removed = np.empty(pixels.size + 1, like[0].dtype)
            some = _gather(pixels, marks, near, removed)
            if count - some >= LEAST_GROWN * count:
                # Fewer to sort than those that are left.
                sort_floats(removed[:some], spare, like[1])
                left = _without(values[:count], removed[:some])
                _differences(values[:left], middle, offsets)
                begin, end, median, mean, deviation = _clip(offsets[:left])
        level[f, i, j, k] = middle + (mean if use_mean else median)
        noise[f, i, j, k] = deviation / CLIPPED_SHARE


def _ellipsoid(radii: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Lines (z, y, reach along x) of the pixels within radii of one, none for radii of 0."""
    if max(radii) == 0:
        return np.zeros((0, 3), np.int64)
    z, y, x = (np.arange(-r, r + 1) / max(r, 1) for r in radii)
    inside = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= 1 + 1e-9
    lines = np.argwhere(inside.any(2)) - radii[:2]
    return np.column_stack([lines, inside.sum(2)[inside.any(2)] // 2])


_NO_MASK = np.zeros((0, 1, 0, 0), bool)


def local_background(
    image: HostArray,
    mask: HostArray | None,
    *,
    size: tuple[int, ...],
    method: str,
    grow: tuple[int, ...],
    filter_size: tuple[int, ...],
) -> tuple[HostArray, HostArray]:
    """Return level and noise at the pixels of a stack of images or volumes, each of the shape of the stack."""
    x, dtype = image, promoted(image.dtype)
    if x.size == 0:
        return np.empty(x.shape, dtype), np.empty(x.shape, dtype)
    lead = (1,) * (4 - x.ndim)
    stack = x.reshape(len(x), *lead, *x.shape[1:])
    marks = _NO_MASK if mask is None else np.ascontiguousarray(np.broadcast_to(mask, x.shape)).reshape(stack.shape)
    grow = tuple(min(r, n) for r, n in zip(grow, x.shape[1:], strict=True))
    ends = tuple(box_ends(n, k) for n, k in zip(stack.shape[1:], (*lead, *size), strict=True))
    shape = (len(x), *(len(e) - 1 for e in ends))
    level, noise, good = np.empty(shape), np.empty(shape), np.empty(shape, np.int64)
    like = np.empty(0, dtype), np.empty(0, f"u{dtype.itemsize}")
    lines = _ellipsoid((*(0 for _ in lead), *grow))
    _boxes_kernel.run(50 * x.size, stack, marks, ends, lines, method == "mean", like, level, noise, good)
    few = 2 * good < good.max((1, 2, 3), keepdims=True)
    results = []
    for mesh, bounded in ((level, False), (noise, True)):
        mesh[few] = np.nan
        fill(mesh)
        smooth = median_filter(mesh, (*lead, *filter_size))
        results.append(spread(smooth, ends, bounded, dtype).reshape(x.shape))
    return results[0], results[1]
