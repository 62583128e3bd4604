"""Functions that operations on stacks of maps share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray

__all__ = ["as_stack", "promoted"]


def promoted(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of results: a floating one as it is, an integer promoted with float32."""
    return dtype if dtype.kind == "f" else np.result_type(dtype, np.float32)


def as_stack(x: HostArray, axes: int) -> HostArray:
    """View maps over the last axes as (N, D, H, W)."""
    leading, shape = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
    return x.reshape(math.prod(leading), *(1,) * (3 - axes), *shape)
