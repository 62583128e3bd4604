"""Which implementation runs: a table from where an array lives to a package of kernels."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

from npsubpix._arrays import Array, is_on_gpu, kind_of

__all__ = ["implementation"]

_PACKAGES = {"host": "npsubpix._cpu"}


@functools.cache
def _load(place: str, family: str) -> ModuleType:
    return importlib.import_module(f"{_PACKAGES[place]}.{family}")


def implementation(family: str, array: Array) -> ModuleType:
    """Return the module of kernels for a family of operations and the device of an array."""
    kind = kind_of(array)
    if is_on_gpu(array, kind):
        move = "x.get()" if kind == "cupy" else "x.cpu()"
        raise TypeError(
            f"npsubpix has no {family} kernels for CUDA arrays yet, got a {kind} array on a GPU: pass {move}"
        )
    return _load("host", family)
