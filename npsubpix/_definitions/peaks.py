"""How peaks are sought and refined: what both backends are told, and the names of the methods."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["PLATEAUS", "REFINEMENTS", "PeakSearch", "Refinement"]

#: Methods of refinement; None for the pixel itself.
REFINEMENTS: Final = ("quadratic", "parabola", "centroid", None)

#: Which pixel of a plateau is a peak.
PLATEAUS: Final = ("drop", "first", "centroid")


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
    plateau : {"drop", "first", "centroid"}
        Which pixel of a plateau is a peak.
    minima : bool
        Whether minima are peaks too.
    min_distance : tuple of floats or None
        Least distance between two peaks, per axis.
    num_peaks : int or None
        Most peaks per image.
    """

    size: tuple[int, ...]
    margins: tuple[int, ...]
    threshold_abs: float | None
    threshold_rel: float | None
    plateau: str
    minima: bool
    min_distance: tuple[float, ...] | None
    num_peaks: int | None


class Refinement(NamedTuple):
    """How a peak is refined from its pixel.

    Attributes
    ----------
    method : {"quadratic", "parabola", "centroid", None}
        Method.
    n_iters : int
        Most iterations.
    max_shift : float
        Furthest that a position may go from its pixel, in pixels on any axis.
    radius : tuple of floats
        Radius of the window of a centroid, per axis.
    """

    method: str | None
    n_iters: int
    max_shift: float
    radius: tuple[float, ...]
