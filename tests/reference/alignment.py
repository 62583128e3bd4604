"""Alignment by its definition: the shift at which the sum of squared differences is least, by a general minimiser."""

from __future__ import annotations

import numpy as np
import scipy.ndimage as ndi
import scipy.optimize


def shift(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the shift that puts the moving image on the fixed one, and its covariance.

    The moving image is interpolated by a cubic spline. The pixels compared are those that lie in it at the start,
    `margin` pixels from its border or more. With residuals of variance s**2, of N - 2 degrees of freedom, the
    covariance is s**2 times the inverse of J^T J.
    """
    pixels = np.stack(np.mgrid[: fixed.shape[0], : fixed.shape[1]]).reshape(2, -1).astype(float)
    places = pixels + start[:, None]
    ends = np.array(moving.shape)[:, None] - 1
    inside = ((places >= margin) & (places <= ends - margin)).all(0)
    pixels, wanted = pixels[:, inside], fixed.ravel()[inside]
    coefficients = ndi.spline_filter(moving.astype(float), 3, mode="mirror")

    def residuals(t: np.ndarray) -> np.ndarray:
        return ndi.map_coordinates(coefficients, pixels + t[:, None], prefilter=False, mode="mirror") - wanted

    found = scipy.optimize.least_squares(residuals, start, method="lm", xtol=1e-12, ftol=1e-12)
    variance = 2 * found.cost / (found.fun.size - 2)
    return found.x, variance * np.linalg.inv(found.jac.T @ found.jac)
