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
    slope_noise : tuple of floats
        That of the central difference of the response along the logarithm of the width, then along each axis, in
        pixels of the grid.
    shifts, offsets : arrays
        Shifts along the levels that a fit finds, and true ones.
    heights : array
        Value of the fit for a blob of height 1, for each of these.
    """

    noise: float
    slope_noise: tuple[float, ...]
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
    ends = [_covariance(terms[a], terms[b], weights) for a, b in ((0, 0), (2, 2), (0, 2))]
    slopes = [0.25 * (ends[0] + ends[1] - 2 * ends[2])]
    for axis in range(n):
        turned = [line * np.sin(x * steps[axis]) ** 2 if a == axis else line
                  for a, (line, x) in enumerate(zip(weights, w, strict=True))]  # fmt: skip
        slopes.append(_covariance(terms[1], terms[1], turned))
    offsets = np.linspace(-1.6, 1.6, _OFFSETS)
    sizes = plan.widths[k] * plan.ratio**offsets
    values = np.array([[_height(plan.method, t, s, plan.ratios, w, weights) for s in sizes] for t in terms])
    shifts, heights = _fitted(values)
    order = np.argsort(shifts)
    return LevelResponse(
        math.sqrt(noise), tuple(math.sqrt(max(s, 0.0)) for s in slopes), shifts[order], offsets[order], heights[order]
    )


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


def _height(
    method: str, terms: list[list[Floats]], size: float, ratios: tuple[float, ...], w: list[Floats],
    weights: list[Floats],
) -> float:  # fmt: skip
    """Return the response at the centre of a Gaussian blob of height 1."""
    blob = [
        math.sqrt(2 * math.pi) * size * r * np.exp(-0.5 * (size * r * x) ** 2) for r, x in zip(ratios, w, strict=True)
    ]
    parts = [math.prod(float((f * b) @ line) for f, b, line in zip(t, blob, weights, strict=True)) for t in terms]
    if method == "doh":
        return len(parts) * math.prod(max(p, 0.0) for p in parts) ** (1 / len(parts))
    return sum(parts)


def _fitted(values: Floats) -> tuple[Floats, Floats]:
    """Fit parabolas to the logarithms of three levels; return their vertices and the values there."""
    below, here, above = np.log(values)
    slope, curvature = 0.5 * (above - below), above - 2 * here + below
    shifts = -slope / curvature
    return shifts, np.exp(here + 0.5 * slope * shifts)
