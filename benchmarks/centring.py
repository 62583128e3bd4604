"""Positions of spots by other libraries, from the pixels at which they are found."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import peers

__all__ = ["PEERS"]

Points = npt.NDArray[np.float64]


def _border(image: Points) -> float:
    return float(np.median(image))


def _boxes(image: Points, pixels: npt.NDArray[np.int64], radius: int) -> tuple[npt.NDArray[Any], Points]:
    """Return which pixels have a whole box around them, and these boxes."""
    inside = ((pixels >= radius) & (pixels < np.array(image.shape) - radius)).all(1)
    reach = np.arange(-radius, radius + 1)
    y, x = pixels[inside].T
    return inside, image[(y[:, None] + reach)[:, :, None], (x[:, None] + reach)[:, None, :]]


def _windowed(image: Points, pixels: npt.NDArray[np.int64], radius: int) -> Points | None:
    """SExtractor's windowed centroid, by sep, with a window as wide as that of `refine_peaks`."""
    sep = peers.load("sep")
    if sep is None:
        return None
    data = np.ascontiguousarray(image - _border(image), np.float64)
    x, y, _ = sep.winpos(data, pixels[:, 1].astype(float), pixels[:, 0].astype(float), radius / 3)
    return np.stack([y, x], 1)


def _centre_of_mass(image: Points, pixels: npt.NDArray[np.int64], radius: int) -> Points | None:
    """The centre of mass in a disc, by trackpy."""
    refine = peers.load("trackpy.refine")
    if refine is None:
        return None
    data = np.maximum(image - _border(image), 0)
    table = refine.refine_com(data, data, radius, pixels.astype(float), engine="numba")
    return np.asarray(table[["y", "x"]], float)


def _two_gaussians(image: Points, pixels: npt.NDArray[np.int64], radius: int) -> Points | None:
    """The fit of a Gaussian sampled at the centres of pixels, by photutils."""
    centroids = peers.load("photutils.centroids")
    if centroids is None:
        return None
    found = np.full(pixels.shape, np.nan)
    inside, boxes = _boxes(image, pixels, radius)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that do not converge
        fitted = [_gaussian_of(centroids, box) for box in boxes]
    found[inside] = np.reshape(fitted, (-1, 2)) + pixels[inside] - radius
    return found


def _gaussian_of(centroids: Any, box: Points) -> Points:
    """Return the position in a box; NaN where photutils begins outside of its own limits."""
    try:
        return np.asarray(centroids.centroid_2dg(box - _border(box)))[::-1]
    except ValueError:
        return np.full(2, np.nan)


def _likelihood(image: Points, pixels: npt.NDArray[np.int64], radius: int) -> Points | None:
    """The likelihood of a round Gaussian, by picasso; the image is in electrons."""
    fit, seeds = peers.load("picasso.fitting.gaussfit"), peers.load("picasso.fitting.seeds")
    if fit is None or seeds is None:
        return None
    found = np.full(pixels.shape, np.nan)
    inside, boxes = _boxes(image, pixels, radius)
    if len(boxes):
        boxes = np.ascontiguousarray(boxes, np.float32)
        start = seeds.initial_parameters_gauss(boxes, boxes.shape[1], spherical=True)
        theta = fit.fit_spots(0, boxes, start, mle=True, tolerance=1e-6, max_iterations=100)[0]
        found[inside] = theta[:, [2, 1]] + pixels[inside] - radius
    return found


#: Functions of an image, pixels and a radius; None where a library is not installed.
PEERS: dict[str, Callable[[Points, npt.NDArray[np.int64], int], Points | None]] = {
    "sep, windowed": _windowed,
    "trackpy, centre of mass": _centre_of_mass,
    "photutils, Gaussian": _two_gaussians,
    "picasso, likelihood": _likelihood,
}
