"""Fits of spots that start near others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.blends import near_others
from npsubpix._definitions.flags import PeakFlags

__all__ = ["flag_blends"]


def flag_blends(
    flags: npt.NDArray[np.int32],
    starts: npt.NDArray[np.int64],
    frames: npt.NDArray[np.int64],
    reach: npt.NDArray[np.float64],
    shape: tuple[int, ...],
    wrap: bool,
) -> None:
    """Flag the fits whose pixel at the start is nearer than their reach to that of another row of the image.

    Maxima and minima do not interact. Duplicates, and starts outside the image, do not count.
    """
    inside = ((starts >= 0) & (starts < shape)).all(axis=1)
    rows = np.flatnonzero(inside & ((flags & int(PeakFlags.DUPLICATE)) == 0))
    groups = 2 * frames[rows] + ((flags[rows] & int(PeakFlags.MINIMUM)) != 0)
    near = near_others(starts[rows], groups, reach[rows], shape if wrap else None)
    flags[rows[near]] |= int(PeakFlags.BLENDED)
