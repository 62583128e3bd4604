"""Fits of spots with standard errors, in spots per second on one core, against picasso and photutils."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npsubpix
from benchmarks import crowded_accuracy, peers
from benchmarks.fit_accuracy import spots
from benchmarks.registry import Contest, Peer, Target, contest
from benchmarks.timing import use_threads

_PHOTONS, _SIGMA, _BACKGROUND = 1000.0, 1.2, 10.0
_FEW = 100  # spots of peers that take milliseconds for each


def _patches(count: int, box: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions in the central pixel of a box, and their Poisson images."""
    rng = np.random.default_rng(0)
    positions = box // 2 + rng.uniform(-0.5, 0.5, (count, 2))
    mean = spots(box, positions, _PHOTONS, _SIGMA) + _BACKGROUND
    return positions, rng.poisson(mean).astype(np.float32)


def _near(positions: np.ndarray) -> Callable[[Any, Any], str]:
    """Compare the scatter of two fits of the same spots around their positions, to what few spots tell of it."""

    def differs(fits: npsubpix.Fits, theirs: np.ndarray) -> str:
        count = len(theirs)
        own = np.sqrt(np.mean((fits.coords[:count] - positions[:count]) ** 2))
        other = np.sqrt(np.nanmean((theirs - positions[:count]) ** 2))
        return "" if own < (1.05 + 1 / np.sqrt(count)) * other else f"scatter of {own:.4f} pixels, theirs {other:.4f}"

    return differs


def _picasso(images: np.ndarray, box: int, mle: bool) -> Callable[[], np.ndarray] | None:
    """Return picasso's fit of a round Gaussian, with the bound of each spot for likelihoods.

    Its tolerance is relative to chi-squared, which is about the number of pixels less that of parameters: with this
    one, both end when a step changes chi-squared by 1e-4.
    """
    fit, seeds = peers.load("picasso.fitting.gaussfit"), peers.load("picasso.fitting.seeds")
    precision = peers.load("picasso.fitting.precision")
    if fit is None or seeds is None or precision is None:
        return None

    def run() -> np.ndarray:
        start = seeds.initial_parameters_gauss(images, box, spherical=True)
        theta = fit.fit_spots(0, images, start, mle=mle, tolerance=1e-4 / (box * box - 5), max_iterations=100)[0]
        if mle:
            area = 2 * np.pi * theta[:, 3] ** 2
            columns = theta[:, 0] * area, theta[:, 1], theta[:, 2], theta[:, 3], theta[:, 3], theta[:, 4]
            precision._gauss_crlb(np.stack(columns, 1), box, False)
        return np.asarray(theta[:, [2, 1]])

    return run


def _photutils(images: np.ndarray, box: int) -> Callable[[], np.ndarray] | None:
    """Return photutils' fit of an integrated Gaussian, each image on its own."""
    psf, table = peers.load("photutils.psf"), peers.load("astropy.table")
    if psf is None or table is None:
        return None
    fit = psf.PSFPhotometry(
        psf.CircularGaussianPRF(flux=_PHOTONS, fwhm=_SIGMA * 2.3548), (box, box), aperture_radius=box // 2
    )
    start = table.Table({"x": [box // 2], "y": [box // 2]})

    def run() -> np.ndarray:
        rows = [fit(image - _BACKGROUND, init_params=start) for image in images[:_FEW]]
        return np.array([[row["y_fit"][0], row["x_fit"][0]] for row in rows])

    return run


def _grouped(image: np.ndarray, positions: np.ndarray) -> Callable[[], np.ndarray] | None:
    """Return photutils' fit of an integrated Gaussian to spots in groups of neighbours."""
    psf, table = peers.load("photutils.psf"), peers.load("astropy.table")
    if psf is None or table is None:
        return None
    fit = psf.PSFPhotometry(
        psf.CircularGaussianPRF(flux=_PHOTONS, fwhm=_SIGMA * 2.3548), (7, 7), grouper=psf.SourceGrouper(3 * _SIGMA),
        aperture_radius=3,
    )  # fmt: skip
    start = table.Table({"x": positions[:, 1], "y": positions[:, 0]})

    def run() -> np.ndarray:
        rows = fit(image - _BACKGROUND, init_params=start)
        return np.stack([np.asarray(rows["y_fit"]), np.asarray(rows["x_fit"])], 1)

    return run


def _fits(box: int, count: int, estimator: str, least: float) -> Contest:
    positions, images = _patches(count, box)
    camera = npsubpix.Camera() if estimator == "mle" else None
    others = [Peer("picasso", _picasso(images, box, estimator == "mle"), least, _near(positions))]
    if estimator == "mle":
        others.append(Peer("photutils", _photutils(images, box), 1000, _near(positions), items=_FEW))
    return Contest(
        f"{count:,} boxes of {box}², 1 thread",
        lambda: npsubpix.fit_patches(images, camera=camera, estimator=estimator),
        others,
        items=count,
    )


@contest("fit_patches, maximum likelihood, 7²", side=4096, quick_side=32, threads=1)
def likelihood_small(side: int) -> Contest:
    return _fits(7, side, "mle", 8)


@contest("fit_patches, maximum likelihood, 11²", side=4096, quick_side=64, threads=1)
def likelihood_large(side: int) -> Contest:
    return _fits(11, side, "mle", 8)


@contest("fit_patches, least squares, 7²", side=4096, quick_side=64, threads=1)
def least_squares(side: int) -> Contest:
    return _fits(7, side, "lsq", 2.5)


@contest("fit_patches, maximum likelihood, two threads", side=32_768, quick_side=64)
def two_threads(side: int) -> Contest:
    _, images = _patches(side, 7)

    def run(threads: int) -> npsubpix.Fits:
        use_threads(threads)
        return npsubpix.fit_patches(images, camera=npsubpix.Camera())

    def differs(ours: npsubpix.Fits, theirs: npsubpix.Fits) -> str:
        return "" if np.array_equal(ours.coords, theirs.coords) else "positions"

    one = Peer("npsubpix, one thread", lambda: run(1), 1.8, differs, is_library=False)
    return Contest(f"{side:,} boxes of 7²", lambda: run(2), [one], items=side)


def _crowd(count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions anywhere in an image, and its Poisson counts."""
    rng = np.random.default_rng(1)
    positions = rng.uniform(4, side - 5, (count, 2))
    mean = npsubpix.render_spots(positions, (side, side), std=_SIGMA, amplitude=_PHOTONS, integrate=True)
    return positions, rng.poisson(mean + _BACKGROUND).astype(np.float64)


@contest("fit_spots, crowded, against groups", side=256, quick_side=64, threads=1)
def crowded_groups(side: int) -> Contest:
    """Spots as close as 600 on 256², and photutils' groups on a part of the image that it can fit in seconds."""
    count = 600 * side * side // 256**2
    positions, image = _crowd(count, side)
    few = 50
    fewer, part = _crowd(few, 74)
    options = {"camera": npsubpix.Camera(), "sigma": _SIGMA, "width": "fixed", "neighbors": "fit"}
    return Contest(
        f"{count} spots on {side}², 1 thread",
        lambda: npsubpix.fit_spots(image, positions, **options),
        [Peer("photutils, grouped", _grouped(part, fewer), 1000, items=few)],
        items=count,
    )


@contest("refine_peaks, phasor, 7²", side=1_000_000, quick_side=1000, threads=1)
def phasors(side: int) -> Contest:
    rng = np.random.default_rng(2)
    image = rng.poisson(np.full((1024, 1024), _BACKGROUND)).astype(np.float32)
    starts = rng.integers(4, 1020, (side, 2))
    return Contest(
        f"{side:,} positions, 1 thread",
        lambda: npsubpix.refine_peaks(image, starts, method="phasor", radius=3),
        target=Target(4e6),
        items=side,
    )


@contest("fit_spots, crowded, 600 spots on 256²", side=16, quick_side=1)
def crowded(side: int) -> Contest:
    """Fields as those of `crowded_accuracy`, as a movie; the frames of a peer are few."""
    rng = np.random.default_rng(3)
    fields = [crowded_accuracy.field(rng) for _ in range(side)]
    movie = rng.poisson(np.stack([image for _, image in fields])).astype(np.float32)
    starts = np.concatenate([spots + rng.normal(0, 0.3, spots.shape) for spots, _ in fields])
    frame = np.repeat(np.arange(side), crowded_accuracy.SPOTS)
    options: dict[str, Any] = {"width": "fixed", "sigma": crowded_accuracy.SIGMA, "camera": npsubpix.Camera()}
    return Contest(
        f"{side} frames, positions, fluxes and backgrounds with errors",
        lambda: npsubpix.fit_spots(movie, starts, frame=frame, frame_axis=0, neighbors="fit", **options),
        target=Target(40_000),
        items=len(starts),
    )
