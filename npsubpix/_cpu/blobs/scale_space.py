"""Scale spaces on the host: levels are smoothed one from the other, and three responses are held at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.blobs.extrema import extrema_kernel
from npsubpix._cpu.blobs.responses import hessian_kernel, laplacian_kernel, subtract_kernel
from npsubpix._cpu.convolution import correlate_terms
from npsubpix._definitions.blob_search import BlobSearch, find_in_stack

__all__ = ["HostOps", "find_blobs", "respond_level", "smooth_level"]

#: Rows, or planes of a volume, that are converted to float32 at a time.
_ROWS = 8

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class HostOps:
    """Arrays of the host, and what a search for blobs does with them."""

    def smooth(self, x: HostArray, lines: tuple[tuple[float, ...], ...]) -> HostArray:
        """Correlate an image with the product of lines of weights."""
        return correlate_terms(
            x, [(np.ones(1),) * (3 - len(lines)) + tuple(map(np.array, lines))], "reflect", 0.0, x.dtype
        )

    def shrink(self, x: HostArray, factors: tuple[int, ...]) -> HostArray:
        """Keep the pixels whose places are multiples of factors."""
        d, h, w = (1,) * (3 - len(factors)) + tuple(factors)
        return np.ascontiguousarray(x[::d, ::h, ::w])

    def subtract(self, x: HostArray, y: HostArray) -> HostArray:
        """Return the difference of two images, in the memory of the first."""
        subtract_kernel.run(4 * x.size, x, y, x)
        return x

    def respond(self, x: HostArray, method: str, factors: tuple[float, ...]) -> HostArray:
        """Return the Laplacian, or the determinant of the Hessian, in units of the width, positive at bright blobs."""
        out = np.empty_like(x)
        three = (0.0,) * (3 - len(factors)) + tuple(factors)
        if method == "log":
            laplacian_kernel.run(16 * x.size, x, three, out)
        else:
            hessian_kernel.run(128 * x.size, x, three, out)
        return out

    def extrema(self, levels: list[HostArray], low: float, sign: int) -> Integers:
        """Return the places of pixels of the middle level that exceed `low` and all neighbours, times a sign."""
        found = np.empty(levels[1].shape, bool)
        extrema_kernel.run(8 * found.size, *levels, np.float32(sign), np.float32(low), found)
        return np.flatnonzero(found)

    def gather(self, levels: list[HostArray], places: Integers) -> Floats:
        """Return the neighbours of places, of shape (N, 3, 3, 3, 3), those beyond the image as they are at its end."""
        shape = levels[0].shape
        centre = np.unravel_index(places, shape)
        index = [np.clip(c[:, None] + np.arange(-1, 2), 0, n - 1) for c, n in zip(centre, shape, strict=True)]
        flat = (index[0][:, :, None, None] * shape[1] + index[1][:, None, :, None]) * shape[2] + index[2][:, None, None]
        return np.stack([level.reshape(-1)[flat] for level in levels], axis=1).astype(np.float64)

    def rows(self, x: HostArray, numbers: Integers) -> HostArray:
        """Return rows of an image, by their numbers, of any shape, in the image of shape (D * H, W)."""
        return np.asarray(x.reshape(-1, x.shape[2])[numbers])

    def values(self, x: HostArray, places: Integers) -> Floats:
        """Return pixels by their places in memory."""
        return x.reshape(-1)[places].astype(np.float64)

    def range_of(self, x: HostArray) -> tuple[float, float]:
        """Return the least and the greatest pixel."""
        return float(x.min()), float(x.max())

    def scaled(self, x: HostArray, offset: float, factor: float) -> HostArray:
        """Subtract an offset and multiply by a factor, to float32."""
        if x.dtype == np.float32:
            out = x - np.float32(offset)
            out *= np.float32(factor)
            return np.asarray(out)
        out = np.empty(x.shape, np.float32)
        for rows in range(0, len(x), _ROWS):  # few, lest there be an image in float64
            out[rows : rows + _ROWS] = (x[rows : rows + _ROWS] - offset) * factor
        return out

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
    x = _three_axes(image)
    return (HostOps().smooth(x, lines).reshape(image.shape),)


def respond_level(image: HostArray, *, method: str, factors: tuple[float, ...]) -> tuple[HostArray]:
    """Return the Laplacian, or the determinant of the Hessian, in units of the width."""
    return (HostOps().respond(_three_axes(image), method, factors).reshape(image.shape),)


def _three_axes(image: HostArray) -> HostArray:
    return np.ascontiguousarray(image.reshape((1,) * (3 - image.ndim) + image.shape), np.float32)
