"""Differences and Laplacians of Gaussians on the host: sums of products of kernels, in one pass over the image."""

from __future__ import annotations

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.convolution import correlate_terms
from npsubpix._cpu.launch import promoted
from npsubpix._definitions.blobs import difference_terms, laplacian_terms

__all__ = ["difference_of_gaussians", "laplacian_of_gaussian"]


def difference_of_gaussians(
    x: HostArray, narrow: tuple[float, ...], wide: tuple[float, ...], border: str, cval: float, truncate: float
) -> HostArray:
    """Subtract the image smoothed with wide Gaussians from that smoothed with narrow ones."""
    return correlate_terms(x, difference_terms(narrow, wide, truncate), border, cval, promoted(x.dtype))


def laplacian_of_gaussian(
    x: HostArray, sigma: tuple[float, ...], border: str, cval: float, truncate: float
) -> HostArray:
    """Sum the second derivatives of the smoothed image along its axes."""
    return correlate_terms(x, laplacian_terms(sigma, truncate), border, cval, promoted(x.dtype))
