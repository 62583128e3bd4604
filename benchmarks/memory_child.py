"""Measure the memory of one call: ``python -m benchmarks.memory_child CASE ours|theirs SIDE``, prints JSON."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_memory import CASES, Case, Use
from benchmarks.timing import use_threads

_WARM_SIDE = 512  # loads the library of the peer, and starts the threads


def main(name: str, who: str, side: str) -> None:
    case = next(case for case in CASES if case.name == name)
    if not _call(case, who, _WARM_SIDE, warm=True):
        print("null")  # the peer is not installed
        return
    call = _call(case, who, int(side))
    if who == "ours":
        call()  # compiles or loads the kernels of large images, which are others than those of small ones
    use = _resident_peak(call) or _traced_peak(call)
    extra, result, method = use
    pixels = int(np.prod(case.image(int(side)).shape))
    print(json.dumps(dataclasses.asdict(Use(extra, _size(result), pixels, method))))


def _call(case: Case, who: str, side: int, warm: bool = False) -> Callable[[], Any] | None:
    image = case.image(side)
    call = case.theirs(image) if who == "theirs" else lambda: case.ours(image)
    use_threads(int(os.environ["NUMBA_NUM_THREADS"]))
    if warm and call is not None:
        call()
        call()
    return call


def _resident_peak(call: Callable[[], Any]) -> tuple[int, Any, str] | None:
    """Return the growth of resident memory at its peak; None where the system does not reset its peak."""
    _release_free_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        if _status("VmHWM") > before + (1 << 20):
            return None
    except OSError:
        return None
    result = call()
    return _status("VmHWM") - before, result, "resident"


def _traced_peak(call: Callable[[], Any]) -> tuple[int, Any, str]:
    """Return the peak of what Python and NumPy allocate, which leaves out what kernels allocate themselves."""
    tracemalloc.start()
    result = call()
    return tracemalloc.get_traced_memory()[1], result, "tracemalloc"


def _release_free_memory() -> None:
    """Give memory that was freed back to the system, so that the call cannot reuse it unseen."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def _size(result: Any) -> int:
    """Return the bytes of the arrays of a result."""
    if isinstance(result, (tuple, list)):
        return sum(map(_size, result))
    if dataclasses.is_dataclass(result):
        return sum(_size(getattr(result, field.name)) for field in dataclasses.fields(result))
    return int(getattr(result, "nbytes", 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
