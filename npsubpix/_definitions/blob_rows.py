"""Rows of blobs: what a fit to an extremum of a level says about a blob."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.blob_fits import fit_extrema, is_edge
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


def rows_of(found: list[Extrema], plan: ScalePlan, edge_ratio: float | None) -> BlobRows:
    """Fit extrema, and measure the blobs; those that are edges are left out."""
    n = plan.ndim
    responses, grids = level_responses(plan), plan.grids()
    sizes = [len(part.pixels) for part in found]

    def spread(values: list[Any]) -> Floats:
        """Return one row per extremum from one per level."""
        return np.repeat(np.array(values, np.float64), sizes, axis=0)

    level = spread([part.level for part in found]).astype(np.int64)
    sign = spread([part.sign for part in found])
    grid = spread([grids[part.level] for part in found])
    pixels = np.concatenate([part.pixels for part in found])
    fits = fit_extrema(np.concatenate([part.cubes for part in found]), np.concatenate([part.inside for part in found]))
    offset, height = np.zeros(len(level)), np.zeros(len(level))
    ends = np.cumsum(sizes)
    for part, end in zip(found, ends.tolist(), strict=True):
        rows, response = slice(end - len(part.pixels), end), responses[part.level]
        offset[rows] = np.interp(fits.shifts[rows, 0], response.shifts, response.offsets)
        offset[rows][fits.flags[rows] != 0] = 0.0
        height[rows] = np.interp(offset[rows], response.offsets, response.heights)
    noise = spread([responses[part.level].noise for part in found]) * plan.ratio ** (-0.5 * n * offset)
    slopes = spread([responses[part.level].slope_variances for part in found])
    bends = spread([responses[part.level].bend_variances for part in found])
    variances = (slopes + np.einsum("nab,nb->na", bends, fits.shifts**2)) * fits.stretch**2
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.sqrt(np.einsum("nab,nb->na", fits.inverse**2, variances)) / fits.values[:, None]
    errors[:, 0] *= math.log(plan.ratio)
    errors[:, 1:] *= grid
    errors[fits.flags != 0] = np.nan
    table = BlobRows(
        coords=(pixels + fits.shifts[:, 1:]) * grid,
        width=np.array(plan.widths)[level] * plan.ratio**offset,
        amplitude=sign * fits.values / height,
        noise=noise / height,
        flags=fits.flags | np.where(sign < 0, _MINIMUM, 0),
        level=level,
        steps=grid,
        inverse=fits.inverse,
        errors=errors,
    )
    if edge_ratio is None:
        return table
    scale = np.array(plan.sigmas)[level][:, None] * np.array(plan.ratios) / grid
    return table.take(~is_edge(fits.curvatures * scale[:, :, None] * scale[:, None], edge_ratio))
