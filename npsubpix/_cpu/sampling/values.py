"""Samples of images between pixels, and their gradients.

Images have shape (B, C, D, H, W), with one pixel along axes that they do not have, and positions
(B, A, N), for the last A axes. The channels of an image share the weights of a position. Each method
has two kernels: one for values, and one for values and gradients.

Positions whose windows lie inside the image are sampled by the functions of `interior`; the code
here samples those at the border and outside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend, shaped
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, fused, kernel, made_once
from npsubpix._cpu.sampling.borders import fold_pixel, fold_position
from npsubpix._cpu.sampling.distance_weights import taps_of
from npsubpix._cpu.sampling.easing import easing_of, inside_taps
from npsubpix._cpu.sampling.interior import (
    CHUNK,
    LONGEST,
    MOST,
    distances_of_chunk,
    gatherers,
    indices_of_chunk,
    leave_all_out,
    locator,
)
from npsubpix._cpu.sampling.weights import Taps, left_of
from npsubpix._definitions.sampling.borders import CVAL, INSIDE, OUTSIDE, ROUNDINGS, WRAP

__all__ = ["count_unknown", "gradient_kernel", "kernel_name", "place_in_axis", "placer", "value_kernel"]

# Numba compiles three functions to look them up.
_EPS32, _EPS64 = float(np.finfo(np.float32).eps), float(np.finfo(np.float64).eps)


def kernel_name(operation: str, name: str, reach: int) -> str:
    """Name a kernel of a method."""
    return f"{operation}_{name}" if reach == 1 else f"{operation}_{name}_{reach}"


@functools.cache
def place_in_axis(base_of: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Make the function that finds the pixels around a position along an axis."""
    left = left_of(count)

    @device
    def find(pixels, c, n, rules):
        """Write the pixels.

        Return the distance from the base, the derivative of folding, whether this is the end of the last stretch
        between pixels, and the status.
        """
        position, slope, status = fold_position(np.float64(c), n, rules[0])
        if status != INSIDE:
            return 0.0, 0.0, False, status
        base = base_of(position)
        # beyond the last pixel there is another stretch, or none
        ends = count % 2 == 0 and position == n - 1 and n > 1 and (rules[0] == CVAL or rules[0] == WRAP)
        if ends:
            base -= 1.0
        first = np.int64(base) - left
        for k in range(count):
            pixels[k] = fold_pixel(first + k, n, rules[1])
        return position - base, slope, ends, status

    return find


@functools.cache
def placer(taps: Taps, orders: int) -> Callable[..., Any]:
    """Make the function that finds the pixels around a position and their weights, along each axis.

    `orders` is 1 for weights, 2 for their derivatives too, and 3 for second derivatives.
    """
    count, find = taps.count, place_in_axis(taps.base, taps.count)
    weights, slopes, curvatures = taps.weights, taps.slopes, taps.curvatures

    @device
    def place(w, pixels, a, c, n, rules, addresses):
        """Write weights and derivatives of axis a to w[a], and indices to pixels[a]; return the status of c."""
        F = w.dtype.type
        distance, slope, ends, status = find(pixels[a], c, n, rules)
        if status != INSIDE:
            return status
        t = F(distance)
        # at the end of a stretch, what should be 0 is rounded
        least = F(ROUNDINGS * (_EPS32 if w.itemsize == 4 else _EPS64)) if ends else F(0)
        u = weights(t, F, addresses)
        for k in range(count):
            w[a, 0, k] = F(0) if abs(u[k]) <= least else u[k]
        if orders > 1:
            du = slopes(t, F, addresses)
            for k in range(count):
                w[a, 1, k] = F(slope) * du[k]
        if orders > 2:
            ddu = curvatures(t, F, addresses)
            for k in range(count):
                w[a, 2, k] = F(slope) * F(slope) * ddu[k]
        return status

    @device
    def place_all(w, pixels, coords, b, k, shape, rules, addresses):
        """Do so for each axis of position k of image b; axes that the image lacks have one pixel of weight 1."""
        axes = coords.shape[1]
        status = INSIDE
        for a in range(3 - axes):
            w[a, 0, 0] = 1
            for order in range(1, orders):
                w[a, order, 0] = 0
            pixels[a, 0] = 0
        for a in range(3 - axes, 3):
            status = max(status, place(w, pixels, a, coords[b, a - 3 + axes, k], shape[a], rules, addresses))
        return status

    return place_all


@fused
def _weighted(weight, sum_of_row):
    return weight * sum_of_row if weight != 0 else weight


@functools.cache
def _border_gatherers(count: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the functions that sum over the window of a position, and over its derivatives.

    Pixels of weight 0 do not count, even if they are not finite.
    """

    @fused
    def folded_row(x, o, pixels, w, order, cval):
        total = w.dtype.type(0)
        for k in range(count):
            j, weight = pixels[2, k], w[2, order, k]
            if weight != 0:
                total += weight * (w.dtype.type(x[o + j]) if j >= 0 else cval)
        return total

    @fused
    def value(x, shape, w, pixels, axes, cval):
        total = w.dtype.type(0)
        for a in range(count if axes > 2 else 1):
            for b in range(count if axes > 1 else 1):
                z, y = pixels[0, a], pixels[1, b]
                row = cval
                if z >= 0 and y >= 0:
                    row = folded_row(x, (z * shape[1] + y) * shape[2], pixels, w, 0, cval)
                total += _weighted(w[0, 0, a] * w[1, 0, b], row)
        return total

    @fused
    def value_and_gradient(x, shape, w, pixels, axes, cval):
        F = w.dtype.type
        total, gz, gy, gx = F(0), F(0), F(0), F(0)
        for a in range(count if axes > 2 else 1):
            for b in range(count if axes > 1 else 1):
                z, y = pixels[0, a], pixels[1, b]
                row, slope = cval, F(0)
                if z >= 0 and y >= 0:
                    row = folded_row(x, (z * shape[1] + y) * shape[2], pixels, w, 0, cval)
                    slope = folded_row(x, (z * shape[1] + y) * shape[2], pixels, w, 1, cval)
                total += _weighted(w[0, 0, a] * w[1, 0, b], row)
                gz += _weighted(w[0, 1, a] * w[1, 0, b], row)
                gy += _weighted(w[0, 0, a] * w[1, 1, b], row)
                gx += _weighted(w[0, 0, a] * w[1, 0, b], slope)
        return total, gz, gy, gx

    return value, value_and_gradient


@device
def count_unknown(line):
    """Count the NaN."""
    count = np.int32(0)
    for k in range(line.size):
        count += np.int32(line[k] != line[k])
    return count


@allocating
def _with_unknown(values, b, begin, left_out, left_out_count):
    """Add the positions of a chunk whose sample is NaN to those that are left out: its pixels may be of weight 0."""
    channels, size = values.shape[1], left_out.size
    unknown = 0
    for c in range(channels):
        unknown += count_unknown(values[b, c, begin : begin + size])
    if unknown == 0:
        return left_out, left_out_count
    merged, count, skipped = np.empty(size, np.int64), 0, 0
    for k in range(size):
        again = skipped < left_out_count and left_out[skipped] == k
        if again:
            skipped += 1
        else:
            for c in range(channels):
                again |= values[b, c, begin + k] != values[b, c, begin + k]
        if again:
            merged[count] = k
            count += 1
    return merged, count


@made_once
def value_kernel(name: str, reach: int, axes: int) -> Kernel:
    """Make the kernel of a method for values, of images of so many axes."""
    taps = taps_of(name, reach)
    count = taps.count
    locate, place = locator(taps.base, count, axes), placer(taps, 1)
    gather, _ = gatherers(inside_taps(name, reach), axes)
    ease, _, _ = easing_of(name, reach)
    gather_at_border, _ = _border_gatherers(count)

    @allocating
    def sample_at_border(x, coords, b, begin, left_out, left_out_count, rules, cval, addresses, values):
        own_w, own_pixels = np.empty((3, 1, count), values.dtype), np.empty((3, count), np.int64)
        w, pixels = lend(own_w), lend(own_pixels)
        shape = x.shape[2:]
        flat = shaped(x, (x.shape[0], x.shape[1], shape[0] * shape[1] * shape[2]))
        F = values.dtype.type
        for m in range(left_out_count):
            k = begin + left_out[m]
            status = place(w, pixels, coords, b, k, shape, rules, addresses)
            for c in range(x.shape[1]):
                if status == INSIDE:
                    values[b, c, k] = gather_at_border(flat[b, c], shape, w, pixels, axes, F(cval))
                else:
                    values[b, c, k] = F(cval) if status == OUTSIDE else F(np.nan)
        keep(own_w)
        keep(own_pixels)

    @kernel(kernel_name(f"sample{axes}d", name, reach))
    def sample(x, coords, rules, cval, addresses, values):
        batch, channels, depth, height, width = x.shape
        total = coords.shape[2]
        chunks = (total + CHUNK - 1) // CHUNK
        F = values.dtype.type
        shape, pixels = (depth, height, width), depth * height * width
        small = max(depth, height, width) < LONGEST and pixels < MOST
        images = x.reshape(batch, channels, pixels)
        for r in prange(batch * chunks):
            b, begin = r // chunks, r % chunks * CHUNK
            end = min(begin + CHUNK, total)
            size = end - begin
            left_out, left_out_count = indices_of_chunk(np.int64)[:size], size
            if not small:
                leave_all_out(left_out)
            else:
                starts, t = indices_of_chunk(np.int32)[:size], distances_of_chunk(F)
                left_out_count, scattered = locate(coords, b, begin, shape, left_out, starts, t)
                if left_out_count < size:
                    ease(t, axes, size, addresses)
                    for c in range(channels):
                        out = values[b, c, begin:end]
                        gather(images[b, c], starts, t, shape, axes, addresses, scattered, out)
                    left_out, left_out_count = _with_unknown(values, b, begin, left_out, left_out_count)
            if left_out_count > 0:
                sample_at_border(x, coords, b, begin, left_out, left_out_count, rules, cval, addresses, values)

    return sample


@made_once
def gradient_kernel(name: str, reach: int, axes: int) -> Kernel:
    """Make the kernel of a method for values and gradients, of images of so many axes."""
    taps = taps_of(name, reach)
    count = taps.count
    locate, place = locator(taps.base, count, axes), placer(taps, 2)
    _, gather = gatherers(inside_taps(name, reach), axes)
    _, ease, apply_slopes = easing_of(name, reach)
    _, gather_at_border = _border_gatherers(count)

    @allocating
    def sample_at_border(x, coords, b, begin, left_out, left_out_count, rules, cval, addresses, values, gradient):
        own_w, own_pixels = np.empty((3, 2, count), values.dtype), np.empty((3, count), np.int64)
        w, pixels = lend(own_w), lend(own_pixels)
        shape = x.shape[2:]
        flat = shaped(x, (x.shape[0], x.shape[1], shape[0] * shape[1] * shape[2]))
        F = values.dtype.type
        for m in range(left_out_count):
            k = begin + left_out[m]
            status = place(w, pixels, coords, b, k, shape, rules, addresses)
            for c in range(x.shape[1]):
                if status == INSIDE:
                    v, gz, gy, gx = gather_at_border(flat[b, c], shape, w, pixels, axes, F(cval))
                    values[b, c, k] = v
                    if axes > 2:
                        gradient[b, axes - 3, c, k] = gz
                    if axes > 1:
                        gradient[b, axes - 2, c, k] = gy
                    gradient[b, axes - 1, c, k] = gx
                else:
                    values[b, c, k] = F(cval) if status == OUTSIDE else F(np.nan)
                    for a in range(axes):
                        gradient[b, a, c, k] = F(0) if status == OUTSIDE else F(np.nan)
        keep(own_w)
        keep(own_pixels)

    @kernel(kernel_name(f"sample{axes}d_gradient", name, reach))
    def sample_gradient(x, coords, rules, cval, addresses, values, gradient):
        batch, channels, depth, height, width = x.shape
        total = coords.shape[2]
        chunks = (total + CHUNK - 1) // CHUNK
        F = values.dtype.type
        shape, pixels = (depth, height, width), depth * height * width
        small = max(depth, height, width) < LONGEST and pixels < MOST
        images = x.reshape(batch, channels, pixels)
        for r in prange(batch * chunks):
            b, begin = r // chunks, r % chunks * CHUNK
            end = min(begin + CHUNK, total)
            size = end - begin
            left_out, left_out_count = indices_of_chunk(np.int64)[:size], size
            if not small:
                leave_all_out(left_out)
            else:
                starts, t = indices_of_chunk(np.int32)[:size], distances_of_chunk(F)
                left_out_count, scattered = locate(coords, b, begin, shape, left_out, starts, t)
                if left_out_count < size:
                    slopes = distances_of_chunk(F)
                    ease(t, slopes, axes, size, addresses)
                    for c in range(channels):
                        out, gx = values[b, c, begin:end], gradient[b, axes - 1, c, begin:end]
                        # nothing is written for axes that the image lacks
                        gy = gradient[b, max(axes - 2, 0), c, begin:end]
                        gz = gradient[b, max(axes - 3, 0), c, begin:end]
                        gather(images[b, c], starts, t, shape, axes, addresses, scattered, out, gz, gy, gx)
                        for a in range(axes):
                            apply_slopes(gradient[b, a, c, begin:end], slopes[3 - axes + a])
                    left_out, left_out_count = _with_unknown(values, b, begin, left_out, left_out_count)
            if left_out_count > 0:
                sample_at_border(
                    x, coords, b, begin, left_out, left_out_count, rules, cval, addresses, values, gradient
                )

    return sample_gradient
