"""Quadratic fits to extrema in space and scale, many at a time, on the host.

Along levels, which are equal steps of the logarithm of the width, the logarithm of the response of a Gaussian blob is
nearly quadratic. Along axes, at a distance r from a Gaussian, with u = r**2 / (s**2 + sigma**2), the Laplacian is
proportional to exp(-u / 2) * (1 - u / n), and the root of the determinant to exp(-u / 2) * (1 - u)**(1 / n). The power
of these that has no term of u**2 is 4 / (n + 2)**2, and 4 n / (n + 2)**2: that is what quadratics are fitted to. Where
a neighbour along an axis or a level is not of the sign of the extremum, or this fit fails, the response is fitted.

A position is measured in the level above that of the extremum. In white noise, the Laplacian of width sigma of a
Gaussian of width s and height A in n dimensions has its extremum at a distance of variance

    noise**2 / A**2 * (4 pi)**(-n/2) * (n/2 + 1) * (n/2 + 2) / (2 (n + 2)**2) * t**(2 n + 8) / (s**(2 n) sigma**(n + 6))

along an axis, ``t**2 = s**2 + sigma**2``: the variance of the slope divided by the square of the curvature. It is least
at ``sigma**2 = s**2 * (n + 6) / (n + 2)``, which is above the width at which the response to the blob is greatest,
``sigma**2 = s**2 * 2 / n``. In units of the bound of Cramer and Rao, the error is 1.22 in images and 1.56 in volumes at
the extremum, and 1.05 and 1.15 a third of an octave above. Only round structures have the same position in both levels:
`blob_errors` tells whether they differ by more than noise does, and the position is that of the extremum then.
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
_LEAST = 0.2  # response, in units of that of the extremum, below which noise and zeros distort its power

#: Flags of fits that another surface may do without.
_OF_SHAPE = (int(PeakFlags.SADDLE), int(PeakFlags.TOO_FAR))

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Places(NamedTuple):
    """Extrema of surfaces, of one level.

    Attributes
    ----------
    shifts : array of shape (N, 1 + ndim)
        Shifts from the level, and from the pixel along axes; 0 where the fit failed.
    values : array of shape (N,)
        Response.
    inverse : array of shape (N, 1 + ndim, 1 + ndim)
        Inverse of the Hessian of the surface, which is relative to the response.
    gains : array of shape (N, ndim, 3)
        Change of the surface per change of the response, before, at and after the pixel along each axis.
    """

    shifts: Floats
    values: Floats
    inverse: Floats
    gains: Floats

    def or_else(self, rows: npt.NDArray[np.bool_], others: Places) -> Places:
        """Replace rows."""
        parts = [np.where(rows.reshape(-1, *(1,) * (x.ndim - 1)), y, x) for x, y in zip(self, others, strict=True)]
        return Places(*parts)

    def take(self, rows: slice) -> Places:
        """Return some rows."""
        return Places(*(part[rows] for part in self))


class ExtremumFits(NamedTuple):
    """Fits of extrema: where they are, and the response there.

    Attributes
    ----------
    here, above : Places
        The extremum; and its position in the level above, with the shift along levels and the response there.
    round : array of shape (N,)
        Whether there is a position in the level above.
    stretch : array of shape (N,)
        Response at the pixel divided by that of its neighbours along levels, by which their noise is greater.
    curvatures : array of shape (N, ndim, ndim)
        Spatial Hessian of the response, relative to it.
    flags : array of shape (N,)
        Bits of `PeakFlags`.
    """

    here: Places
    above: Places
    round: npt.NDArray[np.bool_]
    stretch: Floats
    curvatures: Floats
    flags: Integers

    def take(self, rows: slice) -> ExtremumFits:
        """Return some rows."""
        columns: list[Any] = [part[rows] for part in self[2:]]
        return ExtremumFits(self.here.take(rows), self.above.take(rows), *columns)


def fit_extrema(cubes: Floats, inside: npt.NDArray[np.bool_], method: str) -> ExtremumFits:
    """Fit quadratics to maxima and their neighbours, of shape (N, 3, ..., 3), that lie inside the image."""
    flat = cubes.reshape(len(cubes), -1)
    n, lines = cubes.ndim - 2, _lines(cubes.ndim - 2)
    centre = flat[:, flat.shape[1] // 2]
    with np.errstate(all="ignore"):
        relative = flat / centre[:, None]
        needed = np.concatenate([lines[0, 0, 1:2], lines[1:].ravel()])
        curved = np.asarray((relative[:, needed] > _LEAST).all(axis=1))
        power = np.where(curved, 4 * (n if method == "doh" else 1) / (n + 2) ** 2, 1.0)
        surface = np.where(curved[:, None], _power_of(relative, float(power.min(initial=1.0))), relative - 1)
        surface = surface.reshape(cubes.shape)
        fit = _fitted(surface, twisted=True)
        curvatures = _derivatives(relative.reshape(cubes.shape))[1][:, 1:, 1:]
        failed = np.flatnonzero(curved & np.isin(fit.flags, _OF_SHAPE))
        if failed.size:  # structure that is no Gaussian blob
            again = _fitted(relative[failed].reshape(-1, *cubes.shape[1:]) - 1, twisted=False)
            better = again.flags == 0
            fit.put(failed[better], again.take(better))
            curved[failed[better]], power[failed[better]] = False, 1.0
        shift, gain, inverse, right = _in_level_above(surface, fit)
        stretch = np.where(curved, np.exp(-0.5 * fit.hessian[:, 0, 0]), 1.0)
        near = np.maximum(relative[:, lines] / relative[:, lines[:, :, 1:2]], _LEAST)
        gains = near ** (power[:, None, None, None] - 1) / flat[:, lines[:, :, 1:2]]
    flags = np.where(np.isfinite(flat).all(axis=1), fit.flags, int(PeakFlags.NONFINITE))
    flags = np.where(inside, flags, int(PeakFlags.AT_BORDER)).astype(np.int64)
    lost = flags != 0

    def places(shift: Floats, gain: Floats, inverse: Floats, level: int) -> Places:
        with np.errstate(all="ignore"):
            value = centre * (1 + power * np.minimum(gain, 1.0)) ** (1 / power)
        value = np.where(lost, centre, value)
        return Places(np.where(lost[:, None], 0.0, shift), value, inverse, gains[:, level])

    here, above = places(fit.shift, fit.gain, fit.inverse, 1), places(shift, gain, inverse, 2)
    return ExtremumFits(here, above, curved & right & ~lost, stretch, curvatures, flags)


def _power_of(relative: Floats, power: float) -> Floats:
    """Return a power of responses, that is 0 and has a slope of 1 at the pixel of each level; of these the logarithm.

    NaN where a response is nearly 0, or less.
    """
    levels = np.where(relative > _LEAST, relative, np.nan).reshape(len(relative), 3, -1)
    middle = levels[:, :, levels.shape[2] // 2, None]
    return np.asarray((np.log(middle) + ((levels / middle) ** power - 1) / power).reshape(relative.shape))


def _lines(n: int) -> Integers:
    """Return the places of neighbours along n axes in each of three levels, of shape (3, n, 3), in a flat cube."""
    steps = 3 ** np.arange(n - 1, -1, -1)
    level = 3**n // 2 + steps[:, None] * np.arange(-1, 2)
    return np.asarray(3**n * np.arange(3)[:, None, None] + level)


class _Quadratics(NamedTuple):
    """Quadratics of surfaces: stationary points, gains of height there, inverses of Hessians, Hessians, and flags."""

    slope: Floats
    twist: Floats
    shift: Floats
    gain: Floats
    inverse: Floats
    hessian: Floats
    flags: Integers

    def take(self, rows: Any) -> _Quadratics:
        return _Quadratics(*(part[rows] for part in self))

    def put(self, rows: Any, others: _Quadratics) -> None:
        for part, other in zip(self, others, strict=True):
            part[rows] = other


def _fitted(surface: Floats, *, twisted: bool) -> _Quadratics:
    """Fit quadratics to surfaces, with the change of the spatial Hessian from level to level if they are twisted."""
    slope, hessian = _derivatives(surface)
    twist = _twist(surface)
    inverse, definite, regular = _inverted(hessian)
    shift = _stationary(slope, inverse, twist) if twisted else -np.einsum("nij,nj->ni", inverse, slope)
    flags = np.where(regular, np.where(definite, 0, int(PeakFlags.SADDLE)), int(PeakFlags.SINGULAR))
    flags = np.where((flags == 0) & (np.abs(shift) > _FARTHEST).any(axis=1), int(PeakFlags.TOO_FAR), flags)
    return _Quadratics(slope, twist, shift, 0.5 * np.einsum("ni,ni->n", slope, shift), inverse, hessian, flags)


def _inverted(hessian: Floats) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return inverses of Hessians, whether these are negative definite, and whether they have an inverse."""
    n = hessian.shape[1]
    scale = np.abs(hessian).max(axis=(1, 2))
    finite = np.asarray(np.isfinite(hessian).all(axis=(1, 2)) & (scale > 0))
    unit = np.where(finite[:, None, None], hessian / scale[:, None, None], np.eye(n))
    regular = finite & (np.abs(np.linalg.det(unit)) > SINGULAR_TOLERANCE)
    unit[~regular] = np.eye(n)
    inverse = np.linalg.inv(unit) / np.where(regular, scale, 1.0)[:, None, None]
    return inverse, np.asarray((np.linalg.eigvalsh(unit) < 0).all(axis=1)), regular


def _in_level_above(surface: Floats, fit: _Quadratics) -> tuple[Floats, Floats, Floats, npt.NDArray[np.bool_]]:
    """Return shifts, gains, inverses of Hessians, and whether the quadratic of the level above has a maximum near.

    The shift is that of the maximum in the level above, and along the levels that at this place.
    """
    slope, hessian = _derivatives(surface[:, 2])
    inverse, definite, _ = _inverted(hessian)
    place = -np.einsum("nij,nj->ni", inverse, slope)
    turned = np.einsum("nij,nj->ni", fit.twist, place)
    along = fit.slope[:, 0] + np.einsum("ni,ni->n", fit.hessian[:, 0, 1:] + 0.5 * turned, place)
    level = -along / fit.hessian[:, 0, 0]
    shift = np.concatenate([level[:, None], place], axis=1)
    bent = 0.5 * np.einsum("ni,nij,nj->n", shift, fit.hessian, shift)
    gain = np.einsum("ni,ni->n", fit.slope, shift) + bent + 0.5 * level * np.einsum("ni,ni->n", turned, place)
    apart = np.zeros_like(fit.inverse)
    apart[:, 0, 0], apart[:, 1:, 1:] = 1 / fit.hessian[:, 0, 0], inverse
    return shift, gain, apart, np.asarray(definite & (np.abs(shift) <= _FARTHEST).all(axis=1))


def _twist(surface: Floats) -> Floats:
    """Return the change of the spatial Hessian from level to level: wide levels are flatter."""
    below, here, above = (_derivatives(surface[:, k])[1] for k in range(3))
    return np.where(np.isnan(below), above - here, 0.5 * (above - below))


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
    """Return central differences of first and second order at the centre.

    Of the four pixels of a mixed difference, two on a diagonal are enough; it is 0 if both diagonals have NaN.
    """
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
        up, down = (at(**{f"a{a}": 1, f"a{b}": q}) + at(**{f"a{a}": -1, f"a{b}": -q}) - 2 * centre for q in (1, -1))
        sides = hessian[:, a, a] + hessian[:, b, b]
        mixed = np.where(np.isnan(down), 0.5 * (up - sides), 0.25 * (up - down))
        mixed = np.where(np.isnan(up), 0.5 * (sides - down), mixed)
        hessian[:, a, b] = hessian[:, b, a] = np.where(np.isnan(up) & np.isnan(down), 0.0, mixed)
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
