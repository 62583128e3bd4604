"""The arrays of one call, adopted together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npsubpix._arrays.adoption import adopt, adopt_mask
from npsubpix._arrays.library import Array, HostArray, is_on_gpu, kind_of, place_of
from npsubpix._dispatch.operations import Operation

__all__ = []


def adopt_all(operation: Operation, arrays: Sequence[Array | None]) -> tuple[HostArray | None, ...]:
    """Adopt the arrays of a call, all of one device; beside one on a GPU, a number may be on the host."""
    hosts: list[HostArray | None] = []
    first = arrays[0]
    on_gpu = is_on_gpu(first, kind_of(first))
    for argument, array in zip(operation.arguments, arrays, strict=True):
        if array is None:
            hosts.append(None)
        elif type(array) is float:
            hosts.append(np.array(array))
        elif hosts and (on_gpu or is_on_gpu(array, kind_of(array))) and not _is_beside(array, first):
            raise TypeError(
                f"{argument.name} is on {place_of(array)} and {operation.arguments[0].name} on {place_of(first)}: "
                "both must be on one device"
            )
        elif argument.boolean:
            hosts.append(adopt_mask(array))
        else:
            hosts.append(adopt(array, argument.name))
    return tuple(hosts)


def _is_beside(array: Array, first: Array) -> bool:
    place = place_of(array)
    return place == place_of(first) or (array.ndim == 0 and place == "the host")
