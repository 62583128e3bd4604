"""Loops over windows that numba.cuda compiles around functions of users.

It is that of Numba, or that of the package numba-cuda, which takes its place where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba import cuda
from numba.core import types

from npsubpix._cuda.launch.kernels import DeviceArray
from npsubpix._definitions.user_results import dtype_of_results
from npsubpix._definitions.window_map import Grid, bounds_of

__all__ = ["compile_loop", "launch"]


def type_of_result(function: Callable[..., Any], windows: tuple[Any, ...]) -> Any:
    """Compile a function, and return the type of its result."""
    return cuda.compile_ptx_for_current_device(function, windows, device=True)[1]


def compile_loop(func: Callable[..., Any], images: Sequence[DeviceArray], outputs: int) -> tuple[np.dtype[Any], Any]:
    """Compile the loop over windows of images; return the dtype of results and the kernel."""
    plain = getattr(func, "py_func", func)
    windows = tuple(types.Array(numba.from_dtype(x.dtype), x.ndim, "A", readonly=True) for x in images)
    try:
        returned = type_of_result(plain, windows)
    except Exception as error:  # of Numba, and of Python for what is no plain function
        raise TypeError(
            "func must be the name of a reduction, or a plain function that numba.cuda can compile, which knows loops "
            "over pixels but no functions of arrays; or be called with vectorized=True, or with images moved to the "
            f"host: {error}"
        ) from None
    return dtype_of_results(returned, outputs), _loop(plain, len(images), images[0].ndim, outputs)


def launch(
    kernel: Any, blocks: int, threads: int, stream: int, images: tuple[DeviceArray, ...], grid: Grid, out: DeviceArray
) -> None:
    """Run a loop on a stream; nothing waits for it."""
    if blocks == 0:
        return
    on = cuda.external_stream(stream) if stream else 0
    kernel[blocks, threads, on](tuple(map(_lent, images)), *grid.three, _lent(out))


def _lent(x: DeviceArray) -> Any:
    """Return an array as Numba takes it, without waiting for the stream that it is made on, which is the same."""
    return cuda.as_cuda_array(x, sync=False) if hasattr(x, "__cuda_array_interface__") else x


# Windows are cut where functions are called: functions of numba.cuda cannot return a part of an array.


def _caller2(func: Any, count: int) -> Any:
    """Make the function that calls `func` with a window of each image, of two dimensions."""

    @cuda.jit(device=True)
    def one(x, z, y, c):
        return func(x[0][y[0] : y[1], c[0] : c[1]])

    @cuda.jit(device=True)
    def two(x, z, y, c):
        return func(x[0][y[0] : y[1], c[0] : c[1]], x[1][y[0] : y[1], c[0] : c[1]])

    @cuda.jit(device=True)
    def three(x, z, y, c):
        return func(
            x[0][y[0] : y[1], c[0] : c[1]], x[1][y[0] : y[1], c[0] : c[1]], x[2][y[0] : y[1], c[0] : c[1]]
        )  # fmt: skip

    @cuda.jit(device=True)
    def four(x, z, y, c):
        return func(
            x[0][y[0] : y[1], c[0] : c[1]], x[1][y[0] : y[1], c[0] : c[1]], x[2][y[0] : y[1], c[0] : c[1]],
            x[3][y[0] : y[1], c[0] : c[1]],
        )  # fmt: skip

    return (one, two, three, four)[count - 1]


def _caller3(func: Any, count: int) -> Any:
    """Make the function that calls `func` with a window of each image, of three dimensions."""

    @cuda.jit(device=True)
    def one(x, z, y, c):
        return func(x[0][z[0] : z[1], y[0] : y[1], c[0] : c[1]])

    @cuda.jit(device=True)
    def two(x, z, y, c):
        return func(x[0][z[0] : z[1], y[0] : y[1], c[0] : c[1]], x[1][z[0] : z[1], y[0] : y[1], c[0] : c[1]])

    @cuda.jit(device=True)
    def three(x, z, y, c):
        return func(
            x[0][z[0] : z[1], y[0] : y[1], c[0] : c[1]], x[1][z[0] : z[1], y[0] : y[1], c[0] : c[1]],
            x[2][z[0] : z[1], y[0] : y[1], c[0] : c[1]],
        )  # fmt: skip

    @cuda.jit(device=True)
    def four(x, z, y, c):
        return func(
            x[0][z[0] : z[1], y[0] : y[1], c[0] : c[1]], x[1][z[0] : z[1], y[0] : y[1], c[0] : c[1]],
            x[2][z[0] : z[1], y[0] : y[1], c[0] : c[1]], x[3][z[0] : z[1], y[0] : y[1], c[0] : c[1]],
        )  # fmt: skip

    return (one, two, three, four)[count - 1]


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


def _loop(function: Callable[..., Any], count: int, ndim: int, outputs: int) -> Any:
    """Make the kernel; its threads stride over the windows."""
    caller = _caller2 if ndim == 2 else _caller3
    call, put = caller(cuda.jit(device=True)(function), count), _writer(outputs)

    bounds = cuda.jit(device=True)(bounds_of)

    @cuda.jit
    def loop(images, shape, counts, size, before, step, out):
        for k in range(cuda.grid(1), out.shape[1], cuda.gridsize(1)):
            z = bounds(k // (counts[1] * counts[2]), step[0], before[0], size[0], shape[0])
            y = bounds(k // counts[2] % counts[1], step[1], before[1], size[1], shape[1])
            c = bounds(k % counts[2], step[2], before[2], size[2], shape[2])
            put(out, k, call(images, z, y, c))

    return loop
