"""What launchers do with arrays before kernels get them."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._cuda._launch import Device, DeviceArray

__all__ = ["computed", "of_dtype", "result_dtype"]


def result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which kernels compute: float32 of what is smaller, float64 of the rest."""
    return np.result_type(dtype, np.float32)


def computed(x: DeviceArray) -> DeviceArray:
    """Return an array of float16 as float32, and any other as it is."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def of_dtype(device: Device, x: DeviceArray | None, dtype: Any) -> DeviceArray | None:
    """Return an array, if there is one, in C order and of a dtype."""
    return None if x is None else device.rows(x, x.shape, dtype)
