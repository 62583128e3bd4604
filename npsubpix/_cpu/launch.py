"""What operations on stacks of maps share: coordinate frames, temperatures, and the adjoint of broadcasting."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._definitions.dtypes import promoted

__all__ = ["as_stack", "frames", "held_temperatures", "promoted", "sum_to_shape"]


def as_stack(x: HostArray, axes: int) -> HostArray:
    """View maps over the last axes as (N, D, H, W)."""
    leading, shape = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
    return x.reshape(math.prod(leading), *(1,) * (3 - axes), *shape)


@functools.lru_cache(maxsize=256)
def frames(shape: tuple[int, ...], normalized: bool) -> HostArray:
    """Centre and factor from pixels to coordinates for each axis; an axis of one pixel stays as it is."""
    return np.array([(0.5 * (n - 1), 2 / (n - 1)) if normalized and n > 1 else (0.0, 1.0) for n in shape])


def held_temperatures(temperatures: HostArray, precision: np.dtype[Any]) -> HostArray:
    """Keep temperatures, and their inverses, finite: weights are all or nothing, or equal, long before that."""
    most = float(np.finfo(precision).max) / 4
    return np.clip(temperatures.ravel(), 1 / most, most)


def sum_to_shape(x: HostArray, shape: tuple[int, ...]) -> HostArray:
    """Sum over the axes along which an array of `shape` was broadcast to that of x."""
    x = x.sum(tuple(range(x.ndim - len(shape))))
    stretched = tuple(k for k, n in enumerate(shape) if n == 1 and x.shape[k] != 1)
    return np.asarray(x.sum(stretched, keepdims=True))
