"""Border extension of an axis, the pixels that windows cover, and the number of windows along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.convolution import windows_along

__all__ = ["BORDERS", "as_pixel", "counts_of", "extended", "folded", "window_places"]

_Places: TypeAlias = npt.NDArray[Any]


def folded(places: _Places, n: int, border: str) -> _Places:
    """Return the pixel of an axis of n pixels that each place copies, -1 for none."""
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
    first, count = windows_along(n, size, "same", stride, 1, 0)
    if count == 0:
        return np.empty(0, np.int64)
    return folded(first + np.arange((count - 1) * stride + size), n, border)


def extended(x: Any, places: Sequence[_Places], fill: float, put: Callable[[_Places], Any] = np.asarray) -> Any:
    """Copy an array with the border extension of its last axes, at the places along each; `put` moves indices to it."""
    for axis, along in enumerate(places, start=x.ndim - len(places)):
        inside = np.flatnonzero(along >= 0)
        x = x.take(put(np.maximum(along, 0)), axis)
        if inside.size < along.size:  # pixels are one run, with nothing before and after it
            lines = x.swapaxes(0, axis)
            lines[: inside[0]] = fill
            lines[inside[-1] + 1 :] = fill
    return x


def as_pixel(value: float, dtype: np.dtype[Any]) -> float | int:
    """Return the closest value that a pixel of a dtype can have; 0 for NaN in integers."""
    if dtype.kind == "f":
        return value
    info = np.iinfo(dtype)
    if math.isnan(value):
        return 0
    return int(info.min) if value <= info.min else int(info.max) if value >= info.max else round(value)


def counts_of(shape: tuple[int, ...], step: tuple[int, ...]) -> tuple[int, ...]:
    """Return the number of windows along each axis, for the steps between them."""
    return tuple(-(-n // s) for n, s in zip(shape, step, strict=True))


#: Border extensions of an image; with ``"shrink"`` there is none, and windows are clipped to the image.
BORDERS: Final = ("reflect", "mirror", "nearest", "wrap", "constant", "shrink")
