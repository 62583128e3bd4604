"""How high candidates for peaks are above a background, and how many times the noise that is."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.jit import device, kernel

__all__ = ["bound_of_values", "greatest_heights", "heights", "ranked"]

_CHUNK = 1 << 14  # pixels or candidates: a unit of parallel work


@kernel("peak_heights")
def _heights_kernel(x, indices, minima, background, sigma, threshold, height, strength, kept):
    """Height above the background, the same in units of the noise, and whether it is above the threshold."""
    for k in prange(indices.size):
        i = indices[k]
        h = np.float64(x[i]) - np.float64(background[i % background.size])
        h = -h if minima[k] else h
        s = np.float64(sigma[i % sigma.size])
        height[k] = h
        # Without noise whatever is above the background is above it infinitely.
        strength[k] = h / s if s != 0.0 else (-math.inf if h < 0 else math.inf)
        exceeds = h > threshold * s if threshold > -math.inf else h == h
        kept[k] = (s >= 0.0) & exceeds


@device
def _greatest(pixels, background, begin, sign):
    top = -math.inf
    for k in range(pixels.size):
        h = sign * (np.float64(pixels[k]) - np.float64(background[(begin + k) % background.size]))
        top = h if h > top else top
    return top


@kernel("greatest_heights")
def _greatest_kernel(x, background, sign, tops):
    chunks = tops.shape[1]
    for part in prange(tops.size):
        image, begin = part // chunks, part % chunks * _CHUNK
        pixels = x[image, begin : begin + _CHUNK]
        tops[image, part % chunks] = _greatest(pixels, background, image * x.shape[1] + begin, sign)


def bound_of_values(
    levels: tuple[HostArray, HostArray], threshold: float | None, signs: tuple[int, ...]
) -> float | None:
    """Return a value that all extrema above a threshold of heights exceed, minima negated; None if there is none.

    It is what holds for all pixels at once, so that most candidates need not be looked at one by one.
    """
    if threshold is None:
        return None
    background, sigma = levels
    lowest = min(float(np.fmin.reduce(background)) if s > 0 else -float(np.fmax.reduce(background)) for s in signs)
    height = threshold * float((np.fmin if threshold > 0 else np.fmax).reduce(sigma))
    bound = lowest + height - 1e-9 * (abs(lowest) + abs(height))  # beyond any rounding
    return bound if math.isfinite(bound) else None


def heights(
    x: HostArray,
    indices: npt.NDArray[np.int64],
    minima: npt.NDArray[np.bool_],
    levels: tuple[HostArray, HostArray],
    threshold: float | None,
) -> tuple[HostArray, HostArray, HostArray]:
    """Return heights of candidates, heights in units of the noise, and which are above a threshold on those."""
    count = indices.size
    height, strength, kept = np.empty(count), np.empty(count), np.empty(count, bool)
    least = -math.inf if threshold is None else threshold
    _heights_kernel.run(20 * count, x.reshape(-1), indices, minima, *levels, least, height, strength, kept)
    return height, strength, kept


def greatest_heights(x: HostArray, background: HostArray, sign: int) -> npt.NDArray[np.float64]:
    """Return the greatest height above the background in each image; for a sign of -1, below it."""
    flat = x.reshape(len(x), -1)
    tops = np.full((len(x), -(-flat.shape[1] // _CHUNK)), -math.inf)
    _greatest_kernel.run(4 * x.size, flat, background, sign, tops)
    greatest: npt.NDArray[np.float64] = tops.max(1, initial=-math.inf)
    return greatest


def ranked(strength: npt.NDArray[np.float64], height: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return numbers that are ordered as strengths, infinite ones among themselves as their heights."""
    infinite = np.isinf(strength)
    if not infinite.any():
        return strength
    second = np.where(infinite, height, 0.0)
    order = np.lexsort((second, strength))
    a, b = strength[order], second[order]
    ranks = np.empty(strength.size)
    ranks[order] = np.concatenate([[0], np.cumsum((a[1:] != a[:-1]) | (b[1:] != b[:-1]))])
    return ranks
