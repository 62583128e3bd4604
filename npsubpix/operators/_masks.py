"""Masks of a detector, which say where features may be: the opposite of the masks of all other functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.library import Array
from npsubpix._arrays.namespace import constants_like, namespace_of

__all__ = ["is_clear", "level_mask", "weighted"]


def level_mask(mask: Array, shape: tuple[int, int], dtype: Any) -> Array:
    """Return the weights, up to 1, of the pixels of an octave, (N, H * W): the least one of those that a pixel covers.

    Of a mask of integers or booleans all weights are 0 or 1.
    """
    xp = namespace_of(mask)
    if xp.isdtype(mask.dtype, "real floating"):
        weights = xp.astype(mask, xp.result_type(mask.dtype, xp.float32), copy=False)
        weights = xp.where(weights > 1, xp.ones_like(weights), weights)
    else:
        weights = xp.astype(mask != 0, xp.float32)
    weights = weights[:, 0]
    for axis, size in ((1, shape[0]), (2, shape[1])):
        weights = _least(weights, axis, size)
    return xp.reshape(xp.astype(weights, dtype, copy=False), (mask.shape[0], -1))


def _least(weights: Array, axis: int, size: int) -> Array:
    """Reduce an axis to the least weights of windows that overlap where the sizes have no common measure."""
    length = weights.shape[axis]
    if length == size:
        return weights
    pixels = np.arange(size)
    first, last = pixels * length // size, -(-(pixels + 1) * length // size) - 1
    columns = np.minimum(first[:, None] + np.arange((last - first).max() + 1), last[:, None])
    xp = namespace_of(weights)
    windows = xp.take(weights, constants_like(columns.reshape(-1), weights), axis=axis)
    shape = (*weights.shape[:axis], *columns.shape, *weights.shape[axis + 1 :])
    return xp.min(xp.reshape(windows, shape), axis=axis + 1)


def weighted(values: Array, weights: Array, dtype: Any) -> Array:
    """Weaken responses, of either sign, by weights of up to 1; they stay finite in a dtype."""
    xp = namespace_of(values)
    weights = xp.astype(weights, values.dtype, copy=False)
    divisors = xp.where(weights > 0, weights, xp.ones_like(weights))
    return xp.clip(xp.where(values >= 0, values * weights, values / divisors), min=float(xp.finfo(dtype).min))


def is_clear(mask: Array, x: Array, y: Array, width: int) -> Array:
    """Whether all pixels of an octave that positions touch have a weight above 0."""
    xp = namespace_of(x)
    clear = x == x
    for row in (xp.floor(y), xp.ceil(y)):
        for column in (xp.floor(x), xp.ceil(x)):
            rows = xp.clip(xp.astype(row, xp.int64), 0, mask.shape[0] // width - 1)
            columns = xp.clip(xp.astype(column, xp.int64), 0, width - 1)
            clear = clear & (xp.take(mask, rows * width + columns, axis=0) > 0)
    return clear
