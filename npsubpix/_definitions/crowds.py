"""Fits of spots together with their neighbours: which spots are neighbours, in which order, and how far each reaches.

Each spot is fitted to the pixels of its own box, on its own background, less the other spots. Sweeps take one step of
one spot after the other until none moves. So the parameters p of spot i solve

    sum over its box of w D (k - own mean - other spots) = 0

with weights w and derivatives D of the mean with respect to p. To first order in the noise n, errors e are those v of
a fit that knows the other spots, corrected by the errors of these:

    e_i = v_i - sum_j T_ij e_j,    v_i = C_i sum w D_i n,    T_ij = C_i sum w D_i S_j'

where C_i is the inverse information of the spot alone, and S_j are derivatives with respect to position, flux and
widths of the neighbour j, but not of its background. The covariances of v_i and v_j are G_ij = C_i B_ij C_j with B_ij =
sum sqrt(w_i w_j) D_i D_j' over the pixels of both boxes, of unweighted least squares with the signal of each pixel as
a second variance, see `fitting.py`. The covariance of e is that of (1 + T)**-1 v. It is computed for each spot with
its neighbours, and theirs, the most strongly coupled first: as many as `FIT_JOINT_SPOTS`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = ["SWEEPS", "hashed", "margins_of", "reach_of"]

#: Sweeps for each iteration that the caller allows: spots that overlap much converge slowly.
SWEEPS: Final = 4

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def margins_of(box: tuple[int, ...]) -> tuple[int, ...]:
    """Return by how many pixels a spot reaches beyond its box on each side: half as far again."""
    return tuple((length + 1) // 4 if length > 1 else 0 for length in box)


def reach_of(box: tuple[int, ...]) -> tuple[int, ...]:
    """Return how far the central pixels of two boxes may be apart, per axis, if a spot reaches the box of the other."""
    return tuple(length - 1 + margin for length, margin in zip(box, margins_of(box), strict=True))


def hashed(keys: Any) -> Any:
    """Return numbers in no order, one for each number of a pixel in its frame.

    The greater number goes first where neighbours choose one after the other, whatever the order of rows.
    """
    mixed = keys.astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))
