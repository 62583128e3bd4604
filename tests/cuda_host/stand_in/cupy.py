"""A CuPy for processes with this folder on their path: one GPU, which is the host, with a clock and no memory pool."""

from __future__ import annotations

import ctypes
import sys
import time
import types
from typing import Any

import numpy as np

from npsubpix._cuda.launch import devices
from tests.cuda_host import fake_cupy


class Device(fake_cupy.FakeDevice):
    attributes = {"L2CacheSize": 1000, "ClockRate": 1000}  # noqa: RUF012 - as CuPy has it

    def __init__(self, number: int = 0) -> None:
        super().__init__(number)

    def synchronize(self) -> None:
        pass


class Event:
    def record(self) -> None:
        self.at = time.perf_counter()


class Bytes(fake_cupy.FakeArray):
    """An array that knows its address as CuPy's do."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return types.SimpleNamespace(ptr=self.ctypes.data)


def RawKernel(_code: str, _name: str) -> Any:
    return lambda *_: None


def RawModule(code: str, options: Any) -> Any:
    return types.SimpleNamespace(compile=lambda: None)


def _copy(target: int, source: int, size: int, *_: Any) -> None:
    ctypes.memmove(target, source, size)


def _made() -> types.ModuleType:
    module: Any = fake_cupy.make(1)
    module.__spec__ = __spec__
    module.ones = lambda shape, dtype: np.ones(shape, dtype).view(Bytes)
    module.is_available = lambda: True
    module.asnumpy = lambda x: np.array(x, subok=False)
    module.RawKernel, module.RawModule = RawKernel, RawModule
    module.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
    vars(module.cuda).update(
        Device=Device,
        Event=Event,
        get_elapsed_time=lambda start, stop: 1e3 * (stop.at - start.at),
        get_current_stream=lambda: types.SimpleNamespace(ptr=0),
        set_allocator=lambda _: None,
    )
    vars(module.cuda.runtime).update(
        getDeviceProperties=lambda _: {"name": b"no GPU at all", "totalGlobalMem": 2**30},
        driverGetVersion=lambda: 13000,
        deviceSynchronize=lambda: None,
        memcpyDeviceToDevice=3,
        memcpyAsync=_copy,
    )
    return module


devices.DEVICES[fake_cupy.FakeArray] = lambda _: fake_cupy.FakeCuPyDevice()
sys.modules[__name__] = _made()
