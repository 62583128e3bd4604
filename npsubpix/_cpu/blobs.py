"""Differences and Laplacians of Gaussians on the host: sums of products of kernels, in one pass over the image."""

from __future__ import annotations

import numpy as np

from npsubpix._arrays import HostArray
from npsubpix._cpu._stacks import promoted
from npsubpix._cpu.convolution import correlate_terms

__all__ = ["difference_of_gaussians", "laplacian_of_gaussian"]


def _gaussian(sigma: float, radius: int) -> HostArray:
    """Sample a Gaussian and divide it by its sum."""
    x = np.arange(-radius, radius + 1)
    values = np.exp(-0.5 * (x / sigma) ** 2)
    return np.asarray(values / values.sum())


def _second_derivative(sigma: float, radius: int) -> HostArray:
    x = np.arange(-radius, radius + 1)
    return np.asarray(_gaussian(sigma, radius) * (x**2 / sigma**4 - 1 / sigma**2))


def difference_of_gaussians(
    x: HostArray, narrow: tuple[float, ...], wide: tuple[float, ...], border: str, cval: float, truncate: float
) -> HostArray:
    """Subtract the image smoothed with wide Gaussians from that smoothed with narrow ones."""
    radii = [int(truncate * s + 0.5) for s in wide]
    inner = [_gaussian(s, int(truncate * s + 0.5)) for s in narrow]
    first = [np.pad(line, r - len(line) // 2) for line, r in zip(inner, radii, strict=True)]
    second = [_gaussian(s, r) for s, r in zip(wide, radii, strict=True)]
    terms = [tuple(first), (-second[0], *second[1:])]
    return correlate_terms(x, terms, border, cval, promoted(x.dtype))


def laplacian_of_gaussian(
    x: HostArray, sigma: tuple[float, ...], border: str, cval: float, truncate: float
) -> HostArray:
    """Sum the second derivatives of the smoothed image along its axes."""
    radii = [int(truncate * s + 0.5) for s in sigma]
    smooth = [_gaussian(s, r) for s, r in zip(sigma, radii, strict=True)]
    curved = [_second_derivative(s, r) for s, r in zip(sigma, radii, strict=True)]
    terms = [tuple(curved[a] if a == axis else smooth[a] for a in range(x.ndim)) for axis in range(x.ndim)]
    return correlate_terms(x, terms, border, cval, promoted(x.dtype))
