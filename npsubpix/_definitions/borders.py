"""Border extension, and the pixels of windows at the border of an image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["BORDERS", "as_pixel", "counts_of", "extended", "folded", "parts_of", "window_places"]

_Places: TypeAlias = npt.NDArray[Any]


def folded(places: _Places, n: int, border: str) -> _Places:
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


def window_places(n: int, size: int, stride: int, border: str) -> _Places:
    """Return the pixels of an axis that windows of convolutions and statistics cover, -1 for none.

    A window begins ``size // 2`` pixels before its pixel, as in SciPy; beyond the border it has copies of pixels.
    """
    count = -(-n // stride)
    return folded(np.arange(-(size // 2), (count - 1) * stride + size - size // 2), n, border)


def extended(x: _Places, places: Sequence[_Places], fill: float) -> _Places:
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


def counts_of(shape: tuple[int, ...], step: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many windows there are along each axis, for the steps between them."""
    return tuple(-(-n // s) for n, s in zip(shape, step, strict=True))


def parts_of(n: int, size: int, step: int, back: int) -> list[tuple[slice, slice, int]]:
    """Divide windows along an axis by their length: places in the result, pixels, and the length."""
    count = -(-n // step)
    starts = np.arange(count) * step - back
    low, high = np.maximum(starts, 0), np.minimum(starts + size, n)
    parts = []
    for length, same in itertools.groupby(range(count), lambda k: (high[k] - low[k], high[k] - low[k] < size and k)):
        places = list(same)
        first, last = places[0], places[-1]
        parts.append((slice(first, last + 1), slice(int(low[first]), int(high[last])), int(length[0])))
    return parts


#: How an image goes on beyond its ends, of which ``"shrink"`` is not at all: windows end where it does.
BORDERS: Final = ("reflect", "mirror", "nearest", "wrap", "constant", "shrink")
