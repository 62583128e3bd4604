"""Fits of spots in float64, from the formulas: likelihoods of spots integrated over pixels, and their optima.

Parameters are positions, the flux, those of the shape, slopes of the background, and the background at the centre.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, optimize
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


def rotated(y, x, major: float, minor: float, angle: float):
    """Density of a Gaussian whose major axis is at an angle from the y axis towards the x axis."""
    along, across = y * math.cos(angle) + x * math.sin(angle), x * math.cos(angle) - y * math.sin(angle)
    return np.exp(-((along / major) ** 2 + (across / minor) ** 2) / 2) / (math.tau * major * minor)


def moffat(y, x, sigma: float, beta: float):
    """Density of a Moffat function whose full width at half maximum is that of a Gaussian."""
    alpha = sigma * math.sqrt(2 * math.log(2) / (2 ** (1 / beta) - 1))
    return (beta - 1) / (math.pi * alpha**2) * (1 + (y * y + x * x) / alpha**2) ** -beta


def integrated(density, box: tuple[int, ...], position, *shape: float, order: int = 20) -> np.ndarray:
    """Integrals of a density over the pixels of a box, by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    lines = [(np.arange(n)[:, None] + nodes / 2 - c).ravel() for n, c in zip(box, position, strict=True)]
    values = density(lines[0][:, None], lines[1][None, :], *shape)
    return np.einsum("jaib,a,b->ji", values.reshape(box[0], order, box[1], order), weights, weights) / 4


def curve(z, sigma: float, centre: float, depth: float, a: float = 0.0, b: float = 0.0):
    """Width at z on an astigmatic curve."""
    u = (z - centre) / depth
    return sigma * np.sqrt(1 + u**2 + a * u**3 + b * u**4)


def measured(psf: np.ndarray, oversampling: float, box: tuple[int, ...], position) -> np.ndarray:
    """Shares of a spot in pixels: the cubic spline through samples that zeros continue, centred on the middle one."""
    padded = np.pad(psf * (oversampling**psf.ndim / psf.sum()), 40)
    places = np.indices(box).reshape(len(box), -1) - np.reshape(position, (-1, 1))
    centre = (np.array(padded.shape)[:, None] - 1) / 2
    found = ndimage.map_coordinates(padded, centre + oversampling * places, order=3, mode="mirror")
    inside = (np.abs(oversampling * places) < centre - 1).all(axis=0)
    return np.where(inside, found, 0.0).reshape(box)


class Spot:
    """A spot in a box, and the vector of its free parameters: those of the shape are as in columns of results.

    `curves` are the parameters of an astigmatic curve along each axis, of which z is the parameter.
    """

    def __init__(
        self, box: tuple[int, ...], width: str = "free", sigma=None, plane: bool = False, model: str = "gaussian",
        beta: float | None = None, curves=None, psf: np.ndarray | None = None, oversampling: float = 1,
    ) -> None:  # fmt: skip
        self.box, self.width, self.sigma, self.plane = box, width, sigma, plane
        self.axes, self.model, self.beta, self.curves = len(box), model, beta, curves
        self.psf, self.oversampling = psf, oversampling

    def of(self, vector: np.ndarray) -> np.ndarray:
        """Means of the pixels for positions, flux, free widths, slopes and background, in this order."""
        axes = self.axes
        position, flux, rest = vector[:axes], vector[axes], vector[axes + 1 :]
        if self.psf is not None:
            slopes = rest[:-1] if self.plane else (0.0,) * axes
            spot = measured(self.psf, self.oversampling, self.box, position)
            return flux * spot + means(self.box, position, 0.0, (1,) * axes, slopes, rest[-1])
        if self.model == "moffat" or self.width == "rotated":
            return self._of_images(position, flux, rest)
        if self.curves is not None:
            own = [curve(rest[0], *c) for c in self.curves]
            return means(self.box, position, flux, own, rest[1:-1] if self.plane else (0.0, 0.0), rest[-1])
        free = {"fixed": 0, "free": axes - 1, "elliptical": axes}[self.width]
        own, slopes = rest[:free], rest[free:-1]
        if self.width == "fixed":
            own = self.sigma
        elif self.width == "free":
            own = (own[0],) * 2 if axes == 2 else (own[0], own[1], own[1])
        return means(self.box, position, flux, own, slopes if self.plane else (0.0,) * axes, rest[-1])

    def _of_images(self, position, flux: float, rest: np.ndarray) -> np.ndarray:
        if self.width == "rotated":
            density, shape = rotated, list(rest[:3])
        else:
            density, shape = moffat, list(rest[: (self.width == "free") + (self.beta is None)])
            if self.width == "fixed":
                shape.insert(0, self.sigma if np.ndim(self.sigma) == 0 else self.sigma[0])
            if self.beta is not None:
                shape.append(self.beta)
        slopes = rest[-3:-1] if self.plane else (0.0, 0.0)
        return flux * integrated(density, self.box, position, *shape) + means(
            self.box, position, 0.0, (1, 1), slopes, rest[-1]
        )

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
