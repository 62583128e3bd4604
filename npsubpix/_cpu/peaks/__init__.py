"""Peaks as lists, on the host: collect window extrema, rank them, and keep those far enough apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.nms import limits
from npsubpix._cpu.peaks.distances import far_apart
from npsubpix._cpu.peaks.extrema import Candidates, find_extrema, images_of, may_be_alone, merged
from npsubpix._cpu.peaks.heights import bound_of_values, greatest_heights, heights, ranked
from npsubpix._cpu.refinement import refine
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.peaks import PeakSearch, unravel, with_defaults
from npsubpix._definitions.refinement import Refinement

__all__ = ["candidates", "find_peaks"]

_FEW = 1000  # candidates that are sorted in less time than it takes to look for equal ones


def find_peaks(
    image: HostArray,
    mask: HostArray | None,
    background: HostArray | None,
    sigma: HostArray | None,
    *,
    search: PeakSearch,
    refinement: Refinement,
) -> tuple[HostArray, ...]:
    """Find and refine the peaks of a stack of images; return positions, values, pixels, flags and frames.

    They are in order of images, the strongest first.
    """
    if mask is not None:
        mask = np.ascontiguousarray(np.broadcast_to(mask, image.shape))
    found = candidates(image, mask, background, sigma, search)
    starts = np.empty((found.indices.size, image.ndim - 1), np.int64)
    frames = unravel(found.indices, image.shape[1:], starts)
    coords, values, flags = refine(image, frames, starts, mask, refinement)
    _settle(image, found, coords, values, flags)
    return coords, values, starts, flags, frames


def candidates(
    x: HostArray,
    mask: HostArray | None,
    background: HostArray | None,
    sigma: HostArray | None,
    search: PeakSearch,
) -> Candidates:
    """Find the window extrema of a stack of images that are to be reported, image by image, the strongest first."""
    found = _find(x, mask, *with_defaults(background, sigma), search)
    found = found.take(_select(found, x.shape, search.min_distance, search.num_peaks))
    return found if search.plateau == "centroid" else found._replace(centroids=None)


def _find(
    x: HostArray,
    mask: HostArray | None,
    background: HostArray | None,
    noise: HostArray | None,
    search: PeakSearch,
) -> Candidates:
    """Find the window extrema of a stack of images above the thresholds.

    With background and noise, thresholds are of heights above them. Masked pixels count as lower than any other for
    maxima, and as higher for minima.
    """
    signs = (1, -1) if search.minima else (1,)
    of_values = search
    if background is not None and noise is not None and x.size:
        bound = bound_of_values(background, noise, search.threshold_abs, signs)
        of_values = search._replace(threshold_abs=bound, threshold_rel=None)
    parts, tops = [], {}
    together = mask is None and not may_be_alone(search.size, x.shape[1:])
    for group in (signs,) if together else tuple((sign,) for sign in signs):
        seen = x if mask is None else np.where(mask, limits(x.dtype)[0 if group[0] > 0 else 1], x)
        part = find_extrema(seen, of_values, group)
        parts.append(part if mask is None else part.take(~mask.reshape(-1)[part.indices]))
        if background is not None and search.threshold_rel is not None and x.size:
            tops.update({sign: greatest_heights(seen, background, sign) for sign in group})
    found = parts[0] if together else merged(parts)
    return found if background is None or noise is None else _above(x, found, background, noise, search, tops)


def _above(
    x: HostArray,
    found: Candidates,
    background: HostArray,
    noise: HostArray,
    search: PeakSearch,
    tops: dict[int, npt.NDArray[np.float64]],
) -> Candidates:
    """Select the candidates whose heights above a background are above the thresholds; rank them by these."""
    minima = found.flags & PeakFlags.MINIMUM != 0
    height, strength, kept = heights(x, found.indices, minima, background, noise, search.threshold_abs)
    if search.threshold_rel is not None:
        images = images_of(x, found.indices)
        for sign, top in tops.items():
            with np.errstate(invalid="ignore"):  # no height is above 0 times infinity
                kept &= (minima == (sign > 0)) | (height > search.threshold_rel * top[images])
    return found.take(kept)._replace(strength=ranked(strength[kept], height[kept]))


def _strongest_first(strength: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp]:
    """Sort descending, equal ones in their order. Without equal ones the faster sort gives the same."""
    if strength.size < _FEW:
        return np.argsort(-strength, kind="stable")
    ranks = np.argsort(-strength)
    ordered = strength[ranks]
    if (ordered[1:] == ordered[:-1]).any():
        return np.argsort(-strength, kind="stable")
    return ranks


def _select(
    found: Candidates,
    shape: tuple[int, ...],
    min_distance: tuple[float, ...] | None,
    num_peaks: int | None,
) -> npt.NDArray[np.int64]:
    """Return the rows of the candidates to report, image by image, the strongest first.

    Of equal ones the first in memory comes first. No two maxima, and no two minima, are closer than `min_distance`,
    and there are at most `num_peaks` per image.
    """
    ranks = _strongest_first(found.strength)
    image = None
    if shape[0] > 1:
        image = found.indices // math.prod(shape[1:])
        ranks = ranks[np.argsort(image[ranks], kind="stable")]
    if min_distance is not None:
        ranks = ranks[far_apart(found, ranks, shape, min_distance)[ranks]]
    if num_peaks is None:
        return ranks
    if image is None:
        return ranks[:num_peaks]
    first = np.searchsorted(image[ranks], image[ranks])
    return ranks[np.arange(ranks.size) - first < num_peaks]


def _settle(x: HostArray, found: Candidates, coords: HostArray, values: HostArray, flags: HostArray) -> None:
    """Add the flags of candidates to those of their refinement, and set plateaus to their centroids."""
    flags |= found.flags
    if found.centroids is not None:
        flat = (found.flags & PeakFlags.PLATEAU) != 0
        coords[flat] = found.centroids[flat]
        values[flat] = x.reshape(-1)[found.indices[flat]]
        flags[flat] = found.flags[flat]
