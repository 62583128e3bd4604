"""Extrema of stacks of images: find them, compare them with thresholds, collect them."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import trailing_zeros
from npsubpix._cpu.compiler.jit import device, is_serial, kernel
from npsubpix._cpu.nms import codes_of_extrema, limits, no_limits
from npsubpix._cpu.peaks.narrowing import are_narrowed, narrow
from npsubpix._cpu.peaks.plateaus import find_plateaus, mark_seeds
from npsubpix._definitions.constants import MOST_TIED
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.peaks import CLIPPED, PeakSearch, by_centre, has_first

__all__ = ["Candidates", "find_extrema", "images_of", "last_below", "may_be_alone", "merged", "unravel"]

# Bits of the codes of pixels.
_MINIMUM = 2
_STRICT = 3  # a maximum or a minimum; others are seeds of plateaus

_PLATEAU, _LOW = int(PeakFlags.PLATEAU), int(PeakFlags.MINIMUM)

_WORDS = 8192  # a unit of parallel work: 64 KB of codes

_ROOM, _ROOM_OF_UNIT = 1024, 8192  # for indices, at first: of a search by one thread, and of a unit


class Candidates(NamedTuple):
    """Pixels that may be reported as peaks, in memory order."""

    indices: npt.NDArray[np.int64]  # flat, in the stack
    strength: npt.NDArray[np.floating[Any]]  # value, or height in units of the noise; of a minimum negated
    flags: npt.NDArray[np.int32]
    centres: npt.NDArray[np.float64] | None = None  # of plateaus; NaN for all others
    extents: npt.NDArray[np.int64] | None = None  # number of pixels of plateaus, and lengths along z, y and x; else 1

    def take(self, rows: Any) -> Candidates:
        """Select rows."""
        columns: list[Any] = [None if column is None else column[rows] for column in self]
        return Candidates(*columns)


class _Codes(NamedTuple):
    """What is known of each pixel of a stack, as bits of one byte."""

    padded: npt.NDArray[np.uint8]  # to a multiple of eight
    of_pixels: npt.NDArray[np.uint8]
    seeds: int | None  # how many pixels may belong to plateaus; None if these are not marked


_ONES = np.uint64(0x0101010101010101)


@device
def _search(words, begin, last, indices):
    """Write the indices of the extrema as far as there is room; count these, and the seeds of plateaus."""
    found, seeds = np.uint64(0), np.uint64(0)
    for first in range(begin, last, 8):
        if first + 8 <= last:
            any_marked = np.uint64(0)
            for step in range(8):
                any_marked |= words[np.uint64(first) + np.uint64(step)]  # unsigned: none is counted from the end
            if any_marked == 0:
                continue
        for k in range(first, min(first + 8, last)):
            word = words[k]
            strict = (word | word >> np.uint64(1)) & _ONES
            seeds += ((word >> np.uint64(2) | word >> np.uint64(3)) & _ONES) * _ONES >> np.uint64(56)
            if found + np.uint64(8) > np.uint64(indices.size):
                found += strict * _ONES >> np.uint64(56)
                continue
            while strict != 0:
                indices[found] = 8 * k + np.int64(trailing_zeros(strict) >> np.uint64(3))
                found += np.uint64(1)
                strict &= strict - np.uint64(1)
    return found, seeds


@kernel("search_codes")
def _search_kernel(words, length, indices, counts):
    """Write the indices of the extrema of each unit of words, see `_search`, and the counts."""
    for unit in prange(counts.shape[0]):
        begin = unit * length
        found, seeds = _search(words, begin, min(begin + length, words.size), indices[unit])
        counts[unit, 0], counts[unit, 1] = found, seeds


def unravel(
    indices: npt.NDArray[np.int64], shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the image of each flat index into a stack of images of a shape, and its position there."""
    positions = np.empty((indices.size, len(shape)), np.int64)
    for axis in reversed(range(len(shape))):
        lines = indices // shape[axis]
        np.subtract(indices, lines * shape[axis], out=positions[:, axis])
        indices = lines
    return indices, positions


def _strength_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return a floating type that ranks values exactly; on x86 a long double holds all integers of 64 bits."""
    return np.longdouble if dtype.kind in "iu" and dtype.itemsize == 8 else np.float64


def _positions(codes: npt.NDArray[np.uint8], words: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], int]:
    """Return the flat indices of the extrema, ascending, and the number of seeds."""
    length, room = (max(words.size, 1), _ROOM) if is_serial(codes.size) else (_WORDS, _ROOM_OF_UNIT)
    units = max((words.size + length - 1) // length, 1)
    while True:
        indices, counts = np.empty((units, room), np.int64), np.empty((units, 2), np.int64)
        _search_kernel.run(codes.size, words, length, indices, counts)
        found, seeds = counts.T.tolist()
        most = max(found)
        if most <= room - 8:  # without room for all pixels of a word, they are counted only
            parts = [part[:count] for part, count in zip(indices, found, strict=True)]
            return parts[0] if units == 1 else np.concatenate(parts), sum(seeds)
        room = most + 8


def _strict(
    x: HostArray,
    size: tuple[int, ...],
    margins: tuple[int, ...],
    low: HostArray,
    high: HostArray | None,
    plateaus: bool,
    *,
    by_threes: bool = True,
) -> tuple[Candidates, _Codes]:
    """Find the strict maxima of at least `low` and, unless that is None, the strict minima of at most `high`.

    Return them, and the codes of pixels. Those of small windows are sought among extrema of three pixels, if
    `by_threes`: plateaus may then begin with more pixels.
    """
    padded = np.empty((x.size + 7) // 8 * 8, np.uint8)
    if padded.size > x.size:
        padded[x.size :] = 0
    codes = padded[: x.size]
    narrowed = by_threes and are_narrowed(size, margins)
    near = (3,) * len(size) if narrowed else size
    marked = codes_of_extrema(x, near, margins, low, high, codes.reshape(x.shape), seeds=plateaus)
    if narrowed:
        narrow(x, size, padded)
    indices, seeds = _positions(codes, padded.view(np.uint64))
    strength = x.reshape(-1)[indices].astype(_strength_type(x.dtype))
    flags = np.zeros(indices.size, np.int32)
    if high is not None:
        minima = (codes[indices] & _MINIMUM) != 0
        strength[minima] *= -1
        flags[minima] = PeakFlags.MINIMUM
    return Candidates(indices, strength, flags), _Codes(padded, codes, seeds if marked else None)


def _thresholds(x: HostArray, absolute: float | None, relative: float | None, sign: int) -> list[float]:
    """Return the threshold of each image, which ``sign * value`` has to exceed."""
    least = -math.inf if absolute is None else absolute
    if relative is None:
        return [least] * len(x)
    largest = np.fmax if sign > 0 else np.fmin
    tops = largest.reduce(x, axis=tuple(range(1, x.ndim)), initial=None if x.size else 0)
    # NaN for an image of NaN alone, first so that it stays: nothing exceeds it.
    return [max(relative * sign * float(top), least) for top in tops]


@functools.lru_cache(maxsize=64)
def _bound(dtype: np.dtype[Any], threshold: float, sign: int) -> Any:
    """Return the first value of a dtype beyond a threshold; None if there is none."""
    if threshold != threshold or threshold == math.inf:
        return None
    if dtype.kind == "f":
        # Clipped first: NumPy warns of an overflow when it is rounded to infinity.
        greatest = float(np.finfo(dtype).max)
        inside = -greatest <= threshold <= greatest
        value = dtype.type(sign * threshold if inside else math.copysign(math.inf, sign * threshold))
        return value if sign * float(value) > threshold else np.nextafter(value, dtype.type(sign * math.inf))
    least, greatest = limits(dtype).tolist()
    if threshold == -math.inf:
        return least if sign > 0 else greatest
    value = sign * (math.floor(threshold) + 1)
    if not least <= value <= greatest:
        return None if (value > greatest) == (sign > 0) else (least if sign > 0 else greatest)
    return value


@functools.lru_cache(maxsize=64)
def last_below(dtype: np.dtype[Any], threshold: float | None) -> HostArray:
    """Return the greatest value of a dtype that does not exceed a threshold, or its least one, as an array."""
    least, greatest = limits(dtype)
    first = least if threshold is None else _bound(dtype, threshold, 1)
    if first is None:
        return np.array([greatest])
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # -inf may be what precedes
            return np.array([np.nextafter(first, least)])
    return np.array([max(int(first) - 1, int(least))], dtype)


def _bounds(
    x: HostArray, absolute: float | None, relative: float | None, sign: int
) -> tuple[HostArray, npt.NDArray[np.bool_] | None]:
    """Return the first value of each image beyond its threshold, and which images have none, if any."""
    if absolute is None and relative is None:
        return no_limits(x.dtype, len(x))[0 if sign > 0 else 1], None
    if relative is None:
        return _equal_bounds(x.dtype, absolute, len(x), sign)
    return _bounds_beyond(x.dtype, _thresholds(x, absolute, relative, sign), sign)


@functools.lru_cache(maxsize=64)
def _equal_bounds(
    dtype: np.dtype[Any], threshold: float, images: int, sign: int
) -> tuple[HostArray, npt.NDArray[np.bool_] | None]:
    """Return the bounds of images that have one threshold; kernels read them only."""
    return _bounds_beyond(dtype, [threshold] * images, sign)


def _bounds_beyond(
    dtype: np.dtype[Any], thresholds: list[float], sign: int
) -> tuple[HostArray, npt.NDArray[np.bool_] | None]:
    bounds = [_bound(dtype, t, sign) for t in thresholds]
    if None not in bounds:
        return np.array(bounds, dtype), None
    open_end = limits(dtype)[0 if sign > 0 else 1]
    values = [open_end if bound is None else bound for bound in bounds]
    return np.array(values, dtype), np.array([bound is None for bound in bounds])


def images_of(x: HostArray, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the image of each flat index into a stack."""
    images: npt.NDArray[np.int64] = indices // max(x[0].size, 1)
    return images


def find_extrema(x: HostArray, search: PeakSearch, signs: tuple[int, ...]) -> Candidates:
    """Find maxima, for a sign of 1, and minima, for -1, above the thresholds of values; plateaus too if wanted."""
    thresholds = search.threshold_abs, search.threshold_rel
    low, no_maxima = _bounds(x, *thresholds, 1)
    high, no_minima = _bounds(x, *thresholds, -1) if -1 in signs else (None, None)
    plateaus = search.plateau != "drop"
    found, codes = _strict(x, search.size, search.margins, low, high, plateaus)
    parts = _plateaus(x, search, {1: low, -1: high}, codes, signs) if plateaus and codes.seeds != 0 else []
    del codes  # a byte per pixel, before lists are copied
    if parts:
        found = merged([found, *parts])
        if search.plateau != "centroid":  # which are not refined, so that their widths do not matter
            _widen_clipped(x, found)
    if 1 not in signs:
        found = found.take(found.flags & PeakFlags.MINIMUM != 0)
    for never, flag in ((no_maxima, 0), (no_minima, PeakFlags.MINIMUM)):
        if never is not None:
            found = found.take(~never[images_of(x, found.indices)] | (found.flags & PeakFlags.MINIMUM != flag))
    return found


def _plateaus(
    x: HostArray, search: PeakSearch, bounds: dict[int, Any], codes: _Codes, signs: tuple[int, ...]
) -> list[Candidates]:
    """Find the plateaus of a stack, of maxima and of minima."""
    parts = []
    nearest = by_centre(search)
    for sign in signs:
        seeds = codes.seeds
        if seeds is None:
            seeds = mark_seeds(x, search.margins, bounds[sign], sign > 0, codes.of_pixels)
        place = x, search.size, search.margins, sign > 0, codes.padded, seeds
        seen = find_plateaus(*place, nearest=nearest, contest=has_first(search))
        if not seen.indices.size:
            continue
        flag = _PLATEAU if sign > 0 else _PLATEAU | _LOW
        strength = sign * x.reshape(-1)[seen.indices].astype(_strength_type(x.dtype))
        flags = np.full(seen.indices.size, flag, np.int32)
        parts.append(Candidates(seen.indices, strength, flags, seen.centres, seen.extents))
    return parts


def _widen_clipped(x: HostArray, found: Candidates) -> None:
    """Count narrow plateaus at which images are known to be clipped as wide ones: see `_definitions.peaks.CLIPPED`."""
    assert found.extents is not None
    pixels = found.extents[:, 0]
    wide = pixels > MOST_TIED
    limited = x.dtype.kind in "iu"
    if not wide.any() and not (limited and _may_be_at_limit(x, found)):
        return
    minima = (found.flags & PeakFlags.MINIMUM) != 0
    group = 2 * images_of(x, found.indices) + minima
    ceilings = np.full(2 * len(x), -math.inf, found.strength.dtype)
    np.maximum.at(ceilings, group[wide], found.strength[wide])
    ceilings[group[found.strength > ceilings[group]]] = math.nan
    clipped = found.strength == ceilings[group]
    if limited:
        least, greatest = limits(x.dtype).astype(found.strength.dtype)
        clipped |= found.strength == np.where(minima, -least, greatest)
    clipped &= (found.flags & _PLATEAU) != 0
    pixels[clipped] = np.maximum(pixels[clipped], CLIPPED)


def _may_be_at_limit(x: HostArray, found: Candidates) -> bool:
    """Whether a candidate may have the greatest value of an integer dtype or, as a minimum, the least one."""
    least, greatest = limits(x.dtype).tolist()
    most = min(greatest, -least) if (found.flags & _LOW).any() else greatest
    return bool(found.strength.max(initial=-math.inf) >= most)


def merged(parts: list[Candidates]) -> Candidates:
    """Merge candidates in memory order; those of single pixels have no centres."""
    axes = next((part.centres.shape[1] for part in parts if part.centres is not None), None)
    if axes is not None:
        parts = [_of_pixels(part, axes) if part.centres is None else part for part in parts]
    joined: list[Any] = [None if rows[0] is None else np.concatenate(rows) for rows in zip(*parts, strict=True)]
    candidates = Candidates(*joined)
    return candidates.take(np.argsort(candidates.indices, kind="stable"))


def _of_pixels(part: Candidates, axes: int) -> Candidates:
    """Add the centres and extents of candidates that are no plateaus."""
    count = part.indices.size
    centres, extents = np.empty((count, axes)), np.empty((count, 4), np.int64)
    centres[...], extents[...] = np.nan, 1  # in less time than by np.full
    return part._replace(centres=centres, extents=extents)


@functools.lru_cache(maxsize=64)
def may_be_alone(size: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a pixel may be the only one of its window: then it is a maximum and a minimum, which no code says."""
    return all(n == 1 or k <= 2 for k, n in zip(size, shape, strict=True))
