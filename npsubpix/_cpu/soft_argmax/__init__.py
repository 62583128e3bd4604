"""Soft-argmax over windows on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.checks import check_temperature
from npsubpix._arrays.library import HostArray
from npsubpix._cpu.launch import as_stack
from npsubpix._cpu.nms import nms_mask
from npsubpix._cpu.soft_argmax.windows import softmax_window_kernels
from npsubpix._cpu.soft_argmax.windows_vjp import band_rows, softmax_window_vjp_kernels
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.maps import coordinate_frame, held_temperatures, precision_of_windows, sum_to_shape
from npsubpix._definitions.shapes import three_axes, window_maps

__all__ = ["conv_soft_argmax", "conv_soft_argmax_vjp"]


def _spread(precision: np.dtype[Any], window: tuple[int, ...]) -> float:
    """Return the range of the exponents of a tile up to which they can share a shift."""
    return 80.0 / max(max(window) - 1, 2) if precision == np.float32 else 500.0


def conv_soft_argmax(
    input: HostArray,
    temperature: HostArray,
    *,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    normalized_coordinates: bool,
    strict_maxima_bonus: float,
    output_value: bool,
) -> tuple[HostArray, HostArray]:
    """Return the coordinates (scale, x, y) or (x, y) and the values of all windows of (B, C, [D,] H, W)."""
    dtype = promoted(input.dtype)
    x = input.astype(dtype, copy=False)
    temperatures = check_temperature(temperature, x.shape[:2])
    coords_shape, values_shape = window_maps(
        (x.shape,), kernel_size=kernel_size, stride=stride, padding=padding, output_value=output_value
    )
    coords = np.empty(coords_shape, dtype)
    values = np.empty(values_shape, dtype)
    axes = len(kernel_size)
    stack = as_stack(x, len(kernel_size))
    precision = precision_of_windows(dtype, kernel_size)
    softmax_window_kernels[precision].run(
        64 * x.size,
        stack,
        held_temperatures(temperatures, precision),
        three_axes(kernel_size, 1),
        three_axes(stride, 1),
        three_axes(padding, 0),
        coordinate_frame(stack.shape[1:], normalized_coordinates),
        _spread(precision, kernel_size),
        coords.reshape(len(stack), axes, *three_axes(coords_shape[3:], 1)),
        values.reshape(len(stack) if output_value else 0, *three_axes(values.shape[2:], 1 if output_value else 0)),
    )
    if strict_maxima_bonus and output_value:
        values *= 1 + strict_maxima_bonus * _strict_centres(x, kernel_size, stride, padding, values_shape)
    return coords, values


def _strict_centres(
    x: HostArray,
    window: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    shape: tuple[int, ...],
) -> npt.NDArray[np.bool_]:
    """Return the mask of the windows, all inside the map, whose centre is their strict maximum."""
    strict = np.zeros(shape, bool)
    windows: list[Any] = [...]
    centres: list[Any] = [...]
    for k, s, p, n, count in zip(window, stride, padding, x.shape[2:], shape[2:], strict=True):
        offset = (k - 1) // 2 - p  # of the centre of the first window
        first = -(offset // s) if offset < 0 else 0
        last = max(min(count, (n - 1 - offset) // s + 1), first)
        windows.append(slice(first, last))
        centres.append(slice(first * s + offset, last * s + offset, s))
    strict[tuple(windows)] = nms_mask(x, kernel_size=window)[0][tuple(centres)]
    return strict


def conv_soft_argmax_vjp(
    cotangents: tuple[HostArray | None, HostArray | None],
    arrays: tuple[HostArray, HostArray],
    saved: tuple[()],
    *,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    normalized_coordinates: bool,
    strict_maxima_bonus: float,
    output_value: bool,
) -> tuple[HostArray, HostArray]:
    """Return the gradients with respect to the input and to the temperature."""
    x, temperature = arrays
    dtype = promoted(x.dtype)
    x = x.astype(dtype, copy=False)
    temperatures = check_temperature(temperature, x.shape[:2])
    coords_shape, values_shape = window_maps(
        (x.shape,), kernel_size=kernel_size, stride=stride, padding=padding, output_value=True
    )
    coords_cotangent, values_cotangent = cotangents
    if coords_cotangent is None:
        coords_cotangent = np.zeros(coords_shape, dtype)
    if values_cotangent is None or not output_value:
        values_cotangent = np.empty((*values_shape[:-1], 0), dtype)
    elif strict_maxima_bonus:
        strict = _strict_centres(x, kernel_size, stride, padding, values_shape)
        values_cotangent = values_cotangent * (1 + strict_maxima_bonus * strict).astype(dtype)
    stack = as_stack(x, len(kernel_size))
    grad = np.zeros(stack.shape, dtype)
    rows = band_rows(kernel_size[-2], stride[-2])
    by_temperature = np.zeros((len(stack), -(-values_shape[-2] // rows)))
    softmax_window_vjp_kernels[dtype].run(
        600 * x.size,
        stack,
        held_temperatures(temperatures, dtype),
        three_axes(kernel_size, 1),
        three_axes(stride, 1),
        three_axes(padding, 0),
        coordinate_frame(stack.shape[1:], normalized_coordinates)[:, 1].copy(),
        rows,
        coords_cotangent.reshape(len(stack), len(kernel_size), *three_axes(coords_shape[3:], 1)),
        values_cotangent.reshape(len(stack), *three_axes(values_cotangent.shape[2:], 1)),
        grad,
        by_temperature,
    )
    return grad.reshape(x.shape), sum_to_shape(by_temperature.sum(1).reshape(x.shape[:2]), temperature.shape)
