"""Gaussians on the host: one a map, and many in one image."""

from __future__ import annotations

import functools
import math

import numpy as np

from npsubpix._arrays.checks import check_all_positive
from npsubpix._arrays.library import HostArray
from npsubpix._cpu.gaussian.maps import map_kernels, map_vjp_kernel
from npsubpix._cpu.gaussian.spots import spots_kernel, spots_vjp_kernel
from npsubpix._cpu.launch import frames, promoted, sum_to_shape
from npsubpix._definitions.shapes import broadcast

__all__ = ["render_gaussian", "render_gaussian_vjp", "render_spots", "render_spots_vjp"]

#: Shape of the tiles of an image of so many axes.
_TILES = {1: (1, 1, 4096), 2: (1, 32, 1024), 3: (8, 8, 512)}


def _gradient(by_element: HostArray, like: HostArray) -> HostArray:
    """Sum gradients by what an array was broadcast to, in the precision of the array."""
    with np.errstate(over="ignore"):
        return sum_to_shape(by_element, like.shape).astype(promoted(like.dtype))


@functools.lru_cache(maxsize=64)
def _geometry(size: tuple[int, ...], normalized: bool, xy: bool) -> tuple[HostArray, HostArray]:
    """For each of (z, y, x), the column of its coordinate, -1 for none, and where its pixels are."""
    axes = len(size)
    place = np.full(3, -1)
    place[3 - axes :] = np.arange(axes)[::-1] if xy else np.arange(axes)
    return place, frames((*(1,) * (3 - axes), *size), normalized)


class _Maps:
    """What both directions need: means and standard deviations, one row a map, and where the pixels are."""

    def __init__(self, mean: HostArray, std: HostArray, size: tuple[int, ...], normalized: bool, xy: bool) -> None:
        check_all_positive(std, "std")
        #: Of one number a map and axis.
        self.shape = mean.shape if mean.shape == std.shape else broadcast(mean.shape, std.shape)
        self.leading = self.shape[:-1]
        self.stack = (math.prod(self.leading), *(1,) * (3 - len(size)), *size)
        self.arguments = (self._rows(mean), self._rows(std), *_geometry(size, normalized, xy))

    def _rows(self, x: HostArray) -> HostArray:
        full = x if x.shape == self.shape else np.broadcast_to(x, self.shape)
        return np.ascontiguousarray(full, np.float64).reshape(self.stack[0], self.shape[-1])


def render_gaussian(
    mean: HostArray, std: HostArray, *, size: tuple[int, ...], normalized_coordinates: bool, xy: bool, peak: bool
) -> tuple[HostArray]:
    """Draw one Gaussian a map."""
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
    """Return the gradients by the means and by the standard deviations."""
    (cotangent,), (mean, std) = cotangents, arrays
    maps = _Maps(mean, std, size, normalized_coordinates, xy)
    by_mean, by_std = np.zeros((2, maps.stack[0], len(size)))
    if cotangent is not None:
        stack = cotangent.reshape(maps.stack)
        map_vjp_kernel.run(6 * cotangent.size, *maps.arguments, peak, stack, by_mean, by_std)
    return _gradient(by_mean.reshape(maps.shape), mean), _gradient(by_std.reshape(maps.shape), std)


class _Spots:
    """Spots as kernels take them, and which of them are drawn."""

    def __init__(self, coords: HostArray, std: HostArray, amplitude: HostArray, shape: tuple[int, ...]) -> None:
        count, axes = coords.shape
        self.stack = (*(1,) * (3 - axes), *shape)
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
        """Pixels along the longest side of any box, or more."""
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
    """Return the gradients by the positions, the standard deviations and the amplitudes."""
    (cotangent,), (coords, std, amplitude) = cotangents, arrays
    spots = _Spots(coords, std, amplitude, shape)
    grads = np.zeros((len(coords), 7))
    if cotangent is not None:
        options = spots.longest(truncate), not peak, integrate, float(truncate)
        stack = cotangent.reshape(spots.stack)
        spots_vjp_kernel.run(2000 * len(coords), spots.table, spots.kept, *options, stack, grads)
    return (
        _gradient(grads[:, spots.position], coords),
        _gradient(grads[:, spots.std], std),
        _gradient(grads[:, 6], amplitude),
    )
