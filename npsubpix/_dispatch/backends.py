"""Which implementation runs: a table from where an array lives to a package of kernels."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

from npsubpix._arrays.library import Array, is_on_gpu, kind_of, require_cupy
from npsubpix._dispatch.capabilities import is_on_gpu as has_gpu_kernels

__all__ = ["implementation"]

_PACKAGES = {"host": "npsubpix._cpu", "gpu": "npsubpix._cuda"}


@functools.cache
def _load(place: str, family: str) -> ModuleType:
    return importlib.import_module(f"{_PACKAGES[place]}.{family}")


def implementation(family: str, array: Array) -> ModuleType:
    """Return the module of kernels for a family of operations and the device of an array."""
    kind = kind_of(array)
    if not is_on_gpu(array, kind):
        return _load("host", family)
    if kind == "jax":
        raise TypeError("npsubpix takes JAX arrays on the host only, got one on a GPU: pass jax.device_get(x)")
    if not has_gpu_kernels(family):
        move = "x.get()" if kind == "cupy" else "x.cpu()"
        raise TypeError(
            f"npsubpix has no {family} kernels for CUDA arrays yet, got a {kind} array on a GPU: pass {move}"
        )
    require_cupy()
    return _load("gpu", family)
