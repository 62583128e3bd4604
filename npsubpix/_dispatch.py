"""Which implementation runs: a table from where an array lives to a package of kernels."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from types import ModuleType

from npsubpix._arrays import Array, is_on_gpu, kind_of, require_cupy

__all__ = ["implementation"]

_PACKAGES = {"host": "npsubpix._cpu", "gpu": "npsubpix._cuda"}


@functools.cache
def _load(place: str, family: str) -> ModuleType:
    return importlib.import_module(f"{_PACKAGES[place]}.{family}")


@functools.cache
def _is_there(place: str, family: str) -> bool:
    return importlib.util.find_spec(f"{_PACKAGES[place]}.{family}") is not None


def implementation(family: str, array: Array) -> ModuleType:
    """Return the module of kernels for a family of operations and the device of an array."""
    kind = kind_of(array)
    if not is_on_gpu(array, kind):
        return _load("host", family)
    if kind == "jax":
        raise TypeError("npsubpix takes JAX arrays on the host only, got one on a GPU: pass jax.device_get(x)")
    if not _is_there("gpu", family):
        move = "x.get()" if kind == "cupy" else "x.cpu()"
        raise TypeError(
            f"npsubpix has no {family} kernels for CUDA arrays yet, got a {kind} array on a GPU: pass {move}"
        )
    require_cupy()
    return _load("gpu", family)
