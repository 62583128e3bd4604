"""Weights that are functions of a user, compiled for kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.user_functions import compiled_for_number
from npsubpix._definitions.sampling.methods import WEIGHTS, current_weight

__all__ = ["addresses_of"]

_compiled: dict[str, list[Any]] = {}


def addresses_of(key: str) -> tuple[int, int]:
    """Return the addresses of a weight and of its derivative as C functions, 0 for none."""
    if not key:
        return 0, 0
    key = current_weight(key)
    if key not in _compiled:
        names = ("weight", "derivative")
        _compiled[key] = [_compile(f, name) for f, name in zip(WEIGHTS[key], names, strict=True)]
    weight, derivative = (0 if f is None else int(f.address) for f in _compiled[key])
    return weight, derivative


def _compile(function: Callable[[float], float] | None, name: str) -> Any:
    return None if function is None else compiled_for_number(function, name)
