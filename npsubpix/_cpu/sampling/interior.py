"""Samples at positions whose windows lie inside the image, as nearly all do.

A chunk of positions is processed in two steps. The first, in vector code, finds where the windows begin; windows at the
border are replaced by a valid one, and sampled again elsewhere. The second gathers, with the weights in registers. If
the positions of a chunk are far apart, pixels are prefetched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._cpu.compiler.intrinsics import on_stack
from npsubpix._cpu.compiler.jit import allocating, device, fused, inlined
from npsubpix._cpu.sampling.pairs import EIGHT, fetch, fetch_eight, gradients_of_eight, values_of_eight
from npsubpix._cpu.sampling.planes import planes_of, rows_of
from npsubpix._cpu.sampling.weights import TAPS, Taps, left_of

__all__ = [
    "CHUNK",
    "LONGEST",
    "MOST",
    "distances_of_chunk",
    "gatherers",
    "indices_of_chunk",
    "leave_all_out",
    "locator",
    "surveyor",
]

#: Positions that share scratch memory, which leaves room in the nearest cache for their pixels.
CHUNK = 512

#: Arrays of a chunk: integers, and distances along three axes.
indices_of_chunk, distances_of_chunk = on_stack((CHUNK,)), on_stack((3, CHUNK))

#: Longest axis and largest number of pixels: float32 holds every index of the one, int32 those of the other.
LONGEST, MOST = 1 << 24, 1 << 31

_NEAR = 64  # pixels between positions whose cache lines are likely to follow each other


@device
def leave_all_out(left_out):
    """Write the indices of all positions of a chunk; return their number."""
    for k in range(left_out.size):
        left_out[k] = k
    return left_out.size


@device
def _are_scattered(starts):
    jumps = 0
    for k in range(16, starts.size, 16):
        jumps += abs(starts[k] - starts[k - 1]) > _NEAR
    return 32 * jumps > starts.size


@functools.cache
def _limits_of(count: int) -> Callable[..., Any]:
    """Make the function that finds the range of positions along an axis of n pixels whose windows are inside."""
    left = left_of(count)

    @inlined
    def limits(n, F):
        return F(left), F(n - count + left + 1 - count % 2)

    return limits


@functools.cache
def surveyor(base_of: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Make the function that finds the range of rows in which windows begin, if all of them are inside."""
    left, limits = left_of(count), _limits_of(count)

    @device
    def range_of(c, low, high):
        """Return whether all positions along an axis are inside, and the least and the greatest base."""
        F = c.dtype.type
        first, last, every = np.int32(2147483647), np.int32(0), True
        for k in range(c.size):
            inside = (c[k] >= low) & (c[k] < high)
            every &= inside
            base = np.int32(F(base_of(c[k] if inside else low)))
            first, last = np.int32(min(first, base)), np.int32(max(last, base))
        return every, np.int64(first), np.int64(last)

    @device
    def rows_between(coords, b, begin, size, shape, axis):
        """Return the first and last index along one axis of where windows begin, or -1 if one is not inside."""
        axes = coords.shape[1]
        first, last = np.int64(-1), np.int64(-1)
        for a in range(3 - axes, 3):
            low, high = limits(shape[a], coords.dtype.type)
            if shape[a] < count:
                return -1, -1
            every, least, greatest = range_of(coords[b, a - 3 + axes, begin : begin + size], low, high)
            if not every:
                return -1, -1
            if a == axis:
                first, last = least - left, greatest - left
        return first, last

    return rows_between


@functools.cache
def locator(base_of: Callable[..., Any], count: int, axes: int = 0) -> Callable[..., Any]:
    """Make the function that finds where the windows of positions begin: along so many axes, 0 for any number."""
    left, limits = left_of(count), _limits_of(count)

    @inlined
    def split(c, low, high, F):
        """Return whether a position is inside, its base, or that of a position that is, and the distance from it."""
        inside = (c >= low) & (c < high)
        safe = c if inside else low
        base = F(base_of(safe))
        return inside, np.int32(base), safe - base

    @device
    def place_line(c, bounds, starts, t):
        D, F = c.dtype.type, t.dtype.type
        inside_count = np.int32(0)
        for k in range(starts.size):
            inside, base, distance = split(c[k], bounds[0], bounds[1], D)
            starts[k] = base - np.int32(left)
            t[k] = F(distance)
            inside_count += np.int32(inside)
        return inside_count

    @device
    def place_plane(cy, cx, of_y, of_x, width, starts, ty, tx):
        """Locate along two axes at once, so that nothing is written twice."""
        D, F = cy.dtype.type, ty.dtype.type
        inside_count = np.int32(0)
        for k in range(starts.size):
            in_y, y, v = split(cy[k], of_y[0], of_y[1], D)
            in_x, x, u = split(cx[k], of_x[0], of_x[1], D)
            starts[k] = (y - np.int32(left)) * width + (x - np.int32(left))
            ty[k], tx[k] = F(v), F(u)
            inside_count += np.int32(in_y & in_x)
        return inside_count

    @device
    def add_axis(c, bounds, step, starts, t):
        D, F = c.dtype.type, t.dtype.type
        inside_count = np.int32(0)
        for k in range(starts.size):
            inside, base, distance = split(c[k], bounds[0], bounds[1], D)
            starts[k] += (base - np.int32(left)) * step
            t[k] = F(distance)
            inside_count += np.int32(inside)
        return inside_count

    @allocating
    def locate(coords, b, begin, shape, left_out, starts, t):
        """Find the first pixel of each window, and the distance of the position from its base.

        Windows that are not inside are replaced by one that is, and the indices of their positions are
        written to `left_out`. Return their number, and whether the windows are scattered over the image.
        """
        along, size = coords.shape[1], starts.size
        end = begin + size
        D = coords.dtype.type
        for a in range(3 - along, 3):
            if shape[a] < count:
                return leave_all_out(left_out), False
        of_x, of_y, of_z = limits(shape[2], D), limits(shape[1], D), limits(shape[0], D)
        x = coords[b, along - 1, begin:end]
        if axes == 1 or (axes == 0 and along == 1):  # what is known is not compiled
            every = place_line(x, of_x, starts, t[2]) == size
        else:
            every = (
                place_plane(coords[b, along - 2, begin:end], x, of_y, of_x, np.int32(shape[2]), starts, t[1], t[2])
                == size
            )
            if axes == 3 or (axes == 0 and along == 3):
                every &= add_axis(coords[b, 0, begin:end], of_z, np.int32(shape[1] * shape[2]), starts, t[0]) == size
        left_out_count = 0
        if not every:
            for k in range(size):
                inside = True
                for a in range(along):
                    low, high = limits(shape[3 - along + a], D)
                    inside &= (coords[b, a, begin + k] >= low) & (coords[b, a, begin + k] < high)
                if not inside:
                    left_out[left_out_count] = k
                    left_out_count += 1
        return left_out_count, _are_scattered(starts)

    return locate


@functools.cache
def gatherers(taps: Taps, axes: int = 0) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the functions that gather values, and values and gradients, of located positions.

    These are along so many axes, 0 for any number.
    """
    count, weights, slopes = taps.count, taps.weights, taps.slopes
    linear = taps == TAPS["linear"]
    row_value, row_slope = rows_of(taps)
    plane_value, plane_gradient = planes_of(taps)

    @fused
    def values1(x, starts, t, shape, axes, addresses, scattered, out):
        F = out.dtype.type
        for k in range(out.size):
            if scattered:
                fetch(x, starts, k, (0, 0, 0), 1, 1)
            out[k] = row_value(x, np.uint64(starts[k]), weights(t[2, k], F, addresses), F)

    @fused
    def values2(x, starts, t, shape, axes, addresses, scattered, out):
        F = out.dtype.type
        width = np.uint64(shape[2])
        begin = 0
        if linear:
            while begin + EIGHT <= out.size:
                if scattered:
                    fetch_eight(x, starts, begin, shape)
                values_of_eight(x, starts, t, begin, shape[2], out)
                begin += EIGHT
        for k in range(begin, out.size):
            if scattered:
                fetch(x, starts, k, shape, 1, count)
            out[k] = plane_value(x, np.uint64(starts[k]), width, t, k, addresses, F)

    @fused
    def values3(x, starts, t, shape, axes, addresses, scattered, out):
        F = out.dtype.type
        width, plane = np.uint64(shape[2]), np.uint64(shape[1] * shape[2])
        for k in range(out.size):
            if scattered:
                fetch(x, starts, k, shape, count, count)
            o = np.uint64(starts[k])
            w = weights(t[0, k], F, addresses)
            total = F(0)
            for a in range(count):
                total += w[a] * plane_value(x, o, width, t, k, addresses, F)
                o += plane
            out[k] = total

    @device
    def values(x, starts, t, shape, axes, addresses, scattered, out):
        if axes == 2:
            values2(x, starts, t, shape, axes, addresses, scattered, out)
        elif axes == 1:
            values1(x, starts, t, shape, axes, addresses, scattered, out)
        else:
            values3(x, starts, t, shape, axes, addresses, scattered, out)

    @fused
    def gradients1(x, starts, t, shape, axes, addresses, scattered, out, gz, gy, gx):
        F = out.dtype.type
        for k in range(out.size):
            if scattered:
                fetch(x, starts, k, (0, 0, 0), 1, 1)
            u, du = weights(t[2, k], F, addresses), slopes(t[2, k], F, addresses)
            out[k], gx[k] = row_slope(x, np.uint64(starts[k]), u, du, F)

    @fused
    def gradients2(x, starts, t, shape, axes, addresses, scattered, out, gz, gy, gx):
        F = out.dtype.type
        width = np.uint64(shape[2])
        begin = 0
        if linear:
            while begin + EIGHT <= out.size:
                if scattered:
                    fetch_eight(x, starts, begin, shape)
                gradients_of_eight(x, starts, t, begin, shape[2], out, gy, gx)
                begin += EIGHT
        for k in range(begin, out.size):
            if scattered:
                fetch(x, starts, k, shape, 1, count)
            out[k], gy[k], gx[k] = plane_gradient(x, np.uint64(starts[k]), width, t, k, addresses, F)

    @fused
    def gradients3(x, starts, t, shape, axes, addresses, scattered, out, gz, gy, gx):
        F = out.dtype.type
        width, plane = np.uint64(shape[2]), np.uint64(shape[1] * shape[2])
        for k in range(out.size):
            if scattered:
                fetch(x, starts, k, shape, count, count)
            o = np.uint64(starts[k])
            w, dw = weights(t[0, k], F, addresses), slopes(t[0, k], F, addresses)
            total, sz, sy, sx = F(0), F(0), F(0), F(0)
            for a in range(count):
                v, vy, vx = plane_gradient(x, o, width, t, k, addresses, F)
                total += w[a] * v
                sz += dw[a] * v
                sy += w[a] * vy
                sx += w[a] * vx
                o += plane
            out[k], gz[k], gy[k], gx[k] = total, sz, sy, sx

    @device
    def gradients(x, starts, t, shape, axes, addresses, scattered, out, gz, gy, gx):
        if axes == 2:
            gradients2(x, starts, t, shape, axes, addresses, scattered, out, gz, gy, gx)
        elif axes == 1:
            gradients1(x, starts, t, shape, axes, addresses, scattered, out, gz, gy, gx)
        else:
            gradients3(x, starts, t, shape, axes, addresses, scattered, out, gz, gy, gx)

    own_values, own_gradients = (values, values1, values2, values3), (gradients, gradients1, gradients2, gradients3)
    return own_values[axes], own_gradients[axes]
