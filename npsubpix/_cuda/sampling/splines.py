"""Filters for B-splines on the GPU, and what is put around an image before it is filtered."""

from __future__ import annotations

import math
from typing import Any

from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.sampling import POLES, mode_of_filter

__all__ = ["padded", "spline_coefficients", "spline_coefficients_vjp", "unpadded"]

#: By the numbers of borders.cuh.
_RULES = {"mirror": 0, "reflect": 1, "grid-wrap": 3}

#: Pixels of a line that one thread filters, besides those ahead of them.
_PART = 128

#: Lines of which a block has tiles.
_LINES = 64


def _rule(mode: str) -> int:
    return _RULES[mode_of_filter(mode)]


def _kernel(name: str, x: DeviceArray) -> Kernel:
    return Kernel.of("splines", name, Real=x.dtype)


def spline_coefficients(device: Device, x: DeviceArray, degree: int, mode: str, axes: int) -> DeviceArray:
    """Filter the last axes of an array of floats."""
    if x.size == 0:
        return x
    ahead = x.ndim - axes
    for a in range(ahead, x.ndim):
        if x.shape[a] > 1:
            for pole in POLES[degree]:
                gain = (1 - pole) * (1 - 1 / pole)
                x = _filtered(device, x, a, pole, gain, _rule(mode), backward=False)
                x = _filtered(device, x, a, pole, -pole, _rule(mode), backward=True)
    return x


def _filtered(
    device: Device, x: DeviceArray, axis: int, pole: float, factor: float, rule: int, backward: bool
) -> DeviceArray:
    """Run along an axis, forward or backward, from one array to another."""
    out = device.empty(x.shape, x.dtype)
    outer, n, inner = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    reach = math.ceil(math.log(1e-17) / math.log(-pole))
    given = x, outer, n, inner, pole, rule, reach, _PART, factor, backward, out
    parts = -(-n // _PART)
    if inner == 1:
        run(device, _kernel("spline_rows", x), blocks_for(-(-outer // _LINES) * parts, each=1), *given)
    else:
        run(device, _kernel("spline_columns", x), blocks_for(outer * parts * inner), *given)
    return out


def spline_coefficients_vjp(device: Device, cotangent: DeviceArray, degree: int, mode: str, axes: int) -> DeviceArray:
    """Apply the transpose of the filter to the last axes of an array.

    The filter is the inverse of a matrix that is symmetric, except where the image is mirrored about
    its outermost pixels: there it becomes so if their rows are halved.
    """
    if mode_of_filter(mode) != "mirror":
        return spline_coefficients(device, cotangent, degree, mode, axes)
    doubled = _ends_times(device, cotangent, axes, 2.0)
    return _ends_times(device, spline_coefficients(device, doubled, degree, mode, axes), axes, 0.5)


def _images(shape: tuple[int, ...], axes: int) -> tuple[int, int, int, int]:
    """Images, depth, height and width of an array whose last axes are those of an image."""
    leading, own = shape[: len(shape) - axes], shape[len(shape) - axes :]
    depth, height, width = (*(1,) * (3 - axes), *own)
    return math.prod(leading), depth, height, width


def _ends_times(device: Device, x: DeviceArray, axes: int, factor: float) -> DeviceArray:
    out = device.empty(x.shape, x.dtype)
    run(device, _kernel("spline_ends", x), blocks_for(x.size), x, *_images(x.shape, axes), factor, out)
    return out


def padded(device: Device, x: DeviceArray, axes: int, width: int, constant: bool, cval: float) -> DeviceArray:
    """Put pixels around the last axes of an array: of a value, or the outermost ones once more."""
    widths = (*(0,) * (x.ndim - axes), *(width,) * axes)
    out = device.empty(tuple(n + 2 * w for n, w in zip(x.shape, widths, strict=True)), x.dtype)
    given = x, *_images(x.shape, axes), *_three(axes, width), constant, cval, out
    run(device, _kernel("spline_pad", x), blocks_for(out.size), *given)
    return out


def unpadded(device: Device, x: DeviceArray, shape: tuple[int, ...], axes: int, width: int, constant: bool) -> Any:
    """Give what pixels around an array got to those that they were copies of."""
    out = device.empty(shape, x.dtype)
    given = x, *_images(shape, axes), *_three(axes, width), constant, out
    run(device, _kernel("spline_unpad", x), blocks_for(out.size), *given)
    return out


def _three(axes: int, width: int) -> tuple[int, ...]:
    return (*(0,) * (3 - axes), *(width,) * axes)
