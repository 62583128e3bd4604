"""Functions of windows on the host: compiled into a loop, or called with batches of windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba import literal_unroll, prange
from numba.core import types

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import keep, lend_to_read, window_of
from npsubpix._cpu.compiler.jit import Kernel, compile_function_of_arrays, device
from npsubpix._definitions.dtypes import converted
from npsubpix._definitions.user_functions import CompiledFunctions
from npsubpix._definitions.user_results import dtype_of_results
from npsubpix._definitions.window_map import Grid, batches_of, bounds_of, padded, require_shapes

__all__ = ["map_batches", "map_windows"]

#: Dtypes of results and compiled loops, by function, dtypes of images, size of windows and number of outputs.
_loops: CompiledFunctions[tuple[np.dtype[Any], Kernel]] = CompiledFunctions()

#: Largest number of pixels of windows whose size is compiled into the loop.
_SMALL = 128

_bounds = device(bounds_of)


def _lender(count: int) -> Callable[..., Any]:
    """Make the function that lends each image of a tuple."""

    @device
    def one(x):
        return (lend_to_read(x[0]),)

    @device
    def two(x):
        return lend_to_read(x[0]), lend_to_read(x[1])

    @device
    def three(x):
        return lend_to_read(x[0]), lend_to_read(x[1]), lend_to_read(x[2])

    @device
    def four(x):
        return lend_to_read(x[0]), lend_to_read(x[1]), lend_to_read(x[2]), lend_to_read(x[3])

    return (one, two, three, four)[count - 1]


def _cutter(count: int, cut: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that cuts one window out of each image."""

    @device
    def one(x, z, y, c):
        return (cut(x[0], z, y, c),)

    @device
    def two(x, z, y, c):
        return cut(x[0], z, y, c), cut(x[1], z, y, c)

    @device
    def three(x, z, y, c):
        return cut(x[0], z, y, c), cut(x[1], z, y, c), cut(x[2], z, y, c)

    @device
    def four(x, z, y, c):
        return cut(x[0], z, y, c), cut(x[1], z, y, c), cut(x[2], z, y, c), cut(x[3], z, y, c)

    return (one, two, three, four)[count - 1]


def _any_size(ndim: int) -> Callable[..., Any]:
    @device
    def cut2(x, z, y, c):
        return x[y[0] : y[1], c[0] : c[1]]

    @device
    def cut3(x, z, y, c):
        return x[z[0] : z[1], y[0] : y[1], c[0] : c[1]]

    return cut2 if ndim == 2 else cut3


def _one_size(size: tuple[int, ...]) -> Callable[..., Any]:
    window = window_of(size)

    @device
    def cut2(x, z, y, c):
        return window(x, (y[0], c[0]))

    @device
    def cut3(x, z, y, c):
        return window(x, (z[0], y[0], c[0]))

    return cut2 if len(size) == 2 else cut3


def _writer(outputs: int) -> Callable[..., Any]:
    @device
    def write_one(out, place, values):
        out[0, place] = values

    @device
    def write(out, place, values):
        k = 0
        for value in literal_unroll(values):
            out[k, place] = value
            k += 1  # noqa: SIM113, which Numba cannot unroll

    return write_one if outputs == 1 else write


def _loop(function: Any, count: int, size: tuple[int, ...], outputs: int) -> Kernel:
    """Make the loop over windows; small ones that are not clipped have a constant size, which unrolls loops."""
    lend_all, cut, put = _lender(count), _cutter(count, _any_size(len(size))), _writer(outputs)
    small = math.prod(size) <= _SMALL
    cut_whole = _cutter(count, _one_size(size)) if small else cut

    @device
    def map_part(out, places, z, y, images, size, before, step, n):
        for k in range(*places):
            put(out, k, function(*cut(images, z, y, _bounds(k, step, before, size, n))))

    @device
    def map_whole(out, places, z, y, images, size, before, step, n):
        for k in range(*places):
            put(out, k, function(*cut_whole(images, z, y, (k * step - before, n))))

    @device
    def map_line(out, whole, z, y, images, size, before, step, n):
        width = out.shape[1]
        first = min(-(-before // step), width) if whole and small else width
        last = min(max((n - size + before) // step + 1, first), width)
        map_part(out, (0, first), z, y, images, size, before, step, n)
        if small:
            map_whole(out, (first, last), z, y, images, size, before, step, n)
            map_part(out, (last, width), z, y, images, size, before, step, n)

    @device
    def succeeds(out, whole, z, y, images, size, before, step, n):
        try:  # around a line, since around each window it takes as long as a small function
            map_line(out, whole, z, y, images, size, before, step, n)
        except Exception:
            return False
        return True

    def loop(images, shape, counts, size, before, step, failed, out):
        depth, height, width = counts
        for line in prange(depth * height):
            z = _bounds(line // height, step[0], before[0], size[0], shape[0])
            y = _bounds(line % height, step[1], before[1], size[1], shape[1])
            whole = z[1] - z[0] == size[0] and y[1] - y[0] == size[1]
            row = out[:, line * width : (line + 1) * width]
            failed[line] = not succeeds(row, whole, z, y, lend_all(images), size[2], before[2], step[2], shape[2])
        for image in literal_unroll(images):
            keep(image)

    return Kernel(loop, "window_map", cached=False)


def _compiled(func: Callable[..., Any], images: Sequence[HostArray]) -> tuple[Any, Any]:
    """Compile a function for windows of images; return it and the type of what it returns."""
    windows = tuple(types.Array(numba.from_dtype(x.dtype), x.ndim, "A", readonly=True) for x in images)
    try:
        compiled = compile_function_of_arrays(func, windows)
    except Exception as error:  # of Numba, and of Python for what is no plain function
        raise TypeError(
            f"func must be a plain function that Numba can compile, or be called with vectorized=True: {error}"
        ) from None
    return compiled, compiled.overloads[windows].signature.return_type


def map_windows(
    *images: HostArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None,
) -> tuple[HostArray, ...]:  # fmt: skip
    """Call a function, compiled, with each window; return one array per output."""
    grid = Grid.over(images[0].shape, size, stride, border)
    xs = tuple(padded(x, size, stride, border, cval, np.asarray) for x in images)

    def compile_() -> tuple[np.dtype[Any], Kernel]:
        compiled, returned = _compiled(func, xs)
        return dtype_of_results(returned, n_outputs), _loop(compiled, len(xs), size, n_outputs)

    own_dtype, kernel = _loops.get(func, (tuple(x.dtype for x in xs), size, n_outputs), compile_)
    out = np.empty((n_outputs, math.prod(grid.counts)), own_dtype)
    failed = np.zeros(math.prod(grid.counts[:-1]), bool)
    kernel.run(out.size * (20 + 4 * math.prod(size)), xs, *grid.three, failed, out)
    if failed.any():
        _raise_again(func, xs, grid, int(failed.argmax()))
    return tuple(converted(result, dtype) for result in out.reshape(n_outputs, *grid.counts))


def _raise_again(function: Callable[..., Any], images: Sequence[HostArray], grid: Grid, line: int) -> None:
    """Call the function, not compiled, with windows of the first line in which it raised, until it does again."""
    place = [int(p) for p in np.unravel_index(line, grid.counts[:-1])]
    for k in range(grid.counts[-1]):
        axes = zip((*place, k), grid.stride, grid.before, grid.size, grid.shape, strict=True)
        window = tuple(slice(*bounds_of(*axis)) for axis in axes)
        getattr(function, "py_func", function)(*(x[window] for x in images))
    raise RuntimeError(f"func raised an exception for a window of line {tuple(place)}, but only when it was compiled")


def map_batches(
    *images: HostArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None, max_memory: int,
) -> tuple[HostArray, ...]:  # fmt: skip
    """Call a function with batches of windows of one shape, (N, *shape); return one array per output."""
    grid = Grid.over(images[0].shape, size, stride, border)
    xs = [padded(x, size, stride, border, cval, np.asarray) for x in images]
    out: HostArray | None = None
    for batch in batches_of(xs, grid, max_memory, _all_windows):
        values = func(*(windows.reshape(-1, *batch.size) for windows in batch.windows))
        results = [np.asarray(v) for v in (values if isinstance(values, tuple) else (values,))]
        require_shapes(results, n_outputs, math.prod(batch.counts))
        if out is None:
            out = np.empty((n_outputs, *grid.counts), np.result_type(*results))
        out = out.astype(np.result_type(out, *results), copy=False)
        for k, result in enumerate(results):
            out[k][batch.places] = result.reshape(batch.counts)
    out = np.empty((n_outputs, *grid.counts)) if out is None else out
    return tuple(converted(result, dtype) for result in out)


def _all_windows(x: HostArray, size: tuple[int, ...], stride: tuple[int, ...]) -> HostArray:
    """View all windows of an array without a copy: (*windows, *size)."""
    view = np.lib.stride_tricks.sliding_window_view(x, size)
    return np.asarray(view[tuple(slice(None, None, s) for s in stride)])
