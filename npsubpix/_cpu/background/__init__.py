"""Background and noise on the host: clipped statistics of boxes, interpolated at the pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.background.clipping import clip, step_of
from npsubpix._cpu.background.mesh import median_filter, settle, spread
from npsubpix._cpu.compiler.intrinsics import copy_to, keep, lend
from npsubpix._cpu.compiler.jit import allocating, device, kernel
from npsubpix._cpu.formulas.sorting import sort_floats
from npsubpix._definitions.background import box_count, box_ends, grow_radii
from npsubpix._definitions.constants import ELLIPSOID_LIMIT, LEAST_GROWN
from npsubpix._definitions.dtypes import promoted

__all__ = ["local_background", "measure_boxes"]


@device
def _differences(values, reference, out):
    """Subtract a reference value, so that a large offset costs the sums no digits."""
    for k in range(values.size):
        out[k] = np.float64(values[k]) - reference


@device
def _copy_finite(row, out):
    """Copy a row; return whether all of its pixels are finite."""
    F = out.dtype.type
    count = 0
    for k in range(row.size):
        v = F(row[k])
        out[k] = v
        count += math.isfinite(v)
    return count == row.size


@device
def _gather(x, mask, chosen, out):
    """Write the pixels of a box that are finite, not masked and, unless it is empty, chosen; return their number.

    Overwrites one more element of `out`.
    """
    F = out.dtype.type
    depth, height, width = x.shape
    count = 0
    for i in range(depth):
        for j in range(height):
            row = x[i, j]
            if mask.size == 0 and chosen.size == 0 and _copy_finite(row, out[count:]):
                count += width
                continue
            for k in range(width):
                v = F(row[k])
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
    """Remove numbers from sorted ones, both sorted, in place; return how many remain."""
    if removed.size == 0:
        return values.size
    count = j = 0
    last = removed.size - 1
    for k in range(values.size):  # without a branch, which would be mispredicted
        v = values[k]
        gone = (removed[min(j, last)] == v) & (j <= last)
        values[count] = v
        j += gone
        count += not gone
    return count


@device
def _mark_clipped(x, mask, i, j, kept, out):
    """Mark the good pixels of a row outside a range; return whether there are any."""
    F = kept.dtype.type
    least, greatest = kept[0], kept[-1]
    count = 0
    for k in range(out.size):
        v = F(x[i, j, k])
        beyond = math.isfinite(v) & ((v < least) | (v > greatest))
        if mask.size > 0:
            beyond &= not mask[i, j, k]
        out[k] = beyond
        count += beyond
    return count > 0


@device
def _widen(marked, before, after, out):
    """Write which pixels are marked or beside one that is, on both sides."""
    for k in range(out.size):
        out[k] = marked[k] | before[k] | after[k]


@device
def _add_marks(out, marked):
    for k in range(out.size):
        out[k] |= marked[k]


@allocating
def _around_clipped(x, mask, kept, lines):
    """Return the pixels of a box that are near a good one outside the range of the sorted ones that were kept.

    They are in an ellipsoid around it, whose lines are (z, y, half-width along x), the shortest first.
    """
    depth, height, width = x.shape
    near, marks = np.zeros(x.shape, np.bool_), np.zeros((3, width + 2), np.bool_)
    target, rows = lend(near), lend(marks)
    clipped, wide, spare = rows[0], rows[1], rows[2]
    for i in range(depth):
        for j in range(height):
            if not _mark_clipped(x, mask, i, j, kept, clipped[1 : width + 1]):
                continue
            copy_to(wide, clipped)
            half = 0
            for line in range(len(lines)):
                while half < min(lines[line, 2], width):
                    _widen(wide[1 : width + 1], wide[:width], wide[2:], spare[1 : width + 1])
                    wide, spare = spare, wide
                    half += 1
                a, b = i + lines[line, 0], j + lines[line, 1]
                if 0 <= a < depth and 0 <= b < height:
                    _add_marks(target[a, b], wide[1 : width + 1])
    keep(marks)
    keep(near)
    return near


@device
def _count(marks):
    """Return how many pixels of a box are marked."""
    count = 0
    for i in range(marks.shape[0]):
        for j in range(marks.shape[1]):
            for k in range(marks.shape[2]):
                count += marks[i, j, k]
    return count


@device
def _invert(marks):
    for i in range(marks.shape[0]):
        for j in range(marks.shape[1]):
            for k in range(marks.shape[2]):
                marks[i, j, k] = not marks[i, j, k]


@kernel("background_boxes")
def _boxes_kernel(x, stack_mask, ends, lines, use_mean, floats, bits, background, noise, ranges, guessed, good):
    """Background, noise, range of the pixels of the background, and number of good pixels of each box.

    `guessed` tells where the noise is a guess. The noise of a box of equal pixels is NaN. `floats` and `bits` are empty
    arrays of the dtype of the pixels and of the integers that hold their bits.
    """
    images, nz, ny, nx = background.shape
    for box in prange(images * nz * ny * nx):
        f, i, j, k = box // (nx * ny * nz), box // (nx * ny) % nz, box // nx % ny, box % nx
        z, y, c = ends[0][i : i + 2], ends[1][j : j + 2], ends[2][k : k + 2]
        pixels = x[f, z[0] : z[1], y[0] : y[1], c[0] : c[1]]
        no_mask = stack_mask[:, 0, :, :]  # empty if there is no mask
        mask = stack_mask[f, z[0] : z[1], y[0] : y[1], c[0] : c[1]] if stack_mask.size > 0 else no_mask
        values, spare = np.empty(pixels.size + 1, floats.dtype), np.empty(pixels.size + 1, floats.dtype)
        every = np.zeros((0, 0, 0), np.bool_)
        count = _gather(pixels, mask, every, values)
        good[f, i, j, k] = count
        background[f, i, j, k] = noise[f, i, j, k] = math.nan
        ranges[0, f, i, j, k], ranges[1, f, i, j, k] = math.inf, -math.inf
        guessed[f, i, j, k] = False
        if count == 0:
            continue
        sort_floats(values[:count], spare, bits)
        middle, offsets = np.float64(values[count // 2]), np.empty(count)
        _differences(values[:count], middle, offsets)
        step = step_of(values[:count])
        begin, end, median, mean, deviation, guess = clip(offsets, step)
        if end - begin < count and len(lines) > 0:
            near = _around_clipped(pixels, mask, values[begin:end], lines)
            many = 2 * _count(near) > near.size
            if many:  # those that remain are sorted, as they are fewer
                _invert(near)
            chosen = np.empty(pixels.size + 1, floats.dtype)
            chosen_count = _gather(pixels, mask, near, chosen)
            left = chosen_count if many else count - chosen_count
            if left >= LEAST_GROWN * count:
                sort_floats(chosen[:chosen_count], spare, bits)
                if many:
                    copy_to(values[:left], chosen[:left])
                else:
                    left = _without(values[:count], chosen[:chosen_count])
                _differences(values[:left], middle, offsets)
                begin, end, median, mean, deviation, guess = clip(offsets[:left], step)
        background[f, i, j, k] = middle + (mean if use_mean else median)
        ranges[0, f, i, j, k], ranges[1, f, i, j, k] = values[begin], values[end - 1]
        if step > 0:
            noise[f, i, j, k] = deviation
            guessed[f, i, j, k] = guess


def _ellipsoid(radii: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return lines (z, y, half-width along x) of the pixels within radii of one, the shortest first; none for 0."""
    if max(radii) == 0:
        return np.zeros((0, 3), np.int64)
    z, y, x = (np.arange(-r, r + 1) / max(r, 1) for r in radii)
    inside = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= ELLIPSOID_LIMIT
    lines = np.argwhere(inside.any(2)) - radii[:2]
    halves = inside.sum(2)[inside.any(2)] // 2
    return np.column_stack([lines, halves])[np.argsort(halves)]


_NO_MASK = np.zeros((0, 1, 0, 0), bool)


def local_background(
    image: HostArray,
    mask: HostArray | None,
    *,
    size: tuple[int, ...],
    method: str,
    grow: tuple[int, ...],
    filter_size: tuple[int, ...],
) -> tuple[HostArray, HostArray, HostArray]:
    """Return background and noise at the pixels of a stack of images or volumes, and where the noise is a guess."""
    x, dtype = image, promoted(image.dtype)
    if x.size == 0:
        return np.empty(x.shape, dtype), np.empty(x.shape, dtype), np.empty(x.shape, bool)
    lead = (1,) * (4 - x.ndim)
    stack = x.reshape(len(x), *lead, *x.shape[1:])
    boxes = tuple(box_count(n, k) for n, k in zip(stack.shape[1:], (*lead, *size), strict=True))
    ends = tuple(box_ends(n, k) for n, k in zip(stack.shape[1:], boxes, strict=True))
    whole_mask = None if mask is None else np.ascontiguousarray(np.broadcast_to(mask, x.shape)).reshape(stack.shape)
    *meshes, ranges, guessed = _measure(stack, whole_mask, ends, grow_radii(grow, x.shape[1:]), method, dtype)
    window, axes = (*lead, *filter_size), (1, 2, 3)
    bounds = (ranges[0].min(axes), ranges[1].max(axes)), (meshes[1].min(axes), meshes[1].max(axes))
    background, noise = (
        spread(median_filter(mesh, window), ends, limits, dtype).reshape(x.shape)
        for mesh, limits in zip(meshes, bounds, strict=True)
    )
    for axis, pixels in enumerate(ends, start=1):
        guessed = np.repeat(guessed, np.diff(pixels), axis)
    return background, noise, guessed.reshape(x.shape)


def measure_boxes(
    stack: HostArray,
    mask: HostArray | None,
    ends: tuple[npt.NDArray[np.int64], ...],
    radii: tuple[int, ...],
    method: str,
    dtype: np.dtype[Any],
) -> tuple[HostArray, ...]:
    """Return background, noise, range of the pixels, whether the noise is a guess, and good pixels of each box."""
    shape = (len(stack), *(len(e) - 1 for e in ends))
    background, noise, good = np.empty(shape), np.empty(shape), np.empty(shape, np.int64)
    ranges, guessed = np.empty((2, *shape)), np.empty(shape, bool)
    floats, bits = np.empty(0, dtype), np.empty(0, f"u{dtype.itemsize}")
    outputs = background, noise, ranges, guessed, good
    options = ends, _ellipsoid(radii), method == "mean", floats, bits
    _boxes_kernel.run(300 * stack.size, stack, _NO_MASK if mask is None else mask, *options, *outputs)
    return outputs


def _measure(
    stack: HostArray,
    mask: HostArray | None,
    ends: tuple[npt.NDArray[np.int64], ...],
    radii: tuple[int, ...],
    method: str,
    dtype: np.dtype[Any],
) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    """Return meshes of background and noise, in which boxes without an estimate are filled from those around them.

    Return the ranges of the pixels of the background too, and where the noise is a guess.
    """
    background, noise, ranges, guessed, good = measure_boxes(stack, mask, ends, radii, method, dtype)
    guessed |= settle(background, noise, good)
    return background, noise, ranges, guessed
