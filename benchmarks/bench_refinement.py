"""Refinement of peaks, in peaks per second on one core, against photutils, trackpy and sep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close
from benchmarks.registry import Contest, Peer, Target, contest

#: Slow peers refine this many positions; rates a peak do not depend on it.
_FEW = 500
_BORDER = 10


def _positions(image: np.ndarray) -> np.ndarray:
    """Return the pixels of the spots, (row, column), as floats."""
    peaks = npsubpix.find_peaks(image, threshold_abs=data.SPOT_THRESHOLD, exclude_border=_BORDER, refine=None)
    return peaks.indices.astype(np.float64)


def _near(tolerance: float, share: float) -> Callable[[Any, np.ndarray], str]:
    """Compare refined peaks with the positions of a peer that refined the first of them."""
    differs = close(tolerance, share)
    return lambda peaks, theirs: differs(peaks.coords[: len(theirs)], theirs)


def _refinement(
    side: int,
    method: str,
    others: Callable[..., list[Peer]],
    target: Target | None = None,
    radius: float | None = 3 * data.SPOT_SIGMA,
) -> Contest:
    image = data.spots(side)
    positions = _positions(image)

    def refine() -> npsubpix.Peaks:
        return npsubpix.refine_peaks(image, positions, method=method, radius=radius)

    work = f"{len(positions):,} peaks, 1 thread"
    return Contest(work, refine, others(image, positions), target, items=len(positions))


def _photutils(function: str, image: np.ndarray, positions: np.ndarray, **agreement: Any) -> Peer:
    name = f"photutils {function}"
    centroids = peers.load("photutils.centroids")
    few = positions[:_FEW]
    if centroids is None:
        return Peer(name, None)
    centroid = getattr(centroids, function)

    def run() -> np.ndarray:
        x, y = centroids.centroid_sources(image, few[:, 1], few[:, 0], box_size=5, centroid_func=centroid)
        return np.stack((y, x), axis=1)

    return Peer(name, run, items=len(few), **agreement)


def _trackpy(image: np.ndarray, positions: np.ndarray) -> Peer:
    refine = peers.load("trackpy.refine")
    if refine is None:
        return Peer("trackpy refine_com", None)

    def run() -> Any:
        return refine.refine_com(image, image, 4, positions, characterize=False)[["y", "x"]]

    # It takes the plain centroid, which neighbours and the background draw away from the spot.
    return Peer("trackpy refine_com", run, differs=_near(0.5, share=0.9))


def _sep(image: np.ndarray, positions: np.ndarray) -> Peer:
    sep = peers.load("sep")
    if sep is None:
        return Peer("sep winpos", None)

    def run() -> np.ndarray:
        x, y, _ = sep.winpos(image, positions[:, 1], positions[:, 0], data.SPOT_SIGMA)
        return np.stack((y, x), axis=1)

    # The same weights, but with the background left in and a window of four standard deviations.
    return Peer("sep winpos", run, differs=_near(0.1, share=0.9))


def _quadratic_peers(image: np.ndarray, positions: np.ndarray) -> list[Peer]:
    # It fits a polynomial to 5 x 5 pixels instead of differences of 3 x 3.
    return [_photutils("centroid_quadratic", image, positions, differs=_near(0.3, share=0.9))]


def _centroid_peers(image: np.ndarray, positions: np.ndarray) -> list[Peer]:
    plain = _photutils("centroid_com", image, positions, differs=_near(0.5, share=0.9))
    return [_trackpy(image, positions), _sep(image, positions), plain]


@contest("refine_peaks quadratic", side=2048, quick_side=128, threads=1)
def refine_quadratic(side: int) -> Contest:
    return _refinement(side, "quadratic", _quadratic_peers, Target(1e6))


@contest("refine_peaks parabola", side=2048, quick_side=128, threads=1)
def refine_parabola(side: int) -> Contest:
    return _refinement(side, "parabola", lambda *_: [])


@contest("refine_peaks centroid", side=2048, quick_side=128, threads=1)
def refine_centroid(side: int) -> Contest:
    return _refinement(side, "centroid", _centroid_peers)


@contest("refine_peaks least_squares", side=2048, quick_side=128, threads=1)
def refine_least_squares(side: int) -> Contest:
    return _refinement(side, "least_squares", lambda *_: [], radius=None)


@contest("refine_peaks log_quadratic", side=2048, quick_side=128, threads=1)
def refine_log_quadratic(side: int) -> Contest:
    return _refinement(side, "log_quadratic", lambda *_: [])


@contest("refine_peaks phasor", side=2048, quick_side=128, threads=1)
def refine_phasor(side: int) -> Contest:
    """Boxes of 7 x 7 pixels, as in the publication."""
    return _refinement(side, "phasor", lambda *_: [], Target(4e6), radius=3.0)


@contest("refine_peaks radial", side=2048, quick_side=128, threads=1)
def refine_radial(side: int) -> Contest:
    return _refinement(side, "radial", lambda *_: [])
