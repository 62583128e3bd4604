"""Images that are read plane by plane: the planes that an index selects, put together."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._source import ImageError, Index, times

__all__ = ["planes"]


def planes(
    shape: tuple[int, ...], lead: int, dtype: np.dtype[Any], read: Callable[[tuple[int, ...]], HostArray]
) -> Callable[[Index], HostArray]:
    """Return a function that fetches a part of an image; `read` takes the numbers of a plane along its `lead` axes."""
    plane_shape = shape[lead:]

    def plane(numbers: tuple[int, ...]) -> HostArray:
        data = np.asarray(read(numbers))
        if data.size != int(np.prod(plane_shape)):
            raise ImageError(f"has a plane of {times(data.shape)}, where {times(plane_shape)} were declared")
        return data.reshape(plane_shape)

    def fetch(index: Index) -> HostArray:
        chosen = [range(part.start, part.stop) if isinstance(part, slice) else (part,) for part in index[:lead]]
        inside = index[lead:]
        pixels: HostArray | None = None
        count = [len(numbers) for numbers in chosen]
        for place, numbers in enumerate(itertools.product(*chosen)):
            part = plane(numbers)[inside]
            if pixels is None:
                pixels = np.empty((int(np.prod(count, dtype=np.int64)), *part.shape), dtype)
            pixels[place] = part
        assert pixels is not None  # an index of nothing does not come here
        kept = [len(numbers) for numbers, part in zip(chosen, index, strict=False) if isinstance(part, slice)]
        return pixels.reshape((*kept, *pixels.shape[1:]))

    return fetch
