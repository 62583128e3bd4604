"""The GPU as CuPy has it: arrays, copies, and a clock of CUDA events."""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import machine
from benchmarks.cuda.rotation import copies_for
from benchmarks.timing import Pace
from npsubpix._arrays.library import require_cupy

__all__ = ["Gpu"]

_MOST_CALLS = 50  # that wait in the queue of a stream at a time
_SMALL_CALLS = 100
_LONGEST_HOLD = 0.2  # seconds
_CLOCK = 2_000_000  # kilohertz, where the driver does not say


class Gpu:
    """The current device. Work of CuPy and of torch is on the default stream, which both begin with."""

    def __init__(self) -> None:
        self.cupy = require_cupy()
        self.device = self.cupy.cuda.Device()
        self.cache = int(self.device.attributes["L2CacheSize"])

    def describe(self) -> str:
        """Name, memory, driver."""
        runtime = self.cupy.cuda.runtime
        properties = runtime.getDeviceProperties(self.device.id)
        gibibytes = properties["totalGlobalMem"] / 2**30
        driver = runtime.driverGetVersion()
        return f"{properties['name'].decode()}, {gibibytes:.0f} GiB, CUDA driver {driver // 1000}.{driver % 1000 // 10}"

    def array(self, x: np.ndarray) -> Any:
        return self.cupy.asarray(x)

    def release(self) -> None:
        """Give back memory that nothing uses, of CuPy and of torch."""
        self.cupy.get_default_memory_pool().free_all_blocks()
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()

    def alive(self) -> bool:
        """Say whether the GPU still answers: an access out of bounds ends all work of its process."""
        try:
            self.device.synchronize()
        except self.cupy.cuda.runtime.CUDARuntimeError:
            return False
        return True

    def launches_of(self, call: Callable[[], Any]) -> int:
        """Count the kernels of this library that a call launches."""
        devices = importlib.import_module("npsubpix._cuda.launch.cupy_device").CuPyDevice
        with mock.patch.object(devices, "launch", autospec=True, side_effect=devices.launch) as launch:
            call()
        return launch.call_count

    def copy_of(self, size: int) -> Callable[[], Any]:
        """Return a copy that reads and writes `size` bytes in all, in another place each time."""
        half = max(size // 2 // 16 * 16, 16)
        places = copies_for(half, self.cache)
        source, target = (self.cupy.ones(half * places, np.uint8) for _ in range(2))
        offsets = itertools.cycle(range(0, half * places, half))

        def call() -> None:
            at = next(offsets)
            self.cupy.cuda.runtime.memcpyAsync(
                target.data.ptr + at, source.data.ptr + at, half,
                self.cupy.cuda.runtime.memcpyDeviceToDevice, self.cupy.cuda.get_current_stream().ptr,
            )  # fmt: skip

        return call

    def measure(self, calls: Mapping[str, Callable[[], Any]], pace: Pace) -> dict[str, list[float]]:
        """Time calls in turn by events of the GPU, each after an untimed one; return the seconds of each call."""
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(pace.rounds):
            for name, call in calls.items():
                if sum(seconds[name]) <= pace.limit:
                    seconds[name] += self._visit(call, pace.visit)
        return seconds

    def _visit(self, call: Callable[[], Any], length: float) -> list[float]:
        host = self._host_seconds(call)
        count = min(max(int(length / max(host, 1e-5)), 1), _MOST_CALLS)
        events = [(self.cupy.cuda.Event(), self.cupy.cuda.Event()) for _ in range(count)]
        self._hold(min(2 * host * count, _LONGEST_HOLD))
        for start, stop in events:
            start.record()
            call()
            stop.record()
        self.device.synchronize()
        return [self.cupy.cuda.get_elapsed_time(start, stop) * 1e-3 for start, stop in events]

    def _host_seconds(self, call: Callable[[], Any]) -> float:
        """Seconds until the host may go on, of a call that nothing is ahead of."""
        self.device.synchronize()
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        self.device.synchronize()
        return seconds

    def _hold(self, seconds: float) -> None:
        cycles = int(seconds * 1e3 * self.device.attributes.get("ClockRate", _CLOCK))
        _holder(self.cupy)((1,), (1,), (np.int64(cycles),))

    def launch(self, calls: Mapping[str, Callable[[], Any]], pace: Pace) -> dict[str, list[float]]:
        """Time the host alone: the seconds until a call returns, means of many calls on an idle GPU."""
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(pace.rounds):
            for name, call in calls.items():
                call()
                self.device.synchronize()
                start = time.perf_counter()
                for _ in range(_SMALL_CALLS):
                    call()
                seconds[name].append((time.perf_counter() - start) / _SMALL_CALLS)
                self.device.synchronize()
        return seconds


@functools.cache
def _holder(cupy: Any) -> Any:
    return cupy.RawKernel(Path(__file__).with_name("hold.cu").read_text("utf-8"), "hold")


def _tools() -> str:
    """Name the programs that are found, which tests or checks can use."""
    return ", ".join(filter(None, map(shutil.which, ("nvcc", "compute-sanitizer", "g++")))) or "none"


if __name__ == "__main__":
    described = {"GPU": Gpu().describe(), **machine.describe(os.cpu_count() or 1), "tools": _tools()}
    print(*(f"{name}: {value}" for name, value in described.items()), sep="\n")
