"""The machine and the versions that a table belongs to."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

from benchmarks import peers

__all__ = ["available_memory", "describe"]


def describe(threads: int) -> dict[str, object]:
    """Return what a reader needs to judge the numbers."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": _cores(),
        "threads": threads,
        "memory_gib": round(_memory("MemTotal") / 2**30, 1),
        "os": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": peers.versions(),
    }


def available_memory() -> float:
    """Return the bytes that can be allocated without swapping; infinity where the system does not say."""
    return _memory("MemAvailable") or float("inf")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    return _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def _memory(field: str) -> int:
    kibibytes = _field("/proc/meminfo", field)
    return int(kibibytes.split()[0]) * 1024 if kibibytes else 0


def _field(path: str, name: str) -> str | None:
    """Return the first value of a field of a file of lines ``name: value``."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
