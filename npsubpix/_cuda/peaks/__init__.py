"""Peaks as lists, on the GPU: codes of a byte a pixel, counted, collected, kept apart and sorted.

The host waits for the GPU where it has to know how long a list is: once, and once more to keep peaks apart.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from npsubpix._cuda.launch.arrays import native, result_dtype
from npsubpix._cuda.launch.catalogue import STRIP_ROWS
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._cuda.peaks.plateaus import Plateaus, mark_plateaus
from npsubpix._cuda.refinement import refine
from npsubpix._definitions.borders import reach
from npsubpix._definitions.peaks import PeakSearch, Refinement

__all__ = ["Candidates", "find_peaks"]

#: Dtypes that kernels read as they are.
_DTYPES = ("uint8", "uint16", "int64", "uint64", "float32", "float64")

#: Pixels that one block counts.
_PART = 4096

#: Rounds in which peaks are kept apart by the whole grid, before one block an image goes on with what is left.
_ROUNDS = 8


class Candidates(NamedTuple):
    """Pixels that may be reported as peaks."""

    indices: DeviceArray  # flat, in the stack
    frames: DeviceArray
    flags: DeviceArray
    centroids: DeviceArray | None = None  # of plateaus; NaN for all others


class _Table(NamedTuple):
    """Candidates in memory order, and what they are sorted by."""

    indices: DeviceArray
    frames: DeviceArray
    flags: DeviceArray
    majors: DeviceArray
    minors: DeviceArray

    @property
    def size(self) -> int:
        return int(self.indices.shape[0])


class _Search:
    """A stack of images, with what belongs to it, in which peaks are sought."""

    def __init__(self, x: DeviceArray, mask: DeviceArray | None, levels: tuple[Any, Any] | None) -> None:
        self.device = device_of(x)
        self.axes, self.images = x.ndim - 1, x.shape[0]
        self.x = native(x, _DTYPES)
        self.mask = None if mask is None else self.device.rows(mask, x.shape, bool)
        self.stack = (self.images, *(1,) * (4 - x.ndim), *x.shape[1:])
        self.pixels = math.prod(self.stack[1:])
        self.parts = blocks_for(self.pixels, each=_PART)
        self.levels = (None, None, 0) * 2 if levels is None else sum((self._level(v) for v in levels), ())
        self.codes = self.device.empty((x.size,), np.uint8)

    def _level(self, level: Any) -> tuple[Any, ...]:
        """Background or noise as kernels take it: an array of float32 or one of float64, and its size."""
        if isinstance(level, np.ndarray) and level.size == 1:  # a number
            return None, self.device.full((1,), level.item(), np.float64), 1
        dtype = result_dtype(level.dtype)
        values = self.device.rows(level, level.shape, dtype)
        return *((values, None) if dtype == np.float32 else (None, values)), level.size

    @property
    def given(self) -> tuple[Any, ...]:
        """What kernels are told of the images."""
        return self.x, self.mask, *self.stack

    def run(self, name: str, blocks: int, *args: Any, file: str = "peaks") -> None:
        """Launch a kernel."""
        types = {"Real": np.float64} if file == "candidates" else {"Pixel": self.x.dtype}
        run(self.device, Kernel.of(file, f"{file}_{name}", **types), blocks, *args)

    def tops(self, relative: float | None, minima: bool) -> DeviceArray | None:
        """Return what is greatest in each image, above the background if there is one, and in each negated image."""
        if relative is None:
            return None
        signs = 1 + minima
        out = self.device.empty((signs, self.images, self.parts), np.float64)
        blocks = blocks_for(signs * self.images * self.parts, each=1)
        self.run("tops", blocks, *self.given, *self.levels, minima, self.parts, _PART, out)
        return out.max(2)

    def mark(self, window: tuple[int, ...], margins: tuple[int, ...], limits: tuple[Any, ...], minima: bool) -> None:
        """Write the codes of strict extrema."""
        axes = self.axes
        if self.mask is None and window[3 - axes :] == (3,) * axes and min(margins[6 - 2 * axes :]) >= 1:
            images, depth, height, width = self.stack
            blocks = blocks_for(images * depth * -(-height // STRIP_ROWS) * width)
            self.run("near", blocks, *self.given, axes == 3, *margins, *limits, minima, self.codes)
        else:
            self.run("window", blocks_for(self.x.size), *self.given, *window, *margins, *limits, minima, self.codes)

    def drop_low(self, limits: tuple[Any, ...]) -> None:
        """Clear the codes of candidates that are not high enough above the background."""
        blocks = blocks_for(self.x.size)
        self.run("above", blocks, self.x, self.images, self.pixels, *self.levels, *limits, self.codes)

    def collect(self, most: int | None) -> tuple[_Table, int, DeviceArray]:
        """Return the candidates, how many are among the first `most` of their image, and the counts of images.

        Waits for the GPU, to know how many there are.
        """
        counts = self.device.empty((self.images * self.parts,), np.int64)
        blocks, parts = blocks_for(self.images * self.parts, each=1), (self.parts, _PART)
        self.run("count", blocks, self.codes, self.images, self.pixels, *parts, counts, file="candidates")
        of_images = counts.reshape(self.images, self.parts).sum(1)
        lengths = self.device.empty((2,), np.int64)
        lengths[:1] = of_images.sum(0, keepdims=True)
        lengths[1:] = of_images.clip(0, most).sum(0, keepdims=True)
        count, kept = lengths.tolist()  # the wait
        dtypes = np.int64, np.int64, np.int32, np.uint64, np.uint64
        table = _Table(*(self.device.empty((count,), dtype) for dtype in dtypes))
        blocks = blocks if count else 0
        where = *parts, counts, counts.cumsum()
        self.run("collect", blocks, self.x, self.codes, self.images, self.pixels, *self.levels, *where, *table)
        return table, kept, of_images

    def keep_apart(self, distance: tuple[float, ...]) -> None:
        """Clear the codes of candidates that are too close to stronger ones of their kind. Waits for the GPU."""
        found, _, _ = self.collect(None)
        images, depth, height, width = self.stack
        starts = self.device.empty((images * depth * height + 1,), np.int64)
        rows = starts.shape[0] - 1
        self.run("rows", blocks_for(rows + 1), found.indices, found.size, rows, width, starts, file="candidates")
        states = self.device.full((found.size,), 0, np.uint8)
        arguments = *found, found.size, starts, depth, height, width, *_weights(distance, self.stack), states
        for _ in range(_ROUNDS):
            self.run("separate", blocks_for(found.size), *arguments, file="candidates")
        blocks = blocks_for(images, each=1) if found.size else 0
        self.run("separate_rest", blocks, *arguments, images, file="candidates")
        strike = found.indices, found.flags, found.size, states, self.codes
        self.run("strike", blocks_for(found.size), *strike, file="candidates")

    def sort(self, found: _Table) -> DeviceArray:
        """Return the rows of candidates image by image, the strongest first, of equal ones the first in memory."""
        rows, length = None, 1
        while rows is None or length < found.size:
            merged = self.device.empty((found.size,), np.int64)
            keys = found.frames, found.majors, found.minors, found.size, length
            self.run("merge", blocks_for(found.size), *keys, rows, merged, file="candidates")
            rows, length = merged, 2 * length
        return rows

    def cut(self, rows: DeviceArray, found: _Table, kept: int, most: int, of_images: DeviceArray) -> DeviceArray:
        """Return the first rows of each image."""
        out = self.device.empty((kept,), np.int64)
        ends = of_images.cumsum(), of_images.clip(0, most).cumsum()
        self.run("cut", blocks_for(found.size), rows, found.frames, *ends, found.size, out, file="candidates")
        return out


def _weights(distance: tuple[float, ...], stack: tuple[int, ...]) -> tuple[float, ...]:
    """Return the weights of squares along each axis, and the limit of their sum.

    Distances below a pixel separate nothing, and those far beyond the image all candidates. They are
    relative to the least, so that equal distances are compared exactly.
    """
    distance = tuple(min(max(d, 0.5), 1e6 * max(stack[1:])) for d in distance)
    least = min(distance)
    return *((least / d) ** 2 for d in (least, *distance)[-3:]), least**2


def _fitted(
    size: tuple[int, ...], margins: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cut windows and margins down to what an image has."""
    window = tuple(sum(min(r, n - 1) for r in reach(k)) + 1 for k, n in zip(size, shape, strict=True))
    return window, tuple(min(m, shape[k // 2]) for k, m in enumerate(margins))


def find_peaks(
    image: DeviceArray,
    mask: DeviceArray | None,
    background: DeviceArray | None,
    sigma: DeviceArray | None,
    *,
    search: PeakSearch,
    refinement: Refinement,
) -> tuple[DeviceArray, ...]:
    """Find and refine the peaks of a stack of images; return positions, values, pixels, flags and frames.

    They are in order of images, the strongest first.
    """
    found = _candidates(image, mask, background, sigma, search)
    frames, starts = _unravelled(found, image.shape[1:])
    coords, values, flags = refine(image, frames, starts, mask, refinement)
    _settle(image, found, coords, values, flags)
    return coords, values, starts, flags, frames


def _candidates(
    x: DeviceArray,
    mask: DeviceArray | None,
    background: DeviceArray | None,
    sigma: DeviceArray | None,
    search: PeakSearch,
) -> Candidates:
    """Find the window extrema of a stack of images that are to be reported, image by image, the strongest first."""
    size, margins, absolute, relative, plateau, minima, distance, most = search
    levels = None
    if background is not None or sigma is not None:
        levels = (np.zeros(1) if background is None else background, np.ones(1) if sigma is None else sigma)
    s = _Search(x, mask, levels)
    if x.size == 0:
        return _nothing(s.device, s.axes)
    window, border = _fitted((1, *size)[-3:], (0, 0, *margins)[-6:], s.stack[1:])
    limits = s.tops(relative, minima), relative or 0.0, -math.inf if absolute is None else absolute
    of_values = limits if levels is None else (None, 0.0, -math.inf)
    s.mark(window, border, of_values, minima)
    plateaus: Plateaus | None = None
    if plateau != "drop":
        plateaus = mark_plateaus(s.device, s.given, window, border, of_values, minima, s.codes)
    if levels is not None:
        s.drop_low(limits)
    if distance is not None:
        s.keep_apart(distance)
    found, kept, of_images = s.collect(most)
    rows = s.sort(found)
    if most is not None:
        rows = s.cut(rows, found, kept, most, of_images)
    centroids = None
    if plateaus is not None and plateau == "centroid":
        centroids = plateaus.centroids(found.indices, found.flags, s.axes)[rows]
    return Candidates(found.indices[rows], found.frames[rows], found.flags[rows], centroids)


def _nothing(device: Device, axes: int) -> Candidates:
    indices, frames = device.empty((0,), np.int64), device.empty((0,), np.int64)
    return Candidates(indices, frames, device.empty((0,), np.int32), device.empty((0, axes), np.float64))


def _unravelled(found: Candidates, shape: tuple[int, ...]) -> tuple[DeviceArray, DeviceArray]:
    """Return the images and the positions of candidates."""
    places = device_of(found.indices).empty((found.indices.shape[0], len(shape)), np.int64)
    rest = found.indices
    for axis in range(len(shape) - 1, -1, -1):
        places[:, axis] = rest % max(shape[axis], 1)
        rest = rest // max(shape[axis], 1)
    return found.frames, places


def _settle(x: DeviceArray, found: Candidates, coords: DeviceArray, values: DeviceArray, flags: DeviceArray) -> None:
    """Put the flags of candidates beside those of their refinement, and plateaus to their centroids."""
    count, axes = coords.shape
    device, own = device_of(x), None
    if found.centroids is not None:
        own = x.reshape(-1)[found.indices].astype(np.float64)
    kernel = Kernel.of("candidates", "candidates_settle", Real=np.float64)
    run(device, kernel, blocks_for(count), found.flags, found.centroids, own, count, axes, coords, values, flags)
