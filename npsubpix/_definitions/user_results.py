"""Results of functions that Numba compiled, for loops of the host and of GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["dtype_of_results"]

#: Names of Numba's types of real numbers, which are those of NumPy's dtypes.
_NUMBERS = frozenset(
    f"{name}{bits}" for name, sizes in {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (16, 32, 64)}.items()
    for bits in sizes
) | {"bool"}  # fmt: skip


def dtype_of_results(returned: Any, outputs: int) -> np.dtype[Any]:
    """Return the dtype of results from Numba's type of a result; refuse any other number of values than `outputs`."""
    is_tuple = hasattr(returned, "types")
    values = tuple(map(str, returned.types if is_tuple else (returned,)))
    if is_tuple != (outputs > 1) or len(values) != outputs:
        found = f"a tuple of {len(values)}" if is_tuple else "one value"
        raise ValueError(f"func must return as many values as n_outputs, {outputs}, got {found}")
    if not _NUMBERS.issuperset(values):
        raise TypeError(f"func must return real numbers, got {', '.join(values)}")
    return np.result_type(*map(np.dtype, values))
