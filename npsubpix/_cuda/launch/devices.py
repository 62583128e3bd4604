"""Kernels of the GPU: their text, the types they are compiled for, and how they are launched.

Kernels are `extern "C"` functions in the `.cu` files of this folder. The types of their arrays are
macros, so that one text serves all dtypes and the compiler sees one function, with a plain name,
for each. Launchers know a device by what `Device` says, and nothing of the library behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from npsubpix._cuda.launch.kernels import THREADS, DeviceArray, Kernel

__all__ = ["DEVICES", "Device", "blocks_for", "device_of", "run"]


#: Most blocks of a grid along its first axis, the only one in use.
MOST_BLOCKS = 2**31 - 1


class Device(Protocol):
    """Where arrays are made and kernels run."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Make an array of any content."""

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> DeviceArray:
        """Make an array of one value."""

    def rows(self, x: DeviceArray, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Broadcast an array to a shape, in C order and of a dtype."""

    def get(self, x: DeviceArray) -> np.ndarray[Any, Any]:
        """Copy an array to the host, for which it waits."""

    def put(self, x: Any) -> DeviceArray:
        """Copy an array of the host to the device, unless it is there."""

    def strided(self, x: DeviceArray, shape: tuple[int, ...], strides: tuple[int, ...]) -> DeviceArray:
        """View the memory of an array in another shape, with steps in bytes."""

    def stream(self) -> int:
        """Return the address of the stream that kernels run on; 0 for that of whoever asks for none."""

    def launch(self, kernel: Kernel, blocks: int, threads: int, args: tuple[Any, ...]) -> None:
        """Run a kernel on arrays, None for an absent one, and NumPy scalars."""


#: Devices other than CuPy's, by the type of their arrays.
DEVICES: dict[type, Callable[[DeviceArray], Device]] = {}


def device_of(x: DeviceArray) -> Device:
    """Return the device of an array."""
    make = DEVICES.get(type(x))
    if make is not None:
        return make(x)
    from npsubpix._cuda.launch.cupy_device import CuPyDevice

    return CuPyDevice()


def blocks_for(work: int, each: int = THREADS) -> int:
    """Return how many blocks do so much work, if each does `each` of it at a time.

    Kernels stride over what is left, so that a grid of any size does all the work.
    """
    return min(-(-work // each), MOST_BLOCKS)


def run(device: Device, kernel: Kernel, blocks: int, *args: Any, threads: int = THREADS) -> None:
    """Launch a kernel on arrays, None for an absent one, and numbers; nothing, if there are no blocks."""
    if blocks > 0:
        device.launch(kernel, blocks, threads, tuple([_argument(a) for a in args]))


def _argument(value: Any) -> Any:
    """Turn a number into the one of three types that kernels take: bool, Index or double."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int64(value)
    return np.float64(value) if isinstance(value, float) else value
