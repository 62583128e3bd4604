"""Functions that operations on stacks of maps share."""

from __future__ import annotations

import math

from npsubpix._arrays.library import HostArray

__all__ = ["as_stack"]


def as_stack(x: HostArray, axes: int) -> HostArray:
    """View maps over the last axes as (N, D, H, W)."""
    leading, shape = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
    return x.reshape(math.prod(leading), *(1,) * (3 - axes), *shape)
