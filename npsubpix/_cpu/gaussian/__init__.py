"""Gaussians on the host: one per map, and many in one image."""

from __future__ import annotations

import functools
import math

import numpy as np

from npsubpix._arrays.checks import check_all_positive
from npsubpix._arrays.library import HostArray
from npsubpix._cpu.gaussian.maps import map_kernels, map_vjp_kernel
from npsubpix._cpu.gaussian.spots import spots_kernel, spots_vjp_kernel
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.maps import coordinate_frame, gradient_of
from npsubpix._definitions.shapes import broadcast, three_axes

__all__ = ["render_gaussian", "render_gaussian_vjp", "render_spots", "render_spots_vjp"]

#: Shape of the tiles of an image, by its number of axes.
_TILES = {1: (1, 1, 4096), 2: (1, 32, 1024), 3: (8, 8, 512)}


@functools.lru_cache(maxsize=64)
def _geometry(size: tuple[int, ...], normalized: bool, xy: bool) -> tuple[HostArray, HostArray]:
    """Return the column of the coordinate of each of (z, y, x), -1 for a missing axis, and the frame of coordinates."""
    axes = len(size)
    columns = np.full(3, -1)
    columns[3 - axes :] = np.arange(axes)[::-1] if xy else np.arange(axes)
    return columns, coordinate_frame(three_axes(size, 1), normalized)


class _Maps:
    """Means and standard deviations, one row per map, and the coordinates of pixels."""

    def __init__(self, mean: HostArray, std: HostArray, size: tuple[int, ...], normalized: bool, xy: bool) -> None:
        check_all_positive(std, "std")
        #: Shape of one number per map and axis.
        self.shape = mean.shape if mean.shape == std.shape else broadcast(mean.shape, std.shape)
        self.leading = self.shape[:-1]
        self.stack = (math.prod(self.leading), *three_axes(size, 1))
        self.arguments = (self._rows(mean), self._rows(std), *_geometry(size, normalized, xy))

    def _rows(self, x: HostArray) -> HostArray:
        full = x if x.shape == self.shape else np.broadcast_to(x, self.shape)
        return np.ascontiguousarray(full, np.float64).reshape(self.stack[0], self.shape[-1])


def render_gaussian(
    mean: HostArray, std: HostArray, *, size: tuple[int, ...], normalized_coordinates: bool, xy: bool, peak: bool
) -> tuple[HostArray]:
    """Draw one Gaussian per map."""
    maps = _Maps(mean, std, size, normalized_coordinates, xy)
    out = np.empty((*maps.leading, *size), promoted(mean.dtype))
    map_kernels[out.dtype].run(2 * out.size, *maps.arguments, peak, out.reshape(maps.stack))
    return (out,)


def render_gaussian_vjp(
    cotangents: tuple[HostArray | None],
    arrays: tuple[HostArray, HostArray],
    saved: tuple[()],
    *,
    size: tuple[int, ...],
    normalized_coordinates: bool,
    xy: bool,
    peak: bool,
) -> tuple[HostArray, HostArray]:
    """Return the gradients with respect to the means and the standard deviations."""
    (cotangent,), (mean, std) = cotangents, arrays
    maps = _Maps(mean, std, size, normalized_coordinates, xy)
    by_mean, by_std = np.zeros((2, maps.stack[0], len(size)))
    if cotangent is not None:
        stack = cotangent.reshape(maps.stack)
        map_vjp_kernel.run(6 * cotangent.size, *maps.arguments, peak, stack, by_mean, by_std)
    return gradient_of(mean, by_mean.reshape(maps.shape)), gradient_of(std, by_std.reshape(maps.shape))


class _Spots:
    """Spots as kernels take them, and the mask of those that are drawn."""

    def __init__(self, coords: HostArray, std: HostArray, amplitude: HostArray, shape: tuple[int, ...]) -> None:
        count, axes = coords.shape
        self.stack = three_axes(shape, 1)
        self.position, self.std = slice(3 - axes, 3), slice(6 - axes, 6)
        self.table = np.zeros((count, 7))
        self.table[:, 3:6] = np.inf
        self.table[:, self.position] = coords
        self.table[:, self.std] = std
        self.table[:, 6] = amplitude
        self.kept = np.ones(count, bool)
        for column in (0, 1, 2, 6):
            self.kept &= np.isfinite(self.table[:, column])
        drawn = std if self.kept.all() else self.table[self.kept, self.std]
        check_all_positive(drawn, "std", finite=True)
        self.widest = float(drawn.max(initial=1))

    def longest(self, truncate: float) -> int:
        """Return an upper bound of the longest side of any box, in pixels."""
        return int(min(max(self.stack), 2 * truncate * self.widest + 3))


def render_spots(
    coords: HostArray,
    std: HostArray,
    amplitude: HostArray,
    *,
    shape: tuple[int, ...],
    peak: bool,
    integrate: bool,
    truncate: float,
) -> tuple[HostArray]:
    """Draw spots into an image."""
    spots = _Spots(coords, std, amplitude, shape)
    out = np.empty(shape, promoted(coords.dtype))
    tile = np.minimum(_TILES[len(shape)], spots.stack)
    work = 4 * out.size + 2000 * len(coords)
    spots_kernel.run(
        work, spots.table, spots.kept, tile, not peak, integrate, float(truncate), out.reshape(spots.stack)
    )
    return (out,)


def render_spots_vjp(
    cotangents: tuple[HostArray | None],
    arrays: tuple[HostArray, HostArray, HostArray],
    saved: tuple[()],
    *,
    shape: tuple[int, ...],
    peak: bool,
    integrate: bool,
    truncate: float,
) -> tuple[HostArray, HostArray, HostArray]:
    """Return the gradients with respect to the positions, the standard deviations and the amplitudes."""
    (cotangent,), (coords, std, amplitude) = cotangents, arrays
    spots = _Spots(coords, std, amplitude, shape)
    grads = np.zeros((len(coords), 7))
    if cotangent is not None:
        longest, stack = spots.longest(truncate), cotangent.reshape(spots.stack)
        work = 2000 * len(coords)
        spots_vjp_kernel.run(work, spots.table, spots.kept, longest, not peak, integrate, float(truncate), stack, grads)
    return (
        gradient_of(coords, grads[:, spots.position]),
        gradient_of(std, grads[:, spots.std]),
        gradient_of(amplitude, grads[:, 6]),
    )
