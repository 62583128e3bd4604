"""Sums, moments, extrema and percentiles of windows on the host: which kernel does which."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.convolution import correlate
from npsubpix._cpu.windows.counted_variance import counted_var
from npsubpix._cpu.windows.footprints import FOLDS
from npsubpix._cpu.windows.percentiles import percentile
from npsubpix._cpu.windows.running import RUNNING, columns_of_tile, rows_of_band
from npsubpix._cpu.windows.running_variance import running_var
from npsubpix._cpu.windows.small_percentiles import LARGEST, small_percentiles
from npsubpix._definitions.borders import as_pixel, counts_of, window_places
from npsubpix._definitions.dtypes import converted
from npsubpix._definitions.windows import (
    border_without_nan,
    check_contents,
    clipped_size,
    dtype_of_statistic,
    dtype_of_sums,
    empty_shape,
    in_precision_of,
    neutral,
    skipped_pixels,
)

__all__ = ["reduce_windows"]

_NONE_SKIPPED = np.zeros((0, 0, 0), bool)

_PIXELS_OF_BLOCK = 64  # length of the blocks that are sorted, or twice that of the window


@dataclass(frozen=True)
class _Windows:
    """Where windows lie, along three axes."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    shape: tuple[int, ...]  # of the result
    places: tuple[HostArray, ...]  # along each axis, the pixel that each place is a copy of, or -1
    shrink: bool
    fill: float | int

    @property
    def whole(self) -> int:
        return math.prod(self.size)


@functools.lru_cache(maxsize=64)
def _windows(
    shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], border: str, cval: float | int
) -> _Windows:
    counts = counts_of(shape, stride)
    places = tuple(window_places(*axis, border) for axis in zip(shape, size, stride, strict=True))
    return _Windows(size, stride, counts, places, border == "shrink", cval)


def reduce_windows(
    image: HostArray, footprint: HostArray | None, weights: HostArray | None, mask: HostArray | None, *,
    reduction: str, size: tuple[int, ...], border: str, cval: float, stride: tuple[int, ...], nan_policy: str, q: float,
    dtype: np.dtype[Any] | None,
) -> tuple[HostArray]:  # fmt: skip
    """Reduce the windows of an image of one to three dimensions; return a dtype, or that of the statistic."""
    check_contents(reduction, footprint, weights)
    if image.size == 0:
        none = np.empty(
            empty_shape(image.shape, stride, reduction), dtype_of_statistic(image.dtype, reduction, weights is not None)
        )
        return (converted(none, dtype),)
    in_double = None if weights is None else weights.astype(np.float64)
    skipped = skipped_pixels(image, mask, nan_policy)
    if skipped is not None and not skipped.any():
        skipped = None
    border = border_without_nan(border, cval, nan_policy)
    image, cval = in_precision_of(dtype, image, reduction, cval)
    reduced = _reduced(image, reduction, size, footprint, in_double, skipped, border, cval, stride, q)
    return (converted(reduced, dtype),)


def _reduced(
    x: HostArray, name: str, size: tuple[int, ...], footprint: HostArray | None, weights: HostArray | None,
    skipped: HostArray | None, border: str, cval: float, stride: tuple[int, ...], quantile: float,
) -> HostArray:  # fmt: skip
    if border == "shrink" and footprint is None and weights is None:
        size = clipped_size(size, x.shape)
    if name == "centroid":
        x = x if skipped is None else _without(x, skipped, name)
        return _centroid(x, size, footprint, weights, border, float(as_pixel(cval, x.dtype)), stride)
    ones = 3 - x.ndim
    x3 = x.reshape((1,) * ones + x.shape)
    where = _windows(x3.shape, (1,) * ones + size, (1,) * ones + stride, border, as_pixel(cval, x.dtype))
    absent = _NONE_SKIPPED if skipped is None else skipped.reshape(x3.shape)
    is_rectangle, is_variance = footprint is None and weights is None, name in ("var", "std")
    if name in ("median", "percentile"):
        out = _percentile(x3, where, footprint, absent, quantile)
    elif is_rectangle and not (is_variance and where.size[0] > 1):
        out = _fast(x3, where, name) if skipped is None else _fast_without(x3, where, absent, name)
    else:
        out = _by_footprint(x3, where, name, footprint, weights, absent)
    return out.reshape(out.shape[ones:])


def _fast(x: HostArray, where: _Windows, name: str) -> HostArray:
    """Reduce rectangular windows at a cost that does not depend on their size."""
    out = np.empty(where.shape, dtype_of_statistic(x.dtype, name, False))
    work = x.size * 30
    if name in ("var", "std"):
        tile, band = columns_of_tile(where.size[1], 16), rows_of_band(where.size[1])
        running_var.run(
            work, _planes(x, where), *where.places[1:], where.size[1:], where.stride[1:], float(where.fill),
            where.shrink, name == "std", tile, band, out,
        )  # fmt: skip
    elif name == "range":
        signed = out.view(x.dtype)  # where differences wrap to what they are without a sign
        _run(x, where, "max", x.dtype, signed, False)
        _run(x, where, "min", x.dtype, signed, True)
    elif name in ("min", "max"):
        _run(x, where, name, x.dtype, out, False)
    else:
        _run(x, where, name, dtype_of_sums(x.dtype, where.whole, exact=name == "sum"), out, False)
    return out


def _planes(x: HostArray, where: _Windows) -> HostArray:
    """Return the planes of windows of one plane."""
    return np.ascontiguousarray(x[:: where.stride[0]])


def _without(x: HostArray, skipped: HostArray, name: str) -> HostArray:
    """Return an image in which skipped pixels have a value that does not change a statistic."""
    return np.where(skipped, x.dtype.type(neutral(x.dtype, name)), x)


def _fast_without(x: HostArray, where: _Windows, skipped: HostArray, name: str) -> HostArray:
    """Reduce rectangular windows without skipped pixels at a cost that does not depend on their size."""
    if name == "sum":
        return _fast(_without(x, skipped, name), where, name)
    out = np.empty(where.shape, dtype_of_statistic(x.dtype, name, False))
    if name in ("var", "std"):
        tile, band = columns_of_tile(where.size[1], 24), rows_of_band(where.size[1])
        counted_var.run(
            x.size * 40, _planes(x, where), _planes(skipped, where), *where.places[1:], where.size[1:],
            where.stride[1:], float(where.fill), where.shrink, name == "std", tile, band, out,
        )  # fmt: skip
        return out
    counted, counts = (~skipped).view(np.uint8), np.empty(where.shape)
    _run(counted, replace(where, fill=1), "sum", dtype_of_sums(counted.dtype, where.whole, exact=True), counts, False)
    if name == "mean":
        sums = np.empty(where.shape, dtype_of_sums(x.dtype, where.whole, exact=False))
        _run(_without(x, skipped, name), where, "sum", sums.dtype, sums, False)
        with np.errstate(all="ignore"):
            np.divide(sums, counts, out=out, casting="same_kind")
        return out
    result = out.view(x.dtype)
    for extremum in ("max", "min") if name == "range" else (name,):
        subtract = extremum == "min" and name == "range"
        _run(_without(x, skipped, extremum), where, extremum, x.dtype, result, subtract)
    out[counts == 0] = as_pixel(math.nan, out.dtype)
    return out


def _run(x: HostArray, where: _Windows, name: str, dtype: np.dtype[Any], out: HostArray, subtract: bool) -> None:
    """Run over each plane, and then over the planes, if windows are deeper than one."""
    operation = "sum" if name == "mean" else name
    beyond = where.fill if not where.shrink else 0 if operation == "sum" else neutral(dtype, name)
    fill = np.array([beyond], dtype)
    down, across = (_shares(where, axis, dtype) if name == "mean" else np.empty(0, dtype) for axis in (1, 2))
    deep = where.size[0] > 1 or where.stride[0] > 1
    none = np.empty(0, dtype)
    planes = np.empty((x.shape[0], *where.shape[1:]), dtype) if deep else out
    _run_2d(
        x, operation, where.places[1:], where.size[1:], where.stride[1:], fill,
        *((none, none) if deep else (down, across)), subtract and not deep, planes,
    )  # fmt: skip
    if deep:
        each = np.multiply.outer(down, across).reshape(-1) if name == "mean" else none
        deeper = _shares(where, 0, dtype) if name == "mean" else none
        n = math.prod(where.shape[1:])
        if operation == "sum" and not where.shrink:
            fill = fill * dtype.type(math.prod(where.size[1:]))
        _run_2d(
            planes.reshape(1, len(planes), n), operation, (where.places[0], np.arange(n)), (where.size[0], 1),
            (where.stride[0], 1), fill, deeper, each, subtract, out.reshape(1, -1, n),
        )  # fmt: skip


def _run_2d(
    x: HostArray, operation: str, places: Any, size: Any, stride: Any, fill: HostArray, down: HostArray,
    across: HostArray, subtract: bool, out: HostArray,
) -> None:  # fmt: skip
    tile, band = columns_of_tile(size[0], fill.itemsize), rows_of_band(size[0])
    if operation in ("min", "max") and x.dtype.kind == "f" and not subtract:
        bits = np.dtype(f"i{x.itemsize}")
        operation, x, out, fill = f"{operation} of {bits}", x.view(bits), out.view(bits), fill.view(bits)
        down = across = fill[:0]
    RUNNING[operation].run(x.size * 10, x, *places, size, stride, fill, down, across, tile, band, subtract, out)


def _shares(where: _Windows, axis: int, dtype: np.dtype[Any]) -> HostArray:
    """Return 1 over how many pixels along an axis count, for each window."""
    counts = (where.places[axis] >= 0) if where.shrink else np.ones(where.places[axis].size)
    total = np.concatenate([[0], np.cumsum(counts)])
    first = np.arange(where.shape[axis]) * where.stride[axis]
    return np.asarray(1 / (total[first + where.size[axis]] - total[first]), dtype)


def _by_footprint(
    x: HostArray, where: _Windows, name: str, footprint: HostArray | None, weights: HostArray | None,
    skipped: HostArray,
) -> HostArray:  # fmt: skip
    """Reduce windows with a footprint or weights, pixel by pixel of a window; those of weight 0 do not count."""
    pixel_weights = np.ones(where.size) if weights is None else weights.reshape(where.size)
    if footprint is not None:
        pixel_weights = pixel_weights * (footprint.reshape(where.size) != 0)
    offsets = np.argwhere(pixel_weights != 0)
    own_dtype = dtype_of_statistic(x.dtype, name, weights is not None)
    # squares in float32 leave its range where their roots do not
    out = np.empty(where.shape, np.float64 if name == "std" else own_dtype)
    is_extremum = name in ("min", "max", "range")
    dtype = x.dtype if is_extremum else np.dtype(np.float64)
    if name == "sum" and weights is None and x.dtype.kind != "f":
        sums = dtype_of_sums(x.dtype, len(offsets), exact=True)
        dtype = dtype if sums.kind == "f" else sums
    result = out.view(x.dtype) if name == "range" else out
    for statistic in ("max", "min") if name == "range" else ("var",) if name == "std" else (name,):
        start, none = (neutral(dtype, statistic), as_pixel(math.nan, dtype)) if is_extremum else (0, 0)
        fill = where.fill if not where.shrink else start
        FOLDS[statistic].run(
            x.size * len(offsets), x, skipped, *where.places, where.size, offsets,
            pixel_weights[pixel_weights != 0].astype(dtype), where.stride, np.array([fill], dtype), not where.shrink,
            np.array([start, none], dtype), statistic == "min" and name == "range", result,
        )  # fmt: skip
    return np.sqrt(out, out=out).astype(own_dtype, copy=False) if name == "std" else out


def _percentile(
    x: HostArray, where: _Windows, footprint: HostArray | None, skipped: HostArray, quantile: float
) -> HostArray:
    out = np.empty(where.shape, dtype_of_statistic(x.dtype, "percentile", False))
    integer, fill = x.dtype.kind != "f", np.array([0 if where.shrink else where.fill], x.dtype)
    none = np.array([as_pixel(math.nan, x.dtype)], x.dtype)
    if footprint is None and where.whole <= LARGEST:
        along = where.size[2]
        edges = (along // 2, x.shape[2] - along + along // 2 + 1) if where.shrink else (0, x.shape[2])
        small_percentiles(where.size, quantile).run(
            x.size * 100, x, skipped, *where.places, edges, where.stride, quantile, where.shrink, integer,
            fill, none, out,
        )  # fmt: skip
        return out
    counted = np.ones(where.size, bool) if footprint is None else footprint.reshape(where.size) != 0
    beside = np.pad(counted, ((0, 0), (0, 0), (1, 1)))
    leaving, entering = counted & ~beside[:, :, :-2], counted & ~beside[:, :, 2:]
    block = max(_PIXELS_OF_BLOCK, 2 * max(where.size))
    percentile.run(
        x.size * 6000, x, skipped, *where.places, where.size, np.argwhere(counted), np.argwhere(leaving),
        np.argwhere(entering), where.stride, block, quantile, where.shrink, integer, fill, none, out,
    )  # fmt: skip
    return out


def _centroid(
    x: HostArray, size: tuple[int, ...], footprint: HostArray | None, weights: HostArray | None, border: str,
    cval: float, stride: tuple[int, ...],
) -> HostArray:  # fmt: skip
    """Return the centroids in pixels of the image, (ndim, ...), in float64."""
    pixel_weights = np.ones(size) if weights is None else weights
    pixel_weights = pixel_weights if footprint is None else pixel_weights * footprint
    axes, zeros = len(size), (0,) * len(size)
    options: dict[str, Any] = {
        "flip": False,
        "mode": "same",
        "border": "constant" if border == "shrink" else border,
        "cval": 0.0 if border == "shrink" else cval,
        "stride": stride,
        "dilation": (1,) * axes,
        "origin": zeros,
        "channel_axis": None,
        "omit": False,
        "method": "separable" if weights is None and footprint is None and axes > 1 else "direct",
        "dtype": "float64",
    }
    spoiled = None
    if x.dtype.kind == "f" and not pixel_weights.all() and not (np.isfinite(x).all() and math.isfinite(cval)):
        # a pixel of weight 0 does not count, whatever it is: those that are not finite are counted beside the sums
        bad = (~np.isfinite(x)).astype(x.dtype)
        beyond = {"cval": 0.0 if border == "shrink" or math.isfinite(cval) else 1.0}
        (spoiled,) = correlate(bad, (pixel_weights != 0).astype(np.float64), **{**options, **beyond})
        x = np.where(bad, x.dtype.type(0), x)
        options["cval"] = options["cval"] if math.isfinite(options["cval"]) else 0.0
    (mass,) = correlate(x, pixel_weights, **options)
    out = np.empty((axes, *mass.shape))
    for axis, k in enumerate(size):
        along = [-1 if a == axis else 1 for a in range(axes)]
        pixels = np.reshape(np.arange(mass.shape[axis]) * float(stride[axis]), along)
        if k == 1:
            out[axis] = pixels
            continue
        (moment,) = correlate(x, pixel_weights * np.reshape(np.arange(k) - k // 2, along), **options)
        with np.errstate(all="ignore"):
            np.divide(moment, mass, out=out[axis])
        out[axis] += pixels
    out[:, (mass == 0) | ~np.isfinite(mass) | (False if spoiled is None else spoiled > 0)] = np.nan
    return out
