"""Kernels of the GPU: their text, the types they are compiled for, and how they are launched.

Kernels are `extern "C"` functions in the `.cu` files of this folder. The types of their arrays are
macros, so that one text serves all dtypes and the compiler sees one function, with a plain name,
for each. Launchers know a device by what `Device` says, and nothing of the library behind it.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from npsubpix._cuda._catalogue import BY_ROUNDED_PRODUCTS, C_NAMES, MOST_TAPS, STRIP_ROWS, TILE_BYTES, TYPES
from npsubpix._definitions import constants
from npsubpix._definitions.flags import REJECTED, PeakFlags

__all__ = ["DEVICES", "THREADS", "Device", "DeviceArray", "Kernel", "blocks_for", "device_of", "options", "run", "text"]

#: An array of the library of a device, in C order.
DeviceArray: TypeAlias = Any

#: Threads of a block, where a kernel does not ask for another number.
THREADS = 256

#: What a grid may have at most along its first axis, the only one that is used here.
MOST_BLOCKS = 2**31 - 1


@dataclass(frozen=True)
class Kernel:
    """A function of a `.cu` file, compiled for some types: pairs of a macro and the name of a type."""

    file: str
    name: str
    types: tuple[tuple[str, str], ...]

    @staticmethod
    def of(file: str, name: str, **dtypes: Any) -> Kernel:
        """Choose a kernel by the dtypes of its arrays."""
        return _kernel(file, name, tuple(dtypes.items()))


@functools.lru_cache(maxsize=1024)
def _kernel(file: str, name: str, dtypes: tuple[tuple[str, Any], ...]) -> Kernel:
    types = tuple((macro, C_NAMES[np.dtype(dtype).name]) for macro, dtype in dtypes)
    if types not in TYPES[file]:
        raise TypeError(f"there is no kernel {name} for {', '.join(f'{m}={t}' for m, t in types)}")
    return Kernel(file, name, types)


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
    from npsubpix._cuda._cupy import CuPyDevice

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


@functools.cache
def text(file: str) -> str:
    """Return the text of a `.cu` file with that of the headers it includes.

    Headers are put in here, as CuPy's cache on disk looks at the text of a kernel, not at its headers.
    """
    lines = []
    for number, line in enumerate(_read(f"{file}.cu").splitlines(), 1):
        header = line.removeprefix('#include "').removesuffix('"')
        if header == line:
            lines.append(line)
        else:
            lines += [f'#line 1 "{header}"', _read(header), f'#line {number + 1} "{file}.cu"']
    return "\n".join(lines) + "\n"


def _read(name: str) -> str:
    return importlib.resources.files("npsubpix._cuda").joinpath(name).read_text("utf-8")


def options(file: str, types: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the options a file is compiled with, which hold the constants of `_spec`."""
    fused = () if file not in BY_ROUNDED_PRODUCTS else ("--fmad=false",)
    macros = {**_constants(), **dict(types)}
    return ("--std=c++17", *fused, *(f"-D{name}={value}" for name, value in macros.items()))


_NUMBERS = (
    "BACKGROUND_CLIP", "CENTROID_TOLERANCE", "CLIPPED_SHARE", "LEAST_GROWN", "MOVE_THRESHOLD", "SHIFT_LIMIT",
    "SINGULAR_TOLERANCE",
)  # fmt: skip


@functools.cache
def _constants() -> dict[str, str]:
    numbers = {name: repr(getattr(constants, name)) for name in _NUMBERS}
    flags = {f"FLAG_{flag.name}": str(int(flag)) for flag in PeakFlags}
    limits = {"THREADS": THREADS, "STRIP_ROWS": STRIP_ROWS, "TILE_BYTES": TILE_BYTES, "MOST_TAPS": MOST_TAPS}
    sizes = {name: str(number) for name, number in limits.items()}
    return {**numbers, **flags, **sizes, "FLAGS_REJECTED": str(int(REJECTED))}
