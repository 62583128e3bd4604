"""Gaussians on the GPU: one per map, and many in one image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._arrays.checks import check_all_positive
from npsubpix._cuda.launch.arrays import is_number, of_dtype
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.constants import GAUSSIAN_LEAST_EXPONENT_32, GAUSSIAN_LEAST_EXPONENT_64
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.maps import coordinate_frame, gradient_of
from npsubpix._definitions.shapes import broadcast, three_axes

__all__ = ["render_gaussian", "render_gaussian_vjp", "render_spots", "render_spots_vjp"]

register("maps", each("Pixel", FLOATS))
register("spots", each("Pixel", FLOATS))

#: Exponents below which a weight along an axis is 0.
_LOWEST = {np.dtype(np.float32): GAUSSIAN_LEAST_EXPONENT_32, np.dtype(np.float64): GAUSSIAN_LEAST_EXPONENT_64}

#: Pixels of a map that one block sums up.
_PART = 4096

#: Rows and columns of the tile that one block draws, those of spots.cu.
_TILE = 32


class _Maps:
    """Means and standard deviations, one row per map, and the coordinates of pixels."""

    def __init__(self, mean: DeviceArray, std: DeviceArray, size: tuple[int, ...], normalized: bool, xy: bool) -> None:
        if is_number(std):
            check_all_positive(std, "std")
        self.device = device_of(mean)
        #: Shape of one number per map and axis.
        self.shape = broadcast(mean.shape, std.shape)
        self.dtype = promoted(mean.dtype)
        means, stds = _rows(self.device, mean, self.shape), _rows(self.device, std, self.shape)
        self.sizes = (math.prod(self.shape[:-1]), *three_axes(size, 1))
        frame = coordinate_frame(self.sizes[1:], normalized).ravel().tolist()
        self.gaussians = means, stds, *self.sizes, *frame, len(size), xy

    def run(self, name: str, blocks: int, *args: Any) -> None:
        """Launch a kernel of this file."""
        run(self.device, Kernel.of("maps", name, Pixel=self.dtype), blocks, *args)

    def weights(self, peak: bool, with_slopes: bool) -> tuple[DeviceArray | None, ...]:
        """Return the weights of the axes, and their derivatives with respect to mean and standard deviation."""
        shape = self.sizes[0], sum(self.sizes[1:])
        arrays = [self.device.empty(shape, np.float64) if k == 0 or with_slopes else None for k in range(3)]
        blocks = blocks_for(3 * self.sizes[0], each=1)
        self.run("gaussian_weights", blocks, *self.gaussians, peak, _LOWEST[self.dtype], *arrays)
        return tuple(arrays)


def _rows(device: Any, x: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    """Broadcast an array, or a number of the host, to a shape, in double precision."""
    return device.full(shape, x.item(), np.float64) if is_number(x) else device.rows(x, shape, np.float64)


def render_gaussian(
    mean: DeviceArray, std: DeviceArray, *, size: tuple[int, ...], normalized_coordinates: bool, xy: bool, peak: bool
) -> tuple[DeviceArray]:
    """Draw one Gaussian per map."""
    maps = _Maps(mean, std, size, normalized_coordinates, xy)
    out = maps.device.empty((*maps.shape[:-1], *size), maps.dtype)
    weights = maps.weights(peak, with_slopes=False)[0]
    maps.run("gaussian_maps", blocks_for(out.size), weights, *maps.sizes, out)
    return (out,)


def render_gaussian_vjp(
    cotangents: tuple[DeviceArray | None],
    arrays: tuple[DeviceArray, DeviceArray],
    saved: tuple[()],
    *,
    size: tuple[int, ...],
    normalized_coordinates: bool,
    xy: bool,
    peak: bool,
) -> tuple[DeviceArray, DeviceArray]:
    """Return the gradients with respect to the means and the standard deviations."""
    (cotangent,), (mean, std) = cotangents, arrays
    maps = _Maps(mean, std, size, normalized_coordinates, xy)
    by_mean, by_std = (maps.device.full(maps.shape, 0, np.float64) for _ in range(2))
    if cotangent is not None:
        parts = blocks_for(math.prod(size), each=_PART)
        products = maps.device.empty((maps.sizes[0], parts, 6), np.float64)
        arguments = *maps.weights(peak, with_slopes=True), *maps.sizes, parts, _PART
        blocks = blocks_for(maps.sizes[0] * parts, each=1)
        maps.run("gaussian_products", blocks, *arguments, of_dtype(maps.device, cotangent, maps.dtype), products)
        results = products.sum(1), by_mean, by_std
        maps.run("gaussian_gradients", blocks_for(maps.sizes[0]), *maps.gaussians, *results)
    return gradient_of(mean, by_mean), gradient_of(std, by_std)


class _Spots:
    """Spots as kernels take them."""

    def __init__(
        self, coords: DeviceArray, std: DeviceArray, amplitude: DeviceArray, shape: tuple[int, ...], peak: bool,
        integrate: bool, truncate: float,
    ) -> None:  # fmt: skip
        if is_number(std):
            check_all_positive(std, "std", finite=True)
        self.device, self.dtype = device_of(coords), promoted(coords.dtype)
        count, axes = coords.shape
        table = (
            _rows(self.device, coords, coords.shape),
            _rows(self.device, std, coords.shape),
            _rows(self.device, amplitude, (count,)),
        )
        self.image = three_axes(shape, 1)
        self.arguments = *table, count, axes, *self.image, float(truncate), integrate, not peak


def render_spots(
    coords: DeviceArray,
    std: DeviceArray,
    amplitude: DeviceArray,
    *,
    shape: tuple[int, ...],
    peak: bool,
    integrate: bool,
    truncate: float,
) -> tuple[DeviceArray]:
    """Draw spots into an image."""
    spots = _Spots(coords, std, amplitude, shape, peak, integrate, truncate)
    out = spots.device.empty(shape, spots.dtype)
    depth, height, width = spots.image
    tiles = depth * -(-height // _TILE) * -(-width // _TILE)
    run(spots.device, Kernel.of("spots", "spots_draw", Pixel=spots.dtype), blocks_for(tiles, 1), *spots.arguments, out)
    return (out,)


def render_spots_vjp(
    cotangents: tuple[DeviceArray | None],
    arrays: tuple[DeviceArray, DeviceArray, DeviceArray],
    saved: tuple[()],
    *,
    shape: tuple[int, ...],
    peak: bool,
    integrate: bool,
    truncate: float,
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """Return the gradients with respect to the positions, the standard deviations and the amplitudes."""
    (cotangent,), (coords, std, amplitude) = cotangents, arrays
    spots = _Spots(coords, std, amplitude, shape, peak, integrate, truncate)
    device, count = spots.device, len(coords)
    by_coords, by_std = (device.full(coords.shape, 0, np.float64) for _ in range(2))
    by_amplitude = device.full((count,), 0, np.float64)
    if cotangent is not None:
        kernel = Kernel.of("spots", "spots_gather", Pixel=spots.dtype)
        pixels = of_dtype(device, cotangent, spots.dtype)
        run(device, kernel, blocks_for(count, 1), *spots.arguments, pixels, by_coords, by_std, by_amplitude)
    return gradient_of(coords, by_coords), gradient_of(std, by_std), gradient_of(amplitude, by_amplitude)
