"""Backgrounds of star fields: level and noise at every pixel, and thresholds in units of the noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close
from benchmarks.registry import Contest, Peer, contest

_BOX = 64


def _sep(image: np.ndarray) -> Callable[[], Any] | None:
    sep = peers.load("sep")
    if sep is None:
        return None

    def run() -> tuple[np.ndarray, np.ndarray]:
        found = sep.Background(image, bw=_BOX, bh=_BOX)
        return found.back(), found.rms()

    return run


def _photutils(image: np.ndarray) -> Callable[[], Any] | None:
    background = peers.load("photutils.background")
    if background is None:
        return None
    estimator = background.MedianBackground()

    def run() -> tuple[np.ndarray, np.ndarray]:
        # Spots cover more of the pixels than its default allows to be clipped.
        found = background.Background2D(image, _BOX, filter_size=3, bkg_estimator=estimator, exclude_percentile=90)
        return found.background, found.background_rms

    return run


def _level(tolerance: float) -> Callable[[Any, Any], str]:
    """Compare levels; noises differ by the spots that are left in theirs."""
    differs = close(tolerance)
    return lambda ours, theirs: differs(ours[0], theirs[0])


@contest("local_background", side=2048, quick_side=192)
def local_background(side: int) -> Contest:
    image = data.spots(side)
    return Contest(
        f"{side}², boxes of {_BOX}²",
        lambda: npsubpix.local_background(image, _BOX),
        [
            Peer("sep.Background", _sep(image), 1, _level(1.0)),
            Peer("photutils Background2D", _photutils(image), 10, _level(1.0)),
        ],
    )


@contest("find_peaks, background and noise", side=2048, quick_side=192)
def thresholds(side: int) -> Contest:
    image = data.spots(side)
    background = npsubpix.local_background(image, _BOX)
    options = {"exclude_border": 10, "refine": None}

    def divided() -> npsubpix.Peaks:
        return npsubpix.find_peaks((image - background.level) / background.noise, threshold_abs=10, **options)

    def differs(ours: npsubpix.Peaks, theirs: npsubpix.Peaks) -> str:
        # Another image has other maxima beside the spots.
        return "" if abs(len(ours) - len(theirs)) <= 0.02 * len(ours) else f"{len(ours)} peaks, theirs {len(theirs)}"

    return Contest(
        f"{side}², {round(5000 * (side / 1024) ** 2):,} spots",
        lambda: npsubpix.find_peaks(image, background=background, threshold_abs=10, **options),
        [
            Peer(
                "of values alone",
                lambda: npsubpix.find_peaks(image, threshold_abs=data.SPOT_THRESHOLD, **options),
                is_library=False,
            ),
            Peer("of (image - level) / noise", divided, 1, differs, is_library=False),
        ],
    )
