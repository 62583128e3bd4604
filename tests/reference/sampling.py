"""Sampling between pixels by its definition: a kernel, an image that goes on for ever, and a sum over its pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

__all__ = ["KERNELS", "extended_pixel", "fill", "of_table", "prefilter", "sample", "stretched"]


def bspline(degree: int) -> Callable[[float], float]:
    """Centred B-spline, by the recursion of Cox and de Boor."""

    def value(x: float, d: int = degree) -> float:
        if d == 0:
            return 1.0 if -0.5 <= x < 0.5 else 0.0
        half = (d + 1) / 2
        return ((half + x) * value(x + 0.5, d - 1) + (half - x) * value(x - 0.5, d - 1)) / d

    return value


def cubic(a: float) -> Callable[[float], float]:
    def value(x: float) -> float:
        x = abs(x)
        if x < 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0

    return value


def lanczos3(x: float) -> float:
    return float(np.sinc(x) * np.sinc(x / 3)) if abs(x) < 3 else 0.0


def named(weight: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: weight(abs(x)) if abs(x) < 1 else 0.0


#: Kernels, and whether their sum is divided by that of the weights.
KERNELS: dict[str, tuple[Callable[[float], float], bool]] = {
    "nearest": (lambda x: 1.0 if -0.5 < -x <= 0.5 else 0.0, False),
    "linear": (bspline(1), False),
    "catmull_rom": (cubic(-0.5), False),
    "bspline2": (bspline(2), False),
    "bspline3": (bspline(3), False),
    "bspline4": (bspline(4), False),
    "bspline5": (bspline(5), False),
    "lanczos3": (lanczos3, True),
    "smoothstep": (named(lambda d: 1 - 3 * d**2 + 2 * d**3), True),
    "sigmoid": (named(lambda d: 1 / (1 + math.exp(10 * (d - 0.5))) - 1 / (1 + math.exp(5))), True),
    "gaussian": (named(lambda d: math.exp(-2 * d**2) - math.exp(-2)), True),
}


def stretched(name: str, reach: int) -> tuple[Callable[[float], float], bool]:
    """Kernel of a named weight, stretched from the distances up to 1 to those up to a reach, and divided by the sum."""
    kernel = KERNELS[name][0]
    return (lambda x: kernel(x / reach)), True


def of_table(table: np.ndarray, reach: int) -> tuple[Callable[[float], float], bool]:
    """Linear interpolation between samples at equal distances from 0 to a reach, divided by the sum.

    Of the two pixels that may be at the reach, that after the position counts.
    """
    distances = np.linspace(0, reach, len(table))
    return (lambda x: float(np.interp(abs(x), distances, table)) if -reach <= x < reach else 0.0), True


def extended_pixel(i: int, n: int, mode: str) -> int | None:
    """Pixel of an axis that the pixel i of the endless image is a copy of; None for `cval`."""
    if 0 <= i < n:
        return i
    if mode == "grid-constant":
        return None
    if mode == "nearest":
        return min(max(i, 0), n - 1)
    if mode == "grid-wrap":
        return i % n
    if mode in ("reflect", "grid-mirror"):
        return i % (2 * n) if i % (2 * n) < n else 2 * n - 1 - i % (2 * n)
    period = max(2 * n - 2, 1)
    return i % period if i % period < n else period - i % period


def fill(image: np.ndarray, reach: int = 32) -> np.ndarray:
    """Replace pixels that are not finite by means of the nearest finite ones in each direction, by 1 / distance."""
    filled = image.copy()
    for place in np.argwhere(~np.isfinite(image)):
        total = weight = 0.0
        for direction in itertools.product((-1, 0, 1), repeat=image.ndim):
            for step in range(1, reach + 1) if any(direction) else ():
                there = place + step * np.array(direction)
                if (there < 0).any() or (there >= image.shape).any():
                    break
                if np.isfinite(image[tuple(there)]):
                    total += image[tuple(there)] / np.linalg.norm(there - place)
                    weight += 1 / np.linalg.norm(there - place)
                    break
        filled[tuple(place)] = total / weight if weight else 0.0
    return filled


def prefilter(image: np.ndarray, degree: int, mode: str) -> np.ndarray:
    """Solve for the coefficients along each axis."""
    kernel = bspline(degree)
    for axis, n in enumerate(image.shape):
        matrix = np.zeros((n, n))
        for i in range(n):
            for k in range(-3, 4):
                matrix[i, extended_pixel(i + k, n, mode)] += kernel(k)
        image = np.moveaxis(
            np.linalg.solve(matrix, np.moveaxis(image, axis, 0).reshape(n, -1)).reshape(
                n, *np.moveaxis(image, axis, 0).shape[1:]
            ),
            0,
            axis,
        )
    return image


def sample(
    image: np.ndarray,
    coords: np.ndarray,
    name: str | tuple[Callable[[float], float], bool],
    mode: str,
    cval: float = 0.0,
) -> np.ndarray:
    """Sum kernel times pixel over the endless image, for each column of coords."""
    kernel, normalize = KERNELS[name] if isinstance(name, str) else name
    out = []
    for point in np.asarray(coords, float).T:
        if mode in ("constant", "wrap") and any(not 0 <= c <= n - 1 for c, n in zip(point, image.shape, strict=True)):
            if mode == "constant":
                out.append(cval)
                continue
            point = np.mod(point, np.array(image.shape) - 1)
        taps = []
        for c, n in zip(point, image.shape, strict=True):
            side = -1 if mode in ("constant", "wrap") and c == n - 1 else 1  # at the end of the last stretch
            near = [(k, kernel(side * (c - k))) for k in range(math.floor(c) - 8, math.floor(c) + 10)]
            total = sum(w for _, w in near) if normalize else 1.0
            taps.append([(extended_pixel(k, n, mode), w / total) for k, w in near if w])
        value = 0.0
        for combination in itertools.product(*taps):
            index = tuple(k for k, _ in combination)
            pixel = cval if None in index else image[index]
            value += pixel * math.prod(w for _, w in combination)
        out.append(value)
    return np.array(out)
