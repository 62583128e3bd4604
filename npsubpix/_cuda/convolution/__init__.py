"""Convolution on the GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._cuda.convolution.borders import BORDERS
from npsubpix._cuda.convolution.passes import Axes, along_axes, clipped, factors_of
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.convolution import PRODUCT, dtype_of_weighted_sums, windows_along
from npsubpix._definitions.dtypes import Rounding, converted, promoted, rounding_to
from npsubpix._definitions.shapes import three_axes

__all__ = ["choose_conv_method", "correlate", "correlate_vjp"]

register("convolution", each("Real", FLOATS))
register("stencils", each("Real", FLOATS))

#: Pixels of a tile along an axis, those of stencils.cu.
_TILE = 32

#: Windows that one block sums for a weight.
_PART = 16384


def choose_conv_method(kernel: DeviceArray, *, stride: tuple[int, ...]) -> str:
    """Return the method of correlation with a kernel: direct, since the host would have to wait for its weights."""
    return "direct"


class _Correlation:
    """An image and a kernel as the arguments of kernels, with channels first."""

    def __init__(
        self, x: DeviceArray, kernel: DeviceArray, flip: bool, mode: str, border: str, cval: float,
        stride: tuple[int, ...], dilation: tuple[int, ...], origin: tuple[int, ...], channel_axis: int | None,
        omit: bool,
    ) -> None:  # fmt: skip
        self.device = device_of(x)
        self.real = dtype_of_weighted_sums(x.dtype, None)
        self.channel_axis, self.flip = channel_axis, flip
        first = self.channels_first(x)
        sizes, window = three_axes(first.shape[1:], 1), three_axes(kernel.shape, 1)
        steps, gaps, origins = three_axes(stride, 1), three_axes(dilation, 1), three_axes(origin, 0)
        axes = zip(sizes, window, (mode,) * 3, steps, gaps, origins, strict=True)
        spans = [windows_along(*axis) for axis in axes]
        self.counts = tuple(span.windows for span in spans)
        self.shape = (first.shape[0], *self.counts[3 - kernel.ndim :])
        self.x = self.device.rows(first, first.shape, self.real)
        weights = self.device.rows(kernel, kernel.shape, self.real)
        self.weights = self.flipped(weights) if flip else weights
        #: Whether pixels may be left out of windows, and are then taken for the mean of the others.
        self.left_out = border == "shrink"
        self.partial = self.left_out or omit
        self.window, self.cval, self.omit = window, float(cval), omit
        self.near = set(steps) == set(gaps) == {1}
        firsts = tuple(span.first for span in spans)
        self.axes = Axes(window, firsts, self.counts, BORDERS[border])
        self.stack = first.shape[0], *sizes
        self.geometry = (
            *self.stack, *window, *firsts, *steps, *gaps, *self.counts, BORDERS[border], border == "shrink", omit,
            float(cval),
        )  # fmt: skip

    def channels_first(self, x: DeviceArray) -> DeviceArray:
        """Return an array with an axis of channels ahead of the others."""
        if self.channel_axis is None:
            return x[None]
        return x.transpose(self.channel_axis, *(k for k in range(x.ndim) if k != self.channel_axis))

    def channels_back(self, x: DeviceArray) -> DeviceArray:
        """Return an array as the image was."""
        if self.channel_axis is None:
            return x[0]
        order = list(range(1, x.ndim))
        order.insert(self.channel_axis, 0)
        back = x.transpose(order)
        return self.device.rows(back, back.shape, x.dtype)

    def flipped(self, weights: DeviceArray) -> DeviceArray:
        """Return weights in the reverse order along each axis."""
        return self.device.rows(weights[(slice(None, None, -1),) * weights.ndim], weights.shape, weights.dtype)

    def run(self, name: str, blocks: int, *args: Any) -> None:
        """Launch a kernel of this file."""
        run(self.device, Kernel.of("convolution", name, Real=self.real), blocks, *args)


def correlate(
    image: DeviceArray, kernel: DeviceArray, *, flip: bool, mode: str, border: str, cval: float,
    stride: tuple[int, ...], dilation: tuple[int, ...], origin: tuple[int, ...], channel_axis: int | None, omit: bool,
    method: str, dtype: str,
) -> tuple[DeviceArray]:  # fmt: skip
    """Correlate an image with a kernel, or with the flipped kernel."""
    c = _Correlation(image, kernel, flip, mode, border, cval, stride, dilation, origin, channel_axis, omit)
    out = c.device.empty(c.shape, c.real)
    of_results = np.dtype(dtype) if dtype else image.dtype
    rounding = rounding_to(of_results, c.real)
    if rounding.integer and rounding.high < np.iinfo(of_results).max:  # no float of the sums is the greatest integer
        _write(c, method, rounding_to(c.real), out)
        return (c.channels_back(converted(out, of_results)),)
    _write(c, method, rounding, out)
    return (c.channels_back(out.astype(of_results, copy=False)),)


def _write(c: _Correlation, method: str, rounding: Rounding, out: DeviceArray) -> None:
    """Correlate along axes if asked for, or by tiles, where that is possible; else window by window."""
    plain = c.near and not c.omit
    one_axis = sum(k > 1 for k in c.window) <= 1
    if plain and out.size and (one_axis or method in ("separable", PRODUCT)):
        _along_axes(c, one_axis, rounding, out)
    elif plain and not c.partial:
        _by_tiles(c, c.x, c.weights, c.stack, c.axes, c.cval, rounding, out)
    else:
        c.run("correlate_windows", blocks_for(out.size), c.x, c.weights, *c.geometry, *rounding, out)


def _by_tiles(
    c: _Correlation, x: DeviceArray, weights: DeviceArray, stack: tuple[int, ...], axes: Axes, fill: float,
    rounding: Rounding, out: DeviceArray,
) -> None:  # fmt: skip
    """Correlate images, as many and as large as `stack` says, by tiles in shared memory."""
    tiles = stack[0] * axes.counts[0] * math.prod(-(-n // _TILE) for n in axes.counts[1:])
    kernel = Kernel.of("stencils", "correlate_tiles", Real=c.real)
    geometry = *stack, *axes.window, *axes.first, *axes.counts, axes.border, fill
    run(c.device, kernel, blocks_for(tiles, each=1), x, weights, *geometry, *rounding, out)


def _along_axes(c: _Correlation, one_axis: bool, rounding: Rounding, out: DeviceArray) -> None:
    kernel = c.weights.reshape(c.window)
    if one_axis:
        line, none = kernel.reshape(-1).astype(np.float64), c.device.full((1,), 1.0, np.float64)
        own = max((k for k in range(3) if c.window[k] > 1), default=2)
        lines = none if own > 0 else line, none if own != 1 else line, none if own < 2 else line
        fills = c.device.full((3,), c.cval, np.float64)
    else:
        lines, fills = factors_of(c.device, kernel, c.cval)
    images, made = c.x.reshape(c.stack), out.reshape(c.stack[0], *c.counts)
    if c.left_out:
        clipped(c.device, images, c.axes, lines, rounding, made)
    else:
        along_axes(c.device, images, c.axes, lines, fills, rounding, made)


def correlate_vjp(
    cotangents: tuple[DeviceArray | None], arrays: tuple[DeviceArray, DeviceArray], saved: tuple[()], *, flip: bool,
    mode: str, border: str, cval: float, stride: tuple[int, ...], dilation: tuple[int, ...], origin: tuple[int, ...],
    channel_axis: int | None, omit: bool, method: str, dtype: str,
) -> tuple[DeviceArray, DeviceArray]:  # fmt: skip
    """Return the gradients with respect to the image and to the kernel."""
    (cotangent,), (x, kernel) = cotangents, arrays
    c = _Correlation(x, kernel, flip, mode, border, cval, stride, dilation, origin, channel_axis, omit)
    of_image, of_kernel = promoted(x.dtype), promoted(kernel.dtype)
    if cotangent is None or cotangent.size == 0:
        return c.device.full(x.shape, 0, of_image), c.device.full(kernel.shape, 0, of_kernel)
    by_windows = c.device.rows(c.channels_first(cotangent), c.shape, c.real)
    by_products, by_means, means = by_windows, None, None
    if c.partial:
        by_products, by_means, means = (c.device.empty(c.shape, c.real) for _ in range(3))
        c.run(
            "correlate_shares", blocks_for(by_windows.size), c.x, c.weights, *c.geometry, by_windows, by_products,
            by_means, means,
        )  # fmt: skip
    by_image = _by_image(c, c.weights, by_products)
    if by_means is not None:
        magnitudes = c.device.empty(c.weights.shape, c.real)
        c.run("correlate_magnitudes", blocks_for(magnitudes.size), c.weights, magnitudes.size, magnitudes)
        by_image += _by_image(c, magnitudes, by_means)
    grad = c.channels_back(by_image).astype(of_image, copy=False)
    return grad, _by_weights(c, by_products, by_means, means).astype(of_kernel, copy=False)


def _by_image(c: _Correlation, weights: DeviceArray, by_products: DeviceArray) -> DeviceArray:
    """Return the gradient with respect to the image, summed over the copies of each pixel."""
    grad = c.device.empty(c.x.shape, c.real)
    if not c.near:
        c.run("correlate_by_image", blocks_for(c.x.size), c.x, weights, *c.geometry, by_products, grad)
        return grad
    # The gradient of a place is the correlation of the cotangents with the flipped weights.
    flipped = c.flipped(weights)
    reach = tuple(n + k - 1 for n, k in zip(c.counts, c.window, strict=True))
    all_of = Axes(c.window, tuple(1 - k for k in c.window), reach, 0)
    by_places = c.device.empty((c.stack[0], *reach), c.real)
    _by_tiles(c, by_products, flipped, (c.stack[0], *c.counts), all_of, 0.0, rounding_to(c.real), by_places)
    c.run("correlate_fold", blocks_for(c.x.size), c.x, by_places, *c.geometry, grad)
    return grad


def _by_weights(
    c: _Correlation, by_products: DeviceArray, by_means: DeviceArray | None, means: DeviceArray | None
) -> DeviceArray:
    count, parts = c.weights.size, blocks_for(math.prod(c.shape), each=_PART)
    sums = c.device.empty((parts, count, 2), np.float64)
    blocks = blocks_for(parts * count, each=1)
    c.run("correlate_by_weights", blocks, c.x, *c.geometry, by_products, by_means, means, parts, _PART, sums)
    grad = c.device.empty(c.weights.shape, np.float64)
    c.run("correlate_weights_gradient", blocks_for(count), c.weights, sums.sum(0), count, grad)
    return c.flipped(grad) if c.flip else grad
