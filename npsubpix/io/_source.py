"""Source of an image: an open file, its axes, and a function that reads a part of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray

__all__ = ["ImageError", "ImageWarning", "Index", "Source", "check_ratio", "check_size", "sizes", "times"]

Index = tuple[Any, ...]

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class ImageError(ValueError):
    """An image that cannot be used; the message is one line and names the file, what it is and what is needed."""


class ImageWarning(UserWarning):
    """A file that is damaged where it does not matter for the pixels, or may not; the message names the file."""


@dataclass(frozen=True)
class Source:
    """An open file: its axes, one letter per axis, and a function that reads a part of it.

    S are the samples of a pixel, C channels, T times, Z slices, Y rows and X columns; Q and I have no name.
    """

    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    fetch: Callable[[Index], HostArray]
    colour: bool = False  # the samples are red, green, blue and perhaps alpha
    notes: tuple[str, ...] = ()  # what is left out, and what is assumed
    warnings: tuple[str, ...] = ()  # what is damaged


def times(shape: tuple[int, ...]) -> str:
    """Write a shape as in "3 × 40 × 50"."""
    return " × ".join(map(str, shape))


def sizes(nbytes: float) -> str:
    """Write a number of bytes with three digits and a unit."""
    power = min(int(math.log(max(nbytes, 1), 1024)), len(_UNITS) - 1)
    return f"{nbytes / 1024**power:.3g} {_UNITS[power]}"


def check_size(path: Path, thing: str, shape: tuple[int, ...], dtype: np.dtype[Any], max_memory: int) -> None:
    """Refuse what does not fit into the memory that a frame may take."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes > max_memory:
        raise ImageError(
            f"{path}: {thing} of {times(shape)} {dtype} takes {sizes(nbytes)}, and max_memory allows "
            f"{sizes(max_memory)}; --max-memory allows more"
        )


def check_ratio(path: Path, thing: str, nbytes: int, stored: int, ratio: int, slack: int = 2**20) -> None:
    """Refuse a header that declares more than its bytes can hold, however well they are compressed."""
    if nbytes > ratio * stored + slack:
        raise ImageError(f"{path}: is damaged: {thing} declares {sizes(nbytes)}, stored in {sizes(stored)}")
