"""Fits of spots in float64, from the formulas: likelihoods of a Gaussian integrated over pixels, and their optima.

Parameters are positions, the flux, a width per axis, slopes of the background, and the background at the centre. A
`layout` says which of them are free, and which are shared.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize
from scipy.special import erf


def means(box: tuple[int, ...], position, flux: float, sigma, slopes, background: float) -> np.ndarray:
    """Means of the pixels of a box."""
    spot = np.array(1.0)
    for length, centre, width in zip(box, position, sigma, strict=True):
        edges = (np.arange(length + 1) - 0.5 - centre) / (math.sqrt(2) * width)
        spot = np.multiply.outer(spot, np.diff(erf(edges)) / 2)
    places = np.indices(box)
    plane = sum(s * (places[a] - (box[a] - 1) / 2) for a, s in enumerate(slopes))
    return flux * spot + background + plane


class Spot:
    """A spot in a box, and the vector of its free parameters."""

    def __init__(self, box: tuple[int, ...], width: str = "free", sigma=None, plane: bool = False) -> None:
        self.box, self.width, self.sigma, self.plane = box, width, sigma, plane
        self.axes = len(box)

    def of(self, vector: np.ndarray) -> np.ndarray:
        """Means of the pixels for positions, flux, free widths, slopes and background, in this order."""
        axes = self.axes
        position, flux, rest = vector[:axes], vector[axes], vector[axes + 1 :]
        free = {"fixed": 0, "free": axes - 1, "elliptical": axes}[self.width]
        own, slopes = rest[:free], rest[free:-1]
        if self.width == "fixed":
            own = self.sigma
        elif self.width == "free":
            own = (own[0],) * 2 if axes == 2 else (own[0], own[1], own[1])
        return means(self.box, position, flux, own, slopes if self.plane else (0.0,) * axes, rest[-1])

    def slopes(self, vector: np.ndarray) -> np.ndarray:
        """Derivatives of the means, by differences."""
        rows = []
        for k, value in enumerate(vector):
            step = np.zeros(len(vector))
            step[k] = 1e-5 * max(1.0, abs(value))
            rows.append((self.of(vector + step) - self.of(vector - step)) / (2 * step[k]))
        return np.stack(rows).reshape(len(vector), -1)


def log_likelihood(data: np.ndarray, mean: np.ndarray, variance=0.0) -> float:
    """Logarithm of the likelihood of data plus read variance, less that of means that equal the data."""
    found, expected = (data + variance).ravel(), (mean + variance).ravel()
    if (expected <= 0).any():
        return -math.inf
    ratio = np.where(found > 0, found * np.log(expected / np.where(found > 0, found, 1)), 0.0)
    return float((ratio + found - expected).sum())


def fit(spot: Spot, data: np.ndarray, start: np.ndarray, variance=0.0, weights=None):
    """Return the parameters of greatest likelihood, or of least weighted squares, and the covariance by information."""
    if weights is not None:
        root = np.sqrt(weights)
        found = optimize.least_squares(
            lambda v: ((spot.of(v) - data) * root).ravel(), start, x_scale=np.maximum(np.abs(start), 0.1), xtol=1e-15,
            ftol=1e-15, gtol=1e-15,
        ).x  # fmt: skip
        slopes = spot.slopes(found)
        return found, np.linalg.inv(slopes * weights.ravel() @ slopes.T)
    found = np.array(start, float)
    for _ in range(100):  # Fisher scoring, halved where the likelihood would fall
        mean = spot.of(found)
        slopes, noise = spot.slopes(found), (mean + variance).ravel()
        information = slopes / noise @ slopes.T
        step = np.linalg.solve(information, slopes @ ((data - mean).ravel() / noise))
        while log_likelihood(data, spot.of(found + step), variance) < log_likelihood(data, mean, variance) - 1e-9:
            step /= 2
        found = found + step
        if np.abs(step).max() < 1e-10 * np.abs(found).max():
            break
    slopes = spot.slopes(found)
    return found, np.linalg.inv(slopes / (spot.of(found) + variance).ravel() @ slopes.T)
