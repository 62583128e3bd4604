"""The search for blobs in a scale space, level by level, whatever computes the levels.

Pixels that exceed their neighbours in space and scale are gathered with these neighbours, to which a quadratic is
fitted on the host: they are few.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.blob_neighbours import without_neighbours
from npsubpix._definitions.blob_overlap import kept_by_overlap, without_duplicates
from npsubpix._definitions.blob_rows import BLOB_NOT_OK, BlobRows, extrema_of_level, rows_of
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.scale_levels import ScaleOps, triples
from npsubpix._definitions.scale_responses import LevelResponse, level_responses
from npsubpix._definitions.scale_space import ScalePlan, scale_plan

__all__ = ["BlobSearch", "find_in_stack"]

_MASKED, _AT_BORDER, _NOT_OK = int(PeakFlags.MASKED), int(PeakFlags.AT_BORDER), int(BLOB_NOT_OK)

#: Share of a threshold that a pixel must exceed, as the fit around it may find more.
_SHARE = 0.8

#: Response, as a share of the greatest pixel, below which extrema are those of rounding.
_ROUNDING = 3e-5

#: Widths of a blob that must lie inside the image: of one that is cut, less is seen than a filter needs, and the
#: reflected image shifts it by a hundredth of its width or more.
_CLEAR = 2.5

#: Median of the magnitude of noise of standard deviation 1.
_MEDIAN = 0.6744897501960817

Floats = npt.NDArray[np.float64]


class BlobSearch(NamedTuple):
    """Which extrema of a scale space are blobs.

    Attributes
    ----------
    plan : ScalePlan
        Levels.
    signs : tuple of ints
        1 for bright blobs, -1 for dark ones.
    threshold_abs, threshold_rel, threshold_snr : float or None
        Least height; as a fraction of the greatest; in units of its noise.
    edge_ratio : float or None
        Greatest ratio of the curvatures along two axes.
    overlap : float
        Greatest fraction of the smaller of two blobs that the other covers.
    num_blobs : int or None
        Most blobs per image.
    exclude_border : tuple of ints or None
        Width of the border in which no blob is reported, per axis; None for the radius of the blob.
    per_axis : bool
        Whether widths are reported per axis.
    """

    plan: ScalePlan
    signs: tuple[int, ...]
    threshold_abs: float | None
    threshold_rel: float | None
    threshold_snr: float | None
    edge_ratio: float | None
    overlap: float
    num_blobs: int | None
    exclude_border: tuple[int, ...] | None
    per_axis: bool


class _Columns(NamedTuple):
    """Rows of blobs on the host, the strongest first."""

    coords: Floats
    width: Floats
    amplitude: Floats
    snr: Floats
    flags: npt.NDArray[np.int32]
    coords_std: Floats
    width_std: Floats
    amplitude_std: Floats


def find_in_stack(ops: ScaleOps, image: Any, filled: Any, mask: Any, noise: Any, search: BlobSearch) -> tuple[Any, ...]:
    """Find the blobs of a stack, frame by frame, and return the columns of their table.

    `filled` is the stack without gaps, or None if it is the image; `noise` has a number, or one per pixel of a frame or
    of the stack, flat.
    """
    count, shape = image.shape[0], tuple(image.shape[1:])
    parts, frames, values = [], [], []
    sigmas = None if noise is None else ops.values(noise.reshape(-1), np.arange(noise.size))
    for frame in range(count if math.prod(shape) else 0):
        own = None if sigmas is None else _noise_of(sigmas, frame, math.prod(shape))
        gaps = None
        if filled is not None:
            gaps = ops.gaps_of(image[frame], None if mask is None else mask[frame % mask.shape[0]])
        part = _find_scaled(ops, (image if filled is None else filled)[frame], gaps, own, search)
        parts.append(part)
        frames.append(np.full(len(part.width), frame, np.int64))
        pixel = np.clip(np.rint(part.coords), 0, np.array(shape) - 1).astype(np.int64)
        values.append(ops.values(image[frame].reshape(-1), np.ravel_multi_index(tuple(pixel.T), shape)))
    parts = parts or [_nothing(len(shape))]
    found = _Columns(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    ratios = np.array(search.plan.ratios)
    widths, errors = found.width, found.width_std
    if search.per_axis:
        widths, errors = widths[:, None] * ratios, errors[:, None] * ratios
    known = noise is not None
    columns = (
        found.coords, widths, found.amplitude, found.snr, np.concatenate(values or [np.empty(0)]), found.flags,
        np.concatenate(frames or [np.empty(0, np.int64)]), found.coords_std if known else None,
        errors if known else None, found.amplitude_std if known else None,
    )  # fmt: skip
    return tuple([None if column is None else ops.put(column, column.dtype) for column in columns])


def _noise_of(sigmas: Floats, frame: int, pixels: int) -> float | Floats:
    """Return the noise of a frame."""
    if sigmas.size == 1:
        return float(sigmas[0])
    return sigmas[:pixels] if sigmas.size == pixels else sigmas[frame * pixels : (frame + 1) * pixels]


def _find_scaled(ops: ScaleOps, x: Any, gaps: Any, noise: float | Floats | None, search: BlobSearch) -> _Columns:
    """Find the blobs of an image, whose pixels are brought near to 1 by a power of two, so that float32 holds them."""
    low, high = ops.range_of(x)
    offset, spread = 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low
    if not 0 < spread < math.inf:
        return _nothing(search.plan.ndim)
    unit = math.ldexp(1.0, max(min(math.frexp(spread)[1], 1000), -1000))
    three = (1,) * (3 - x.ndim) + tuple(x.shape)
    own = search if search.threshold_abs is None else search._replace(threshold_abs=search.threshold_abs / unit)
    found = _find_in_frame(
        ops,
        [ops.scaled(x, offset, 1 / unit).reshape(three)],
        gaps,
        None if noise is None else noise / unit,
        spread / unit,
        own,
    )
    return found._replace(amplitude=found.amplitude * unit, amplitude_std=found.amplitude_std * unit)


def _find_in_frame(
    ops: ScaleOps, images: list[Any], gaps: Any, noise: float | Floats | None, greatest: float, search: BlobSearch
) -> _Columns:
    """Find the blobs of an image, of three axes in float32, whose greatest magnitude is known; and its noise, if it is.

    `gaps` has True at pixels whose values were made up.
    """
    plan, shape = search.plan, tuple(images[0].shape[3 - search.plan.ndim :])
    measured = level_responses(plan)
    sigma, parts = noise, []
    if noise is None and plan.method != "log":
        laplacian = scale_plan("log", plan.widths[1], plan.widths[1], 1, plan.ratios)
        level, steps, held = next(triples(ops, images[:], laplacian))
        sigma = _noise(ops, held[1], steps, gaps, level_responses(laplacian)[level])
        del held
    for level, steps, held in triples(ops, images, plan):
        if sigma is None:
            sigma = _noise(ops, held[1], steps, gaps, measured[level])
        least = _least(search, measured[level], float(np.min(sigma)), greatest)
        for sign in search.signs:
            places = ops.extrema(held, _SHARE * least, sign)
            if places.size:
                parts.append(extrema_of_level(ops, held, places, sign, level, plan.ndim))
    if not parts or sigma is None:
        return _nothing(plan.ndim)
    grids = plan.grids()
    spreads = [_at(sigma, part.pixels * np.array(grids[part.level]), shape) for part in parts]
    return _selected(ops, rows_of(parts, plan, spreads, search.edge_ratio), gaps, sigma, shape, search)


def _noise(ops: ScaleOps, laplacian: Any, steps: tuple[int, ...], gaps: Any, response: LevelResponse) -> float:
    """Return the noise of an image from the median of the Laplacian of its first level, which blobs hardly change.

    Gaps have no noise, as their pixels are made up.
    """
    values = ops.sample(laplacian)
    if gaps is not None:
        values = values[ops.sample(gaps[tuple(slice(None, None, step) for step in steps)]) == 0]
    return float(np.median(np.abs(values)) / _MEDIAN / response.noise) if values.size else 0.0


def _least(search: BlobSearch, response: LevelResponse, sigma: float, greatest: float) -> float:
    """Return the least response of a blob in a level."""
    least = _ROUNDING * greatest
    if search.threshold_abs is not None:
        least = max(least, search.threshold_abs * float(response.heights.min()))
    if search.threshold_snr is not None:
        least = max(least, search.threshold_snr * sigma * response.noise)
    return least


def _selected(
    ops: ScaleOps, found: BlobRows, gaps: Any, sigma: float | Floats, shape: tuple[int, ...], search: BlobSearch
) -> _Columns:
    """Choose the rows to report, and complete them."""
    plan, size, ratios = search.plan, np.array(shape), np.array(search.plan.ratios)
    found = found.take(_by_strength(found.amplitude))
    found = found.take(without_duplicates(found.coords / ratios, found.radius, found.amplitude, plan.ratio))
    pixels = np.clip(np.rint(found.coords), 0, size - 1).astype(np.int64)
    noise = _at(sigma, pixels, shape)
    kept = (noise >= 0) & _is_strong(found, noise, search)
    flags = found.flags
    if gaps is not None:
        reach = np.ceil(found.width[:, None] * ratios).astype(np.int64)
        inside, near = ops.near_gaps(gaps, pixels, reach)
        kept &= ~inside
        flags = np.where(near, flags | _MASKED, flags)
    margin = np.minimum(found.coords, size - 1 - found.coords)
    border = found.radius[:, None] * ratios if search.exclude_border is None else search.exclude_border
    kept &= (margin >= border).all(axis=1)
    if search.threshold_rel is not None:
        strength = np.abs(found.amplitude)
        kept &= strength >= search.threshold_rel * strength[kept].max(initial=0.0)
    rows = np.flatnonzero(kept)
    if search.overlap < 1:
        rows = rows[kept_by_overlap(found.coords[rows] / ratios, found.radius[rows], search.overlap)]
    found, noise = found._replace(flags=flags).take(rows), noise[rows]
    clear = _CLEAR * found.width[:, None] * ratios
    cut = (np.minimum(found.coords + 0.5, size - 0.5 - found.coords) < clear).any(axis=1)
    found = found._replace(flags=found.flags | np.where(cut, _AT_BORDER, 0))
    errors = np.where(((found.flags & _NOT_OK) == 0)[:, None], found.errors, np.nan) * noise[:, None]
    coords, width, amplitude = _alone(found, plan)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.abs(amplitude) / (noise * found.noise)
    columns = _Columns(
        coords, width, amplitude, snr, found.flags.astype(np.int32), errors[:, 1:], errors[:, 0] * width,
        np.where(np.isnan(errors[:, 0]), np.nan, found.noise * noise),
    )  # fmt: skip
    first: list[Any] = [column[_by_strength(amplitude)[: search.num_blobs]] for column in columns]
    return _Columns(*first)


def _is_strong(found: BlobRows, noise: Floats, search: BlobSearch) -> npt.NDArray[np.bool_]:
    """Whether blobs exceed the least height and ratio to noise, and widths are those sought, up to half a level."""
    plan, strength, half = search.plan, np.abs(found.amplitude), math.sqrt(search.plan.ratio)
    kept = (strength > 0) & (found.width >= plan.widths[1] / half) & (found.width <= plan.widths[-2] * half)
    if search.threshold_abs is not None:
        kept &= strength >= search.threshold_abs
    if search.threshold_snr is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            kept &= strength / (noise * found.noise) >= search.threshold_snr
    return kept


def _by_strength(amplitude: Floats) -> npt.NDArray[np.intp]:
    return np.argsort(-np.abs(amplitude), kind="stable")


def _at(sigma: float | Floats, pixels: npt.NDArray[np.int64], shape: tuple[int, ...]) -> Floats:
    """Return the noise at pixels."""
    if np.ndim(sigma) == 0:
        return np.full(len(pixels), sigma, np.float64)
    return np.asarray(np.asarray(sigma).reshape(-1)[np.ravel_multi_index(tuple(pixels.T), shape)], np.float64)


def _alone(found: BlobRows, plan: ScalePlan) -> tuple[Floats, Floats, Floats]:
    """Return positions, widths and heights without the light of other blobs, to first order."""
    ratios = np.array(plan.ratios)
    refined = (found.flags & _NOT_OK) == 0
    sigmas = np.array(plan.sigmas)[found.level]
    shift, added = without_neighbours(
        found.coords / ratios, found.width, found.amplitude, sigmas, found.inverse, found.above,
        found.steps / ratios, plan.ratio, plan.ratio if plan.method == "dog" else None,
    )  # fmt: skip
    shift, added = shift * refined[:, None], added * refined
    coords = found.coords - shift[:, 1:] * found.steps
    width = found.width * plan.ratio ** -shift[:, 0]
    return coords, width, found.amplitude * (1 - added)


def _nothing(ndim: int) -> _Columns:
    empty = np.empty(0)
    table = np.empty((0, ndim))
    return _Columns(table, empty, empty, empty, np.empty(0, np.int32), table, empty, empty)
