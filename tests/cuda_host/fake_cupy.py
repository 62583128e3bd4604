"""A stand-in for CuPy whose arrays are on the host: how arrays are adopted and given back can be checked with it."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.cuda_host.device import HostDevice


class FakeDevice:
    """A GPU by its number, which notes when it is current."""

    current: list[int] = []  # noqa: RUF012 - one for all, as that of a process

    def __init__(self, number: int) -> None:
        self.id = number

    def __enter__(self) -> None:
        FakeDevice.current.append(self.id)

    def __exit__(self, *_: object) -> None:
        FakeDevice.current.pop()


def _waiting(name: str) -> Any:
    """Make a method of arrays that notes that the host waits for a GPU."""

    def method(self: np.ndarray) -> Any:
        FakeArray.waits += 1
        return getattr(np.ndarray, name)(self)

    return method


class FakeArray(np.ndarray):
    """An array of a GPU, 0 unless `number` says another, which counts how often the host waits for numbers of it."""

    number, waits = 0, 0

    def get(self) -> np.ndarray:
        """Copy to the host."""
        FakeArray.waits += 1
        return np.array(self, subok=False)

    tolist, item = _waiting("tolist"), _waiting("item")
    __int__, __float__, __bool__ = _waiting("__int__"), _waiting("__float__"), _waiting("__bool__")

    @property
    def device(self) -> FakeDevice:
        return FakeDevice(self.number)

    def __array_finalize__(self, source: Any) -> None:
        self.number = getattr(source, "number", 0)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        """Return an array of the GPU from ``numpy.where``, as CuPy does: NumPy returns none of a subclass."""
        result = super().__array_function__(function, types, arguments, options)
        if function is not np.where or not isinstance(result, np.ndarray):
            return result
        out = result.view(FakeArray)
        out.number = self.number
        return out


class FakeStreams:
    """Streams by their addresses, which note when they are current."""

    current: list[int] = []  # noqa: RUF012

    @staticmethod
    @contextlib.contextmanager
    def stream(address: int, _device: int) -> Iterator[None]:
        FakeStreams.current.append(address)
        try:
            yield
        finally:
            FakeStreams.current.pop()


class FakeCuPyDevice(HostDevice):
    """What `_cupy.CuPyDevice` is for CuPy; launches note on which device and stream they were."""

    launches: list[tuple[list[int], list[int]]] = []  # noqa: RUF012

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        out = super().empty(shape, dtype).view(FakeArray)
        out.number = FakeDevice.current[-1]
        return out

    def rows(self, x: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        out = super().rows(x, shape, dtype).view(FakeArray)
        out.number = FakeDevice.current[-1]
        return out

    def launch(self, *call: Any) -> None:
        FakeCuPyDevice.launches.append((list(FakeDevice.current), list(FakeStreams.current)))
        super().launch(*call)


def gpu_array(x: Any, number: int = 0) -> FakeArray:
    """Copy an array of the host to a GPU."""
    array = np.array(x).view(FakeArray)
    array.number = number
    return array


def as_array(x: Any, dtype: Any = None) -> FakeArray:
    """Copy an array of the host to the current GPU."""
    array = np.array(x, dtype).view(FakeArray)
    array.number = FakeDevice.current[-1] if FakeDevice.current else 0
    return array


def as_contiguous_array(x: FakeArray) -> FakeArray:
    """Copy to C order what is not in it; what has no axis gets one."""
    array = np.require(x, requirements="CA").view(FakeArray)
    return array if array.ndim else array.reshape(1)


class NoDriver(Exception):
    """What CuPy raises where there is no GPU."""


def make(count: int = 2) -> types.ModuleType:
    """Make the module, for so many GPUs; none if there is not even a driver."""

    def device_count() -> int:
        if count < 0:
            raise NoDriver("cudaErrorInsufficientDriver: the driver is too old")
        return count

    module = types.ModuleType("cupy")
    module.ndarray = FakeArray  # type: ignore[attr-defined]
    module.from_dlpack = lambda x: np.from_dlpack(x).view(FakeArray)  # type: ignore[attr-defined]
    module.asarray = as_array  # type: ignore[attr-defined]
    module.ascontiguousarray = as_contiguous_array  # type: ignore[attr-defined]
    module.indices = lambda shape, dtype: np.indices(shape, dtype).view(FakeArray)  # type: ignore[attr-defined]
    runtime = types.SimpleNamespace(getDeviceCount=device_count, CUDARuntimeError=NoDriver)
    module.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        Device=FakeDevice, ExternalStream=FakeStreams.stream, runtime=runtime
    )
    return module
