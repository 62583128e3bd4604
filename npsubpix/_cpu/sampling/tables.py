"""The cotangent of a table of weights.

With raw weights r of the pixels along an axis, their sum s and the weights W = r / s, a sample is a sum over pixels of
products of W, one per axis. Let A be the derivatives of a loss with respect to W along one axis. Then
dL/dr = (A - sum(A W)) / s, and each raw weight is a mean of two samples of the table. Slopes of raw weights, r', have
their sum s', and D = (r' - W s') / s are the slopes of weights; with derivatives B with respect to D,

    dL/dr' = (B - sum(B W)) / s,    dL/dr = (A' - sum(A' W) - sum(B D)) / s,    A' = A - B s' / s.

Positions are divided into a fixed number of parts, whose sums are kept apart, so that results do not depend on the
number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, fused, kernel, made_once
from npsubpix._cpu.sampling.distance_weights import raw_weights, segment_of, total_of
from npsubpix._cpu.sampling.interior import LONGEST, MOST, locator
from npsubpix._cpu.sampling.values import CHUNK, kernel_name, place_in_axis
from npsubpix._cpu.sampling.weights import before
from npsubpix._definitions.sampling.borders import INSIDE
from npsubpix._definitions.sampling.methods import TABLE_WEIGHT

__all__ = ["table_vjp_kernel"]


def _adder(reach: int) -> Any:
    """Make the function that adds the derivatives of raw weights and of their slopes along an axis to a table."""
    count, segment = 2 * reach, segment_of(reach)

    @device
    def add(own, by_weight, by_slope, t, F, addresses):
        for k in range(count):
            whole = reach - 1 - k
            if whole >= 0:
                first, f, scale = segment(F(whole) + t, t < 1, F, addresses)
            else:
                first, f, scale = segment(F(-whole) - t, t >= 1, F, addresses)
                scale = -scale
            step = np.float64(scale) * by_slope[k]
            own[first] += by_weight[k] * (1.0 - np.float64(f)) - step
            own[first + 1] += by_weight[k] * np.float64(f) + step

    return add


def _inside_puller(reach: int) -> Any:
    """Make the function that adds the derivatives of the values of a line of positions inside the image."""
    count, total, add = 2 * reach, total_of(2 * reach), _adder(reach)
    raw = raw_weights(TABLE_WEIGHT, reach, 0)

    @fused
    def sum_window(x, o, planes, rows, shape, w, sums):
        """Sum a window over all axes but one, for each pixel along that one."""
        for k in range(count):
            sums[0, k] = sums[1, k] = sums[2, k] = 0
        for a in range(planes):
            for b in range(rows):
                line = o + np.uint64((a * shape[1] + b) * shape[2])
                row, both = w.dtype.type(0), w[0, a] * w[1, b]
                for k in range(count):
                    v = w.dtype.type(x[line + np.uint64(k)])
                    row += w[2, k] * v
                    sums[2, k] += both * v
                sums[0, a] += w[1, b] * row
                sums[1, b] += w[0, a] * row

    @device
    def pull(x, starts, t, shape, axes, addresses, g, w, s, sums, by_weight, no_slope, own, again):
        """Mark windows with pixels that are not finite in `again`: these may have no weight."""
        F = w.dtype.type
        planes, rows = count if axes > 2 else 1, count if axes > 1 else 1
        w[0, 0] = w[1, 0] = 1
        for m in range(starts.size):
            if g[m] == 0:
                continue
            for a in range(3 - axes, 3):
                u = raw((t[a, m], addresses), F)
                s[a] = total(u)
                for k in range(count):
                    w[a, k] = u[k] / s[a]
            sum_window(x, np.uint64(starts[m]), planes, rows, shape, w, sums)
            for a in range(3 - axes, 3):
                mean = F(0)
                for k in range(count):
                    mean += w[a, k] * sums[a, k]
                again[m] |= not abs(mean) < np.inf
                for k in range(count):
                    by_weight[a, k] = np.float64(F(g[m]) * (sums[a, k] - mean) / s[a])
            if not again[m]:
                for a in range(3 - axes, 3):
                    add(own, by_weight[a], no_slope, t[a, m], F, addresses)

    return pull


def _any_puller(reach: int) -> Any:
    """Make the function that adds the derivatives of values and gradients at a position anywhere."""
    count, total, add = 2 * reach, total_of(2 * reach), _adder(reach)
    raw, raw_slopes = raw_weights(TABLE_WEIGHT, reach, 0), raw_weights(TABLE_WEIGHT, reach, 1)
    find = place_in_axis(before, count)

    @device
    def place(w, pixels, t, s, ds, folds, coords, b, k, shape, rules, addresses):
        """Write weights, slopes, pixels, distances, sums and derivatives of folding; return the status."""
        F, axes, status = w.dtype.type, coords.shape[1], INSIDE
        for a in range(3):
            if a < 3 - axes:
                w[a, 0, 0], w[a, 1, 0], pixels[a, 0] = 1, 0, 0
                continue
            distance, fold, _, own_status = find(pixels[a], coords[b, a - 3 + axes, k], shape[a], rules)
            status = max(status, own_status)
            t[a], folds[a] = F(distance), F(fold)
            u, du = raw((t[a], addresses), F), raw_slopes((t[a], addresses), F)
            s[a], ds[a] = total(u), total(du)
            for n in range(count):
                w[a, 0, n] = u[n] / s[a]
                w[a, 1, n] = folds[a] * (du[n] - w[a, 0, n] * ds[a]) / s[a]
        return status

    @device
    def sum_window(x, shape, w, pixels, axes, cval, g, hz, hy, hx, sums):
        """Write derivatives with respect to weights and slopes of each axis to sums[:, 0] and sums[:, 1]."""
        F = w.dtype.type
        sums[:] = 0
        for a in range(count if axes > 2 else 1):
            for b in range(count if axes > 1 else 1):
                inside = pixels[0, a] >= 0 and pixels[1, b] >= 0
                o = (pixels[0, a] * shape[1] + pixels[1, b]) * shape[2]
                wz, dz, wy, dy = w[0, 0, a], w[0, 1, a], w[1, 0, b], w[1, 1, b]
                for k in range(count):
                    j, wx, dx = pixels[2, k], w[2, 0, k], w[2, 1, k]
                    v = F(x[o + j]) if inside and j >= 0 else cval
                    if not abs(v) < np.inf and wz * wy * wx == 0:
                        continue  # a pixel of no weight, which does not count
                    sums[0, 0, a] += v * (g * wy * wx + hy * dy * wx + hx * wy * dx)
                    sums[0, 1, a] += v * hz * wy * wx
                    sums[1, 0, b] += v * (g * wz * wx + hz * dz * wx + hx * wz * dx)
                    sums[1, 1, b] += v * hy * wz * wx
                    sums[2, 0, k] += v * (g * wz * wy + hz * dz * wy + hy * wz * dy)
                    sums[2, 1, k] += v * hx * wz * wy

    @device
    def add_axis(own, w, sums, t, s, ds, fold, by_weight, by_slope, F, addresses):
        of_slopes, mean, whole = F(0), F(0), F(0)
        for k in range(count):
            sums[0, k] -= sums[1, k] * fold * ds / s
            mean += sums[0, k] * w[0, k]
            of_slopes += sums[1, k] * w[0, k]
            whole += sums[1, k] * w[1, k]
        for k in range(count):
            by_weight[k] = np.float64((sums[0, k] - mean - whole) / s)
            by_slope[k] = np.float64(fold * (sums[1, k] - of_slopes) / s)
        add(own, by_weight, by_slope, t, F, addresses)

    @allocating
    def pull(
        x, coords, b, channels, ids, id_count, shape, rules, cval, addresses, values_cotangent, gradient_cotangent, own
    ):
        axes, dtype = coords.shape[1], values_cotangent.dtype
        F = dtype.type
        own_w, own_sums = np.empty((3, 2, count), dtype), np.empty((3, 2, count), dtype)
        own_pixels, own_numbers = np.empty((3, count), np.int64), np.empty((4, 3), dtype)
        own_rates = np.empty((2, count), np.float64)
        w, sums, pixels, numbers = lend(own_w), lend(own_sums), lend(own_pixels), lend(own_numbers)
        rates = lend(own_rates)
        for m in range(id_count):
            k = ids[m]
            status = place(
                w, pixels, numbers[0], numbers[1], numbers[2], numbers[3], coords, b, k, shape, rules, addresses
            )
            for c in range(channels[0], channels[1] if status == INSIDE else 0):
                g = values_cotangent[b, c, k] if values_cotangent.size > 0 else F(0)
                hz, hy, hx = F(0), F(0), F(0)
                if gradient_cotangent.size > 0:
                    hx = gradient_cotangent[b, axes - 1, c, k]
                    hy = gradient_cotangent[b, axes - 2, c, k] if axes > 1 else F(0)
                    hz = gradient_cotangent[b, axes - 3, c, k] if axes > 2 else F(0)
                if g == 0 and hz == 0 and hy == 0 and hx == 0:
                    continue  # of samples that a loss leaves out, which may be NaN
                sum_window(x[b, c], shape, w, pixels, axes, F(cval), g, hz, hy, hx, sums)
                for a in range(3 - axes, 3):
                    add_axis(
                        own, w[a], sums[a], numbers[0, a], numbers[1, a], numbers[2, a], numbers[3, a], rates[0],
                        rates[1], F, addresses,
                    )  # fmt: skip
        keep(own_w)
        keep(own_pixels)
        keep(own_sums)
        keep(own_numbers)
        keep(own_rates)

    return pull


@made_once
def table_vjp_kernel(reach: int) -> Kernel:
    """Make the kernel of a reach for cotangents of the table, one for each part of the positions."""
    count = 2 * reach
    locate = locator(before, count)
    pull_inside, pull_any = _inside_puller(reach), _any_puller(reach)

    @allocating
    def pull_located(
        x, coords, b, begin, shape, rules, cval, addresses, values_cotangent, gradient_cotangent, left_out, own
    ):
        """Add windows inside the image; return the number of others, whose indices are in `left_out`."""
        size, dtype = left_out.size, values_cotangent.dtype
        starts, t = np.empty(size, np.int32), np.empty((3, size), dtype)
        left_out_count, _ = locate(coords, b, begin, shape, left_out, starts, t)
        if left_out_count == size:
            return left_out_count
        again = np.zeros(size, np.bool_)
        g = np.empty(size, dtype)
        w, s, sums = np.empty((3, count), dtype), np.empty(3, dtype), np.empty((3, count), dtype)
        by_weight, no_slope = np.empty((3, count), np.float64), np.zeros(count, np.float64)
        for c in range(x.shape[1]):
            cotangents = values_cotangent[b, c]
            for k in range(size):
                g[k] = cotangents[begin + k]
            for k in range(left_out_count):
                g[left_out[k]] = 0
            again[:] = False
            pull_inside(
                x[b, c], starts, t, shape, coords.shape[1], addresses, g, w, s, sums, by_weight, no_slope, own, again
            )
            ids, id_count = np.empty(size, np.int64), 0
            for k in range(size):
                if again[k]:
                    ids[id_count] = begin + k
                    id_count += 1
            if id_count > 0:
                pull_any(
                    x, coords, b, (c, c + 1), ids, id_count, shape, rules, cval, addresses, values_cotangent,
                    gradient_cotangent, own,
                )  # fmt: skip
        return left_out_count

    @kernel(kernel_name("sample_table_vjp", TABLE_WEIGHT, reach))
    def pull(x, shape, coords, rules, cval, addresses, values_cotangent, gradient_cotangent, parts):
        batch, total = x.shape[0], coords.shape[2]
        chunks = (total + CHUNK - 1) // CHUNK
        inside = max(shape) < LONGEST and x.shape[2] < MOST and gradient_cotangent.size == 0
        for part in prange(parts.shape[0]):
            own = parts[part]
            own[:] = 0
            for r in range(part * batch * chunks // len(parts), (part + 1) * batch * chunks // len(parts)):
                b, begin = r // chunks, r % chunks * CHUNK
                size = min(CHUNK, total - begin)
                left_out, left_out_count = np.arange(size), size
                if inside:
                    left_out_count = pull_located(
                        x, coords, b, begin, shape, rules, cval, addresses, values_cotangent, gradient_cotangent,
                        left_out, own,
                    )  # fmt: skip
                left_out += begin
                pull_any(
                    x, coords, b, (0, x.shape[1]), left_out, left_out_count, shape, rules, cval, addresses,
                    values_cotangent, gradient_cotangent, own,
                )  # fmt: skip

    return pull
