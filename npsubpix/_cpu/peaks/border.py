"""The border of images in which no peaks are reported: its highest peaks, so that none is left out in silence."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import Kernel, device, inlined, kernel
from npsubpix._cpu.peaks.extrema import last_below
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.nms import clipped_margins
from npsubpix._definitions.peaks import PeakSearch, with_defaults

__all__ = ["highest_in_border"]

_MINIMUM = int(PeakFlags.MINIMUM)

_ROWS = 64  # of an image, a unit of parallel work


@device
def _is_maximum(x, mask, d, i, j):
    """Whether no neighbour of a pixel is greater, and one is less."""
    depth, height, width = x.shape
    v = x[d, i, j]
    below = False
    for a in range(max(d - 1, 0), min(d + 2, depth)):
        for b in range(max(i - 1, 0), min(i + 2, height)):
            for c in range(max(j - 1, 0), min(j + 2, width)):
                if mask.size == 0 or not mask[a, b, c]:
                    if x[a, b, c] > v:
                        return False
                    below |= x[a, b, c] < v
    return below


@device
def _value(row, j, level, noise, places, threshold):
    return row[j], 0.0


@device
def _at(pixels, place, j):
    """Background or noise at column j of a row: one number for all, or one per pixel of an image or of a stack."""
    return pixels[place + j if pixels.size > 1 else 0]


@device
def _height(row, j, level, noise, places, threshold):
    """Return the height in units of the noise, and where that is infinite the height; NaN if it is no peak."""
    above, sigma = np.float64(row[j]) - _at(level, places[0], j), np.float64(_at(noise, places[1], j))
    exceeds = above > threshold * sigma or (threshold == -math.inf and above == above)
    if not (sigma >= 0.0 and exceeds):
        return math.nan, 0.0
    if sigma == 0.0:
        return (-math.inf if above < 0.0 else math.inf), above
    strength = above / sigma
    return strength, (above if math.isinf(strength) else 0.0)


@inlined
def _is_higher(one, other):
    return (one[0] > other[0]) | ((one[0] == other[0]) & (one[1] > other[1]))


@inlined
def _places_of(row, level, noise):
    """Return where a row begins in background and in noise, from where it does in the stack; 0 for one number."""
    return row % level.size, row % noise.size


def _border_kernel(name: str, measure: Callable[..., Any]) -> Kernel:
    """Make the kernel that finds what is higher than all peaks by a measure of the pixels of a row."""

    @device
    def highest(x, mask, d, i, begin, end, level, noise, places, threshold, best):
        """Return the column of the highest maximum of a row that is higher than `best`, else -1; and `best`.

        It is sought outside the columns from `begin` to `end`. `places` are those of the row in background and noise.
        """
        column = -1
        row = x[d, i]
        any_higher = False
        for j in range(begin):
            any_higher |= _is_higher(measure(row, j, level, noise, places, threshold), best)
        for j in range(end, row.size):
            any_higher |= _is_higher(measure(row, j, level, noise, places, threshold), best)
        for k in range(begin + row.size - end if any_higher else 0):
            j = k if k < begin else k - begin + end
            own = measure(row, j, level, noise, places, threshold)
            if _is_higher(own, best) and not (mask.size > 0 and mask[d, i, j]) and _is_maximum(x, mask, d, i, j):
                column, best = j, own
        return column, best

    @kernel(f"border_{name}")
    def border(x, mask, level, noise, threshold, margins, frames, starts, flags, least, second, columns, out):
        images, depth, height, width = x.shape
        front, back, top, bottom, left, right = margins
        tops, seconds = np.empty(images, least.dtype), np.empty(images)
        for b in range(images):
            tops[b], seconds[b] = least[0], second
        last = -1
        for k in range(frames.size):
            b = frames[k]
            if b != last and flags[k] & _MINIMUM == 0:  # the highest maximum of an image
                last = b
                d, i = (starts[k, 0] if starts.shape[1] == 3 else 0), starts[k, starts.shape[1] - 2]
                j = starts[k, starts.shape[1] - 1]
                of_row = _places_of(((b * depth + d) * height + i) * width, level, noise)
                tops[b], seconds[b] = measure(x[b, d, i], j, level, noise, of_row, -math.inf)
        parts = (height + _ROWS - 1) // _ROWS
        for unit in prange(images * depth * parts):
            plane = unit // parts
            b, d, first = plane // depth, plane % depth, unit % parts * _ROWS
            lent, hidden, of_level, of_noise = lend(x), lend(mask), lend(level), lend(noise)
            image, seen = lent[b], hidden[b if mask.size > 0 else 0]
            for i in range(first, min(first + _ROWS, height)):
                r = plane * height + i
                inner = (front <= d) & (d < depth - back) & (top <= i) & (i < height - bottom) & (left + right < width)
                begin, end = (left, width - right) if inner else (width, width)
                places, best = _places_of(r * width, of_level, of_noise), (tops[b], seconds[b])
                found = highest(image, seen, d, i, begin, end, of_level, of_noise, places, threshold, best)
                columns[r] = found[0]
            keep(x)
            keep(mask)
            keep(level)
            keep(noise)
        for b in range(images):
            out[b] = math.nan
            best = tops[b], seconds[b]
            for r in range(b * depth * height, (b + 1) * depth * height):
                j = columns[r]
                if j >= 0:
                    line = x[b, r // height % depth, r % height]
                    own = measure(line, j, level, noise, _places_of(r * width, level, noise), threshold)
                    if _is_higher(own, best):
                        best, out[b] = own, line[j]

    return border


_border_of_values, _border_of_heights = _border_kernel("values", _value), _border_kernel("heights", _height)

_NO_MASK = np.zeros((1, 0, 0, 0), bool)
_NOTHING = np.zeros(1)
_LEAST = np.full(1, -math.inf)
_WORK_OF_PIXEL, _WORK_OF_ROW = 20, 100

_FEW = 1 << 15  # pixels of a border whose indices are kept


@functools.lru_cache(maxsize=64)
def _margins_of(shape: tuple[int, ...], margins: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Return the margins of an image of a shape, along depth, rows and columns, and how many pixels lie in them."""
    margins = clipped_margins(margins, shape)
    inner = (max(n - margins[2 * k] - margins[2 * k + 1], 0) for k, n in enumerate(shape))
    return (0, 0, *margins)[-6:], math.prod(shape) - math.prod(inner)


@functools.lru_cache(maxsize=64)
def _indices_of(shape: tuple[int, ...], margins: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Return the flat indices of the pixels in the margins of an image of a shape."""
    in_margins = np.ones(shape, bool)
    in_margins[tuple(slice(m, max(n - k, 0)) for n, m, k in zip(shape, margins[::2], margins[1::2], strict=True))] = (
        False
    )
    return np.flatnonzero(in_margins)


def _any_higher(
    x: HostArray,
    indices: npt.NDArray[np.intp],
    frames: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    least: HostArray,
) -> bool:
    """Whether a pixel of a border, which may be no peak, is higher than all maxima of its image and than `least`.

    Mostly none is: in less time than the kernel takes, and without the second that it takes to compile.
    """
    if len(x) == 1:
        top = x[0][tuple(starts[0])] if frames.size else least[0]
        return bool(np.fmax.reduce(x.reshape(-1)[indices]) > top)
    tops = np.full(len(x), least[0])
    firsts = np.flatnonzero(np.append(True, frames[1:] != frames[:-1])[: frames.size])
    tops[frames[firsts]] = x[tuple(np.column_stack([frames[firsts], starts[firsts]]).T)]
    return bool((np.fmax.reduce(x.reshape(len(x), -1).take(indices, axis=1), axis=1) > tops).any())


def highest_in_border(
    x: HostArray,
    mask: HostArray | None,
    background: HostArray | None,
    sigma: HostArray | None,
    search: PeakSearch,
    frames: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    flags: npt.NDArray[np.int32],
) -> npt.NDArray[np.float64] | None:
    """Return the value of the highest peak in the margins of each image, if it is higher than all peaks, else NaN.

    It is a peak if no neighbour is greater and one is less, and if it exceeds `threshold_abs`. With background or
    noise, the highest is the one of the greatest height in units of the noise. The peaks that were found are given by
    their frames, pixels and flags, the highest of each frame first. None if there are no margins.
    """
    if search.wrap or x.size == 0:
        return None
    margins, pixels = _margins_of(x.shape[1:], search.margins)
    if pixels == 0:
        return None
    images = len(x)
    background, noise = with_defaults(background, sigma)
    if background is None or noise is None:
        border, background, noise, threshold = _border_of_values, _NOTHING, _NOTHING, 0.0
        least, second = last_below(x.dtype, search.threshold_abs), 0.0
    else:
        border, least, second = _border_of_heights, _LEAST, -math.inf
        threshold = -math.inf if search.threshold_abs is None else search.threshold_abs
    volume = x.reshape(images, *(1, *x.shape[1:])[-3:])
    if border is _border_of_values and pixels <= _FEW:
        rows = flags & _MINIMUM == 0 if search.minima else slice(None)
        if not _any_higher(x, _indices_of(volume.shape[1:], margins), frames[rows], starts[rows], least):
            return np.full(images, math.nan)
    columns, out = np.empty(x.size // x.shape[-1], np.int64), np.empty(images)
    hidden = _NO_MASK if mask is None else mask.reshape(volume.shape)
    peaks = frames, starts, flags, least, second
    work = _WORK_OF_PIXEL * images * pixels + _WORK_OF_ROW * columns.size
    border.run(work, volume, hidden, background, noise, threshold, margins, *peaks, columns, out)
    return out
