"""Peaks as lists, on the GPU: one byte per pixel for extrema, which are counted, collected, kept apart and sorted.

The host waits for the GPU where it needs the length of a list: once, and once more each for plateaus, to keep peaks
apart, and to merge those that refinement moved to one place.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from npsubpix._cuda.launch.arrays import native
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._cuda.nms import strips
from npsubpix._cuda.peaks.border import PIXEL_DTYPES, PixelValues, highest_in_border
from npsubpix._cuda.peaks.duplicates import flag_duplicates, sorted_rows, unique_rows
from npsubpix._cuda.peaks.plateaus import Plateaus, mark_plateaus
from npsubpix._cuda.refinement import fold, refine
from npsubpix._cuda.refinement.blends import flag_blends
from npsubpix._definitions.nms import clipped_margins, clipped_reach
from npsubpix._definitions.peaks import (
    PeakSearch,
    by_centre,
    distance_weights,
    has_first,
    periods_around,
    wider_periods,
    windows_of,
    with_defaults,
)
from npsubpix._definitions.periodic import repeated
from npsubpix._definitions.refinement import Refinement, noise_of, unset_errors

__all__ = ["Candidates", "candidates", "find_peaks"]

register("peaks", each("Pixel", ("UInt8", "UInt16", "Int64", "UInt64", *FLOATS)))
register("candidates", each("Real", ("double",)), fused=False)

#: Pixels that one block counts.
_PART = 4096

#: Rounds in which peaks are kept apart by the whole grid, before one block per image continues with the undecided.
_ROUNDS = 8


def find_peaks(
    image: DeviceArray,
    searched: DeviceArray | None,
    mask: DeviceArray | None,
    background: DeviceArray | None,
    sigma: DeviceArray | None,
    error: DeviceArray | None = None,
    offset: DeviceArray | None = None,
    electrons_per_count: DeviceArray | None = None,
    read_variance: DeviceArray | None = None,
    psf: DeviceArray | None = None,
    *,
    search: PeakSearch,
    refinement: Refinement,
) -> tuple[DeviceArray | None, ...]:
    """Find and refine the peaks of a stack of images, or find them in another one, `searched`, and refine them in it.

    Return positions, values, pixels, flags, frames and errors, in order of images, the strongest first; and of each
    image the value of the highest peak in the border that was left out, if it is higher than all others.
    """
    merging = search.duplicates == "merge" and refinement.method is not None
    searched = image if searched is None else searched
    found = candidates(searched, mask, background, sigma, search._replace(num_peaks=None) if merging else search)
    shape = image.shape[1:]
    starts = device_of(image).empty((found.indices.shape[0], len(shape)), np.int64)
    frames = _unravel(found.indices, shape, starts)
    noise = noise_of(error, offset, electrons_per_count, read_variance)
    coords, values, flags, errors, reach = refine(image, frames, starts, mask, refinement, noise, psf)
    _settle(image, found, search.plateau, refinement, starts, coords, values, flags)
    unset_errors(errors, reach, flags, search.plateau)
    if search.wrap:
        fold(coords, shape)
    if refinement.method is not None:
        flag_duplicates(device_of(image), coords, flags, frames, shape, search.wrap)
    columns: tuple[DeviceArray | None, ...] = (coords, values, starts, flags, frames, errors, reach)
    if merging and image.size:
        rows = unique_rows(device_of(image), flags, frames, found.counts, search.num_peaks)
        columns = tuple(None if column is None else column[rows] for column in columns)
    coords, values, starts, flags, frames, errors, reach = columns
    if reach is not None:
        flag_blends(device_of(image), flags, starts, frames, reach, shape, search.wrap)
    border = highest_in_border(searched, mask, background, sigma, search, frames, starts, flags)
    return coords, values, starts, flags, frames, errors, border


class Candidates(NamedTuple):
    """Pixels that may be reported as peaks, image by image, the strongest first."""

    indices: DeviceArray  # flat, in the stack
    flags: DeviceArray
    centres: DeviceArray | None = None  # of plateaus; NaN for all others
    extents: DeviceArray | None = None  # number of pixels of plateaus, and lengths along z, y and x; else 1
    counts: DeviceArray | None = None  # of each image, before `num_peaks` are selected


def candidates(
    x: DeviceArray,
    mask: DeviceArray | None,
    background: DeviceArray | None,
    sigma: DeviceArray | None,
    search: PeakSearch,
) -> Candidates:
    """Find the window extrema of a stack of images that are to be reported, image by image, the strongest first."""
    background, noise = with_defaults(background, sigma)
    shape, pads = x.shape[1:], (0,) * (x.ndim - 1)
    if x.size == 0:
        return _nothing(device_of(x), len(shape))
    if not search.wrap:
        return _candidates(x, mask, background, noise, search, pads)
    wider: tuple[int, ...] | None = periods_around(search, shape)
    while wider is not None:
        pads = wider
        found = _candidates(x, mask, background, noise, search, pads)
        wider = None if found.extents is None else wider_periods(pads, shape, found.extents[:, -len(shape) :])
    return found


def _candidates(
    x: DeviceArray,
    mask: DeviceArray | None,
    background: DeviceArray | None,
    noise: DeviceArray | None,
    search: PeakSearch,
    pads: tuple[int, ...],
) -> Candidates:
    """Find candidates, of periodic images among as many pixels around them."""
    s = _Search(x, mask, background, noise)
    thresholds = s.thresholds(search)
    of_values = thresholds if background is None else _Thresholds()
    shape, wide = x.shape[1:], s
    if search.wrap:
        wide_mask = None if s.mask is None else repeated(s.mask, pads, s.device.put)
        wide = _Search(repeated(x, pads, s.device.put), wide_mask, None, None)
        search = search._replace(size=windows_of(search, shape), margins=(0,) * (2 * s.axes))
    plateaus = _mark(wide, search, of_values)
    if wide is not s:
        s.codes = _cropped(s.device, wide.codes.reshape(s.images, *wide.x.shape[1:]), pads, shape).reshape(-1)
    if background is not None:
        s.drop_low(thresholds)
    if search.min_distance is not None:
        s.keep_apart(search.min_distance, search.wrap)
    found, kept, counts = s.collect(search.num_peaks)
    rows = s.sort(found)
    if search.num_peaks is not None:
        rows = s.cut(rows, found, kept, search.num_peaks, counts)
    if plateaus is None:
        return Candidates(found.indices[rows], found.flags[rows], None, None, counts)
    places = found.indices if wide is s else _repeated_places(found.indices, shape, pads)
    centres, extents = plateaus.described(places, found.frames, found.flags, s.axes)
    if wide is not s:
        centres -= s.device.put(np.array(pads, np.float64))
    return Candidates(found.indices[rows], found.flags[rows], centres[rows], extents[rows], counts)


def _mark(s: _Search, search: PeakSearch, thresholds: _Thresholds) -> Plateaus | None:
    """Write the codes of the extrema of a stack above thresholds of values; return its plateaus if they are wanted."""
    window, margins = _clipped((1, *search.size)[-3:], (0, 0, *search.margins)[-6:], s.stack[1:])
    s.mark(window, margins, thresholds, search.minima)
    if search.plateau == "drop":
        return None
    plateaus = mark_plateaus(
        s.device, s.x, s.mask, s.stack, window=window, margins=margins, thresholds=thresholds,
        minima=search.minima, contest=has_first(search), codes=s.codes,
    )  # fmt: skip
    if search.plateau == "centroid":  # not refined, so that their widths do not matter
        plateaus = plateaus._replace(ends=None)
        if not by_centre(search):
            return plateaus
    found, _, _ = s.collect(None)
    if search.plateau != "centroid":
        plateaus.find_ceilings(found.indices, found.frames, found.flags)
    if by_centre(search):
        plateaus.move_to_centres(found.indices, found.flags, s.codes)
    return plateaus


def _cropped(device: Device, x: DeviceArray, pads: tuple[int, ...], shape: tuple[int, ...]) -> DeviceArray:
    """Copy a stack of images without the pixels that were repeated around them."""
    within = (slice(None), *(slice(p, p + n) for p, n in zip(pads, shape, strict=True)))
    inner = x[within]
    return device.rows(inner, inner.shape, x.dtype)


def _repeated_places(indices: DeviceArray, shape: tuple[int, ...], pads: tuple[int, ...]) -> DeviceArray:
    """Return the flat indices of pixels in images with repeated pixels around them."""
    places, strides = 0, 1
    for pad, count in zip(pads[::-1], shape[::-1], strict=True):
        places = places + (indices % count + pad) * strides
        indices = indices // count
        strides *= count + 2 * pad
    return places + indices * strides


def _clipped(
    size: tuple[int, ...], margins: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Clip windows and margins to the shape of an image."""
    reach = clipped_reach(size, shape)
    lengths = tuple(before + after + 1 for before, after in zip(reach[::2], reach[1::2], strict=True))
    return lengths, clipped_margins(margins, shape)


def _nothing(device: Device, axes: int) -> Candidates:
    indices, flags = device.empty((0,), np.int64), device.empty((0,), np.int32)
    return Candidates(indices, flags, device.empty((0, axes), np.float64), device.empty((0, 4), np.int64))


def _settle(
    x: DeviceArray,
    found: Candidates,
    plateau: str,
    refinement: Refinement,
    starts: DeviceArray,
    coords: DeviceArray,
    values: DeviceArray,
    flags: DeviceArray,
) -> None:
    """Add the flags of candidates to those of their refinement; reject fits on plateaus too wide for the method.

    Plateaus that are not refined are set to their centres.
    """
    count, axes = coords.shape
    pixels = None
    if found.centres is not None:
        pixels = x.reshape(-1)[found.indices].astype(np.float64)
    kernel = Kernel.of("candidates", "candidates_settle", Real=np.float64)
    to_centre = plateau == "centroid" or (plateau == "refine" and refinement.method is not None)
    rules = *refinement.widest_plateau, plateau != "centroid", to_centre
    arguments = found.flags, found.centres, found.extents, pixels, starts, *rules, count, axes, coords, values, flags
    run(device_of(x), kernel, blocks_for(count), *arguments)


class _Thresholds(NamedTuple):
    """Thresholds as kernels take them: of an image, the greater of the least height and a share of its greatest."""

    tops: DeviceArray | None = None  # greatest heights of images, then of negated ones
    relative: float = 0.0
    absolute: float = -math.inf


class _Table(NamedTuple):
    """Candidates in memory order, and the keys by which they are sorted."""

    indices: DeviceArray
    frames: DeviceArray
    flags: DeviceArray
    majors: DeviceArray
    minors: DeviceArray

    @property
    def size(self) -> int:
        return int(self.indices.shape[0])


class _Search:
    """A stack of images in which peaks are sought, and the codes of its pixels."""

    def __init__(self, x: DeviceArray, mask: DeviceArray | None, background: Any, noise: Any) -> None:
        self.device = device_of(x)
        self.axes, self.images = x.ndim - 1, x.shape[0]
        self.x = native(x, PIXEL_DTYPES)
        self.mask = None if mask is None else self.device.rows(mask, x.shape, bool)
        self.stack = (self.images, *(1,) * (4 - x.ndim), *x.shape[1:])
        self.pixels = math.prod(self.stack[1:])
        self.parts = blocks_for(self.pixels, each=_PART)
        self.background = PixelValues.of(self.device, background)
        self.noise = PixelValues.of(self.device, noise)
        self.codes = self.device.empty((x.size,), np.uint8)

    def run(self, name: str, blocks: int, *arguments: Any, file: str = "peaks") -> None:
        """Launch a kernel."""
        types = {"Real": np.float64} if file == "candidates" else {"Pixel": self.x.dtype}
        run(self.device, Kernel.of(file, f"{file}_{name}", **types), blocks, *arguments)

    def thresholds(self, search: PeakSearch) -> _Thresholds:
        """Return thresholds of values, or of heights above a background."""
        absolute = -math.inf if search.threshold_abs is None else search.threshold_abs
        if search.threshold_rel is None:
            return _Thresholds(absolute=absolute)
        signs = 1 + search.minima
        tops = self.device.empty((signs, self.images, self.parts), np.float64)
        blocks = blocks_for(signs * self.images * self.parts, each=1)
        arguments = *self.background, search.minima, self.parts, _PART, tops
        self.run("tops", blocks, self.x, self.mask, *self.stack, *arguments)
        return _Thresholds(tops.max(2), search.threshold_rel, absolute)

    def mark(self, window: tuple[int, ...], margins: tuple[int, ...], thresholds: _Thresholds, minima: bool) -> None:
        """Write the codes of strict extrema."""
        axes, arguments = self.axes, (*margins, *thresholds, minima, self.codes)
        if self.mask is None and window[3 - axes :] == (3,) * axes and min(margins[6 - 2 * axes :]) >= 1:
            self.run("near", blocks_for(strips(self.stack)), self.x, self.mask, *self.stack, axes == 3, *arguments)
        else:
            self.run("window", blocks_for(self.x.size), self.x, self.mask, *self.stack, *window, *arguments)

    def drop_low(self, thresholds: _Thresholds) -> None:
        """Clear the codes of candidates that are not high enough above the background."""
        arguments = *self.background, *self.noise, *thresholds, self.codes
        self.run("above", blocks_for(self.x.size), self.x, self.images, self.pixels, *arguments)

    def collect(self, num_peaks: int | None) -> tuple[_Table, int, DeviceArray]:
        """Return the candidates, how many are among the first `num_peaks` of their image, and the counts of images.

        Waits for the GPU, to know how many there are.
        """
        counts = self.device.empty((self.images * self.parts,), np.int64)
        blocks, parts = blocks_for(self.images * self.parts, each=1), (self.parts, _PART)
        self.run("count", blocks, self.codes, self.images, self.pixels, *parts, counts, file="candidates")
        of_images = counts.reshape(self.images, self.parts).sum(1)
        lengths = self.device.empty((2,), np.int64)
        lengths[:1] = of_images.sum(0, keepdims=True)
        lengths[1:] = of_images.clip(0, num_peaks).sum(0, keepdims=True)
        count, kept = lengths.tolist()  # the wait
        dtypes = np.int64, np.int64, np.int32, np.uint64, np.uint64
        table = _Table(*(self.device.empty((count,), dtype) for dtype in dtypes))
        blocks = blocks if count else 0
        where = *parts, counts, counts.cumsum()
        arguments = *self.background, *self.noise, *where, *table
        self.run("collect", blocks, self.x, self.codes, self.images, self.pixels, *arguments)
        return table, kept, of_images

    def keep_apart(self, min_distance: tuple[float, ...], wrap: bool) -> None:
        """Clear the codes of candidates too close to stronger ones, of maxima and of minima. Waits for the GPU."""
        found, _, _ = self.collect(None)
        images, depth, height, width = self.stack
        starts = self.device.empty((images * depth * height + 1,), np.int64)
        rows = starts.shape[0] - 1
        self.run("rows", blocks_for(rows + 1), found.indices, found.size, rows, width, starts, file="candidates")
        states = self.device.full((found.size,), 0, np.uint8)
        weights, limit = distance_weights(min_distance, self.stack[1:])
        arguments = *found, found.size, starts, depth, height, width, *weights, limit, wrap, states
        for _ in range(_ROUNDS):
            self.run("separate", blocks_for(found.size), *arguments, file="candidates")
        blocks = blocks_for(images, each=1) if found.size else 0
        self.run("separate_undecided", blocks, *arguments, images, file="candidates")
        strike = found.indices, found.flags, found.size, states, self.codes
        self.run("strike", blocks_for(found.size), *strike, file="candidates")

    def sort(self, found: _Table) -> DeviceArray:
        """Return the rows of candidates image by image, the strongest first; of equal ones the first in memory."""
        return sorted_rows(self.device, found.frames, found.majors, found.minors)

    def cut(self, rows: DeviceArray, found: _Table, kept: int, num_peaks: int, counts: DeviceArray) -> DeviceArray:
        """Return the first rows of each image, `kept` in all."""
        out = self.device.empty((kept,), np.int64)
        ends = counts.cumsum(), counts.clip(0, num_peaks).cumsum()
        self.run("cut", blocks_for(found.size), rows, found.frames, *ends, found.size, out, file="candidates")
        return out


def _unravel(indices: DeviceArray, shape: tuple[int, ...], positions: DeviceArray) -> DeviceArray:
    """Write the positions of flat indices into a stack of images of a shape; return the image of each."""
    for axis in range(len(shape) - 1, -1, -1):
        positions[:, axis] = indices % max(shape[axis], 1)
        indices = indices // max(shape[axis], 1)
    return indices
