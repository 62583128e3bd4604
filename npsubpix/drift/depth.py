"""Shifts along z between the segments of a movie, from localizations that are near each other along y and x."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from npsubpix.drift.correlation import Pairs
from npsubpix.drift.pairs import near_pairs

__all__ = ["axial_pairs"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Least number of pairs, least height of the maximum above the mean of the histogram, in standard deviations, and its
#: share of all pairs that are near it: fewer are chance.
_LEAST_PAIRS, _LEAST_HEIGHT = 20, 5.0

#: Bins per width of the Gaussian, and the standard deviation of the background in widths.
_BINS, _BACKGROUND = 2, 8.0


def axial_pairs(points: Floats, frame: Ints, segment: Ints, widths: Floats, lateral: Pairs, max_shift: float) -> Pairs:
    """Find the maxima of histograms of distances along z; positions along y and x are free of drift."""
    z = points[:, 0]
    i, j = near_pairs(points[:, 1:] / widths[1:], frame, 2.0)
    i, j = np.where(segment[i] <= segment[j], i, j), np.where(segment[i] <= segment[j], j, i)
    count = int(segment.max()) + 1
    key = segment[i] * count + segment[j]
    order = np.argsort(key, kind="stable")
    key, distance = key[order], (z[j] - z[i])[order]
    step = widths[0] / _BINS
    half = max(8 * _BINS, math.ceil(max_shift / step))
    shifts, good = np.zeros((len(lateral.first), 1)), np.zeros(len(lateral.first), bool)
    for row, (a, b) in enumerate(zip(lateral.first, lateral.second, strict=True)):
        begin, end = np.searchsorted(key, [a * count + b, a * count + b + 1])
        if end - begin >= _LEAST_PAIRS:
            shifts[row, 0], good[row] = _maximum(distance[begin:end] / step, half)
    return Pairs(lateral.first, lateral.second, shifts * step, good)


def _maximum(distance: Floats, half: int) -> tuple[float, bool]:
    """Return the place of the maximum of the smooth histogram, and whether it stands out."""
    from scipy.ndimage import gaussian_filter1d

    counts = np.bincount(
        np.clip(np.rint(distance).astype(np.int64) + half + 1, 0, 2 * half + 2), minlength=2 * half + 3
    )
    line = gaussian_filter1d(counts[1:-1].astype(np.float64), _BINS)
    line -= gaussian_filter1d(line, _BINS * _BACKGROUND)
    k = int(line.argmax())
    if not 0 < k < len(line) - 1:
        return 0.0, False
    curvature = line[k - 1] - 2 * line[k] + line[k + 1]
    offset = 0.5 * (line[k - 1] - line[k + 1]) / curvature if curvature < 0 else 0.0
    others = np.delete(line, slice(max(0, k - 4 * _BINS), k + 4 * _BINS + 1))
    stands_out = others.size > 0 and line[k] - others.mean() > _LEAST_HEIGHT * others.std()
    return k - half + float(offset), bool(stands_out)
