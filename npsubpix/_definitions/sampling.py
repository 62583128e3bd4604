"""How a sampling method is told to an operation, whose options are plain values: as one string."""

from __future__ import annotations

import functools
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from npsubpix._definitions.user_functions import identity_of

__all__ = ["METHODS", "MODES", "POLES", "WEIGHTS", "Blend", "Method", "mode_of_filter", "parse", "register_weight"]

#: Methods that have a name.
METHODS = ("nearest", "linear", "catmull_rom", "bspline2", "bspline3", "bspline4", "bspline5", "lanczos3")

#: How an image goes on beyond its ends, as `scipy.ndimage` has it.
MODES = ("reflect", "grid-mirror", "constant", "grid-constant", "nearest", "mirror", "wrap", "grid-wrap")

#: Poles of the filters for B-splines, by degree.
POLES = {
    2: (math.sqrt(8) - 3,),
    3: (math.sqrt(3) - 2,),
    4: (
        math.sqrt(664 - math.sqrt(438976)) + math.sqrt(304) - 19,
        math.sqrt(664 + math.sqrt(438976)) - math.sqrt(304) - 19,
    ),
    5: (
        math.sqrt(67.5 - math.sqrt(4436.25)) + math.sqrt(26.25) - 6.5,
        math.sqrt(67.5 + math.sqrt(4436.25)) - math.sqrt(26.25) - 6.5,
    ),
}


def mode_of_filter(mode: str) -> str:
    """Return which of the three ways that filters know they take an image to go on in."""
    ways = {"reflect": "reflect", "grid-mirror": "reflect", "nearest": "reflect", "grid-wrap": "grid-wrap"}
    return ways.get(mode, "mirror")


@dataclass(frozen=True)
class Blend:
    """One method where the gradient of the linear interpolant is longer than a threshold, another elsewhere."""

    threshold: float
    inside: str
    outside: str


@dataclass(frozen=True)
class Method:
    """What weighs the pixels, and what stands in for its gradient."""

    kind: str | Blend
    surrogate: str = ""
    weight: str = ""


@functools.lru_cache(maxsize=256)
def parse(spec: str) -> Method:
    """Read what `sampling` wrote."""
    if not spec.startswith("{"):
        return Method(spec)
    fields = json.loads(spec)
    kind = fields["kind"]
    return Method(kind if isinstance(kind, str) else Blend(*kind), fields["surrogate"], fields["weight"])


#: Weights that are functions, each with its derivative or None, by the key that stands for them in a method. They
#: stay for as long as the process: graphs, pullbacks and copies hold keys alone.
WEIGHTS: dict[str, tuple[Callable[[float], float], Callable[[float], float] | None]] = {}
_lock = threading.Lock()
_keys: dict[Any, tuple[str, Any]] = {}  # of functions that do the same; what is known by its address is kept


def register_weight(weight: Callable[[float], float], derivative: Callable[[float], float] | None) -> str:
    """Keep functions; return the key for them, one for all functions of the same code and values."""
    kept: list[Any] = [weight, derivative]
    identity = identity_of(weight, kept), identity_of(derivative, kept)
    with _lock:
        if identity not in _keys:
            key = f"given{len(_keys)}"
            WEIGHTS[key] = (weight, derivative)
            _keys[identity] = key, kept
        return _keys[identity][0]
