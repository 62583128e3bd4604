"""What blobs add to the responses at other blobs, and how far that shifts their extrema, to first order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.blob_overlap import pairs_within

__all__ = ["without_neighbours"]

_REACH = 4.2  # widths beyond which nothing of a blob is left
_MOST, _FARTHEST = 0.05, 0.25  # share of the response, and shift in pixels or levels, up to which first order holds

Floats = npt.NDArray[np.float64]


def _response_at(square: Floats, sigma: Floats, width: Floats, ndim: int, ratio: float | None) -> tuple[Floats, Floats]:
    """Return the response to a blob of height 1 at a squared distance, and its derivative divided by the distance.

    `ratio` is that of the widths of a difference of Gaussians; None for the Laplacian.
    """
    own = width**2
    if ratio is None:
        total = sigma**2 + own
        peak = sigma**2 * (own / total) ** (0.5 * ndim) / total * np.exp(-0.5 * square / total)
        return peak * (ndim - square / total), -peak * (ndim + 2 - square / total) / total
    value, slope = np.zeros_like(square), np.zeros_like(square)
    for sign, factor in ((1, 1.0), (-1, ratio)):
        total = (factor * sigma) ** 2 + own
        part = sign * (own / total) ** (0.5 * ndim) * np.exp(-0.5 * square / total)
        value, slope = value + part, slope - part / total
    return value, slope


def without_neighbours(
    points: Floats, widths: Floats, heights: Floats, sigmas: Floats, inverse: Floats, above: npt.NDArray[np.bool_],
    grid: Floats, step: float, ratio: float | None,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the shifts, along levels and axes, and the fraction of the response, that neighbours add to blobs.

    Points are in units in which blobs are round, as are widths and `grid`, the distance of pixels per axis. `step` is
    the ratio of the widths of two levels; positions were measured in the upper one where `above` is True.
    """
    count, ndim = points.shape
    shift, added = np.zeros((count, 1 + ndim)), np.zeros(count)
    pairs = pairs_within(points, _REACH * widths)
    if not len(pairs):
        return shift, added
    a, b = np.concatenate([pairs, pairs[:, ::-1]]).T
    away = points[a] - points[b]
    square = (away**2).sum(axis=1)
    relative, slopes = [], np.zeros((len(a), ndim))
    for factor in (1 / step, 1.0, step):
        value, slope = _response_at(square, factor * sigmas[a], widths[b], ndim, ratio)
        own, _ = _response_at(np.zeros_like(square), factor * sigmas[a], widths[a], ndim, ratio)
        share = heights[b] / (heights[a] * own)
        relative.append(value * share)
        here = factor == np.where(above[a], step, 1.0)
        slopes += np.where(here, slope * share, 0.0)[:, None] * away * grid[a]
    slope = np.concatenate([0.5 * (relative[2] - relative[0])[:, None], slopes], axis=1)
    total, sizes = np.zeros((count, 1 + ndim)), np.zeros(count)
    np.add.at(total, a, slope)
    np.add.at(added, a, relative[1])
    np.add.at(sizes, a, np.abs(relative[1]))
    held = sizes < _MOST
    shift[held] = -np.einsum("nij,nj->ni", inverse[held], total[held])
    held &= (np.abs(shift) < _FARTHEST).all(axis=1)
    return np.where(held[:, None], shift, 0.0), np.where(held, added, 0.0)
