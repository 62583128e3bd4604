"""Photometry of spots, in spots per second on one core, against photutils, sep and trackpy."""

from __future__ import annotations

from typing import Any

import numpy as np

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close
from benchmarks.registry import Contest, Peer, contest

_RADIUS, _ANNULUS, _BORDER = 4.0, (6.0, 10.0), 12
_NOISE = 1.0

#: A slow peer measures this many spots; rates do not depend on it.
_FEW = 500


def _photutils(image: np.ndarray, points: np.ndarray) -> Peer:
    aperture, stats = peers.load("photutils.aperture"), peers.load("astropy.stats")
    if aperture is None or stats is None:
        return Peer("photutils ApertureStats", None)
    few = points[:_FEW, ::-1]

    def run() -> np.ndarray:
        ring = aperture.CircularAnnulus(few, *_ANNULUS)
        background = aperture.ApertureStats(image, ring, sigma_clip=stats.SigmaClip(3, maxiters=None)).median
        spots = aperture.ApertureStats(image, aperture.CircularAperture(few, _RADIUS), local_bkg=background)
        spots.semimajor_axis, spots.semiminor_axis, spots.max  # noqa: B018  what ours measures too
        return np.asarray(spots.sum)

    return Peer("photutils ApertureStats", run, items=len(few), differs=_same_flux(1e-6))


def _sep(image: np.ndarray, points: np.ndarray) -> Peer:
    sep = peers.load("sep")
    if sep is None:
        return Peer("sep sum_circle", None)

    def run() -> np.ndarray:
        flux, _, _ = sep.sum_circle(image, points[:, 1], points[:, 0], _RADIUS, err=_NOISE, bkgann=_ANNULUS, subpix=0)
        return np.asarray(flux)

    # It takes the plain mean of the annulus, which neighbours make brighter.
    return Peer("sep sum_circle", run, differs=_same_flux(0.05, share=0.5))


def _trackpy(image: np.ndarray, points: np.ndarray) -> Peer:
    refine = peers.load("trackpy.refine")
    if refine is None:
        return Peer("trackpy refine_com", None)

    def run() -> Any:
        return refine.refine_com(image, image, int(_RADIUS), points, max_iterations=1)["raw_mass"].to_numpy()

    return Peer("trackpy refine_com", run, is_library=False)  # sums pixels, without a background


def _same_flux(tolerance: float, share: float = 0.99) -> Any:
    """Compare fluxes with those of a peer that measured the first of them, relative to the brightest."""
    differs = close(tolerance, share)

    def compare(spots: npsubpix.Measurements, theirs: np.ndarray) -> str:
        scale = np.abs(theirs).max()
        return differs(spots.flux[: len(theirs)] / scale, theirs / scale)

    return compare


@contest("measure_spots", side=2048, quick_side=128, threads=1)
def measure_spots(side: int) -> Contest:
    image, points = _spots(side)

    def measure() -> npsubpix.Measurements:
        return npsubpix.measure_spots(image, points, _RADIUS, annulus=_ANNULUS, method="median")

    others = [_photutils(image, points), _trackpy(image, points)]
    return Contest(f"{len(points):,} spots, 1 thread", measure, others, items=len(points))


@contest("measure_spots, known noise", side=2048, quick_side=128, threads=1)
def measure_spots_of_known_noise(side: int) -> Contest:
    """Fluxes above the background of annuli: what sep measures, besides shapes and standard errors."""
    image, points = _spots(side)

    def measure() -> npsubpix.Measurements:
        return npsubpix.measure_spots(image, points, _RADIUS, annulus=_ANNULUS, method="mean", error=_NOISE)

    return Contest(f"{len(points):,} spots, 1 thread", measure, [_sep(image, points)], items=len(points))


def _spots(side: int) -> tuple[np.ndarray, np.ndarray]:
    image = data.spots(side)
    peaks = npsubpix.find_peaks(image, threshold_abs=data.SPOT_THRESHOLD, exclude_border=_BORDER, refine="centroid")
    return image, peaks.coords
