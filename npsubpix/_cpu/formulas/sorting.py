"""Sort floats by the digits of their bits: linear time, no comparison and so no branch to predict.

The bits of floats that are not negative are ordered as integers are; those of negative ones are in
the opposite order, so all of their bits are inverted. A digit is a byte. Bytes that are the same in
all numbers, as the exponents of the pixels of a box often are, cost no pass.
"""

from __future__ import annotations

import numpy as np

from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import allocates, device

__all__ = ["insert", "sort_floats"]

_FEW = 64  # numbers that are sorted faster by insertion


@device
def insert(values):
    """Sort a few numbers, none of them NaN, in place."""
    for k in range(1, values.size):
        v = values[k]
        j = k
        while j > 0 and values[j - 1] > v:
            values[j] = values[j - 1]
            j -= 1
        values[j] = v


@device
def _to_keys(keys):
    """Make integers of the bits of floats that have their order."""
    U = keys.dtype.type
    top = U(8 * keys.itemsize - 1)
    sign = U(1) << top
    for k in range(keys.size):
        keys[k] ^= sign | (U(0) - (keys[k] >> top))


@device
def _to_bits(keys):
    """Undo `_to_keys`."""
    U = keys.dtype.type
    top = U(8 * keys.itemsize - 1)
    sign = U(1) << top
    for k in range(keys.size):
        keys[k] ^= sign | ((keys[k] >> top) - U(1))


@device
def _count(keys, counts):
    """Count the digits of all places in one pass."""
    U = keys.dtype.type
    for k in range(keys.size):
        key = keys[k]
        for place in range(counts.shape[0]):
            counts[place, (key >> U(8 * place)) & U(255)] += 1


@device
def _move(keys, count, place, out):
    """Write numbers in the order of one digit, and of where they stand; `count` of the digit is used up."""
    U = keys.dtype.type
    total = 0
    for digit in range(256):
        here = count[digit]
        count[digit] = total
        total += here
    shift = U(8 * place)
    for k in range(keys.size):
        digit = (keys[k] >> shift) & U(255)
        out[count[digit]] = keys[k]
        count[digit] += 1


@device
@allocates
def sort_floats(values, spare, bits):
    """Sort finite floats in place; `spare` is as many or more of them, `bits` an array of integers of their width."""
    if values.size <= _FEW:
        insert(values)
        return
    keys, other = values.view(bits.dtype), spare[: values.size].view(bits.dtype)
    U = bits.dtype.type
    _to_keys(keys)
    counts = np.zeros((bits.itemsize, 256), np.int64)
    _count(keys, counts)
    swapped = False
    for place in range(bits.itemsize):
        if counts[place, (keys[0] >> U(8 * place)) & U(255)] == keys.size:
            continue
        _move(keys, counts[place], place, other)
        keys, other = other, keys
        swapped = not swapped
    if swapped:
        copy_to(other, keys)
        keys = other
    _to_bits(keys)
