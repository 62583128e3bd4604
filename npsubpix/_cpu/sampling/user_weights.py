"""Weights that are functions of a user, compiled for kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.user_functions import compiled_for_number
from npsubpix._definitions.sampling.methods import WEIGHTS, Weighting, current_weight

__all__ = ["functions_of"]

_compiled: dict[str, list[Any]] = {}


def functions_of(weighting: Weighting) -> tuple[int, int, HostArray]:
    """Return the addresses of a weight and of its derivative as C functions, 0 for none, and the numbers they take."""
    key, values = current_weight(weighting)
    if key not in _compiled:
        own = WEIGHTS[key]
        functions = (own.weight, "weight"), (own.derivative, "derivative")
        _compiled[key] = [None if f is None else compiled_for_number(f, name, own.shapes) for f, name in functions]
    weight, derivative = (0 if f is None else int(f.address) for f in _compiled[key])
    return weight, derivative, np.array(values or (0.0,))
