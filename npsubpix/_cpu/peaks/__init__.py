"""Peaks as lists, on the host: collect window extrema, keep the strongest, keep them apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.nms import limits
from npsubpix._cpu.peaks.distances import _apart
from npsubpix._cpu.peaks.extrema import Candidates, _images, _may_be_alone, _merged, _one_pass
from npsubpix._cpu.peaks.heights import bound_of_values, greatest_heights, heights, ranked
from npsubpix._cpu.refinement import refine
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.peaks import PeakSearch, Refinement

__all__ = ["find", "find_peaks", "select"]


def _above(
    x: HostArray,
    found: Candidates,
    absolute: float | None,
    relative: float | None,
    levels: tuple[HostArray, HostArray],
    tops: dict[int, npt.NDArray[np.float64]],
) -> Candidates:
    """Select the candidates whose heights above a background are above the thresholds; rank them by these."""
    minima = found.flags & PeakFlags.MINIMUM != 0
    height, strength, kept = heights(x, found.indices, minima, levels, absolute)
    if relative is not None:
        images = _images(x, found.indices)
        for sign, top in tops.items():
            with np.errstate(invalid="ignore"):  # no height is above 0 times infinity
                kept &= (minima == (sign > 0)) | (height > relative * top[images])
    return found.take(kept)._replace(strength=ranked(strength[kept], height[kept]))


def find(
    x: HostArray,
    size: tuple[int, ...],
    margins: tuple[int, ...],
    absolute: float | None,
    relative: float | None,
    plateau: str,
    minima: bool,
    mask: HostArray | None,
    levels: tuple[HostArray, HostArray] | None = None,
) -> Candidates:
    """Find the window extrema of a stack of images above the thresholds.

    With levels, background and noise, thresholds are of heights above them. Masked pixels count as lower
    than any other for maxima, and as higher for minima.
    """
    signs = (1, -1) if minima else (1,)
    thresholds = (absolute, relative)
    if levels is not None and x.size:
        thresholds = (bound_of_values(levels, absolute, signs), None)
    parts, tops = [], {}
    together = mask is None and not _may_be_alone(size, x.shape[1:])
    for group in (signs,) if together else tuple((sign,) for sign in signs):
        seen = x if mask is None else np.where(mask, limits(x.dtype)[0 if group[0] > 0 else 1], x)
        part = _one_pass(seen, size, margins, *thresholds, plateau, group)
        parts.append(part if mask is None else part.take(~mask.reshape(-1)[part.indices]))
        if levels is not None and relative is not None:
            tops.update({sign: greatest_heights(seen, levels[0], sign) for sign in group})
    found = parts[0] if together else _merged(parts)
    return found if levels is None else _above(x, found, absolute, relative, levels, tops)


def _strongest_first(strength: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp]:
    """Sort descending, equal ones as they come. Without equal ones the faster sort gives the same."""
    ranks = np.argsort(-strength)
    ordered = strength[ranks]
    if (ordered[1:] == ordered[:-1]).any():
        return np.argsort(-strength, kind="stable")
    return ranks


def select(
    found: Candidates,
    shape: tuple[int, ...],
    distance: tuple[float, ...] | None,
    most: int | None,
) -> npt.NDArray[np.int64]:
    """Return the rows of the candidates to report, image by image, the strongest first.

    Of equal ones the first in memory comes first. No two of a kind are closer than `distance`,
    and there are at most `most` an image.
    """
    ranks = _strongest_first(found.strength)
    image = None
    if shape[0] > 1:
        image = found.indices // math.prod(shape[1:])
        ranks = ranks[np.argsort(image[ranks], kind="stable")]
    if distance is not None:
        ranks = ranks[_apart(found, ranks, shape, distance)[ranks]]
    if most is None:
        return ranks
    if image is None:
        return ranks[:most]
    first = np.searchsorted(image[ranks], image[ranks])
    return ranks[np.arange(ranks.size) - first < most]


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
    found = _candidates(image, mask, background, sigma, search)
    frames, starts = _unravelled(found, image.shape[1:])
    coords, values, flags = refine(image, frames, starts, mask, refinement)
    _settle(image, found, coords, values, flags)
    return coords, values, starts, flags, frames


def _candidates(
    x: HostArray,
    mask: HostArray | None,
    background: HostArray | None,
    sigma: HostArray | None,
    search: PeakSearch,
) -> Candidates:
    """Find the window extrema of a stack of images that are to be reported, image by image, the strongest first."""
    levels = None
    if background is not None or sigma is not None:
        levels = (np.zeros(1) if background is None else background, np.ones(1) if sigma is None else sigma)
    found = find(
        x, search.size, search.margins, search.threshold_abs, search.threshold_rel, search.plateau, search.minima, mask,
        levels,
    )  # fmt: skip
    found = found.take(select(found, x.shape, search.min_distance, search.num_peaks))
    return found if search.plateau == "centroid" else found._replace(centroids=None)


def _unravelled(found: Candidates, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the images and the positions of candidates."""
    indices = found.indices
    places = np.empty((indices.size, len(shape)), np.int64)
    for axis in range(len(shape) - 1, -1, -1):
        indices, places[:, axis] = np.divmod(indices, shape[axis])
    return indices, places


def _settle(x: HostArray, found: Candidates, coords: HostArray, values: HostArray, flags: HostArray) -> None:
    """Put the flags of candidates beside those of their refinement, and plateaus to their centroids."""
    flags |= found.flags
    if found.centroids is not None:
        flat = (found.flags & PeakFlags.PLATEAU) != 0
        coords[flat] = found.centroids[flat]
        values[flat] = x.reshape(-1)[found.indices[flat]]
        flags[flat] = found.flags[flat]
