"""What launchers do with arrays before kernels get them."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.checks import check_broadcast_to, check_temperature
from npsubpix._cuda.launch.devices import Device
from npsubpix._cuda.launch.kernels import DeviceArray
from npsubpix._definitions.dtypes import promoted as result_dtype

__all__ = ["computed", "frames", "is_number", "native", "of_dtype", "result_dtype", "sum_to_shape", "temperatures_of"]


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
    """Return one temperature for each map.

    A number is checked here. An array on the GPU is not: to look at it, the host would have to
    wait. Kernels make NaN of maps whose temperature is not positive and finite.
    """
    if is_number(temperature):
        return device.full(leading, check_temperature(temperature, ()).item(), np.float64)
    check_broadcast_to(temperature, leading, "temperature", "the leading axes of the input")
    return device.rows(temperature, leading, np.float64)


def is_number(x: Any) -> bool:
    """Whether something given beside arrays on a GPU is a number on the host."""
    return isinstance(x, np.ndarray) and x.ndim == 0


def frames(shape: tuple[int, ...], normalized: bool) -> tuple[tuple[float, float], ...]:
    """Return centre and factor from pixels to coordinates for each axis; an axis of one pixel stays as it is."""
    return tuple((0.5 * (n - 1), 2 / (n - 1)) if normalized and n > 1 else (0.0, 1.0) for n in shape)


def sum_to_shape(x: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    """Sum over the axes along which an array of `shape` was broadcast to that of x."""
    ahead = x.ndim - len(shape)
    stretched = tuple(k + ahead for k, n in enumerate(shape) if n == 1 and x.shape[k + ahead] != 1)
    return x.sum((*range(ahead), *stretched)).reshape(shape)
