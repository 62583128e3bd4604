"""Gaussians by their definitions: exponents as fractions, which are exact, and one pixel after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def pixels(n: int) -> list[Fraction]:
    """Positions of the pixels of an axis."""
    return [Fraction(j) for j in range(n)]


def normalized(n: int) -> list[Fraction]:
    """The same from -1 to 1; a single pixel is anywhere, as it has all the weight in any case."""
    return [Fraction(2 * j, n - 1) - 1 for j in range(n)] if n > 1 else [Fraction(0)]


def _exponents(grid: Sequence[Fraction], mean: float, std: float) -> list[Fraction]:
    return [-((x - Fraction(mean)) ** 2) / (2 * Fraction(std) ** 2) for x in grid]


def _exp(exponent: Fraction) -> float:
    return math.exp(float(exponent)) if exponent > -2000 else 0.0


def softmax_axis(grid: Sequence[Fraction], mean: float, std: float) -> np.ndarray:
    """A Gaussian over the points of a grid, of sum 1."""
    if not math.isfinite(mean):
        return np.full(len(grid), np.nan)
    exponents = _exponents(grid, mean, std)
    weights = [_exp(e - max(exponents)) for e in exponents]
    return np.array(weights) / math.fsum(weights)


def peak_axis(grid: Sequence[Fraction], mean: float, std: float) -> np.ndarray:
    """A Gaussian over the points of a grid, 1 at its mean."""
    if not math.isfinite(mean):
        return np.full(len(grid), np.nan)
    return np.array([_exp(e) for e in _exponents(grid, mean, std)])


def product(axes: Sequence[np.ndarray]) -> np.ndarray:
    """The outer product of vectors."""
    out = np.ones(())
    for axis in axes:
        out = np.multiply.outer(out, axis)
    return out


def gaussian(mean: Sequence[float], std: Sequence[float], shape: Sequence[int], peak: bool = False) -> np.ndarray:
    """One Gaussian, in array order and pixels."""
    axis = peak_axis if peak else softmax_axis
    return product([axis(pixels(n), float(m), float(s)) for n, m, s in zip(shape, mean, std, strict=True)])


def gaussian2d(mean: Sequence[float], std: Sequence[float], size: Sequence[int], normal: bool) -> np.ndarray:
    """One Gaussian in kornia's order, (x, y), in normalised coordinates or pixels."""
    grid = normalized if normal else pixels
    order = zip(size, reversed(mean), reversed(std), strict=True)
    return product([softmax_axis(grid(n), float(m), float(s)) for n, m, s in order])


def _pixel_mean(u: float, width: float) -> float:
    """Mean of exp(-v**2 / 2) over `width` around u, both in standard deviations."""
    if width < 0.5:  # smooth: by quadrature
        return float(
            sum(w * math.exp(-((u + x * width / 2) ** 2) / 2) for x, w in zip(_NODES, _WEIGHTS, strict=True)) / 2
        )
    low, high = abs(u) - width / 2, abs(u) + width / 2
    return math.sqrt(math.pi / 2) * (math.erfc(low / math.sqrt(2)) - math.erfc(high / math.sqrt(2))) / width


def spots(
    coords: np.ndarray,
    shape: Sequence[int],
    std: np.ndarray | float,
    amplitude: np.ndarray | float = 1.0,
    peak: bool = False,
    integrate: bool = False,
    truncate: float = 6.0,
) -> np.ndarray:
    """The sum of many spots, pixel by pixel."""
    stds = np.broadcast_to(np.asarray(std, float), coords.shape)
    amplitudes = np.broadcast_to(np.asarray(amplitude, float), len(coords))
    image = np.zeros(tuple(shape))
    for position, widths, height in zip(coords, stds, amplitudes, strict=True):
        if np.isfinite(position).all() and np.isfinite(height):
            axes = [
                _spot_axis(n, float(p), float(s), peak, integrate, truncate)
                for n, p, s in zip(shape, position, widths, strict=True)
            ]
            for place in itertools.product(*axes):
                image[tuple(j for j, _ in place)] += height * math.prod(w for _, w in place)
    return image


def _spot_axis(
    n: int, position: float, std: float, peak: bool, integrate: bool, truncate: float
) -> list[tuple[int, float]]:
    """The pixels that a spot reaches along an axis, and its weight there."""
    out = []
    for j in range(n):
        if abs(j - position) - (0.5 if integrate else 0) <= truncate * std:
            u = (j - position) / std
            weight = _pixel_mean(u, 1 / std) if integrate else math.exp(-u * u / 2)
            out.append((j, weight if peak else weight / (std * math.sqrt(2 * math.pi))))
    return out
