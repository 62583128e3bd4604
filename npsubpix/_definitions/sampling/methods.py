"""Sampling methods, and how they are passed to operations, whose options are plain values: as one string."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from npsubpix._definitions.user_functions import identity_of

__all__ = [
    "BICUBIC_SLOPE",
    "CATMULL_ROM_SLOPE",
    "GAUSSIAN_WIDTH",
    "METHODS",
    "PIXELS_PER_AXIS",
    "SIGMOID_STEEPNESS",
    "TIES",
    "USER_WEIGHT",
    "WEIGHTS",
    "WEIGHT_NAMES",
    "Blend",
    "Method",
    "Weighting",
    "current_weight",
    "parse",
    "register_weight",
    "reserve_weight",
    "write",
]

#: Methods that have a public name.
METHODS: Final = ("nearest", "linear", "catmull_rom", "bspline2", "bspline3", "bspline4", "bspline5", "lanczos3")

#: Methods for the nearest pixel, by the rule for two that are equally near.
TIES: Final = {"up": "nearest", "down": "nearest_down", "even": "nearest_even"}

#: Weights of the two nearest pixels that have a public name.
WEIGHT_NAMES: Final = ("linear", "smoothstep", "sigmoid", "gaussian")

#: The method that weights the two nearest pixels by a function of the user.
USER_WEIGHT: Final = "user_weight"

#: Pixels that each method weights along an axis. Both backends have these methods, but for the GPU that of a user.
PIXELS_PER_AXIS: Final = {
    "nearest": 1,
    "nearest_down": 1,
    "nearest_even": 1,
    "linear": 2,
    "smoothstep": 2,
    "sigmoid": 2,
    "gaussian": 2,
    USER_WEIGHT: 2,
    "bspline2": 3,
    "bspline3": 4,
    "catmull_rom": 4,
    "bicubic": 4,
    "bspline4": 5,
    "bspline5": 6,
    "lanczos3": 6,
}

#: Slopes of the kernels of cubic convolution at a distance of one pixel.
CATMULL_ROM_SLOPE: Final = -0.5
BICUBIC_SLOPE: Final = -0.75  # as OpenCV and torch have it

#: Steepness of the sigmoid, per pixel, and standard deviation of the Gaussian, in pixels.
SIGMOID_STEEPNESS: Final = 10.0
GAUSSIAN_WIDTH: Final = 0.5


@dataclass(frozen=True)
class Weighting:
    """Weights of pixels by one method; `user_weight` is the key of the functions of a user."""

    name: str
    user_weight: str = ""


@dataclass(frozen=True)
class Blend:
    """One method where the gradient of the linear interpolant is longer than a threshold, another elsewhere."""

    threshold: float
    inside: str
    outside: str


@dataclass(frozen=True)
class Method:
    """A sampling method, and the method whose gradient with respect to positions replaces its own."""

    base: Weighting | Blend
    surrogate: str = ""


def write(base: Weighting | Blend, surrogate: str | None = None) -> str:
    """Write a method as the string that `parse` reads, by what torch.compile can follow."""
    if isinstance(base, Blend):
        return f"{base.threshold!r};{base.inside};{base.outside};{surrogate or ''}"
    return f"{base.name},{base.user_weight},{surrogate or ''}" if surrogate or base.user_weight else base.name


@functools.lru_cache(maxsize=256)
def parse(spec: str) -> Method:
    """Read a method from the string that `write` made."""
    if ";" in spec:
        threshold, inside, outside, surrogate = spec.split(";")
        return Method(Blend(float(threshold), inside, outside), surrogate)
    name, weight, surrogate = spec.split(",") if "," in spec else (spec, "", "")
    return Method(Weighting(name, weight), surrogate)


#: Functions of users as weights, each with its derivative or None, by the key that a method has of them. They stay for
#: as long as the process: graphs, pullbacks and copies hold only keys.
WEIGHTS: dict[str, tuple[Callable[[float], float], Callable[[float], float] | None]] = {}
_lock = threading.Lock()
_keys: dict[Any, str] = {}  # by identity


def register_weight(weight: Callable[[float], float], derivative: Callable[[float], float] | None) -> str:
    """Register functions; return their key, the same for all functions of the same code and values.

    Functions with a value that may change unseen get a new key, and are compiled anew.
    """
    identities = [identity_of(f) for f in (weight, derivative)]
    with _lock:
        identity = object() if None in identities else tuple(identities)
        if identity not in _keys:
            _keys[identity] = f"weight{len(_keys)}"
            WEIGHTS[_keys[identity]] = (weight, derivative)
        return _keys[identity]


#: Objects with a `weight` and a `derivative`, by the keys that graphs of torch.compile have of them.
_traced: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def reserve_weight(owner: Any) -> str:
    """Return a key of an object with functions, whatever these are by the time of use: a trace cannot look at them."""
    key = f"traced{next(_numbers)}"
    _traced[key] = owner
    return key


def current_weight(key: str) -> str:
    """Return the key of functions as they are now, from that of an object, or from their own."""
    owner = _traced.get(key)
    return key if owner is None else register_weight(owner.weight, owner.derivative)
