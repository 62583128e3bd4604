"""What operations on stacks of maps share: coordinate frames, and the adjoint of broadcasting."""

from __future__ import annotations

import functools

import numpy as np

from npsubpix._arrays import HostArray

__all__ = ["frames", "sum_to_shape"]


@functools.lru_cache(maxsize=256)
def frames(shape: tuple[int, ...], normalized: bool) -> HostArray:
    """Centre and factor from pixels to coordinates for each axis; an axis of one pixel stays as it is."""
    return np.array([(0.5 * (n - 1), 2 / (n - 1)) if normalized and n > 1 else (0.0, 1.0) for n in shape])


def sum_to_shape(x: HostArray, shape: tuple[int, ...]) -> HostArray:
    """Sum over the axes along which an array of `shape` was broadcast to that of x."""
    x = x.sum(tuple(range(x.ndim - len(shape))))
    stretched = tuple(k for k, n in enumerate(shape) if n == 1 and x.shape[k] != 1)
    return np.asarray(x.sum(stretched, keepdims=True))
