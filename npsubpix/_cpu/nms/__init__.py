"""Non-maximum suppression on the host."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.nms.neighbours import near2d_kernels, near3d_kernels
from npsubpix._cpu.nms.windows import window_kernels
from npsubpix._definitions.nms import clipped_margins, clipped_reach, nms_reach

__all__ = ["codes_of_extrema", "limits", "nms", "nms3d_minmax", "nms_mask", "nms_vjp", "no_limits"]


@functools.lru_cache(maxsize=64)
def no_limits(dtype: np.dtype[Any], images: int) -> tuple[HostArray, HostArray]:
    """Return bounds that no value exceeds: one lower and one upper bound per image."""
    low, high = limits(dtype)
    return np.full(images, low, dtype), np.full(images, high, dtype)


@functools.cache
def limits(dtype: np.dtype[Any]) -> HostArray:
    """Return the least and the greatest value of a dtype."""
    if dtype.kind == "f":
        return np.array([-np.inf, np.inf], dtype)
    info = np.iinfo(dtype)
    return np.array([info.min, info.max], dtype)


def codes_of_extrema(
    x: HostArray,
    size: tuple[int, ...],
    margins: tuple[int, ...],
    low: HostArray,
    high: HostArray | None,
    codes: npt.NDArray[np.uint8],
    *,
    seeds: bool,
) -> bool:
    """Write codes of strict maxima and, unless `high` is None, of strict minima; return whether `seeds` are there too.

    Seeds are the pixels at which plateaus may begin: at no cost, if windows are of three pixels inside the image.
    """
    if high is not None:
        return _extrema("extrema", x, size, margins, low, high, codes)
    if seeds and _is_near(size, margins):
        return _extrema("maxima", x, size, margins, low, low, codes)
    # Booleans, for which the kernels of `nms2d` and `nms3d` are compiled.
    _extrema("mask", x, size, margins, low, low, codes.view(np.bool_))
    return False


@functools.lru_cache(maxsize=64)
def _is_near(size: tuple[int, ...], margins: tuple[int, ...]) -> bool:
    """Whether windows are of three pixels per axis, all of them inside the image."""
    return size == (3,) * len(size) and min(margins) >= 1


@functools.lru_cache(maxsize=64)
def _is_all_margin(margins: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an image of a shape has no pixel inside the margins."""
    return any(n <= before + after for n, before, after in zip(shape, margins[::2], margins[1::2], strict=True))


@functools.lru_cache(maxsize=64)
def _margins_of(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the margins within which windows lie inside the image."""
    return sum(map(nms_reach, size), ())


def _extrema(
    output: str,
    x: HostArray,
    size: tuple[int, ...],
    margins: tuple[int, ...],
    low: HostArray,
    high: HostArray,
    out: HostArray,
) -> bool:
    """Write the strict extrema of a stack of images or volumes to `out`; return whether it was by the near kernels.

    `output` is ``"mask"``, True at maxima, ``"values"``, the maxima and 0 elsewhere, or codes of ``"maxima"`` or of
    ``"extrema"``. `low` and `high` are the least value of a maximum and the greatest of a minimum, one per image.
    """
    if _is_all_margin(margins, x.shape[1:]):
        out.fill(0)
        return True
    near, ends = _is_near(size, margins), limits(x.dtype)
    margins = clipped_margins(margins, x.shape[1:])
    if near and len(size) == 2:
        near2d_kernels[output].run(4 * x.size, x, low, high, margins, out)
    elif near:
        second = out if output == "extrema" else out[:0]
        near3d_kernels[output].run(8 * x.size, x, low, high, ends, margins, out, second)
    else:
        window = clipped_reach(size, x.shape[1:])
        if len(size) == 2:
            window, margins, x, out = (0, 0, *window), (0, 0, *margins), x[:, None], out[:, None]
        window_kernels[output].run(32 * x.size, x, low, high, ends, window, margins, out)
    return near


def nms_mask(input: HostArray, *, kernel_size: tuple[int, ...]) -> tuple[HostArray]:
    """Mark the strict maxima of images of shape (B, C, H, W) or volumes of shape (B, C, D, H, W)."""
    return (_suppress("mask", input, kernel_size, np.empty(input.shape, bool)),)


def nms(input: HostArray, *, kernel_size: tuple[int, ...]) -> tuple[HostArray]:
    """Keep the strict maxima of images of shape (B, C, H, W) or volumes of shape (B, C, D, H, W)."""
    return (_suppress("values", input, kernel_size, np.empty_like(input)),)


def nms_vjp(
    cotangents: tuple[HostArray | None], arrays: tuple[HostArray], saved: tuple[()], *, kernel_size: tuple[int, ...]
) -> tuple[HostArray]:
    """Return the cotangents at maxima, and 0 elsewhere."""
    (cotangent,), (x,) = cotangents, arrays
    if cotangent is None:
        return (np.zeros_like(x),)
    return (np.where(nms_mask(x, kernel_size=kernel_size)[0], cotangent, cotangent.dtype.type(0)),)


def _suppress(output: str, x: HostArray, kernel_size: tuple[int, ...], out: HostArray) -> HostArray:
    if max(kernel_size) == 1:
        out[...] = True if output == "mask" else x
        return out
    images = x.shape[0] * x.shape[1]
    low, high = no_limits(x.dtype, images)
    stack = (images, *x.shape[2:])
    _extrema(output, x.reshape(stack), kernel_size, _margins_of(kernel_size), low, high, out.reshape(stack))
    return out


def nms3d_minmax(input: HostArray) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Mark the strict maxima and minima of volumes of shape (B, C, D, H, W)."""
    stack = (input.shape[0] * input.shape[1], *input.shape[2:])
    # Of one block: writing to two new arrays of 5 x 1024 x 1024 took 1.8 ms more, of 4.1.
    maxima, minima = np.empty((2, *input.shape), bool)
    low, high = no_limits(input.dtype, stack[0])
    task = input.reshape(stack), low, high, limits(input.dtype), (1,) * 6
    near3d_kernels["masks"].run(8 * input.size, *task, maxima.reshape(stack), minima.reshape(stack))
    return maxima, minima
