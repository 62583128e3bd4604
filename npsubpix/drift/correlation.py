"""Shifts between the segments of a movie, from the correlation of images that are rendered of their localizations.

Source: Wang, Schnitzbauer, Hu, Li, Cheng, Huang and Huang, "Localization events-based sample drift correction for
localization microscopy with redundant cross-correlation algorithm", Optics Express 22 (2014), 15982-15991.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix.gaussian import render_spots

__all__ = ["Pairs", "drift_of_pairs", "lateral_pairs"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Least height of the maximum of a correlation above its mean, in standard deviations of the correlation: the highest
#: of 10,000 independent values of noise is at 4.
_LEAST_HEIGHT = 7.0

#: Largest distance of segments of which all pairs are compared; beyond it, distances are powers of two.
_ALL_PAIRS = 8

#: Standard deviation of the Gaussian whose background is taken off correlations, in pixels of the rendered images.
_BACKGROUND = 8.0

#: Largest residual of a pair that is kept, in pixels of the rendered images.
_LARGEST_RESIDUAL = 1.5

_N_ITERS = 30


class Pairs(NamedTuple):
    """Shifts between pairs of segments: of the second less the first, and whether they can be believed."""

    first: Ints
    second: Ints
    shift: Floats  # one column per axis
    good: npt.NDArray[np.bool_]


def lateral_pairs(points: Floats, segment: Ints, count: int, pitch: float, max_shift: float) -> Pairs:
    """Correlate the images of pairs of segments, rendered on pixels of a size `pitch`, and find the maxima."""
    from scipy import fft

    first, second = _chosen_pairs(count)
    low = points.min(axis=0)
    reach = math.ceil(max_shift / pitch) + 2
    sizes = np.ceil((points.max(axis=0) - low) / pitch).astype(int) + 1
    shape = tuple(fft.next_fast_len(int(n) + reach + 8, real=True) for n in sizes)
    spectra = []
    for k in range(count):
        places = (points[segment == k] - low) / pitch + 4  # the border of the spots
        spectra.append(fft.rfft2(render_spots(places.astype(np.float32), shape, std=1.0)))
    low_pass = _without_background(shape)
    lags = [np.arange(-min(reach, (n - 1) // 2), min(reach, (n - 1) // 2) + 1) for n in shape]
    shifts, good = np.zeros((len(first), 2)), np.zeros(len(first), bool)
    for row, (i, j) in enumerate(zip(first, second, strict=True)):
        correlation = fft.irfft2(np.conj(spectra[i]) * spectra[j] * low_pass, shape)
        shifts[row], good[row] = _maximum(correlation[np.ix_(*lags)], lags)
    return Pairs(first, second, shifts * pitch, good)


def _chosen_pairs(count: int) -> tuple[Ints, Ints]:
    """Return pairs of segments: all of near ones, and fewer the further they are apart."""
    powers = (2**k for k in itertools.count(_ALL_PAIRS.bit_length()))
    distances = [*range(1, min(count, _ALL_PAIRS + 1)), *itertools.takewhile(lambda n: n < count, powers)]
    first = np.concatenate([np.arange(count - n) for n in distances])
    return first, first + np.repeat(distances, [count - n for n in distances])


def _without_background(shape: tuple[int, ...]) -> Floats:
    """Return factors of a spectrum that take off the background: the correlation of where there are localizations."""
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    return np.asarray(1 - np.exp(-2 * (np.pi * _BACKGROUND) ** 2 * (y**2 + x**2)))


def _maximum(values: Floats, lags: list[Ints]) -> tuple[Floats, bool]:
    """Return the shift of the maximum, between pixels, and whether it stands out."""
    place = np.unravel_index(int(values.argmax()), values.shape)
    inside = all(0 < k < n - 1 for k, n in zip(place, values.shape, strict=True))
    if not inside:
        return np.zeros(values.ndim), False
    shift = np.empty(values.ndim)
    near = np.zeros(values.shape, bool)
    near[tuple(slice(max(0, k - 4), k + 5) for k in place)] = True
    for axis, k in enumerate(place):
        line = values[tuple(slice(None) if a == axis else place[a] for a in range(values.ndim))][k - 1 : k + 2]
        curvature = line[0] - 2 * line[1] + line[2]
        shift[axis] = lags[axis][k] + (0.5 * (line[0] - line[2]) / curvature if curvature < 0 else 0.0)
    others = values[~near]
    height = values[place] - others.mean() if others.size else 0.0
    return shift, bool(others.size and height > _LEAST_HEIGHT * others.std())


def drift_of_pairs(pairs: Pairs, count: int, tolerance: float) -> tuple[Floats, npt.NDArray[np.bool_], int]:
    """Return the drift of segments from the shifts of their pairs, those that were found, and the bad pairs.

    Pairs are weighted by the inverse of their residuals, which is the least sum of distances; those further off than
    the tolerance are then left out. Segments are found that good pairs connect to most others.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    good = pairs.good.copy()
    drift = np.zeros((count, pairs.shift.shape[1]))
    group = np.arange(count)
    for step in ("robust", "least squares"):
        graph = coo_array((np.ones(good.sum()), (pairs.first[good], pairs.second[good])), (count, count))
        group = connected_components(graph, directed=False)[1]
        weights = good.astype(np.float64)
        for _ in range(_N_ITERS if step == "robust" else 1):
            drift = _solved(pairs, weights, group, count)
            residual = np.linalg.norm(drift[pairs.second] - drift[pairs.first] - pairs.shift, axis=1)
            weights = good / np.maximum(residual, 0.1 * tolerance)
        good &= residual <= tolerance
    largest = np.bincount(group).argmax()
    found = np.asarray(group == largest) if (group == largest).sum() > 1 else np.zeros(count, bool)
    return drift, found, int((~good).sum())


def _solved(pairs: Pairs, weights: Floats, group: Ints, count: int) -> Floats:
    """Return the least squares solution, of a mean of 0 in each group of connected segments."""
    laplacian = np.zeros((count, count))
    np.add.at(laplacian, (pairs.first, pairs.second), -weights)
    laplacian += laplacian.T
    laplacian -= np.diag(laplacian.sum(axis=1))
    same = group[:, None] == group
    right = np.zeros((count, pairs.shift.shape[1]))
    np.add.at(right, pairs.second, weights[:, None] * pairs.shift)
    np.add.at(right, pairs.first, -weights[:, None] * pairs.shift)
    return np.asarray(np.linalg.solve(laplacian + same * max(weights.max(), 1e-300), right))
