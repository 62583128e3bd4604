"""Quadratic fits to extrema in space and scale, many at a time, on the host.

The logarithm of the response of a Gaussian blob is nearly quadratic, several times more so than the response, along
axes and along the logarithm of the width. Where a neighbour is not of the sign of the extremum, the response itself
is fitted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.constants import SINGULAR_TOLERANCE
from npsubpix._definitions.flags import PeakFlags

__all__ = ["ExtremumFits", "fit_extrema", "is_edge"]

_ITERATIONS = 5
_THRESHOLD = 0.6  # shift that leads to the next pixel
_FARTHEST = 1.5  # pixels or levels

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class ExtremumFits(NamedTuple):
    """Fits of extrema: where they are, and the response there.

    Attributes
    ----------
    pixels : array of shape (N, 3)
        Pixel of the grid, (z, y, x), of the last fit.
    shifts : array of shape (N, 1 + ndim)
        Shifts from the level, and from the pixel; 0 where the fit failed.
    values : array of shape (N,)
        Response.
    inverse : array of shape (N, 1 + ndim, 1 + ndim)
        Inverse of the Hessian in units of the response.
    curvatures : array of shape (N, ndim, ndim)
        Spatial Hessian of the response.
    flags : array of shape (N,)
        Bits of `PeakFlags`.
    """

    pixels: Integers
    shifts: Floats
    values: Floats
    inverse: Floats
    curvatures: Floats
    flags: Integers


def fit_extrema(
    gather: Callable[[Integers], Floats], places: Integers, grid: tuple[int, ...], ndim: int
) -> ExtremumFits:
    """Fit the extrema at places in memory of a grid of three axes, whose neighbours `gather` returns as maxima."""
    count, axes = len(places), slice(3 - ndim, None)
    start = np.stack(np.unravel_index(places, grid), axis=1)
    pixels, flags = start.copy(), np.zeros(count, np.int64)
    size = np.array(grid)
    shifts, values = np.zeros((count, 1 + ndim)), np.zeros(count)
    inverse, curvatures = np.zeros((count, 1 + ndim, 1 + ndim)), np.zeros((count, ndim, ndim))
    todo = np.arange(count)
    for iteration in range(_ITERATIONS):
        at = pixels[todo]
        inside = ((at[:, axes] >= 1) & (at[:, axes] <= size[axes] - 2)).all(axis=1)
        cubes = gather(np.ravel_multi_index(tuple(at.T), grid))
        if ndim == 2:
            cubes = cubes[:, :, 1]
        shift, value, inv, curvature, flag = _fit(cubes)
        flag = np.where(inside, flag, int(PeakFlags.AT_BORDER))
        if iteration == 0:
            values[todo], curvatures[todo] = cubes.reshape(len(todo), -1)[:, cubes[0].size // 2], curvature
        step = np.where(np.abs(shift[:, 1:]) > _THRESHOLD, np.sign(shift[:, 1:]), 0).astype(np.int64)
        step[flag != 0] = 0
        still = ~step.any(axis=1)
        far = (np.abs(shift) > _FARTHEST).any(axis=1)
        flag = np.where(still & (flag == 0) & far, int(PeakFlags.TOO_FAR), flag)
        good = still & (flag == 0)
        done = todo[good]
        shifts[done], values[done], inverse[done], curvatures[done] = (
            column[good] for column in (shift, value, inv, curvature)
        )
        bad = still & (flag != 0)
        flags[todo[bad]] = flag[bad]
        pixels[todo[bad]] = start[todo[bad]]
        todo, step = todo[~still], step[~still]
        if not todo.size:
            break
        pixels[todo, 3 - ndim :] += step
    flags[todo] = int(PeakFlags.NOT_CONVERGED)
    pixels[todo] = start[todo]
    return ExtremumFits(pixels, shifts, values, inverse, curvatures, flags)


def _fit(cubes: Floats) -> tuple[Floats, Floats, Floats, Floats, Integers]:
    """Fit quadratics to neighbours of shape (N, 3, ..., 3); return shifts, values, inverse and spatial Hessian, flags."""
    n = cubes.ndim - 1
    flat = cubes.reshape(len(cubes), -1)
    centre = flat[:, flat.shape[1] // 2]
    with np.errstate(all="ignore"):
        relative = flat / centre[:, None]
        logarithmic = (relative > 0).all(axis=1)
        surface = np.where(logarithmic[:, None], np.log(np.abs(relative)), relative - 1).reshape(cubes.shape)
        slope, hessian = _derivatives(surface)
        scale = np.abs(hessian).max(axis=(1, 2))
        finite = np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(slope).all(axis=1) & (scale > 0)
        unit = np.where(finite[:, None, None], hessian / scale[:, None, None], np.eye(n))
        det = np.linalg.det(unit)
        regular = finite & (np.abs(det) > SINGULAR_TOLERANCE)
        unit[~regular] = np.eye(n)
        inverse = np.linalg.inv(unit) / np.where(regular, scale, 1.0)[:, None, None]
        shift = -np.einsum("nij,nj->ni", inverse, slope)
        definite = (np.linalg.eigvalsh(unit) < 0).all(axis=1)
        gain = 0.5 * np.einsum("ni,ni->n", slope, shift)
        value = centre * np.where(logarithmic, np.exp(np.minimum(gain, 1.0)), 1 + gain)
    flags = np.where(regular, np.where(definite, 0, int(PeakFlags.SADDLE)), int(PeakFlags.SINGULAR))
    flags = np.where(np.isfinite(flat).all(axis=1), flags, int(PeakFlags.NONFINITE))
    curvature = hessian if n == 3 else hessian
    return shift, value, inverse, curvature[:, 1:, 1:], flags


def _derivatives(surface: Floats) -> tuple[Floats, Floats]:
    """Return central differences of first and second order at the centre."""
    n = surface.ndim - 1

    def at(**offsets: int) -> Floats:
        index = tuple(1 + offsets.get(f"a{a}", 0) for a in range(n))
        return np.asarray(surface[(slice(None), *index)])

    centre = at()
    slope = np.stack([0.5 * (at(**{f"a{a}": 1}) - at(**{f"a{a}": -1})) for a in range(n)], axis=1)
    hessian = np.empty((len(surface), n, n))
    for a in range(n):
        hessian[:, a, a] = at(**{f"a{a}": 1}) - 2 * centre + at(**{f"a{a}": -1})
    for a, b in itertools.combinations(range(n), 2):
        corners = {(p, q): at(**{f"a{a}": p, f"a{b}": q}) for p in (-1, 1) for q in (-1, 1)}
        mixed = 0.25 * (corners[1, 1] - corners[1, -1] - corners[-1, 1] + corners[-1, -1])
        hessian[:, a, b] = hessian[:, b, a] = mixed
    return slope, hessian


def is_edge(curvatures: Floats, ratio: float) -> npt.NDArray[np.bool_]:
    """Whether the curvatures along two directions are not of one sign, or exceed a ratio."""
    if curvatures.shape[1] == 2:
        trace = curvatures[:, 0, 0] + curvatures[:, 1, 1]
        det = curvatures[:, 0, 0] * curvatures[:, 1, 1] - curvatures[:, 0, 1] ** 2
        return np.asarray(~(trace**2 * ratio < (ratio + 1) ** 2 * det))
    with np.errstate(invalid="ignore"):
        finite = np.where(np.isfinite(curvatures), curvatures, 0.0)
    values = np.linalg.eigvalsh(finite)
    same = (values > 0).all(axis=1) | (values < 0).all(axis=1)
    sizes = np.sort(np.abs(values), axis=1)
    return np.asarray(~(same & (sizes[:, -1] < ratio * sizes[:, 0])))
