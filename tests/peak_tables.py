"""A table of peaks that is made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npsubpix

__all__ = ["COORDS", "FRAME", "table"]

#: Positions of peaks, and the frames of a movie in which these are.
COORDS = np.array([[3.2, 4.4], [6.0, 12.7], [2.5, 1.5], [7.25, 3.0]])
FRAME = np.array([2, 0, 2, 3])


def table(
    coords: np.ndarray, frame: np.ndarray | None = None, wrap: Callable[[Any], Any] = np.asarray
) -> npsubpix.Peaks:
    """Make a table of positions, in a stack if there are frames."""
    count = len(coords)
    return npsubpix.Peaks(
        coords=wrap(coords),
        values=wrap(np.ones(count)),
        indices=wrap(np.rint(coords).astype(np.int64)),
        flags=wrap(np.zeros(count, np.int32)),
        frame=None if frame is None else wrap(frame),
    )
