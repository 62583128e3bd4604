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
from npsubpix._definitions.blob_rows import BLOB_NOT_OK, BlobRows, Extrema, extrema_of_level, rows_of
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.pixel_noise import noise_of_strips, noise_strips
from npsubpix._definitions.scale_levels import ScaleOps, triples
from npsubpix._definitions.scale_responses import LevelResponse, level_responses
from npsubpix._definitions.scale_space import ScalePlan

__all__ = [
    "BlobColumns",
    "BlobSearch",
    "FrameScale",
    "blobs_of",
    "extrema_of_image",
    "find_in_stack",
    "frame_scale",
    "in_units",
    "nothing_found",
    "pixels_of",
    "table_of",
]

_MASKED, _AT_BORDER, _NOT_OK = int(PeakFlags.MASKED), int(PeakFlags.AT_BORDER), int(BLOB_NOT_OK)

#: Share of a threshold that a pixel must exceed, as the fit around it may find more.
_SHARE = 0.8

#: Response, as a share of the greatest pixel, below which extrema are those of rounding.
_ROUNDING = 3e-5

#: Widths of a blob that must lie inside the image: of one that is cut, less is seen than a filter needs, and the
#: reflected image shifts it by a hundredth of its width or more.
_CLEAR = 2.5

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


class BlobColumns(NamedTuple):
    """Rows of blobs on the host, the strongest first."""

    coords: Floats
    width: Floats
    amplitude: Floats
    snr: Floats
    flags: npt.NDArray[np.int32]
    coords_std: Floats
    width_std: Floats
    amplitude_std: Floats


class FrameScale(NamedTuple):
    """How the pixels of a frame are brought near to 1, by a power of two, so that float32 holds them.

    Attributes
    ----------
    offset, unit : float
        Subtracted from pixels, and then their divisor.
    greatest : float
        Greatest magnitude of what results.
    """

    offset: float
    unit: float
    greatest: float


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
        part = _find_in_frame(ops, (image if filled is None else filled)[frame], gaps, own, search)
        parts.append(part)
        frames.append(np.full(len(part.width), frame, np.int64))
        pixel = pixels_of(part.coords, shape)
        values.append(ops.values(image[frame].reshape(-1), np.ravel_multi_index(tuple(pixel.T), shape)))
    parts = parts or [nothing_found(len(shape))]
    found = BlobColumns(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    whole = np.concatenate(values or [np.empty(0)]), np.concatenate(frames or [np.empty(0, np.int64)])
    columns = table_of(found, *whole, search, known=noise is not None)
    return tuple([None if column is None else ops.put(column, column.dtype) for column in columns])


def pixels_of(coords: Floats, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the pixels of an image that are nearest to positions."""
    return np.clip(np.rint(coords), 0, np.array(shape) - 1).astype(np.int64)


def table_of(
    found: BlobColumns, values: Floats, frames: npt.NDArray[np.int64], search: BlobSearch, *, known: bool
) -> tuple[npt.NDArray[Any] | None, ...]:
    """Return the columns of a table of blobs, with standard errors if the noise is known."""
    ratios = np.array(search.plan.ratios)
    widths, errors = found.width, found.width_std
    if search.per_axis:
        widths, errors = widths[:, None] * ratios, errors[:, None] * ratios
    stds = (found.coords_std, errors, found.amplitude_std) if known else (None, None, None)
    return (found.coords, widths, found.amplitude, found.snr, values, found.flags, frames, *stds)


def _noise_of(sigmas: Floats, frame: int, pixels: int) -> float | Floats:
    """Return the noise of a frame."""
    if sigmas.size == 1:
        return float(sigmas[0])
    return sigmas[:pixels] if sigmas.size == pixels else sigmas[frame * pixels : (frame + 1) * pixels]


def frame_scale(low: float, high: float) -> FrameScale | None:
    """Return how pixels from the least to the greatest are scaled; None if they are of one value."""
    offset, spread = 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low
    if not 0 < spread < math.inf:
        return None
    unit = math.ldexp(1.0, max(min(math.frexp(spread)[1], 1000), -1000))
    return FrameScale(offset, unit, spread / unit)


def in_units(search: BlobSearch, unit: float) -> BlobSearch:
    """Return the search in an image that is divided by a unit."""
    return search if search.threshold_abs is None else search._replace(threshold_abs=search.threshold_abs / unit)


def _find_in_frame(ops: ScaleOps, x: Any, gaps: Any, noise: float | Floats | None, search: BlobSearch) -> BlobColumns:
    """Find the blobs of an image, and its noise if it is not known; `gaps` has True at pixels that were made up."""
    shape, scale = tuple(x.shape), frame_scale(*ops.range_of(x))
    if scale is None:
        return nothing_found(search.plan.ndim)
    images = [ops.scaled(x, scale.offset, 1 / scale.unit).reshape((1,) * (3 - len(shape)) + shape)]
    del x
    sigma = _noise(ops, images[0], gaps) if noise is None else noise / scale.unit
    own = in_units(search, scale.unit)
    parts = extrema_of_image(ops, images, own, float(np.min(sigma)), scale.greatest)
    return blobs_of(ops, parts, gaps, sigma, shape, own, scale.unit)


def extrema_of_image(
    ops: ScaleOps, images: list[Any], search: BlobSearch, noise: float, greatest: float
) -> list[Extrema]:
    """Find the extrema of an image of three axes in float32, whose least noise and greatest magnitude are known."""
    plan, parts = search.plan, []
    measured = level_responses(plan)
    for level, _, held in triples(ops, images, plan):
        least = _least(search, measured[level], noise, greatest)
        for sign in search.signs:
            places = ops.extrema(held, _SHARE * least, sign)
            if places.size:
                parts.append(extrema_of_level(ops, held, places, sign, level, plan.ndim))
    return parts


def blobs_of(
    ops: ScaleOps, parts: list[Extrema], gaps: Any, sigma: float | Floats, shape: tuple[int, ...], search: BlobSearch,
    unit: float,
) -> BlobColumns:  # fmt: skip
    """Return the blobs of extrema of an image that was divided by a unit."""
    if not parts:
        return nothing_found(search.plan.ndim)
    grids = search.plan.grids()
    spreads = [_at(sigma, part.pixels * np.array(grids[part.level]), shape) for part in parts]
    rows = rows_of(parts, search.plan, spreads, search.edge_ratio)
    found = _selected(ops, rows, gaps, sigma, shape, search)
    return found._replace(amplitude=found.amplitude * unit, amplitude_std=found.amplitude_std * unit)


def _noise(ops: ScaleOps, image: Any, gaps: Any) -> float:
    """Return the noise of the pixels of an image, those of gaps left out, as they are made up."""
    strips = noise_strips(tuple(image.shape))
    hidden = None if gaps is None else ops.rows(gaps.reshape(image.shape), strips.rows)
    return noise_of_strips(strips, ops.rows(image, strips.rows), hidden)


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
) -> BlobColumns:
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
    columns = BlobColumns(
        coords, width, amplitude, snr, found.flags.astype(np.int32), errors[:, 1:], errors[:, 0] * width,
        np.where(np.isnan(errors[:, 0]), np.nan, found.noise * noise),
    )  # fmt: skip
    first: list[Any] = [column[_by_strength(amplitude)[: search.num_blobs]] for column in columns]
    return BlobColumns(*first)


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


def nothing_found(ndim: int) -> BlobColumns:
    empty = np.empty(0)
    table = np.empty((0, ndim))
    return BlobColumns(table, empty, empty, empty, np.empty(0, np.int32), table, empty, empty)
