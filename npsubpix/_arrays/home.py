"""The home of an array: its library and its device, and the way from there to kernels and back."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from npsubpix._arrays.adoption import adopt, adopt_mask, give_back
from npsubpix._arrays.library import Array, HostArray, as_array, is_array, is_on_gpu, kind_of, place_of, require_cupy
from npsubpix._arrays.library import working_on as _working_on

__all__ = ["Home", "home_of"]


class Home:
    """The library and the device of an array."""

    __slots__ = ("_array", "library", "on_gpu")

    def __init__(self, array: Array) -> None:
        self._array = array
        if type(array) is np.ndarray:  # most calls, some of which take a few microseconds in all
            self.library, self.on_gpu = "numpy", False
        else:
            self.library = kind_of(array)
            self.on_gpu = is_on_gpu(array, self.library)

    @property
    def place(self) -> str:
        """Name of the device: ``"the host"`` or ``"GPU 0"``."""
        return place_of(self._array)

    def working(self) -> contextlib.AbstractContextManager[Any]:
        """Make the device current, and the stream that the library works on; nothing for the host."""
        return _working_on(self._array) if self.on_gpu else _NOTHING

    def require_beside(self, x: Array, name: str, own: str, on_host: bool = False) -> None:
        """Require an array to be on the device of the array called `own`, or, if it may, on the host."""
        if (type(x) is np.ndarray and not self.on_gpu) or not is_array(x):
            return
        place = place_of(x)
        if place != self.place and not (on_host and place == "the host"):
            raise TypeError(f"{name} is on {place} and {own} on {self.place}: both must be on one device")

    def require_one_library(self, x: Array, name: str) -> None:
        """Require an array of the same library."""
        if kind_of(x) != self.library:
            raise TypeError(f"{name} must be of one library, got {self.library}, {kind_of(x)}")

    def adopt(self, x: Array, name: str) -> HostArray:
        """Return the memory of an array as kernels take it; numbers and lists are copied to the device."""
        if type(x) is float:
            return np.array(x)
        if is_array(x):
            return adopt(x, name)
        array = as_array(x, name)
        return adopt(require_cupy().asarray(array) if self.on_gpu else array, name)

    def adopt_mask(self, x: Array) -> HostArray:
        """Return the memory of an array of booleans as kernels take it."""
        return adopt_mask(x)

    @property
    def takes_results_as_they_are(self) -> bool:
        """Whether `give_back` would return what it is given."""
        return type(self._array) is np.ndarray and self._array.dtype.char != "e"

    def give_back(self, result: HostArray) -> Array:
        """Return a result of kernels in the library of the array; floats of half precision in that precision."""
        return give_back(result, self._array)


_NOTHING = contextlib.nullcontext()


def home_of(x: Array) -> Home:
    """Return the home of an array."""
    return Home(x)
