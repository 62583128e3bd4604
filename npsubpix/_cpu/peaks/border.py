"""The border of images in which no peaks are reported: its greatest values, so that none is left out in silence."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.nms import limits
from npsubpix._definitions.nms import clipped_margins
from npsubpix._definitions.peaks import PeakSearch

__all__ = ["greatest_in_border"]


@functools.lru_cache(maxsize=16)
def _slabs(shape: tuple[int, ...], margins: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Return the parts of a stack of images that lie in their margins, each pixel in one of them."""
    slabs: list[tuple[slice, ...]] = []
    whole = [slice(0, count) for count in shape]
    for axis, count in enumerate(shape):
        inner = slice(margins[2 * axis], max(count - margins[2 * axis + 1], margins[2 * axis]))
        parts = slice(0, inner.start), slice(inner.stop, count)
        slabs += [(slice(None), *whole[:axis], part, *whole[axis + 1 :]) for part in parts]
        whole[axis] = inner
    return [slab for slab in slabs if all(part.stop > part.start for part in slab[1:])]


@functools.cache
def _neighbours(ndim: int) -> npt.NDArray[np.int64]:
    """Return the steps to the neighbours of a pixel, and to itself."""
    return np.array(list(itertools.product((-1, 0, 1), repeat=ndim)))


def _tops(x: HostArray, mask: HostArray | None, slabs: list[tuple[slice, ...]]) -> list[HostArray]:
    """Return the greatest value of each image in each slab: NaN if there is none, the least if all is masked."""
    axes = tuple(range(1, x.ndim))
    if mask is None:
        return [np.fmax.reduce(x[slab], axis=axes) for slab in slabs]
    low = limits(x.dtype)[0]
    return [np.fmax.reduce(x[slab], axis=axes, where=~mask[slab], initial=low) for slab in slabs]


def _first_at(
    x: HostArray, mask: HostArray | None, slabs: list[tuple[slice, ...]], values: HostArray
) -> npt.NDArray[np.int64]:
    """Return the flat index in each image of the first pixel in the slabs that has its value; -1 for none."""
    shape, images = x.shape[1:], np.arange(len(x))
    first = np.full(len(x), math.prod(shape))
    for slab in slabs:
        hit = x[slab] == values.reshape(-1, *(1,) * len(shape))
        if mask is not None:
            hit &= ~mask[slab]
        flat = hit.reshape(len(x), -1)
        at = flat.argmax(axis=1)
        place = [k + part.start for k, part in zip(np.unravel_index(at, hit.shape[1:]), slab[1:], strict=True)]
        first = np.where(flat[images, at], np.minimum(first, np.ravel_multi_index(place, shape)), first)
    return np.where(first < math.prod(shape), first, -1)


def greatest_in_border(x: HostArray, mask: HostArray | None, search: PeakSearch) -> npt.NDArray[np.float64] | None:
    """Return the greatest value of each image in its margins, if it is a maximum and above `threshold_abs`, else NaN.

    It is a maximum if no neighbour is greater and one is less. None if there are no margins.
    """
    shape = x.shape[1:]
    margins = clipped_margins(search.margins, shape)
    if search.wrap or max(margins) == 0 or x.size == 0:
        return None
    slabs = _slabs(shape, margins)
    tops = _tops(x, mask, slabs)
    top = np.fmax.reduce(tops)
    greatest = top.astype(np.float64)
    high = greatest > (-math.inf if search.threshold_abs is None else search.threshold_abs)
    if not high.any():
        return np.full(len(x), math.nan)
    holding = [slab for slab, own in zip(slabs, tops, strict=True) if (own == top).any()]
    first = _first_at(x, mask, holding, top)
    spots = np.stack(np.unravel_index(np.maximum(first, 0), shape), axis=1)[:, None] + _neighbours(len(shape))
    spots = np.clip(spots, 0, np.array(shape) - 1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(spots, -1, 0)), shape)
    rows = np.arange(len(x))[:, None]
    near = _values(x.reshape(len(x), -1)[rows, flat], None if mask is None else mask.reshape(len(x), -1)[rows, flat])
    with np.errstate(invalid="ignore"):
        is_maximum = ~(near > greatest[:, None]).any(axis=1) & (near < greatest[:, None]).any(axis=1)
    return np.where(is_maximum & high & (first >= 0), greatest, math.nan)


def _values(x: HostArray, mask: HostArray | None) -> npt.NDArray[np.float64]:
    """Convert pixels to float64, masked ones to NaN."""
    values = x.astype(np.float64)
    if mask is not None:
        values[mask] = math.nan
    return values
