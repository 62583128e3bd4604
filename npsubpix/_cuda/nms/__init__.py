"""Non-maximum suppression on the GPU."""

from __future__ import annotations

import math

from npsubpix._cuda.launch.catalogue import FLOATS, INTEGERS, STRIP_ROWS, each, register
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel

__all__ = ["nms", "nms3d_minmax", "nms_mask", "nms_vjp", "strips"]

register("nms", each("Pixel", (*INTEGERS, "Half", *FLOATS)))


def nms_mask(input: DeviceArray, *, kernel_size: tuple[int, ...]) -> tuple[DeviceArray]:
    """Mark the strict maxima of images of shape (B, C, H, W) or volumes of shape (B, C, D, H, W)."""
    device = device_of(input)
    if max(kernel_size) == 1:
        return (device.full(input.shape, True, bool),)
    out = device.empty(input.shape, bool)
    _suppress("mask", input, kernel_size, out)
    return (out,)


def nms(input: DeviceArray, *, kernel_size: tuple[int, ...]) -> tuple[DeviceArray]:
    """Keep the strict maxima of images of shape (B, C, H, W) or volumes of shape (B, C, D, H, W)."""
    if max(kernel_size) == 1:
        return (input.copy(),)
    out = device_of(input).empty(input.shape, input.dtype)
    _suppress("values", input, kernel_size, out)
    return (out,)


def nms_vjp(
    cotangents: tuple[DeviceArray | None], arrays: tuple[DeviceArray], saved: tuple[()], *, kernel_size: tuple[int, ...]
) -> tuple[DeviceArray]:
    """Return the cotangents at maxima, and 0 elsewhere."""
    (cotangent,), (x,) = cotangents, arrays
    device = device_of(x)
    if cotangent is None:
        return (device.full(x.shape, 0, x.dtype),)
    out = device.empty(cotangent.shape, cotangent.dtype)
    keep = Kernel.of("nms", "nms_keep", Pixel=cotangent.dtype)
    run(device, keep, blocks_for(x.size), nms_mask(x, kernel_size=kernel_size)[0], cotangent, out, x.size)
    return (out,)


def nms3d_minmax(input: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """Mark the strict maxima and minima of volumes of shape (B, C, D, H, W)."""
    device = device_of(input)
    maxima, minima = device.empty(input.shape, bool), device.empty(input.shape, bool)
    stack = _stack(input.shape)
    kernel = Kernel.of("nms", "nms_near_minmax", Pixel=input.dtype)
    run(device, kernel, blocks_for(strips(stack)), input, maxima, minima, *stack)
    return maxima, minima


def _suppress(output: str, x: DeviceArray, size: tuple[int, ...], out: DeviceArray) -> None:
    stack = _stack(x.shape)
    if set(size) == {3}:
        kernel = Kernel.of("nms", f"nms_near_{output}", Pixel=x.dtype)
        run(device_of(x), kernel, blocks_for(strips(stack)), x, out, *stack, len(size) == 3)
    else:
        window = (1,) * (3 - len(size)) + size
        kernel = Kernel.of("nms", f"nms_window_{output}", Pixel=x.dtype)
        run(device_of(x), kernel, blocks_for(math.prod(stack)), x, out, *stack, *window)


def _stack(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return images, depth, height and width of a batch."""
    depth = shape[2] if len(shape) == 5 else 1
    return shape[0] * shape[1], depth, shape[-2], shape[-1]


def strips(stack: tuple[int, ...]) -> int:
    """Return the number of threads, each of which moves down a strip of rows of one column."""
    images, depth, height, width = stack
    return images * depth * -(-height // STRIP_ROWS) * width
