"""Dtypes of results."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._definitions.shapes import HostArray

__all__ = ["converted"]


def converted(result: HostArray, dtype: np.dtype[Any] | None) -> HostArray:
    """Convert a result; to integers rounded and kept within their range, NaN to 0."""
    if dtype is None or dtype == result.dtype:
        return result
    if dtype.kind == "f" or result.dtype.kind == "b":
        return result.astype(dtype)
    info = np.iinfo(dtype)
    if result.dtype.kind == "f":  # by methods, which arrays of all libraries have
        top = np.nextafter(float(info.max), 0) if float(info.max) > info.max else float(info.max)
        inside = result.astype(np.float64).round().clip(float(info.min), float(top))
        inside[result != result] = 0
        found: HostArray = inside.astype(dtype)
        found[result >= float(info.max)] = info.max
        return found
    own = np.iinfo(result.dtype)
    return result.clip(max(info.min, own.min), min(info.max, own.max)).astype(dtype)
