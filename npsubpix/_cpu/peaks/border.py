"""The border of images in which no peaks are reported: its greatest values, so that none is left out in silence."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._definitions.nms import clipped_margins
from npsubpix._definitions.peaks import PeakSearch

__all__ = ["greatest_in_border"]


@functools.lru_cache(maxsize=16)
def _border(shape: tuple[int, ...], margins: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the flat indices of the pixels of an image that lie in its margins."""
    inside = np.zeros(shape, bool)
    inside[tuple(slice(m, n - k) for m, k, n in zip(margins[::2], margins[1::2], shape, strict=True))] = True
    return np.flatnonzero(~inside)


def greatest_in_border(x: HostArray, mask: HostArray | None, search: PeakSearch) -> npt.NDArray[np.float64] | None:
    """Return the greatest value of each image in its margins, if it is a maximum and above `threshold_abs`, else NaN.

    It is a maximum if no neighbour is greater and one is less. None if there are no margins.
    """
    shape = x.shape[1:]
    margins = clipped_margins(search.margins, shape)
    if search.wrap or max(margins) == 0 or x.size == 0:
        return None
    places = _border(shape, margins)
    pixels = x.reshape(len(x), -1)
    seen = _values(pixels[:, places], None if mask is None else mask.reshape(len(x), -1)[:, places])
    seen[np.isnan(seen)] = -math.inf
    best = seen.argmax(axis=1)
    images = np.arange(len(x))
    greatest = seen[images, best]
    around = np.array(list(itertools.product((-1, 0, 1), repeat=len(shape))))
    spots = np.stack(np.unravel_index(places[best], shape), axis=1)[:, None] + around
    spots = np.clip(spots, 0, np.array(shape) - 1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(spots, -1, 0)), shape)
    rows = images[:, None]
    near = _values(pixels[rows, flat], None if mask is None else mask.reshape(len(x), -1)[rows, flat])
    with np.errstate(invalid="ignore"):
        is_maximum = ~(near > greatest[:, None]).any(axis=1) & (near < greatest[:, None]).any(axis=1)
    threshold = -math.inf if search.threshold_abs is None else search.threshold_abs
    return np.where(is_maximum & (greatest > threshold), greatest, math.nan)


def _values(x: HostArray, mask: HostArray | None) -> npt.NDArray[np.float64]:
    """Convert pixels to float64, masked ones to NaN."""
    values = x.astype(np.float64)
    if mask is not None:
        values[mask] = math.nan
    return values
