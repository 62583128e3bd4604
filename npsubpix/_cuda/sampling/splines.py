"""B-spline filters on the GPU, and the padding of images before filtering."""

from __future__ import annotations

import math
from typing import Any

from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.sampling.splines import POLES, SMALLEST_POWER, filter_rule, gain_of, transposed

__all__ = ["padded", "spline_coefficients", "spline_coefficients_vjp", "unpadded"]

register("splines", each("Real", FLOATS))

#: Pixels of a line that one thread filters, besides those from which its recursion starts.
_PART = 128

#: Lines of the tile of a block.
_LINES = 64


def _kernel(name: str, x: DeviceArray) -> Kernel:
    return Kernel.of("splines", name, Real=x.dtype)


def spline_coefficients(
    device: Device, x: DeviceArray, degree: int, mode: str, axes: int, floats: bool = True
) -> DeviceArray:
    """Filter the last axes of an array; the coefficients of pixels that are not finite are NaN.

    `floats` is False where all are finite.
    """
    runs = _runs(x.shape, degree, axes)
    original, (_, *size) = x, _images(x.shape, axes)
    for k, (axis, pole, backward) in enumerate(runs):
        marked = original if floats and k == len(runs) - 1 else None
        x = _filtered(device, x, axis, pole, filter_rule(mode), backward, floats and k == 0, size, marked)
    return x


def _runs(shape: tuple[int, ...], degree: int, axes: int) -> list[tuple[int, float, bool]]:
    """Return the axis, the pole and the direction of each recursion over an array."""
    if 0 in shape:
        return []
    filtered = [a for a in range(len(shape) - axes, len(shape)) if shape[a] > 1]
    return [(a, pole, back) for a in filtered for pole in POLES[degree] for back in (False, True)]


def _filtered(
    device: Device, x: DeviceArray, axis: int, pole: float, rule: int, backward: bool, fills: bool, size: list[int],
    original: DeviceArray | None,
) -> DeviceArray:  # fmt: skip
    """Run one recursion along an axis, forward or backward, from one array to another.

    The first one fills pixels that are not finite; the last one gets the original, to mark them.
    """
    out = device.empty(x.shape, x.dtype)
    outer, n, inner = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    reach = math.ceil(math.log(SMALLEST_POWER) / math.log(-pole))
    factor = -pole if backward else gain_of(pole)
    arguments = x, outer, n, inner, pole, rule, reach, _PART, factor, backward, fills, *size, original, out
    parts = -(-n // _PART)
    if inner == 1:
        run(device, _kernel("spline_rows", x), blocks_for(-(-outer // _LINES) * parts, each=1), *arguments)
    else:
        run(device, _kernel("spline_columns", x), blocks_for(outer * parts * inner), *arguments)
    return out


def spline_coefficients_vjp(
    device: Device, cotangent: DeviceArray, x: DeviceArray, degree: int, mode: str, axes: int
) -> DeviceArray:
    """Apply the transpose of the filter of an array x to the last axes of a cotangent.

    Cotangents that are not finite do not spoil those of other pixels.
    """

    def filtered(x: DeviceArray) -> DeviceArray:
        return spline_coefficients(device, x, degree, mode, axes, floats=False)

    def with_scaled_ends(x: DeviceArray, factor: float) -> DeviceArray:
        out = device.empty(x.shape, x.dtype)
        run(device, _kernel("spline_ends", x), blocks_for(x.size), x, *_images(x.shape, axes), factor, out)
        return out

    if not _runs(x.shape, degree, axes):
        return cotangent
    good, out = (device.empty(x.shape, x.dtype) for _ in range(2))
    run(device, _kernel("spline_good", x), blocks_for(x.size), x, cotangent, x.size, good)
    back = transposed(filtered, with_scaled_ends, good, mode)
    run(device, _kernel("spline_unfill", x), blocks_for(x.size), x, cotangent, back, *_images(x.shape, axes), out)
    return out


def _images(shape: tuple[int, ...], axes: int) -> tuple[int, int, int, int]:
    """Return the number, depth, height and width of the images of an array, whose last axes are theirs."""
    leading, own = shape[: len(shape) - axes], shape[len(shape) - axes :]
    depth, height, width = (*(1,) * (3 - axes), *own)
    return math.prod(leading), depth, height, width


def padded(device: Device, x: DeviceArray, axes: int, width: int, constant: bool, cval: float) -> DeviceArray:
    """Pad the last axes of an array with a value, or with copies of the outermost pixels."""
    widths = (*(0,) * (x.ndim - axes), *(width,) * axes)
    out = device.empty(tuple(n + 2 * w for n, w in zip(x.shape, widths, strict=True)), x.dtype)
    arguments = x, *_images(x.shape, axes), *_three(axes, width), constant, cval, out
    run(device, _kernel("spline_pad", x), blocks_for(out.size), *arguments)
    return out


def unpadded(device: Device, x: DeviceArray, shape: tuple[int, ...], axes: int, width: int, constant: bool) -> Any:
    """Apply the transpose of `padded`: add pixels of the padding to those that they are copies of."""
    out = device.empty(shape, x.dtype)
    arguments = x, *_images(shape, axes), *_three(axes, width), constant, out
    run(device, _kernel("spline_unpad", x), blocks_for(out.size), *arguments)
    return out


def _three(axes: int, width: int) -> tuple[int, ...]:
    return (*(0,) * (3 - axes), *(width,) * axes)
