"""Means and covariances of whole maps under their softmax, in one pass over the pixels.

Kernels take maps of shape (N, D, H, W), one temperature per map, weights of shape (1 or N, D, H, W), or
empty for none, and the frame of the coordinates: the pixel at 0 and the coordinates per pixel, for each
axis. A map is cut into bands of rows that stay in the second-level cache. Each band is shifted by its own
maximum, and the sums of bands are merged at the end, in order, so that the result does not depend on the
number of threads.

Moments are sums over marginals, those down the columns and those across the rows, in float64 and about the
middle of the map. Rounding is then relative to weights, and a narrow peak far from the middle is as exact
as any other.

Pixels of weight 0 may hold anything. NaN makes the moments of its map NaN. Pixels of +inf share all weight,
and so do those of -inf if there is nothing else.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import Kernel, device, inlined_summing, kernel, summing
from npsubpix._cpu.spatial.weights import maximum_of, row_weights
from npsubpix._definitions.shapes import MOMENTS

__all__ = ["RUN", "count_bands", "expectation_kernel", "factor_between", "highest", "merged", "moments_kernels"]

#: Pixels of a band, and rows after which float32 sums go to float64.
_BAND_PIXELS = 1 << 15
_FLUSH = 32

#: Pixels that a loop should have, rows that are shorter several of them together: they stay in the first-level cache.
RUN = 2048


@device
def count_bands(rows, width):
    """Return the number of bands of a map, and the rows of each but the last."""
    height = max(min(_BAND_PIXELS // max(width, 1), rows), 1)
    return (rows + height - 1) // height, height


@device
def factor_between(shift, top, scale):
    """Return the factor from weights shifted by `shift` to weights shifted by `top`."""
    return 1.0 if shift == top else math.exp((shift - top) * scale)


@device
def highest(shifts):
    """Return the greatest of the maxima of bands, NaN if one of them is."""
    top = -np.inf
    for k in range(shifts.size):
        shift = shifts[k]
        top = shift if shift > top or shift != shift else top
    return top


@device
def merged(sums, shifts, totals, top, scale, normalize):
    """Return the sum over bands shifted by their own maxima, as shifted by the greatest."""
    total = 0.0
    for k in range(sums.size):
        # 0 times NaN would spoil the sum; but the weights of plain pixels may cancel to 0.
        counts = totals[k] != 0 or top != top or not normalize
        total += factor_between(shifts[k], top, scale) * sums[k] if counts else 0.0
    return total


@device
def _flush(totals, sums):
    for j in range(sums.size):
        totals[j] += sums[j]
        sums[j] = 0


@device
def _no_shift(pixels, weights, weighted):
    return 0.0


@device
def _multiply(e, row, weights, scale):
    for j in range(e.size):
        v = row[j] * scale * np.float64(weights[j])
        e[j] = v if weights[j] != 0 else 0.0


@device
def _plain_weights(e, row, weights, weighted, shift, scale):
    """Write the weight of each pixel of a row, which is the pixel itself, in float64: weights may cancel."""
    if weighted:
        _multiply(e, row, weights, scale)
    else:
        for j in range(e.size):
            e[j] = row[j] * scale


def _moments_kernel(name: str, F: Any, maximum: Any, weigh: Any, normalize: bool, second: bool) -> Kernel:
    """Make the kernel of means, of sums unless `normalize`, and of covariances if `second`."""

    @inlined_summing
    def add_four(columns, sums, a, b, c, d):
        of_a = of_b = of_c = of_d = F(0)
        for j in range(columns.size):
            columns[j] += (a[j] + b[j]) + (c[j] + d[j])
            of_a += a[j]
            of_b += b[j]
            of_c += c[j]
            of_d += d[j]
        sums[0], sums[1], sums[2], sums[3] = of_a, of_b, of_c, of_d

    @summing
    def add_rows(columns, sums, e):
        """Add rows, one after the other in e, to sums of columns, and write the sums of rows."""
        width, fours = columns.size, sums.size // 4 * 4
        for i in range(0, fours, 4):
            a, b = e[i * width :], e[(i + 1) * width :]
            c, d = e[(i + 2) * width :], e[(i + 3) * width :]
            add_four(columns, sums[i:], a, b, c, d)
        for i in range(fours, sums.size):
            row = e[i * width : (i + 1) * width]  # of an index that is computed, Numba tests the sign
            total = F(0)
            for j in range(row.size):
                columns[j] += row[j]
                total += row[j]
            sums[i] = total

    @summing
    def row_moments(e, middle):
        total = along = 0.0
        for j in range(e.size):
            total += e[j]
            along += (np.int32(j) - middle) * e[j]
        return total, along

    @summing
    def column_moments(totals, middle):
        total = along = squared = 0.0
        for j in range(totals.size):
            x = np.int32(j) - middle
            total += totals[j]
            along += x * totals[j]
            squared += x * x * totals[j]
        return total, along, squared

    @device
    def band_moments(out, pixels, factors, weighted, first, height, middles, shift, scale, memory):
        """Sum over a band of rows of a map, of which `first` is the first: 1, z, y, x, zz, zy, zx, yy, yx, xx.

        The memory is for weights of a group of rows, sums of its columns and rows, and sums of the columns of the band.
        """
        weighed, columns, sums, totals = memory
        width, group = columns.size, sums.size
        count = pixels.size // max(width, 1)
        mz, my, mx = middles
        row, plane = first % height, first // height
        all_of, by_z, by_y, by_zz, by_zy, by_zx, by_yy, by_yx = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for begin in range(0, count, group):
            lines = min(group, count - begin)
            part, pixel = weighed[: lines * width], begin * width
            weigh(part, pixels[pixel:][: part.size], factors[pixel:][: part.size], weighted, shift, scale)
            add_rows(columns, sums[:lines], part)
            for i in range(lines):
                total, along = np.float64(sums[i]), 0.0
                if second:  # from the sum of each row alone, whose rounding would otherwise look like a correlation
                    total, along = row_moments(part[i * width : (i + 1) * width], mx)
                z, y = plane - mz, row - my
                all_of += total
                by_z += z * total
                by_y += y * total
                if second:
                    by_zz += z * z * total
                    by_zy += z * y * total
                    by_zx += z * along
                    by_yy += y * y * total
                    by_yx += y * along
                row += 1
                if row == height:
                    row, plane = 0, plane + 1
            if begin // _FLUSH != (begin + lines) // _FLUSH or begin + lines >= count:
                _flush(totals, columns)
        total, by_x, by_xx = column_moments(totals, mx)
        if normalize and total > 0:  # the two sums of a band differ by rounding
            by_x *= all_of / total
            by_xx *= all_of / total
        out[1], out[2], out[3], out[4] = all_of, by_z, by_y, by_x
        out[5], out[6], out[7], out[8], out[9], out[10] = by_zz, by_zy, by_zx, by_yy, by_yx, by_xx

    @device
    def merge(out, bands, scale):
        """Merge the sums of bands."""
        out[0] = highest(bands[:, 0])
        for n in range(1, MOMENTS):
            out[n] = merged(bands[:, n], bands[:, 0], bands[:, 1], out[0], scale, normalize)

    @device
    def finish(s, mean, covariance, b, bands, temperature, middles, frame, order):
        """Merge the sums of the bands of map b, and write its mean and covariance."""
        merge(s, bands, 1.0 / temperature)
        total = s[1] if normalize else 1.0
        inverse = 1.0 / total if s[0] == s[0] else np.nan
        s[2] *= inverse
        s[3] *= inverse
        s[4] *= inverse
        if second:
            s[5] = s[5] * inverse - s[2] * s[2]
            s[6] = s[6] * inverse - s[2] * s[3]
            s[7] = s[7] * inverse - s[2] * s[4]
            s[8] = s[8] * inverse - s[3] * s[3]
            s[9] = s[9] * inverse - s[3] * s[4]
            s[10] = s[10] * inverse - s[4] * s[4]
        for n in range(order.size):
            a = order[n]
            # moments are about the middle of the map
            position = s[2 + a] + (middles[a] - frame[a, 0]) * (1.0 if normalize else s[1])
            mean[b, n] = frame[a, 1] * position * (1.0 if normalize else temperature)
            if second:
                for o in range(order.size):
                    low, high = min(a, order[o]), max(a, order[o])
                    entry = 5 + low * 3 - low * (low - 1) // 2 + high - low
                    covariance[b, n, o] = frame[a, 1] * frame[order[o], 1] * s[entry]
        s[2] += middles[0]
        s[3] += middles[1]
        s[4] += middles[2]

    @kernel(f"map_moments_{name}")
    def moments(x, temperatures, weights, frame, order, mean, covariance, out):
        maps, depth, height, width = x.shape
        count, band = count_bands(depth * height, width)
        pixels = x.reshape(maps, depth * height * width)
        weighted = weights.size > 0
        of_maps = weights.reshape(weights.shape[0], weights.shape[1] * weights.shape[2] * weights.shape[3])
        group = max(RUN // max(width, 1), 1)
        middles = 0.5 * (depth - 1), 0.5 * (height - 1), 0.5 * (width - 1)
        partial = np.empty((maps, count, MOMENTS))
        for r in prange(maps * count):
            b, k = r // count, r % count
            first, last = k * band, min((k + 1) * band, depth * height)
            part = pixels[b, first * width : last * width]
            factors = of_maps[b if of_maps.shape[0] > 1 else 0, first * width : last * width] if weighted else part
            shift, scale = maximum(part, factors, weighted), F(1.0 / temperatures[b])
            partial[b, k, 0] = shift
            weighed, columns = np.empty(group * width, F), np.zeros(width, F)
            sums, totals = np.empty(group, F), np.zeros(width, np.float64)
            memory = weighed, columns, sums, totals
            band_moments(partial[b, k], part, factors, weighted, first, height, middles, shift, scale, memory)
            if count == 1:
                finish(out[b], mean, covariance, b, partial[b], temperatures[b], middles, frame, order)
        if count != 1:
            for b in range(maps):
                finish(out[b], mean, covariance, b, partial[b], temperatures[b], middles, frame, order)

    return moments


moments_kernels: dict[Any, Kernel] = {}
for _name, _F in (("f4", np.float32), ("f8", np.float64)):
    (_, _weigh), _maximum = row_weights(_F), maximum_of(_F)
    moments_kernels[np.dtype(_F), False] = _moments_kernel(f"first_{_name}", _F, _maximum, _weigh, True, False)
    moments_kernels[np.dtype(_F), True] = _moments_kernel(f"second_{_name}", _F, _maximum, _weigh, True, True)

#: Sums of pixel times position, of maps of any floats. Pixels are divided by temperatures, and the sums multiplied.
expectation_kernel = _moments_kernel("plain", np.float64, _no_shift, _plain_weights, False, False)
