"""Quadratic fits to extrema in space and scale, many at a time, on the host.

The logarithm of the response of a Gaussian blob is nearly quadratic, several times more so than the response, along
axes and along the logarithm of the width. Where a neighbour is not of the sign of the extremum, or the fit to the
logarithm fails, the response itself is fitted.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.constants import SINGULAR_TOLERANCE
from npsubpix._definitions.flags import PeakFlags

__all__ = ["ExtremumFits", "fit_extrema", "is_edge"]

_CORRECTIONS = 3
_FARTHEST = 1.0  # pixels or levels: an extremum is nearer to the pixel that exceeds its neighbours than to these

#: Flags of fits that another surface may do without.
_OF_SHAPE = (int(PeakFlags.SADDLE), int(PeakFlags.TOO_FAR))

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class ExtremumFits(NamedTuple):
    """Fits of extrema: where they are, and the response there.

    Attributes
    ----------
    shifts : array of shape (N, 1 + ndim)
        Shifts from the level, and from the pixel along axes; 0 where the fit failed.
    values : array of shape (N,)
        Response.
    inverse : array of shape (N, 1 + ndim, 1 + ndim)
        Inverse of the Hessian of the surface that was fitted, which is relative to the response.
    stretch : array of shape (N, 1 + ndim)
        Response at the pixel divided by that of its neighbours along levels and axes, by which their noise is greater.
    curvatures : array of shape (N, ndim, ndim)
        Spatial Hessian of the response, relative to it.
    flags : array of shape (N,)
        Bits of `PeakFlags`.
    """

    shifts: Floats
    values: Floats
    inverse: Floats
    stretch: Floats
    curvatures: Floats
    flags: Integers

    def take(self, rows: npt.NDArray[np.bool_]) -> ExtremumFits:
        """Select rows."""
        columns: list[Any] = [column[rows] for column in self]
        return ExtremumFits(*columns)


def fit_extrema(cubes: Floats, inside: npt.NDArray[np.bool_]) -> ExtremumFits:
    """Fit quadratics to maxima and their neighbours, of shape (N, 3, ..., 3), that lie inside the image."""
    flat = cubes.reshape(len(cubes), -1)
    centre = flat[:, flat.shape[1] // 2]
    with np.errstate(all="ignore"):
        relative = flat / centre[:, None]
        logarithmic = np.asarray((relative > 0).all(axis=1))
        surface = np.where(logarithmic[:, None], np.log(np.abs(relative)), relative - 1).reshape(cubes.shape)
        shift, gain, inverse, hessian, flags = _fitted(surface, twisted=True)
        stretch = np.where(logarithmic[:, None], np.exp(-0.5 * np.einsum("nii->ni", hessian)), 1.0)
        curvatures = _derivatives(relative.reshape(cubes.shape))[1][:, 1:, 1:]
        failed = np.flatnonzero(logarithmic & np.isin(flags, _OF_SHAPE))
        if failed.size:  # structure that is no Gaussian blob
            again = _fitted(relative[failed].reshape(-1, *cubes.shape[1:]) - 1, twisted=False)
            better = again[-1] == 0
            rows = failed[better]
            shift[rows], gain[rows], inverse[rows], hessian[rows], flags[rows] = (part[better] for part in again)
            logarithmic[rows], stretch[rows] = False, 1.0
        value = centre * np.where(logarithmic, np.exp(np.minimum(gain, 1.0)), 1 + gain)
    flags = np.where(np.isfinite(flat).all(axis=1), flags, int(PeakFlags.NONFINITE))
    flags = np.where(inside, flags, int(PeakFlags.AT_BORDER)).astype(np.int64)
    lost = flags != 0
    shift[lost], value[lost] = 0.0, centre[lost]
    return ExtremumFits(shift, value, inverse, stretch, curvatures, flags)


def _fitted(surface: Floats, *, twisted: bool) -> tuple[Floats, Floats, Floats, Floats, Integers]:
    """Fit quadratics to surfaces; return shifts, gains, inverses of Hessians, Hessians, and flags."""
    n = surface.ndim - 1
    slope, hessian = _derivatives(surface)
    scale = np.abs(hessian).max(axis=(1, 2))
    finite = np.asarray(np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(slope).all(axis=1) & (scale > 0))
    unit = np.where(finite[:, None, None], hessian / scale[:, None, None], np.eye(n))
    regular = finite & (np.abs(np.linalg.det(unit)) > SINGULAR_TOLERANCE)
    unit[~regular] = np.eye(n)
    inverse = np.linalg.inv(unit) / np.where(regular, scale, 1.0)[:, None, None]
    shift = _stationary(slope, inverse, _twist(surface)) if twisted else -np.einsum("nij,nj->ni", inverse, slope)
    definite = (np.linalg.eigvalsh(unit) < 0).all(axis=1)
    flags = np.where(regular, np.where(definite, 0, int(PeakFlags.SADDLE)), int(PeakFlags.SINGULAR))
    flags = np.where((flags == 0) & (np.abs(shift) > _FARTHEST).any(axis=1), int(PeakFlags.TOO_FAR), flags)
    return shift, 0.5 * np.einsum("ni,ni->n", slope, shift), inverse, hessian, flags


def _twist(surface: Floats) -> Floats:
    """Return the change of the spatial Hessian from level to level: wide levels are flatter."""
    below, above = (_derivatives(surface[:, k])[1] for k in (0, 2))
    return np.asarray(0.5 * (above - below))


def _stationary(slope: Floats, inverse: Floats, twist: Floats) -> Floats:
    """Return the stationary point of the quadratic with the third derivatives of level, axis and axis."""
    shift = -np.einsum("nij,nj->ni", inverse, slope)
    for _ in range(_CORRECTIONS):
        bounded = np.clip(shift, -1, 1)
        turned = np.einsum("nij,nj->ni", twist, bounded[:, 1:])
        third = np.concatenate(
            [0.5 * np.einsum("ni,ni->n", turned, bounded[:, 1:])[:, None], bounded[:, :1] * turned], axis=1
        )
        shift = -np.einsum("nij,nj->ni", inverse, slope + third)
    return np.asarray(shift)


def _derivatives(surface: Floats) -> tuple[Floats, Floats]:
    """Return central differences of first and second order at the centre."""
    n = surface.ndim - 1

    def at(**offsets: int) -> Floats:
        index: tuple[Any, ...] = (slice(None), *[1 + offsets.get(f"a{a}", 0) for a in range(n)])
        return np.asarray(surface[index])

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
