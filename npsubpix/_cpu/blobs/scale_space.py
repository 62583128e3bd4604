"""Scale spaces on the host: levels are smoothed one from the other, and three responses are held at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.convolution import correlate_terms
from npsubpix._definitions.blob_search import BlobSearch, find_in_stack
from npsubpix._definitions.scale_space import LAPLACIAN

__all__ = ["HostOps", "find_blobs", "respond_level", "smooth_level"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_SAMPLE = 65536


class HostOps:
    """Arrays of the host, and what a search for blobs does with them."""

    def smooth(self, x: HostArray, lines: tuple[tuple[float, ...], ...]) -> HostArray:
        """Correlate an image with the product of lines of weights."""
        return correlate_terms(x, [(np.ones(1),) * (3 - len(lines)) + tuple(map(np.array, lines))], "reflect", 0.0, x.dtype)

    def shrink(self, x: HostArray, factors: tuple[int, ...]) -> HostArray:
        """Keep the pixels whose places are multiples of factors."""
        d, h, w = (1,) * (3 - len(factors)) + tuple(factors)
        return np.ascontiguousarray(x[::d, ::h, ::w])

    def subtract(self, x: HostArray, y: HostArray) -> HostArray:
        """Return the difference of two images."""
        return np.asarray(x - y)

    def respond(self, x: HostArray, method: str, factors: tuple[float, ...]) -> HostArray:
        """Return the Laplacian, or the determinant of the Hessian, in units of the width, positive at bright blobs."""
        axes = range(3 - len(factors), 3)
        second = {a: f * _second(x, a) for a, f in zip(axes, factors, strict=True)}
        if method == "log":
            return np.asarray(-sum(second.values()), x.dtype)
        mixed = {
            (a, b): math.sqrt(factors[a - axes[0]] * factors[b - axes[0]]) * _first(_first(x, a), b)
            for a in axes for b in axes if a < b
        }  # fmt: skip
        n = len(factors)
        if n == 2:
            minor = second[1] * second[2] - mixed[1, 2] ** 2
            det, regular = minor, minor > 0
        else:
            zz, yy, xx = second[0], second[1], second[2]
            minor = yy * xx - mixed[1, 2] ** 2
            first = xx * mixed[0, 1] - mixed[0, 2] * mixed[1, 2]
            other = mixed[0, 1] * mixed[1, 2] - mixed[0, 2] * yy
            det = zz * minor - mixed[0, 1] * first + mixed[0, 2] * other
            regular = (minor > 0) & (det * xx > 0)
        value = n * np.abs(det) ** (1 / n)
        return np.asarray(np.where(regular, np.where(second[2] < 0, value, -value), 0), x.dtype)

    def extrema(self, levels: list[HostArray], low: float, sign: int) -> Integers:
        """Return the places of pixels of the middle level that exceed `low` and all neighbours, times a sign."""
        from scipy import ndimage

        x = [sign * level for level in levels]
        around = np.ones((3, 3, 3), bool)
        around[1, 1, 1] = False
        best = ndimage.maximum_filter(x[1], footprint=around, mode="constant", cval=-np.inf)
        best = np.maximum(best, ndimage.maximum_filter(x[0], 3, mode="nearest"))
        best = np.maximum(best, ndimage.maximum_filter(x[2], 3, mode="nearest"))
        return np.flatnonzero((x[1] > best) & (x[1] > low))

    def gather(self, levels: list[HostArray], places: Integers) -> Floats:
        """Return the neighbours of places, of shape (N, 3, 3, 3, 3), those beyond the image as they are at its end."""
        shape = levels[0].shape
        centre = np.unravel_index(places, shape)
        index = [np.clip(c[:, None] + np.arange(-1, 2), 0, n - 1) for c, n in zip(centre, shape, strict=True)]
        flat = (index[0][:, :, None, None] * shape[1] + index[1][:, None, :, None]) * shape[2] + index[2][:, None, None]
        return np.stack([level.reshape(-1)[flat] for level in levels], axis=1).astype(np.float64)

    def sample(self, x: HostArray) -> Floats:
        """Return pixels of an image: at most 65536, evenly spaced."""
        return x.reshape(-1)[:: -(-x.size // _SAMPLE) or 1].astype(np.float64)

    def values(self, x: HostArray, places: Integers) -> Floats:
        """Return pixels by their places in memory."""
        return x.reshape(-1)[places].astype(np.float64)

    def range_of(self, x: HostArray) -> tuple[float, float]:
        """Return the least and the greatest pixel."""
        return float(x.min()), float(x.max())

    def scaled(self, x: HostArray, offset: float, factor: float) -> HostArray:
        """Subtract an offset and multiply by a factor, to float32."""
        if x.dtype == np.float32:
            return (x - np.float32(offset)) * np.float32(factor)
        return ((x - offset) * factor).astype(np.float32)

    def gaps_of(self, x: HostArray, mask: HostArray | None) -> HostArray | None:
        """Return where pixels are masked or not finite; None if none are."""
        gaps = mask if x.dtype.kind != "f" else ~np.isfinite(x)
        if x.dtype.kind == "f" and mask is not None:
            gaps = gaps | mask
        return gaps if gaps is not None and gaps.any() else None

    def near_gaps(self, gaps: HostArray, pixels: Integers, reach: Integers) -> tuple[HostArray, HostArray]:
        """Return which pixels are gaps, and which have one within reach."""
        inside = gaps[tuple(pixels.T)]
        near = np.zeros(len(pixels), bool)
        for row, (pixel, radius) in enumerate(zip(pixels.tolist(), reach.tolist(), strict=True)):
            box = tuple(slice(max(p - r, 0), p + r + 1) for p, r in zip(pixel, radius, strict=True))
            near[row] = gaps[box].any()
        return inside, near

    def put(self, x: Any, dtype: Any) -> HostArray:
        """Return an array of the host."""
        return np.ascontiguousarray(x, dtype)


def find_blobs(
    image: HostArray, filled: HostArray | None, mask: HostArray | None, noise: HostArray | None, *, search: BlobSearch
) -> tuple[HostArray | None, ...]:
    """Find the blobs of a stack of images."""
    return find_in_stack(HostOps(), image, filled, mask, noise, search)


def smooth_level(image: HostArray, *, lines: tuple[tuple[float, ...], ...]) -> tuple[HostArray]:
    """Correlate an image with the product of lines of weights."""
    shape = (1,) * (3 - image.ndim) + image.shape
    return (HostOps().smooth(image.reshape(shape), lines).reshape(image.shape),)


def respond_level(image: HostArray, *, method: str, factors: tuple[float, ...]) -> tuple[HostArray]:
    """Return the Laplacian, or the determinant of the Hessian, in units of the width."""
    shape = (1,) * (3 - image.ndim) + image.shape
    return (HostOps().respond(image.reshape(shape), method, factors).reshape(image.shape),)


def _padded(x: HostArray, axis: int, width: int) -> HostArray:
    return np.pad(x, [(width, width) if a == axis else (0, 0) for a in range(3)], mode="symmetric")


def _part(x: HostArray, axis: int, start: int, length: int) -> HostArray:
    return x[tuple(slice(start, start + length) if a == axis else slice(None) for a in range(3))]


def _second(x: HostArray, axis: int) -> HostArray:
    n = x.shape[axis]
    wide = _padded(x, axis, 2)
    total = np.float32(LAPLACIAN[0]) * x
    for k, weight in enumerate(LAPLACIAN[1:], 1):
        total = total + np.float32(weight) * (_part(wide, axis, 2 - k, n) + _part(wide, axis, 2 + k, n))
    return np.asarray(total)


def _first(x: HostArray, axis: int) -> HostArray:
    n = x.shape[axis]
    wide = _padded(x, axis, 2)
    near = _part(wide, axis, 3, n) - _part(wide, axis, 1, n)
    far = _part(wide, axis, 4, n) - _part(wide, axis, 0, n)
    return np.asarray(np.float32(2 / 3) * near - np.float32(1 / 12) * far)
