"""The exponential of what is not positive, as arithmetic that vectorises.

A call of the C library for each pixel would keep the loop around it from becoming vector code.
The argument is written as n ln 2 + r with an integer n and abs(r) <= ln(2) / 2. The power of two
is made by its bits, and exp(r) is its Taylor series, cut off below the last digit: the first term
left out is r**8 / 8! = 5e-9 in float32 and r**13 / 13! = 2e-16 in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npsubpix._cpu.compiler.jit import fused
from npsubpix._definitions.constants import LEAST_EXPONENT

__all__ = ["as_float32", "as_float64", "exponential32", "exponential64", "limited_exponent"]


@intrinsic  # type: ignore[untyped-decorator]
def as_float32(typing_context: Any, bits: Any) -> Any:
    """Return the float32 of the bits of an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic  # type: ignore[untyped-decorator]
def as_float64(typing_context: Any, bits: Any) -> Any:
    """Return the float64 of the bits of an int64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


def limited_exponent(F: Any) -> Any:
    """Make the function that gives (v - shift) * scale, in the precision of F."""
    least = F(LEAST_EXPONENT)

    @fused
    def exponent(v, shift, scale):
        a = (v - shift) * scale
        return a if a > least else least

    return exponent


_f = np.float32
_LOG2E_32, _LN2_HIGH_32 = _f(1 / math.log(2)), _f(0.693359375)  # 355/512: 9 bits, so that n * it is exact
_LN2_LOW_32 = _f(math.log(2) - 0.693359375)
_HALF_32, _ONE_32, _LEAST_32, _ZERO_32 = _f(0.5), _f(1), _f(-87.0), _f(0)
_C2, _C3, _C4, _C5, _C6, _C7 = (_f(1 / math.factorial(k)) for k in range(2, 8))


@fused
def exponential32(a):
    """Return exp(a) for float32 a <= 0; 0 below -87."""
    clipped = a if a > _LEAST_32 else _LEAST_32
    n = np.floor(clipped * _LOG2E_32 + _HALF_32)
    r = clipped - n * _LN2_HIGH_32
    r = r - n * _LN2_LOW_32
    p = _C7
    p = p * r + _C6
    p = p * r + _C5
    p = p * r + _C4
    p = p * r + _C3
    p = p * r + _C2
    p = p * (r * r) + r + _ONE_32
    power = p * as_float32((np.int32(n) + np.int32(127)) << np.int32(23))
    return power if a > _LEAST_32 else _ZERO_32


_LOG2E_64 = 1 / math.log(2)
_LN2_HIGH_64 = float(np.uint64(0x3FE62E42FEE00000).view(np.float64))  # its low 21 bits are 0
_LN2_LOW_64 = 1.9082149292705877e-10  # ln 2 less that
_D = tuple(1 / math.factorial(k) for k in range(13))


@fused
def exponential64(a):
    """Return exp(a) for float64 a <= 0; 0 below -708."""
    clipped = a if a > -708.0 else -708.0
    n = np.floor(clipped * _LOG2E_64 + 0.5)
    r = clipped - n * _LN2_HIGH_64
    r = r - n * _LN2_LOW_64
    p = _D[12]
    p = p * r + _D[11]
    p = p * r + _D[10]
    p = p * r + _D[9]
    p = p * r + _D[8]
    p = p * r + _D[7]
    p = p * r + _D[6]
    p = p * r + _D[5]
    p = p * r + _D[4]
    p = p * r + _D[3]
    p = p * r + _D[2]
    p = p * (r * r) + r + 1.0
    power = p * as_float64(np.int64(np.int32(n) + np.int32(1023)) << np.int64(52))  # AVX2 converts to 32 bits alone
    return power if a > -708.0 else 0.0
