"""Whether two results are the same: what differs in words, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["close", "same", "same_pixels"]


def same(ours: Any, theirs: Any) -> str:
    """Compare arrays, or tuples of them, for equality."""
    for mine, other in _pairs(ours, theirs):
        if mine.shape != other.shape:
            return f"shape {mine.shape}, theirs {other.shape}"
        unequal = np.count_nonzero(mine != other)
        if unequal:
            return f"{unequal} of {mine.size} differ"
    return ""


def close(tolerance: float, share: float = 1.0) -> Callable[[Any, Any], str]:
    """Compare arrays, or tuples of them: `share` of the elements that are not equal have to be within `tolerance`.

    Elements that are equal do not count: most of a dense map is its own grid.
    """

    def differs(ours: Any, theirs: Any) -> str:
        for mine, other in _pairs(ours, theirs):
            if mine.shape != other.shape:
                return f"shape {mine.shape}, theirs {other.shape}"
            distance = np.abs(np.subtract(mine, other, dtype=np.float64))
            measured = distance[distance != 0]
            far = np.count_nonzero(~(measured <= tolerance))
            if far > (1 - share) * measured.size:
                return f"{far} of {measured.size} further than {tolerance:g}, up to {measured.max():.2g}"
        return ""

    return differs


def same_pixels(ours: Any, theirs: Any) -> str:
    """Compare two lists of pixels, whatever their order."""
    mine, other = ({tuple(pixel) for pixel in np.asarray(pixels).tolist()} for pixels in (ours, theirs))
    return "" if mine == other else f"{len(mine)} pixels, theirs {len(other)}, {len(mine & other)} in both"


def _pairs(ours: Any, theirs: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    if not isinstance(ours, tuple):
        ours, theirs = (ours,), (theirs,)
    return [(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True)]
