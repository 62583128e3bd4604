"""Softmax, moments and expectations of whole maps on the host."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from npsubpix._arrays.checks import check_temperature, check_weights
from npsubpix._arrays.library import HostArray
from npsubpix._cpu.launch import as_stack
from npsubpix._cpu.spatial.maps import expectation_kernel, moments_kernels
from npsubpix._cpu.spatial.maps_vjp import expectation_vjp_kernel, moments_vjp_kernels, softmax_vjp_kernels
from npsubpix._cpu.spatial.softmax import softmax_kernels
from npsubpix._definitions.constants import EXPECTATION_SCALE
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.maps import coordinate_frame, held_temperatures, sum_to_shape
from npsubpix._definitions.shapes import MOMENTS, map_moments

__all__ = [
    "spatial_expectation",
    "spatial_expectation_vjp",
    "spatial_moments",
    "spatial_moments_vjp",
    "spatial_softmax",
    "spatial_softmax_vjp",
]


def _floats(x: HostArray) -> HostArray:
    return x.astype(promoted(x.dtype), copy=False)


@functools.cache
def _empty(ndim: int, dtype: np.dtype[Any]) -> HostArray:
    """Return an array without elements, for an absent argument or result."""
    return np.empty((0,) * ndim, dtype)


def _weights(weights: HostArray | None, x: HostArray, axes: int) -> HostArray:
    """Return weights as kernels take them: one map of them, one per map, or an empty array for none."""
    if weights is None:
        return _empty(4, x.dtype)
    checked = check_weights(weights, x.shape, axes)
    return as_stack(np.ascontiguousarray(checked, x.dtype), axes)


@functools.cache
def _order(axes: int, xy: bool) -> HostArray:
    """Return the axes of (z, y, x) in the order of the coordinates."""
    order = np.arange(3 - axes, 3)
    return order[::-1].copy() if xy else order


def spatial_softmax(
    input: HostArray, temperature: HostArray, weights: HostArray | None, *, spatial_axes: int
) -> tuple[HostArray]:
    """Turn maps over the last axes into distributions."""
    x = _floats(input)
    temperatures = check_temperature(temperature, x.shape[: x.ndim - spatial_axes]).ravel()
    out = np.empty(x.shape, x.dtype)
    softmax_kernels[x.dtype].run(
        40 * x.size,
        as_stack(x, spatial_axes),
        temperatures,
        _weights(weights, x, spatial_axes),
        as_stack(out, spatial_axes),
    )
    return (out,)


def spatial_softmax_vjp(
    cotangents: tuple[HostArray | None],
    arrays: tuple[HostArray, HostArray, HostArray | None],
    saved: tuple[HostArray],
    *,
    spatial_axes: int,
) -> tuple[HostArray, HostArray]:
    """Return the gradients with respect to the input and to the temperature."""
    (x, temperature, _), (probabilities,) = arrays, saved
    x = _floats(x)
    cotangent = np.zeros_like(x) if cotangents[0] is None else cotangents[0]
    leading = x.shape[: x.ndim - spatial_axes]
    temperatures = check_temperature(temperature, leading)
    maps = temperatures.size
    grad = np.empty(x.shape, x.dtype)
    by_temperature = np.empty(maps)
    flat = [a.reshape(maps, math.prod(x.shape[x.ndim - spatial_axes :])) for a in (x, probabilities, cotangent, grad)]
    softmax_vjp_kernels[x.dtype].run(
        20 * x.size, flat[0], held_temperatures(temperatures, x.dtype), flat[1], flat[2], flat[3], by_temperature
    )
    return grad, sum_to_shape(by_temperature.reshape(leading), temperature.shape)


def spatial_moments(
    input: HostArray,
    temperature: HostArray,
    weights: HostArray | None,
    *,
    spatial_axes: int,
    normalized_coordinates: bool,
    xy: bool,
    second: bool,
) -> tuple[HostArray, HostArray, HostArray]:
    """Return the means, the covariances if `second`, and the moments of each map, which gradients need."""
    x = _floats(input)
    temperatures = check_temperature(temperature, x.shape[: x.ndim - spatial_axes])
    shapes = map_moments((x.shape,), spatial_axes=spatial_axes, second=second)
    mean, covariance, stats = np.empty(shapes[0], x.dtype), np.empty(shapes[1], x.dtype), np.empty(shapes[2])
    stack = as_stack(x, spatial_axes)
    maps = len(stack)
    moments_kernels[x.dtype, second].run(
        20 * x.size,
        stack,
        temperatures.ravel(),
        _weights(weights, x, spatial_axes),
        coordinate_frame(stack.shape[1:], normalized_coordinates),
        _order(spatial_axes, xy),
        mean.reshape(maps, spatial_axes),
        covariance.reshape(maps, spatial_axes, spatial_axes) if second else _empty(3, x.dtype),
        stats.reshape(maps, MOMENTS),
    )
    return mean, covariance, stats


def spatial_moments_vjp(
    cotangents: tuple[HostArray | None, HostArray | None, None],
    arrays: tuple[HostArray, HostArray, HostArray | None],
    saved: tuple[HostArray],
    *,
    spatial_axes: int,
    normalized_coordinates: bool,
    xy: bool,
    second: bool,
) -> tuple[HostArray, HostArray]:
    """Return the gradients with respect to the input and to the temperature."""
    (x, temperature, weights), (stats,) = arrays, saved
    x = _floats(x)
    leading = x.shape[: x.ndim - spatial_axes]
    temperatures = check_temperature(temperature, leading)
    stack = as_stack(x, spatial_axes)
    maps, order = len(stack), _order(spatial_axes, xy)
    factors = coordinate_frame(stack.shape[1:], normalized_coordinates)[order, 1]
    linear, quadratic = np.zeros((maps, 3)), np.zeros((maps, 3, 3))
    if cotangents[0] is not None:
        linear[:, order] = cotangents[0].reshape(maps, spatial_axes) * factors
    if second and cotangents[1] is not None:
        full = cotangents[1].reshape(maps, spatial_axes, spatial_axes) * np.outer(factors, factors)
        quadratic[np.ix_(np.arange(maps), order, order)] = (full + full.swapaxes(1, 2)) / 2
    grad = np.empty(stack.shape, x.dtype)
    by_temperature = np.zeros(maps)
    moments_vjp_kernels[x.dtype].run(
        30 * x.size,
        stack,
        held_temperatures(temperatures, x.dtype),
        _weights(weights, x, spatial_axes),
        stats.reshape(maps, MOMENTS),
        linear,
        quadratic,
        grad,
        by_temperature,
    )
    return grad.reshape(x.shape), sum_to_shape(by_temperature.reshape(leading), temperature.shape)


def spatial_expectation(
    input: HostArray, weights: HostArray | None, *, spatial_axes: int, normalized_coordinates: bool, xy: bool
) -> tuple[HostArray]:
    """Return the sum of pixel times position of each map."""
    x = _floats(input)
    stack = as_stack(x, spatial_axes)
    maps = len(stack)
    mean = np.empty((*x.shape[: x.ndim - spatial_axes], spatial_axes), x.dtype)
    rows, temperatures = mean.reshape(maps, spatial_axes), np.ones(maps)
    arguments = (
        _weights(weights, x, spatial_axes),
        coordinate_frame(stack.shape[1:], normalized_coordinates),
        _order(spatial_axes, xy),
        rows,
        _empty(3, x.dtype),
        np.empty((maps, MOMENTS)),
    )
    expectation_kernel.run(10 * x.size, stack, temperatures, *arguments)
    overflows = ~np.isfinite(rows).all(1)
    if x.dtype == np.float64 and overflows.any():
        temperatures[overflows] = 1 / EXPECTATION_SCALE
        expectation_kernel.run(10 * x.size, stack, temperatures, *arguments)
    return (mean,)


def spatial_expectation_vjp(
    cotangents: tuple[HostArray | None],
    arrays: tuple[HostArray, HostArray | None],
    saved: tuple[()],
    *,
    spatial_axes: int,
    normalized_coordinates: bool,
    xy: bool,
) -> tuple[HostArray]:
    """Return the gradient with respect to the input: the position of each pixel times the cotangent."""
    x, weights = arrays
    x = _floats(x)
    stack = as_stack(x, spatial_axes)
    grad = np.zeros(stack.shape, x.dtype)
    if cotangents[0] is not None:
        maps, order = len(stack), _order(spatial_axes, xy)
        frame = coordinate_frame(stack.shape[1:], normalized_coordinates)
        slopes = np.zeros((maps, 3))
        slopes[:, order] = cotangents[0].reshape(maps, spatial_axes) * frame[order, 1]
        expectation_vjp_kernel.run(4 * x.size, _weights(weights, x, spatial_axes), slopes, -slopes @ frame[:, 0], grad)
    return (grad.reshape(x.shape),)
