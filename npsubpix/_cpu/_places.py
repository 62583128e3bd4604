"""What is beyond the ends of an axis, as an array of the pixels that places are copies of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from npsubpix._arrays import HostArray

__all__ = ["as_pixel", "extended", "folded", "reached"]


def folded(places: HostArray, n: int, border: str) -> HostArray:
    """Return the pixel of an axis of n pixels that each place is a copy of, -1 for none."""
    if border in ("constant", "shrink"):
        return np.where((places >= 0) & (places < n), places, -1)
    if border == "nearest" or n == 1:
        return np.clip(places, 0, n - 1)
    if border == "wrap":
        return places % n
    period = 2 * n - 2 if border == "mirror" else 2 * n
    places = places % period
    return np.where(places < n, places, period - places - (0 if border == "mirror" else 1))


def reached(n: int, size: int, stride: int, border: str) -> HostArray:
    """Return the pixel that each place is a copy of which windows centred on pixels of an axis reach, -1 for none."""
    count = -(-n // stride)
    return folded(np.arange(-(size // 2), (count - 1) * stride + size - size // 2), n, border)


def extended(x: HostArray, places: Sequence[HostArray], fill: float) -> HostArray:
    """Copy an array with what is beyond the ends of its last axes, at the places along each."""
    for axis, along in enumerate(places, start=x.ndim - len(places)):
        x = np.take(x, np.maximum(along, 0), axis)
        if (along < 0).any():
            np.moveaxis(x, axis, 0)[along < 0] = fill
    return np.ascontiguousarray(x)


def as_pixel(value: float, dtype: np.dtype[Any]) -> float | int:
    """Return the closest to a value that a pixel can be; 0 for NaN among integers."""
    if dtype.kind == "f":
        return value
    info = np.iinfo(dtype)
    if math.isnan(value):
        return 0
    return int(info.min) if value <= info.min else int(info.max) if value >= info.max else round(value)
