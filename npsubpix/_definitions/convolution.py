"""Convolution: where windows lie, when a kernel is a product of lines of weights, and the dtype of sums."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from npsubpix._definitions.dtypes import promoted

__all__ = ["PRODUCT", "Span", "dtype_of_weighted_sums", "product_tolerance", "windows_along"]

#: Method for a kernel that was made as a product of lines: a GPU applies it line by line, the host as it finds it best.
PRODUCT: Final = "product"

#: Units of rounding of the largest weight that a kernel may differ by from the product of its line along the last
#: axis and of its other axes, both through that weight. A product that was rounded differs by two units in two
#: dimensions and by up to four in three.
_PRODUCT_ROUNDINGS: Final = 4

#: Integers up to this are exact in float32.
_EXACT_IN_FLOAT32: Final = 2**24


class Span(NamedTuple):
    """Windows along an axis: the place of the first weight of the first window, and the number of windows."""

    first: int
    windows: int


def windows_along(n: int, taps: int, mode: str, stride: int, dilation: int, origin: int) -> Span:
    """Return where the windows of a line of `taps` weights lie along an axis of n pixels."""
    extent = dilation * (taps - 1)
    if mode == "same":
        return Span(-dilation * (taps // 2 + origin), -(-n // stride))
    if mode == "valid":
        return Span(0, -(-max(n - extent, 0) // stride))
    return Span(-extent, -(-(n + extent) // stride))


def product_tolerance(dtype: np.dtype[Any]) -> float:
    """Return the relative difference up to which a kernel of a dtype counts as a product of lines."""
    return _PRODUCT_ROUNDINGS * float(np.finfo(dtype).eps)


def dtype_of_weighted_sums(image: np.dtype[Any], total_weight: float | None) -> np.dtype[Any]:
    """Return the dtype of sums of pixels times weights, whose absolute values add up to `total_weight`.

    Pixels of 8 bits are summed in float32 where integer weights would give exact sums, other integers in float64, and
    floats in their own precision. Without a total weight, as on a GPU, where nothing waits for the weights, it counts
    as large.
    """
    if image.kind == "f":
        return promoted(image)
    exact = image.itemsize == 1 and total_weight is not None and 255 * total_weight < _EXACT_IN_FLOAT32
    return np.dtype(np.float32 if exact else np.float64)
