"""Soft-argmax over windows on the GPU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from npsubpix._cuda.launch.arrays import frames, of_dtype, result_dtype, sum_to_shape, temperatures_of
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.shapes import window_maps

__all__ = ["conv_soft_argmax", "conv_soft_argmax_vjp"]

#: Pixels of a map whose gradient one block gathers.
_PART = 4096


class _Windows(NamedTuple):
    """What kernels are told of maps and windows: along (z, y, x), sizes, steps, padding and counts."""

    maps: int
    geometry: tuple[int, ...]
    windows: int  # of a map
    pixels: int  # of a map

    @classmethod
    def of(
        cls, shape: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
    ) -> _Windows:
        counts = window_maps((shape,), kernel_size=window, stride=stride, padding=padding, output_value=True)[1][2:]
        parts = (_three(shape[2:], 1), _three(window, 1), _three(stride, 1), _three(padding, 0), _three(counts, 1))
        return cls(shape[0] * shape[1], sum(parts, ()), math.prod(counts), math.prod(shape[2:]))


def _three(options: tuple[int, ...], fill: int) -> tuple[int, ...]:
    return (fill,) * (3 - len(options)) + tuple(options)


def _kernel(name: str, dtype: np.dtype[Any], window: tuple[int, ...]) -> tuple[Kernel, np.dtype[Any]]:
    """Choose the precision of the sums: float32 of float32 where windows are small."""
    small = dtype == np.float32 and max(window) <= 5
    real = np.dtype(np.float32 if small else np.float64)
    return Kernel.of("soft_argmax", name, Pixel=dtype, Real=real), real


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
    device, dtype = device_of(input), result_dtype(input.dtype)
    x = device.rows(input, input.shape, dtype)
    temperatures = temperatures_of(device, temperature, x.shape[:2])
    shapes = window_maps((x.shape,), kernel_size=kernel_size, stride=stride, padding=padding, output_value=output_value)
    coords, values = device.empty(shapes[0], dtype), device.empty(shapes[1], dtype)
    maps = _Windows.of(x.shape, kernel_size, stride, padding)
    frame = sum(frames(_three(x.shape[2:], 1), normalized_coordinates), ())
    kernel, _ = _kernel("soft_argmax_windows", dtype, kernel_size)
    results = coords, values if output_value else None
    blocks = blocks_for(maps.maps * maps.windows)
    axes = len(kernel_size)
    run(
        device,
        kernel,
        blocks,
        x,
        temperatures,
        maps.maps,
        *maps.geometry,
        *frame,
        strict_maxima_bonus,
        axes,
        *results,
    )
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
    """Return the gradients by the input and by the temperature."""
    x, temperature = arrays
    device, dtype = device_of(x), result_dtype(x.dtype)
    x = device.rows(x, x.shape, dtype)
    temperatures = temperatures_of(device, temperature, x.shape[:2])
    by_coords, by_values = (of_dtype(device, c, dtype) for c in cotangents)
    by_values = by_values if output_value else None
    maps = _Windows.of(x.shape, kernel_size, stride, padding)
    factors = tuple(factor for _, factor in frames(_three(x.shape[2:], 1), normalized_coordinates))
    pull, real = _kernel("soft_argmax_pulls", dtype, kernel_size)
    pulls = device.empty((maps.maps, maps.windows, 6), real)
    shared = x, temperatures, maps.maps, *maps.geometry
    options = *factors, strict_maxima_bonus, len(kernel_size)
    run(device, pull, blocks_for(maps.maps * maps.windows), *shared, *options, by_coords, by_values, pulls)
    grad, by_temperature = _gather(device, shared, maps, pulls, _kernel("soft_argmax_gather", dtype, kernel_size)[0])
    return grad.reshape(x.shape), sum_to_shape(by_temperature.reshape(x.shape[:2]), temperature.shape)


def _gather(
    device: Device, shared: tuple[Any, ...], maps: _Windows, pulls: DeviceArray, kernel: Kernel
) -> tuple[DeviceArray, DeviceArray]:
    """Return the gradients by the pixels, and by the temperature of each map."""
    x = shared[0]
    parts = blocks_for(maps.pixels, each=_PART)
    grad = device.empty(x.shape, x.dtype)
    by_parts = device.empty((maps.maps, parts), np.float64)
    blocks = blocks_for(maps.maps * parts, each=1)
    run(device, kernel, blocks, *shared, pulls, parts, _PART, grad, by_parts)
    return grad, by_parts.sum(1)
