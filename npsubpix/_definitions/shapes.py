"""Shapes of results, from the shapes of arguments: what kernels allocate, and what a compiler that only traces sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from npsubpix._definitions.convolution import windows_along

__all__ = [
    "MOMENTS",
    "Shape",
    "broadcast",
    "correlated",
    "filtered_by_bank",
    "gaussian_image",
    "gaussian_maps",
    "map_expectation",
    "map_moments",
    "refined_maps",
    "same",
    "sampled",
    "sampled_grid",
    "three_axes",
    "twice",
    "window_maps",
]

Shape: TypeAlias = tuple[int, ...]

#: Numbers kept of each map: maximum, sum, mean along (z, y, x), covariance zz, zy, zx, yy, yx, xx.
MOMENTS = 11


def three_axes(values: Sequence[int], fill: int) -> tuple[int, ...]:
    """Put a number for each axis that is missing to three before those of the axes that there are."""
    return (fill,) * (3 - len(values)) + tuple(values)


def same(shapes: Sequence[Shape | None], **_options: Any) -> tuple[Shape, ...]:
    """Return one result of the shape of the first argument."""
    return (_first(shapes),)


def twice(shapes: Sequence[Shape | None], **_options: Any) -> tuple[Shape, ...]:
    """Return two results of the shape of the first argument."""
    return (_first(shapes),) * 2


def _first(shapes: Sequence[Shape | None]) -> Shape:
    if shapes[0] is None:
        raise TypeError("the first array cannot be None")
    return tuple(shapes[0])


def _count_windows(
    shape: Sequence[int], window: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[int, ...]:
    """Return how many windows fit into a padded map along each axis."""
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape, window, stride, padding, strict=True))


def window_maps(
    shapes: Sequence[Shape | None],
    *,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    output_value: bool,
    **_options: Any,
) -> tuple[Shape, ...]:
    """Return the shapes of the coordinates and the values of windows; an empty one of values that are not wanted."""
    first = _first(shapes)
    counts = _count_windows(first[2:], kernel_size, stride, padding)
    values = (*first[:2], *counts) if output_value else (0,) * len(first)
    return (*first[:2], len(counts), *counts), values


def map_expectation(shapes: Sequence[Shape | None], *, spatial_axes: int, **_options: Any) -> tuple[Shape, ...]:
    """Return the shape of one position per map."""
    first = _first(shapes)
    return ((*first[: len(first) - spatial_axes], spatial_axes),)


def map_moments(
    shapes: Sequence[Shape | None], *, spatial_axes: int, second: bool, **_options: Any
) -> tuple[Shape, ...]:
    """Return the shapes of the means, the covariances, empty if not wanted, and the sums of maps."""
    first = _first(shapes)
    leading = first[: len(first) - spatial_axes]
    covariance = (*leading, spatial_axes, spatial_axes) if second else (0,)
    return (*leading, spatial_axes), covariance, (*leading, MOMENTS)


def broadcast(x: Sequence[int], y: Sequence[int]) -> Shape:
    """Return what two shapes that fit each other broadcast to, of numbers or of a tracer's symbols."""
    ndim = max(len(x), len(y))
    pairs = zip((*(1,) * (ndim - len(x)), *x), (*(1,) * (ndim - len(y)), *y), strict=True)
    return tuple(m if n == 1 else n for n, m in pairs)


def gaussian_maps(shapes: Sequence[Shape | None], *, size: Sequence[int], **_options: Any) -> tuple[Shape, ...]:
    """Return the shape of one map for each mean and standard deviation."""
    return ((*broadcast(_first(shapes), shapes[1] or ())[:-1], *size),)


def gaussian_image(_shapes: Sequence[Shape | None], *, shape: Sequence[int], **_options: Any) -> tuple[Shape, ...]:
    """Return the shape of one image."""
    return (tuple(shape),)


def refined_maps(shapes: Sequence[Shape | None], **_options: Any) -> tuple[Shape, ...]:
    """Return the shapes of the coordinates and the values of every voxel."""
    first = _first(shapes)
    return (*first[:2], 3, *first[2:]), first


def sampled(
    shapes: Sequence[Shape | None], *, channel_axis: int | None, with_gradient: bool, **_options: Any
) -> tuple[Shape, ...]:
    """Return the shapes of values and of gradients, empty if not wanted, of an image at positions (A, ...)."""
    image, coords = _first(shapes), tuple(shapes[1] or ())
    values = coords[1:]
    if channel_axis is not None:
        channels = (image[channel_axis],)
        values = (*channels, *values) if channel_axis in (0, -len(image)) else (*values, *channels)
    return values, (coords[0], *values) if with_gradient else (0,)


def sampled_grid(shapes: Sequence[Shape | None], **_options: Any) -> tuple[Shape, ...]:
    """Return the shape of the values of images (N, C, ...) on a grid (N, ..., A)."""
    return ((*_first(shapes)[:2], *tuple(shapes[1] or ())[1:-1]),)


def correlated(
    shapes: Sequence[Shape | None],
    *,
    mode: str,
    stride: Sequence[int],
    dilation: Sequence[int],
    channel_axis: int | None,
    **_options: Any,
) -> tuple[Shape, ...]:
    """Return the shape of an image (...) correlated with a kernel."""
    image, kernel = _first(shapes), tuple(shapes[1] or ())
    own = tuple(n for k, n in enumerate(image) if k != channel_axis)
    axes = zip(own, kernel, stride, dilation, strict=True)
    counts = [windows_along(n, k, mode, s, d, 0).windows for n, k, s, d in axes]
    if channel_axis is not None:
        counts.insert(channel_axis, image[channel_axis])
    return (tuple(counts),)


def filtered_by_bank(
    shapes: Sequence[Shape | None],
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    **_options: Any,
) -> tuple[Shape, ...]:
    """Return the shape of images (N, C, H, W) correlated with filters (O, C / groups, KH, KW)."""
    image, weight = _first(shapes), tuple(shapes[1] or ())
    axes = zip(image[2:], zip(padding[::2], padding[1::2], strict=True), weight[2:], stride, dilation, strict=True)
    counts = [windows_along(n + before + after, k, "valid", s, d, 0).windows for n, (before, after), k, s, d in axes]
    return ((image[0], weight[0], *counts),)
