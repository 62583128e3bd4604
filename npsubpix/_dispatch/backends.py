"""Which implementation runs: a table from the device of an array to a package of kernels."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from npsubpix._arrays.home import Home, home_of
from npsubpix._arrays.library import Array, require_cupy
from npsubpix._dispatch.operation import Operation

__all__ = ["function_of", "implementation"]

_PACKAGES = {"host": "npsubpix._cpu", "gpu": "npsubpix._cuda"}


@functools.cache
def _load(place: str, family: str) -> ModuleType:
    return importlib.import_module(f"{_PACKAGES[place]}.{family}")


def function_of(operation: Operation, home: Home, suffix: str = "") -> Callable[..., Any]:
    """Return the function of an operation, or its product with cotangents, for the device of arrays."""
    function: Callable[..., Any] = getattr(_family(operation.family, home), operation.name + suffix)
    return function


def implementation(family: str, array: Array) -> ModuleType:
    """Return the kernels of a family for the device of an array."""
    return _family(family, home_of(array))


def _family(family: str, home: Home) -> ModuleType:
    if not home.on_gpu:
        return _load("host", family)
    if home.library == "jax":
        raise TypeError("npsubpix takes JAX arrays on the host only, got one on a GPU: pass jax.device_get(x)")
    require_cupy()
    return _load("gpu", family)
