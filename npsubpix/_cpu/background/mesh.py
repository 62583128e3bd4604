"""Values on a mesh of boxes: fill missing ones, smooth them, and interpolate them at the pixels.

A mesh is extended point-symmetrically about its outermost values, by 2 v[0] - v[1] and so on, so
that slopes continue: neither filter nor interpolation bends them at the border of the image.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.jit import device, kernel
from npsubpix._definitions.background import filter_reach
from npsubpix._definitions.constants import LEAST_GOOD

__all__ = ["Extended", "extended", "fill", "median_filter", "settle", "spread", "spread_in"]

Mesh = npt.NDArray[np.float64]


def fill(mesh: Mesh) -> None:
    """Set each box that is NaN to the mean of the boxes around it that are not, in rounds, in place.

    A mesh of NaN alone stays as it is.
    """
    for values in mesh:
        missing = np.isnan(values)
        while missing.any() and not missing.all():
            around = np.pad(values, 1, constant_values=np.nan)
            known = ~np.isnan(around)
            sums, counts = np.zeros(values.shape), np.zeros(values.shape)
            for shift in itertools.product(range(3), repeat=values.ndim):
                part = tuple(slice(s, s + n) for s, n in zip(shift, values.shape, strict=True))
                sums += np.where(known[part], around[part], 0.0)
                counts += known[part]
            new = missing & (counts > 0)
            values[new] = sums[new] / counts[new]
            missing &= ~new


def median_filter(mesh: Mesh, size: tuple[int, ...]) -> Mesh:
    """Return the medians of windows of odd lengths, shorter ones along an axis of few boxes."""
    reach = filter_reach(size, mesh.shape[1:])
    if not any(reach):
        return mesh
    wide = np.pad(mesh, [(0, 0), *((r, r) for r in reach)], mode="reflect", reflect_type="odd")
    axes = tuple(range(1, mesh.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(wide, [2 * r + 1 for r in reach], axes)
    medians: Mesh = np.median(windows, tuple(-a for a in axes))
    return medians


class _Taps(NamedTuple):
    """Weights of boxes at the pixels of an axis, of a mesh extended by one box before and one or two after it."""

    starts: npt.NDArray[np.int64]  # first pixel of each interval between centres; those of k take boxes k to k + 3
    weights: npt.NDArray[np.float64]  # (4, pixels)


def _taps(ends: npt.NDArray[np.int64]) -> _Taps:
    """Return weights of a cubic Hermite spline through the centres of boxes, with slopes of parabolas through three.

    Extrapolation beyond the outermost centres is linear.
    """
    pixels, boxes = int(ends[-1]), len(ends) - 1
    weights = np.zeros((4, pixels))
    if boxes == 1:
        weights[1] = 1.0
        return _Taps(np.array([0, pixels]), weights)
    centres = (ends[:-1] + ends[1:] - 1) / 2
    wide = np.pad(centres, 1, mode="reflect", reflect_type="odd")
    at = np.arange(pixels)
    k = np.clip(np.searchsorted(centres, at, "right") - 1, 0, boxes - 2)
    before, h, after = (wide[k + 1 + step] - wide[k + step] for step in range(3))
    t = (at - centres[k]) / h
    cubic = (t >= 0) & (t <= 1)
    rise = np.where(cubic, t * t * (3 - 2 * t), t)
    first, second = np.where(cubic, (t * (t - 1) ** 2, t * t * (t - 1)), 0.0)  # of the slopes at both ends, times h
    p, q = first * h / (before + h), second * h / (h + after)
    weights[0] = -p * h / before
    weights[1] = 1 - rise + p * (h / before - before / h) - q * after / h
    weights[2] = rise + p * before / h + q * (after / h - h / after)
    weights[3] = q * h / after
    return _Taps(np.searchsorted(k, np.arange(boxes)), weights)


@device
def _line(mesh, i, j, wz, wy, out):
    """Interpolate between rows of a mesh."""
    out[:] = 0.0
    for a in range(4):
        for b in range(4):
            weight = wz[a] * wy[b]
            if weight != 0.0:
                row = mesh[i + a, j + b]
                for k in range(out.size):
                    out[k] += weight * row[k]


@device
def _along(values, starts, weights, lows, highs, out):
    """Interpolate along a row, within the limits of each interval between centres."""
    for k in range(starts.size - 1):
        a, b, c, d = values[k], values[k + 1], values[k + 2], values[k + 3]
        low, high, part = lows[k], highs[k], slice(starts[k], starts[k + 1])
        pixels, p, q, r, s = out[part], weights[0, part], weights[1, part], weights[2, part], weights[3, part]
        for j in range(pixels.size):
            v = a * p[j] + b * q[j] + c * r[j] + d * s[j]
            v = low if v < low else v
            pixels[j] = high if v > high else v


@kernel("spread_mesh")
def _spread_kernel(mesh, rows, columns, starts, weights, limits, out):
    images, depth, height, _ = out.shape
    for line in prange(images * depth * height):
        image, z, y = line // (depth * height), line // height % depth, line % height
        values = np.empty(mesh.shape[3])
        i, j = np.int64(rows[0][z]), np.int64(columns[0][y])
        _line(mesh[image], i, j, rows[1][:, z].copy(), columns[1][:, y].copy(), values)
        _along(values, starts, weights, limits[0, image, i, j], limits[1, image, i, j], out[image, z, y])


def _limits(wide: Mesh, bounds: tuple[Mesh, Mesh]) -> Mesh:
    """Return the least and the greatest value between centres: of the boxes that have weight there, within bounds."""
    around = np.lib.stride_tricks.sliding_window_view(wide, (4, 4, 4), (1, 2, 3))
    limits: Mesh = np.stack([around.min((4, 5, 6)), around.max((4, 5, 6))])
    return np.clip(limits, *(b[:, None, None, None] for b in bounds))


def spread(
    mesh: Mesh, ends: tuple[npt.NDArray[np.int64], ...], bounds: tuple[Mesh, Mesh], dtype: np.dtype[np.floating]
) -> HostArray:
    """Interpolate the values of boxes at all pixels, within the range of the boxes around, and bounds per image.

    Boxes beyond the outermost ones, of the extended mesh, count as boxes.
    """
    return spread_in(extended(mesh, bounds), ends, [(0, int(e[-1])) for e in ends], dtype)


def spread_in(
    mesh: Extended,
    ends: tuple[npt.NDArray[np.int64], ...],
    part: Sequence[tuple[int, int]],
    dtype: np.dtype[np.floating],
) -> HostArray:
    """Interpolate the values of boxes at the pixels of a part of the images, first and end along each axis."""
    rows, columns, along = (_taps(e) for e in ends)
    places = []
    for own, (begin, end) in zip((rows, columns), part, strict=False):
        intervals = np.repeat(np.arange(len(own.starts) - 1), np.diff(own.starts))
        places.append((intervals[begin:end], np.ascontiguousarray(own.weights[:, begin:end])))
    begin, end = part[2]
    starts, weights = (along.starts - begin).clip(0, end - begin), np.ascontiguousarray(along.weights[:, begin:end])
    out = np.empty((len(mesh.values), *(e - b for b, e in part)), dtype)
    _spread_kernel.run(4 * out.size, mesh.values, *places, starts, weights, mesh.limits, out)
    return out


class Extended(NamedTuple):
    """A mesh with boxes beyond the border, and the least and greatest values between centres of boxes."""

    values: Mesh
    limits: Mesh


def extended(mesh: Mesh, bounds: tuple[Mesh, Mesh]) -> Extended:
    """Extend a mesh of values within bounds, per image."""
    mesh = np.clip(mesh, *(b[:, None, None, None] for b in bounds))  # the filter extends slopes beyond the image
    wide = np.pad(mesh, [(0, 0), *((1, 1) if n > 1 else (0, 0) for n in mesh.shape[1:])], "reflect", reflect_type="odd")
    wide = np.pad(wide, [(0, 0), *((1, 2) if n == 1 else (0, 0) for n in mesh.shape[1:])], "edge")
    return Extended(wide, _limits(wide, bounds))


def settle(background: Mesh, noise: Mesh, good: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Fill boxes without an estimate, or with few good pixels, from those around them; return where noise was filled.

    The noise of a box of equal pixels is NaN, and 0 where that of all boxes is.
    """
    few = good < LEAST_GOOD * good.max((1, 2, 3), keepdims=True)
    background[few] = noise[few] = np.nan
    unknown = np.isnan(noise)
    fill(background)
    fill(noise)
    filled: npt.NDArray[np.bool_] = unknown & ~np.isnan(noise)
    noise[np.isnan(noise) & ~np.isnan(background)] = 0.0  # all pixels of each box are equal
    return filled
