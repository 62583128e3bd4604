"""Sampling methods, and how they are passed to operations, whose options are plain values: as one string."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from npsubpix._definitions.user_functions import identity_of

__all__ = [
    "BICUBIC_SLOPE",
    "CATMULL_ROM_SLOPE",
    "GAUSSIAN_WIDTH",
    "METHODS",
    "MOST_REACH",
    "PIXELS_PER_AXIS",
    "SIGMOID_STEEPNESS",
    "TABLE_PARTS",
    "TABLE_WEIGHT",
    "TIES",
    "USER_WEIGHT",
    "WEIGHTS",
    "WEIGHT_NAMES",
    "Blend",
    "Method",
    "UserWeight",
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

#: Functions of the distance, divided by the reach, that have a public name as weights.
WEIGHT_NAMES: Final = ("linear", "smoothstep", "sigmoid", "gaussian")

#: The methods that weight the nearest pixels by a function of the user, and by samples of a function.
USER_WEIGHT: Final = "user_weight"
TABLE_WEIGHT: Final = "table"

#: Pixels on each side of a position, at most, whose weights are a function of their distance.
MOST_REACH: Final = 8

#: Parts of the positions over which the cotangent of a table is summed, one after the other: a number that is the same
#: for any number of threads.
TABLE_PARTS: Final = 64

#: Pixels that each method weights along an axis, of reach 1 where it has one. Both backends have these methods, but for
#: the GPU that of a user.
PIXELS_PER_AXIS: Final = {
    "nearest": 1,
    "nearest_down": 1,
    "nearest_even": 1,
    "linear": 2,
    "smoothstep": 2,
    "sigmoid": 2,
    "gaussian": 2,
    USER_WEIGHT: 2,
    TABLE_WEIGHT: 2,
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
    """Weights of pixels by one method.

    `user_weight` is the key of the functions of a user, `values` the numbers that they take, and `table` the place of a
    table among those of a call. `reach` is the number of pixels on each side of a position whose weights are a function
    of their distance.
    """

    name: str
    user_weight: str = ""
    reach: int = 1
    table: int = 0
    values: tuple[float, ...] = ()

    @property
    def pixels(self) -> int:
        """Pixels along an axis that have weight."""
        return PIXELS_PER_AXIS[self.name] * self.reach


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
    if surrogate or base.user_weight or base.reach != 1 or base.table != 0:
        values = ":".join([repr(value) for value in base.values])
        return f"{base.name},{base.user_weight},{base.reach},{base.table},{values},{surrogate or ''}"
    return base.name


@functools.lru_cache(maxsize=256)
def parse(spec: str) -> Method:
    """Read a method from the string that `write` made."""
    if ";" in spec:
        threshold, inside, outside, surrogate = spec.split(";")
        return Method(Blend(float(threshold), inside, outside), surrogate)
    if "," not in spec:
        return Method(Weighting(spec))
    name, weight, reach, table, values, surrogate = spec.split(",")
    numbers = tuple(map(float, values.split(":"))) if values else ()
    return Method(Weighting(name, weight, int(reach), int(table), numbers), surrogate)


class UserWeight(NamedTuple):
    """A function of the distance, its derivative or None, and the shapes of further arguments, None for a number."""

    weight: Callable[..., float]
    derivative: Callable[..., float] | None
    shapes: tuple[tuple[int, ...] | None, ...]


#: Functions of users as weights, by the key that a method has of them. They stay for as long as the process: graphs,
#: pullbacks and copies hold only keys.
WEIGHTS: dict[str, UserWeight] = {}
_lock = threading.Lock()
_keys: dict[Any, str] = {}  # by identity


def register_weight(own: UserWeight) -> str:
    """Register functions; return their key, the same for all functions of the same code and values.

    Functions with a value that may change unseen get a new key, and are compiled anew.
    """
    identities = [identity_of(f) for f in (own.weight, own.derivative)]
    with _lock:
        identity = object() if None in identities else (*identities, own.shapes)
        if identity not in _keys:
            _keys[identity] = f"weight{len(_keys)}"
            WEIGHTS[_keys[identity]] = own
        return _keys[identity]


#: Objects with a method `current`, by the keys that graphs of torch.compile have of them.
_traced: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def reserve_weight(owner: Any) -> str:
    """Return a key of an object with functions, whatever these are by the time of use: a trace cannot look at them."""
    key = f"traced{next(_numbers)}"
    _traced[key] = owner
    return key


def current_weight(weighting: Weighting) -> tuple[str, tuple[float, ...]]:
    """Return the key of functions as they are now, and the numbers that they take, from a method with either key."""
    owner = _traced.get(weighting.user_weight)
    return (weighting.user_weight, weighting.values) if owner is None else owner.current()
