"""Measured point spread functions: the spline through their samples, and its place in the constants of kernels.

The spline continues the samples by zeros. Coefficients of these fall by a factor of 3.7 per sample: 16 of them at each
end are enough. Constants are the number of coefficients along each axis, the samples per pixel, and the place of
the centre among the coefficients, one axis after the other, and then the coefficients in C order.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PSF_PADDING", "psf_geometry"]

#: Zeros by which the samples are continued at each end of an axis.
PSF_PADDING: Final = 16


def psf_geometry(shape: tuple[int, ...], oversampling: tuple[float, ...]) -> tuple[float, ...]:
    """Return the constants that precede the coefficients, for samples of a shape."""
    numbers: list[float] = []
    for length, per_pixel in zip(shape, oversampling, strict=True):
        numbers += [length + 2 * PSF_PADDING, per_pixel, (length - 1) / 2 + PSF_PADDING]
    return tuple(map(float, numbers))
