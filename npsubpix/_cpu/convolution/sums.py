"""Weighted sums of lines of pixels: vector code, with weights that stay in registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._cpu.compiler.jit import device, fused

__all__ = ["add_row_twice", "add_strided", "sum_row", "sum_three_lines"]

_TWO = np.uint64(2)
_MOST = 8  # weights that are kept in registers


def _weighted(count: int, begins: bool) -> Callable[..., Any]:
    """Make a function that adds to sums[j] the pixels x[j + m * d] times weights[m], or begins with them."""

    def begin(sums, x, weights, d):
        for k in range(sums.size):
            j = np.uint64(k)  # no index is negative, and so none is counted from the end
            total = weights[0] * x[j]
            for m in range(1, count):
                total += weights[m] * x[j + np.uint64(m) * d]
            sums[j] = total

    def add(sums, x, weights, d):
        for k in range(sums.size):
            j = np.uint64(k)
            total = weights[0] * x[j]
            for m in range(1, count):
                total += weights[m] * x[j + np.uint64(m) * d]
            sums[j] += total

    return fused(begin if begins else add)


_begin_1, _begin_2, _begin_3, _begin_4, _begin_5, _begin_6, _begin_7, _begin_8 = (
    _weighted(count, True) for count in range(1, _MOST + 1)
)
_add_1, _add_2, _add_3, _add_4, _add_5, _add_6, _add_7, _add_8 = (
    _weighted(count, False) for count in range(1, _MOST + 1)
)


def _weighted_twice(count: int) -> Callable[..., Any]:
    """Make a function that adds the pixels x[j + m * d] to two sums, with weights of their own: one load for both."""

    @fused
    def add(a, b, x, u, v, d):
        for k in range(a.size):
            j = np.uint64(k)
            first, second = u[0] * x[j], v[0] * x[j]
            for m in range(1, count):
                pixel = x[j + np.uint64(m) * d]
                first += u[m] * pixel
                second += v[m] * pixel
            a[j] += first
            b[j] += second

    return add


_add_5_twice, _add_7_twice = _weighted_twice(5), _weighted_twice(7)


@fused
def sum_three_lines(s, a, b, c, weights, d):
    """Set sums to those of three lines with three weights each: the sums stay in registers."""
    u0, u1, u2 = weights[0, 0], weights[0, 1], weights[0, 2]
    v0, v1, v2 = weights[1, 0], weights[1, 1], weights[1, 2]
    w0, w1, w2 = weights[2, 0], weights[2, 1], weights[2, 2]
    d = np.uint64(d)
    for k in range(s.size):
        j = np.uint64(k)
        first = u0 * a[j] + u1 * a[j + d] + u2 * a[j + _TWO * d]
        second = v0 * b[j] + v1 * b[j + d] + v2 * b[j + _TWO * d]
        s[j] = first + second + (w0 * c[j] + w1 * c[j + d] + w2 * c[j + _TWO * d])


@device
def _begin(sums, line, weights, step):
    count = weights.size
    if count == 1:
        _begin_1(sums, line, weights, step)
    elif count == 2:
        _begin_2(sums, line, weights, step)
    elif count == 3:
        _begin_3(sums, line, weights, step)
    elif count == 4:
        _begin_4(sums, line, weights, step)
    elif count == 5:
        _begin_5(sums, line, weights, step)
    elif count == 6:
        _begin_6(sums, line, weights, step)
    elif count == 7:
        _begin_7(sums, line, weights, step)
    else:
        _begin_8(sums, line, weights, step)


@device
def _add(sums, line, weights, step):
    count = weights.size
    if count == 1:
        _add_1(sums, line, weights, step)
    elif count == 2:
        _add_2(sums, line, weights, step)
    elif count == 3:
        _add_3(sums, line, weights, step)
    elif count == 4:
        _add_4(sums, line, weights, step)
    elif count == 5:
        _add_5(sums, line, weights, step)
    elif count == 6:
        _add_6(sums, line, weights, step)
    elif count == 7:
        _add_7(sums, line, weights, step)
    else:
        _add_8(sums, line, weights, step)


@device
def sum_row(sums, line, weights, step, begins):
    """Add to sums[j] the pixels line[j + b * step] times weights[b], for all b, or begin sums with them."""
    for first in range(0, weights.size, _MOST):
        part, group = line[first * step :], weights[first : first + _MOST]
        if begins and first == 0:
            _begin(sums, part, group, np.uint64(step))
        else:
            _add(sums, part, group, np.uint64(step))


@device
def add_row_twice(a, b, line, u, v, step):
    """Add pixels to two sums as `sum_row` does; each has the bits that it has by itself."""
    if u.size == 5:
        _add_5_twice(a, b, line, u, v, np.uint64(step))
    elif u.size == 7:
        _add_7_twice(a, b, line, u, v, np.uint64(step))
    else:
        sum_row(a, line, u, step, False)
        sum_row(b, line, v, step, False)


@fused
def add_strided(sums, line, weights, step, stride):
    step, stride = np.uint64(step), np.uint64(stride)
    for k in range(sums.size):
        j = np.uint64(k)
        total = sums[j]
        for m in range(weights.size):
            b = np.uint64(m)
            total += weights[b] * line[j * stride + b * step]
        sums[j] = total
