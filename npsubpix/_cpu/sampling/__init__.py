"""Sampling between pixels on the host."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.launch import promoted
from npsubpix._cpu.sampling.borders import MODES
from npsubpix._cpu.sampling.splines import spline_coefficients, spline_coefficients_vjp
from npsubpix._cpu.sampling.user_weights import addresses_of
from npsubpix._cpu.sampling.values import gradient_kernels, value_kernels
from npsubpix._cpu.sampling.values_vjp import vjp_kernels
from npsubpix._cpu.sampling.weights import TAPS
from npsubpix._definitions.sampling import Blend, Method, parse

__all__ = ["grid_sample", "grid_sample_vjp", "sample", "sample_vjp", "spline_filter", "spline_filter_vjp"]

#: Pixels added at each end of an axis for modes whose image goes on in a way that the filter does not know.
_PADDING = 12
_PADDED = {"nearest": "edge", "grid-constant": "constant"}

#: torch's padding modes, as modes here, for corners that are aligned and for those that are not.
_TORCH_MODES = {
    "zeros": ("grid-constant", "grid-constant"),
    "border": ("nearest", "nearest"),
    "reflection": ("mirror", "reflect"),
}


class _Image:
    """An image as kernels take it: of shape (B, C, D, H, W), filtered and padded if the method wants that."""

    def __init__(self, x: HostArray, axes: int, name: str, mode: str, cval: float, prefilter: bool) -> None:
        self.shape, self.axes, self.mode = x.shape, axes, mode
        self.degree = int(name[-1]) if name.startswith("bspline") and prefilter else 0
        self.pad = _PADDING if self.degree and mode in _PADDED else 0
        dtype = promoted(x.dtype)
        if self.pad:
            widths = [(0, 0)] * (x.ndim - axes) + [(self.pad, self.pad)] * axes
            fill: dict[str, Any] = {"constant_values": cval} if mode == "grid-constant" else {}
            x = np.pad(x.astype(dtype, copy=False), widths, _PADDED[mode], **fill)  # type: ignore[call-overload]
        self.padded = x.shape
        if self.degree:
            x = spline_coefficients(x, self.degree, mode, axes, dtype)
        self.size = (1,) * (3 - axes) + x.shape[2:]
        self.pixels = x.reshape(*x.shape[:2], *self.size)
        self.rules = MODES[mode]

    def positions(self, coords: HostArray) -> HostArray:
        return coords + coords.dtype.type(self.pad) if self.pad else coords

    def adjoint(self, grad: HostArray) -> HostArray:
        """Turn gradients by what kernels saw into those by the image."""
        grad = grad.reshape(self.padded)
        if self.degree:
            grad = spline_coefficients_vjp(grad, self.degree, self.mode, self.axes)
        for a in range(2, grad.ndim) if self.pad else ():
            lines = np.moveaxis(grad, a, 0)
            inner = lines[self.pad : -self.pad].copy()
            if self.mode == "nearest":
                inner[0] += lines[: self.pad].sum(0)
                inner[-1] += lines[-self.pad :].sum(0)
            grad = np.moveaxis(inner, 0, a)
        return grad.reshape(self.shape)


@functools.cache
def _nothing(ndim: int, dtype: np.dtype[Any]) -> HostArray:
    return np.empty((0,) * ndim, dtype)


def _work(method: str, axes: int, count: int) -> int:
    return int(10 + 2 * TAPS[method].count ** axes) * count


def _values(
    x: HostArray, coords: HostArray, method: Method, mode: str, cval: float, prefilter: bool, with_gradient: bool
) -> tuple[HostArray, HostArray]:
    """Sample images of shape (B, C, ...) at positions (B, A, N); return values (B, C, N) and gradients (B, A, C, N)."""
    if method.surrogate and with_gradient:
        plain = Method(method.kind, weight=method.weight)
        values, _ = _values(x, coords, plain, mode, cval, prefilter, False)
        _, gradient = _values(x, coords, parse(method.surrogate), mode, cval, prefilter, True)
        return values, gradient
    if isinstance(method.kind, Blend):
        return _blended(x, coords, method.kind, mode, cval, prefilter, with_gradient)
    batch, axes, count = coords.shape
    dtype = promoted(x.dtype)
    image = _Image(x, axes, method.kind, mode, cval, prefilter)
    values = np.empty((batch, x.shape[1], count), dtype)
    addresses = addresses_of(method.weight)
    work = _work(method.kind, axes, values.size)
    arguments = image.pixels, image.positions(coords), image.rules, float(cval), addresses
    if not with_gradient:
        value_kernels[method.kind].run(work, *arguments, values)
        return values, _nothing(4, dtype)
    gradient = np.empty((batch, axes, x.shape[1], count), dtype)
    gradient_kernels[method.kind].run(2 * work, *arguments, values, gradient)
    return values, gradient


def _is_steep(x: HostArray, coords: HostArray, blend: Blend, mode: str, cval: float) -> HostArray:
    """Whether the gradient of the linear interpolant is longer than the threshold, for any channel: (B, 1, N)."""
    _, gradient = _values(x, coords, parse("linear"), mode, cval, False, True)
    steep: HostArray = (np.sqrt((gradient.astype(np.float64) ** 2).sum(1)) > blend.threshold).any(1)[:, None]
    return steep


def _blended(
    x: HostArray, coords: HostArray, blend: Blend, mode: str, cval: float, prefilter: bool, with_gradient: bool
) -> tuple[HostArray, HostArray]:
    steep = _is_steep(x, coords, blend, mode, cval)
    options = (mode, cval, prefilter, with_gradient)
    inside, outside = (_values(x, coords, parse(name), *options) for name in (blend.inside, blend.outside))
    gradient = np.where(steep[:, None], inside[1], outside[1]) if with_gradient else inside[1]
    return np.where(steep, inside[0], outside[0]), gradient


def _cotangents(
    x: HostArray,
    coords: HostArray,
    method: Method,
    mode: str,
    cval: float,
    prefilter: bool,
    by_value: HostArray | None,
    by_gradient: HostArray | None,
) -> tuple[HostArray, HostArray]:
    """Return gradients by images (B, C, ...) and by positions (B, A, N)."""
    if method.surrogate:
        smooth = parse(method.surrogate)
        options = (mode, cval, prefilter)
        dx, _ = _cotangents(x, coords, Method(method.kind, weight=method.weight), *options, by_value, None)
        more, d_coords = _cotangents(x, coords, smooth, *options, by_value, by_gradient)
        if by_gradient is not None:
            if by_value is not None:
                more, _ = _cotangents(x, coords, smooth, *options, None, by_gradient)
            dx = dx + more
        return dx, d_coords
    if isinstance(method.kind, Blend):
        steep = _is_steep(x, coords, method.kind, mode, cval)
        grads = []
        for name, here in ((method.kind.inside, steep), (method.kind.outside, ~steep)):
            masked = [
                None if g is None else np.where(m, g, 0).astype(g.dtype, copy=False)
                for g, m in ((by_value, here), (by_gradient, here[:, None]))
            ]
            grads.append(_cotangents(x, coords, parse(name), mode, cval, prefilter, masked[0], masked[1]))
        return grads[0][0] + grads[1][0], grads[0][1] + grads[1][1]
    axes = coords.shape[1]
    dtype = promoted(x.dtype)
    image = _Image(x, axes, method.kind, mode, cval, prefilter)
    pixels = image.pixels.reshape(*x.shape[:2], math.prod(image.size))
    by_value = _nothing(3, dtype) if by_value is None else by_value
    by_gradient = _nothing(4, dtype) if by_gradient is None else by_gradient
    if by_value.size == 0 and by_gradient.size == 0:
        dx, d_coords = np.zeros(pixels.shape, dtype), np.zeros(coords.shape, dtype)
    else:
        dx, d_coords = np.empty(pixels.shape, dtype), np.empty(coords.shape, dtype)
        vjp_kernels[method.kind].run(
            4 * _work(method.kind, axes, x.shape[1] * coords.size),
            pixels,
            image.size,
            image.positions(coords),
            image.rules,
            float(cval),
            addresses_of(method.weight),
            by_value,
            by_gradient,
            dx,
            d_coords,
        )
    return image.adjoint(dx), d_coords


def _floats(coords: HostArray) -> HostArray:
    return coords if coords.dtype.kind == "f" else coords.astype(np.float64)


def _channels_first(x: HostArray, channel_axis: int | None) -> HostArray:
    """View an image as (1, C, ...)."""
    return x[None, None] if channel_axis is None else np.ascontiguousarray(np.moveaxis(x, channel_axis, 0))[None]


def _is_first(channel_axis: int | None, ndim: int) -> bool:
    return channel_axis is not None and channel_axis in (0, -ndim)


def _place_channels(x: HostArray, axis: int, channel_axis: int | None, ndim: int) -> HostArray:
    """Put channels, at `axis`, where they belong in results: there if first in the image, else last."""
    if channel_axis is None:
        return x.squeeze(axis)
    return x if _is_first(channel_axis, ndim) else np.ascontiguousarray(np.moveaxis(x, axis, -1))


def _take_channels(x: HostArray, axis: int, channel_axis: int | None, ndim: int) -> HostArray:
    """Undo `_place_channels`."""
    if channel_axis is None:
        return np.expand_dims(x, axis)
    return x if _is_first(channel_axis, ndim) else np.ascontiguousarray(np.moveaxis(x, -1, axis))


def sample(
    image: HostArray,
    coords: HostArray,
    *,
    method: str,
    mode: str,
    cval: float,
    channel_axis: int | None,
    prefilter: bool,
    with_gradient: bool,
) -> tuple[HostArray, HostArray]:
    """Sample an image; return values and, if they are wanted, gradients."""
    positions = _floats(coords).reshape(1, len(coords), math.prod(coords.shape[1:]))
    values, gradient = _values(
        _channels_first(image, channel_axis), positions, parse(method), mode, cval, prefilter, with_gradient
    )
    points, channels = coords.shape[1:], values.shape[1]
    values = _place_channels(values.reshape(channels, *points), 0, channel_axis, image.ndim)
    if not with_gradient:
        return values, np.empty(0, values.dtype)
    gradient = gradient.reshape(len(coords), channels, *points)
    return values, _place_channels(gradient, 1, channel_axis, image.ndim)


def sample_vjp(
    cotangents: tuple[HostArray | None, HostArray | None],
    arrays: tuple[HostArray, HostArray],
    saved: tuple[()],
    *,
    method: str,
    mode: str,
    cval: float,
    channel_axis: int | None,
    prefilter: bool,
    with_gradient: bool,
) -> tuple[HostArray, HostArray]:
    """Return the gradients by the image and by the positions."""
    x, coords = arrays
    positions = _floats(coords).reshape(1, len(coords), math.prod(coords.shape[1:]))
    count = positions.shape[2]
    images = _channels_first(x, channel_axis)
    channels = images.shape[1]
    by_value, by_gradient = cotangents
    if by_value is not None:
        by_value = _take_channels(by_value, 0, channel_axis, x.ndim).reshape(1, channels, count)
    if by_gradient is not None and with_gradient:
        by_gradient = _take_channels(by_gradient, 1, channel_axis, x.ndim).reshape(1, len(coords), channels, count)
    else:
        by_gradient = None
    dx, d_coords = _cotangents(images, positions, parse(method), mode, cval, prefilter, by_value, by_gradient)
    dx = dx[0, 0] if channel_axis is None else np.moveaxis(dx[0], 0, channel_axis)
    return np.ascontiguousarray(dx), d_coords.reshape(coords.shape).astype(promoted(coords.dtype), copy=False)


def spline_filter(image: HostArray, *, order: int, mode: str, channel_axis: int | None) -> tuple[HostArray]:
    """Return the coefficients of the splines that go through the pixels."""
    first = image if channel_axis is None else np.ascontiguousarray(np.moveaxis(image, channel_axis, 0))
    axes = image.ndim - (channel_axis is not None)
    out = spline_coefficients(first, order, mode, axes, promoted(image.dtype))
    return (out if channel_axis is None else np.ascontiguousarray(np.moveaxis(out, 0, channel_axis)),)


def spline_filter_vjp(
    cotangents: tuple[HostArray | None],
    arrays: tuple[HostArray],
    saved: tuple[()],
    *,
    order: int,
    mode: str,
    channel_axis: int | None,
) -> tuple[HostArray]:
    """Return the gradient by the image."""
    (cotangent,), (x,) = cotangents, arrays
    if cotangent is None:
        return (np.zeros(x.shape, promoted(x.dtype)),)
    first = cotangent if channel_axis is None else np.ascontiguousarray(np.moveaxis(cotangent, channel_axis, 0))
    out = spline_coefficients_vjp(first, order, mode, x.ndim - (channel_axis is not None))
    return (out if channel_axis is None else np.ascontiguousarray(np.moveaxis(out, 0, channel_axis)),)


def _from_grid(x: HostArray, grid: HostArray, align_corners: bool) -> tuple[HostArray, HostArray]:
    """Turn a grid (N, ..., A) of normalized (x, y, z) into positions (N, A, P) in pixels; return the factors too."""
    size = np.array(x.shape[2:])
    factor = (0.5 * (size - 1) if align_corners else 0.5 * size)[:, None]
    flat = _floats(grid).reshape(len(grid), math.prod(grid.shape[1:-1]), grid.shape[-1])
    with np.errstate(over="ignore", invalid="ignore"):  # of positions far outside
        positions = (flat.transpose(0, 2, 1)[:, ::-1] * factor + 0.5 * (size[:, None] - 1)).astype(flat.dtype)
    return np.ascontiguousarray(positions), factor


def grid_sample(
    input: HostArray, grid: HostArray, *, method: str, padding_mode: str, align_corners: bool
) -> tuple[HostArray]:
    """Sample images at normalized positions."""
    positions, _ = _from_grid(input, grid, align_corners)
    mode = _TORCH_MODES[padding_mode][0 if align_corners else 1]
    values, _ = _values(input, positions, parse(method), mode, 0.0, True, False)
    return (values.reshape(*input.shape[:2], *grid.shape[1:-1]),)


def grid_sample_vjp(
    cotangents: tuple[HostArray | None],
    arrays: tuple[HostArray, HostArray],
    saved: tuple[()],
    *,
    method: str,
    padding_mode: str,
    align_corners: bool,
) -> tuple[HostArray, HostArray]:
    """Return the gradients by the images and by the grid."""
    (cotangent,), (x, grid) = cotangents, arrays
    positions, factor = _from_grid(x, grid, align_corners)
    mode = _TORCH_MODES[padding_mode][0 if align_corners else 1]
    by_value = None if cotangent is None else cotangent.reshape(*x.shape[:2], positions.shape[2])
    dx, d_positions = _cotangents(x, positions, parse(method), mode, 0.0, True, by_value, None)
    d_grid = np.ascontiguousarray((d_positions * factor)[:, ::-1].transpose(0, 2, 1))
    return dx, d_grid.reshape(grid.shape).astype(promoted(grid.dtype), copy=False)
