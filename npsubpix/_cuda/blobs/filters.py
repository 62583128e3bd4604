"""Differences and Laplacians of Gaussians on the GPU: sums of products of kernels, one axis after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npsubpix._cuda.convolution.borders import BORDERS
from npsubpix._cuda.convolution.passes import Axes, along_axes, cut
from npsubpix._cuda.launch.devices import device_of
from npsubpix._cuda.launch.kernels import DeviceArray
from npsubpix._definitions.blobs import Term, difference_terms, laplacian_terms
from npsubpix._definitions.convolution import dtype_of_weighted_sums, windows_along
from npsubpix._definitions.dtypes import promoted, rounding_to
from npsubpix._definitions.shapes import three_axes

__all__ = ["difference_of_gaussians", "laplacian_of_gaussian", "sum_of_terms"]


def difference_of_gaussians(
    image: DeviceArray,
    *,
    sigma: tuple[float, ...],
    wide_sigma: tuple[float, ...],
    border: str,
    cval: float,
    truncate: float,
) -> tuple[DeviceArray]:
    """Subtract the image smoothed with wide Gaussians from that smoothed with narrow ones."""
    return (sum_of_terms(image, difference_terms(sigma, wide_sigma, truncate), border, cval),)


def laplacian_of_gaussian(
    image: DeviceArray, *, sigma: tuple[float, ...], border: str, cval: float, truncate: float
) -> tuple[DeviceArray]:
    """Sum the second derivatives of the smoothed image along its axes."""
    return (sum_of_terms(image, laplacian_terms(sigma, truncate), border, cval),)


def sum_of_terms(x: DeviceArray, terms: list[Term], border: str, cval: float) -> DeviceArray:
    """Sum the correlations of an image with products of lines of weights."""
    device, dtype = device_of(x), dtype_of_weighted_sums(x.dtype, 1.0)
    if x.size == 0:
        return device.empty(x.shape, promoted(x.dtype))
    shape = (1, *three_axes(x.shape, 1))
    images, out = device.rows(x, x.shape, dtype).reshape(shape), device.empty(shape, dtype)
    full = [_joined((np.ones(1),) * (3 - x.ndim) + term) for term in terms]
    window = tuple(len(line) for line in full[0])
    spans = [windows_along(n, k, "same", 1, 1, 0) for n, k in zip(shape[1:], window, strict=True)]
    axes = Axes(window, tuple(span.first for span in spans), shape[1:], BORDERS[border])
    length = sum(window)
    weights = device.put(np.concatenate([part for term in full for part in (*term, _fills(term, cval))]))
    for n in range(len(terms)):
        own = weights[n * (length + 3) : (n + 1) * (length + 3)]
        lines, fills = cut(own[:length], window), own[length:]
        along_axes(device, images, axes, lines, fills, rounding_to(dtype), out, add=n > 0)
    return out.reshape(x.shape).astype(promoted(x.dtype), copy=False)


def _joined(term: Term) -> Term:
    """Multiply the weights of axes without a pass, which have one weight, into the line of an axis with a pass.

    A Gaussian that is cut to one pixel still has its second derivative, or the sign of the term, as its weight.
    """
    joined = max((axis for axis, line in enumerate(term) if len(line) > 1), default=2)
    alone = [line for axis, line in enumerate(term) if len(line) == 1 and axis != joined]
    factor = np.prod(alone) if alone else 1.0
    return tuple(
        line * factor if axis == joined else (np.ones(1) if len(line) == 1 else line) for axis, line in enumerate(term)
    )


def _fills(term: Term, cval: float) -> npt.NDArray[np.float64]:
    """Return the constant border extension along z, y and x, correlated along the axes before: x, then y."""
    return cval * np.array([term[2].sum() * term[1].sum(), term[2].sum(), 1.0])
