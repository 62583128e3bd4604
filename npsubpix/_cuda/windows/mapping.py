"""Functions of windows on the GPU: compiled by numba.cuda, or called with batches of windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npsubpix._cuda.launch.devices import Device, blocks_for, device_of
from npsubpix._cuda.launch.kernels import DeviceArray
from npsubpix._definitions.borders import as_pixel, counts_of, parts_of, window_places
from npsubpix._definitions.dtypes import converted
from npsubpix._definitions.user_functions import identity_of

__all__ = ["map_batches", "map_windows"]

_THREADS = 128  # of a block: compiled functions may take many registers

#: Dtypes of results and compiled kernels, by what the function does, the dtypes of images, dimensions and outputs.
_kernels: dict[Any, tuple[np.dtype[Any], Any]] = {}

_kept: list[Any] = []  # what identities know by address


def map_windows(
    *images: DeviceArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None,
) -> tuple[DeviceArray, ...]:  # fmt: skip
    """Call a function, compiled, with each window; return results (outputs, *counts)."""
    mapped = _map_windows(func, images, size, border, cval, stride, n_outputs)
    return tuple(converted(result, dtype) for result in mapped)


def _map_windows(
    func: Callable[..., Any], images: Sequence[DeviceArray], size: tuple[int, ...], border: str, cval: float,
    step: tuple[int, ...], outputs: int,
) -> DeviceArray:  # fmt: skip
    try:
        from npsubpix._cuda.windows import numba_loops
    except ImportError:
        raise TypeError(
            "func must be the name of a reduction, such as 'mean', for arrays on a GPU without numba.cuda, which "
            "numba-cuda has: or pass vectorized=True, or move the images to the host"
        ) from None
    device, counts = device_of(images[0]), counts_of(images[0].shape, step)
    images, back = _extended(device, images, size, step, border, cval)
    key = identity_of(func, _kept), tuple(x.dtype for x in images), len(size), outputs
    if key not in _kernels:
        _kernels[key] = numba_loops.compile_loop(func, images, outputs)
    dtype, kernel = _kernels[key]
    out = device.empty((outputs, math.prod(counts)), dtype)
    three = [
        (fill,) * (3 - len(size)) + tuple(v)
        for v, fill in ((images[0].shape, 1), (counts, 1), (size, 1), (back, 0), (step, 1))
    ]
    blocks = blocks_for(out.shape[1], each=_THREADS)
    numba_loops.launch(kernel, blocks, _THREADS, device.stream(), tuple(images), *three, out)
    return out.reshape((outputs, *counts))


def _extended(
    device: Device, images: Sequence[DeviceArray], size: tuple[int, ...], step: tuple[int, ...], border: str,
    cval: float,
) -> tuple[list[DeviceArray], tuple[int, ...]]:  # fmt: skip
    """Return images with what windows reach beyond their ends, and how far the first window begins before them."""
    if border == "shrink":
        return list(images), tuple(k // 2 for k in size)
    return [_padded(device, x, size, step, border, cval) for x in images], (0,) * len(size)


def _padded(
    device: Device, x: DeviceArray, size: tuple[int, ...], step: tuple[int, ...], border: str, cval: float
) -> DeviceArray:
    fill = as_pixel(cval, x.dtype)
    for axis, (n, k, s) in enumerate(zip(x.shape, size, step, strict=True)):
        places = window_places(n, k, s, border)
        inside = np.flatnonzero(places >= 0)
        x = x.take(device.put(np.maximum(places, 0)), axis)
        if border == "constant":  # which is a run of pixels with nothing before and after it
            along = x.swapaxes(0, axis)
            along[: inside[0]] = fill
            along[inside[-1] + 1 :] = fill
    return device.rows(x, x.shape, x.dtype)


def map_batches(
    *images: DeviceArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None, max_memory: int,
) -> tuple[DeviceArray, ...]:  # fmt: skip
    """Call a function with batches of windows of one shape, (N, *shape); return results (outputs, *counts)."""
    mapped = _map_batches(func, images, size, border, cval, stride, n_outputs, max_memory)
    return tuple(converted(result, dtype) for result in mapped)


def _map_batches(
    func: Callable[..., Any], images: Sequence[DeviceArray], size: tuple[int, ...], border: str, cval: float,
    step: tuple[int, ...], outputs: int, memory: int,
) -> DeviceArray:  # fmt: skip
    device, counts, whole = device_of(images[0]), counts_of(images[0].shape, step), images[0].shape
    images, back = _extended(device, images, size, step, border, cval)
    axes = [[(slice(0, c), slice(0, n), k)] for c, n, k in zip(counts, images[0].shape, size, strict=True)]
    if border == "shrink":
        axes = [parts_of(n, k, s, b) for n, k, s, b in zip(whole, size, step, back, strict=True)]
    out: DeviceArray | None = None
    for part in itertools.product(*axes):
        places, lengths = tuple(p[0] for p in part), tuple(p[2] for p in part)
        views = [_views(device, x[tuple(p[1] for p in part)], lengths, step) for x in images]
        here = views[0].shape[: len(size)]
        each = sum(x.itemsize for x in images) * math.prod(lengths) * math.prod(here[1:])
        rows = max(1, memory // max(each, 1))
        for first in range(0, here[0], rows):
            chunk = [v[first : first + rows] for v in views]
            shape = chunk[0].shape[: len(size)]
            batches = [device.rows(c, c.shape, c.dtype).reshape((-1, *lengths)) for c in chunk]
            results = _checked(func(*batches), batches[0], outputs)
            dtype = np.result_type(*(r.dtype for r in results), *(() if out is None else (out.dtype,)))
            out = device.empty((outputs, *counts), dtype) if out is None else out.astype(dtype, copy=False)
            for k, result in enumerate(results):
                rows_here = slice(places[0].start + first, places[0].start + first + shape[0])
                out[tuple([k, rows_here, *places[1:]])] = result.reshape(shape)  # noqa: C409, for Python 3.10
    return device.empty((outputs, *counts), np.float64) if out is None else out


def _views(device: Device, x: DeviceArray, lengths: tuple[int, ...], step: tuple[int, ...]) -> DeviceArray:
    """View all windows of an array without a copy: (*windows, *lengths)."""
    counts = tuple((n - k) // s + 1 for n, k, s in zip(x.shape, lengths, step, strict=True))
    # A step beyond the end is never taken, and may be more than a stride can be.
    strides = tuple(b * min(s, n) for b, n, s in zip(x.strides, x.shape, step, strict=True))
    return device.strided(x, (*counts, *lengths), (*strides, *x.strides))


def _checked(values: Any, batch: DeviceArray, outputs: int) -> list[DeviceArray]:
    """Require one array of results an output, where the batch is."""
    results = list(values) if isinstance(values, tuple) else [values]
    for r in results:
        if not isinstance(r, type(batch)) and len(results) == outputs:
            raise TypeError(
                f"func must return arrays of {type(batch).__name__}, as it is given, got {type(r).__name__}"
            )
    if len(results) != outputs or any(r.shape != batch.shape[:1] for r in results):
        shapes = [tuple(getattr(r, "shape", ())) for r in results]
        raise ValueError(
            f"func must return n_outputs = {outputs} arrays of shape ({batch.shape[0]},), got shapes {shapes}"
        )
    return results
