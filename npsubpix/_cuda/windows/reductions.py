"""Sums, moments, extrema and percentiles of windows on the GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._cuda.convolution.borders import BORDERS
from npsubpix._cuda.launch.arrays import result_dtype
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._cuda.windows.folds import Along, Windows, fold
from npsubpix._definitions.borders import as_pixel
from npsubpix._definitions.dtypes import converted
from npsubpix._definitions.windows import check_contents

__all__ = ["reduce_windows"]

_MOST_IN_FLOAT32 = 4096  # pixels of a window whose sums keep to single precision
_EXACT_IN_FLOAT32 = 2**24

#: Kernels that sort windows of up to so many pixels; larger ones are counted.
_SORTED = (9, 27)

#: Kinds of moments by the numbers of moments.cu.
_MOMENTS = {"sum": 0, "mean": 1, "var": 2, "std": 3}

_FIRST_BIT = 2**63


def reduce_windows(
    image: DeviceArray, footprint: DeviceArray | None, weights: DeviceArray | None, *, reduction: str,
    size: tuple[int, ...], border: str, cval: float, stride: tuple[int, ...], q: float, dtype: np.dtype[Any] | None,
) -> tuple[DeviceArray]:  # fmt: skip
    """Reduce the windows of an image of one to three dimensions, in a dtype or in that which suits the results."""
    check_contents(reduction, footprint, weights)
    factors = None if weights is None else weights.astype(np.float64)
    reduced = _reduced(image, reduction, size, footprint, factors, border, cval, stride, q)
    return (converted(reduced, dtype),)


def _reduced(
    x: DeviceArray, name: str, size: tuple[int, ...], footprint: DeviceArray | None, weights: DeviceArray | None,
    border: str, cval: float, stride: tuple[int, ...], q: float,
) -> DeviceArray:  # fmt: skip
    device = device_of(x)
    x = x.astype(np.float32) if x.dtype == np.float16 else x
    any_form = footprint is not None or weights is not None
    if border == "shrink" and not any_form:
        size = tuple(min(k, 2 * n) for k, n in zip(size, x.shape, strict=True))  # which has all pixels from anywhere
    image = _windows(x.shape, size, stride, border)
    form = None if footprint is None else device.put(footprint) != 0
    factors = None if not any_form else _factors(device, size, form, weights)
    if name in ("min", "max", "range", "median", "percentile"):
        out = _by_order(device, x, name, image, form, cval, q)
    elif name == "centroid":
        out = _centroid(device, x, image, factors, cval)
    elif name in ("var", "std") or weights is not None or (any_form and (name == "mean" or x.dtype.kind == "f")):
        out = _moments(device, x, name, image, factors, cval)
    else:
        out = _sums(device, x, name, image, factors, cval)
    return out.reshape((*out.shape[:-3], *image.counts[3 - len(size) :]))


def _windows(shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], border: str) -> Windows:
    ones = 3 - len(shape)
    axes = [Along.whole(1)] * ones
    axes += [Along(n, k, -(k // 2), s, -(-n // s)) for n, k, s in zip(shape, size, stride, strict=True)]
    return Windows((axes[0], axes[1], axes[2]), BORDERS[border], border == "shrink")


def _factors(
    device: Device, size: tuple[int, ...], form: DeviceArray | None, weights: DeviceArray | None
) -> DeviceArray:
    """Return what each pixel of a window is multiplied with, 0 for those that do not count."""
    if weights is None:
        return device.rows(form, size, np.float64)
    factors = device.rows(device.put(weights), size, np.float64)
    return factors if form is None else factors * form


def _by_order(
    device: Device, x: DeviceArray, name: str, image: Windows, form: DeviceArray | None, cval: float, q: float
) -> DeviceArray:
    """Return extrema, ranges or percentiles."""
    pixels = _ordered(x)
    fill, none = (_ordered_number(v, x.dtype, pixels.dtype) for v in (cval, math.nan))
    given = device, pixels, image, form, fill, none
    if name == "range":
        most, least = (_back(_extrema(*given, k), x.dtype) for k in ("max", "min"))
        if x.dtype.kind == "f":
            return most - least
        unsigned = np.dtype(f"u{x.dtype.itemsize}")
        return most.view(unsigned) - least.view(unsigned)
    if name in ("min", "max"):
        return _back(_extrema(*given, name), x.dtype)
    out = device.empty(image.counts, pixels.dtype)
    whole = math.prod(a.window for a in image.axes)
    kernel = next((f"percentiles_of_{n}" for n in _SORTED if whole <= n), "percentiles_of_many")
    run(
        device, Kernel.of("percentiles", kernel, Real=pixels.dtype), blocks_for(out.size), pixels, *image.numbers, form,
        fill, float(q), x.dtype.kind != "f", x.dtype == np.uint64, none, out,
    )  # fmt: skip
    return _back(out, x.dtype)


def _extrema(
    device: Device, x: DeviceArray, image: Windows, form: DeviceArray | None, fill: Any, none: Any, name: str
) -> DeviceArray:
    out = device.empty(image.counts, x.dtype)
    if form is None:
        fold(device, "extrema", x, image, fill, name == "min", out)
        return out
    kernel = Kernel.of("reductions", "footprint_extrema", Real=x.dtype)
    factors = device.rows(form, form.shape, np.float64)
    run(device, kernel, blocks_for(out.size), x, *image.numbers, factors, fill, name == "min", none, out)
    return out


def _sums(
    device: Device, x: DeviceArray, name: str, image: Windows, factors: DeviceArray | None, cval: float
) -> DeviceArray:
    """Return sums, or means of whole windows."""
    count = math.prod(a.window for a in image.axes)
    real = np.dtype(np.int64) if factors is not None else _sum_dtype(x.dtype, name, count)
    pixels = x.view(np.int64) if real.kind == "i" and x.dtype == np.uint64 else x.astype(real, copy=False)
    fill = as_pixel(cval, x.dtype)
    given = float(fill) if real.kind == "f" else _signed(int(fill))
    out = device.empty(image.counts, real)
    if factors is None:
        fold(device, "sums", pixels, image, given, name == "mean", out)
    else:
        kernel = Kernel.of("reductions", "footprint_sums", Real=real)
        run(device, kernel, blocks_for(out.size), pixels, *image.numbers, factors, given, out)
    if name == "mean" or x.dtype.kind == "f":
        return out.astype(result_dtype(x.dtype), copy=False)
    whole = np.dtype(np.uint64 if x.dtype == np.uint64 else np.int64)
    return out.view(whole) if real.kind == "i" else out.astype(whole)


def _sum_dtype(dtype: np.dtype[Any], name: str, count: int) -> np.dtype[Any]:
    """Return the dtype in which sums of `count` pixels are exact, or as good as the image."""
    if dtype.kind == "f":
        return dtype if dtype == np.float64 or count <= _MOST_IN_FLOAT32 else np.dtype(np.float64)
    if 2 ** (8 * dtype.itemsize) * count <= _EXACT_IN_FLOAT32:
        return np.dtype(np.float32)
    return np.dtype(np.float64 if name == "mean" else np.int64)


def _moments(
    device: Device, x: DeviceArray, name: str, image: Windows, factors: DeviceArray | None, cval: float
) -> DeviceArray:
    """Return variances and standard deviations; of any form and with weights, sums and means too."""
    pixels = x.astype(result_dtype(x.dtype), copy=False)
    out, fill = device.empty(image.counts, pixels.dtype), float(as_pixel(cval, x.dtype))
    if factors is None:
        fold(device, "squares", pixels, image, fill, name == "std", out)
    else:
        kernel = Kernel.of("moments", "footprint_moments", Real=pixels.dtype)
        run(device, kernel, blocks_for(out.size), pixels, *image.numbers, factors, fill, _MOMENTS[name], out)
    return out


def _centroid(device: Device, x: DeviceArray, image: Windows, factors: DeviceArray | None, cval: float) -> DeviceArray:
    """Return the centroids, positions in the image: an array of coordinates of each axis, in float64."""
    pixels = x.astype(result_dtype(x.dtype), copy=False)
    out = device.empty((3, *image.counts), np.float64)
    if factors is None:
        fold(device, "moments", pixels, image, float(cval), False, out)
    else:
        kernel = Kernel.of("moments", "footprint_centroids", Real=pixels.dtype)
        run(device, kernel, blocks_for(math.prod(image.counts)), pixels, *image.numbers, factors, float(cval), out)
    return out[3 - x.ndim :]


# Pixels whose order is all that counts are floats, exactly, or 64-bit integers with a sign.


def _ordered(x: DeviceArray) -> DeviceArray:
    if x.dtype == np.uint64:
        return (x ^ np.uint64(_FIRST_BIT)).view(np.int64)
    exact = x.dtype.kind == "f" or x.dtype.itemsize == 8
    return x if exact else x.astype(result_dtype(x.dtype))


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
