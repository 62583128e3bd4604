"""Sums, moments, extrema and percentiles of windows on the GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._cuda.convolution.borders import BORDERS
from npsubpix._cuda.launch.arrays import computed
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._cuda.windows.folds import Along, Windows, fold
from npsubpix._definitions.borders import as_pixel
from npsubpix._definitions.convolution import windows_along
from npsubpix._definitions.dtypes import converted, promoted
from npsubpix._definitions.windows import (
    border_without_nan,
    check_contents,
    clipped_size,
    dtype_of_statistic,
    dtype_of_sums,
    empty_shape,
    in_precision_of,
    skipped_pixels,
)

__all__ = ["reduce_windows"]

register("reductions", each("Real", ("Int64", *FLOATS)))
register("moments", each("Real", FLOATS), fused=False)
register("percentiles", each("Real", ("Int64", *FLOATS)), fused=False)

#: Kernels that sort windows of up to so many pixels; larger ones are counted.
_SORTED = (9, 27)

#: Moments by the numbers of moments.cu.
_MOMENTS = {"sum": 0, "mean": 1, "var": 2, "std": 3}

_FIRST_BIT = 2**63


def reduce_windows(
    image: DeviceArray, footprint: DeviceArray | None, weights: DeviceArray | None, mask: DeviceArray | None, *,
    reduction: str, size: tuple[int, ...], border: str, cval: float, stride: tuple[int, ...], nan_policy: str, q: float,
    dtype: np.dtype[Any] | None,
) -> tuple[DeviceArray]:  # fmt: skip
    """Reduce the windows of an image of one to three dimensions; return a dtype, or that of the statistic."""
    check_contents(reduction, footprint, weights)
    if image.size == 0:
        none = device_of(image).empty(
            empty_shape(image.shape, stride, reduction),
            dtype_of_statistic(computed(image).dtype, reduction, weights is not None),
        )
        return (converted(none, dtype),)
    in_double = None if weights is None else weights.astype(np.float64)
    skipped = skipped_pixels(image, mask, nan_policy)
    border = border_without_nan(border, cval, nan_policy)
    image, cval = in_precision_of(dtype, image, reduction, cval)
    reduced = _reduced(image, reduction, size, footprint, in_double, skipped, border, cval, stride, q)
    return (converted(reduced, dtype),)


def _reduced(
    x: DeviceArray, name: str, size: tuple[int, ...], footprint: DeviceArray | None, weights: DeviceArray | None,
    skipped: DeviceArray | None, border: str, cval: float, stride: tuple[int, ...], quantile: float,
) -> DeviceArray:  # fmt: skip
    device, x = device_of(x), computed(x)
    is_rectangle = footprint is None and weights is None
    if border == "shrink" and is_rectangle:
        size = clipped_size(size, x.shape)
    image = _windows(x.shape, size, stride, border)
    counted = None if footprint is None else device.put(footprint) != 0
    pixel_weights = None if is_rectangle else _pixel_weights(device, size, counted, weights)
    dtype = dtype_of_statistic(x.dtype, name, weights is not None)
    if name in ("min", "max", "range", "median", "percentile"):
        out = _by_order(device, x, name, image, skipped, counted, cval, quantile)
    elif name == "centroid":
        out = _centroid(device, x, image, skipped, pixel_weights, cval)
    elif name in ("var", "std") or not (is_rectangle or (name == "sum" and dtype.kind in "iu")):
        out = _moments(device, x, name, image, skipped, pixel_weights, cval).astype(dtype, copy=False)
    else:
        out = _sums(device, x, name, image, skipped, pixel_weights, cval, dtype)
    return out.reshape((*out.shape[:-3], *image.counts[3 - len(size) :]))


def _windows(shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], border: str) -> Windows:
    ones = 3 - len(shape)
    axes = [Along.whole(1)] * ones
    for n, k, s in zip(shape, size, stride, strict=True):
        first, count = windows_along(n, k, "same", s, 1, 0)
        axes.append(Along(n, k, first, s, count))
    return Windows((axes[0], axes[1], axes[2]), BORDERS[border], border == "shrink")


def _pixel_weights(
    device: Device, size: tuple[int, ...], counted: DeviceArray | None, weights: DeviceArray | None
) -> DeviceArray:
    """Return the weight of each pixel of a window, 0 for those that do not count."""
    if weights is None:
        return device.rows(counted, size, np.float64)
    all_weights = device.rows(device.put(weights), size, np.float64)
    return all_weights if counted is None else all_weights * counted


def _by_order(
    device: Device, x: DeviceArray, name: str, image: Windows, skipped: DeviceArray | None,
    counted: DeviceArray | None, cval: float, quantile: float,
) -> DeviceArray:  # fmt: skip
    """Return extrema, ranges or percentiles."""
    pixels = _ordered(x)
    fill, none = (_ordered_number(v, x.dtype, pixels.dtype) for v in (cval, math.nan))
    names = ("max", "min") if name == "range" else (name,)
    if name in ("min", "max", "range"):
        extrema = [_extrema(device, pixels, image, skipped, counted, fill, none, k) for k in names]
        found = [_back(extremum, x.dtype).view(dtype_of_statistic(x.dtype, name, False)) for extremum in extrema]
        return found[0] - found[1] if name == "range" else found[0]
    out = device.empty(image.counts, pixels.dtype)
    whole = math.prod(a.window for a in image.axes)
    kernel = next((f"percentiles_of_{n}" for n in _SORTED if whole <= n), "percentiles_of_many")
    run(
        device, Kernel.of("percentiles", kernel, Real=pixels.dtype), blocks_for(out.size), pixels, skipped,
        *image.numbers, counted, fill, float(quantile), x.dtype.kind != "f", x.dtype == np.uint64, none, out,
    )  # fmt: skip
    return _back(out, x.dtype)


def _counts(device: Device, image: Windows, skipped: DeviceArray) -> DeviceArray:
    """Return the number of pixels of each window that count."""
    out = device.empty(image.counts, np.float64)
    fold(device, "sums", (~skipped).astype(np.float64), image, None, 1.0, False, out)
    return out


def _extrema(
    device: Device, x: DeviceArray, image: Windows, skipped: DeviceArray | None, counted: DeviceArray | None, fill: Any,
    none: Any, name: str,
) -> DeviceArray:  # fmt: skip
    out = device.empty(image.counts, x.dtype)
    if counted is None:
        fold(device, "extrema", x, image, skipped, fill, name == "min", out)
        if skipped is not None:
            out[_counts(device, image, skipped) == 0] = none
        return out
    kernel = Kernel.of("reductions", "footprint_extrema", Real=x.dtype)
    pixel_weights = device.rows(counted, counted.shape, np.float64)
    run(device, kernel, blocks_for(out.size), x, skipped, *image.numbers, pixel_weights, fill, name == "min", none, out)
    return out


def _sums(
    device: Device, x: DeviceArray, name: str, image: Windows, skipped: DeviceArray | None,
    pixel_weights: DeviceArray | None, cval: float, dtype: np.dtype[Any],
) -> DeviceArray:  # fmt: skip
    """Return sums, or means of rectangular windows, in a dtype; with a footprint, sums of integers."""
    count = math.prod(a.window for a in image.axes)
    sums = dtype_of_sums(x.dtype, count, exact=name == "sum")
    real = sums if sums.kind == "f" and pixel_weights is None else np.dtype(np.int64)
    pixels = x.view(np.int64) if real.kind == "i" and x.dtype == np.uint64 else x.astype(real, copy=False)
    fill = as_pixel(cval, x.dtype)
    number = float(fill) if real.kind == "f" else _signed(int(fill))
    out = device.empty(image.counts, real)
    if pixel_weights is None:
        fold(device, "sums", pixels, image, skipped, number, name == "mean" and skipped is None, out)
        if name == "mean" and skipped is not None:
            with np.errstate(all="ignore"):
                out = out / _counts(device, image, skipped)
    else:
        kernel = Kernel.of("reductions", "footprint_sums", Real=real)
        run(device, kernel, blocks_for(out.size), pixels, skipped, *image.numbers, pixel_weights, number, out)
    return out.view(dtype) if real.kind == "i" else out.astype(dtype, copy=False)


def _moments(
    device: Device, x: DeviceArray, name: str, image: Windows, skipped: DeviceArray | None,
    pixel_weights: DeviceArray | None, cval: float,
) -> DeviceArray:  # fmt: skip
    """Return variances and standard deviations; with a footprint or weights, sums and means too."""
    pixels = x.astype(promoted(x.dtype), copy=False)
    out, fill = device.empty(image.counts, pixels.dtype), float(as_pixel(cval, x.dtype))
    if pixel_weights is None:
        fold(device, "squares", pixels, image, skipped, fill, name == "std", out)
    else:
        kernel = Kernel.of("moments", "footprint_moments", Real=pixels.dtype)
        numbers = *image.numbers, pixel_weights, fill, _MOMENTS[name]
        run(device, kernel, blocks_for(out.size), pixels, skipped, *numbers, out)
    return out


def _centroid(
    device: Device,
    x: DeviceArray,
    image: Windows,
    skipped: DeviceArray | None,
    pixel_weights: DeviceArray | None,
    cval: float,
) -> DeviceArray:
    """Return the centroids in pixels of the image, (ndim, ...), in float64."""
    pixels, fill = x.astype(promoted(x.dtype), copy=False), float(as_pixel(cval, x.dtype))
    out = device.empty((3, *image.counts), np.float64)
    if pixel_weights is None:
        fold(device, "moments", pixels, image, skipped, fill, False, out)
    else:
        kernel = Kernel.of("moments", "footprint_centroids", Real=pixels.dtype)
        numbers = *image.numbers, pixel_weights, fill
        run(device, kernel, blocks_for(math.prod(image.counts)), pixels, skipped, *numbers, out)
    return out[3 - x.ndim :]


# Kernels that compare pixels take floats that hold them exactly, or signed integers of 64 bits.


def _ordered(x: DeviceArray) -> DeviceArray:
    if x.dtype == np.uint64:
        return (x ^ np.uint64(_FIRST_BIT)).view(np.int64)
    exact = x.dtype.kind == "f" or x.dtype.itemsize == 8
    return x if exact else x.astype(promoted(x.dtype))


def _ordered_number(value: float, dtype: np.dtype[Any], ordered: np.dtype[Any]) -> float | int:
    number = as_pixel(value, dtype)
    if ordered.kind == "f":
        return float(number)
    return int(number) - (_FIRST_BIT if dtype == np.uint64 else 0)


def _back(x: DeviceArray, dtype: np.dtype[Any]) -> DeviceArray:
    if dtype == np.uint64:
        return x.view(np.uint64) ^ np.uint64(_FIRST_BIT)
    return x.astype(dtype, copy=False)


def _signed(number: int) -> int:
    """Return the number with a sign of the same 64 bits."""
    return number if number < _FIRST_BIT else number - 2 * _FIRST_BIT
