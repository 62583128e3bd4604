"""Soft-argmax of windows by its definition, one window after the other, in float64."""

from __future__ import annotations

import itertools

import numpy as np

from tests.reference import nms, spatial


def windows(
    x: np.ndarray,
    size: tuple[int, ...],
    stride: tuple[int, ...] | None = None,
    padding: tuple[int, ...] | None = None,
    temperature: float = 1.0,
    bonus: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions, in array order, and values of all windows of one map."""
    stride = stride or (1,) * x.ndim
    padding = padding or (0,) * x.ndim
    counts = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(x.shape, padding, size, stride, strict=True)]
    coords = np.empty((x.ndim, *counts))
    values = np.empty(counts)
    for place in itertools.product(*map(range, counts)):
        start = [o * s - p for o, s, p in zip(place, stride, padding, strict=True)]
        inside = tuple(slice(max(b, 0), min(b + k, n)) for b, k, n in zip(start, size, x.shape, strict=True))
        pixels = x[inside].astype(np.float64)
        weights = spatial.softmax(pixels, temperature)
        coords[(slice(None), *place)] = spatial.expectation(weights) + [s.start for s in inside]
        values[place] = (weights[weights != 0] * pixels[weights != 0]).sum()
        centre = tuple(b + (k - 1) // 2 for b, k in zip(start, size, strict=True))
        if bonus and all(0 <= c < n for c, n in zip(centre, x.shape, strict=True)) and nms.is_maximum(x, centre, size):
            values[place] *= 1 + bonus
    return coords, values


def normalized(coords: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Coordinates from -1 to 1 of an array of positions whose first axis is that of the coordinates."""
    return np.stack([2 * c / (n - 1) - 1 if n > 1 else c for c, n in zip(coords, shape, strict=True)])
