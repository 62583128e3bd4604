"""How a sampling method is told to an operation, whose options are plain values: as one string."""

from __future__ import annotations

import functools
import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["METHODS", "MODES", "WEIGHTS", "Blend", "Method", "parse", "register_weight"]

#: Methods that have a name.
METHODS = ("nearest", "linear", "catmull_rom", "bspline2", "bspline3", "bspline4", "bspline5", "lanczos3")

#: How an image goes on beyond its ends, as `scipy.ndimage` has it.
MODES = ("reflect", "grid-mirror", "constant", "grid-constant", "nearest", "mirror", "wrap", "grid-wrap")


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


#: Weights that are functions, each with its derivative or None, by the key that stands for them in a method.
WEIGHTS: dict[str, tuple[Callable[[float], float], Callable[[float], float] | None]] = {}
_count = iter(range(1 << 62))


def register_weight(owner: Any, weight: Callable[[float], float], derivative: Callable[[float], float] | None) -> str:
    """Keep functions for as long as their owner lives; return a key for them."""
    key = f"given{next(_count)}"
    WEIGHTS[key] = (weight, derivative)
    weakref.finalize(owner, WEIGHTS.pop, key, None)
    return key
