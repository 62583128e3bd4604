"""Layouts of sampling: the axis of channels in images and samples, and normalized coordinates of grids."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

__all__ = ["as_images", "as_positions", "from_images", "grid_scaling", "moved_axis", "samples_to_kernels", "to_samples"]

#: An array of NumPy or of the library of a GPU.
Array: TypeAlias = Any


def moved_axis(x: Array, source: int, target: int) -> Array:
    """View an array with an axis at another place."""
    order = [k for k in range(x.ndim) if k != source % x.ndim]
    order.insert(target % x.ndim, source % x.ndim)
    return x.transpose(order)


def as_images(image: Array, channel_axis: int | None) -> Array:
    """View an image as images of shape (1, C, ...)."""
    return image[None, None] if channel_axis is None else moved_axis(image, channel_axis, 0)[None]


def from_images(images: Array, channel_axis: int | None) -> Array:
    """Undo `as_images`."""
    return images[0, 0] if channel_axis is None else moved_axis(images[0], 0, channel_axis)


def as_positions(coords: Array) -> Array:
    """View coordinates (A, ...) as positions (1, A, N)."""
    return coords.reshape(1, coords.shape[0], math.prod(coords.shape[1:]))


def to_samples(x: Array, points: tuple[int, ...], channel_axis: int | None) -> Array:
    """View samples (1, ..., C, N) of one image at points: channels come first if they do so in the image, else last.

    The gradient, (1, A, C, N), keeps its axis of coordinates ahead of both.
    """
    *leading, channels, _ = x.shape[1:]
    if channel_axis is None:
        return x.reshape((*leading, *points))
    x = x.reshape((*leading, channels, *points))
    return x if channel_axis == 0 else moved_axis(x, len(leading), -1)


def samples_to_kernels(x: Array, leading: int, channel_axis: int | None) -> Array:
    """Undo `to_samples` for an array with so many axes ahead of channels and points."""
    if channel_axis is None:
        x = x.reshape((*x.shape[:leading], 1, *x.shape[leading:]))
    elif channel_axis != 0:
        x = moved_axis(x, -1, leading)
    return x.reshape((1, *x.shape[: leading + 1], math.prod(x.shape[leading + 1 :])))


def grid_scaling(shape: tuple[int, ...], align_corners: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return factors and offsets, per axis, that turn normalized coordinates into positions in pixels.

    Coordinates -1 and 1 are the centres of the outermost pixels with `align_corners`, else their outer edges.
    """
    factors = tuple(0.5 * (n - 1) if align_corners else 0.5 * n for n in shape)
    return factors, tuple(0.5 * (n - 1) for n in shape)
