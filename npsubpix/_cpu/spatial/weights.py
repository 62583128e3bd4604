"""The weights of the pixels of a map: the maximum by which they are shifted, and their exponentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._cpu.compiler.jit import allocating, device, fused, inlined_fused
from npsubpix._cpu.formulas.exponential import as_float32, as_float64, exponential32, exponential64, limited_exponent

__all__ = ["maximum_of", "row_weights"]


def maximum_of(F: Any) -> Callable[..., Any]:
    """Make the function of the greatest pixel, by the bits of floats: integers have a maximum in vector code."""
    as_float = as_float32 if F is np.float32 else as_float64
    Bits = np.int32 if F is np.float32 else np.int64
    unsigned, infinity = Bits(np.iinfo(Bits).max), F(np.inf).view(Bits)
    lowest = Bits(F(-np.inf).view(Bits) ^ unsigned)

    # Of negative floats, all bits but the sign are inverted: integers then have the order of floats.

    @device
    def of_all(bits):
        top, magnitude = lowest, Bits(0)
        for j in range(bits.size):
            b = bits[j]
            key = b if b >= 0 else Bits(b ^ unsigned)
            size = Bits(b & unsigned)
            top = key if key > top else top
            magnitude = size if size > magnitude else magnitude
        return top, magnitude

    @device
    def of_weighted(bits, weights):
        top, magnitude = lowest, Bits(0)
        for j in range(bits.size):
            b, counts = bits[j], weights[j] > 0
            key = b if b >= 0 else Bits(b ^ unsigned)
            key = key if counts else lowest
            size = Bits(b & unsigned) if counts else Bits(0)
            top = key if key > top else top
            magnitude = size if size > magnitude else magnitude
        return top, magnitude

    @allocating
    def maximum(pixels, weights, weighted):
        """Return the greatest pixel that has weight, NaN if one of them is."""
        bits = pixels.view(Bits)
        if weighted:
            top, magnitude = of_weighted(bits, weights)
        else:
            top, magnitude = of_all(bits)
        top = top if top >= 0 else Bits(top ^ unsigned)
        return as_float(top) if magnitude <= infinity else F(np.nan)

    return maximum


def row_weights(F: Any) -> tuple[Callable[..., Any], ...]:
    """Make the functions of the exponent, and of the weights of the pixels of a row."""
    exponential = exponential32 if F is np.float32 else exponential64
    limited = limited_exponent(F)

    @fused
    def exponent(v, shift, scale):
        return F(0) if v == shift else limited(v, shift, scale)  # also for infinity less infinity

    @inlined_fused
    def weight(v, shift, scale):
        a = (v - shift) * scale
        return exponential(a if a < 0 else F(0))  # NaN is infinity less infinity

    @fused
    def weigh_all(e, row, shift, scale):
        for j in range(e.size):
            e[j] = weight(row[j], shift, scale)

    @fused
    def weigh_by(e, row, weights, shift, scale):
        for j in range(e.size):
            v = weight(row[j], shift, scale) * weights[j]
            e[j] = v if weights[j] > 0 else F(0)

    @device
    def weigh(e, row, weights, weighted, shift, scale):
        """Write the weight of each pixel of a row."""
        if weighted:
            weigh_by(e, row, weights, shift, scale)
        else:
            weigh_all(e, row, shift, scale)

    return exponent, weigh
