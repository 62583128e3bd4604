"""Sampling between pixels on the GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

from npsubpix._cuda.launch.devices import device_of
from npsubpix._cuda.launch.kernels import DeviceArray
from npsubpix._cuda.sampling.sampler import DeviceSampler, Positions
from npsubpix._cuda.sampling.splines import spline_coefficients, spline_coefficients_vjp
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.sampling.borders import mode_of_padding
from npsubpix._definitions.sampling.composition import cotangents_of, samples_of
from npsubpix._definitions.sampling.layout import (
    as_images,
    as_positions,
    from_images,
    samples_to_kernels,
    to_samples,
)
from npsubpix._definitions.sampling.methods import parse

__all__ = ["grid_sample", "grid_sample_vjp", "sample", "sample_vjp", "spline_filter", "spline_filter_vjp"]


def _contiguous(x: DeviceArray) -> DeviceArray:
    """Return an array in C order."""
    return x if x.flags.c_contiguous else device_of(x).rows(x, x.shape, x.dtype)


def _cotangents_of_tables(sampler: DeviceSampler, tables: Sequence[DeviceArray | None]) -> list[DeviceArray | None]:
    """Return the cotangents of tables in their dtypes, None for an absent one."""
    return [
        None if c is None or t is None else c.astype(promoted(t.dtype), copy=False)
        for c, t in zip(sampler.table_cotangents(), tables, strict=True)
    ]


def sample(
    image: DeviceArray, coords: DeviceArray, table: DeviceArray | None = None,
    outside_table: DeviceArray | None = None, *, method: str, mode: str, cval: float, channel_axis: int | None,
    prefilter: bool, with_gradient: bool,
) -> tuple[DeviceArray, DeviceArray]:  # fmt: skip
    """Sample an image; return values and gradients, or an empty array if they are not wanted."""
    positions = Positions(as_positions(coords))
    sampler = DeviceSampler(as_images(image, channel_axis), positions, mode, cval, prefilter, (table, outside_table))
    values, gradient = (
        None if x is None else _contiguous(to_samples(x, coords.shape[1:], channel_axis))
        for x in samples_of(sampler, parse(method), with_gradient)
    )
    assert values is not None
    return values, sampler.device.empty((0,), values.dtype) if gradient is None else gradient


def sample_vjp(
    cotangents: tuple[DeviceArray | None, DeviceArray | None],
    arrays: tuple[DeviceArray, DeviceArray, DeviceArray | None, DeviceArray | None],
    saved: tuple[()], *, method: str, mode: str, cval: float, channel_axis: int | None, prefilter: bool,
    with_gradient: bool,
) -> tuple[DeviceArray | None, ...]:  # fmt: skip
    """Return the cotangents of the image, of the positions and of tables of weights."""
    image, coords, *tables = arrays
    positions = Positions(as_positions(coords))
    sampler = DeviceSampler(as_images(image, channel_axis), positions, mode, cval, prefilter, tables)
    of_values, of_gradient = cotangents
    image_cotangent, coords_cotangent = cotangents_of(
        sampler,
        parse(method),
        None if of_values is None else _contiguous(samples_to_kernels(of_values, 0, channel_axis)),
        _contiguous(samples_to_kernels(of_gradient, 1, channel_axis))
        if with_gradient and of_gradient is not None
        else None,
    )
    coords_cotangent = coords_cotangent.reshape(coords.shape).astype(promoted(coords.dtype), copy=False)
    of_tables = _cotangents_of_tables(sampler, tables)
    return _contiguous(from_images(image_cotangent, channel_axis)), coords_cotangent, *of_tables


def spline_filter(image: DeviceArray, *, order: int, mode: str, channel_axis: int | None) -> tuple[DeviceArray]:
    """Return the coefficients of the splines through the pixels."""
    images, device = as_images(image, channel_axis), device_of(image)
    floats = device.rows(images, images.shape, promoted(image.dtype))
    coefficients = spline_coefficients(device, floats, order, mode, images.ndim - 2)
    if coefficients is floats:  # no axis to filter: the caller's own memory
        coefficients = floats.copy()
    return (_contiguous(from_images(coefficients, channel_axis)),)


def spline_filter_vjp(
    cotangents: tuple[DeviceArray | None], arrays: tuple[DeviceArray], saved: tuple[()], *, order: int, mode: str,
    channel_axis: int | None,
) -> tuple[DeviceArray]:  # fmt: skip
    """Return the cotangent of the image."""
    (cotangent,), (image,) = cotangents, arrays
    device, dtype = device_of(image), promoted(image.dtype)
    if cotangent is None:
        return (device.full(image.shape, 0, dtype),)
    images = as_images(cotangent, channel_axis)
    floats = device.rows(images, images.shape, dtype)
    pixels = device.rows(as_images(image, channel_axis), images.shape, dtype)
    image_cotangent = spline_coefficients_vjp(device, floats, pixels, order, mode, images.ndim - 2)
    if image_cotangent is floats:
        image_cotangent = floats.copy()
    return (_contiguous(from_images(image_cotangent, channel_axis)),)


def _grid_sampler(
    images: DeviceArray, grid: DeviceArray, padding_mode: str, align_corners: bool,
    tables: Sequence[DeviceArray | None],
) -> DeviceSampler:  # fmt: skip
    """Return the sampler of a grid (N, ..., A) of normalized (x, y, z)."""
    points = math.prod(grid.shape[1:-1])
    flat = grid.reshape(len(grid), points, grid.shape[-1])
    positions = Positions(flat, images.shape[2:], align_corners)
    return DeviceSampler(images, positions, mode_of_padding(padding_mode, align_corners), 0.0, True, tables)


def grid_sample(
    input: DeviceArray, grid: DeviceArray, table: DeviceArray | None = None, outside_table: DeviceArray | None = None,
    *, method: str, padding_mode: str, align_corners: bool,
) -> tuple[DeviceArray]:  # fmt: skip
    """Sample images at normalized positions."""
    sampler = _grid_sampler(input, grid, padding_mode, align_corners, (table, outside_table))
    values, _ = samples_of(sampler, parse(method), with_gradient=False)
    return (values.reshape(*input.shape[:2], *grid.shape[1:-1]),)


def grid_sample_vjp(
    cotangents: tuple[DeviceArray | None],
    arrays: tuple[DeviceArray, DeviceArray, DeviceArray | None, DeviceArray | None], saved: tuple[()], *, method: str,
    padding_mode: str, align_corners: bool,
) -> tuple[DeviceArray | None, ...]:  # fmt: skip
    """Return the cotangents of the images, of the grid and of tables of weights."""
    (cotangent,), (images, grid, *tables) = cotangents, arrays
    sampler = _grid_sampler(images, grid, padding_mode, align_corners, tables)
    of_values = None if cotangent is None else cotangent.reshape(*images.shape[:2], sampler.positions.count)
    image_cotangent, grid_cotangent = cotangents_of(sampler, parse(method), of_values, None)
    grid_cotangent = grid_cotangent.reshape(grid.shape).astype(promoted(grid.dtype), copy=False)
    return image_cotangent, grid_cotangent, *_cotangents_of_tables(sampler, tables)
