"""Peaks as lists, on the host: collect window extrema, rank them, keep those far enough apart, and refine them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.nms import limits
from npsubpix._cpu.peaks.border import highest_in_border
from npsubpix._cpu.peaks.distances import far_apart
from npsubpix._cpu.peaks.duplicates import flag_duplicates
from npsubpix._cpu.peaks.extrema import Candidates, find_extrema, images_of, may_be_alone, merged, unravel
from npsubpix._cpu.peaks.heights import bound_of_values, greatest_heights, heights, ranked
from npsubpix._cpu.refinement import refine
from npsubpix._cpu.refinement.blends import flag_blends
from npsubpix._definitions.flags import REJECTED, PeakFlags
from npsubpix._definitions.peaks import (
    PeakSearch,
    periods_around,
    wider_periods,
    windows_of,
    with_defaults,
)
from npsubpix._definitions.periodic import folded, repeated, repeated_pixels
from npsubpix._definitions.refinement import Noise, Refinement, noise_of, unset_errors

__all__ = ["Rows", "before_merging", "candidates", "find_peaks", "refined", "selected", "settled"]

_PLATEAU, _DUPLICATE, _REJECTED = int(PeakFlags.PLATEAU), int(PeakFlags.DUPLICATE), int(REJECTED)
_SINGULAR = np.int32(PeakFlags.SINGULAR)

_FEW = 1000  # candidates that are sorted in less time than it takes to look for equal ones


class Rows(NamedTuple):
    """Peaks, image by image, the strongest first."""

    coords: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    flags: npt.NDArray[np.int32]
    frames: npt.NDArray[np.int64]
    errors: npt.NDArray[np.float64] | None
    reach: npt.NDArray[np.float64] | None = None  # of fits, within which others make them doubtful

    def take(self, rows: Any) -> Rows:
        """Select rows."""
        columns: list[Any] = [None if column is None else column[rows] for column in self]
        return Rows(*columns)


def find_peaks(
    image: HostArray,
    searched: HostArray | None,
    mask: HostArray | None,
    background: HostArray | None,
    sigma: HostArray | None,
    error: HostArray | None = None,
    offset: HostArray | None = None,
    electrons_per_count: HostArray | None = None,
    read_variance: HostArray | None = None,
    psf: HostArray | None = None,
    *,
    search: PeakSearch,
    refinement: Refinement,
) -> tuple[HostArray | None, ...]:
    """Find and refine the peaks of a stack of images, or find them in another one, `searched`, and refine them in it.

    Return positions, values, pixels, flags, frames and errors, in order of images, the strongest first; and of each
    image the value of the highest peak in the border that was left out, if it is higher than all others.
    """
    if mask is not None:
        mask = np.ascontiguousarray(np.broadcast_to(mask, image.shape))
    searched = image if searched is None else searched
    noise = noise_of(error, offset, electrons_per_count, read_variance)
    rows = _find_rows(image, searched, mask, background, sigma, search, refinement, noise, psf)
    border = highest_in_border(searched, mask, background, sigma, search, rows.frames, rows.starts, rows.flags)
    return rows.coords, rows.values, rows.starts, rows.flags, rows.frames, rows.errors, border


def _find_rows(
    image: HostArray,
    searched: HostArray,
    mask: HostArray | None,
    background: HostArray | None,
    sigma: HostArray | None,
    search: PeakSearch,
    refinement: Refinement,
    noise: Noise | None,
    psf: HostArray | None,
) -> Rows:
    """Find and refine peaks, without duplicates unless these are wanted."""
    found = candidates(searched, mask, background, sigma, before_merging(search, refinement))
    return settled(
        found, image.shape, search, refinement, lambda part: refined(image, mask, part, search, refinement, noise, psf)
    )


def before_merging(search: PeakSearch, refinement: Refinement) -> PeakSearch:
    """Return the search for the candidates: for all of them, where others may take the place of duplicates."""
    merging = search.num_peaks is not None and _is_merging(search, refinement)
    return search._replace(num_peaks=None) if merging else search


def _is_merging(search: PeakSearch, refinement: Refinement) -> bool:
    return search.duplicates == "merge" and refinement.method is not None


def settled(
    found: Candidates,
    shape: tuple[int, ...],
    search: PeakSearch,
    refinement: Refinement,
    refine_each: Callable[[Candidates], Rows],
) -> Rows:
    """Refine the candidates of a stack of a shape, by a function; leave out duplicates unless these are wanted.

    Fits of spots that start near others are flagged for all rows that are reported, however they were refined.
    """
    rows = _without_merged(found, shape, search, refinement, refine_each)
    if rows.reach is not None:
        flag_blends(rows.flags, rows.starts, rows.frames, rows.reach, shape[1:], search.wrap)
    return rows


def _without_merged(
    found: Candidates,
    shape: tuple[int, ...],
    search: PeakSearch,
    refinement: Refinement,
    refine_each: Callable[[Candidates], Rows],
) -> Rows:
    """Refine candidates by a function; leave out duplicates unless these are wanted."""
    most, merging = search.num_peaks, _is_merging(search, refinement)

    def flagged(part: Candidates) -> Rows:
        rows = refine_each(part)
        any_flagged = flag_duplicates(rows.coords, rows.flags, rows.frames, shape, search.wrap)
        return rows.take(np.flatnonzero(rows.flags & _DUPLICATE == 0)) if any_flagged and merging else rows

    if not merging or most is None:
        return flagged(found)
    # Peaks that turn out as duplicates are made up for by the next ones of their image.
    every, tried = found.indices // max(math.prod(shape[1:]), 1), max(most, 1)
    while True:
        part = _first_of_each(every, tried)
        rows = flagged(found.take(part))
        lacking = np.bincount(rows.frames, minlength=shape[0]) < most
        if not (lacking & (np.bincount(every, minlength=shape[0]) > tried)).any():
            break
        tried *= 2
    return rows.take(_first_of_each(rows.frames, most))


def _first_of_each(images: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.bool_]:
    """Select the first rows of each image, of rows image by image."""
    chosen: npt.NDArray[np.bool_] = np.arange(images.size) - np.searchsorted(images, images) < count
    return chosen


def refined(
    image: HostArray,
    mask: HostArray | None,
    found: Candidates,
    search: PeakSearch,
    refinement: Refinement,
    noise: Noise | None,
    psf: HostArray | None = None,
) -> Rows:
    """Refine candidates."""
    frames, starts = unravel(found.indices, image.shape[1:])
    coords, values, flags, errors, reach = refine(image, frames, starts, mask, refinement, noise, psf)
    flags |= found.flags
    if found.centres is not None and found.extents is not None:  # columns that come together
        _settle_plateaus(image, found, search.plateau, refinement, coords, values, flags)
        if search.wrap:
            folded(coords, image.shape[1:])
        unset_errors(errors, reach, flags, search.plateau)
    return Rows(coords, values, starts, flags, frames, errors, reach)


def _settle_plateaus(
    x: HostArray,
    found: Candidates,
    plateau: str,
    refinement: Refinement,
    coords: HostArray,
    values: HostArray,
    flags: HostArray,
) -> None:
    """Reject fits on plateaus too wide for the method; set plateaus that are not refined to their centres."""
    assert found.centres is not None
    assert found.extents is not None
    flat = np.flatnonzero(found.flags & _PLATEAU)  # few rows of many
    if plateau == "centroid":
        flags[flat] = found.flags[flat]
        moved = flat
    else:
        too_wide = (found.extents[flat] > refinement.widest_plateau).any(axis=1)
        own = flags[flat] | np.where(too_wide, _SINGULAR, np.int32(0))
        flags[flat] = own
        moved = flat[(own & _REJECTED) != 0]
    if not moved.size:
        return
    values[moved] = x.reshape(-1)[found.indices[moved]]
    if (plateau != "first" and refinement.method is not None) or plateau == "centroid":
        coords[moved] = found.centres[moved]
    else:
        coords[moved] = unravel(found.indices[moved], x.shape[1:])[1]


def candidates(
    x: HostArray,
    mask: HostArray | None,
    background: HostArray | None,
    sigma: HostArray | None,
    search: PeakSearch,
) -> Candidates:
    """Find the window extrema of a stack of images that are to be reported, image by image, the strongest first."""
    background, noise = with_defaults(background, sigma)
    if search.wrap:
        shape = x.shape[1:]
        pads: tuple[int, ...] | None = periods_around(search, shape)
        while pads is not None:
            found = _find_periodic(x, mask, background, noise, search, pads)
            pads = None if found.extents is None else wider_periods(pads, shape, found.extents[:, -len(shape) :])
    else:
        found = _find(x, mask, background, noise, search)
    return found.take(selected(found, x.shape, search))


def _find_periodic(
    x: HostArray,
    mask: HostArray | None,
    background: HostArray | None,
    noise: HostArray | None,
    search: PeakSearch,
    pads: tuple[int, ...],
) -> Candidates:
    """Find the window extrema of a stack of periodic images: those of the images with `pads` pixels around them."""
    shape = x.shape[1:]
    wide = repeated(x, pads)
    if mask is not None:
        mask = repeated(mask, pads)
    background, noise = (repeated_pixels(values, shape, pads) for values in (background, noise))
    search = search._replace(size=windows_of(search, shape), margins=(0,) * (2 * len(shape)))
    found = _find(wide, mask, background, noise, search)
    frames, places = unravel(found.indices, wide.shape[1:])
    places -= pads
    inside = ((places >= 0) & (places < shape)).all(axis=1)
    found, places = found.take(inside), places[inside]
    indices = np.ravel_multi_index((frames[inside], *places.T), x.shape).astype(np.int64)
    centres = None if found.centres is None else found.centres - pads
    return found._replace(indices=indices, centres=centres)


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
    """Sort descending, equal ones in their order: by the faster sort, after which those that are equal are sorted."""
    if strength.size < _FEW:
        return (-strength).argsort(kind="stable")
    ranks = np.argsort(-strength)
    ordered = strength[ranks]
    equal = np.zeros(strength.size + 1, bool)  # to the one before
    np.equal(ordered[1:], ordered[:-1], out=equal[1:-1])
    rows = np.flatnonzero(equal[:-1] | equal[1:])
    if rows.size > strength.size // 4:
        return np.argsort(-strength, kind="stable")
    if rows.size:
        ranks[rows] = ranks[rows][np.lexsort((ranks[rows], np.cumsum(~equal[rows])))]
    return ranks


def selected(found: Candidates, shape: tuple[int, ...], search: PeakSearch) -> npt.NDArray[np.int64]:
    """Return the rows of the candidates to report, image by image, the strongest first.

    Of equal ones the first in memory comes first. No two maxima, and no two minima, are closer than `min_distance`,
    and there are at most `num_peaks` per image.
    """
    ranks = _strongest_first(found.strength)
    image = None
    if shape[0] > 1:
        image = found.indices // math.prod(shape[1:])
        ranks = ranks[np.argsort(image[ranks], kind="stable")]
    if search.min_distance is not None:
        ranks = ranks[far_apart(found, ranks, shape, search.min_distance, search.wrap)[ranks]]
    if search.num_peaks is None:
        return ranks
    if image is None:
        return ranks[: search.num_peaks]
    return ranks[_first_of_each(image[ranks], search.num_peaks)]
