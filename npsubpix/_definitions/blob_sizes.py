"""Widths of Gaussian blobs from those of the filters that respond most to them.

A blob of width s in n dimensions responds most to the Laplacian of a Gaussian of width ``s * sqrt(2 / n)``, in two
dimensions also to the determinant of the Hessian, and to the difference of Gaussians of widths ``q`` and ``k * q`` with
``q**2 = s**2 * (k**p - 1) / (k**2 - k**p)``, ``p = 4 / (n + 2)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

__all__ = ["LINEAR_BLUR", "excess_blurs", "filter_width"]

#: Variance that linear interpolation adds to an image, in pixels of that image squared: the mean of f (1 - f) over all
#: fractions f of a pixel.
LINEAR_BLUR = 1 / 6


def filter_width(method: str, ndim: int, ratio: float) -> float:
    """Return the width of the Gaussian that responds most to a blob of width 1: the narrow one of "dog"."""
    if method != "dog":
        return math.sqrt(2 / ndim)
    power = ratio ** (4 / (ndim + 2))
    return math.sqrt((power - 1) / (ratio**2 - power))


def excess_blurs(
    shape: tuple[int, ...], octaves: Sequence[tuple[int, ...]], base_sigma: float, input_sigma: float, enlarged: bool
) -> list[float]:
    """Return how much more variance than its nominal one the smoothing of each octave has, in its pixels squared.

    The nominal one counts the smoothing that the input is assumed to have, which is part of the blobs, as smoothing
    of the pyramid, and leaves out that of linear interpolation. Octaves have blurs of `base_sigma` to twice as much,
    from which the next one is interpolated.
    """
    excess = -(input_sigma**2)
    if enlarged:
        excess += LINEAR_BLUR * _mean_square_ratio(octaves[0], shape)
    blurs = [excess]
    for fine, coarse in itertools.pairwise(octaves):
        seed = (2 * base_sigma) ** 2 + blurs[-1] + LINEAR_BLUR
        blurs.append(seed * _mean_square_ratio(coarse, fine) - base_sigma**2)
    return blurs


def _mean_square_ratio(new: tuple[int, ...], old: tuple[int, ...]) -> float:
    """Return the mean, over axes, of the square of how many new pixels there are per old one."""
    ratios = [(max(n - 1, 1) / max(m - 1, 1)) ** 2 for n, m in zip(new, old, strict=True)]
    return sum(ratios) / len(ratios)
