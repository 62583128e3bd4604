"""How peaks are sought: the options of a search, and the rules that both backends follow."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from npsubpix._definitions.constants import MOST_TIED

__all__ = [
    "CLIPPED",
    "DUPLICATES",
    "PEAK_MODES",
    "PLATEAUS",
    "PeakSearch",
    "by_centre",
    "distance_weights",
    "has_first",
    "periods_around",
    "wider_periods",
    "windows_of",
    "with_defaults",
]

#: Which pixel of a plateau is a peak.
PLATEAUS: Final = ("refine", "drop", "first", "centroid")

#: What becomes of peaks that refinement moves to the place of a stronger one.
DUPLICATES: Final = ("merge", "flag")

#: Border extension of images; None for no pixels beyond the border.
PEAK_MODES: Final = (None, "wrap")


#: Pixels that are repeated beyond the border of a periodic image, at first, for plateaus that lie across it.
_PLATEAU_MARGIN: Final = 16

#: Pixels that a plateau counts as, at least, where the image is known to be clipped at its value, so that its equal
#: pixels are not a tie: the greatest of an integer dtype, or that of the highest plateau of its image if that is too
#: wide for a tie and nothing is higher; for minima the least ones.
CLIPPED: Final = MOST_TIED + 1


class PeakSearch(NamedTuple):
    """Which extrema of a stack of images are peaks.

    Attributes
    ----------
    size : tuple of ints
        Length of the window per axis.
    margins : tuple of ints
        Widths of the border before and after, per axis, in which no peak is reported.
    threshold_abs, threshold_rel : float or None
        Least value, or least height in units of the noise above a background; and least fraction of the greatest value.
    plateau : {"refine", "drop", "first", "centroid"}
        Which pixel of a plateau is a peak.
    minima : bool
        Whether minima are peaks too.
    min_distance : tuple of floats or None
        Least distance between two peaks, per axis.
    num_peaks : int or None
        Most peaks per image.
    duplicates : {"merge", "flag"}
        What becomes of peaks that refinement moves to the place of a stronger one.
    wrap : bool
        Whether the image is periodic.
    """

    size: tuple[int, ...]
    margins: tuple[int, ...]
    threshold_abs: float | None
    threshold_rel: float | None
    plateau: str
    minima: bool
    min_distance: tuple[float, ...] | None
    num_peaks: int | None
    duplicates: str = "merge"
    wrap: bool = False


def with_defaults(background: Any, sigma: Any) -> tuple[Any, Any]:
    """Return background and noise, both or neither: a background of 0 or a noise of 1 where only the other is known."""
    if background is None and sigma is None:
        return None, None
    return np.zeros(1) if background is None else background, np.ones(1) if sigma is None else sigma


def distance_weights(
    min_distance: tuple[float, ...], shape: tuple[int, ...]
) -> tuple[tuple[float, float, float], float]:
    """Return weights of squared distances along (z, y, x), and the limit below which peaks are too close.

    Distances below a pixel separate nothing, and those far beyond the image separate all peaks. Weights are relative
    to the least distance, so that equal distances are compared exactly.
    """
    bounded = [min(max(d, 0.5), 1e6 * max(1, *shape)) for d in min_distance]
    least = min(bounded)
    z, y, x = [(least / d) ** 2 for d in (least, *bounded)[-3:]]
    return (z, y, x), least**2


def windows_of(search: PeakSearch, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lengths of windows; in a periodic image none is longer than the image, or would see a pixel twice."""
    if not search.wrap:
        return search.size
    return tuple(min(k, max(n, 1)) for k, n in zip(search.size, shape, strict=True))


def periods_around(search: PeakSearch, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many pixels to repeat on each side, per axis, so that windows and plateaus are whole."""
    return tuple(max(k, _PLATEAU_MARGIN) for k in windows_of(search, shape))


def wider_periods(pads: tuple[int, ...], shape: tuple[int, ...], extents: Any) -> tuple[int, ...] | None:
    """Return how many pixels to repeat around a periodic image whose plateaus may be cut; None if all are whole.

    `extents` are the lengths of plateaus whose pixel nearest to the centre lies in the image. Such a plateau reaches
    beyond the image by less than its length, and a part of one reaches from the image to the end of what is repeated.
    Plateaus that go around the image are as long as that, however much is repeated.
    """
    wider = tuple(
        n if p < n and bool(((extents[:, k] > p) & (extents[:, k] < n + 2 * p)).any()) else p
        for k, (p, n) in enumerate(zip(pads, shape, strict=True))
    )
    return None if wider == pads else wider


def by_centre(search: PeakSearch) -> bool:
    """Whether the pixel nearest to the centre of a plateau stands for it, not its first one.

    Of a periodic image, which pixel is the first of a plateau across the edge is decided by where the image is cut.
    """
    return search.plateau == "refine" or search.wrap


def has_first(search: PeakSearch) -> bool:
    """Whether of several plateaus of one value in one window the first counts alone, or all count.

    A periodic image has no first one: each may precede the next around the image, and all would be lost.
    """
    return not search.wrap
