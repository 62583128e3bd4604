"""Refinement of one pixel by the definition of each method, in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tests.reference import quad_interp

#: The fit of the quadratic with mixed differences is that of the maps.
quadratic = quad_interp.refine


def parabola(image: np.ndarray, pixel: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """Vertices of the parabolas through a pixel and its neighbours along each axis, and the value there."""
    gradient, hessian = quad_interp.derivatives(image, pixel)
    shift = -gradient / np.diag(hessian)
    return pixel + shift, float(image[pixel]) + float(gradient @ shift) / 2


def centroid(
    image: np.ndarray, pixel: tuple[int, ...], radius: tuple[float, ...], n_iters: int, tolerance: float = 1e-3
) -> np.ndarray:
    """Centroid under a Gaussian window of standard deviation radius / 3, cut to a box, that moves with it.

    The background is the mean of the pixels of the ring around the box of the first pixel. A Gaussian spot of
    variance p under a window of variance s looks as one of variance m = s p / (s + p), whose mean is pulled towards
    the centre of the window: the shift is divided by 1 - m / s, which is kept between 0.2 and 1.
    """
    half = [math.ceil(r) for r in radius]
    sigma = [r / 3 for r in radius]
    background = _ring_mean(image, pixel, half)
    position = np.array(pixel, float)
    for _ in range(n_iters):
        centre = [round(p) for p in position]
        mass, first, second = 0.0, np.zeros(image.ndim), np.zeros(image.ndim)
        for place in itertools.product(*(range(c - h, c + h + 1) for c, h in zip(centre, half, strict=True))):
            offset = np.array(place) - position
            weight = math.exp(-0.5 * sum((u / s) ** 2 for u, s in zip(offset, sigma, strict=True)))
            signal = weight * (float(image[place]) - background)
            mass += signal
            first += signal * offset
            second += signal * offset**2
        kept = 1 - second / (mass * np.square(sigma))
        step = first / mass / np.clip(kept, 0.2, 1)
        position = position + step
        if np.abs(step).max() <= tolerance:
            break
    return position


def _ring_mean(image: np.ndarray, pixel: tuple[int, ...], half: list[int]) -> float:
    """Mean of the pixels of the image in the box that is one pixel wider than that of the window, but not in it."""
    ring = []
    for place in itertools.product(*(range(c - h - 1, c + h + 2) for c, h in zip(pixel, half, strict=True))):
        inside = all(0 <= p < n for p, n in zip(place, image.shape, strict=True))
        if inside and any(abs(p - c) == h + 1 for p, c, h in zip(place, pixel, half, strict=True)):
            ring.append(float(image[place]))
    return float(np.mean(ring))
