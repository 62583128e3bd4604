"""Sort floats by digits: linear time, no comparison and so hardly a branch to predict.

Many are sorted by the digits of their bits, a few hundred by those of a coarser number: that takes fewer passes.

The bits of floats that are not negative are ordered as integers are; those of negative ones are in
the opposite order, so all of their bits are inverted. A digit is a byte, or 11 bits of many numbers. Digits that are
the same in all numbers, as the exponents of the pixels of a box often are, cost no pass.
"""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import allocating, device

__all__ = ["insert", "sort_floats"]

_FEW = 64  # numbers that are sorted faster by insertion
_MANY = 512  # numbers from which on a pass for each digit is as fast
_SHORT, _LONG, _MORE = 8, 11, 2048  # bits of a digit, and of one of as many numbers as it has values or more
_LEVELS = 1 << 16  # of two digits
_SAMPLE, _TAIL = 16, 2  # numbers that show the spread of all, without as many at either end:
_BEYOND = 1.5  # levels reach so many times as far as these beyond them, four standard deviations from the mean


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
def _count(keys, width, counts):
    """Count the digits of all places in one pass; digits are `width` bits."""
    U = keys.dtype.type
    ones = U(counts.shape[1] - 1)
    for k in range(keys.size):
        key = keys[k]
        for place in range(counts.shape[0]):
            counts[place, (key >> U(width * place)) & ones] += 1


@device
def _move(keys, count, shift, out):
    """Write numbers in the order of one digit, and of where they stand; `count` of the digit is used up."""
    U = keys.dtype.type
    total = 0
    for digit in range(count.size):
        here = count[digit]
        count[digit] = total
        total += here
    ones = U(count.size - 1)
    for k in range(keys.size):
        digit = (keys[k] >> shift) & ones
        out[count[digit]] = keys[k]
        count[digit] += 1


@allocating
def _sort_by_digits(values, spare, bits):
    """Sort floats in place by the digits of their bits."""
    keys, other = values.view(bits.dtype), spare.view(bits.dtype)
    U = bits.dtype.type
    _to_keys(keys)
    width = _LONG if keys.size >= _MORE else _SHORT
    places = (8 * bits.itemsize + width - 1) // width
    counts = np.zeros((places, 1 << width), np.int64)
    _count(keys, width, counts)
    swapped = False
    for place in range(places):
        shift = U(width * place)
        if counts[place, (keys[0] >> shift) & U((1 << width) - 1)] == keys.size:
            continue
        _move(keys, counts[place], shift, other)
        keys, other = other, keys
        swapped = not swapped
    if swapped:
        copy_to(other, keys)
        keys = other
    _to_bits(keys)


@device
def _level_of(value, low, scale):
    return np.int64(min(max((np.float64(value) - low) * scale, 0.0), _LEVELS - 1.0))


@allocating
def _sort_by_levels(values, spare, bits):
    """Sort floats in place, if a few of them show how they spread; return whether they did.

    They are sorted by two digits of their level, on a scale for most of them, and by insertion within a level.
    """
    n = values.size
    for k in range(_SAMPLE):
        spare[k] = values[k * n // _SAMPLE]
    insert(spare[:_SAMPLE])
    low, high = np.float64(spare[_TAIL]), np.float64(spare[_SAMPLE - 1 - _TAIL])
    low, high = low - _BEYOND * (high - low), high + _BEYOND * (high - low)
    scale = _LEVELS / (high - low)
    if not 0.0 < scale < math.inf:
        return False
    counts = np.zeros((2, 256), np.int64)
    below = above = 0
    for k in range(n):
        level = _level_of(values[k], low, scale)
        counts[0, level & 255] += 1
        counts[1, level >> 8] += 1
        below += level == 0
        above += level == _LEVELS - 1
    first = second = 0
    for digit in range(256):
        here, there = counts[0, digit], counts[1, digit]
        counts[0, digit], counts[1, digit] = first, second
        first += here
        second += there
    for k in range(n):
        digit = _level_of(values[k], low, scale) & 255
        spare[counts[0, digit]] = values[k]
        counts[0, digit] += 1
    for k in range(n):
        digit = _level_of(spare[k], low, scale) >> 8
        values[counts[1, digit]] = spare[k]
        counts[1, digit] += 1
    if below > _FEW:
        _sort_by_digits(values[:below], spare[:below], bits)
    if above > _FEW:
        _sort_by_digits(values[n - above :], spare[:above], bits)
    insert(values)
    return True


@device
def sort_floats(values, spare, bits):
    """Sort finite floats in place; `spare` is as many or more of them, `bits` an array of integers of their width."""
    if values.size <= _FEW:
        insert(values)
    elif values.size >= _MANY or not _sort_by_levels(values, spare, bits):
        _sort_by_digits(values, spare[: values.size], bits)
