"""Maps over the last one to three axes: coordinates of their pixels, temperatures, weights, and broadcast arguments."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from npsubpix._definitions.constants import MOST_TEMPERATURE_32, MOST_TEMPERATURE_64
from npsubpix._definitions.dtypes import HostArray, promoted

__all__ = [
    "coordinate_frame",
    "gradient_of",
    "held_temperatures",
    "is_shared",
    "precision_of_windows",
    "sum_to_shape",
]

#: Windows up to this many pixels long are summed in float32 where maps are of float32.
_LONGEST_IN_FLOAT32 = 5


@functools.lru_cache(maxsize=256)
def coordinate_frame(shape: tuple[int, ...], normalized: bool) -> HostArray:
    """Return the pixel at coordinate 0 and the coordinates per pixel, for each axis, as an array of shape (axes, 2).

    Normalized coordinates go from -1 to 1 between the centres of the outermost pixels of an axis; an axis of one
    pixel stays in pixels.
    """
    return np.array([(0.5 * (n - 1), 2 / (n - 1)) if normalized and n > 1 else (0.0, 1.0) for n in shape])


def held_temperatures(temperatures: HostArray, precision: np.dtype[Any]) -> HostArray:
    """Keep temperatures, and their inverses, finite: long before that, weights are 0 and 1, or equal."""
    most = MOST_TEMPERATURE_32 if precision == np.float32 else MOST_TEMPERATURE_64
    return np.minimum(np.maximum(temperatures.ravel(), 1 / most), most)  # in half of the time of `np.clip`


def is_shared(shape: tuple[int, ...], axes: int) -> bool:
    """Whether weights of a shape are those of one map, which all maps over the last axes share."""
    return all(n == 1 for n in shape[: max(len(shape) - axes, 0)])


def precision_of_windows(dtype: np.dtype[Any], window: tuple[int, ...]) -> np.dtype[Any]:
    """Return the precision in which windows are summed.

    With a shift that many windows share, an exponent of size a is inexact by 1e-7 * a in float32, which moves the
    mean of a window by this number times its length.
    """
    return np.dtype(np.float32 if dtype == np.float32 and max(window) <= _LONGEST_IN_FLOAT32 else np.float64)


def sum_to_shape(x: Any, shape: tuple[int, ...]) -> Any:
    """Sum over the axes along which an array of `shape` was broadcast to that of x."""
    ahead = x.ndim - len(shape)
    stretched = tuple(k + ahead for k, n in enumerate(shape) if n == 1 and x.shape[k + ahead] != 1)
    axes = (*range(ahead), *stretched)
    return (x.sum(axes, keepdims=True) if axes else x).reshape(shape)  # an array, where NumPy would return a scalar


def gradient_of(argument: Any, by_element: Any) -> Any:
    """Sum a gradient to the shape of the argument that was broadcast, in the precision of its results."""
    with np.errstate(over="ignore"):
        return sum_to_shape(by_element, argument.shape).astype(promoted(argument.dtype))
