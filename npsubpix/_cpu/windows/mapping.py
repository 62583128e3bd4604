"""Functions of windows on the host: compiled into a loop, or called with batches of windows."""

from __future__ import annotations

import itertools
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
from npsubpix._definitions.borders import as_pixel, counts_of, extended, parts_of, window_places
from npsubpix._definitions.dtypes import converted
from npsubpix._definitions.user_functions import identity_of
from npsubpix._definitions.user_results import dtype_of_results

__all__ = ["map_batches", "map_windows"]

#: Dtypes of results and compiled loops, by what the function does, the dtypes of images, dimensions and outputs.
_loops: dict[Any, tuple[np.dtype[Any], Kernel]] = {}
_SMALL = 128  # pixels of windows whose size is compiled into the loop

_kept: list[Any] = []  # what identities know by address


@device
def _ends(k, step, back, size, n):
    """Return where window k begins and ends along an axis of n pixels."""
    start = k * step - back
    return max(start, 0), min(start + size, n)


def _lender(count: int) -> Callable[..., Any]:
    """Make the function that lends all images of a tuple."""

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
    """Make the loop over windows; those that are whole are known to be, if they are small, which unrolls loops."""
    lend_all, cut, put = _lender(count), _cutter(count, _any_size(len(size))), _writer(outputs)
    small = math.prod(size) <= _SMALL
    cut_whole = _cutter(count, _one_size(size)) if small else cut

    @device
    def map_part(out, places, z, y, images, size, back, step, n):
        for k in range(*places):
            put(out, k, function(*cut(images, z, y, _ends(k, step, back, size, n))))

    @device
    def map_whole(out, places, z, y, images, size, back, step, n):
        for k in range(*places):
            put(out, k, function(*cut_whole(images, z, y, (k * step - back, n))))

    @device
    def map_line(out, whole, z, y, images, size, back, step, n):
        width = out.shape[1]
        first = min(-(-back // step), width) if whole and small else width
        last = min(max((n - size + back) // step + 1, first), width)
        map_part(out, (0, first), z, y, images, size, back, step, n)
        if small:
            map_whole(out, (first, last), z, y, images, size, back, step, n)
            map_part(out, (last, width), z, y, images, size, back, step, n)

    @device
    def succeeds(out, whole, z, y, images, size, back, step, n):
        try:  # around a line, since around each window it takes as long as a small function
            map_line(out, whole, z, y, images, size, back, step, n)
        except Exception:
            return False
        return True

    def loop(images, shape, counts, size, back, step, failed, out):
        depth, height, width = counts
        for line in prange(depth * height):
            z = _ends(line // height, step[0], back[0], size[0], shape[0])
            y = _ends(line % height, step[1], back[1], size[1], shape[1])
            whole = z[1] - z[0] == size[0] and y[1] - y[0] == size[1]
            row = out[:, line * width : (line + 1) * width]
            failed[line] = not succeeds(row, whole, z, y, lend_all(images), size[2], back[2], step[2], shape[2])
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


def _padded(x: HostArray, size: tuple[int, ...], step: tuple[int, ...], border: str, cval: float) -> HostArray:
    """Copy an image with what windows reach beyond its ends."""
    return extended(
        x, [window_places(*axis, border) for axis in zip(x.shape, size, step, strict=True)], as_pixel(cval, x.dtype)
    )


def map_windows(
    *images: HostArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None,
) -> tuple[HostArray, ...]:  # fmt: skip
    """Call a function, compiled, with each window; return results (outputs, *counts)."""
    mapped = _map_windows(func, images, size, border, cval, stride, n_outputs)
    return tuple(converted(result, dtype) for result in mapped)


def _map_windows(
    func: Callable[..., Any], images: Sequence[HostArray], size: tuple[int, ...], border: str, cval: float,
    step: tuple[int, ...], outputs: int,
) -> HostArray:  # fmt: skip
    counts = counts_of(images[0].shape, step)
    back = tuple(k // 2 for k in size)
    if border != "shrink":
        images, back = [_padded(x, size, step, border, cval) for x in images], (0,) * len(size)
    key = identity_of(func, _kept), tuple(x.dtype for x in images), size, outputs
    if key not in _loops:
        compiled, kind = _compiled(func, images)
        _loops[key] = dtype_of_results(kind, outputs), _loop(compiled, len(images), size, outputs)
    chosen, kernel = _loops[key]
    out = np.empty((outputs, math.prod(counts)), chosen)
    three = [(fill,) * (3 - len(size)) + tuple(v) for v, fill in
             ((images[0].shape, 1), (counts, 1), (size, 1), (back, 0), (step, 1))]  # fmt: skip
    failed = np.zeros(math.prod(counts[:-1]), bool)
    kernel.run(out.size * (20 + 4 * math.prod(size)), tuple(images), *three, failed, out)
    if failed.any():
        _raise_again(func, images, counts, size, back, step, int(failed.argmax()))
    return out.reshape(outputs, *counts)


def _raise_again(
    function: Callable[..., Any], images: Sequence[HostArray], counts: tuple[int, ...], size: tuple[int, ...],
    back: tuple[int, ...], step: tuple[int, ...], line: int,
) -> None:  # fmt: skip
    """Call the function, not compiled, with windows of the first line in which it raised, until it does again."""
    place = [int(p) for p in np.unravel_index(line, counts[:-1])]
    for k in range(counts[-1]):
        starts = [p * s - b for p, s, b in zip((*place, k), step, back, strict=True)]
        window = tuple(slice(max(a, 0), a + n) for a, n in zip(starts, size, strict=True))
        getattr(function, "py_func", function)(*(x[window] for x in images))
    raise RuntimeError(f"func raised an exception for a window of line {tuple(place)}, but only when it was compiled")


def map_batches(
    *images: HostArray, func: Callable[..., Any], size: tuple[int, ...], border: str, cval: float,
    stride: tuple[int, ...], n_outputs: int, dtype: np.dtype[Any] | None, max_memory: int,
) -> tuple[HostArray, ...]:  # fmt: skip
    """Call a function with batches of windows of one shape, (N, *shape); return results (outputs, *counts)."""
    mapped = _map_batches(func, images, size, border, cval, stride, n_outputs, max_memory)
    return tuple(converted(result, dtype) for result in mapped)


def _map_batches(
    func: Callable[..., Any], images: Sequence[HostArray], size: tuple[int, ...], border: str, cval: float,
    step: tuple[int, ...], outputs: int, memory: int,
) -> HostArray:  # fmt: skip
    counts = counts_of(images[0].shape, step)
    back = tuple(k // 2 for k in size)
    if border == "shrink":
        axes = [parts_of(*axis) for axis in zip(images[0].shape, size, step, back, strict=True)]
    else:
        images = [_padded(x, size, step, border, cval) for x in images]
        axes = [[(slice(0, c), slice(0, n), k)] for c, n, k in zip(counts, images[0].shape, size, strict=True)]
    out: HostArray | None = None
    for part in itertools.product(*axes):
        places, lengths = tuple(p[0] for p in part), tuple(p[2] for p in part)
        views = [
            np.lib.stride_tricks.sliding_window_view(x[tuple(p[1] for p in part)], lengths)[
                tuple(slice(None, None, s) for s in step)
            ]
            for x in images
        ]
        here = views[0].shape[: len(size)]
        each = sum(x.itemsize for x in images) * math.prod(lengths) * math.prod(here[1:])
        rows = max(1, memory // max(each, 1))
        for first in range(0, here[0], rows):
            chunk = [v[first : first + rows] for v in views]
            shape = chunk[0].shape[: len(size)]
            values = func(*(c.reshape(-1, *lengths) for c in chunk))
            results = _checked(values, outputs, math.prod(shape))
            if out is None:
                out = np.empty((outputs, *counts), np.result_type(*results))
            out = out.astype(np.result_type(out, *results), copy=False)
            there = out[tuple([slice(None), *places])]  # noqa: C409, for Python 3.10
            for k, result in enumerate(results):
                there[k, first : first + shape[0]] = result.reshape(shape)
    return np.empty((outputs, *counts)) if out is None else out


def _checked(values: Any, outputs: int, count: int) -> list[HostArray]:
    """Require one array of results an output."""
    results = [np.asarray(v) for v in (values if isinstance(values, tuple) else (values,))]
    if len(results) != outputs or any(r.shape != (count,) for r in results):
        shapes = [r.shape for r in results]
        raise ValueError(f"func must return n_outputs = {outputs} arrays of shape ({count},), got shapes {shapes}")
    return results
