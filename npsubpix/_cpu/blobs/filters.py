"""Differences and Laplacians of Gaussians on the host: sums of products of kernels, in one pass over the image."""

from __future__ import annotations

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.convolution import correlate_terms
from npsubpix._definitions.blobs import difference_terms, laplacian_terms
from npsubpix._definitions.dtypes import promoted

__all__ = ["difference_of_gaussians", "laplacian_of_gaussian"]


def difference_of_gaussians(
    image: HostArray,
    *,
    sigma: tuple[float, ...],
    wide_sigma: tuple[float, ...],
    border: str,
    cval: float,
    truncate: float,
) -> tuple[HostArray]:
    """Subtract the image smoothed with wide Gaussians from that smoothed with narrow ones."""
    return (correlate_terms(image, difference_terms(sigma, wide_sigma, truncate), border, cval, promoted(image.dtype)),)


def laplacian_of_gaussian(
    image: HostArray, *, sigma: tuple[float, ...], border: str, cval: float, truncate: float
) -> tuple[HostArray]:
    """Sum the second derivatives of the smoothed image along its axes."""
    return (correlate_terms(image, laplacian_terms(sigma, truncate), border, cval, promoted(image.dtype)),)
