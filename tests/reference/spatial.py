"""Softmax and moments of one map by their definitions, in float64, with exact sums."""

from __future__ import annotations

import itertools
import math

import numpy as np


def softmax(x: np.ndarray, temperature: float = 1.0, weights: np.ndarray | None = None) -> np.ndarray:
    """Distribution over the pixels of one map of any number of axes."""
    values = [float(v) for v in x.ravel()]
    factors = [1.0] * len(values) if weights is None else [float(w) for w in np.broadcast_to(weights, x.shape).ravel()]
    seen = [v for v, w in zip(values, factors, strict=True) if w > 0]
    if not seen or any(math.isnan(v) for v in seen):
        return np.full(x.shape, np.nan)
    top = max(seen)
    exponentials = []
    for v, w in zip(values, factors, strict=True):
        if w == 0:
            exponentials.append(0.0)
        else:
            exponentials.append(w * (1.0 if v == top else math.exp((v - top) / temperature)))
    total = math.fsum(exponentials)
    return np.array([e / total for e in exponentials]).reshape(x.shape)


def expectation(p: np.ndarray) -> np.ndarray:
    """Sum of pixel times position, in array order."""
    places = list(itertools.product(*map(range, p.shape)))
    return np.array([math.fsum(float(p[c]) * c[a] for c in places) for a in range(p.ndim)])


def covariance(p: np.ndarray) -> np.ndarray:
    """Covariance of the position under a distribution, in array order."""
    mean = expectation(p)
    places = list(itertools.product(*map(range, p.shape)))
    n = p.ndim
    return np.array([
        [math.fsum(float(p[c]) * (c[a] - mean[a]) * (c[b] - mean[b]) for c in places) for b in range(n)]
        for a in range(n)
    ])  # fmt: skip


def normalized(position: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Coordinates from -1 to 1 of positions in pixels; an axis of one pixel stays as it is."""
    scaled = [2 * p / (n - 1) - 1 if n > 1 else p for p, n in zip(position, shape, strict=True)]
    return np.array(scaled)
