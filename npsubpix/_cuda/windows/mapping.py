"""Functions of windows on the GPU: compiled by numba.cuda, or called with batches of windows."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._cuda.launch.devices import Device, blocks_for, device_of
from npsubpix._cuda.launch.kernels import DeviceArray
from npsubpix._definitions.convolution import windows_along
from npsubpix._definitions.dtypes import HostArray, converted
from npsubpix._definitions.user_functions import CompiledFunctions, values_after
from npsubpix._definitions.window_map import Grid, batches_of, offsets_of, padded, require_shapes

__all__ = ["map_batches", "map_windows"]

_THREADS = 128  # of a block: compiled functions may take many registers

#: Dtypes of results and compiled kernels, by function, dtypes of images, types of arguments, dimensions, pixels of a
#: footprint and number of outputs.
_kernels: CompiledFunctions[tuple[np.dtype[Any], Any]] = CompiledFunctions()


def map_windows(
    *images: DeviceArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None, args: tuple[Any, ...],
    footprint: HostArray | None,
) -> tuple[DeviceArray, ...]:  # fmt: skip
    """Call a function, compiled, with each window; return one array per output."""
    try:
        from npsubpix._cuda.windows import numba_loops
    except ImportError:
        raise TypeError(
            "func must be the name of a reduction, such as 'mean', for arrays on a GPU without numba.cuda, which "
            "numba-cuda has: or pass vectorized=True, or move the images to the host"
        ) from None
    device, grid = device_of(images[0]), Grid.over(images[0].shape, size, stride, border)
    xs = tuple(padded(x, size, stride, border, cval, device.put) for x in images)
    values = tuple(map(_number, values_after(func, len(xs), args)))
    offsets = None if footprint is None else offsets_of(footprint)
    counted = 0 if offsets is None else len(offsets)
    compiled_for = (tuple(x.dtype for x in xs), numba_loops.types_of(values), len(size), counted, n_outputs)
    own_dtype, kernel = _kernels.get(
        func, compiled_for, lambda: numba_loops.compile_loop(func, xs, values, counted, n_outputs)
    )
    out = device.empty((n_outputs, math.prod(grid.counts)), own_dtype)
    blocks = blocks_for(out.shape[1], each=_THREADS)
    places = device.put(np.zeros((1, 3), np.int64) if offsets is None else offsets)
    numba_loops.launch(kernel, blocks, _THREADS, device.stream(), xs, values, grid, places, out)
    return tuple(converted(result, dtype) for result in out.reshape((n_outputs, *grid.counts)))


def _number(value: Any) -> Any:
    """Require a number or an array of the device, as kernels of numba.cuda take them."""
    if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)) or hasattr(value, "dtype"):
        return value
    raise TypeError(f"func must have numbers for args and defaults on a GPU, got {value!r}")


def map_batches(
    *images: DeviceArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None, args: tuple[Any, ...],
    footprint: HostArray | None, max_memory: int,
) -> tuple[DeviceArray, ...]:  # fmt: skip
    """Call a function with batches of windows of one shape, (N, *shape); return one array per output."""
    device, grid = device_of(images[0]), Grid.over(images[0].shape, size, stride, border)
    xs = [padded(x, size, stride, border, cval, device.put) for x in images]
    out: DeviceArray | None = None
    for batch in batches_of(xs, grid, max_memory, functools.partial(_all_windows, device)):
        stacks = [device.rows(w, w.shape, w.dtype).reshape((-1, *batch.size)) for w in batch.windows]
        if footprint is not None:
            places = device.put(np.flatnonzero(footprint[batch.part]))
            stacks = [stack.reshape((len(stack), -1))[:, places] for stack in stacks]
        results = _results(func(*stacks, *args), stacks[0], n_outputs)
        own_dtype = np.result_type(*(r.dtype for r in results), *(() if out is None else (out.dtype,)))
        out = device.empty((n_outputs, *grid.counts), own_dtype) if out is None else out.astype(own_dtype, copy=False)
        for k, result in enumerate(results):
            out[k][batch.places] = result.reshape(batch.counts)
    out = device.empty((n_outputs, *grid.counts), np.float64) if out is None else out
    return tuple(converted(result, dtype) for result in out)


def _all_windows(device: Device, x: DeviceArray, size: tuple[int, ...], stride: tuple[int, ...]) -> DeviceArray:
    """View all windows of an array without a copy: (*windows, *size)."""
    counts = tuple(windows_along(n, k, "valid", s, 1, 0).windows for n, k, s in zip(x.shape, size, stride, strict=True))
    # A step beyond the end is never taken, and may be more than a stride can be.
    strides = tuple(b * min(s, n) for b, n, s in zip(x.strides, x.shape, stride, strict=True))
    return device.strided(x, (*counts, *size), (*strides, *x.strides))


def _results(values: Any, batch: DeviceArray, outputs: int) -> list[DeviceArray]:
    """Require one array of results per output, on the device of the batch."""
    results = list(values) if isinstance(values, tuple) else [values]
    for r in results:
        if not isinstance(r, type(batch)) and len(results) == outputs:
            raise TypeError(
                f"func must return arrays of {type(batch).__name__}, as it is given, got {type(r).__name__}"
            )
    require_shapes(results, outputs, batch.shape[0])
    return results
