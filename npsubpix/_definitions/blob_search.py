"""The search for blobs in a scale space, level by level, whatever computes the levels.

Three responses are held at a time. Pixels that exceed their neighbours in space and scale are gathered with these
neighbours, to which a quadratic is fitted on the host: they are few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.blob_fits import fit_extrema, is_edge
from npsubpix._definitions.blob_overlap import kept_by_overlap, without_duplicates
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.scale_responses import LevelResponse, level_responses
from npsubpix._definitions.scale_space import ScalePlan

__all__ = ["BlobColumns", "BlobSearch", "ScaleOps", "find_in_frame", "find_in_stack", "responses", "triples"]

_MASKED, _MINIMUM = int(PeakFlags.MASKED), int(PeakFlags.MINIMUM)

#: Share of a threshold that a pixel must exceed, as the fit around it may find more.
_SHARE = 0.8

#: Response, as a share of the greatest pixel, below which extrema are those of rounding.
_ROUNDING = 2e-6

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


class ScaleOps(Protocol):
    """Arrays of a backend: images of three axes, in float32."""

    def smooth(self, x: Any, lines: Any) -> Any:
        """Correlate an image with the product of lines of weights."""

    def shrink(self, x: Any, factors: tuple[int, ...]) -> Any:
        """Keep the pixels whose places are multiples of factors."""

    def respond(self, x: Any, method: str, factors: tuple[float, ...]) -> Any:
        """Return the Laplacian, or the determinant of the Hessian, in units of the width."""

    def subtract(self, x: Any, y: Any) -> Any:
        """Return the difference of two images."""

    def extrema(self, levels: list[Any], low: float, sign: int) -> npt.NDArray[np.int64]:
        """Return the places of pixels of the middle level that exceed `low` and all neighbours, times a sign."""

    def gather(self, levels: list[Any], places: npt.NDArray[np.int64]) -> Floats:
        """Return the neighbours of places, of shape (N, 3, 3, 3, 3), those beyond the image as they are at its end."""

    def sample(self, x: Any) -> Floats:
        """Return pixels of an image on the host: at most 65536, evenly spaced."""

    def values(self, x: Any, places: npt.NDArray[np.int64]) -> Floats:
        """Return pixels by their places in memory."""

    def range_of(self, x: Any) -> tuple[float, float]:
        """Return the least and the greatest pixel."""

    def scaled(self, x: Any, offset: float, factor: float) -> Any:
        """Subtract an offset and multiply by a factor, to float32."""

    def gaps_of(self, x: Any, mask: Any) -> Any:
        """Return where pixels are masked or not finite; None if none are."""

    def near_gaps(self, gaps: Any, pixels: Any, reach: Any) -> tuple[Any, Any]:
        """Return which pixels are gaps, and which have one within reach."""

    def put(self, x: Any, dtype: Any) -> Any:
        """Copy an array of the host to the backend."""


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


class _Found(NamedTuple):
    """Rows of a level."""

    coords: Floats  # pixels of the image
    width: Floats
    amplitude: Floats
    noise: Floats  # of the amplitude, in units of the noise of a pixel
    flags: npt.NDArray[np.int64]
    slopes: Floats  # standard errors of the logarithm of the width, and along axes, in units of the noise of a pixel


def triples(ops: ScaleOps, x: Any, plan: ScalePlan) -> Iterator[tuple[int, tuple[int, ...], list[Any]]]:
    """Yield each level at which blobs are reported, its grid, and its response between those of its neighbours."""
    for segment in plan.segments:
        for lines, factors in segment.start:
            x = ops.smooth(x, lines) if lines else x
            x = ops.shrink(x, factors) if max(factors) > 1 else x
        level, held, begin = x, [], x
        for j in range(segment.first - 1, segment.last + 2):
            place = j - segment.first + 1
            if j == segment.last:
                begin = level
            if plan.method == "dog":
                after = ops.smooth(level, segment.lines[place])
                held = [*held[-2:], ops.subtract(level, after)]
                level = after
            else:
                held = [*held[-2:], ops.respond(level, plan.method, plan.factors(j, segment.steps))]
                if j <= segment.last:
                    level = ops.smooth(level, segment.lines[place])
            if len(held) == 3:
                yield j - 1, segment.steps, held
        x = begin


def responses(ops: ScaleOps, x: Any, plan: ScalePlan) -> Iterator[tuple[int, tuple[int, ...], Any]]:
    """Yield each level, its grid, and its response."""
    for level, steps, held in triples(ops, x, plan):
        yield level, steps, held[1]


def find_in_frame(
    ops: ScaleOps, x: Any, gaps: Any, noise: float | Floats | None, greatest: float, search: BlobSearch
) -> BlobColumns:
    """Find the blobs of an image, of three axes in float32, whose greatest magnitude is known; and its noise, if it is.

    `gaps` has True at pixels whose values were made up.
    """
    plan = search.plan
    shape = tuple(x.shape)
    measured = level_responses(plan)
    parts: list[_Found] = []
    sigma = noise
    for level, steps, held in triples(ops, x, plan):
        response = measured[level]
        if sigma is None:
            sigma = float(np.median(np.abs(ops.sample(held[1]))) / _MEDIAN / response.noise)
        least = _least(search, response, float(np.min(sigma)), greatest)
        for sign in search.signs:
            places = ops.extrema(held, _SHARE * least, sign)
            if places.size:
                parts.append(_located(ops, held, places, sign, level, steps, shape, search, response))
    if not parts:
        return _nothing(plan.ndim)
    found = _Found(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    assert sigma is not None
    return _selected(ops, found, gaps, sigma, greatest, shape, search)


def _least(search: BlobSearch, response: LevelResponse, sigma: float, greatest: float) -> float:
    """Return the least response of a blob in a level."""
    height = float(response.heights.max())
    least = _ROUNDING * greatest
    if search.threshold_abs is not None:
        least = max(least, search.threshold_abs * float(response.heights.min()))
    if search.threshold_snr is not None:
        least = max(least, search.threshold_snr * sigma * response.noise * min(1.0, height / height))
    return least


def _located(
    ops: ScaleOps, held: list[Any], places: npt.NDArray[np.int64], sign: int, level: int, steps: tuple[int, ...],
    shape: tuple[int, ...], search: BlobSearch, response: LevelResponse,
) -> _Found:  # fmt: skip
    """Fit the extrema of a level, and measure them."""
    plan, grid = search.plan, tuple(held[1].shape)
    fits = fit_extrema(lambda at: sign * ops.gather(held, at), places, grid, plan.ndim)
    n = plan.ndim
    curvatures = fits.curvatures * np.array([plan.sigmas[level] * r / h for r, h in zip(plan.ratios, steps, strict=True)])[
        :, None
    ] * np.array([plan.sigmas[level] * r / h for r, h in zip(plan.ratios, steps, strict=True)])
    kept = np.ones(len(places), bool)
    if search.edge_ratio is not None:
        kept = ~is_edge(curvatures, search.edge_ratio)
    offset = np.interp(fits.shifts[:, 0], response.shifts, response.offsets)
    unrefined = fits.flags != 0
    offset[unrefined] = 0.0
    height = np.interp(offset, response.offsets, response.heights[np.argsort(response.offsets)])
    coords = (fits.pixels[:, 3 - n :] + fits.shifts[:, 1:]) * np.array(steps, float)
    width = plan.widths[level] * plan.ratio**offset
    # coordinate errors: inverse curvature times noise of slopes
    errors = np.sqrt(np.einsum("nij,j->ni", fits.inverse**2, np.array(response.slope_noise) ** 2)) / fits.values[:, None]
    errors[:, 0] *= math.log(plan.ratio)
    errors[:, 1:] *= np.array(steps, float)
    errors[unrefined] = np.nan
    flags = fits.flags | (_MINIMUM if sign < 0 else 0)
    noise = response.noise * plan.ratio ** (-0.5 * n * offset) / height
    return _Found(
        *(column[kept] for column in (coords, width, sign * fits.values / height, noise, flags, errors))
    )


def _selected(
    ops: ScaleOps, found: _Found, gaps: Any, sigma: float | Floats, greatest: float, shape: tuple[int, ...],
    search: BlobSearch,
) -> BlobColumns:  # fmt: skip
    """Choose the rows to report, and complete them."""
    plan, n = search.plan, search.plan.ndim
    size = np.array(shape[3 - n :])
    pixel = np.clip(np.rint(found.coords), 0, size - 1).astype(np.int64)
    at = np.ravel_multi_index(tuple(pixel.T), tuple(size))
    noise = np.full(len(at), sigma) if np.ndim(sigma) == 0 else np.asarray(sigma, float).reshape(-1)[at]
    strength = np.abs(found.amplitude)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = strength / (noise * found.noise)
    kept = strength > 0
    half = math.sqrt(plan.ratio)
    kept &= (found.width >= plan.widths[1] / half) & (found.width <= plan.widths[-2] * half)
    if search.threshold_abs is not None:
        kept &= strength >= search.threshold_abs
    if search.threshold_snr is not None:
        kept &= snr >= search.threshold_snr
    if search.threshold_rel is not None:
        kept &= strength >= search.threshold_rel * strength.max(initial=0.0)
    flags = found.flags
    if gaps is not None:
        reach = np.ceil(found.width[:, None] * np.array(plan.ratios)).astype(np.int64)
        inside, near = ops.near_gaps(gaps, pixel, reach)
        kept &= ~inside
        flags = np.where(near, flags | _MASKED, flags)
    ratios = np.array(plan.ratios)
    border = found.width[:, None] * ratios * math.sqrt(2) if search.exclude_border is None else search.exclude_border
    margin = np.minimum(found.coords, size - 1 - found.coords)
    if search.exclude_border is None or max(search.exclude_border) > 0:
        kept &= (margin >= border).all(axis=1)
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(-strength[rows], kind="stable")]
    points, radii = found.coords[rows] / ratios, math.sqrt(2) * found.width[rows]
    signs = np.sign(found.amplitude[rows])
    rows = rows[without_duplicates(points, radii, signs, plan.ratio)]
    if search.overlap < 1:
        points, radii = found.coords[rows] / ratios, math.sqrt(2) * found.width[rows]
        rows = rows[kept_by_overlap(points, radii, search.overlap)]
    rows = rows[: search.num_blobs]
    errors = found.slopes[rows] * noise[rows, None]
    return BlobColumns(
        found.coords[rows], found.width[rows], found.amplitude[rows], snr[rows], flags[rows].astype(np.int32),
        errors[:, 1:], errors[:, 0] * found.width[rows], found.noise[rows] * noise[rows],
    )  # fmt: skip


def _nothing(ndim: int) -> BlobColumns:
    empty = np.empty(0)
    table = np.empty((0, ndim))
    return BlobColumns(table, empty, empty, empty, np.empty(0, np.int32), table, empty, empty)


def find_in_stack(
    ops: ScaleOps, image: Any, filled: Any, mask: Any, noise: Any, search: BlobSearch
) -> tuple[Any, ...]:
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
    found = BlobColumns(*(np.concatenate(column) for column in zip(*parts, strict=True)))
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


def _find_scaled(ops: ScaleOps, x: Any, gaps: Any, noise: float | Floats | None, search: BlobSearch) -> BlobColumns:
    """Find the blobs of an image, whose pixels are brought near to 1 by a power of two, so that float32 holds them."""
    low, high = ops.range_of(x)
    offset, spread = 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low
    if not 0 < spread < math.inf:
        return _nothing(search.plan.ndim)
    unit = math.ldexp(1.0, max(min(math.frexp(spread)[1], 1000), -1000))
    three = (1,) * (3 - x.ndim) + tuple(x.shape)
    scaled = ops.scaled(x, offset, 1 / unit).reshape(three)
    own = search if search.threshold_abs is None else search._replace(threshold_abs=search.threshold_abs / unit)
    found = find_in_frame(ops, scaled, gaps, None if noise is None else noise / unit, spread / unit, own)
    return found._replace(amplitude=found.amplitude * unit, amplitude_std=found.amplitude_std * unit)
