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
    """Centroid under a Gaussian window of standard deviation radius / 3, at least 1, cut to a box that moves with it.

    The box has the radius, at least 2, on each side. The background is the mean of the pixels of the ring around the
    box of the first pixel. A Gaussian spot of variance p under a window of variance s looks as one of variance
    m = s p / (s + p), whose mean is pulled towards the centre of the window: the shift is divided by 1 - m / s, which
    is kept between 0.2 and 1.

    Along an axis on which the box left the image once, a Gaussian is fitted to the planes instead, each the sum of its
    pixels under the weights of the other axes: a parabola to their logarithms, each with the weight of its plane times
    its square. An axis at whose border the first pixel lies is not refined.
    """
    half = [max(math.ceil(r), 2) for r in radius]
    sigma = np.array([max(r / 3, 1) for r in radius])
    background = _ring_mean(image, pixel, half)
    still = [p in (0, n - 1) for p, n in zip(pixel, image.shape, strict=True)]
    cut = [False] * image.ndim
    position = np.array(pixel, float)
    for _ in range(n_iters):
        box = []
        for axis, (c, h, n) in enumerate(zip([round(p) for p in position], half, image.shape, strict=True)):
            box.append(range(max(c - h, 0), min(c + h + 1, n)))
            cut[axis] |= len(box[-1]) < 2 * h + 1
        offsets = [np.array(places) - p for places, p in zip(box, position, strict=True)]
        weights = [np.exp(-0.5 * (u / s) ** 2) for u, s in zip(offsets, sigma, strict=True)]
        signal = image[np.ix_(*box)].astype(float) - background
        step = np.zeros(image.ndim)
        for axis in range(image.ndim):
            others = [k for k in range(image.ndim) if k != axis]
            planes = signal
            for k in others[::-1]:
                planes = np.tensordot(planes, weights[k], (k, 0))
            u, w = offsets[axis], weights[axis]
            if still[axis]:
                continue
            if cut[axis]:
                mass = float(planes @ w)
                seen = planes / mass > 0
                heights = planes[seen] / mass
                bend, slope, _ = np.polyfit(u[seen], np.log(heights), 2, w=np.sqrt(w[seen]) * heights)
                step[axis] = -slope / (2 * bend)
            if not cut[axis] or not bend < -1e-12:  # a spot without a Gaussian's slopes, all of which is seen
                mass, first, second = (float(planes @ (w * u**k)) for k in range(3))
                step[axis] = first / mass / np.clip(1 - second / (mass * sigma[axis] ** 2), 0.2, 1)
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
