"""One Gaussian per map: the weights of each axis, their outer product, and the adjoint.

A map of shape (D, H, W) is the outer product of three vectors, one per axis. Kernels take means and standard
deviations of shape (N, axes), in float64; `columns`, the column of each of (z, y, x) in them, -1 for a missing
axis; and `frame`, the pixel at coordinate 0 and the coordinates per pixel, for each of (z, y, x).

Where an axis sums to one, its weights are exp(e) / sum(exp(e)). With t the distance of a pixel from
the one nearest to the mean, and d that pixel's distance from the mean, both in pixels,

    -2 e = ((t + d)**2 - d**2) / std**2 = t (t + 2 d) / std**2,

which is 0 at the nearest pixel and never negative: the shift by the greatest exponent loses no digits,
however far away the mean is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel, summing
from npsubpix._cpu.formulas.exponential import exponential32, exponential64
from npsubpix._cpu.spatial.maps import count_bands
from npsubpix._definitions.constants import (
    GAUSSIAN_FARTHEST,
    GAUSSIAN_LEAST_EXPONENT_32,
    GAUSSIAN_LEAST_EXPONENT_64,
    GAUSSIAN_STEEPEST,
)

__all__ = ["distance", "map_kernels", "map_vjp_kernel"]

_PIECE = 512  # pixels whose weights are summed in the precision of the map
_WEIGHTS = 1 << 12  # that one thread writes at a time


@device
def distance(j, mean, inverse):
    """Return the distance from the mean in standard deviations, held to where a Gaussian times it is 0."""
    u = (j - mean) * inverse
    u = u if u < GAUSSIAN_FARTHEST else GAUSSIAN_FARTHEST
    return u if u > -GAUSSIAN_FARTHEST else -GAUSSIAN_FARTHEST


@device
def _nearest(mean, size):
    """Return the pixel nearest to the mean, and its distance from the mean."""
    pixel = min(max(np.rint(mean), 0.0), size - 1.0)
    return pixel, min(max(pixel - mean, -GAUSSIAN_STEEPEST), GAUSSIAN_STEEPEST)


@device
def _gaussian(means, stds, m, columns, frame, a):
    """Return the mean of a map along an axis in pixels, and the reciprocal of its standard deviation."""
    mean = frame[a, 0] + means[m, columns[a]] / frame[a, 1]
    return mean, min(frame[a, 1] / stds[m, columns[a]], GAUSSIAN_STEEPEST)


def _axis_weights(
    F: Any, exponential: Callable[..., Any], least: float, steepest: float, farthest: float
) -> Callable[..., Any]:
    """Make the function that writes the weights of maps along an axis, 0 for an exponent below `least`."""
    zero, far, half, lowest = F(0), F(GAUSSIAN_FARTHEST), F(-0.5), F(least)

    @device
    def weigh(exponent):
        weight = exponential(exponent)
        return weight if exponent > lowest else zero

    @summing
    def write_shares(weights, m, pixel, offset, inverse):
        """Write weights of which the greatest is 1; return their sum."""
        first, twice, factor = F(-pixel), F(2.0 * offset), F(-0.5 * inverse * inverse)
        remainder = F(2.0 * offset - twice)  # matters halfway between pixels, where t and `twice` cancel
        total = 0.0
        for begin in range(0, weights.shape[1], _PIECE):
            part = zero
            for j in range(begin, min(begin + _PIECE, weights.shape[1])):
                t = F(np.int32(j)) + first
                weight = weigh(factor * (t * ((t + twice) + remainder)))
                weights[m, j] = weight
                part += weight
            total += part
        return total

    @fused
    def write_peak(weights, m, pixel, offset, inverse):
        """Write weights that are 1 at the mean."""
        first, distance_of_pixel, steepness = F(-pixel), F(offset), F(inverse)
        for j in range(weights.shape[1]):
            u = (F(np.int32(j)) + first + distance_of_pixel) * steepness
            u = u if u < far else far
            u = u if u > -far else -far
            weights[m, j] = weigh(half * u * u)

    @device
    def write(weights, begin, end, means, stds, columns, frame, a, peak, factors):
        """Write the weights of maps, NaN if the mean is not finite, and the factors that normalize them."""
        for m in range(begin, end):
            factors[m, a] = 1
            if columns[a] < 0:
                weights[m] = 1
                continue
            mean, inverse = _gaussian(means, stds, m, columns, frame, a)
            pixel, offset = _nearest(mean, weights.shape[1])
            offset, inverse = min(max(offset, -farthest), farthest), min(inverse, steepest)
            if not abs(mean) < math.inf:
                weights[m] = np.nan
            elif peak:
                write_peak(weights, m, pixel, offset, inverse)
            else:
                factors[m, a] = 1.0 / write_shares(weights, m, pixel, offset, inverse)

    return write


# In float32, steepness and distance are held to values with finite products, so large that weights stay as they are.
_write32 = _axis_weights(np.float32, exponential32, GAUSSIAN_LEAST_EXPONENT_32, 1e15, 1e30)
_write64 = _axis_weights(np.float64, exponential64, GAUSSIAN_LEAST_EXPONENT_64, GAUSSIAN_STEEPEST, GAUSSIAN_STEEPEST)


def _map_kernel(name: str, write: Callable[..., Any], F: Any) -> Kernel:
    @device
    def multiply(out, column, row, factor):
        for i in range(out.shape[0]):
            left = column[i] * factor
            for j in range(row.size):
                out[i, j] = left * row[j]

    @device
    def draw(rows, begin, end, z, y, x, factors):
        """Write a range of the rows of all maps, one below the other."""
        depth, height = z.shape[1], y.shape[1]
        while begin < end:
            plane = begin // height
            first = begin - plane * height
            m = plane // depth
            factor = F(z[m, plane - m * depth] * factors[m, 0] * factors[m, 1] * factors[m, 2])
            count = min(height - first, end - begin)
            multiply(rows[begin : begin + count], y[m, first : first + count], x[m], factor)
            begin += count

    @kernel(f"gaussian_maps_{name}")
    def render(means, stds, columns, frame, peak, out):
        maps, depth, height, width = out.shape
        z, y, x = np.empty((maps, depth), F), np.empty((maps, height), F), np.empty((maps, width), F)
        factors = np.empty((maps, 3))
        chunk = max(_WEIGHTS // (depth + height + width), 1)
        for c in prange((maps + chunk - 1) // chunk):
            begin, end = c * chunk, min((c + 1) * chunk, maps)
            write(z, begin, end, means, stds, columns, frame, 0, peak, factors)
            write(y, begin, end, means, stds, columns, frame, 1, peak, factors)
            write(x, begin, end, means, stds, columns, frame, 2, peak, factors)
        rows = out.reshape(maps * depth * height, width)
        count, band = count_bands(rows.shape[0], width)
        for k in prange(count):
            draw(rows, k * band, min((k + 1) * band, rows.shape[0]), z, y, x, factors)

    return render


@device
def _write_normalized(weights, begin, end, means, stds, columns, frame, a, peak, factors):
    """Write weights in float64, multiplied by the factors that normalize them."""
    _write64(weights, begin, end, means, stds, columns, frame, a, peak, factors)
    for m in range(begin, end):
        for j in range(weights.shape[1]):
            weights[m, j] *= factors[m, a]


@summing
def _project(columns, row, weights, factor):
    """Add a row times a factor to sums down the columns; return its product with weights."""
    total = 0.0
    for j in range(row.size):
        columns[j] += factor * row[j]
        total += weights[j] * row[j]
    return total


@summing
def _product(a, b):
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@device
def _sharing_adjoint(weights, cotangent, mean, inverse):
    """Return the derivatives of the sum of weights times cotangent with respect to mean and standard deviation.

    With E the mean over the axis by its weights and q = -2 e, the derivative of a weight p with respect to the mean is
    p (t - E t) / std**2, and that with respect to the standard deviation p (q - E q) / std.
    """
    pixel, offset = _nearest(mean, weights.size)
    mean_t, mean_q, mean_cotangent = 0.0, 0.0, 0.0
    for j in range(weights.size):
        t = j - pixel
        mean_t += weights[j] * t
        mean_q += weights[j] * _exponent(t, offset, inverse)
        mean_cotangent += weights[j] * cotangent[j]
    by_mean, by_std = 0.0, 0.0
    for j in range(weights.size):
        t = j - pixel
        part = weights[j] * (cotangent[j] - mean_cotangent)
        by_mean += part * ((t - mean_t) * inverse)
        by_std += part * (_exponent(t, offset, inverse) - mean_q)
    return by_mean * inverse, by_std * inverse


@device
def _exponent(t, offset, inverse):
    """Return -2 e, held to where weights are 0."""
    q = (t * inverse) * ((t + 2.0 * offset) * inverse)
    return q if q < GAUSSIAN_FARTHEST * GAUSSIAN_FARTHEST else GAUSSIAN_FARTHEST * GAUSSIAN_FARTHEST


@device
def _peak_adjoint(weights, cotangent, mean, inverse):
    """Return the same for weights of 1 at the mean, whose derivatives are p u / std and p u**2 / std."""
    by_mean, by_std = 0.0, 0.0
    for j in range(weights.size):
        u = distance(j, mean, inverse)
        by_mean += weights[j] * cotangent[j] * u
        by_std += weights[j] * cotangent[j] * (u * u)
    return by_mean * inverse, by_std * inverse


@device
def _axis_adjoint(weights, cotangent, mean, inverse, peak):
    if not abs(mean) < math.inf:
        return np.nan, np.nan
    if peak:
        return _peak_adjoint(weights, cotangent, mean, inverse)
    return _sharing_adjoint(weights, cotangent, mean, inverse)


@device
def _marginals(gz, gy, gx, z, y, columns, along):
    """Write the derivatives with respect to the weights of axes, from sums down the columns of bands and along rows."""
    gy[:] = 0
    gx[:] = 0
    for k in range(columns.shape[0]):
        for j in range(gx.size):
            gx[j] += columns[k, j]
    for i in range(z.size):
        plane = along[i * y.size : (i + 1) * y.size]
        gz[i] = _product(y, plane)
        for j in range(y.size):
            gy[j] += z[i] * plane[j]


@kernel("gaussian_maps_vjp")
def map_vjp_kernel(means, stds, columns, frame, peak, cotangent, by_mean, by_std):
    """Write the derivatives of the sum of maps times cotangent with respect to means and standard deviations."""
    maps, depth, height, width = cotangent.shape
    z, y, x, factors = np.empty((maps, depth)), np.empty((maps, height)), np.empty((maps, width)), np.empty((maps, 3))
    for m in prange(maps):
        _write_normalized(z, m, m + 1, means, stds, columns, frame, 0, peak, factors)
        _write_normalized(y, m, m + 1, means, stds, columns, frame, 1, peak, factors)
        _write_normalized(x, m, m + 1, means, stds, columns, frame, 2, peak, factors)
    count, band = count_bands(depth * height, width)
    rows = cotangent.reshape(maps, depth * height, width)
    down = np.zeros((maps, count, width))
    along = np.empty((maps, depth * height))
    for r in prange(maps * count):
        m, k = r // count, r % count
        for i in range(k * band, min((k + 1) * band, depth * height)):
            factor = z[m, i // height] * y[m, i % height]
            along[m, i] = _project(down[m, k], rows[m, i], x[m], factor)
    for m in prange(maps):
        gz, gy, gx = np.empty(depth), np.empty(height), np.empty(width)
        _marginals(gz, gy, gx, z[m], y[m], down[m], along[m])
        for a in range(3):
            if columns[a] >= 0:
                mean, inverse = _gaussian(means, stds, m, columns, frame, a)
                weights = z[m] if a == 0 else y[m] if a == 1 else x[m]
                of_axis = gz if a == 0 else gy if a == 1 else gx
                by_pixel, by_width = _axis_adjoint(weights, of_axis, mean, inverse, peak)
                by_mean[m, columns[a]] = by_pixel / frame[a, 1]
                by_std[m, columns[a]] = by_width / frame[a, 1]


map_kernels = {
    np.dtype(np.float32): _map_kernel("f4", _write32, np.float32),
    np.dtype(np.float64): _map_kernel("f8", _write64, np.float64),
}
