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

from npsubpix._cpu.compiler.intrinsics import keep, lend, on_stack
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, fused, inlined, inlined_fused, kernel, made_once
from npsubpix._cpu.sampling.distance_weights import raw_weights, segment_of, total_of
from npsubpix._cpu.sampling.easing import ease_for_table, interval_of, is_eased
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
from npsubpix._cpu.sampling.values import kernel_name, place_in_axis
from npsubpix._cpu.sampling.weights import TAPS, before
from npsubpix._definitions.sampling.borders import INSIDE
from npsubpix._definitions.sampling.methods import TABLE_WEIGHT

__all__ = ["table_vjp_kernel"]

LANES = 4  # of the sums of each part


def _adder(reach: int, with_slopes: bool) -> Any:
    """Make the function that adds the derivatives of raw weights along an axis to a table, and of their slopes if any.

    Of a table, each of `LANES` has for each interval between two samples the sum of derivatives, and of derivatives
    times the distance from the first sample. Weights of one position have a lane each, as far as there are any:
    additions to one place in memory wait for each other, those of two samples at once are one instruction.
    """
    count, segment = 2 * reach, segment_of(reach)

    @inlined
    def add(own, a, by_weight, by_slope, t, F, addresses):
        for k in range(count):
            whole = reach - 1 - k
            if whole >= 0:
                first, f, scale = segment(F(whole) + t, t < 1, F, addresses)
            else:
                first, f, scale = segment(F(-whole) - t, t >= 1, F, addresses)
                scale = -scale
            place, lane = np.uint64(first), np.uint64((2 * a + k) % LANES)
            total, moment = by_weight[k], by_weight[k] * np.float64(f)
            if with_slopes:
                moment += np.float64(scale) * by_slope[k]
            own[lane, place, 0] += total
            own[lane, place, 1] += moment

    return add


@inlined_fused
def _add_both(own, lane, k, f, by_first, by_second):
    own[lane, k, 0] += by_first
    own[lane, k, 1] += by_first * f
    own[lane, k, 2] += by_second
    own[lane, k, 3] += by_second * f


def _two_puller() -> Any:
    """Make the function that adds the derivatives of values of two pixels per axis, all inside the image."""
    _, gather = gatherers(TAPS["linear"])

    @fused
    def pull(x, starts, t, shape, axes, addresses, g, own, again):
        """Mark windows with pixels that are not finite in `again`: these may have no weight."""
        F, size = t.dtype.type, starts.size
        eased, inverses, slopes = distances_of_chunk(F), distances_of_chunk(F), distances_of_chunk(F)
        values = slopes[0] if axes < 3 else distances_of_chunk(F)[0]
        for a in range(3 - axes, 3):
            ease_for_table(t[a], eased[a], inverses[a], size, addresses)
        gather(
            x, starts, eased, shape, axes, addresses, False, values[:size], slopes[0, :size], slopes[1, :size],
            slopes[2, :size],
        )  # fmt: skip
        for m in range(size):
            again[m] = (g[m] != 0) & (not abs(values[m]) < np.inf)
        for a in range(3 - axes, 3):
            for m in range(size):
                if g[m] != 0 and not again[m]:
                    k, f, _ = interval_of(t[a, m], F, addresses)
                    share, e = np.float64(F(g[m]) * slopes[a, m] * inverses[a, m]), np.float64(eased[a, m])
                    lane = np.uint64((a + 2 * m) % LANES)
                    _add_both(own, lane, np.uint64(k), np.float64(f), -share * e, share * (1.0 - e))

    return pull


def _inside_puller(reach: int, known: int) -> Any:
    """Make the function that adds the derivatives of the values of a line of positions inside the image.

    The number of axes may be known, so that all loops are unrolled; it is 0 if not.
    """
    count, total, add = 2 * reach, total_of(2 * reach), _adder(reach, False)
    raw = raw_weights(TABLE_WEIGHT, reach, 0)
    per_axis, per_pixel, line = on_stack((3,)), on_stack((3, count)), on_stack((count,))

    @inlined_fused
    def sum_window(x, o, axes, shape, w, sums):
        """Sum a window over all axes but one, for each pixel along that one."""
        F = w.dtype.type
        for k in range(count):
            sums[0, k] = sums[1, k] = sums[2, k] = 0
        for a in range(count if axes > 2 else 1):
            for b in range(count if axes > 1 else 1):
                first = o + np.uint64((a * shape[1] + b) * shape[2])
                wz, wy = w[0, a] if axes > 2 else F(1), w[1, b] if axes > 1 else F(1)
                row, both = F(0), wz * wy
                for k in range(count):
                    v = F(x[first + np.uint64(k)])
                    row += w[2, k] * v
                    sums[2, k] += both * v
                sums[0, a] += wy * row
                sums[1, b] += wz * row

    @device
    def pull(x, starts, t, shape, runtime_axes, addresses, g, own, again):
        """Mark windows with pixels that are not finite in `again`: these may have no weight."""
        F = t.dtype.type
        axes = known if known > 0 else runtime_axes
        w, sums, by_weight, s, means = per_pixel(F), per_pixel(F), line(np.float64), per_axis(F), per_axis(F)
        for m in range(starts.size):
            if g[m] == 0:
                continue
            for a in range(3 - axes, 3):
                u = raw((t[a, m], addresses), F)
                s[a] = F(1) / total(u)
                for k in range(count):
                    w[a, k] = u[k] * s[a]
            sum_window(x, np.uint64(starts[m]), axes, shape, w, sums)
            finite = True
            for a in range(3 - axes, 3):
                means[a] = F(0)
                for k in range(count):
                    means[a] += w[a, k] * sums[a, k]
                finite &= abs(means[a]) < np.inf
            again[m] = not finite
            if finite:
                for a in range(3 - axes, 3):
                    share = F(g[m]) * s[a]
                    for k in range(count):
                        by_weight[k] = np.float64(share * (sums[a, k] - means[a]))
                    add(own, a, by_weight, by_weight, t[a, m], F, addresses)

    return pull


def _any_puller(reach: int) -> Any:
    """Make the function that adds the derivatives of values and gradients at a position anywhere."""
    count, total, add = 2 * reach, total_of(2 * reach), _adder(reach, True)
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
    def add_axis(own, a, w, sums, t, s, ds, fold, by_weight, by_slope, F, addresses):
        of_slopes, mean, whole = F(0), F(0), F(0)
        for k in range(count):
            sums[0, k] -= sums[1, k] * fold * ds / s
            mean += sums[0, k] * w[0, k]
            of_slopes += sums[1, k] * w[0, k]
            whole += sums[1, k] * w[1, k]
        for k in range(count):
            by_weight[k] = np.float64((sums[0, k] - mean - whole) / s)
            by_slope[k] = np.float64(fold * (sums[1, k] - of_slopes) / s)
        add(own, a, by_weight, by_slope, t, F, addresses)

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
                        own, a, w[a], sums[a], numbers[0, a], numbers[1, a], numbers[2, a], numbers[3, a], rates[0],
                        rates[1], F, addresses,
                    )  # fmt: skip
        keep(own_w)
        keep(own_pixels)
        keep(own_sums)
        keep(own_numbers)
        keep(own_rates)

    return pull


@device
def _collect(out, own):
    """Write the derivatives of a loss with respect to a table, from sums over intervals between its samples."""
    last = out.size - 1
    for k in range(out.size):
        out[k] = 0
    for lane in range(own.shape[0]):
        for k in range(last):
            out[k] += own[lane, k, 0] - own[lane, k, 1]
            out[k + 1] += own[lane, k, 1]
            out[last - k] += own[lane, k, 2] - own[lane, k, 3]
            out[last - k - 1] += own[lane, k, 3]


@made_once
def table_vjp_kernel(reach: int) -> Kernel:
    """Make the kernel of a reach for cotangents of the table, one for each part of the positions."""
    count = 2 * reach
    locate = locator(before, count)
    pull_any = _any_puller(reach)
    pull_plane = pull_inside = _two_puller()
    if not is_eased(TABLE_WEIGHT, reach):
        pull_plane, pull_inside = _inside_puller(reach, 2), _inside_puller(reach, 0)

    @allocating
    def pull_located(
        x, coords, b, begin, shape, rules, cval, addresses, values_cotangent, gradient_cotangent, left_out, own
    ):
        """Add windows inside the image; return the number of others, whose indices are in `left_out`."""
        axes, size, dtype = coords.shape[1], left_out.size, values_cotangent.dtype
        starts, t = indices_of_chunk(np.int32)[:size], distances_of_chunk(dtype.type)
        left_out_count, _ = locate(coords, b, begin, shape, left_out, starts, t)
        if left_out_count == size:
            return left_out_count
        again = np.zeros(size, np.bool_)
        g = np.empty(size, dtype)
        for c in range(x.shape[1]):
            cotangents = values_cotangent[b, c]
            for k in range(size):
                g[k] = cotangents[begin + k]
            for k in range(left_out_count):
                g[left_out[k]] = 0
            again[:] = False
            if axes == 2:
                pull_plane(x[b, c], starts, t, shape, axes, addresses, g, own, again)
            else:
                pull_inside(x[b, c], starts, t, shape, axes, addresses, g, own, again)
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
            first, last = part * batch * chunks // len(parts), (part + 1) * batch * chunks // len(parts)
            own = np.zeros((LANES if first < last else 0, parts.shape[1], 4))
            for r in range(first, last):
                b, begin = r // chunks, r % chunks * CHUNK
                size = min(CHUNK, total - begin)
                left_out, left_out_count = indices_of_chunk(np.int64)[:size], size
                if not inside:
                    leave_all_out(left_out)
                else:
                    left_out_count = pull_located(
                        x, coords, b, begin, shape, rules, cval, addresses, values_cotangent, gradient_cotangent,
                        left_out, own,
                    )  # fmt: skip
                left_out += begin
                pull_any(
                    x, coords, b, (0, x.shape[1]), left_out, left_out_count, shape, rules, cval, addresses,
                    values_cotangent, gradient_cotangent, own,
                )  # fmt: skip
            _collect(parts[part], own)

    return pull
