"""Heights of candidates for peaks above a background, and in units of the noise.

Plain NumPy: there are few candidates, and the greatest height of an image is found in blocks that stay in the cache.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray

__all__ = ["bound_of_values", "greatest_heights", "heights", "ranked"]

_BLOCK = 1 << 15  # pixels, 256 KB of float64


def bound_of_values(
    background: HostArray, noise: HostArray, threshold: float | None, signs: tuple[int, ...]
) -> float | None:
    """Return a value that all extrema above a threshold of heights exceed, minima negated; None if there is none.

    It holds for all pixels at once, so that most candidates are ruled out before their heights are computed.
    """
    if threshold is None:
        return None
    lowest = min(float(np.fmin.reduce(background)) if s > 0 else -float(np.fmax.reduce(background)) for s in signs)
    height = threshold * float((np.fmin if threshold > 0 else np.fmax).reduce(noise))
    bound = lowest + height - 1e-9 * (abs(lowest) + abs(height))  # beyond any rounding
    return bound if math.isfinite(bound) else None


def heights(
    x: HostArray,
    indices: npt.NDArray[np.int64],
    minima: npt.NDArray[np.bool_],
    background: HostArray,
    noise: HostArray,
    threshold: float | None,
) -> tuple[HostArray, HostArray, HostArray]:
    """Return heights of candidates, heights in units of the noise, and whether these are above a threshold."""
    values = x.reshape(-1)[indices].astype(np.float64)
    sigma = _at(noise, indices, x.size).astype(np.float64)
    with np.errstate(all="ignore"):
        height = values - _at(background, indices, x.size)
        np.negative(height, out=height, where=minima)
        # Without noise, any height above the background is infinitely many times the noise.
        strength = np.where(sigma != 0.0, height / sigma, np.where(height < 0, -math.inf, math.inf))
        exceeds = height == height if threshold is None else height > threshold * sigma
    return height, strength, (sigma >= 0.0) & exceeds


def _at(pixels: HostArray, indices: npt.NDArray[np.int64], size: int) -> HostArray:
    """Return values at indices into a stack of `size` pixels, of one value for all, a frame of values, or a stack."""
    if pixels.size == 1:
        return np.broadcast_to(pixels, indices.shape)
    found: HostArray = pixels[indices if pixels.size == size else indices % pixels.size]
    return found


def greatest_heights(x: HostArray, background: HostArray, sign: int) -> npt.NDArray[np.float64]:
    """Return the greatest height above the background in each image; for a sign of -1, below it."""
    pixels = x.reshape(len(x), -1)
    count = pixels.shape[1]
    below = np.broadcast_to(background.reshape(-1, count if background.size > 1 else 1), pixels.shape)
    tops = np.full(len(x), -math.inf)
    rows = max(1, _BLOCK // count)
    extremum = np.fmax if sign > 0 else np.fmin
    for first in range(0, len(x), rows):
        for begin in range(0, count, _BLOCK):
            block = slice(first, first + rows), slice(begin, begin + _BLOCK)
            with np.errstate(invalid="ignore", over="ignore"):
                height = np.subtract(pixels[block], below[block], dtype=np.float64)
            np.fmax(tops[block[0]], sign * extremum.reduce(height, axis=1), out=tops[block[0]])
    return tops


def ranked(strength: npt.NDArray[np.float64], height: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return numbers in the order of strengths, and of heights where these are infinite."""
    infinite = np.isinf(strength)
    if not infinite.any():
        return strength
    second = np.where(infinite, height, 0.0)
    order = np.lexsort((second, strength))
    a, b = strength[order], second[order]
    ranks = np.empty(strength.size)
    ranks[order] = np.concatenate([[0], np.cumsum((a[1:] != a[:-1]) | (b[1:] != b[:-1]))])
    return ranks
