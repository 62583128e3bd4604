"""Rows of blobs: what a fit to an extremum of a level says about a blob."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.blob_errors import choose_places, errors_of
from npsubpix._definitions.blob_fits import ExtremumFits, fit_extrema, is_edge
from npsubpix._definitions.flags import DOUBTFUL, REJECTED, PeakFlags
from npsubpix._definitions.scale_levels import ScaleOps
from npsubpix._definitions.scale_responses import level_responses
from npsubpix._definitions.scale_space import ScalePlan

__all__ = ["BLOB_NOT_OK", "BlobRows", "Extrema", "extrema_of_level", "rows_of"]

#: The flags of a blob that `Blobs.ok` leaves out: a saddle in space and scale is none.
BLOB_NOT_OK: Final = REJECTED | PeakFlags.SADDLE | DOUBTFUL

_MINIMUM = int(PeakFlags.MINIMUM)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class BlobRows(NamedTuple):
    """Blobs, one row each.

    Attributes
    ----------
    coords : array of shape (N, ndim)
        Positions in pixels of the image.
    width : array of shape (N,)
        Standard deviation, in units of the ratios of axes.
    amplitude, noise : arrays of shape (N,)
        Height, negative for dark blobs, and its standard error in units of the noise of a pixel.
    flags, level : arrays of shape (N,)
        Bits of `PeakFlags`, and the level at which a blob was found.
    steps : array of shape (N, ndim)
        Pixels of the image between two of the level.
    inverse : array of shape (N, 1 + ndim, 1 + ndim)
        Inverse of the Hessian of the logarithm of the response, along levels and axes.
    above : array of shape (N,)
        Whether the position was measured in the level above.
    errors : array of shape (N, 1 + ndim)
        Standard errors of the logarithm of the width and of positions, in units of the noise of a pixel.
    """

    coords: Floats
    width: Floats
    amplitude: Floats
    noise: Floats
    flags: Integers
    level: Integers
    steps: Floats
    inverse: Floats
    above: npt.NDArray[np.bool_]
    errors: Floats

    @property
    def radius(self) -> Floats:
        """Radii."""
        return math.sqrt(2) * self.width

    def take(self, rows: Any) -> BlobRows:
        """Select rows."""
        columns: list[Any] = [column[rows] for column in self]
        return BlobRows(*columns)


class Extrema(NamedTuple):
    """Extrema of a level, with their neighbours.

    Attributes
    ----------
    level, sign : int
        The level, and 1 for maxima, -1 for minima.
    pixels : array of shape (N, ndim)
        Pixels of the grid of the level.
    inside : array of shape (N,)
        Whether all neighbours are in the image.
    cubes : array of shape (N, 3, ..., 3)
        The neighbours in three levels, those of minima negated.
    """

    level: int
    sign: int
    pixels: Integers
    inside: npt.NDArray[np.bool_]
    cubes: Floats


def extrema_of_level(ops: ScaleOps, held: list[Any], places: Integers, sign: int, level: int, ndim: int) -> Extrema:
    """Gather the neighbours of extrema of a level."""
    grid = tuple(held[1].shape)
    pixels = np.stack(np.unravel_index(places, grid), axis=1)[:, 3 - ndim :]
    inside = np.asarray(((pixels >= 1) & (pixels <= np.array(grid[3 - ndim :]) - 2)).all(axis=1))
    cubes = sign * ops.gather(held, places)
    return Extrema(level, sign, pixels, inside, cubes[:, :, 1] if ndim == 2 else cubes)


def rows_of(found: list[Extrema], plan: ScalePlan, noise: list[Floats], edge_ratio: float | None) -> BlobRows:
    """Fit extrema of levels, each with the noise of a pixel, and measure the blobs; edges are left out."""
    every = fit_extrema(  # of all levels at once, as few rows take as long as many
        np.concatenate([part.cubes for part in found]), np.concatenate([part.inside for part in found]), plan.method
    )
    ends = np.cumsum([len(part.inside) for part in found]).tolist()
    fits = [every.take(slice(end - len(part.inside), end)) for part, end in zip(found, ends, strict=True)]
    tables = [_rows_of_level(part, own, plan, sigma) for part, own, sigma in zip(found, fits, noise, strict=True)]
    columns: list[Any] = [np.concatenate(column) for column in zip(*tables, strict=True)]
    table = BlobRows(*columns)
    if edge_ratio is None:
        return table
    scale = np.array(plan.sigmas)[table.level][:, None] * np.array(plan.ratios) / table.steps
    return table.take(~is_edge(every.curvatures * scale[:, :, None] * scale[:, None], edge_ratio))


def _rows_of_level(part: Extrema, fits: ExtremumFits, plan: ScalePlan, sigma: Floats) -> BlobRows:
    """Measure blobs of a level."""
    n, count, response, grid = plan.ndim, len(part.pixels), level_responses(plan)[part.level], plan.grids()[part.level]
    places, above, variances = choose_places(fits, plan, part.level, grid, response, sigma)
    offset = np.interp(places.shifts[:, 0], response.shifts, response.offsets)
    offset[fits.flags != 0] = 0.0
    height = np.interp(offset, response.offsets, response.heights)
    errors = errors_of(places, variances, fits.stretch, plan, grid, response)
    errors[fits.flags != 0] = np.nan
    return BlobRows(
        coords=(part.pixels + places.shifts[:, 1:]) * grid,
        width=plan.widths[part.level] * plan.ratio**offset,
        amplitude=part.sign * places.values / height,
        noise=response.noise * plan.ratio ** (-0.5 * n * offset) / height,
        flags=fits.flags | (_MINIMUM if part.sign < 0 else 0),
        level=np.full(count, part.level),
        steps=np.full((count, n), grid, np.float64),
        inverse=places.inverse,
        above=above,
        errors=errors,
    )
