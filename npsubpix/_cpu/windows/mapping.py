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
from npsubpix._cpu.compiler.intrinsics import keep, lend, lend_all, lend_to_read, values_from, window_of
from npsubpix._cpu.compiler.jit import Kernel, allocating, device
from npsubpix._cpu.compiler.user_functions import compiled_for_arrays
from npsubpix._definitions.dtypes import converted
from npsubpix._definitions.user_functions import CompiledFunctions, plain_function, values_after
from npsubpix._definitions.user_results import dtype_of_results
from npsubpix._definitions.window_map import Grid, batches_of, bounds_of, offsets_of, padded, require_shapes

__all__ = ["map_batches", "map_windows"]

#: Dtypes of results and compiled loops, by function, types of windows and arguments, size of windows and number of
#: outputs.
_loops: CompiledFunctions[tuple[np.dtype[Any], Kernel]] = CompiledFunctions()

#: Largest number of pixels of windows whose size is compiled into the loop.
_SMALL = 128

_bounds = device(bounds_of)


def _cutter(count: int, cut: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that cuts one window out of each image."""

    @allocating
    def one(x, z, y, c):
        return (cut(x[0], z, y, c),)

    @allocating
    def two(x, z, y, c):
        return cut(x[0], z, y, c), cut(x[1], z, y, c)

    @allocating
    def three(x, z, y, c):
        return cut(x[0], z, y, c), cut(x[1], z, y, c), cut(x[2], z, y, c)

    @allocating
    def four(x, z, y, c):
        return cut(x[0], z, y, c), cut(x[1], z, y, c), cut(x[2], z, y, c), cut(x[3], z, y, c)

    return (one, two, three, four)[count - 1]


def _any_size(ndim: int) -> Callable[..., Any]:
    @allocating
    def cut1(x, z, y, c):
        return x[c[0] : c[1]]

    @allocating
    def cut2(x, z, y, c):
        return x[y[0] : y[1], c[0] : c[1]]

    @allocating
    def cut3(x, z, y, c):
        return x[z[0] : z[1], y[0] : y[1], c[0] : c[1]]

    return (cut1, cut2, cut3)[ndim - 1]


def _one_size(size: tuple[int, ...]) -> Callable[..., Any]:
    window = window_of(size)

    @allocating
    def cut1(x, z, y, c):
        return window(x, (c[0],))

    @allocating
    def cut2(x, z, y, c):
        return window(x, (y[0], c[0]))

    @allocating
    def cut3(x, z, y, c):
        return window(x, (z[0], y[0], c[0]))

    return (cut1, cut2, cut3)[len(size) - 1]


def _picker(ndim: int) -> Callable[..., Any]:
    """Make the function that copies the pixels of a window that count, and that the image has, into a buffer."""

    @allocating
    def pixel1(x, z, y, c):
        return x[c]

    @allocating
    def pixel2(x, z, y, c):
        return x[y, c]

    @allocating
    def pixel3(x, z, y, c):
        return x[z, y, c]

    pixel = (pixel1, pixel2, pixel3)[ndim - 1]

    @allocating
    def pick(buffer, x, z, y, c, offsets, shape):
        n = 0
        for k in range(len(offsets)):
            a, b, d = z + offsets[k, 0], y + offsets[k, 1], c + offsets[k, 2]
            if 0 <= a < shape[0] and 0 <= b < shape[1] and 0 <= d < shape[2]:
                buffer[n] = pixel(x, a, b, d)
                n += 1
        return lend_to_read(buffer[:n])

    return pick


def _pickers(count: int, pick: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the functions that allocate a buffer for the windows of each image, and that fill them."""

    @allocating
    def make_one(x, n):
        return (np.empty(n, x[0].dtype),)

    @allocating
    def make_two(x, n):
        return np.empty(n, x[0].dtype), np.empty(n, x[1].dtype)

    @allocating
    def make_three(x, n):
        return np.empty(n, x[0].dtype), np.empty(n, x[1].dtype), np.empty(n, x[2].dtype)

    @allocating
    def make_four(x, n):
        return np.empty(n, x[0].dtype), np.empty(n, x[1].dtype), np.empty(n, x[2].dtype), np.empty(n, x[3].dtype)

    @allocating
    def one(to, x, z, y, c, of, shape):
        return (pick(lend(to[0]), x[0], z, y, c, of, shape),)

    @allocating
    def two(to, x, z, y, c, of, shape):
        return pick(lend(to[0]), x[0], z, y, c, of, shape), pick(lend(to[1]), x[1], z, y, c, of, shape)

    @allocating
    def three(to, x, z, y, c, of, shape):
        return (
            pick(lend(to[0]), x[0], z, y, c, of, shape), pick(lend(to[1]), x[1], z, y, c, of, shape),
            pick(lend(to[2]), x[2], z, y, c, of, shape),
        )  # fmt: skip

    @allocating
    def four(to, x, z, y, c, of, shape):
        return (
            pick(lend(to[0]), x[0], z, y, c, of, shape), pick(lend(to[1]), x[1], z, y, c, of, shape),
            pick(lend(to[2]), x[2], z, y, c, of, shape), pick(lend(to[3]), x[3], z, y, c, of, shape),
        )  # fmt: skip

    return ((make_one, one), (make_two, two), (make_three, three), (make_four, four))[count - 1]


def _caller(function: Any, count: int, numbers: tuple[bool, ...]) -> Callable[..., Any]:
    """Make the function that calls `function` with windows and with the arguments that follow the images."""
    following = values_from(count, numbers)

    @allocating
    def call(windows, arrays):
        return function(*windows)

    @allocating
    def call_with_arguments(windows, arrays):
        return function(*(windows + following(arrays)))

    return call_with_arguments if numbers else call


def _writer(outputs: int) -> Callable[..., Any]:
    @allocating
    def write_one(out, place, values):
        out[0, place] = values

    @allocating
    def write(out, place, values):
        k = 0
        for value in literal_unroll(values):
            out[k, place] = value
            k += 1  # noqa: SIM113, which Numba cannot unroll

    return write_one if outputs == 1 else write


def _loop(
    function: Any, digest: str | None, count: int, numbers: tuple[bool, ...], size: tuple[int, ...], outputs: int
) -> Kernel:
    """Make the loop over windows; small ones that are not clipped have a constant size, which unrolls loops."""
    cut, put, call = _cutter(count, _any_size(len(size))), _writer(outputs), _caller(function, count, numbers)
    small = math.prod(size) <= _SMALL
    cut_whole = _cutter(count, _one_size(size)) if small else cut

    @allocating
    def map_part(out, places, z, y, arrays, size, before, step, n):
        for k in range(*places):
            put(out, k, call(cut(arrays, z, y, _bounds(k, step, before, size, n)), arrays))

    @allocating
    def map_whole(out, places, z, y, arrays, size, before, step, n):
        for k in range(*places):
            put(out, k, call(cut_whole(arrays, z, y, (k * step - before, n)), arrays))

    @allocating
    def map_line(out, whole, z, y, arrays, size, before, step, n):
        width = out.shape[1]
        first = min(-(-before // step), width) if whole and small else width
        last = min(max((n - size + before) // step + 1, first), width)
        map_part(out, (0, first), z, y, arrays, size, before, step, n)
        if small:
            map_whole(out, (first, last), z, y, arrays, size, before, step, n)
            map_part(out, (last, width), z, y, arrays, size, before, step, n)

    @allocating
    def succeeds(out, whole, z, y, arrays, size, before, step, n):
        try:  # around a line, since around each window it takes as long as a small function
            map_line(out, whole, z, y, arrays, size, before, step, n)
        except Exception:
            return False
        return True

    def loop(arrays, shape, counts, size, before, step, failed, out):
        depth, height, width = counts
        for line in prange(depth * height):
            z = _bounds(line // height, step[0], before[0], size[0], shape[0])
            y = _bounds(line % height, step[1], before[1], size[1], shape[1])
            whole = z[1] - z[0] == size[0] and y[1] - y[0] == size[1]
            row = out[:, line * width : (line + 1) * width]
            failed[line] = not succeeds(row, whole, z, y, lend_all(arrays), size[2], before[2], step[2], shape[2])
        for array in literal_unroll(arrays):
            keep(array)

    return Kernel(loop, "window_map", digest)


def _loop_of_footprint(
    function: Any, digest: str | None, count: int, numbers: tuple[bool, ...], ndim: int, outputs: int
) -> Kernel:
    """Make the loop over windows of which the pixels of a footprint count."""
    put, call = _writer(outputs), _caller(function, count, numbers)
    make, pick_all = _pickers(count, _picker(ndim))

    @allocating
    def succeeds(out, z, y, arrays, buffers, offsets, before, step, shape):
        try:
            for k in range(out.shape[1]):
                put(out, k, call(pick_all(buffers, arrays, z, y, k * step - before, offsets, shape), arrays))
        except Exception:
            return False
        return True

    def loop(arrays, shape, counts, before, step, offsets, failed, out):
        depth, height, width = counts
        for line in prange(depth * height):
            z, y = line // height * step[0] - before[0], line % height * step[1] - before[1]
            row, buffers = out[:, line * width : (line + 1) * width], make(arrays, len(offsets))
            lent = lend_all(arrays)
            failed[line] = not succeeds(row, z, y, lent, buffers, lend(offsets), before[2], step[2], shape)
        for array in literal_unroll(arrays):
            keep(array)
        keep(offsets)

    return Kernel(loop, "window_map", digest)


def _compiled(func: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Any, str | None]:
    """Compile a function for arguments of types; return it, the type of its result and its digest."""
    try:
        return compiled_for_arrays(func, arguments)
    except Exception as error:  # of Numba, and of Python for what is no plain function
        raise TypeError(
            "func must be a plain function that Numba can compile, or one of NumPy's that Numba implements; or be "
            f"called with vectorized=True, for batches of windows: {error}"
        ) from None


def map_windows(
    *images: HostArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None, args: tuple[Any, ...],
    footprint: HostArray | None,
) -> tuple[HostArray, ...]:  # fmt: skip
    """Call a function, compiled, with each window; return one array per output."""
    values_after(func, len(images), args)
    grid = Grid.over(images[0].shape, size, stride, border)
    xs = tuple(padded(x, size, stride, border, cval, np.asarray) for x in images)
    numbers = tuple(not isinstance(a, np.ndarray) for a in args)
    arrays = (*xs, *(np.array([a]) if number else a for a, number in zip(args, numbers, strict=True)))
    arguments = (*(_window_type(x, footprint is not None) for x in xs), *map(_argument_type, args))

    def compile_() -> tuple[np.dtype[Any], Kernel]:
        compiled, returned, digest = _compiled(func, arguments)
        own_dtype = dtype_of_results(returned, n_outputs)
        if footprint is None:
            return own_dtype, _loop(compiled, digest, len(xs), numbers, size, n_outputs)
        return own_dtype, _loop_of_footprint(compiled, digest, len(xs), numbers, xs[0].ndim, n_outputs)

    windows = size if footprint is None else len(size)
    own_dtype, kernel = _loops.get(func, (arguments, len(xs), windows, n_outputs), compile_)
    out = np.empty((n_outputs, math.prod(grid.counts)), own_dtype)
    failed = np.zeros(math.prod(grid.counts[:-1]), bool)
    work = out.size * (20 + 4 * math.prod(size))
    if footprint is None:
        kernel.run(work, arrays, *grid.three, failed, out)
    else:
        shape, counts, _, before, step = grid.three
        kernel.run(work, arrays, shape, counts, before, step, offsets_of(footprint), failed, out)
    if failed.any():
        _raise_again(func, xs, args, footprint, grid, int(failed.argmax()))
    return tuple(converted(result, dtype) for result in out.reshape(n_outputs, *grid.counts))


def _window_type(image: HostArray, in_buffer: bool) -> Any:
    """Return the type of windows; those of one axis keep the order in memory, and with it vector loops."""
    layout = "C" if in_buffer or (image.ndim == 1 and image.flags.c_contiguous) else "A"
    array_type: Any = types.Array
    return array_type(numba.from_dtype(image.dtype), 1 if in_buffer else image.ndim, layout, readonly=True)


def _argument_type(value: Any) -> Any:
    found = numba.typeof(value)
    return found.copy(readonly=True) if isinstance(found, types.Array) else found


def _raise_again(
    function: Callable[..., Any], images: Sequence[HostArray], args: tuple[Any, ...], footprint: HostArray | None,
    grid: Grid, line: int,
) -> None:  # fmt: skip
    """Call the function, not compiled, with windows of the first line in which it raised, until it does again."""
    place = [int(p) for p in np.unravel_index(line, grid.counts[:-1])]
    for k in range(grid.counts[-1]):
        axes = list(zip((*place, k), grid.stride, grid.before, grid.size, grid.shape, strict=True))
        window = tuple(slice(*bounds_of(*axis)) for axis in axes)
        firsts = [p * step - before for p, step, before, _, _ in axes]
        part = tuple(slice(w.start - first, w.stop - first) for w, first in zip(window, firsts, strict=True))
        counted = () if footprint is None else (footprint[part],)
        plain_function(function)(*(x[window][counted] for x in images), *args)
    raise RuntimeError(f"func raised an exception for a window of line {tuple(place)}, but only when it was compiled")


def map_batches(
    *images: HostArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None, args: tuple[Any, ...],
    footprint: HostArray | None, max_memory: int,
) -> tuple[HostArray, ...]:  # fmt: skip
    """Call a function with batches of windows of one shape, (N, *shape); return one array per output."""
    grid = Grid.over(images[0].shape, size, stride, border)
    xs = [padded(x, size, stride, border, cval, np.asarray) for x in images]
    out: HostArray | None = None
    for batch in batches_of(xs, grid, max_memory, _all_windows):
        counted = () if footprint is None else (slice(None), footprint[batch.part])
        stacks = [windows.reshape(-1, *batch.size)[counted] for windows in batch.windows]
        values = func(*stacks, *args)
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
