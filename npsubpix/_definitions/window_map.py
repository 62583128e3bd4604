"""Functions of windows: where windows begin and end, the batches they are called with, and what they may return."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from npsubpix._definitions.borders import as_pixel, counts_of, extended, window_places
from npsubpix._definitions.dtypes import HostArray

__all__ = ["Batch", "Grid", "batches_of", "bounds_of", "offsets_of", "padded", "require_shapes"]


@dataclass(frozen=True)
class Grid:
    """Windows over images of one shape, along each axis."""

    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...]  # pixels of a window before the pixel it belongs to
    counts: tuple[int, ...]  # windows
    shrinks: bool  # windows end with the image

    @classmethod
    def over(cls, shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], border: str) -> Grid:
        """Place a window around every pixel, or every pixel after a stride; pad the images unless windows shrink."""
        counts = counts_of(shape, stride)
        if border == "shrink":
            return cls(shape, size, stride, tuple(k // 2 for k in size), counts, True)
        padded = tuple(places.size for places in _padding(shape, size, stride, border))
        return cls(padded, size, stride, (0,) * len(size), counts, False)

    @property
    def three(self) -> tuple[tuple[int, ...], ...]:
        """Shape, counts, sizes, pixels before and strides along three axes, as kernels take them."""
        ones, zeros = (1,) * (3 - len(self.size)), (0,) * (3 - len(self.size))
        return ones + self.shape, ones + self.counts, ones + self.size, zeros + self.before, ones + self.stride


def _padding(shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], border: str) -> list[HostArray]:
    return [window_places(*axis, border) for axis in zip(shape, size, stride, strict=True)]


def padded(
    x: Any, size: tuple[int, ...], stride: tuple[int, ...], border: str, cval: float,
    put: Callable[[HostArray], Any],
) -> Any:  # fmt: skip
    """Copy an image with its border extension, as far as windows reach; as it is, if these end with it."""
    if border == "shrink":
        return x
    return extended(x, _padding(x.shape, size, stride, border), as_pixel(cval, x.dtype), put)


def bounds_of(k: int, step: int, before: int, size: int, n: int) -> tuple[int, int]:
    """Return where window k begins and ends along an axis of n pixels."""
    start = k * step - before
    end = start + size
    # not by max and min, which numba.cuda of Numba 0.68 does not compile
    return start if start > 0 else 0, end if end < n else n


def offsets_of(footprint: HostArray) -> HostArray:
    """Return where the pixels of a footprint that count lie from its first, along three axes: (pixels, 3)."""
    return np.argwhere(footprint.reshape((1,) * (3 - footprint.ndim) + footprint.shape))


class Batch(NamedTuple):
    """Windows of one shape: where their results go, how many there are along each axis, and those of each image."""

    places: tuple[slice, ...]
    counts: tuple[int, ...]
    size: tuple[int, ...]
    part: tuple[slice, ...]  # of a whole window that these are
    windows: list[Any]  # (*counts, *size)


def batches_of(
    images: Sequence[Any],
    grid: Grid,
    max_memory: int,
    windows_of: Callable[[Any, tuple[int, ...], tuple[int, ...]], Any],
) -> Iterator[Batch]:
    """Divide windows into batches of whole rows that take up to `max_memory` bytes, but for a single row.

    `windows_of` views an image as all its windows of a size, at a stride.
    """
    for runs in itertools.product(*_runs_by_length(grid)) if math.prod(grid.counts) else ():
        size = tuple(run.length for run in runs)
        pixels = tuple(run.pixels for run in runs)
        views = [windows_of(x[pixels], size, grid.stride) for x in images]
        counts = views[0].shape[: len(size)]
        row = sum(x.itemsize for x in images) * math.prod(size) * math.prod(counts[1:])
        rows = max(1, max_memory // max(row, 1))
        for first in range(0, counts[0], rows):
            chunk = [view[first : first + rows] for view in views]
            begin = runs[0].places.start + first
            places = slice(begin, begin + len(chunk[0])), *(run.places for run in runs[1:])
            part = tuple(slice(run.skipped, run.skipped + run.length) for run in runs)
            yield Batch(places, chunk[0].shape[: len(size)], size, part, chunk)


class _Run(NamedTuple):
    """Successive windows of one length along an axis: places in the result, and the pixels they cover."""

    places: slice
    pixels: slice
    length: int
    skipped: int  # pixels of each window before the image


def _runs_by_length(grid: Grid) -> list[list[_Run]]:
    """Divide the windows along each axis by their length; clipped ones are alone, unless a step leads nowhere."""
    if not grid.shrinks:
        axes_of_whole = zip(grid.counts, grid.shape, grid.size, strict=True)
        return [[_Run(slice(0, c), slice(0, n), k, 0)] for c, n, k in axes_of_whole]
    axes = zip(grid.shape, grid.counts, grid.size, grid.stride, grid.before, strict=True)
    return [_runs_along(*axis) for axis in axes]


def _runs_along(n: int, count: int, size: int, step: int, before: int) -> list[_Run]:
    bounds = [bounds_of(k, step, before, size, n) for k in range(count)]

    def same_run(k: int) -> tuple[int, Any]:
        length = bounds[k][1] - bounds[k][0]
        return length, length < size and k

    runs = []
    for (length, _), group in itertools.groupby(range(count), same_run):
        places = list(group)
        first, last = places[0], places[-1]
        skipped = max(before - first * step, 0)
        runs.append(_Run(slice(first, last + 1), slice(bounds[first][0], bounds[last][1]), length, skipped))
    return runs


def require_shapes(results: Sequence[Any], outputs: int, count: int) -> None:
    """Require one array of results per output, each with a number per window of a batch."""
    shapes = [tuple(getattr(r, "shape", ())) for r in results]
    if len(results) != outputs or any(shape != (count,) for shape in shapes):
        raise ValueError(f"func must return n_outputs = {outputs} arrays of shape ({count},), got shapes {shapes}")
