"""Tables of fits that are made by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import npsubpix
from npsubpix import FitFlags

__all__ = ["elliptical", "fits", "fits_table", "good", "volume"]


def fits_table(**changes: Any) -> npsubpix.Fits:
    """Make fits of three spots in two frames of 30 × 40 pixels; the last is not ok, and was not fitted."""
    nan = np.nan
    columns = {
        "coords": np.array([[10.25, 20.5], [0.125, 3.75], [5.0, 6.0]]),
        "coords_std": np.array([[0.03, 0.04], [0.05, 0.12], [nan, nan]]),
        "flux": np.array([1200.5, 800.25, nan]),
        "flux_std": np.array([40.0, 35.0, nan]),
        "background": np.array([9.0, 4.0, nan]),
        "background_std": np.array([0.5, 0.4, nan]),
        "sigma": np.array([1.25, 1.5, nan]),
        "sigma_std": np.array([0.02, 0.03, nan]),
        "chi2": np.array([1.1, 0.9, nan]),
        "log_likelihood": np.array([-20.0, -21.0, nan]),
        "n_iters": np.array([5, 6, 50], np.int32),
        "indices": np.array([[10, 20], [0, 4], [5, 6]]),
        "flags": np.array([0, 0, int(FitFlags.NOT_CONVERGED)], np.int32),
        "frame": np.array([1, 0, 1]),
        "image_shape": (30, 40),
        "flux_unit": "electron",
    }
    return npsubpix.Fits(**{**columns, **changes})


@pytest.fixture
def fits():
    return fits_table()


@pytest.fixture
def good(fits):
    return fits[fits.ok]


@pytest.fixture
def elliptical(good):
    """Fits with a width per axis, and positions along z from astigmatism."""
    return dataclasses.replace(
        good,
        sigma=np.array([[1.25, 1.5], [1.1, 0.9]]),
        sigma_std=np.array([[0.02, 0.03], [0.04, 0.05]]),
        z=np.array([-120.5, 300.25]),
        z_std=np.array([11.0, 12.5]),
    )


@pytest.fixture
def volume(good):
    """Fits in a volume of 8 slices."""
    return dataclasses.replace(
        good,
        coords=np.array([[2.5, 10.25, 20.5], [6.25, 0.125, 3.75]]),
        coords_std=np.array([[0.1, 0.03, 0.04], [0.2, 0.05, 0.12]]),
        sigma=np.array([[2.0, 1.25, 1.25], [2.5, 1.5, 1.5]]),
        sigma_std=np.full((2, 3), 0.05),
        indices=np.array([[2, 10, 20], [6, 0, 4]]),
        image_shape=(8, 30, 40),
    )
