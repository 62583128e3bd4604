"""Soft-argmax over windows on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.checks import check_temperature
from npsubpix._arrays.library import HostArray
from npsubpix._cpu.launch import as_stack, frames, held_temperatures, sum_to_shape
from npsubpix._cpu.nms import nms_mask
from npsubpix._cpu.soft_argmax.windows import softmax_window_kernels
from npsubpix._cpu.soft_argmax.windows_vjp import band_rows, softmax_window_vjp_kernels
from npsubpix._definitions.shapes import window_maps

__all__ = ["conv_soft_argmax", "conv_soft_argmax_vjp"]

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def _precision(dtype: np.dtype[Any], window: tuple[int, ...]) -> np.dtype[Any]:
    """Precision of the arithmetic: float32 where windows are small.

    The shift that a whole tile shares makes an exponent of size a inexact by 1e-7 * a in float32,
    which moves the mean of a window by that times its width.
    """
    return _FLOAT32 if dtype == _FLOAT32 and max(window) <= 5 else _FLOAT64


def _spread(dtype: np.dtype[Any], window: tuple[int, ...]) -> float:
    """Range of the exponents of a tile up to which they can share a shift."""
    return 80.0 / max(max(window) - 1, 2) if dtype == _FLOAT32 else 500.0


def _three(options: tuple[int, ...], fill: int) -> tuple[int, ...]:
    return (fill,) * (3 - len(options)) + options


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
    dtype = np.result_type(input.dtype, np.float32)
    x = input.astype(dtype, copy=False)
    temperatures = check_temperature(temperature, x.shape[:2])
    coords_shape, values_shape = window_maps(
        (x.shape,), kernel_size=kernel_size, stride=stride, padding=padding, output_value=output_value
    )
    coords = np.empty(coords_shape, dtype)
    values = np.empty(values_shape, dtype)
    axes = len(kernel_size)
    stack = as_stack(x, len(kernel_size))
    precision = _precision(dtype, kernel_size)
    softmax_window_kernels[precision].run(
        64 * x.size,
        stack,
        held_temperatures(temperatures, precision),
        _three(kernel_size, 1),
        _three(stride, 1),
        _three(padding, 0),
        frames(stack.shape[1:], normalized_coordinates),
        _spread(precision, kernel_size),
        coords.reshape(len(stack), axes, *_three(coords_shape[3:], 1)),
        values.reshape(len(stack) if output_value else 0, *_three(values.shape[2:], 1 if output_value else 0)),
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
    """Mark the windows, all inside the map, whose centre is their strict maximum."""
    marks = np.zeros(shape, bool)
    into: list[Any] = [...]
    out: list[Any] = [...]
    for k, s, p, n, count in zip(window, stride, padding, x.shape[2:], shape[2:], strict=True):
        offset = (k - 1) // 2 - p  # of the centre of the first window
        first = -(offset // s) if offset < 0 else 0
        last = max(min(count, (n - 1 - offset) // s + 1), first)
        into.append(slice(first, last))
        out.append(slice(first * s + offset, last * s + offset, s))
    marks[tuple(into)] = nms_mask(x, kernel_size=window)[0][tuple(out)]
    return marks


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
    """Return the gradients by the input and by the temperature."""
    x, temperature = arrays
    dtype = np.result_type(x.dtype, np.float32)
    x = x.astype(dtype, copy=False)
    temperatures = check_temperature(temperature, x.shape[:2])
    coords_shape, values_shape = window_maps(
        (x.shape,), kernel_size=kernel_size, stride=stride, padding=padding, output_value=True
    )
    by_coords, by_values = cotangents
    if by_coords is None:
        by_coords = np.zeros(coords_shape, dtype)
    if by_values is None or not output_value:
        by_values = np.empty((*values_shape[:-1], 0), dtype)
    elif strict_maxima_bonus:
        by_values = by_values * (
            1 + strict_maxima_bonus * _strict_centres(x, kernel_size, stride, padding, values_shape)
        ).astype(dtype)
    stack = as_stack(x, len(kernel_size))
    grad = np.zeros(stack.shape, dtype)
    rows = band_rows(kernel_size[-2], stride[-2])
    by_temperature = np.zeros((len(stack), -(-values_shape[-2] // rows)))
    softmax_window_vjp_kernels[dtype].run(
        64 * x.size,
        stack,
        held_temperatures(temperatures, dtype),
        _three(kernel_size, 1),
        _three(stride, 1),
        _three(padding, 0),
        frames(stack.shape[1:], normalized_coordinates)[:, 1].copy(),
        rows,
        by_coords.reshape(len(stack), len(kernel_size), *_three(coords_shape[3:], 1)),
        by_values.reshape(len(stack), *_three(by_values.shape[2:], 1)),
        grad,
        by_temperature,
    )
    return grad.reshape(x.shape), sum_to_shape(by_temperature.sum(1).reshape(x.shape[:2]), temperature.shape)
