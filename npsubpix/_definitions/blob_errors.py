"""Standard errors of blobs in white noise, to first order, and positions that agree with each other within them."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.blob_fits import ExtremumFits, Places
from npsubpix._definitions.scale_responses import LevelResponse
from npsubpix._definitions.scale_space import ScalePlan

__all__ = ["choose_places", "errors_of"]

#: Squares of a normal deviate, added over axes, that one in a hundred exceeds: of two axes, and of three.
_DIFFERENT: Final = {2: 9.21, 3: 11.34}

#: Least squared difference of two positions that noise explains, in units of the variance of the better one.
_SAME = 0.05

#: Distance of these, in widths of a blob, up to which it is round: in photographs, other structures drift.
_FARTHEST = 0.1

#: Least mean square of a response, in squared pixels along an axis, of which the pixels show the extremum: s**2 +
#: sigma**2. That of narrower ones is biased, and less so in the level above.
_NARROWEST = 5.5

#: Share of a curvature at the centre of a blob that is left beside it, at least.
_FLATTEST = 0.1

Floats = npt.NDArray[np.float64]


def choose_places(
    fits: ExtremumFits, plan: ScalePlan, level: int, grid: tuple[int, ...], response: LevelResponse, noise: Floats
) -> tuple[Places, npt.NDArray[np.bool_], Floats]:
    """Return positions, whether they are those of the level above, and their variances in pixels for noise of 1.

    A position in the level above has less noise. That of the extremum is returned where the two differ by more than
    the noise of their difference, which has the difference of their variances: the test of J. Hausman, "Specification
    tests in econometrics", Econometrica 46, 1251-1271 (1978).
    """
    apart = fits.above.shifts[:, 1:] - fits.here.shifts[:, 1:]
    with np.errstate(all="ignore"):
        of_here, of_above = (
            np.einsum("nab,nb->na", places.inverse[:, 1:, 1:] ** 2, _variances(places, plan, level, grid, response, j))
            for j, places in enumerate((fits.here, fits.above))
        )
        explained = np.maximum(of_here - of_above, _SAME * of_above)
        noisy = apart / noise[:, None]
        same = fits.round & ((noisy**2 / explained).sum(axis=1) < _DIFFERENT[plan.ndim])
        widths = plan.widths[level] * np.array(plan.ratios) / grid
        chosen = np.asarray(same & (((apart / widths) ** 2).sum(axis=1) < _FARTHEST**2))
        chosen |= fits.round & (_squared_extent(plan, level, grid, 0, fits.here.shifts[:, :1]).min(axis=1) < _NARROWEST)
        # far from a place that is as likely: the difference is an error
        of_here = np.where(same[:, None], of_above + noisy**2, of_here)
    return fits.here.or_else(chosen, fits.above), chosen, np.where(chosen[:, None], of_above, of_here)


def _variances(
    places: Places, plan: ScalePlan, level: int, grid: tuple[int, ...], response: LevelResponse, above: int
) -> Floats:
    """Return the variances of the slopes of surfaces at their extrema along each axis, for noise of 1.

    The slope at a shift s is the sum of responses before, at and after the pixel with weights s - 1/2, -2 s and
    s + 1/2, and mixed differences times shifts along other axes. Of a determinant, noise of the curvature along an axis
    counts by the inverse of this curvature, which is less beside the centre.
    """
    n, shifts = plan.ndim, places.shifts[:, 1:]
    pixels = np.arange(-1, 2)
    away = pixels - shifts[:, :, None]
    weights = places.gains * np.stack([shifts - 0.5, -2 * shifts, shifts + 0.5], axis=2)
    flat = np.ones_like(away)
    if plan.method == "doh":
        left = np.maximum(1 - away**2 / _squared_extent(plan, level, grid, above)[:, None], _FLATTEST)
        flat, weights = 1 / left, weights * left ** (1 / n)
    others, shared, own = (parts[:, np.abs(pixels[:, None] - pixels)] for parts in response.lags[above])
    found = np.einsum("nai,aij,naj->na", weights, others, weights)
    found += 2 * np.einsum("nai,aij,naj->na", weights, shared, weights * flat)
    found += np.einsum("nai,aij,naj->na", weights * flat, own, weights * flat)
    beside = places.gains[:, :, 0] * places.gains[:, :, 2]
    return np.asarray(found + np.einsum("ab,nb->na", response.mixed[above], shifts**2) * beside)


def _squared_extent(
    plan: ScalePlan, level: int, grid: tuple[int, ...], above: int, shift: float | Floats = 0.0
) -> Floats:
    """Return the sum of the variances of a blob and of a filter along each axis, in pixels of the grid."""
    both = (plan.widths[level] * plan.ratio**shift) ** 2 + plan.sigmas[level + above] ** 2
    return np.asarray(both * (np.array(plan.ratios) / grid) ** 2)


def errors_of(
    places: Places, variances: Floats, stretch: Floats, plan: ScalePlan, grid: tuple[int, ...], response: LevelResponse
) -> Floats:
    """Return the standard errors of the logarithm of the width and of positions in pixels, for noise of 1."""
    along = response.level_slope + places.shifts[:, 0] ** 2 * response.level_bend
    along = along + (places.shifts[:, 1:] ** 2) @ response.level_twist
    with np.errstate(divide="ignore", invalid="ignore"):
        width = math.log(plan.ratio) * np.abs(places.inverse[:, 0, 0]) * np.sqrt(along) * stretch / places.values
    return np.concatenate([width[:, None], np.sqrt(variances) * grid], axis=1)
