"""Responses of the levels of a scale space to Gaussian blobs and to white noise, from the transfer of their weights.

A response is a sum of products of functions of the frequency along each axis, so that integrals over frequencies are
sums of products of integrals along each axis.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.scale_space import LAPLACIAN, Chain, ScalePlan

__all__ = ["LevelResponse", "level_responses"]

_FREQUENCIES = 1024  # per axis, over which integrals are taken
_OFFSETS = 61  # of true widths from that of a level

Floats = npt.NDArray[np.float64]


class LevelResponse(NamedTuple):
    """A level: what it makes of a blob, and of noise of standard deviation 1.

    Attributes
    ----------
    noise : float
        Standard deviation of the response.
    level_slope, level_bend : float
        Variance of the central difference along levels, and of the second difference.
    level_twist : array of shape (ndim,)
        Variance of the mixed difference along levels and each axis.
    lags : array of shape (2, 3, ndim, 3)
        Covariances at distances of 0, 1 and 2 pixels of the grid along each axis, in this level and in the one above:
        of the curvatures along the other axes, of these with that along the axis, and of the latter. Responses that
        are no determinants are summed, and count as the first of the three.
    mixed : array of shape (2, ndim, ndim)
        Variance of the mixed difference along two axes in these levels, and 0.
    shifts, offsets : arrays
        Shifts along the levels that a fit finds, and true ones.
    heights : array
        Value of the fit for a blob of height 1, for each of these.
    """

    noise: float
    level_slope: float
    level_bend: float
    level_twist: Floats
    lags: Floats
    mixed: Floats
    shifts: Floats
    offsets: Floats
    heights: Floats


@functools.lru_cache(maxsize=64)
def level_responses(plan: ScalePlan) -> dict[int, LevelResponse]:
    """Return the responses of the levels at which blobs are reported."""
    chains = plan.chains()
    return {
        k: _level(plan, k, segment.steps, chains[k])
        for segment in plan.segments
        for k in range(segment.first, segment.last + 1)
    }


def _level(plan: ScalePlan, k: int, steps: tuple[int, ...], chains: tuple[Chain, ...]) -> LevelResponse:
    n = plan.ndim
    w = [_frequencies(plan.sigmas[max(k - 1, 0)] * r) for r in plan.ratios]
    smooth = [[_transfer(chain, axis, w[axis]) for axis in range(n)] for chain in chains]
    terms = [_terms(plan, k - 1 + j, steps, smooth, j, w) for j in range(3)]
    weights = [np.full(x.size, (x[1] - x[0]) / math.pi) for x in w]  # of both signs, over 2 pi
    for line in weights:
        line[0] *= 0.5
        line[-1] *= 0.5
    noise = _covariance(terms[1], terms[1], weights)
    variances = _variances(plan, steps, terms, w, weights)
    offsets = np.linspace(-1.6, 1.6, _OFFSETS)
    sizes = plan.widths[k] * plan.ratio**offsets
    blobs = [_spectra(sizes * r, x) * line for r, x, line in zip(plan.ratios, w, weights, strict=True)]
    values = np.array([_heights(plan.method, t, blobs) for t in terms])
    shifts, heights = _fitted(values)
    return LevelResponse(math.sqrt(noise), *variances, np.maximum.accumulate(shifts), offsets, heights)


def _variances(
    plan: ScalePlan, steps: tuple[int, ...], terms: list[list[list[Floats]]], w: list[Floats], weights: list[Floats]
) -> tuple[float, float, Floats, Floats, Floats]:
    """Return the variances of differences of the response to noise, along levels and axes, as in `LevelResponse`."""
    n = plan.ndim
    phases = [x * h for x, h in zip(w, steps, strict=True)]
    sines = [np.sin(phase) ** 2 for phase in phases]

    def along_levels(lines: list[Floats], a: list[float]) -> float:
        """Return the variance of a combination of the levels."""
        pairs = [(i, j) for i in range(3) for j in range(3) if a[i] and a[j]]
        return sum(a[i] * a[j] * _covariance(terms[i], terms[j], lines) for i, j in pairs)

    def times(factors: dict[int, Floats]) -> list[Floats]:
        return [line * factors.get(axis, 1.0) for axis, line in enumerate(weights)]

    lags, mixed, twist = np.zeros((2, 3, n, 3)), np.zeros((2, n, n)), np.zeros(n)
    for a in range(n):
        twist[a] = along_levels(times({a: sines[a]}), [-0.5, 0.0, 0.5])
        for j, parts in enumerate(terms[1:]):
            own = [parts[a]] if plan.method == "doh" else []
            others = [part for b, part in enumerate(parts) if b != a or not own]
            for lag in range(3):
                lines = times({a: np.cos(lag * phases[a])})
                pairs = ((others, others), (others, own), (own, own))
                lags[j, :, a, lag] = [_covariance(x, y, lines) for x, y in pairs]
            for b in range(a):
                mixed[j, a, b] = mixed[j, b, a] = _covariance(parts, parts, times({a: sines[a], b: sines[b]}))
    slope, bend = (along_levels(weights, a) for a in ([-0.5, 0.0, 0.5], [1.0, -2.0, 1.0]))
    return slope, bend, twist, lags, mixed


def _frequencies(sigma: float) -> Floats:
    return np.linspace(0, min(math.pi, 8 / sigma), _FREQUENCIES)


def _transfer(chain: Chain, axis: int, w: Floats) -> Floats:
    """Return the factors by which passes multiply waves along an axis."""
    product = np.ones(w.size)
    for lines, steps in chain:
        line, h = lines[axis], steps[axis]
        half = len(line) // 2
        product *= line[half] + 2 * sum(line[half + j] * np.cos(j * h * w) for j in range(1, half + 1))
    return product


def _terms(
    plan: ScalePlan, level: int, steps: tuple[int, ...], smooth: list[list[Floats]], j: int, w: list[Floats]
) -> list[list[Floats]]:
    """Return the response of a level as terms, each a function of the frequency along each axis."""
    if plan.method == "dog":
        return [smooth[j], [-smooth[j + 1][0], *smooth[j + 1][1:]]]
    terms = []
    for axis, factor in enumerate(plan.factors(level, steps)):
        phase = w[axis] * steps[axis]
        curved = -factor * (LAPLACIAN[0] + 2 * LAPLACIAN[1] * np.cos(phase) + 2 * LAPLACIAN[2] * np.cos(2 * phase))
        terms.append([f * curved if a == axis else f for a, f in enumerate(smooth[j])])
    return terms


def _covariance(a: list[list[Floats]], b: list[list[Floats]], weights: list[Floats]) -> float:
    total = 0.0
    for p in a:
        for q in b:
            total += math.prod(float((f * g) @ line) for f, g, line in zip(p, q, weights, strict=True))
    return total


def _spectra(sizes: Floats, w: Floats) -> Floats:
    """Return Fourier transforms of Gaussian lines of height 1, one row per width."""
    return np.asarray(math.sqrt(2 * math.pi) * sizes[:, None] * np.exp(-0.5 * (sizes[:, None] * w) ** 2))


def _heights(method: str, terms: list[list[Floats]], blobs: list[Floats]) -> Floats:
    """Return the responses at the centres of Gaussian blobs of height 1."""
    parts = np.array([math.prod(b @ f for f, b in zip(t, blobs, strict=True)) for t in terms])
    if method == "doh":
        return np.asarray(len(parts) * np.maximum(parts, 0.0).prod(axis=0) ** (1 / len(parts)))
    return np.asarray(parts.sum(axis=0))


def _fitted(values: Floats) -> tuple[Floats, Floats]:
    """Fit parabolas to the logarithms of three levels; return their vertices and the values there."""
    below, here, above = np.log(values)
    slope, curvature = 0.5 * (above - below), above - 2 * here + below
    shifts = -slope / curvature
    return shifts, np.exp(here + 0.5 * slope * shifts)
