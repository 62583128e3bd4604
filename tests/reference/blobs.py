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


def response_to_gaussian(
    method: str, square: np.ndarray, width: float, sigma: float, ndim: int, ratio: float = 1.0
) -> np.ndarray:
    """The response at a squared distance from the centre of a Gaussian blob of height 1, from the integrals.

    `sigma` is the width of the Gaussian of the filter; with "dog", `ratio` times that of the wide one.
    """
    total = sigma**2 + width**2
    smooth = (width**2 / total) ** (ndim / 2) * np.exp(-square / (2 * total))
    if method == "log":
        return sigma**2 * smooth * (ndim - square / total) / total
    if method == "dog":
        wide = (ratio * sigma) ** 2 + width**2
        return smooth - (width**2 / wide) ** (ndim / 2) * np.exp(-square / (2 * wide))
    # Curvatures along the radius and across it, all of one sign near the centre
    along, across = smooth * (1 - square / total) / total, smooth / total
    return np.where(along > 0, ndim * sigma**2 * (np.abs(along) * across ** (ndim - 1)) ** (1 / ndim), 0.0)


def filter_width(method: str, width: float, ndim: int, ratio: float = 1.0) -> float:
    """The width of the filter that answers most to a Gaussian blob: where its derivative is 0."""
    if method != "dog":
        return width * np.sqrt(2 / ndim)
    power = ratio ** (4 / (ndim + 2))
    return width * np.sqrt((power - 1) / (ratio**2 - power))


def image_of_blobs(shape: tuple[int, ...], blobs: np.ndarray, background: float = 0.0) -> np.ndarray:
    """Gaussian blobs, rows of positions, widths (one or one per axis) and heights, sampled at pixels."""
    axes, image = len(shape), np.full(shape, float(background))
    for row in blobs:
        widths = np.broadcast_to(row[axes:-1], axes)
        near = [
            np.arange(max(0, int(c - 8 * s)), min(n, int(c + 8 * s) + 2))
            for c, s, n in zip(row, widths, shape, strict=False)
        ]
        lines = [np.exp(-((k - c) ** 2) / (2 * s**2)) for k, c, s in zip(near, row, widths, strict=False)]
        image[np.ix_(*near)] += row[-1] * product(lines)
    return image


def scattered_blobs(
    rng: np.random.Generator, count: int, shape: tuple[int, ...], widths: tuple[float, float],
    heights: tuple[float, float],
) -> np.ndarray:  # fmt: skip
    """Blobs at random places, three times the sum of their widths from each other, three widths inside the image."""
    rows: list[list[float]] = []
    while len(rows) < count:
        s = float(np.exp(rng.uniform(*np.log(widths))))
        place = [rng.uniform(3 * s, n - 3 * s) for n in shape]
        if all(sum((a - b) ** 2 for a, b in zip(place, row, strict=False)) > (3 * (s + row[-2])) ** 2 for row in rows):
            rows.append([*place, s, rng.uniform(*heights)])
    return np.array(rows)
