"""Noise of pixels from the finest differences of an image, which blobs of more than a pixel hardly change.

Differences of second and of fourth order along all axes are 0 for what is smooth, and noise remains. Narrow blobs raise
the one or the other: of bright ones, few and far between, the shorter differences see less; of dense ones, the higher
order does. The lesser of the two is taken.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.constants import DEVIATIONS_PER_MEDIAN

__all__ = ["NoiseStrips", "noise_of_strips", "noise_strips"]

Floats = npt.NDArray[np.float64]

#: Differences of an image, about as many of which are looked at, in this many strips at least.
_SAMPLES, _STRIPS = 32768, 32

#: Weights of differences for axes of at least as many pixels, those of the highest order first.
_LINES: Final = ((1.0, -4.0, 6.0, -4.0, 1.0), (1.0, -2.0, 1.0), (1.0, -1.0), (1.0,))

#: Multiple of the noise beyond which differences are those of blobs.
_CLIP = 2.5

_ROUNDS = 50


class NoiseStrips(NamedTuple):
    """Strips of an image of three axes: rows next to each other, in which differences are taken.

    Attributes
    ----------
    rows : array of shape (N, planes, rows)
        Rows, as numbers in the image of shape (D * H, W).
    orders : tuple
        Weights along z, y and x, for each order of differences, all as long as a strip is wide.
    """

    rows: npt.NDArray[np.int64]
    orders: tuple[tuple[Floats, Floats, Floats], ...]


def noise_strips(shape: tuple[int, ...]) -> NoiseStrips:
    """Choose strips of an image of three axes, evenly spaced."""
    lines = [[line for line in _LINES if len(line) <= max(n, 1)][:2] for n in shape]
    highest = [np.array(line[0]) for line in lines]
    second = [_centred(line[-1] if len(line[0]) > 3 else line[0], len(line[0])) for line in lines]
    free = [n - w.size + 1 for n, w in zip(shape, highest, strict=True)]
    total = free[0] * free[1]
    count = min(max(_STRIPS, -(-_SAMPLES // free[2])), total)
    first = np.arange(count) * total // max(count, 1)
    planes = (first // free[1])[:, None, None] + np.arange(highest[0].size)[:, None]
    rows = planes * shape[1] + (first % free[1])[:, None, None] + np.arange(highest[1].size)
    return NoiseStrips(rows, ((highest[0], highest[1], highest[2]), (second[0], second[1], second[2])))


def _centred(line: tuple[float, ...], length: int) -> Floats:
    beside = (length - len(line)) // 2
    return np.pad(np.array(line), beside)


def noise_of_strips(strips: NoiseStrips, pixels: Any, gaps: Any) -> float:
    """Return the standard deviation of the noise of pixels, 0 if none can be seen.

    `pixels` are the rows of the strips, of shape (N, planes, rows, W), in single precision. `gaps`, of that shape, is
    True at pixels that were made up; None if none were. Differences are in double precision.
    """
    length = strips.orders[0][2].size
    count = pixels.shape[3] - length + 1
    seen = None
    if gaps is not None:
        hidden = gaps.any(axis=(1, 2))
        seen = ~np.logical_or.reduce([hidden[:, k : k + count] for k in range(length)])
    found = []
    for deep, down, along in strips.orders:
        across = np.multiply.outer(deep, down)
        lines = sum(across[z, y] * pixels[:, z, y] for z, y in np.argwhere(across).tolist())
        differences = sum(w * lines[:, k : k + count] for k, w in enumerate(along.tolist()) if w)
        norm = math.sqrt(float((deep @ deep) * (down @ down) * (along @ along)))
        squares = ((differences / norm) ** 2).reshape(-1)
        found.append(_clipped(squares if seen is None else squares[seen.reshape(-1)]))
    return min(found)


def _clipped(squares: Floats) -> float:
    """Return the standard deviation of what remains after clipping, of noise of which a share is clipped."""
    if squares.size == 0:
        return 0.0
    inside = math.erf(_CLIP / math.sqrt(2))
    share = 1 - 2 * _CLIP * math.exp(-0.5 * _CLIP**2) / math.sqrt(math.tau) / inside
    variance = float(np.median(squares)) * DEVIATIONS_PER_MEDIAN**2 or float(squares.mean())
    for _ in range(_ROUNDS):
        kept = squares[squares <= _CLIP**2 * variance]
        before, variance = variance, float(kept.mean()) / share if kept.size else 0.0
        if abs(variance - before) <= 1e-9 * before:
            break
    return math.sqrt(variance)
