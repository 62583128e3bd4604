"""Command ``npsubpix info``: versions, threads, the cache of compiled kernels and the GPU."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
import platform
from pathlib import Path

__all__ = ["describe", "folder_of_kernels"]


def describe() -> str:
    """Return one line per fact, with the facts in one column."""
    lines = {**_versions(), **_machine()}
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())


def folder_of_kernels() -> Path | None:
    """Return the folder to which compiled kernels are written, or None where there is none."""
    from npsubpix._cpu.compiler.cache import cache_directory

    return cache_directory()


def _versions() -> dict[str, str]:
    """Look up what is installed, without importing it: torch alone takes seconds."""
    from npsubpix import __version__

    versions = {"npsubpix": __version__, "Python": platform.python_version()}
    for name in ("numpy", "numba", "scipy", "torch", "cupy", "cupy-cuda12x", "cupy-cuda13x"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _machine() -> dict[str, str]:
    import numba

    from npsubpix._cpu.compiler.cache import cache_directories, cache_directory
    from npsubpix._cpu.compiler.internals import why_not_linking

    threads = numba.get_num_threads()  # this chooses the layer
    try:
        layer = numba.threading_layer()
    except ValueError:
        layer = f"not chosen yet ({numba.config.THREADING_LAYER})"
    return {
        "threads": str(threads),
        "threading layer": layer,
        "cache": _cache(cache_directories(), cache_directory()),
        "linking": f"off: {off}" if (off := why_not_linking()) else "on",
        "GPU": ", ".join(_gpus()) or "none found",
    }


def _cache(folders: tuple[Path, ...], written: Path | None) -> str:
    """Say from where compiled kernels are read, and to which of these places they are written."""
    names = [f"{folder}{'' if folder == written else ' (only read)'}" for folder in folders]
    if names:
        return ", ".join(names)
    return "off" if os.environ.get("NPSUBPIX_CACHE") == "0" else "off: no folder can be written"


def _gpus() -> list[str]:
    """Ask the driver, which is there without any library for GPUs, or is not."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        count = ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return []
        names = [ctypes.create_string_buffer(256) for _ in range(count.value)]
        for device, name in enumerate(names):
            driver.cuDeviceGetName(name, len(name), device)
        return [name.value.decode() for name in names]
    except (OSError, AttributeError):
        return []
