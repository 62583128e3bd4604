"""Sums, moments, extrema and percentiles of windows on the host: which kernel does which."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.convolution import correlate
from npsubpix._cpu.launch import promoted
from npsubpix._cpu.windows.footprints import FOLDS
from npsubpix._cpu.windows.percentiles import percentile
from npsubpix._cpu.windows.running import RUNNING, columns_of_tile, rows_of_band
from npsubpix._cpu.windows.running_variance import running_var
from npsubpix._cpu.windows.small_percentiles import LARGEST, small_percentiles
from npsubpix._definitions.borders import as_pixel, window_places
from npsubpix._definitions.dtypes import converted
from npsubpix._definitions.windows import check_contents

__all__ = ["reduce_windows"]

_MOST_IN_FLOAT32 = 4096  # pixels of a window whose sums keep to single precision
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
    counts = tuple(-(-n // s) for n, s in zip(shape, stride, strict=True))
    places = tuple(window_places(*axis, border) for axis in zip(shape, size, stride, strict=True))
    return _Windows(size, stride, counts, places, border == "shrink", cval)


def reduce_windows(
    image: HostArray, footprint: HostArray | None, weights: HostArray | None, *, reduction: str, size: tuple[int, ...],
    border: str, cval: float, stride: tuple[int, ...], q: float, dtype: np.dtype[Any] | None,
) -> tuple[HostArray]:  # fmt: skip
    """Reduce the windows of an image of one to three dimensions, in a dtype or in that which suits the results."""
    check_contents(reduction, footprint, weights)
    factors = None if weights is None else weights.astype(np.float64)
    reduced = _reduced(image, reduction, size, footprint, factors, border, cval, stride, q)
    return (converted(reduced, dtype),)


def _reduced(
    x: HostArray, name: str, size: tuple[int, ...], footprint: HostArray | None, weights: HostArray | None,
    border: str, cval: float, stride: tuple[int, ...], q: float,
) -> HostArray:  # fmt: skip
    if border == "shrink" and footprint is None and weights is None:
        size = tuple(min(k, 2 * n) for k, n in zip(size, x.shape, strict=True))  # which has all pixels from anywhere
    if name == "centroid":
        return _centroid(x, size, footprint, weights, border, cval, stride)
    ones = 3 - x.ndim
    x3 = x.reshape((1,) * ones + x.shape)
    where = _windows(x3.shape, (1,) * ones + size, (1,) * ones + stride, border, as_pixel(cval, x.dtype))
    if name in ("median", "percentile"):
        out = _percentile(x3, where, footprint, q)
    elif footprint is None and weights is None and not (name in ("var", "std") and where.size[0] > 1):
        out = _fast(x3, where, name)
    else:
        out = _any_form(x3, where, name, footprint, weights)
    return out.reshape(out.shape[ones:])


def _result_dtype(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    if name in ("mean", "var", "std"):
        return promoted(dtype)
    if dtype.kind == "f" or name in ("min", "max"):
        return dtype
    if name == "sum":
        return np.dtype(np.uint64 if dtype == np.uint64 else np.int64)
    return np.dtype(f"u{dtype.itemsize}")


def _sum_dtype(dtype: np.dtype[Any], name: str, count: int) -> np.dtype[Any]:
    """Return the dtype in which sums of `count` pixels are exact, or as good as the image."""
    if dtype.itemsize == 1:
        return np.dtype(np.float32 if 255 * count < 2**24 else np.float64)
    if dtype == np.float32 and count <= _MOST_IN_FLOAT32:
        return dtype
    exact = dtype.kind == "f" or dtype.itemsize < 4 or (dtype.itemsize == 4 and count < 2**21)
    if exact or name == "mean":
        return np.dtype(np.float64)
    return np.dtype(np.uint64 if dtype == np.uint64 else np.int64)


def _ends(dtype: np.dtype[Any], name: str) -> tuple[Any, Any]:
    """Return what is beyond all values of a dtype, where the search for an extremum begins, and what none is."""
    low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return (low if name == "max" else high), (np.nan if dtype.kind == "f" else 0)


def _fast(x: HostArray, where: _Windows, name: str) -> HostArray:
    """Reduce whole windows, whatever their size, at one cost."""
    out = np.empty(where.shape, _result_dtype(x.dtype, name))
    work = x.size * 30
    if name in ("var", "std"):
        tile, band = columns_of_tile(where.size[1], 16), rows_of_band(where.size[1])
        running_var.run(
            work, x, *where.places[1:], where.size[1:], where.stride[1:], float(where.fill), where.shrink,
            name == "std", tile, band, out,
        )  # fmt: skip
    elif name == "range":
        signed = out.view(x.dtype)  # where differences wrap to what they are without a sign
        _run(x, where, "max", x.dtype, signed, False)
        _run(x, where, "min", x.dtype, signed, True)
    elif name in ("min", "max"):
        _run(x, where, name, x.dtype, out, False)
    else:
        _run(x, where, name, _sum_dtype(x.dtype, name, where.whole), out, False)
    return out


def _run(x: HostArray, where: _Windows, name: str, dtype: np.dtype[Any], out: HostArray, subtract: bool) -> None:
    """Run over each plane, and then, if windows are deeper than one, over the planes."""
    kind = "sum" if name == "mean" else name
    beyond = where.fill if not where.shrink else 0 if kind == "sum" else _ends(dtype, name)[0]
    fill = np.array([beyond], dtype)
    down, across = (_shares(where, axis, dtype) if name == "mean" else np.empty(0, dtype) for axis in (1, 2))
    deep = where.size[0] > 1 or where.stride[0] > 1
    none = np.empty(0, dtype)
    planes = np.empty((x.shape[0], *where.shape[1:]), dtype) if deep else out
    _run_2d(
        x, kind, where.places[1:], where.size[1:], where.stride[1:], fill, *((none, none) if deep else (down, across)),
        subtract and not deep, planes,
    )  # fmt: skip
    if deep:
        each = np.multiply.outer(down, across).reshape(-1) if name == "mean" else none
        deeper = _shares(where, 0, dtype) if name == "mean" else none
        n = math.prod(where.shape[1:])
        if kind == "sum" and not where.shrink:
            fill = fill * dtype.type(math.prod(where.size[1:]))
        _run_2d(
            planes.reshape(1, len(planes), n), kind, (where.places[0], np.arange(n)), (where.size[0], 1),
            (where.stride[0], 1), fill, deeper, each, subtract, out.reshape(1, -1, n),
        )  # fmt: skip


def _run_2d(
    x: HostArray, kind: str, places: Any, size: Any, stride: Any, fill: HostArray, down: HostArray, across: HostArray,
    subtract: bool, out: HostArray,
) -> None:  # fmt: skip
    tile, band = columns_of_tile(size[0], fill.itemsize), rows_of_band(size[0])
    if kind in ("min", "max") and x.dtype.kind == "f" and not subtract:
        bits = np.dtype(f"i{x.itemsize}")
        kind, x, out, fill = f"{kind} of {bits}", x.view(bits), out.view(bits), fill.view(bits)
        down = across = fill[:0]
    RUNNING[kind].run(x.size * 10, x, *places, size, stride, fill, down, across, tile, band, subtract, out)


def _shares(where: _Windows, axis: int, dtype: np.dtype[Any]) -> HostArray:
    """Return 1 over how many pixels along an axis count, for each window."""
    counts = (where.places[axis] >= 0) if where.shrink else np.ones(where.places[axis].size)
    total = np.concatenate([[0], np.cumsum(counts)])
    first = np.arange(where.shape[axis]) * where.stride[axis]
    return np.asarray(1 / (total[first + where.size[axis]] - total[first]), dtype)


def _any_form(
    x: HostArray, where: _Windows, name: str, footprint: HostArray | None, weights: HostArray | None
) -> HostArray:
    """Reduce windows pixel by pixel of them."""
    given = np.ones(where.size) if footprint is None else footprint.reshape(where.size) != 0
    factors = given * (1.0 if weights is None else weights.reshape(where.size))
    offsets = np.argwhere(factors != 0)
    out_dtype = _result_dtype(x.dtype, name)
    if name == "sum" and weights is not None:
        out_dtype = promoted(x.dtype)
    out = np.empty(where.shape, out_dtype)
    extreme = name in ("min", "max", "range")
    exact = name == "sum" and weights is None and x.dtype.kind != "f" and x.dtype.itemsize == 8
    dtype = x.dtype if extreme or exact else np.dtype(np.float64)
    result = out.view(x.dtype) if name == "range" else out
    for kind in ("max", "min") if name == "range" else ("var",) if name == "std" else (name,):
        ends = np.array(_ends(dtype, kind) if extreme else (0, 0), dtype)
        fill = ends[:1] if extreme and where.shrink else np.array([0 if where.shrink else where.fill], dtype)
        FOLDS[kind].run(
            x.size * len(offsets), x, *where.places, where.size, offsets, factors[factors != 0].astype(dtype),
            where.stride, fill, not where.shrink, ends, kind == "min" and name == "range", result,
        )  # fmt: skip
    return np.sqrt(out, out=out) if name == "std" else out


def _percentile(x: HostArray, where: _Windows, footprint: HostArray | None, q: float) -> HostArray:
    out = np.empty(where.shape, x.dtype)
    integer, fill = x.dtype.kind != "f", np.array([0 if where.shrink else where.fill], x.dtype)
    if footprint is None and where.whole <= LARGEST:
        along = where.size[2]
        edges = (along // 2, x.shape[2] - along + along // 2 + 1) if where.shrink else (0, x.shape[2])
        small_percentiles(where.size, q).run(
            x.size * 100, x, *where.places, edges, where.stride, where.shrink, integer, fill, out
        )
        return out
    form = np.ones(where.size, bool) if footprint is None else footprint.reshape(where.size) != 0
    beside = np.pad(form, ((0, 0), (0, 0), (1, 1)))
    leaving, entering = form & ~beside[:, :, :-2], form & ~beside[:, :, 2:]
    block, none = max(_PIXELS_OF_BLOCK, 2 * max(where.size)), np.array([0 if integer else np.nan], x.dtype)
    percentile.run(
        x.size * 300, x, *where.places, where.size, np.argwhere(form), np.argwhere(leaving), np.argwhere(entering),
        where.stride, block, q, where.shrink, integer, fill, none, out,
    )  # fmt: skip
    return out


def _centroid(
    x: HostArray, size: tuple[int, ...], footprint: HostArray | None, weights: HostArray | None, border: str,
    cval: float, stride: tuple[int, ...],
) -> HostArray:  # fmt: skip
    """Return the centroids, positions in the image: an array of coordinates of each axis, in float64."""
    factors = np.ones(size) if weights is None else weights
    factors = factors if footprint is None else factors * footprint
    axes, zeros = len(size), (0,) * len(size)
    options: dict[str, Any] = {
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
    (mass,) = correlate(x, factors, **options)
    out = np.empty((axes, *mass.shape))
    for axis, k in enumerate(size):
        along = [-1 if a == axis else 1 for a in range(axes)]
        pixels = np.reshape(np.arange(mass.shape[axis]) * float(stride[axis]), along)
        if k == 1:
            out[axis] = pixels
            continue
        (moment,) = correlate(x, factors * np.reshape(np.arange(k) - k // 2, along), **options)
        with np.errstate(all="ignore"):
            np.divide(moment, mass, out=out[axis])
        out[axis] += pixels
    out[:, (mass == 0) | ~np.isfinite(mass)] = np.nan
    return out
