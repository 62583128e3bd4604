"""Sampling between pixels on the host."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.sampling.sampler import HostSampler
from npsubpix._cpu.sampling.splines import bad_pixels, spline_coefficients, spline_coefficients_vjp
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.sampling.borders import mode_of_padding
from npsubpix._definitions.sampling.composition import cotangents_of, samples_of
from npsubpix._definitions.sampling.layout import (
    as_images,
    as_positions,
    from_images,
    grid_scaling,
    samples_to_kernels,
    to_samples,
)
from npsubpix._definitions.sampling.methods import parse

__all__ = ["grid_sample", "grid_sample_vjp", "sample", "sample_vjp", "spline_filter", "spline_filter_vjp"]


def _contiguous(x: HostArray) -> HostArray:
    """Return an array in C order; unlike NumPy's function of that name, one without axes as it is."""
    return np.asarray(x, order="C")


def _cotangents_of_tables(sampler: HostSampler, tables: Sequence[HostArray | None]) -> list[HostArray | None]:
    """Return the cotangents of tables in their dtypes, None for an absent one."""
    return [
        None if c is None or t is None else c.astype(promoted(t.dtype), copy=False)
        for c, t in zip(sampler.table_cotangents(), tables, strict=True)
    ]


def sample(
    image: HostArray,
    coords: HostArray,
    table: HostArray | None = None,
    outside_table: HostArray | None = None,
    *,
    method: str,
    mode: str,
    cval: float,
    channel_axis: int | None,
    prefilter: bool,
    with_gradient: bool,
) -> tuple[HostArray, HostArray]:
    """Sample an image; return values and gradients, or an empty array if they are not wanted."""
    images = _contiguous(as_images(image, channel_axis))
    sampler = HostSampler(images, as_positions(coords), mode, cval, prefilter, (table, outside_table))
    values, gradient = (
        None if x is None else _contiguous(to_samples(x, coords.shape[1:], channel_axis))
        for x in samples_of(sampler, parse(method), with_gradient)
    )
    assert values is not None
    return values, np.empty(0, values.dtype) if gradient is None else gradient


def sample_vjp(
    cotangents: tuple[HostArray | None, HostArray | None],
    arrays: tuple[HostArray, HostArray, HostArray | None, HostArray | None],
    saved: tuple[()],
    *,
    method: str,
    mode: str,
    cval: float,
    channel_axis: int | None,
    prefilter: bool,
    with_gradient: bool,
) -> tuple[HostArray | None, ...]:
    """Return the cotangents of the image, of the positions and of tables of weights."""
    image, coords, *tables = arrays
    images = _contiguous(as_images(image, channel_axis))
    sampler = HostSampler(images, as_positions(coords), mode, cval, prefilter, tables)
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


def spline_filter(image: HostArray, *, order: int, mode: str, channel_axis: int | None) -> tuple[HostArray]:
    """Return the coefficients of the splines through the pixels."""
    images = _contiguous(as_images(image, channel_axis))
    coefficients = spline_coefficients(images, order, mode, images.ndim - 2, promoted(image.dtype))
    return (_contiguous(from_images(coefficients, channel_axis)),)


def spline_filter_vjp(
    cotangents: tuple[HostArray | None],
    arrays: tuple[HostArray],
    saved: tuple[()],
    *,
    order: int,
    mode: str,
    channel_axis: int | None,
) -> tuple[HostArray]:
    """Return the cotangent of the image."""
    (cotangent,), (image,) = cotangents, arrays
    if cotangent is None:
        return (np.zeros(image.shape, promoted(image.dtype)),)
    images = _contiguous(as_images(cotangent, channel_axis))
    bad = bad_pixels(as_images(image, channel_axis))
    image_cotangent = spline_coefficients_vjp(images, order, mode, images.ndim - 2, bad)
    return (_contiguous(from_images(image_cotangent, channel_axis)),)


def _from_grid(images: HostArray, grid: HostArray, align_corners: bool) -> tuple[HostArray, HostArray]:
    """Turn a grid (N, ..., A) of normalized (x, y, z) into positions (N, A, P) in pixels; also return the factors."""
    factors, offsets = (np.array(x)[:, None] for x in grid_scaling(images.shape[2:], align_corners))
    grid = grid if grid.dtype.kind == "f" else grid.astype(np.float64)
    points = grid.reshape(len(grid), math.prod(grid.shape[1:-1]), grid.shape[-1])
    with np.errstate(over="ignore", invalid="ignore"):  # of positions far outside
        positions = (points.transpose(0, 2, 1)[:, ::-1] * factors + offsets).astype(grid.dtype)
    return np.ascontiguousarray(positions), factors


def _grid_sampler(
    images: HostArray, positions: HostArray, padding_mode: str, align_corners: bool, tables: Sequence[HostArray | None]
) -> HostSampler:
    return HostSampler(images, positions, mode_of_padding(padding_mode, align_corners), 0.0, True, tables)


def grid_sample(
    input: HostArray,
    grid: HostArray,
    table: HostArray | None = None,
    outside_table: HostArray | None = None,
    *,
    method: str,
    padding_mode: str,
    align_corners: bool,
) -> tuple[HostArray]:
    """Sample images at normalized positions."""
    positions, _ = _from_grid(input, grid, align_corners)
    sampler = _grid_sampler(input, positions, padding_mode, align_corners, (table, outside_table))
    values, _ = samples_of(sampler, parse(method), with_gradient=False)
    return (values.reshape(*input.shape[:2], *grid.shape[1:-1]),)


def grid_sample_vjp(
    cotangents: tuple[HostArray | None],
    arrays: tuple[HostArray, HostArray, HostArray | None, HostArray | None],
    saved: tuple[()],
    *,
    method: str,
    padding_mode: str,
    align_corners: bool,
) -> tuple[HostArray | None, ...]:
    """Return the cotangents of the images, of the grid and of tables of weights."""
    (cotangent,), (images, grid, *tables) = cotangents, arrays
    positions, factors = _from_grid(images, grid, align_corners)
    sampler = _grid_sampler(images, positions, padding_mode, align_corners, tables)
    of_values = None if cotangent is None else cotangent.reshape(*images.shape[:2], positions.shape[2])
    image_cotangent, coords_cotangent = cotangents_of(sampler, parse(method), of_values, None)
    grid_cotangent = np.ascontiguousarray((coords_cotangent * factors)[:, ::-1].transpose(0, 2, 1))
    grid_cotangent = grid_cotangent.reshape(grid.shape).astype(promoted(grid.dtype), copy=False)
    return image_cotangent, grid_cotangent, *_cotangents_of_tables(sampler, tables)
