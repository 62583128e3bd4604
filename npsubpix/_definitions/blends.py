"""Spots that start near others: the fit of one is then of both."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.constants import FIT_BLENDED

__all__ = ["near_others", "reach_of_fits"]


def reach_of_fits(fits: Any) -> Any:
    """Return the distance within which another start makes a fit doubtful, from columns of fits; NaN where none is."""
    sigma = fits.sigma
    if len(sigma.shape) == 1:
        return FIT_BLENDED * sigma
    if fits.angle is not None:  # widths along y and x, from those along the axes of an ellipse
        share = np.cos(fits.angle)[:, None] ** 2
        shares = np.concatenate([share, 1 - share], 1)
        sigma = (shares * sigma[:, :1] ** 2 + (1 - shares) * sigma[:, 1:] ** 2) ** 0.5
    return FIT_BLENDED * sigma.min(1)


def near_others(
    places: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    reach: npt.NDArray[np.float64],
    periods: tuple[int, ...] | None = None,
) -> npt.NDArray[np.bool_]:
    """Whether another place of the same group is nearer than the reach of each; in a periodic image across its edges.

    Arrays are of the host. A place without a reach, NaN, counts for others alone.
    """
    from scipy.spatial import cKDTree  # which most refinements do not need

    near, rows = np.zeros(len(places), bool), np.flatnonzero(reach > 0)
    if len(places) < 2 or not len(rows):
        return near
    most = float(reach[rows].max())
    apart = (2 * most + 1) * np.unique(groups, return_inverse=True)[1]
    points = np.column_stack([apart, places]).astype(np.float64)
    tree = cKDTree(points, boxsize=None if periods is None else (0, *periods))
    distances, _ = tree.query(points[rows], k=2, distance_upper_bound=math.nextafter(most, math.inf))
    near[rows] = distances[:, 1] < reach[rows]
    return near
