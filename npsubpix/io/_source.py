"""Source of an image: an open file, its axes, and a function that reads a part of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray

__all__ = ["ImageError", "Index", "Source"]

Index = tuple[Any, ...]


class ImageError(ValueError):
    """An image that cannot be used; the message is one line and names the file, what it is and what is needed."""


@dataclass(frozen=True)
class Source:
    """An open file: its axes, one letter per axis, and a function that reads a part of it.

    S are the samples of a pixel, C channels, Y rows and X columns.
    """

    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    fetch: Callable[[Index], HostArray]
    colour: bool = False  # the samples are red, green, blue and perhaps alpha
    others: int = 0  # images of the file that are not among the frames
