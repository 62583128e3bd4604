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


def least_squares(image: np.ndarray, pixel: tuple[int, ...]) -> tuple[np.ndarray, float, np.ndarray]:
    """Stationary point, value and Hessian of the quadratic that fits the 3 x 3 (x 3) pixels around a pixel best."""
    places, values = _neighbours(image, pixel)
    return _stationary(pixel, *_quadratic(places, values, np.ones(len(values))))


def log_quadratic(image: np.ndarray, pixel: tuple[int, ...], radius: tuple[float, ...]) -> tuple[np.ndarray, float]:
    """The same of the logarithm of the signal, with the signal as weight, and the value that is the logarithm of.

    The signal is the difference from the mean of the ring around the box of the radius, at least 2; negative for a
    minimum, in which case its magnitude counts. Pixels of another sign than the pixel in the middle do not count.
    """
    background = _ring_mean(image, pixel, [max(math.ceil(r), 2) for r in radius])
    places, values = _neighbours(image, pixel)
    sign = np.sign(float(image[pixel]) - background)
    signal = sign * (values - background)
    seen = signal > 0
    fit = _quadratic(places[seen], np.log(signal[seen]), signal[seen])
    position, logarithm, _ = _stationary(pixel, *fit)
    return position, background + sign * math.exp(logarithm)


def _neighbours(image: np.ndarray, pixel: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    places = np.array(list(itertools.product((-1, 0, 1), repeat=image.ndim)), float)
    return places, np.array([float(image[tuple((np.array(pixel) + p).astype(int))]) for p in places])


def _quadratic(places: np.ndarray, values: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Value, gradient and Hessian at the middle of the quadratic that fits values best."""
    axes = places.shape[1]
    pairs = list(itertools.combinations_with_replacement(range(axes), 2))
    columns = [np.ones(len(places)), *places.T, *(places[:, a] * places[:, b] for a, b in pairs)]
    root = np.sqrt(weights)
    solution = np.linalg.lstsq(np.stack(columns, 1) * root[:, None], values * root, rcond=None)[0]
    hessian = np.zeros((axes, axes))
    for (a, b), coefficient in zip(pairs, solution[1 + axes :], strict=True):
        hessian[a, b] += coefficient
        hessian[b, a] += coefficient
    return float(solution[0]), solution[1 : 1 + axes], hessian


def _stationary(
    pixel: tuple[int, ...], value: float, gradient: np.ndarray, hessian: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    shift = -np.linalg.solve(hessian, gradient)
    return pixel + shift, value + float(gradient @ shift) / 2, hessian


def phasor(image: np.ndarray, pixel: tuple[int, ...], radius: tuple[float, ...]) -> np.ndarray:
    """Phase of the first Fourier coefficient of a box along each axis, in pixels.

    Along the other axes, pixels have the weight 1 + 0.75 cos of the phase of that coefficient. The phase of a minimum
    is that of its negative.
    """
    half = [max(math.ceil(r), 2) for r in radius]
    box = image[tuple(slice(c - h, c + h + 1) for c, h in zip(pixel, half, strict=True))].astype(float)
    phases = [2 * np.pi * np.arange(-h, h + 1) / (2 * h + 1) for h in half]
    shift = []
    for axis in range(image.ndim):
        line = box
        for k in reversed(range(image.ndim)):
            if k != axis:
                line = np.tensordot(line, 1 + 0.75 * np.cos(phases[k]), (k, 0))
        coefficient = np.sum(line * np.exp(1j * phases[axis]))
        coefficient *= np.sign(coefficient.real)
        shift.append(np.angle(coefficient) * (2 * half[axis] + 1) / (2 * np.pi))
    return np.array(pixel) + shift


def radial(
    image: np.ndarray, pixel: tuple[int, ...], radius: tuple[float, ...], n_iters: int, tolerance: float = 1e-3
) -> np.ndarray:
    """Point nearest to the lines along gradients, in units of radius / 3, at least 1.

    Gradients are those of cells between pixels: differences along an axis, averaged over the edges of the cell, and
    then over the 3 x 3 (x 3) cells around. The cells are those of the box of the pixel, as far as the image has them. A
    line has the square of the gradient as weight, divided by its distance from the last centre, at least half a pixel.
    Of a shift of more than 0.6 pixels from the middle of the box, the box follows.
    """
    axes = image.ndim
    half = [max(math.ceil(r), 2) for r in radius]
    unit = np.array([max(r / 3, 1) for r in radius])
    corners = list(itertools.product((0, 1), repeat=axes))
    cells = np.zeros((axes, *(n - 1 for n in image.shape)))
    for corner in corners:
        part = image[tuple(slice(c, n - 1 + c) for c, n in zip(corner, image.shape, strict=True))].astype(float)
        for axis in range(axes):
            cells[axis] += (2 * corner[axis] - 1) * part / (len(corners) / 2)
    middle, position = np.array(pixel), np.array(pixel, float)
    for _ in range(n_iters):
        rows, right = [], []
        for cell in itertools.product(*(range(m - h, m + h) for m, h in zip(middle, half, strict=True))):
            if not all(1 <= c <= n - 3 for c, n in zip(cell, image.shape, strict=True)):
                continue
            around = tuple(slice(c - 1, c + 2) for c in cell)
            gradient = cells[(slice(None), *around)].reshape(axes, -1).mean(1) * unit
            offset = (np.array(cell) + 0.5 - position) / unit
            size = np.linalg.norm(gradient)
            if size == 0:
                continue
            across = np.eye(axes) - np.outer(gradient, gradient) / size**2
            weight = size / np.sqrt(max(np.linalg.norm(offset), 0.5 / unit.max()))
            rows.append(weight * across)
            right.append(weight * across @ offset)
        step = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0] * unit
        position = position + step
        moved = np.abs(position - middle) > 0.6
        middle = np.where(moved, np.rint(position).astype(int), middle)
        if not moved.any() and np.abs(step).max() <= tolerance:
            break
    return position


def saddle(image: np.ndarray, pixel: tuple[int, int], reach: int) -> tuple[np.ndarray, float] | None:
    """Saddle of the quadratic of `least_squares`, fitted where its determinant is least within so many pixels.

    None if there is none, or if it is more than 0.6 pixels from there, from where another fit would be made.
    """
    best, least = None, 0.0
    for place in itertools.product(*(range(p - reach, p + reach + 1) for p in pixel)):
        if all(1 <= p <= n - 2 for p, n in zip(place, image.shape, strict=True)):
            hessian = _quadratic(*_neighbours(image, place), np.ones(9))[2]
            if np.linalg.det(hessian) < least:
                best, least = place, np.linalg.det(hessian)
    if best is None:
        return None
    position, value, _ = least_squares(image, best)
    return (position, value) if np.abs(position - best).max() <= 0.6 else None
