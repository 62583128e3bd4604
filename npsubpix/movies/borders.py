"""The highest peak in the border of a frame, where none are reported, from tiles: as `find_peaks` states it."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._definitions.peaks import PeakSearch
from npsubpix._dispatch.tiles import Box, Tile, last_below

__all__ = ["NOTHING", "Highest", "highest_in_tile", "measure"]


class Highest(NamedTuple):
    """The measure by which peaks are ranked, a second one for those of infinite rank, and where and what it is of."""

    first: float
    second: float
    place: int
    value: float

    def is_above(self, other: Highest) -> bool:
        """Whether it is higher; of equal ones, the first in the frame is."""
        return (self.first, self.second, -self.place) > (other.first, other.second, -other.place)


NOTHING = Highest(-math.inf, -math.inf, 0, math.nan)


def measure(
    values: HostArray, level: HostArray | None, noise: HostArray | None, threshold: float | None
) -> tuple[HostArray, HostArray]:
    """Return values, or heights in units of the noise and heights where these are infinite; NaN for no peaks."""
    if level is None or noise is None:
        if threshold == -math.inf:
            return values, np.zeros(values.shape)
        real = values.astype(np.result_type(values.dtype, np.float64))
        return np.where(values > last_below(values.dtype, threshold)[0], real, math.nan), np.zeros(values.shape)
    limit = -math.inf if threshold is None else threshold
    with np.errstate(all="ignore"):
        above, sigma = values.astype(np.float64) - level, noise.astype(np.float64)
        exceeds = (above > limit * sigma) | ((above == above) & (limit == -math.inf))
        strength = np.where(sigma == 0, np.where(above < 0, -math.inf, math.inf), above / sigma)
    second = np.where(np.isinf(strength), above, 0.0)
    return np.where((sigma >= 0) & exceeds, strength, math.nan), second


def highest_in_tile(tile: Tile, core: Box, frame: tuple[int, ...], search: PeakSearch) -> Highest:
    """Return the highest peak of the border in the core of a tile."""
    best = NOTHING
    for k, n in enumerate(frame):
        begin, end = core[k]
        for low, high in ((begin, min(search.margins[2 * k], end)), (max(n - search.margins[2 * k + 1], begin), end)):
            if low < high:
                own = _highest(tile, (*core[:k], (low, high), *core[k + 1 :]), frame, search)
                best = own if own.is_above(best) else best
    return best


def _highest(tile: Tile, part: Box, frame: tuple[int, ...], search: PeakSearch) -> Highest:
    x = tile.x[0]
    inside = tuple(slice(b - first, e - first) for (b, e), (first, _) in zip(part, tile.box, strict=True))
    level, noise = (
        None if m is None else np.broadcast_to(m.reshape(x.shape if m.size > 1 else (1,) * x.ndim), x.shape)[inside]
        for m in (tile.background, tile.noise)
    )
    first, second = measure(x[inside], level, noise, search.threshold_abs)
    chosen = _maxima(x, None if tile.mask is None else tile.mask[0], inside) & ~np.isnan(first) & (first > -math.inf)
    if not chosen.any():
        return NOTHING
    places = np.ravel_multi_index([p + b for p, (b, _) in zip(np.nonzero(chosen), part, strict=True)], frame)
    k = np.lexsort((-places, second[chosen], first[chosen]))[-1]
    return Highest(first[chosen][k].item(), float(second[chosen][k]), int(places[k]), float(x[inside][chosen][k]))


def _maxima(x: HostArray, mask: HostArray | None, inside: tuple[slice, ...]) -> HostArray:
    """Mark the pixels of a part of a tile of which no neighbour is greater and one is less."""
    own = x[inside]
    beaten, wins = np.zeros(own.shape, bool), np.zeros(own.shape, bool)
    for step in itertools.product((-1, 0, 1), repeat=x.ndim):
        cut = [
            (max(s.start + d, 0) - d - s.start, min(s.stop + d, n) - d - s.start)
            for s, d, n in zip(inside, step, x.shape, strict=True)
        ]
        here = tuple(slice(b, e) for b, e in cut)
        there = tuple(slice(b + d + s.start, e + d + s.start) for (b, e), d, s in zip(cut, step, inside, strict=True))
        seen = True if mask is None else ~mask[there]
        beaten[here] |= (x[there] > own[here]) & seen
        wins[here] |= (x[there] < own[here]) & seen
    shown = True if mask is None else ~mask[inside]
    return ~beaten & wins & shown
