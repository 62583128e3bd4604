"""Convolution: where windows lie, when a kernel is a product of lines of weights, and the dtype of sums."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from npsubpix._definitions.dtypes import promoted

__all__ = ["PRODUCT", "Span", "dtype_of_weighted_sums", "is_as_exact_by_fft", "product_tolerance", "windows_along"]

#: Method for a kernel that was made as a product of lines: a GPU applies it line by line, the host as it finds it best.
PRODUCT: Final = "product"

#: Units of rounding of the largest weight that a kernel may differ by from the product of its line along the last
#: axis and of its other axes, both through that weight. A product that was rounded differs by two units in two
#: dimensions and by up to four in three.
_PRODUCT_ROUNDINGS: Final = 4

#: Error of correlation by an FFT in float64, as a fraction of the greatest pixel times the sum of the magnitudes of the
#: weights, and the fraction of a sum below which an error does not count in float32.
_FFT_ERROR: Final = 1e-13
_NEGLIGIBLE: Final = 1e-8

#: Integers up to this are exact in float32.
_EXACT_IN_FLOAT32: Final = 2**24


class Span(NamedTuple):
    """Windows along an axis: the place of the first weight of the first window, and the number of windows."""

    first: int
    windows: int


def windows_along(n: int, taps: int, mode: str, stride: int, dilation: int, origin: int) -> Span:
    """Return where the windows of a line of `taps` weights lie along an axis of n pixels; there are none without."""
    if n == 0:
        return Span(0, 0)
    extent = dilation * (taps - 1)
    if mode == "same":
        return Span(-dilation * (taps // 2 + origin), -(-n // stride))
    if mode == "valid":
        return Span(0, -(-max(n - extent, 0) // stride))
    return Span(-extent, -(-(n + extent) // stride))


def product_tolerance(dtype: np.dtype[Any]) -> float:
    """Return the relative difference up to which a kernel of a dtype counts as a product of lines."""
    return _PRODUCT_ROUNDINGS * float(np.finfo(dtype).eps)


def dtype_of_weighted_sums(
    image: np.dtype[Any], total_weight: float | None, whole: bool = True, result: np.dtype[Any] | None = None
) -> np.dtype[Any]:
    """Return the dtype of sums of pixels times weights, whose absolute values add up to `total_weight`.

    Pixels of 8 bits are summed in float32 where the sums of `whole` numbers are exact, and those of others have all
    digits of the `result`. Other integers are summed in float64, and floats in their own precision. Without a total
    weight, as on a GPU, where nothing waits for the weights, it counts as large.
    """
    if image.kind == "f":
        return promoted(image)
    exact = image.itemsize == 1 and total_weight is not None and 255 * total_weight < _EXACT_IN_FLOAT32
    enough = whole or result is None or result.itemsize <= 2 or result == np.float32
    return np.dtype(np.float32 if exact and enough else np.float64)


def is_as_exact_by_fft(image: Any, kernel: Any, fill: float | None, dtype: np.dtype[Any]) -> bool:
    """Return whether correlation by an FFT rounds each result to a dtype as sums do.

    Pixels of `fill`, if not None, extend the image. The error of an FFT is a fraction of the greatest pixel, wherever
    that is, and a pixel that is not finite spoils all results. The error does not count in sums of integers, and in
    sums in float32 of positive pixels and weights, which are at least the least pixel times the sum of the weights.
    """
    least, greatest = float(image.min()), float(image.max())
    if fill is not None:
        least, greatest = min(least, fill), max(greatest, fill)
    if image.dtype.kind in "iu" and dtype.kind in "iu":
        whole = bool((kernel == np.rint(kernel)).all()) and (fill is None or fill.is_integer())
        return whole and _FFT_ERROR * max(-least, greatest) * float(np.abs(kernel).sum()) < 0.25
    positive = least > 0 and bool(kernel.min() >= 0)
    return dtype == np.float32 and positive and _FFT_ERROR * greatest <= _NEGLIGIBLE * least
