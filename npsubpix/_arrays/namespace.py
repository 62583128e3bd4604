"""Functions of the array API standard for the caller's arrays, for steps that no kernel takes."""

from __future__ import annotations

from typing import Any

import array_api_compat as api
import numpy as np

from npsubpix._arrays.checks import check_reals
from npsubpix._arrays.library import Array, as_array, as_floats, has_booleans
from npsubpix._definitions.dtypes import HostArray

__all__ = ["at_least_single", "constants_like", "float_array", "namespace_of"]


def namespace_of(x: Array) -> Any:
    """Return the functions of the array API standard for the library of an array."""
    return api.array_namespace(x)


def constants_like(values: HostArray, x: Array, dtype: Any = None) -> Array:
    """Copy numbers of the host to the library and the device of an array, in a dtype of that library."""
    return namespace_of(x).asarray(values, dtype=dtype, device=api.device(x))


def float_array(value: Any, name: str) -> Array:
    """Require an array of real numbers; integers become floats of their promotion with float32."""
    x = as_array(value, name)
    dtype = str(x.dtype).rpartition(".")[2]
    if has_booleans(x) or not dtype.startswith(("int", "uint")):
        return check_reals(x, name)
    return as_floats(x, np.result_type(dtype, np.float32).name)


def at_least_single(x: Array) -> Array:
    """Return floats of half precision in float32, and others as they are."""
    xp = namespace_of(x)
    return xp.astype(x, xp.result_type(x.dtype, xp.float32), copy=False)
