"""Sums of products of the signals of a row, times powers of x.

Products have the precision of the pixels, and sums are float64: alignments that start elsewhere end at the same place.
"""

from __future__ import annotations

import functools

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.jit import device, summing
from npsubpix._definitions.alignment.normal_equations import (
    CROSSED,
    FIXED,
    ONE,
    PROJECTED,
    RESIDUAL,
    SIGNALS,
)

__all__ = ["PAIRS", "add_products", "products_of", "wanted_pairs"]

#: Number of pairs of signals.
PAIRS = SIGNALS * (SIGNALS + 1) // 2

#: Pair of any two signals, whichever comes first.
_PLACES = np.array([[max(k, m) * (max(k, m) + 1) // 2 + min(k, m) for m in range(SIGNALS)] for k in range(SIGNALS)])

#: Powers of y and of x in the features of a signal.
_POWERS = np.array([[0, 0, 1], [0, 1, 0]])


@summing
def _moments(a, b, x):
    """Sum the products of two signals, times 1, x and x squared."""
    total, first, second = 0.0, 0.0, 0.0
    for j in range(a.size):
        p = np.float64(a[j] * b[j])
        q = p * x[j]
        total += p
        first += q
        second += q * x[j]
    return total, first, second


@device
def add_products(sums, weighed, signals, wanted, y, x):
    """Add the products of weighed signals with signals, for the pairs wanted, to sums (pairs, powers of y and x)."""
    pair = 0
    for k in range(SIGNALS):
        for m in range(k + 1):
            if wanted[pair]:
                total, first, second = _moments(weighed[k], signals[m], x)
                power = 1.0
                for n in range(3):
                    sums[pair, n, 0] += power * total
                    sums[pair, n, 1] += power * first
                    sums[pair, n, 2] += power * second
                    power *= y
            pair += 1


@functools.cache
def wanted_pairs(perspective: bool, brightness: bool, gain_bias: bool, crossed: bool, scores: bool) -> HostArray:
    """Return the pairs of signals whose products are summed, with the weights of a use and with those of scores."""
    gradient = [0, 1, PROJECTED] if perspective else [0, 1]
    of_parameters = [*gradient, FIXED, ONE] if gain_bias else gradient
    others = [CROSSED + k for k in gradient] if crossed else []
    wanted = np.zeros((2, SIGNALS, SIGNALS), bool)
    wanted[0][np.ix_([*of_parameters, RESIDUAL, *others], of_parameters)] = True
    wanted[0, RESIDUAL, RESIDUAL] = True
    if brightness:
        wanted[0, FIXED : RESIDUAL + 1, FIXED : RESIDUAL + 1] = True
    if scores:
        wanted[1][np.ix_(of_parameters + others, of_parameters)] = True
    first, second = np.tril_indices(SIGNALS)
    return wanted[:, first, second]


def products_of(sums: HostArray) -> HostArray:
    """Return the products of features, from sums over pairs of signals times powers of y and x."""
    moments = sums[_PLACES]
    gram = moments[:, :, _POWERS[0][:, None] + _POWERS[0], _POWERS[1][:, None] + _POWERS[1]].transpose(0, 2, 1, 3)
    return np.asarray(gram.reshape(3 * SIGNALS, 3 * SIGNALS))
