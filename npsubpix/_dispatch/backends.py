"""Which implementation runs: a table from the device of an array to a package of kernels."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from npsubpix._arrays.home import Home
from npsubpix._arrays.library import require_cupy
from npsubpix._dispatch.operation import Operation

__all__ = ["function_of", "has_gpu_kernels", "implementation", "in_threads"]

_PACKAGES = {"host": "npsubpix._cpu", "gpu": "npsubpix._cuda"}


@functools.cache
def _load(place: str, family: str) -> ModuleType:
    return importlib.import_module(f"{_PACKAGES[place]}.{family}")


@functools.cache
def has_gpu_kernels(family: str) -> bool:
    """Whether a family has kernels for GPUs."""
    return importlib.util.find_spec(f"{_PACKAGES['gpu']}.{family}") is not None


def function_of(operation: Operation, home: Home, suffix: str = "") -> Callable[..., Any]:
    """Return the function of an operation, or its product with cotangents, for the device of arrays."""
    function: Callable[..., Any] = getattr(implementation(operation.family, home), operation.name + suffix)
    return function


def implementation(family: str, home: Home) -> ModuleType:
    """Return the kernels of a family for the device of an array."""
    if not home.on_gpu:
        return _load("host", family)
    if home.library == "jax":
        raise TypeError("npsubpix takes JAX arrays on the host only, got one on a GPU: pass jax.device_get(x)")
    if not has_gpu_kernels(family):
        move = "x.get()" if home.library == "cupy" else "x.cpu()"
        raise TypeError(
            f"npsubpix has no {family} kernels for CUDA arrays yet, got a {home.library} array on a GPU: pass {move}"
        )
    require_cupy()
    return _load("gpu", family)


def in_threads() -> AbstractContextManager[None]:
    """Run the kernels of the host in threads for a while, however little work there is."""
    from npsubpix._cpu.compiler import forms

    return forms.in_threads()
