"""What functions that Numba compiled return, for loops of the host and of GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.np.numpy_support import as_dtype

__all__ = ["dtype_of_results"]

_TUPLES: Any = getattr(types, "BaseTuple")  # noqa: B009, what Numba's stubs do not list


def dtype_of_results(kind: Any, outputs: int) -> np.dtype[Any]:
    """Return the dtype of results; refuse a function that returns another number of values."""
    values = tuple(kind.types) if isinstance(kind, _TUPLES) else (kind,)
    if isinstance(kind, _TUPLES) != (outputs > 1) or len(values) != outputs:
        found = f"a tuple of {len(values)}" if isinstance(kind, _TUPLES) else "one value"
        raise ValueError(f"func must return as many values as n_outputs, {outputs}, got {found}")
    if not all(isinstance(v, (types.Integer, types.Float, types.Boolean)) for v in values):
        raise TypeError(f"func must return real numbers, got {', '.join(map(str, values))}")
    return np.result_type(*(as_dtype(v) for v in values))
