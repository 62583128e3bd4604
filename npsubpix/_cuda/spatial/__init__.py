"""Softmax, moments and expectations of whole maps on the GPU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.checks import check_weights
from npsubpix._cuda.launch.arrays import is_number, of_dtype, temperatures_of
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.maps import coordinate_frame, is_shared, sum_to_shape
from npsubpix._definitions.shapes import MOMENTS, map_moments, three_axes

__all__ = [
    "spatial_expectation",
    "spatial_expectation_vjp",
    "spatial_moments",
    "spatial_moments_vjp",
    "spatial_softmax",
    "spatial_softmax_vjp",
]

register("spatial", each("Pixel", FLOATS))

#: Pixels of a map that one block sums up.
_PART = 4096


class _Maps(NamedTuple):
    """Maps as kernels take them."""

    device: Device
    x: DeviceArray
    temperatures: DeviceArray | None
    weights: DeviceArray | None
    shared: bool  # one map of weights for all maps
    stack: tuple[int, ...]  # maps, depth, height, width
    leading: tuple[int, ...]
    parts: int

    @classmethod
    def of(cls, x: DeviceArray, temperature: DeviceArray | None, weights: DeviceArray | None, axes: int) -> _Maps:
        device = device_of(x)
        x = device.rows(x, x.shape, promoted(x.dtype))
        leading, shape = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
        temperatures = None if temperature is None else temperatures_of(device, temperature, leading)
        shared, weights = _weights(device, weights, x, axes)
        stack = (math.prod(leading), *three_axes(shape, 1))
        return cls(device, x, temperatures, weights, shared, stack, leading, blocks_for(math.prod(shape), each=_PART))

    @property
    def pixels(self) -> int:
        """Pixels of a map."""
        return math.prod(self.stack[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        """Depth, height and width."""
        return self.stack[1:]

    def run(self, name: str, blocks: int, *args: Any) -> None:
        """Launch a kernel of this file."""
        run(self.device, Kernel.of("spatial", name, Pixel=self.x.dtype), blocks, *args)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The maps as the first arguments of kernels."""
        return self.x, self.temperatures, self.weights, self.shared, *self.stack

    def sums(self, second: bool) -> DeviceArray:
        """Return the maximum and the sums of each map."""
        of_parts = self.device.empty((self.stack[0], self.parts, MOMENTS), np.float64)
        out = self.device.empty((self.stack[0], MOMENTS), np.float64)
        blocks = blocks_for(self.stack[0] * self.parts, each=1)
        self.run("spatial_parts", blocks, *self.arguments, self.parts, _PART, second, of_parts)
        merge = blocks_for(self.stack[0], each=1)
        self.run("spatial_merge", merge, of_parts, self.temperatures, self.stack[0], self.parts, out)
        return out


def _weights(device: Device, weights: DeviceArray | None, x: DeviceArray, axes: int) -> tuple[bool, DeviceArray | None]:
    """Return whether one map of weights is for all maps, and the weights: one map of them, or one per map.

    Their values are not checked, as the host would have to wait. Kernels write NaN to maps with a weight that is
    negative or not finite.
    """
    if weights is None:
        return True, None
    if is_number(weights):
        check_weights(weights, (), 0)
        return True, device.full(x.shape[x.ndim - axes :], weights.item(), x.dtype)
    if is_shared(weights.shape, axes):
        own = weights.reshape(weights.shape[max(weights.ndim - axes, 0) :])
        return True, device.rows(own, x.shape[x.ndim - axes :], x.dtype)
    return False, device.rows(weights, x.shape, x.dtype)


def spatial_softmax(
    input: DeviceArray, temperature: DeviceArray, weights: DeviceArray | None, *, spatial_axes: int
) -> tuple[DeviceArray]:
    """Turn maps over the last axes into distributions."""
    maps = _Maps.of(input, temperature, weights, spatial_axes)
    out = maps.device.empty(maps.x.shape, maps.x.dtype)
    maps.run("spatial_softmax_write", blocks_for(maps.x.size), *maps.arguments, maps.sums(second=False), out)
    return (out,)


def spatial_softmax_vjp(
    cotangents: tuple[DeviceArray | None],
    arrays: tuple[DeviceArray, DeviceArray, DeviceArray | None],
    saved: tuple[DeviceArray],
    *,
    spatial_axes: int,
) -> tuple[DeviceArray, DeviceArray]:
    """Return the gradients with respect to the input and to the temperature."""
    (x, temperature, _), (probabilities,) = arrays, saved
    maps = _Maps.of(x, temperature, None, spatial_axes)
    device, dtype, count = maps.device, maps.x.dtype, maps.stack[0]
    probabilities, cotangent = of_dtype(device, probabilities, dtype), of_dtype(device, cotangents[0], dtype)
    if cotangent is None:
        cotangent = device.full(x.shape, 0, dtype)
    sizes = count, maps.pixels, maps.parts, _PART
    products, tops, by_parts = (device.empty((count, maps.parts), np.float64) for _ in range(3))
    grad = device.empty(x.shape, dtype)
    if maps.x.size:
        blocks = blocks_for(count * maps.parts, each=1)
        maps.run("spatial_softmax_products", blocks, maps.x, probabilities, cotangent, *sizes, products, tops)
        arguments = maps.x, maps.temperatures, probabilities, cotangent, *sizes
        maps.run("spatial_softmax_vjp", blocks, *arguments, products.sum(1), tops.max(1), grad, by_parts)
    return grad, sum_to_shape(by_parts.sum(1).reshape(maps.leading), temperature.shape)


def spatial_moments(
    input: DeviceArray,
    temperature: DeviceArray,
    weights: DeviceArray | None,
    *,
    spatial_axes: int,
    normalized_coordinates: bool,
    xy: bool,
    second: bool,
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """Return the means, the covariances if `second`, and the moments of each map, which gradients need."""
    maps = _Maps.of(input, temperature, weights, spatial_axes)
    shapes = map_moments((maps.x.shape,), spatial_axes=spatial_axes, second=second)
    mean, covariance = (maps.device.empty(shape, maps.x.dtype) for shape in shapes[:2])
    sums = maps.sums(second)
    _write_coordinates(maps, sums, spatial_axes, normalized_coordinates, xy, True, mean, covariance if second else None)
    return mean, covariance, sums.reshape(shapes[2])


def _write_coordinates(
    maps: _Maps,
    sums: DeviceArray,
    axes: int,
    normalized: bool,
    xy: bool,
    normalize: bool,
    mean: DeviceArray,
    covariance: DeviceArray | None,
) -> None:
    frame = coordinate_frame(maps.shape, normalized).ravel().tolist()
    blocks = blocks_for(maps.stack[0])
    maps.run("spatial_coordinates", blocks, sums, *maps.stack, *frame, normalize, axes, xy, mean, covariance)


def spatial_moments_vjp(
    cotangents: tuple[DeviceArray | None, DeviceArray | None, None],
    arrays: tuple[DeviceArray, DeviceArray, DeviceArray | None],
    saved: tuple[DeviceArray],
    *,
    spatial_axes: int,
    normalized_coordinates: bool,
    xy: bool,
    second: bool,
) -> tuple[DeviceArray, DeviceArray]:
    """Return the gradients with respect to the input and to the temperature."""
    (x, temperature, weights), (sums,) = arrays, saved
    maps = _Maps.of(x, temperature, weights, spatial_axes)
    device, dtype = maps.device, maps.x.dtype
    mean_cotangent = of_dtype(device, cotangents[0], dtype)
    covariance_cotangent = of_dtype(device, cotangents[1], dtype) if second else None
    grad = device.empty(maps.x.shape, dtype)
    by_parts = device.empty((maps.stack[0], maps.parts), np.float64)
    factors = coordinate_frame(maps.shape, normalized_coordinates)[:, 1].tolist()
    blocks = blocks_for(maps.stack[0] * maps.parts, each=1)
    adjoint = sums, mean_cotangent, covariance_cotangent, *factors, spatial_axes, xy
    maps.run("spatial_moments_vjp", blocks, *maps.arguments, maps.parts, _PART, *adjoint, grad, by_parts)
    return grad, sum_to_shape(by_parts.sum(1).reshape(maps.leading), temperature.shape)


def spatial_expectation(
    input: DeviceArray, weights: DeviceArray | None, *, spatial_axes: int, normalized_coordinates: bool, xy: bool
) -> tuple[DeviceArray]:
    """Return the sum of pixel times position of each map."""
    maps = _Maps.of(input, None, weights, spatial_axes)
    mean = maps.device.empty((*maps.leading, spatial_axes), maps.x.dtype)
    _write_coordinates(maps, maps.sums(second=False), spatial_axes, normalized_coordinates, xy, False, mean, None)
    return (mean,)


def spatial_expectation_vjp(
    cotangents: tuple[DeviceArray | None],
    arrays: tuple[DeviceArray, DeviceArray | None],
    saved: tuple[()],
    *,
    spatial_axes: int,
    normalized_coordinates: bool,
    xy: bool,
) -> tuple[DeviceArray]:
    """Return the gradient with respect to the input: the position of each pixel times the cotangent."""
    x, weights = arrays
    maps = _Maps.of(x, None, weights, spatial_axes)
    if cotangents[0] is None:
        return (maps.device.full(x.shape, 0, maps.x.dtype),)
    grad = maps.device.empty(x.shape, maps.x.dtype)
    mean_cotangent = of_dtype(maps.device, cotangents[0], maps.x.dtype)
    frame = coordinate_frame(maps.shape, normalized_coordinates).ravel().tolist()
    arguments = maps.weights, maps.shared, *maps.stack, mean_cotangent, *frame, spatial_axes, xy
    maps.run("spatial_expectation_vjp", blocks_for(maps.x.size), *arguments, grad)
    return (grad,)
