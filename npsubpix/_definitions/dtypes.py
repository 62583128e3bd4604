"""Dtypes of results, and conversion to them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["HostArray", "Rounding", "converted", "promoted", "rounding_to"]


#: An array of any dtype and shape, as kernels of the host take it.
HostArray: TypeAlias = npt.NDArray[Any]


@functools.lru_cache(maxsize=64)
def promoted(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of results with fractions: the promotion of those of the arrays with float32."""
    return np.result_type(*dtypes, np.float32)


class Rounding(NamedTuple):
    """Whether results are rounded to integers, and the least and greatest float within the range of these."""

    integer: bool
    low: float
    high: float


_FLOAT64 = np.dtype(np.float64)

#: Results that stay as they are computed.
_NONE = Rounding(False, 0.0, 0.0)


@functools.lru_cache(maxsize=64)
def rounding_to(dtype: np.dtype[Any], computed: np.dtype[Any] = _FLOAT64) -> Rounding:
    """Return how results that are computed in one dtype of floats are rounded to another dtype."""
    if dtype.kind == "f":
        return _NONE
    info = np.iinfo(dtype)
    high = computed.type(info.max)
    if int(high) > info.max:
        high = np.nextafter(high, computed.type(0))
    return Rounding(True, float(info.min), float(high))


def converted(result: HostArray, dtype: np.dtype[Any] | None) -> HostArray:
    """Convert a result; to integers rounded and kept within their range, NaN to 0."""
    if dtype is None or dtype == result.dtype:
        return result
    if dtype.kind == "f" or result.dtype.kind == "b":
        return result.astype(dtype)
    info = np.iinfo(dtype)
    if result.dtype.kind == "f":  # by methods, which arrays of all libraries have
        _, low, high = rounding_to(dtype)
        inside = result.astype(np.float64).round().clip(low, high)
        inside[result != result] = 0
        found: HostArray = inside.astype(dtype)
        found[result >= float(info.max)] = info.max
        return found
    own = np.iinfo(result.dtype)
    return result.clip(max(info.min, own.min), min(info.max, own.max)).astype(dtype)
