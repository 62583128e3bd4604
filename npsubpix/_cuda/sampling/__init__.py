"""Sampling between pixels on the GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._cuda.launch.arrays import of_dtype, result_dtype
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._cuda.sampling.splines import padded, spline_coefficients, spline_coefficients_vjp, unpadded
from npsubpix._definitions.sampling import Blend, Method, parse

__all__ = ["grid_sample", "grid_sample_vjp", "sample", "sample_vjp", "spline_filter", "spline_filter_vjp"]

#: Rules for positions and for pixels beyond the ends of an axis, by the numbers of borders.cuh.
_MIRROR, _REFLECT, _WRAP, _GRID_WRAP, _NEAREST, _CVAL, _FREE = range(7)
_RULES = {
    "reflect": (_REFLECT, _REFLECT),
    "grid-mirror": (_REFLECT, _REFLECT),
    "mirror": (_MIRROR, _MIRROR),
    "wrap": (_WRAP, _MIRROR),
    "grid-wrap": (_GRID_WRAP, _GRID_WRAP),
    "nearest": (_FREE, _NEAREST),
    "constant": (_CVAL, _MIRROR),
    "grid-constant": (_FREE, _CVAL),
}

#: The number of each method in weights.cuh, and the pixels that it takes an axis.
_METHODS = {
    "nearest": (0, 1),
    "nearest_down": (1, 1),
    "nearest_even": (2, 1),
    "linear": (3, 2),
    "smoothstep": (4, 2),
    "sigmoid": (5, 2),
    "gaussian": (6, 2),
    "bspline2": (7, 3),
    "bspline3": (8, 4),
    "catmull_rom": (9, 4),
    "bicubic": (10, 4),
    "bspline4": (11, 5),
    "bspline5": (12, 6),
    "lanczos3": (13, 6),
}

#: Kernels that are made for windows of few pixels; those for any do the rest.
_SPECIAL = frozenset(
    f"sample_{name}_{taps}"
    for taps, names in (
        ("linear2", ("values", "gradients", "pulls", "spread")),
        ("linear3", ("values", "gradients", "pulls", "spread")),
        ("cubic2", ("values", "gradients", "pulls")),
    )
    for name in names
)

#: Pixels added at each end of an axis for modes whose image goes on in a way that the filter does not know.
_PADDING = 12
_PADDED = ("nearest", "grid-constant")

#: torch's padding modes, as modes here, for corners that are aligned and for those that are not.
_TORCH_MODES = {
    "zeros": ("grid-constant", "grid-constant"),
    "border": ("nearest", "nearest"),
    "reflection": ("mirror", "reflect"),
}

#: Parts of an array of which the greatest magnitude is looked for at the same time.
_PARTS = 1024

#: Most bits of a sum of the gradient by an image that one of its two integers holds of one sample.
_MOST_BITS = 40


def _taps(method: str, pixels: int, axes: int) -> str:
    """Name the kernels for a method."""
    if method == "linear" and axes > 1:
        return f"linear{axes}"
    return "cubic2" if pixels == 4 and axes == 2 else "any"


class _Positions:
    """Positions of (B, A, N) points, or (B, N, A) in the order (x, y, z), as they are in memory."""

    def __init__(self, coords: DeviceArray, grid: bool, size: tuple[int, ...], aligned: bool) -> None:
        floats = coords if coords.dtype.kind == "f" else coords.astype(np.float64)
        self.coords = device_of(coords).rows(floats, floats.shape, result_dtype(floats.dtype))
        self.batch = coords.shape[0]
        self.axes, self.count = (coords.shape[2], coords.shape[1]) if grid else coords.shape[1:]
        self.steps = (self.axes, 1) if grid else (1, self.count)
        self.reversed = grid
        self.factors, self.offsets = (1.0,) * self.axes, (0.0,) * self.axes
        if grid:
            self.factors = tuple(0.5 * (n - 1) if aligned else 0.5 * n for n in size)
            self.offsets = tuple(0.5 * (n - 1) for n in size)

    def arguments(self, pad: int) -> tuple[Any, ...]:
        """Return what kernels are told, for an image with so many pixels around it."""
        single = self.coords.dtype == np.float32
        missing = 3 - self.axes
        offsets = tuple(offset + pad for offset in self.offsets)
        return (
            self.coords if single else None, None if single else self.coords, self.count, *self.steps, self.reversed,
            *(0.0,) * missing, *self.factors, *(0.0,) * missing, *offsets,
        )  # fmt: skip


class _Sampler:
    """Images (B, C, ...), filtered and padded if a method wants that, and positions."""

    def __init__(
        self, x: DeviceArray, positions: _Positions, name: str, mode: str, cval: float, prefilter: bool
    ) -> None:
        if name not in _METHODS:
            raise TypeError(
                "a weight that is a Python function runs on the host only: give WeightedNearest the name of a weight, "
                "or move the arrays to the host"
            )
        self.device, self.real, self.positions = device_of(x), result_dtype(x.dtype), positions
        self.shape, self.axes, self.mode = x.shape, positions.axes, mode
        method, self.pixels = _METHODS[name]
        self.taps = _taps(name, self.pixels, self.axes)
        self.degree = int(name[-1]) if name.startswith("bspline") and prefilter else 0
        self.pad = _PADDING if self.degree and mode in _PADDED else 0
        x = self.device.rows(x, x.shape, self.real)
        if self.pad:
            x = padded(self.device, x, self.axes, self.pad, mode == "grid-constant", float(cval))
        if self.degree:
            x = spline_coefficients(self.device, x, self.degree, mode, self.axes)
        self.seen = x.shape
        geometry = *x.shape[:2], self.axes, *(1,) * (3 - self.axes), *x.shape[2:]
        self.arguments = x, *geometry, *positions.arguments(self.pad), method, *_RULES[mode], float(cval)

    def kernel(self, name: str) -> Kernel:
        return Kernel.of("sampling", name, Real=self.real)

    def run(self, name: str, *args: Any) -> None:
        """Launch a kernel with a thread for each position."""
        blocks = blocks_for(self.positions.batch * self.positions.count)
        own = f"sample_{name}_{self.taps}"
        kernel = self.kernel(own if own in _SPECIAL else f"sample_{name}_any")
        run(self.device, kernel, blocks, *self.arguments, *args)

    def empty(self, *leading: int) -> DeviceArray:
        """Make an array with an element for each position."""
        return self.device.empty((*leading, self.positions.count), self.real)

    def spread(self, by_value: DeviceArray | None, by_gradient: DeviceArray | None) -> DeviceArray:
        """Return the gradient by images: sums of integers, which any order of threads makes the same."""
        count = math.prod(self.seen)
        device = self.device
        most = max(self.positions.count * self.pixels**self.axes, 1)  # products that can be added to one pixel
        bits = min(_MOST_BITS, 62 - most.bit_length())
        unit = device.empty((1,), np.float64)
        largest = device.full((2, _PARTS), 0.0, np.float64)
        for k, cotangent in enumerate((by_value, by_gradient)):
            if cotangent is not None:
                parts = min(_PARTS, blocks_for(cotangent.size))
                run(device, self.kernel("sample_largest"), parts, cotangent, cotangent.size, parts, largest[k])
        run(device, self.kernel("sample_unit"), 1, largest, 2 * _PARTS, bits, unit)
        sums, marks = device.full((count, 2), 0, np.uint64), device.full((count,), 0, np.uint32)
        self.run("spread", by_value, by_gradient, unit, bits, sums, marks)
        grad = device.empty(self.seen, self.real)
        run(device, self.kernel("sample_collect"), blocks_for(count), sums, marks, unit, bits, count, grad)
        return self.adjoint(grad)

    def adjoint(self, grad: DeviceArray) -> DeviceArray:
        """Turn gradients by what kernels saw into those by the image."""
        if self.degree:
            grad = spline_coefficients_vjp(self.device, grad, self.degree, self.mode, self.axes)
        if self.pad:
            grad = unpadded(self.device, grad, self.shape, self.axes, self.pad, self.mode == "grid-constant")
        return grad


def _choose(marks: DeviceArray, here: DeviceArray | None, elsewhere: DeviceArray | None) -> DeviceArray | None:
    """Take arrays (B, ..., N) from one or the other, 0 where that is none, by marks (B, N)."""
    like = here if here is not None else elsewhere
    if like is None:
        return None
    device = device_of(like)
    out = device.empty(like.shape, like.dtype)
    rows = math.prod(like.shape[1:-1])
    kernel = Kernel.of("sampling", "sample_choose", Real=like.dtype)
    run(device, kernel, blocks_for(like.size), marks, here, elsewhere, like.shape[0], rows, like.shape[-1], out)
    return out


def _values(
    x: DeviceArray, positions: _Positions, method: Method, mode: str, cval: float, prefilter: bool, with_gradient: bool
) -> tuple[DeviceArray, DeviceArray | None]:
    """Sample images of shape (B, C, ...); return values (B, C, N) and gradients (B, A, C, N)."""
    if method.surrogate and with_gradient:
        plain = Method(method.kind, weight=method.weight)
        values, _ = _values(x, positions, plain, mode, cval, prefilter, False)
        return values, _values(x, positions, parse(method.surrogate), mode, cval, prefilter, True)[1]
    if isinstance(method.kind, Blend):
        steep = _is_steep(x, positions, method.kind, mode, cval)
        options = (mode, cval, prefilter, with_gradient)
        inside, outside = (
            _values(x, positions, parse(name), *options) for name in (method.kind.inside, method.kind.outside)
        )
        values, gradient = (_choose(steep, a, b) for a, b in zip(inside, outside, strict=True))
        return values, gradient
    sampler = _Sampler(x, positions, method.kind, mode, cval, prefilter)
    values = sampler.empty(*x.shape[:2])
    if not with_gradient:
        sampler.run("values", values)
        return values, None
    gradient = sampler.empty(x.shape[0], positions.axes, x.shape[1])
    sampler.run("gradients", values, gradient)
    return values, gradient


def _is_steep(x: DeviceArray, positions: _Positions, blend: Blend, mode: str, cval: float) -> DeviceArray:
    """Whether the gradient of the linear interpolant is longer than the threshold, for any channel: (B, N)."""
    _, gradient = _values(x, positions, parse("linear"), mode, cval, False, True)
    assert gradient is not None
    device, (batch, axes, channels, count) = device_of(x), gradient.shape
    steep = device.empty((batch, count), bool)
    kernel = Kernel.of("sampling", "sample_steep", Real=gradient.dtype)
    threshold = float(blend.threshold)
    run(device, kernel, blocks_for(steep.size), gradient, batch, axes, channels, count, threshold, steep)
    return steep


def _cotangents(
    x: DeviceArray, positions: _Positions, method: Method, mode: str, cval: float, prefilter: bool,
    by_value: DeviceArray | None, by_gradient: DeviceArray | None,
) -> tuple[DeviceArray, DeviceArray]:  # fmt: skip
    """Return gradients by images (B, C, ...) and by positions, as those are in memory."""
    options = (mode, cval, prefilter)
    if method.surrogate:
        smooth, plain = parse(method.surrogate), Method(method.kind, weight=method.weight)
        by_image, _ = _cotangents(x, positions, plain, *options, by_value, None)
        more, by_positions = _cotangents(x, positions, smooth, *options, by_value, by_gradient)
        if by_gradient is not None:
            if by_value is not None:
                more, _ = _cotangents(x, positions, smooth, *options, None, by_gradient)
            by_image = by_image + more
        return by_image, by_positions
    if isinstance(method.kind, Blend):
        steep = _is_steep(x, positions, method.kind, mode, cval)
        here = [_choose(steep, g, None) for g in (by_value, by_gradient)]
        rest = [_choose(steep, None, g) for g in (by_value, by_gradient)]
        inside = _cotangents(x, positions, parse(method.kind.inside), *options, *here)
        outside = _cotangents(x, positions, parse(method.kind.outside), *options, *rest)
        return inside[0] + outside[0], inside[1] + outside[1]
    sampler = _Sampler(x, positions, method.kind, *options)
    if by_value is None and by_gradient is None:
        return sampler.device.full(x.shape, 0, sampler.real), sampler.device.full(positions.coords.shape, 0, np.float64)
    given = tuple(of_dtype(sampler.device, g, sampler.real) for g in (by_value, by_gradient))
    by_positions = sampler.device.empty(positions.coords.shape, sampler.real)
    if by_gradient is None and f"sample_pulls_{sampler.taps}" in _SPECIAL:
        sampler.run("pulls", given[0], by_positions)
    else:
        sampler.run("second_pulls", *given, by_positions)
    return sampler.spread(*given), by_positions


def _channels_first(x: DeviceArray, channel_axis: int | None) -> DeviceArray:
    """View an image as (1, C, ...)."""
    return x[None, None] if channel_axis is None else _moved(x, channel_axis, 0)[None]


def _moved(x: DeviceArray, source: int, target: int) -> DeviceArray:
    """Put an axis at another place, in C order."""
    order = [k for k in range(x.ndim) if k != source % x.ndim]
    order.insert(target % x.ndim, source % x.ndim)
    turned = x.transpose(order)
    return device_of(x).rows(turned, turned.shape, x.dtype)


def _place_channels(x: DeviceArray, axis: int, channel_axis: int | None) -> DeviceArray:
    """Put channels, at `axis`, where they belong in results: there if first in the image, else last."""
    if channel_axis is None:
        return x.reshape((*x.shape[:axis], *x.shape[axis + 1 :]))
    return x if channel_axis == 0 else _moved(x, axis, -1)


def _take_channels(x: DeviceArray, axis: int, channel_axis: int | None) -> DeviceArray:
    """Undo `_place_channels`."""
    if channel_axis is None:
        return x.reshape((*x.shape[:axis], 1, *x.shape[axis:]))
    return x if channel_axis == 0 else _moved(x, -1, axis)


def _flat(coords: DeviceArray) -> _Positions:
    points = math.prod(coords.shape[1:])
    return _Positions(coords.reshape(1, len(coords), points), grid=False, size=(), aligned=False)


def sample(
    image: DeviceArray, coords: DeviceArray, *, method: str, mode: str, cval: float, channel_axis: int | None,
    prefilter: bool, with_gradient: bool,
) -> tuple[DeviceArray, DeviceArray]:  # fmt: skip
    """Sample an image; return values and, if they are wanted, gradients."""
    images, positions = _channels_first(image, channel_axis), _flat(coords)
    values, gradient = _values(images, positions, parse(method), mode, cval, prefilter, with_gradient)
    points, channels = coords.shape[1:], values.shape[1]
    values = _place_channels(values.reshape(channels, *points), 0, channel_axis)
    if gradient is None:
        return values, device_of(image).empty((0,), values.dtype)
    gradient = gradient.reshape(len(coords), channels, *points)
    return values, _place_channels(gradient, 1, channel_axis)


def sample_vjp(
    cotangents: tuple[DeviceArray | None, DeviceArray | None], arrays: tuple[DeviceArray, DeviceArray],
    saved: tuple[()], *, method: str, mode: str, cval: float, channel_axis: int | None, prefilter: bool,
    with_gradient: bool,
) -> tuple[DeviceArray, DeviceArray]:  # fmt: skip
    """Return the gradients by the image and by the positions."""
    x, coords = arrays
    images, positions = _channels_first(x, channel_axis), _flat(coords)
    channels, (by_value, by_gradient) = images.shape[1], cotangents
    if by_value is not None:
        by_value = _take_channels(by_value, 0, channel_axis).reshape(1, channels, positions.count)
    if by_gradient is not None and with_gradient:
        shape = 1, len(coords), channels, positions.count
        by_gradient = _take_channels(by_gradient, 1, channel_axis).reshape(shape)
    else:
        by_gradient = None
    options = parse(method), mode, cval, prefilter
    by_image, by_coords = _cotangents(images, positions, *options, by_value, by_gradient)
    by_image = by_image[0, 0] if channel_axis is None else _moved(by_image[0], 0, channel_axis)
    return by_image, by_coords.reshape(coords.shape).astype(result_dtype(coords.dtype), copy=False)


def spline_filter(image: DeviceArray, *, order: int, mode: str, channel_axis: int | None) -> tuple[DeviceArray]:
    """Return the coefficients of the splines that go through the pixels."""
    return (_filtered(spline_coefficients, image, order, mode, channel_axis),)


def spline_filter_vjp(
    cotangents: tuple[DeviceArray | None], arrays: tuple[DeviceArray], saved: tuple[()], *, order: int, mode: str,
    channel_axis: int | None,
) -> tuple[DeviceArray]:  # fmt: skip
    """Return the gradient by the image."""
    (cotangent,), (x,) = cotangents, arrays
    if cotangent is None:
        return (device_of(x).full(x.shape, 0, result_dtype(x.dtype)),)
    return (_filtered(spline_coefficients_vjp, cotangent, order, mode, channel_axis),)


def _filtered(function: Any, x: DeviceArray, order: int, mode: str, channel_axis: int | None) -> DeviceArray:
    device = device_of(x)
    first = x if channel_axis is None else _moved(x, channel_axis, 0)
    floats = device.rows(first, first.shape, result_dtype(x.dtype))
    out = function(device, floats, order, mode, x.ndim - (channel_axis is not None))
    if out is x:  # nothing was filtered
        return out.copy()
    return out if channel_axis is None else _moved(out, 0, channel_axis)


def _grid(x: DeviceArray, grid: DeviceArray, padding_mode: str, aligned: bool) -> tuple[_Positions, str]:
    """Return the positions of a grid (N, ..., A) of normalized (x, y, z), and the mode here."""
    points = math.prod(grid.shape[1:-1])
    flat = grid.reshape(len(grid), points, grid.shape[-1])
    return _Positions(flat, grid=True, size=x.shape[2:], aligned=aligned), _TORCH_MODES[padding_mode][1 - aligned]


def grid_sample(
    input: DeviceArray, grid: DeviceArray, *, method: str, padding_mode: str, align_corners: bool
) -> tuple[DeviceArray]:
    """Sample images at normalized positions."""
    positions, mode = _grid(input, grid, padding_mode, align_corners)
    values, _ = _values(input, positions, parse(method), mode, 0.0, True, False)
    return (values.reshape(*input.shape[:2], *grid.shape[1:-1]),)


def grid_sample_vjp(
    cotangents: tuple[DeviceArray | None], arrays: tuple[DeviceArray, DeviceArray], saved: tuple[()], *, method: str,
    padding_mode: str, align_corners: bool,
) -> tuple[DeviceArray, DeviceArray]:  # fmt: skip
    """Return the gradients by the images and by the grid."""
    (cotangent,), (x, grid) = cotangents, arrays
    positions, mode = _grid(x, grid, padding_mode, align_corners)
    by_value = None if cotangent is None else cotangent.reshape(*x.shape[:2], positions.count)
    by_image, by_grid = _cotangents(x, positions, parse(method), mode, 0.0, True, by_value, None)
    return by_image, by_grid.reshape(grid.shape).astype(result_dtype(grid.dtype), copy=False)
