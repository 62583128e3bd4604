"""Arrays as kernels take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.checks import check_temperature
from npsubpix._cuda.launch.devices import Device
from npsubpix._cuda.launch.kernels import DeviceArray

__all__ = ["computed", "is_number", "native", "of_dtype", "temperatures_of"]


def computed(x: DeviceArray) -> DeviceArray:
    """Return an array of float16 as float32, and any other as it is."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def native(x: DeviceArray, dtypes: tuple[str, ...]) -> DeviceArray:
    """Return an array of one of some dtypes as it is, and any other as floats that hold its values as float64 does."""
    if x.dtype.name in dtypes:
        return x
    return x.astype(np.float32 if x.dtype.itemsize <= 2 else np.float64)


def of_dtype(device: Device, x: DeviceArray | None, dtype: Any) -> DeviceArray | None:
    """Return an array, if there is one, in C order and of a dtype."""
    return None if x is None else device.rows(x, x.shape, dtype)


def temperatures_of(device: Device, temperature: DeviceArray, leading: tuple[int, ...]) -> DeviceArray:
    """Return one temperature per map.

    A number is checked here. An array on the GPU is not, as the host would have to wait for it. Kernels write NaN to
    maps whose temperature is not positive and finite.
    """
    if is_number(temperature):
        return device.full(leading, check_temperature(temperature, ()).item(), np.float64)
    return device.rows(temperature, leading, np.float64)


def is_number(x: Any) -> bool:
    """Whether an argument beside arrays on a GPU is a number on the host."""
    return isinstance(x, np.ndarray) and x.ndim == 0
