"""Softmax of whole maps, their means and covariances, in one pass over the pixels.

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
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import Kernel, allocating, device, fused, kernel, summing
from npsubpix._cpu.formulas.exponential import exponential32, exponential64, limited_exponent
from npsubpix._cpu.soft_argmax.tiles import raise_to
from npsubpix._definitions.shapes import MOMENTS

__all__ = ["count_bands", "expectation_kernel", "moments_kernels", "row_weights", "softmax_kernels"]

#: Pixels of a band, and rows after which float32 sums go to float64.
_BAND_PIXELS = 1 << 15
_FLUSH = 32

#: Pixels that a loop should have at least, if rows are shorter several of them together.
_RUN = 512


@device
def count_bands(rows, width):
    """Return the number of bands of a map, and the rows of each but the last."""
    height = max(min(_BAND_PIXELS // max(width, 1), rows), 1)
    return (rows + height - 1) // height, height


@device
def _factor(shift, top, scale):
    """Return the factor from weights shifted by `shift` to weights shifted by `top`."""
    return 1.0 if shift == top else math.exp((shift - top) * scale)


@device
def _highest(shifts):
    """Return the greatest of the maxima of bands, NaN if one of them is."""
    top = -np.inf
    for k in range(shifts.size):
        shift = shifts[k]
        top = shift if shift > top or shift != shift else top
    return top


@device
def _merged(sums, shifts, totals, top, scale, normalize):
    """Return the sum over bands shifted by their own maxima, as shifted by the greatest."""
    merged = 0.0
    for k in range(sums.size):
        # 0 times NaN would spoil the sum; but the weights of plain pixels may cancel to 0.
        counts = totals[k] != 0 or top != top or not normalize
        merged += _factor(shifts[k], top, scale) * sums[k] if counts else 0.0
    return merged


@device
def _flush(totals, sums):
    for j in range(sums.size):
        totals[j] += sums[j]
        sums[j] = 0


@device
def _has_nan(rows, weights, weighted):
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            if rows[i, j] != rows[i, j] and (not weighted or weights[i, j] > 0):
                return True
    return False


def row_weights(F: Any, exponential: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """Make the functions of the exponent, the maximum of rows, and the weights of the pixels of a row."""
    limited = limited_exponent(F)

    @fused
    def exponent(v, shift, scale):
        return F(0) if v == shift else limited(v, shift, scale)  # also for infinity less infinity

    @device
    def find_nonfinite(nonfinite, row):
        for j in range(row.size):
            nonfinite[j] += row[j] * F(0)  # NaN after NaN or infinity

    @device
    def select(seen, row, weights):
        for j in range(seen.size):
            seen[j] = row[j] if weights[j] > 0 else F(-np.inf)

    @allocating
    def maximum(rows, weights, weighted, one):
        """Return the greatest pixel of rows that has weight, NaN if one of them is."""
        pixels, factors = rows.reshape(rows.size), weights.reshape(weights.size)
        lane = min(_RUN, pixels.size)  # rows may be short
        highest = np.full(lane, F(-np.inf))
        nonfinite = np.zeros(lane, F)
        seen = np.empty(lane, F)
        for begin in range(0, pixels.size, max(lane, 1)):
            end = min(begin + lane, pixels.size)
            part = pixels[begin:end]
            if weighted:
                select(seen[: part.size], part, factors[begin:end])
                part = seen[: part.size]
            raise_to(highest[: part.size], part, one)
            find_nonfinite(nonfinite, part)
        top = F(-np.inf)
        total = F(0)
        for j in range(lane):
            top = highest[j] if highest[j] > top else top
            total += nonfinite[j]
        if total != total and _has_nan(rows, weights, weighted):
            return F(np.nan)
        return top

    @fused
    def weigh_all(e, row, shift, scale):
        for j in range(e.size):
            e[j] = exponential(exponent(row[j], shift, scale))

    @fused
    def weigh_by(e, row, weights, shift, scale):
        for j in range(e.size):
            v = exponential(exponent(row[j], shift, scale)) * weights[j]
            e[j] = v if weights[j] > 0 else F(0)

    @device
    def weigh(e, row, weights, weighted, shift, scale):
        """Write the weight of each pixel of a row."""
        if weighted:
            weigh_by(e, row, weights, shift, scale)
        else:
            weigh_all(e, row, shift, scale)

    return exponent, maximum, weigh


@device
def _no_shift(rows, weights, weighted, one):
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

    @summing
    def add_rows(columns, sums, e):
        """Add rows, one after the other in e, to sums of columns, and write the sums of rows."""
        width = columns.size
        for i in range(sums.size):
            total = F(0)
            for j in range(width):
                columns[j] += e[i * width + j]
                total += e[i * width + j]
            sums[i] = total

    @summing
    def row_moments(e, middle):
        total = along = 0.0
        for j in range(e.size):
            total += e[j]
            along += (j - middle) * e[j]
        return total, along

    @allocating
    def band_moments(out, rows, weights, weighted, first, height, middles, shift, scale):
        """Sum over a band of rows of a map, of which `first` is the first: 1, z, y, x, zz, zy, zx, yy, yx, xx."""
        count, width = rows.shape
        pixels, factors = rows.reshape(rows.size), weights.reshape(weights.size)
        group = max(_RUN // max(width, 1), 1)
        weighed = np.empty(group * width, F)
        columns = np.zeros(width, F)
        sums = np.empty(group, F)
        totals = np.zeros(width, np.float64)
        mz, my, mx = middles
        out[1:] = 0
        row, plane = first % height, first // height
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
                out[1] += total
                out[2] += z * total
                out[3] += y * total
                if second:
                    out[5] += z * z * total
                    out[6] += z * y * total
                    out[7] += z * along
                    out[8] += y * y * total
                    out[9] += y * along
                row += 1
                if row == height:
                    row, plane = 0, plane + 1
            if begin // _FLUSH != (begin + lines) // _FLUSH or begin + lines >= count:
                _flush(totals, columns)
        total = 0.0
        for j in range(width):
            x = j - mx
            total += totals[j]
            out[4] += x * totals[j]
            out[10] += x * x * totals[j]
        if normalize and total > 0:  # the two sums of a band differ by rounding
            out[4] *= out[1] / total
            out[10] *= out[1] / total

    @device
    def merge(out, bands, scale):
        """Merge the sums of bands."""
        out[0] = _highest(bands[:, 0])
        for n in range(1, MOMENTS):
            out[n] = _merged(bands[:, n], bands[:, 0], bands[:, 1], out[0], scale, normalize)

    @kernel(f"map_moments_{name}")
    def moments(x, temperatures, weights, frame, order, mean, covariance, out):
        maps, depth, height, width = x.shape
        count, band = count_bands(depth * height, width)
        rows = x.reshape(maps, depth * height, width)
        weighted = weights.size > 0
        of_maps = weights.reshape(weights.shape[0], weights.shape[1] * weights.shape[2], weights.shape[3])
        middles = 0.5 * (depth - 1), 0.5 * (height - 1), 0.5 * (width - 1)
        partial = np.empty((maps, count, MOMENTS))
        for r in prange(maps * count):
            b, k = r // count, r % count
            first, last = k * band, min((k + 1) * band, depth * height)
            pixels = rows[b, first:last]
            factors = of_maps[b if of_maps.shape[0] > 1 else 0, first:last] if weighted else pixels
            shift = maximum(pixels, factors, weighted, F(temperatures[b] / temperatures[b]))
            partial[b, k, 0] = shift
            scale = F(1.0 / temperatures[b])
            band_moments(partial[b, k], pixels, factors, weighted, first, height, middles, shift, scale)
        for b in range(maps):
            merge(out[b], partial[b], 1.0 / temperatures[b])
            s = out[b]
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
                mean[b, n] = frame[a, 1] * position * (1.0 if normalize else temperatures[b])
                if second:
                    for o in range(order.size):
                        low, high = min(a, order[o]), max(a, order[o])
                        entry = 5 + low * 3 - low * (low - 1) // 2 + high - low
                        covariance[b, n, o] = frame[a, 1] * frame[order[o], 1] * s[entry]
            s[2] += middles[0]
            s[3] += middles[1]
            s[4] += middles[2]

    return moments


def _softmax_kernel(name: str, F: Any, maximum: Any, weigh: Any) -> Kernel:
    """Make the kernel of distributions."""

    @device
    def total_of(e):
        total = 0.0
        for j in range(e.size):
            total += e[j]
        return total

    @device
    def multiply(rows, factor):
        for i in range(rows.shape[0]):
            row = rows[i]
            for j in range(row.size):
                row[j] *= factor

    @kernel(f"map_softmax_{name}")
    def softmax(x, temperatures, weights, out):
        maps, depth, height, width = x.shape
        count, band = count_bands(depth * height, width)
        rows, results = x.reshape(maps, depth * height, width), out.reshape(maps, depth * height, width)
        weighted = weights.size > 0
        of_maps = weights.reshape(weights.shape[0], weights.shape[1] * weights.shape[2], weights.shape[3])
        partial = np.empty((maps, count, 2))
        for r in prange(maps * count):
            b, k = r // count, r % count
            first, last = k * band, min((k + 1) * band, depth * height)
            pixels = rows[b, first:last]
            factors = of_maps[b if of_maps.shape[0] > 1 else 0, first:last] if weighted else pixels
            shift = maximum(pixels, factors, weighted, F(temperatures[b] / temperatures[b]))
            scale = F(1.0 / temperatures[b])
            total = 0.0
            for i in range(last - first):
                e = results[b, first + i]
                weigh(e, pixels[i], factors[i], weighted, shift, scale)
                total += total_of(e)
            partial[b, k, 0] = shift
            partial[b, k, 1] = total
            if count == 1:
                multiply(results[b], F(1.0 / total if shift == shift else np.nan))
        if count > 1:
            for r in prange(maps * count):
                b, k = r // count, r % count
                shifts, totals, scale = partial[b, :, 0], partial[b, :, 1], 1.0 / temperatures[b]
                top = _highest(shifts)
                total = _merged(totals, shifts, totals, top, scale, True)
                factor = _factor(shifts[k], top, scale)
                part = results[b, k * band : min((k + 1) * band, depth * height)]
                multiply(part, F(factor / total if top == top else np.nan))

    return softmax


moments_kernels: dict[Any, Kernel] = {}
softmax_kernels: dict[Any, Kernel] = {}
for _name, _F, _exponential in (("f4", np.float32, exponential32), ("f8", np.float64, exponential64)):
    _, _maximum, _weigh = row_weights(_F, _exponential)
    moments_kernels[np.dtype(_F), False] = _moments_kernel(f"first_{_name}", _F, _maximum, _weigh, True, False)
    moments_kernels[np.dtype(_F), True] = _moments_kernel(f"second_{_name}", _F, _maximum, _weigh, True, True)
    softmax_kernels[np.dtype(_F)] = _softmax_kernel(_name, _F, _maximum, _weigh)

#: Sums of pixel times position, of maps of any floats. Pixels are divided by temperatures, and the sums multiplied.
expectation_kernel = _moments_kernel("plain", np.float64, _no_shift, _plain_weights, False, False)
