"""Candidates for the peaks of a frame of which only a tile is in memory at a time, as if all of it were.

A pixel belongs to the tile in whose core it lies, and is compared with its window in the tile, a halo around the core.
Plateaus that may go on beyond the tile, or compete with such, are left to a larger tile. Greatest values, and the
choice among candidates, are settled for the frame, in `candidates_of_frame`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.nms import limits
from npsubpix._cpu.peaks.extrema import (
    Candidates,
    _bounds,
    _strength_type,
    _strict,
    _widen_clipped,
    may_be_alone,
    merged,
)
from npsubpix._cpu.peaks.heights import greatest_heights, heights, ranked
from npsubpix._cpu.peaks.plateaus import find_plateaus, mark_seeds
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.nms import nms_reach
from npsubpix._definitions.peaks import PeakSearch, by_centre, has_first

__all__ = ["Box", "Part", "Tile", "candidates_of_frame", "find_in_tile", "halo_of"]

#: First pixels and ends of a part of a frame.
Box = tuple[tuple[int, int], ...]

#: Pixels around a tile beside those of windows, in which plateaus may end that reach out of its core.
_BEYOND = 8

#: Pixels beyond which plateaus are compared with all others, not with near ones.
_LONG = 16

_FOUND = 15  # the bits of codes that finding plateaus does not change


class Tile(NamedTuple):
    """A part of a frame: pixels as a stack of one, where they lie, and what is known of them."""

    x: HostArray
    box: Box
    mask: HostArray | None
    background: HostArray | None  # one number, or flat, one per pixel
    noise: HostArray | None


class Part(NamedTuple):
    """Candidates of a tile, with indices in the frame.

    Groups are those of signs that are sought together. `plateaus` are candidates too, and may be those of other tiles
    as well. `tops` are the greatest values, or heights, of each sign.
    """

    strict: tuple[Candidates, ...]
    plateaus: tuple[Candidates, ...]
    heights: tuple[HostArray | None, ...]
    plateau_heights: tuple[HostArray | None, ...]
    tops: dict[int, float]
    unsure: tuple[Box, ...]


def halo_of(size: tuple[int, ...], frame: tuple[int, ...]) -> tuple[int, ...]:
    """Return how far a tile has to go beyond its core, per axis."""
    return tuple(min(max(*nms_reach(k), 1) + _BEYOND, n) for k, n in zip(size, frame, strict=True))


def groups_of(search: PeakSearch, mask: Any, frame: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return which signs of extrema are sought together."""
    signs = (1, -1) if search.minima else (1,)
    together = mask is None and not may_be_alone(search.size, frame)
    return (signs,) if together else tuple((sign,) for sign in signs)


def find_in_tile(
    tile: Tile, core: Box, frame: tuple[int, ...], search: PeakSearch, bound: float | None, *, strict: bool = True
) -> Part:
    """Find the candidates in the core of a tile, and boxes of plateaus for which the tile is too small.

    `bound` is a value that all peaks exceed, of the whole frame. Thresholds relative to the greatest value are left to
    `candidates_of_frame`.
    """
    margins = tuple(
        max(m - (begin if side == 0 else n - end), 0)
        for (begin, end), n, pair in zip(
            tile.box, frame, zip(search.margins[::2], search.margins[1::2], strict=True), strict=True
        )
        for side, m in enumerate(pair)
    )
    local = search._replace(threshold_abs=bound, threshold_rel=None, margins=margins)
    found: list[Candidates] = []
    plateaus: list[Candidates] = []
    unsure: list[Box] = []
    tops: dict[int, float] = {}
    for group in groups_of(search, tile.mask, frame):
        seen = tile.x if tile.mask is None else np.where(tile.mask, limits(tile.x.dtype)[int(group[0] < 0)], tile.x)
        single, flat, boxes = _extrema(seen, tile.box, core, frame, local, group, strict)
        found.append(_unmasked(single, tile.mask))
        plateaus.append(_unmasked(flat, tile.mask))
        unsure += boxes
        if search.threshold_rel is not None and strict:
            tops |= {sign: _top(seen, tile.background, sign) for sign in group}
    parts, high = zip(*[_above(tile, part, frame, search) for part in found], strict=True)
    flats, flat_high = zip(*[_above(tile, part, frame, search) for part in plateaus], strict=True)
    return Part(parts, flats, high, flat_high, tops, tuple(unsure))


def _top(seen: HostArray, background: HostArray | None, sign: int) -> float:
    """Return the greatest value, or height above the background, of a sign; NaN if there is none."""
    if background is not None:
        return float(greatest_heights(seen, background, sign)[0])
    return sign * float((np.fmax if sign > 0 else np.fmin).reduce(seen, axis=None))


def _unmasked(part: Candidates, mask: HostArray | None) -> Candidates:
    return part if mask is None else part.take(~mask.reshape(-1)[part.indices])


def _above(
    tile: Tile, part: Candidates, frame: tuple[int, ...], search: PeakSearch
) -> tuple[Candidates, HostArray | None]:
    """Count indices in the frame; return heights too, where a background is known: NaN below the threshold."""
    shape = tile.x.shape[1:]
    places = np.unravel_index(part.indices, shape)
    begins = [begin for begin, _ in tile.box]
    indices = np.ravel_multi_index([p + b for p, b in zip(places, begins, strict=True)], frame).astype(np.int64)
    if tile.background is None or tile.noise is None:
        return part._replace(indices=indices), None
    minima = part.flags & PeakFlags.MINIMUM != 0
    known = tile.x, part.indices, minima, tile.background, tile.noise, search.threshold_abs
    height, strength, kept = heights(*known)
    return part._replace(indices=indices), np.stack([height, strength, kept.astype(np.float64)])


def _extrema(
    x: HostArray,
    box: Box,
    core: Box,
    frame: tuple[int, ...],
    search: PeakSearch,
    group: tuple[int, ...],
    strict: bool,
) -> tuple[Candidates, Candidates, list[Box]]:
    """Find strict extrema in the core, plateaus, and boxes around plateaus for which the tile is too small."""
    low, no_maxima = _bounds(x, search.threshold_abs, None, 1)
    high, no_minima = _bounds(x, search.threshold_abs, None, -1) if -1 in group else (None, None)
    with_plateaus = search.plateau != "drop"
    # what lies on the sides of a tile has no whole window; inside, windows of three pixels have kernels of their own
    sides = [end < n if after else begin > 0 for (begin, end), n in zip(box, frame, strict=True) for after in (0, 1)]
    margins = tuple(max(m, int(side)) for m, side in zip(search.margins, sides, strict=True))
    # plateaus that are no extrema of their windows would compete where a tile does not show them whole
    found, codes = _strict(x, search.size, margins, low, high, with_plateaus, by_threes=False)
    parts: list[Candidates] = []
    unsure: list[Box] = []
    for sign in group if with_plateaus and codes.seeds != 0 else ():
        never = no_maxima if sign > 0 else no_minima
        if never is not None and never.any():
            continue
        part, boxes = _plateaus(x, box, core, frame, search, sign, low if sign > 0 else high, codes)
        parts.append(part)
        unsure += boxes
    for never, flag in ((no_maxima, 0), (no_minima, PeakFlags.MINIMUM)):
        if never is not None and never.any():
            found = found.take(found.flags & PeakFlags.MINIMUM != flag)
    if 1 not in group:
        found = found.take(found.flags & PeakFlags.MINIMUM != 0)
    places = np.stack(np.unravel_index(found.indices, x.shape[1:]), axis=1) + [begin for begin, _ in box]
    begins, ends = np.array(core).T
    inside = ((places >= begins) & (places < ends)).all(axis=1) & strict
    return found.take(inside), merged(parts) if parts else _none(x, len(frame)), unsure


def _none(x: HostArray, axes: int) -> Candidates:
    nothing = np.zeros(0, np.int64)
    strength = np.zeros(0, _strength_type(x.dtype))
    return Candidates(nothing, strength, np.zeros(0, np.int32), np.zeros((0, axes)), np.zeros((0, 4), np.int64))


def _plateaus(
    x: HostArray,
    box: Box,
    core: Box,
    frame: tuple[int, ...],
    search: PeakSearch,
    sign: int,
    bound: HostArray | None,
    codes: Any,
) -> tuple[Candidates, list[Box]]:
    """Find the plateaus of a tile of which it shows all that matters, and the boxes of others that reach its core."""
    seeds = codes.seeds
    if seeds is None:
        assert bound is not None
        seeds = mark_seeds(x, search.margins, bound, sign > 0, codes.of_pixels)
    if seeds == 0:
        return _none(x, len(frame)), []

    def find(nearest: bool, contest: bool) -> Any:
        codes.padded[...] &= _FOUND
        place = x, search.size, search.margins, sign > 0, codes.padded, seeds
        return find_plateaus(*place, nearest=nearest, contest=contest)

    every = find(nearest=False, contest=False)
    if not every.indices.size:
        return _none(x, len(frame)), []
    boxes = _boxes(every, x.shape[1:], [begin for begin, _ in box])
    strength = sign * x.reshape(-1)[every.indices].astype(_strength_type(x.dtype))
    together = _competing(boxes, strength, search) if has_first(search) else np.arange(len(boxes))
    # a rival in its window is known to be one, and no strict extremum, if its own window is in sight
    reach = [2 * r if r > 1 else 1 for r in (max(nms_reach(k)) for k in search.size)]
    cut = _any_beyond(boxes, box, frame, reach)
    rivals = np.zeros(len(boxes), bool)
    rivals[together[cut]] = True  # groups with a plateau that is cut
    unclear = rivals[together]
    begins, ends = np.array(core).T
    inside = ((boxes[:, :, 1] > begins) & (boxes[:, :, 0] < ends)).all(axis=1)
    wanted = np.zeros(len(boxes), bool)
    wanted[together[inside]] = True
    missing = unclear & wanted[together]
    groups = [boxes[missing & (together == g)] for g in np.unique(together[missing])]
    unsure = [tuple((int(b[:, k, 0].min()), int(b[:, k, 1].max())) for k in range(len(frame))) for b in groups]
    if has_first(search) and len(np.unique(together)) < len(boxes):
        kept = np.isin(every.indices, find(nearest=False, contest=True).indices)
        shown = find(nearest=by_centre(search), contest=True)
        unclear = unclear[kept]
        strength = strength[kept]
    else:
        shown = find(nearest=by_centre(search), contest=False)
    flags = np.full(shown.indices.size, PeakFlags.PLATEAU | (0 if sign > 0 else PeakFlags.MINIMUM), np.int32)
    counts = shown.extents[:, :1]
    # as the sums of positions in the frame would be divided
    centres = (np.rint(shown.centres * counts) + counts * [begin for begin, _ in box]) / counts
    clear = ~unclear
    return Candidates(shown.indices, strength, flags, centres, shown.extents).take(clear), unsure


def _boxes(found: Any, shape: tuple[int, ...], begins: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return boxes, (first, end) per axis, that hold plateaus of which the first pixels are known, in the frame."""
    axes = len(shape)
    first = np.stack(np.unravel_index(found.indices, shape), axis=1) + begins
    lengths = found.extents[:, 4 - axes :]
    boxes = np.stack([first - lengths + 1, first + lengths], axis=2)
    boxes[:, 0, 0] = first[:, 0] - 1  # before the first pixel comes none along this axis, but for one at the side
    return boxes.astype(np.int64)


def _any_beyond(
    boxes: npt.NDArray[np.int64], box: Box, frame: tuple[int, ...], reach: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """Whether a box reaches where a tile does not show whole windows."""
    beyond = np.zeros(len(boxes), bool)
    for k, ((begin, end), n, r) in enumerate(zip(box, frame, reach, strict=True)):
        if begin > 0:
            beyond |= boxes[:, k, 0] < begin + r
        if end < n:
            beyond |= boxes[:, k, 1] > end - r
    return beyond


def _competing(boxes: npt.NDArray[np.int64], strength: HostArray, search: PeakSearch) -> npt.NDArray[np.int64]:
    """Return a number per plateau: the same for those that may compete, of one value and perhaps in one window."""
    import scipy.sparse

    group = np.arange(len(boxes))
    reach = np.array([max(nms_reach(k)) for k in search.size])
    if reach.max() <= 1:
        return group  # neighbours of one value are one plateau
    pairs = _near(boxes, np.unique(strength, return_inverse=True)[1], int(reach.max()))
    one, other = boxes[pairs[:, 0]], boxes[pairs[:, 1]]
    near = (one[:, :, 0] < other[:, :, 1] + reach) & (other[:, :, 0] < one[:, :, 1] + reach)
    pairs = pairs[near.all(axis=1) & (strength[pairs[:, 0]] == strength[pairs[:, 1]])]
    graph = scipy.sparse.coo_array((np.ones(len(pairs), bool), pairs.T), shape=(len(group),) * 2)
    return np.asarray(scipy.sparse.csgraph.connected_components(graph, directed=False)[1], np.int64)


def _near(boxes: npt.NDArray[np.int64], values: HostArray, reach: int) -> npt.NDArray[np.int64]:
    """Return pairs of boxes of one value, among them all pairs that are within reach of each other."""
    import scipy.spatial

    is_long = (boxes[:, :, 1] - boxes[:, :, 0]).max(axis=1) > _LONG
    short, long = np.flatnonzero(~is_long), np.flatnonzero(is_long)
    radius = _LONG + reach
    places = np.column_stack([boxes[short].mean(axis=2), 3.0 * radius * values[short]])
    pairs = [short[scipy.spatial.cKDTree(places).query_pairs(radius, math.inf, output_type="ndarray")]]
    pairs += [np.column_stack([np.full(len(boxes), k), np.arange(len(boxes))])[values == values[k]] for k in long]
    return np.concatenate(pairs).astype(np.int64)


def candidates_of_frame(
    parts: Sequence[Part], dtype: np.dtype[Any], frame: tuple[int, ...], search: PeakSearch
) -> Candidates:
    """Join the candidates of all tiles of a frame, and settle what depends on all of it."""
    groups = range(len(parts[0].strict))
    like = np.broadcast_to(np.zeros((), dtype), (1, *frame))
    known = parts[0].heights[0] is not None
    tops = {sign: float(np.fmax.reduce([part.tops[sign] for part in parts if part.tops])) for sign in parts[0].tops}
    found, high = [], []
    for g in groups:
        strict = [(part.strict[g], part.heights[g]) for part in parts]
        flat = [(part.plateaus[g], part.plateau_heights[g]) for part in parts]
        any_flat = any(part.indices.size for part, _ in flat)
        both = [*strict, *(flat if any_flat else [])]
        own, own_high = _merged([part for part, _ in both], [h for _, h in both])
        if not known and search.threshold_rel is not None:
            own = own.take(_exceeds(own.strength, own.flags, search, tops))
        if any_flat and search.plateau != "centroid":
            _widen_clipped(like, own)
        found.append(own)
        high.append(own_high)
    joined, heights_ = _merged(found, high)
    if heights_ is None:
        return joined
    height, strength, kept = heights_
    chosen = kept != 0
    if search.threshold_rel is not None:
        chosen &= _exceeds(height, joined.flags, search._replace(threshold_abs=None), tops)
    return joined.take(chosen)._replace(strength=ranked(strength[chosen], height[chosen]))


def _exceeds(numbers: HostArray, flags: HostArray, search: PeakSearch, tops: dict[int, float]) -> npt.NDArray[np.bool_]:
    """Whether values, minima negated, exceed the thresholds relative to the greatest."""
    assert search.threshold_rel is not None
    minima = flags & PeakFlags.MINIMUM != 0
    kept = np.zeros(numbers.shape, bool)
    least = -math.inf if search.threshold_abs is None else search.threshold_abs
    for sign, top in tops.items():
        with np.errstate(invalid="ignore"):
            threshold = max(np.float64(search.threshold_rel) * top, least)  # NaN first, so that it stays
            kept |= (minima == (sign < 0)) & (numbers > threshold)
    return kept


def _merged(parts: list[Candidates], high: list[HostArray | None]) -> tuple[Candidates, HostArray | None]:
    """Merge candidates in the order of the frame, each plateau once, with heights where these are known."""
    rows = merged(parts)
    order = np.argsort(np.concatenate([part.indices for part in parts]), kind="stable")
    key = np.stack([rows.indices, rows.flags])
    once = np.ones(rows.indices.size, bool)
    once[1:] = (key[:, 1:] != key[:, :-1]).any(axis=0)
    if high[0] is None:
        return rows.take(once), None
    known = [column for column in high if column is not None]
    return rows.take(once), np.concatenate(known, axis=1)[:, order][:, once]
