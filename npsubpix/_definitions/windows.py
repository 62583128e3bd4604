"""Statistics of windows: dtypes of sums and of results, window lengths, and valid footprints and weights."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from npsubpix._definitions.borders import as_pixel
from npsubpix._definitions.dtypes import HostArray, promoted

__all__ = [
    "NAN_POLICIES",
    "border_without_nan",
    "check_contents",
    "clipped_size",
    "dtype_of_statistic",
    "dtype_of_sums",
    "empty_shape",
    "in_precision_of",
    "neutral",
    "skipped_pixels",
]

#: Treatments of NaN: a window that contains it gives NaN, or it is skipped like a masked pixel.
NAN_POLICIES: Final = ("propagate", "omit")

#: Largest number of pixels whose sum keeps single precision when it is taken in float32.
_MOST_IN_FLOAT32: Final = 4096

#: Bits of the integers that float32 and float64 hold exactly.
_EXACT_BITS: Final = ((np.dtype(np.float32), 24), (np.dtype(np.float64), 53))


def dtype_of_sums(dtype: np.dtype[Any], count: int, exact: bool) -> np.dtype[Any]:
    """Return the dtype in which `count` pixels are summed.

    Floats are summed in their own precision, float32 in float64 for more than 4096 pixels. Integers are summed in the
    first of float32, float64 and 64-bit integers that holds all sums exactly, or, unless sums must be `exact`, in
    float64 in place of the last.
    """
    if dtype.kind == "f":
        return dtype if dtype == np.float64 or count <= _MOST_IN_FLOAT32 else np.dtype(np.float64)
    largest = (2 ** (8 * dtype.itemsize) - 1) * count
    for floats, bits in _EXACT_BITS:
        if largest <= 2**bits:
            return floats
    if not exact:
        return np.dtype(np.float64)
    return np.dtype(np.uint64 if dtype == np.uint64 else np.int64)


def dtype_of_statistic(dtype: np.dtype[Any], reduction: str, weighted: bool) -> np.dtype[Any]:
    """Return the dtype of a statistic of an image of a dtype."""
    if reduction == "centroid":
        return np.dtype(np.float64)
    if reduction in ("mean", "var", "std") or (reduction == "sum" and weighted):
        return promoted(dtype)
    if dtype.kind == "f" or reduction in ("min", "max", "median", "percentile"):
        return dtype
    if reduction == "sum":
        return np.dtype(np.uint64 if dtype == np.uint64 else np.int64)
    return np.dtype(f"u{dtype.itemsize}")  # of a range


def skipped_pixels(x: HostArray, mask: HostArray | None, nan_policy: str) -> HostArray | None:
    """Return the pixels that do not count: masked ones, and NaN if it is omitted; None if all count."""
    if nan_policy == "propagate" or x.dtype.kind != "f":
        return mask
    missing: HostArray = x != x
    return missing if mask is None else missing | mask


def border_without_nan(border: str, cval: float, nan_policy: str) -> str:
    """Return the border extension in which a constant NaN that is omitted does not count, as with "shrink"."""
    return "shrink" if border == "constant" and nan_policy == "omit" and math.isnan(cval) else border


def neutral(dtype: np.dtype[Any], reduction: str) -> Any:
    """Return the value that a pixel which does not count is replaced by: 0 in sums, and beyond all others in extrema.

    The search for an extremum begins with it.
    """
    if reduction not in ("min", "max"):
        return 0
    low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return low if reduction == "max" else high


def empty_shape(shape: tuple[int, ...], stride: tuple[int, ...], reduction: str) -> tuple[int, ...]:
    """Return the shape of a statistic of an image without pixels."""
    counts = tuple(-(-n // s) for n, s in zip(shape, stride, strict=True))
    return (len(shape), *counts) if reduction == "centroid" else counts


def in_precision_of(
    dtype: np.dtype[Any] | None, image: HostArray, reduction: str, cval: float
) -> tuple[HostArray, float | int]:
    """Return an image, and the value of pixels beyond it, as they are reduced to a result of a dtype.

    An image whose moments would be float32 is converted to float64 if that is the dtype of the result. Integers of
    which a result in floats is wanted are converted to floats, which have fractions, and NaN where no pixel counts.
    """
    beyond, integer = as_pixel(cval, image.dtype), image.dtype.kind != "f"
    if dtype is None or dtype.kind != "f":
        return image, beyond
    if reduction in ("mean", "var", "std") or (reduction == "sum" and not integer):
        needed = np.dtype(np.float64) if dtype == np.float64 != promoted(image.dtype) else image.dtype
    else:
        is_of_order = reduction in ("min", "max", "range", "median", "percentile")
        needed = np.result_type(promoted(image.dtype), dtype) if integer and is_of_order else image.dtype
    return image.astype(needed, copy=False), beyond


def clipped_size(size: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shorten windows that end with the image to the length that reaches all of it from every pixel."""
    return tuple(min(k, 2 * n) for k, n in zip(size, shape, strict=True))


def check_contents(reduction: str, footprint: HostArray | None, weights: HostArray | None) -> None:
    """Check the contents of a footprint and weights; not of those on a GPU, for which the host would have to wait."""
    if type(footprint) is np.ndarray and not footprint.any():
        raise ValueError("footprint must have a pixel that counts")
    if type(weights) is np.ndarray:
        if not np.isfinite(weights).all():
            raise ValueError("weights must be finite")
        if reduction in ("var", "std") and not (weights >= 0).all():
            raise ValueError(f"weights must not be negative for {reduction}")
