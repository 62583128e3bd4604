"""The logarithm of positive numbers, as arithmetic that vectorises.

The argument is written as 2**n m with m from sqrt(1/2) to sqrt(2), and log(m) is 2 atanh((m - 1) / (m + 1)), by its
series up to the power 19: the first term left out is below 1e-16. Subnormal numbers, infinity and NaN are not handled.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npsubpix._cpu.compiler.jit import fused

__all__ = ["logarithm64"]


@intrinsic  # type: ignore[untyped-decorator]
def _bits(typing_context: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _number(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


_ROOT_HALF = np.int64(np.float64(math.sqrt(0.5)).view(np.int64))
_MANTISSA = np.int64(52)
_LN2 = math.log(2)
_SERIES = tuple(2.0 / (2 * k + 1) for k in range(10))


@fused
def logarithm64(x):
    """Return the natural logarithm of a normal number above 0."""
    bits = _bits(x)
    power = (bits - _ROOT_HALF) >> _MANTISSA
    m = _number(bits - (power << _MANTISSA))
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    p = _SERIES[9]
    p = p * q + _SERIES[8]
    p = p * q + _SERIES[7]
    p = p * q + _SERIES[6]
    p = p * q + _SERIES[5]
    p = p * q + _SERIES[4]
    p = p * q + _SERIES[3]
    p = p * q + _SERIES[2]
    p = p * q + _SERIES[1]
    p = p * q + _SERIES[0]
    return np.int32(power) * _LN2 + s * p
