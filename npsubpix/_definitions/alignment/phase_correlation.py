"""Phase correlation: the translation between two images, from the phases of their spectra.

A circular correlation has the maximum of a shift at any of four places, of which one is right; and a window, without
which the borders of the images would correlate, hides what two images share that overlap by their corners alone. All
maxima, with and without window, at all places, are candidates, and the correlation of the overlap decides.

Source: Kuglin and Hines, "The phase correlation image alignment method", Proceedings of the International
Conference on Cybernetics and Society (1975).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npsubpix._definitions.dtypes import HostArray
from npsubpix._definitions.shapes import Shape

__all__ = ["hann_window", "phase_correlation"]

#: Amplitudes below this share of the mean amplitude are noise, and are not raised to 1.
_LEAST_AMPLITUDE = 0.1

#: Least overlap of two images, as a share of the smaller one, and in pixels along each axis.
_LEAST_OVERLAP = 0.05
_LEAST_SIDE = 4


def hann_window(size: int) -> HostArray:
    """Return the weights of a Hann window along an axis, without the zeros at its ends."""
    return np.hanning(size + 2)[1:-1]


def phase_correlation(
    fixed: Any,
    moving: Any,
    shapes: tuple[Shape, Shape],
    centred: Callable[[Any, Sequence[HostArray], Shape], Any],
    fft: Any,
    to_host: Callable[[Any], HostArray],
) -> HostArray:
    """Return the matrix of the translation at the best maximum of correlations, to about a tenth of a pixel.

    `centred` subtracts the mean of the good pixels of an image, multiplies it by weights along each axis, and pads it
    with zeros to a shape; bad pixels become 0. `fft` has `rfft2` and `irfft2` for the arrays that it returns.
    """
    shape = max(shapes[0][0], shapes[1][0]), max(shapes[0][1], shapes[1][1])
    candidates: set[tuple[float, float]] = set()
    for window in (hann_window, np.ones):
        first, second = (
            centred(image, [window(n) for n in own], shape) for image, own in zip((fixed, moving), shapes, strict=True)
        )
        # In units in which products do not underflow
        first, second = (image / (float(to_host(abs(image).max())) or 1.0) for image in (first, second))
        for correlation in _correlations(first, second, fft):
            candidates.update(_shifts_at_maximum(correlation, to_host))
    matrix = np.eye(3)
    scores = {shift: _score(first, second, shapes, shift, to_host) for shift in sorted(candidates)}
    matrix[:2, 2] = max(scores, key=scores.__getitem__)
    return matrix


def _correlations(fixed: Any, moving: Any, fft: Any) -> tuple[Any, Any]:
    """Return the circular correlation of the phases of two images, and that of the images."""
    cross = np.conj(fft.rfft2(fixed)) * fft.rfft2(moving)
    amplitude = np.abs(cross)
    phases = cross / np.maximum(amplitude, np.maximum(_LEAST_AMPLITUDE * amplitude.mean(), np.finfo(float).tiny))
    return fft.irfft2(phases, fixed.shape), fft.irfft2(cross, fixed.shape)


def _shifts_at_maximum(correlation: Any, to_host: Callable[[Any], HostArray]) -> list[tuple[float, float]]:
    """Return the four shifts of which each could be that of the maximum of a circular correlation."""
    height, width = correlation.shape
    row, column = divmod(int(to_host(correlation.argmax())), width)
    y = row + _offset_at(to_host(correlation[:, column]), row)
    x = column + _offset_at(to_host(correlation[row]), column)
    return [(v, u) for v in (y, y - height) for u in (x, x - width)]


def _offset_at(line: HostArray, peak: int) -> float:
    """Return the distance from the maximum of a periodic line to the vertex of the parabola around it."""
    before, centre, after = (line[(peak + d) % line.size] for d in (-1, 0, 1))
    curvature = before - 2 * centre + after
    return float(0.5 * (before - after) / curvature) if curvature < 0 else 0.0


def _score(
    fixed: Any, moving: Any, shapes: tuple[Shape, Shape], shift: tuple[float, float],
    to_host: Callable[[Any], HostArray],
) -> float:  # fmt: skip
    """Return the correlation of two images where they overlap, in units of that of noise; less than -1 for too little.

    The images are those without a window.
    """
    parts: tuple[list[slice], list[slice]] = [], []
    for n, m, d in zip(*shapes, (math.floor(s + 0.5) for s in shift), strict=True):
        begin, end = max(0, -d), min(n, m - d)
        if end - begin < min(_LEAST_SIDE, n, m):
            return -math.inf
        parts[0].append(slice(begin, end))
        parts[1].append(slice(begin + d, end + d))
    a, b = fixed[tuple(parts[0])], moving[tuple(parts[1])]
    if a.size < _LEAST_OVERLAP * min(math.prod(s) for s in shapes):
        return -math.inf
    a, b = a - a.mean(), b - b.mean()
    products = [float(to_host((x * y).sum())) for x, y in ((a, b), (a, a), (b, b))]
    scale = math.sqrt(products[1] * products[2])
    return products[0] / scale * math.sqrt(a.size) if scale > 0 else 0.0
