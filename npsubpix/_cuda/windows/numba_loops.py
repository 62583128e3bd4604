"""Loops over windows that numba.cuda compiles around functions of users.

It is that of Numba, or that of the package numba-cuda, which takes its place where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba import cuda
from numba.core import types

from npsubpix._cuda.launch.kernels import DeviceArray
from npsubpix._definitions.user_functions import plain_function, positional
from npsubpix._definitions.user_results import dtype_of_results
from npsubpix._definitions.window_map import Grid, bounds_of

__all__ = ["compile_loop", "launch", "types_of"]


def type_of_result(function: Callable[..., Any], windows: tuple[Any, ...]) -> Any:
    """Compile a function, and return the type of its result."""
    return cuda.compile_ptx_for_current_device(function, windows, device=True)[1]


def types_of(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return Numba's types of arguments of functions."""
    return tuple(numba.typeof(_lent(v)) for v in values)


def compile_loop(
    func: Callable[..., Any], images: Sequence[DeviceArray], values: tuple[Any, ...], counted: int, outputs: int
) -> tuple[np.dtype[Any], Any]:
    """Compile the loop over windows of images; return the dtype of results and the kernel.

    `values` follow the windows; with a footprint of `counted` pixels, windows have one axis.
    """
    plain = plain_function(func)
    ndim, layout = (1, "C") if counted else (images[0].ndim, "A")
    array_type: Any = types.Array
    windows = tuple(array_type(numba.from_dtype(x.dtype), ndim, layout, readonly=not counted) for x in images)
    try:
        plain = positional(plain) if isinstance(plain, FunctionType) else plain
        returned = type_of_result(plain, (*windows, *types_of(values)))
    except Exception as error:  # of Numba, and of Python for what is no plain function
        raise TypeError(
            "func must be the name of a reduction, or a plain function that numba.cuda can compile, which knows loops "
            "over pixels but no functions of arrays; or be called with vectorized=True, or with images moved to the "
            f"host: {error}"
        ) from None
    kernel = _loop(plain, images, len(values), counted, outputs)
    return dtype_of_results(returned, outputs), kernel


def launch(
    kernel: Any, blocks: int, threads: int, stream: int, images: tuple[DeviceArray, ...], values: tuple[Any, ...],
    grid: Grid, offsets: DeviceArray, out: DeviceArray,
) -> None:  # fmt: skip
    """Run a loop on a stream; nothing waits for it."""
    if blocks == 0:
        return
    on = cuda.external_stream(stream) if stream else 0
    following = tuple(map(_lent, values)) or (0,)  # kernels take no empty tuple
    kernel[blocks, threads, on](tuple(map(_lent, images)), following, *grid.three, _lent(offsets), _lent(out))


def _lent(x: DeviceArray) -> Any:
    """Return an array as Numba takes it, without waiting for the stream that it is made on, which is the same."""
    return cuda.as_cuda_array(x, sync=False) if hasattr(x, "__cuda_array_interface__") else x


def _applied(func: Any, count: int) -> Any:
    """Make the function that calls `func` with the windows of a tuple, and with a tuple of values."""

    @cuda.jit(device=True)
    def call(windows, values):
        return func(*windows)

    @cuda.jit(device=True)
    def call_with_values(windows, values):
        return func(*(windows + values))

    return call_with_values if count else call


# Windows are cut where functions are called: functions of numba.cuda cannot return a part of an array.


def _caller1(apply: Any, count: int) -> Any:
    """Make the function that applies `apply` to a window of each image, of one dimension."""

    @cuda.jit(device=True)
    def one(x, v, z, y, c):
        return apply((x[0][c[0] : c[1]],), v)

    @cuda.jit(device=True)
    def two(x, v, z, y, c):
        return apply((x[0][c[0] : c[1]], x[1][c[0] : c[1]]), v)

    @cuda.jit(device=True)
    def three(x, v, z, y, c):
        return apply((x[0][c[0] : c[1]], x[1][c[0] : c[1]], x[2][c[0] : c[1]]), v)

    @cuda.jit(device=True)
    def four(x, v, z, y, c):
        return apply((x[0][c[0] : c[1]], x[1][c[0] : c[1]], x[2][c[0] : c[1]], x[3][c[0] : c[1]]), v)

    return (one, two, three, four)[count - 1]


def _caller2(apply: Any, count: int) -> Any:
    """Make the function that applies `apply` to a window of each image, of two dimensions."""

    @cuda.jit(device=True)
    def one(x, v, z, y, c):
        return apply((x[0][y[0] : y[1], c[0] : c[1]],), v)

    @cuda.jit(device=True)
    def two(x, v, z, y, c):
        return apply((x[0][y[0] : y[1], c[0] : c[1]], x[1][y[0] : y[1], c[0] : c[1]]), v)

    @cuda.jit(device=True)
    def three(x, v, z, y, c):
        return apply(
            (x[0][y[0] : y[1], c[0] : c[1]], x[1][y[0] : y[1], c[0] : c[1]], x[2][y[0] : y[1], c[0] : c[1]]), v
        )  # fmt: skip

    @cuda.jit(device=True)
    def four(x, v, z, y, c):
        return apply(
            (
                x[0][y[0] : y[1], c[0] : c[1]], x[1][y[0] : y[1], c[0] : c[1]], x[2][y[0] : y[1], c[0] : c[1]],
                x[3][y[0] : y[1], c[0] : c[1]],
            ), v,
        )  # fmt: skip

    return (one, two, three, four)[count - 1]


def _caller3(apply: Any, count: int) -> Any:
    """Make the function that applies `apply` to a window of each image, of three dimensions."""

    @cuda.jit(device=True)
    def one(x, v, z, y, c):
        return apply((x[0][z[0] : z[1], y[0] : y[1], c[0] : c[1]],), v)

    @cuda.jit(device=True)
    def two(x, v, z, y, c):
        return apply((x[0][z[0] : z[1], y[0] : y[1], c[0] : c[1]], x[1][z[0] : z[1], y[0] : y[1], c[0] : c[1]]), v)

    @cuda.jit(device=True)
    def three(x, v, z, y, c):
        return apply(
            (
                x[0][z[0] : z[1], y[0] : y[1], c[0] : c[1]], x[1][z[0] : z[1], y[0] : y[1], c[0] : c[1]],
                x[2][z[0] : z[1], y[0] : y[1], c[0] : c[1]],
            ), v,
        )  # fmt: skip

    @cuda.jit(device=True)
    def four(x, v, z, y, c):
        return apply(
            (
                x[0][z[0] : z[1], y[0] : y[1], c[0] : c[1]], x[1][z[0] : z[1], y[0] : y[1], c[0] : c[1]],
                x[2][z[0] : z[1], y[0] : y[1], c[0] : c[1]], x[3][z[0] : z[1], y[0] : y[1], c[0] : c[1]],
            ), v,
        )  # fmt: skip

    return (one, two, three, four)[count - 1]


def _picker(ndim: int) -> Any:
    """Make the function that copies the pixels of a window that count to memory of a thread; it returns how many."""

    @cuda.jit(device=True)
    def pixel1(x, z, y, c):
        return x[c]

    @cuda.jit(device=True)
    def pixel2(x, z, y, c):
        return x[y, c]

    @cuda.jit(device=True)
    def pixel3(x, z, y, c):
        return x[z, y, c]

    pixel = (pixel1, pixel2, pixel3)[ndim - 1]

    @cuda.jit(device=True)
    def pick(x, to, z, y, c, of, shape):
        n = 0
        for k in range(of.shape[0]):
            a, b, d = z + of[k, 0], y + of[k, 1], c + of[k, 2]
            if 0 <= a < shape[0] and 0 <= b < shape[1] and 0 <= d < shape[2]:
                to[n] = pixel(x, a, b, d)
                n += 1
        return n

    return pick


def _caller_of_footprint(apply: Any, images: Sequence[DeviceArray], counted: int) -> Any:
    """Make the function that applies `apply` to those pixels of a window of each image that count."""
    pick = _picker(images[0].ndim)
    real = [numba.from_dtype(x.dtype) for x in images]
    real0, real1, real2, real3 = (*real, *(real[0],) * (4 - len(real)))

    @cuda.jit(device=True)
    def one(x, v, z, y, c, of, shape):
        p = cuda.local.array(counted, real0)
        n = pick(x[0], p, z, y, c, of, shape)
        return apply((p[:n],), v)

    @cuda.jit(device=True)
    def two(x, v, z, y, c, of, shape):
        p, q = cuda.local.array(counted, real0), cuda.local.array(counted, real1)
        n = pick(x[0], p, z, y, c, of, shape)
        pick(x[1], q, z, y, c, of, shape)
        return apply((p[:n], q[:n]), v)

    @cuda.jit(device=True)
    def three(x, v, z, y, c, of, shape):
        p, q = cuda.local.array(counted, real0), cuda.local.array(counted, real1)
        r = cuda.local.array(counted, real2)
        n = pick(x[0], p, z, y, c, of, shape)
        pick(x[1], q, z, y, c, of, shape)
        pick(x[2], r, z, y, c, of, shape)
        return apply((p[:n], q[:n], r[:n]), v)

    @cuda.jit(device=True)
    def four(x, v, z, y, c, of, shape):
        p, q = cuda.local.array(counted, real0), cuda.local.array(counted, real1)
        r, s = cuda.local.array(counted, real2), cuda.local.array(counted, real3)
        n = pick(x[0], p, z, y, c, of, shape)
        pick(x[1], q, z, y, c, of, shape)
        pick(x[2], r, z, y, c, of, shape)
        pick(x[3], s, z, y, c, of, shape)
        return apply((p[:n], q[:n], r[:n], s[:n]), v)

    return (one, two, three, four)[len(images) - 1]


def _writer(outputs: int) -> Any:
    """Make the function that writes the results of a window; a tuple of several types has no loop over it."""

    @cuda.jit(device=True)
    def write_one(out, place, value):
        out[0, place] = value

    @cuda.jit(device=True)
    def write_first(out, place, values):
        out[0, place] = values[0]

    put = write_first
    for k in range(1, outputs):
        put = _also(put, k)
    return write_one if outputs == 1 else put


def _also(before: Any, k: int) -> Any:
    @cuda.jit(device=True)
    def write(out, place, values):
        before(out, place, values)
        out[k, place] = values[k]

    return write


def _loop(function: Callable[..., Any], images: Sequence[DeviceArray], values: int, counted: int, outputs: int) -> Any:
    """Make the kernel; its threads stride over the windows."""
    put, apply = _writer(outputs), _applied(cuda.jit(device=True)(function), values)
    bounds = cuda.jit(device=True)(bounds_of)
    if counted:
        pick = _caller_of_footprint(apply, images, counted)

        @cuda.jit
        def loop_of_footprint(arrays, values, shape, counts, size, before, step, offsets, out):
            for k in range(cuda.grid(1), out.shape[1], cuda.gridsize(1)):
                z = k // (counts[1] * counts[2]) * step[0] - before[0]
                y = k // counts[2] % counts[1] * step[1] - before[1]
                put(out, k, pick(arrays, values, z, y, k % counts[2] * step[2] - before[2], offsets, shape))

        return loop_of_footprint
    call = (_caller1, _caller2, _caller3)[images[0].ndim - 1](apply, len(images))

    @cuda.jit
    def loop(arrays, values, shape, counts, size, before, step, offsets, out):
        for k in range(cuda.grid(1), out.shape[1], cuda.gridsize(1)):
            z = bounds(k // (counts[1] * counts[2]), step[0], before[0], size[0], shape[0])
            y = bounds(k // counts[2] % counts[1], step[1], before[1], size[1], shape[1])
            c = bounds(k % counts[2], step[2], before[2], size[2], shape[2])
            put(out, k, call(arrays, values, z, y, c))

    return loop
