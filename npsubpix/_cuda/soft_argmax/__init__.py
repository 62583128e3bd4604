"""Soft-argmax over windows on the GPU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from npsubpix._cuda.launch.arrays import of_dtype, temperatures_of
from npsubpix._cuda.launch.catalogue import register
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.maps import coordinate_frame, precision_of_windows, sum_to_shape
from npsubpix._definitions.shapes import three_axes, window_maps

__all__ = ["conv_soft_argmax", "conv_soft_argmax_vjp"]

register(
    "soft_argmax",
    [
        (("Pixel", pixel), ("Real", real))
        for pixel, real in (("float", "float"), ("float", "double"), ("double", "double"))
    ],
)

#: Pixels of a map whose gradient one block gathers.
_PART = 4096


class _Windows(NamedTuple):
    """Maps and their windows: along (z, y, x), sizes of maps, lengths, strides, padding and counts of windows."""

    maps: int
    geometry: tuple[int, ...]
    windows: int  # of a map
    pixels: int  # of a map

    @classmethod
    def of(
        cls, shape: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
    ) -> _Windows:
        counts = window_maps((shape,), kernel_size=window, stride=stride, padding=padding, output_value=True)[1][2:]
        sizes = (*three_axes(shape[2:], 1), *three_axes(window, 1), *three_axes(stride, 1))
        geometry = (*sizes, *three_axes(padding, 0), *three_axes(counts, 1))
        return cls(shape[0] * shape[1], geometry, math.prod(counts), math.prod(shape[2:]))


def _kernel(name: str, dtype: np.dtype[Any], precision: np.dtype[Any]) -> Kernel:
    return Kernel.of("soft_argmax", name, Pixel=dtype, Real=precision)


def conv_soft_argmax(
    input: DeviceArray,
    temperature: DeviceArray,
    *,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    normalized_coordinates: bool,
    strict_maxima_bonus: float,
    output_value: bool,
) -> tuple[DeviceArray, DeviceArray]:
    """Return the coordinates (scale, x, y) or (x, y) and the values of all windows of (B, C, [D,] H, W)."""
    device, dtype = device_of(input), promoted(input.dtype)
    x = device.rows(input, input.shape, dtype)
    temperatures = temperatures_of(device, temperature, x.shape[:2])
    shapes = window_maps((x.shape,), kernel_size=kernel_size, stride=stride, padding=padding, output_value=output_value)
    coords, values = device.empty(shapes[0], dtype), device.empty(shapes[1], dtype)
    maps = _Windows.of(x.shape, kernel_size, stride, padding)
    frame = coordinate_frame(three_axes(x.shape[2:], 1), normalized_coordinates).ravel().tolist()
    kernel = _kernel("soft_argmax_windows", dtype, precision_of_windows(dtype, kernel_size))
    shared = x, temperatures, maps.maps, *maps.geometry
    results = coords, values if output_value else None
    blocks = blocks_for(maps.maps * maps.windows)
    run(device, kernel, blocks, *shared, *frame, strict_maxima_bonus, len(kernel_size), *results)
    return coords, values


def conv_soft_argmax_vjp(
    cotangents: tuple[DeviceArray | None, DeviceArray | None],
    arrays: tuple[DeviceArray, DeviceArray],
    saved: tuple[()],
    *,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    normalized_coordinates: bool,
    strict_maxima_bonus: float,
    output_value: bool,
) -> tuple[DeviceArray, DeviceArray]:
    """Return the gradients with respect to the input and to the temperature."""
    x, temperature = arrays
    device, dtype = device_of(x), promoted(x.dtype)
    x = device.rows(x, x.shape, dtype)
    temperatures = temperatures_of(device, temperature, x.shape[:2])
    coords_cotangent, values_cotangent = (of_dtype(device, c, dtype) for c in cotangents)
    if not output_value:
        values_cotangent = None
    maps = _Windows.of(x.shape, kernel_size, stride, padding)
    factors = coordinate_frame(three_axes(x.shape[2:], 1), normalized_coordinates)[:, 1].tolist()
    precision = precision_of_windows(dtype, kernel_size)
    pulls = device.empty((maps.maps, maps.windows, 6), precision)
    shared = x, temperatures, maps.maps, *maps.geometry
    options = *factors, strict_maxima_bonus, len(kernel_size)
    kernel, blocks = _kernel("soft_argmax_pulls", dtype, precision), blocks_for(maps.maps * maps.windows)
    run(device, kernel, blocks, *shared, *options, coords_cotangent, values_cotangent, pulls)
    grad, by_temperature = _gather(device, shared, maps, pulls, _kernel("soft_argmax_gather", dtype, precision))
    return grad.reshape(x.shape), sum_to_shape(by_temperature.reshape(x.shape[:2]), temperature.shape)


def _gather(
    device: Device, shared: tuple[Any, ...], maps: _Windows, pulls: DeviceArray, kernel: Kernel
) -> tuple[DeviceArray, DeviceArray]:
    """Return the gradients with respect to the pixels, and to the temperature of each map."""
    x = shared[0]
    parts = blocks_for(maps.pixels, each=_PART)
    grad = device.empty(x.shape, x.dtype)
    by_parts = device.empty((maps.maps, parts), np.float64)
    blocks = blocks_for(maps.maps * parts, each=1)
    run(device, kernel, blocks, *shared, pulls, parts, _PART, grad, by_parts)
    return grad, by_parts.sum(1)
