"""The exponential of what is not positive, as arithmetic that vectorises.

A call of the C library for each pixel would keep the loop around it from becoming vector code.
The argument is written as n ln 2 + r with an integer n and abs(r) <= ln(2) / 2. The power of two
is made by its bits. In float64, exp(r) is its Taylor series, cut off below the last digit: the first
term left out is r**13 / 13! = 2e-16. In float32 it is the polynomial of degree 6 that is off by 3e-9
at most. There ln 2 is one number, whose rounding moves the result of an argument a by 3e-9 a, while
rounding a itself may move it by 6e-8 a; maps of small images wait for this function alone.
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
def _bits_of(typing_context: Any, number: Any) -> Any:
    """Return the bits of a float32 as an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), generate


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
_LOG2E_32, _LN2_32 = _f(1 / math.log(2)), _f(math.log(2))
_ONE_32, _LEAST_32, _ZERO_32 = _f(1), _f(-87.0), _f(0)
_ROUNDING_32 = _f(1.5 * 2**23 + 127)  # a sum with it is rounded to an integer, whose bits are the last ones
_C2, _C3, _C4, _C5, _C6 = map(_f, (0.49999993, 0.16666521, 0.04166839, 0.00836872, 0.00138146))


@fused
def exponential32(a):
    """Return exp(a) for float32 a <= 0; 0 below -87."""
    shifted = a * _LOG2E_32 + _ROUNDING_32
    n = shifted - _ROUNDING_32
    r = a - n * _LN2_32
    p = _C6
    p = p * r + _C5
    p = p * r + _C4
    p = p * r + _C3
    p = p * r + _C2
    p = p * r + _ONE_32
    p = p * r + _ONE_32
    power = p * as_float32(np.int32(_bits_of(shifted) << np.int32(23)))
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
