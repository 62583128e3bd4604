"""Filters for blobs from their formulas: weights sampled at pixels, one sum over a window per pixel, in float64."""

from __future__ import annotations

import numpy as np

from tests.reference import convolution


def gaussian(sigma: float, radius: int) -> np.ndarray:
    """A sampled Gaussian of sum 1."""
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()


def product(lines: list[np.ndarray]) -> np.ndarray:
    """The kernel whose weights are the products of those of a line per axis."""
    kernel = np.ones(())
    for line in lines:
        kernel = np.multiply.outer(kernel, line)
    return kernel


def laplacian_of_gaussian(
    image: np.ndarray, sigma: tuple[float, ...], border: str, truncate: float = 4.0
) -> np.ndarray:
    """The sum over axes of correlations with (x^2 - v) / sigma^4 times a Gaussian, of variance v."""
    total = np.zeros(image.shape)
    radii = [int(truncate * s + 0.5) for s in sigma]
    for curved in range(image.ndim):
        lines = [gaussian(s, r) for s, r in zip(sigma, radii, strict=True)]
        x, s = np.arange(-radii[curved], radii[curved] + 1), sigma[curved]
        variance = (lines[curved] * x**2).sum()
        lines[curved] = lines[curved] * (x**2 - variance) / s**4
        total += convolution.correlate(image, product(lines), border=border)
    return total


def difference_of_gaussians(
    image: np.ndarray, sigma: tuple[float, ...], wide_sigma: tuple[float, ...], border: str, truncate: float = 4.0
) -> np.ndarray:
    """A correlation with a Gaussian less that with a wider one."""
    narrow, wide = (
        convolution.correlate(image, product([gaussian(s, int(truncate * s + 0.5)) for s in widths]), border=border)
        for widths in (sigma, wide_sigma)
    )
    return narrow - wide
