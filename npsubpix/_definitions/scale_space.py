"""Scales at which blobs are sought: widths of Gaussians, grids of a pyramid, lines of weights and their transfer.

Widths of levels are those of the blobs that answer most, of which `blob_sizes` has the formulas. Level 0 and the last
one are guards, in which no blob is reported.
"""

from __future__ import annotations

import functools
import math
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from npsubpix._definitions.blob_sizes import filter_width

__all__ = ["FIRST", "LAPLACIAN", "SCALE_METHODS", "Chain", "ScalePlan", "Segment", "gaussian_of_variance", "scale_plan"]

#: Filters whose extrema are blobs, and the Gaussian alone.
SCALE_METHODS: Final = ("log", "dog", "doh")

#: Weights of the second derivative at a pixel and its two neighbours on each side, which is of fourth order.
LAPLACIAN: Final = (-5 / 2, 4 / 3, -1 / 12)

#: Weights of the first derivative: differences of the first, and of the second neighbours.
FIRST: Final = (2 / 3, -1 / 12)

#: Widths, in pixels of a grid, beyond which every second pixel is enough, and that an image must have to be decimated.
_WIDEST, _LEAST_SMOOTH = 3.2, 2.4

_TRUNCATE = 3.5  # of Gaussians, in standard deviations

#: Weights per axis.
Lines: TypeAlias = tuple[tuple[float, ...], ...]

#: Lines of weights per axis, each with the step of its grid per axis, one pass after the other.
Chain: TypeAlias = tuple[tuple[Lines, tuple[int, ...]], ...]


#: Lines of weights, none for no pass, and the steps by which the result is decimated.
Start: TypeAlias = tuple[tuple[Lines, tuple[int, ...]], ...]


class Segment(NamedTuple):
    """Levels on one grid: it starts from a smoothed image, and ends with what the next one starts from.

    Attributes
    ----------
    first, last : int
        Levels at which blobs are reported; the one before and the one after are computed on this grid too.
    steps : tuple of ints
        Pixels of the image between two of the grid, per axis.
    start : tuple of pairs
        Passes before level ``first - 1``, each with lines of weights, and the steps by which its result is decimated.
    lines : tuple of lines
        Weights that lead from each level, from ``first - 1`` on, to the next.
    """

    first: int
    last: int
    steps: tuple[int, ...]
    start: Start
    lines: tuple[Lines, ...]


class ScalePlan(NamedTuple):
    """Levels of a scale space.

    Attributes
    ----------
    method : {"log", "dog", "doh"}
        Filter.
    ratio : float
        Of the widths of two levels.
    widths : tuple of floats
        Width of the blobs that answer most, per level, guards included.
    sigmas : tuple of floats
        Width of the Gaussian, per level; with "dog", of one more.
    ratios : tuple of floats
        Widths along each axis in units of these.
    segments : tuple of Segment
        Levels on each grid.
    """

    method: str
    ratio: float
    widths: tuple[float, ...]
    sigmas: tuple[float, ...]
    ratios: tuple[float, ...]
    segments: tuple[Segment, ...]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.ratios)

    def factors(self, level: int, steps: tuple[int, ...]) -> tuple[float, ...]:
        """Return the factors of second derivatives along each axis of a grid, in units of the width of the level."""
        return tuple((self.sigmas[level] * r / h) ** 2 for r, h in zip(self.ratios, steps, strict=True))

    def grids(self) -> dict[int, tuple[int, ...]]:
        """Return the steps of the grid of each level at which blobs are reported."""
        return {k: segment.steps for segment in self.segments for k in range(segment.first, segment.last + 1)}

    def chains(self) -> dict[int, tuple[Chain, ...]]:
        """Return, for each level at which blobs are reported, the passes that lead to it and to its neighbours."""
        found: dict[int, tuple[Chain, ...]] = {}
        begin: Chain = ()
        for segment in self.segments:
            chain = begin
            steps = begin[-1][1] if begin else (1,) * self.ndim
            for lines, decimation in segment.start:
                if lines:
                    chain = (*chain, (lines, steps))
                steps = tuple(a * b for a, b in zip(steps, decimation, strict=True))
            levels = [chain]
            for lines in segment.lines:
                levels.append((*levels[-1], (lines, segment.steps)))
            more = 1 if self.method == "dog" else 0
            for k in range(segment.first, segment.last + 1):
                j = k - segment.first
                found[k] = tuple(levels[j : j + 3 + more])
            begin = levels[segment.last - segment.first + 1]
        return found


def gaussian_of_variance(variance: float) -> tuple[float, ...]:
    """Return samples of a Gaussian whose variance, as a line of weights, is this one, and whose sum is 1."""
    if variance <= 0:
        return (1.0,)
    if variance < 0.15:
        return (variance / 2, 1 - variance, variance / 2)
    radius = int(_TRUNCATE * math.sqrt(variance) + 0.5)
    squares = np.arange(-radius, radius + 1) ** 2
    low, high = 0.5 * variance, 2.5 * variance + 0.3
    for _ in range(60):
        middle = 0.5 * (low + high)
        weights = np.exp(-0.5 * squares / middle)
        weights /= weights.sum()
        low, high = (middle, high) if weights @ squares < variance else (low, middle)
    return tuple(weights.tolist())


@functools.lru_cache(maxsize=64)
def scale_plan(method: str, least: float, most: float, per_octave: int, ratios: tuple[float, ...]) -> ScalePlan:
    """Plan the levels for blobs from the least to the greatest width."""
    n = len(ratios)
    count = max(1, math.ceil(per_octave * math.log2(most / least) - 1e-9) + 1)
    ratio = (most / least) ** (1 / (count - 1)) if count > 1 else 2.0 ** (1 / per_octave)
    widths = tuple(least * ratio ** (k - 1) for k in range(count + 2))
    factor = filter_width(method, n, ratio)
    sigmas = tuple(factor * least * ratio ** (k - 1) for k in range(count + 2 + (method == "dog")))
    return ScalePlan(method, ratio, widths, sigmas, ratios, _segments(sigmas, ratios, count, method == "dog"))


def _segments(
    sigmas: tuple[float, ...], ratios: tuple[float, ...], count: int, difference: bool
) -> tuple[Segment, ...]:
    """Divide levels into those of each grid."""
    grids = [tuple(1 for _ in ratios)]
    for k in range(1, count + 1):
        grids.append(tuple(_step(sigmas[k - 1] * r, sigmas[k] * r, h) for r, h in zip(ratios, grids[-1], strict=True)))
    segments: list[Segment] = []
    first = 1
    while first <= count:
        last = first
        while last < count and grids[last + 1] == grids[first]:
            last += 1
        steps = grids[first]
        variances = [[(s * r / h) ** 2 for r, h in zip(ratios, steps, strict=True)] for s in sigmas]
        lines = tuple(
            tuple(gaussian_of_variance(b - a) for a, b in zip(variances[j], variances[j + 1], strict=True))
            for j in range(first - 1, last + 1 + difference)
        )
        if segments:
            before = segments[-1].steps
            start: Start = (((), tuple(b // a for a, b in zip(before, steps, strict=True))),)
        else:
            start = _beginning(sigmas[0], ratios, steps)
        segments.append(Segment(first, last, steps, start, lines))
        first = last + 1
    return tuple(segments)


def _step(before: float, width: float, step: int) -> int:
    """Return the step of the grid along an axis, from that of the level before."""
    while before / step >= _LEAST_SMOOTH and width / step > _WIDEST:
        step *= 2
    return step


def _beginning(
    sigma: float, ratios: tuple[float, ...], steps: tuple[int, ...]
) -> tuple[tuple[Lines, tuple[int, ...]], ...]:
    """Return the passes from the image to its first level, and the decimations after them."""
    passes = []
    now, have = [1] * len(ratios), [0.0] * len(ratios)
    while now != list(steps):
        halved = [2 if a < b else 1 for a, b in zip(now, steps, strict=True)]
        want = [(_LEAST_SMOOTH * a) ** 2 if h == 2 else v for a, h, v in zip(now, halved, have, strict=True)]
        lines = tuple(gaussian_of_variance((w - v) / a**2) for w, v, a in zip(want, have, now, strict=True))
        passes.append((lines, tuple(halved)))
        now, have = [a * h for a, h in zip(now, halved, strict=True)], want
    last = tuple(gaussian_of_variance(((sigma * r) ** 2 - v) / a**2) for r, v, a in zip(ratios, have, now, strict=True))
    return (*passes, (last, (1,) * len(ratios)))
