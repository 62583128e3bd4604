"""The device of CuPy's arrays: CuPy allocates, compiles, caches on disk and launches.

Whoever calls a launcher has made the array's device current, and the stream on which to work.
"""

from __future__ import annotations

import functools
from typing import Any

import cupy
import numpy as np

from npsubpix._cuda.launch.kernels import DeviceArray, Kernel, options, text

__all__ = ["CuPyDevice"]

#: Stands for an absent array. CuPy takes None for an argument without a value.
_NULL = np.uint64(0)


class CuPyDevice:
    """The current device and stream of CuPy."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Make an array of any content."""
        return cupy.empty(shape, dtype)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> DeviceArray:
        """Make an array of one value."""
        return cupy.full(shape, value, dtype)

    def rows(self, x: DeviceArray, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Broadcast an array to a shape, in C order and of a dtype."""
        return cupy.ascontiguousarray(cupy.broadcast_to(x, shape), dtype)

    def get(self, x: DeviceArray) -> np.ndarray[Any, Any]:
        """Copy an array to the host, for which it waits."""
        return cupy.asnumpy(x)  # type: ignore[no-any-return]

    def put(self, x: Any) -> DeviceArray:
        """Copy an array of the host to the device, unless it is there."""
        return cupy.ascontiguousarray(cupy.asarray(x))

    def strided(self, x: DeviceArray, shape: tuple[int, ...], strides: tuple[int, ...]) -> DeviceArray:
        """View the memory of an array in another shape, with steps in bytes."""
        return cupy.lib.stride_tricks.as_strided(x, shape, strides)

    def stream(self) -> int:
        """Return the address of the current stream; 0 for that of whoever asks for none."""
        return int(cupy.cuda.get_current_stream().ptr)

    def launch(self, kernel: Kernel, blocks: int, threads: int, args: tuple[Any, ...]) -> None:
        """Run a kernel on the current stream."""
        _function(kernel)((blocks,), (threads,), tuple([_NULL if a is None else a for a in args]))


@functools.cache
def _module(file: str, types: tuple[tuple[str, str], ...]) -> Any:
    """Return a file for some types; CuPy compiles it for each device it is used on."""
    return cupy.RawModule(code=text(file), options=options(file, types))


@functools.cache
def _function(kernel: Kernel) -> Any:
    return _module(kernel.file, kernel.types).get_function(kernel.name)
