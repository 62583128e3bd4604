"""Photometry beside trackpy and photutils: the columns that users of these know."""

from __future__ import annotations

import numpy as np
import pandas as pd
import photutils.aperture as aperture
import pytest
import trackpy
from astropy.stats import SigmaClip

import npsubpix


@pytest.fixture(scope="module")
def field() -> tuple[np.ndarray, np.ndarray]:
    """Elongated spots on a noisy background, and their positions."""
    rng = np.random.default_rng(5)
    points = np.stack(np.mgrid[20:180:20, 22:180:20], -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (64, 2))
    spots = npsubpix.render_spots(
        points, (200, 202), std=rng.uniform(1, 1.8, (64, 2)), amplitude=rng.uniform(300, 2000, 64), integrate=True
    )
    return spots + rng.normal(30, 2, spots.shape), points


@pytest.mark.parametrize("radius", [2.0, 4.4])
def test_aperture_sums_and_errors_are_those_of_photutils(field, radius):
    image, points = field
    error = np.sqrt(image)
    spots = npsubpix.measure_spots(image, points, radius, error=error)
    circles = aperture.CircularAperture(points[:, ::-1], radius)
    theirs = aperture.aperture_photometry(image, circles, method="exact")
    np.testing.assert_allclose(spots.aperture_sum, theirs["aperture_sum"], rtol=1e-12)
    np.testing.assert_allclose(spots.area, circles.area_overlap(image), rtol=1e-12)
    # photutils weights the variance of a pixel by its share, where the variance of a sum has its square
    edges = spots.area - aperture.aperture_photometry(np.ones_like(image), circles, method="center")["aperture_sum"]
    assert np.abs(edges).max() < radius * 4


@pytest.mark.parametrize("method", ["median", "mean"])
def test_backgrounds_are_those_of_a_clipped_annulus_of_photutils(field, method):
    image, points = field
    spots = npsubpix.measure_spots(image, points, 4.0, annulus=(6.0, 9.5), method=method)
    ring = aperture.CircularAnnulus(points[:, ::-1], 6.0, 9.5)
    theirs = aperture.ApertureStats(image, ring, sigma_clip=SigmaClip(3, maxiters=None))
    np.testing.assert_allclose(spots.background, getattr(theirs, method), rtol=1e-12)
    np.testing.assert_allclose(spots.noise * 0.9848461864497761, theirs.std, rtol=1e-10)
    sums = aperture.ApertureStats(image, aperture.CircularAperture(points[:, ::-1], 4.0), local_bkg=spots.background)
    np.testing.assert_allclose(spots.flux, sums.sum, rtol=1e-10)
    np.testing.assert_allclose(spots.peak, sums.max, rtol=1e-12)


def test_shapes_are_those_of_photutils():
    """Of spots that end within the aperture: photutils takes whole pixels, whose centres are inside."""
    rng = np.random.default_rng(3)
    points = np.stack(np.mgrid[20:100:40, 20:100:40], -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (4, 2))
    image = npsubpix.render_spots(points, (100, 100), std=rng.uniform(1, 2, (4, 2)), amplitude=500.0)
    spots = npsubpix.measure_spots(image, points, 15.0, background=0.0, error=1.0)
    theirs = aperture.ApertureStats(image, aperture.CircularAperture(points[:, ::-1], 15.0))
    np.testing.assert_allclose(spots.centroid, theirs.centroid[:, ::-1], atol=1e-6)
    minor, major = theirs.semiminor_axis.value, theirs.semimajor_axis.value
    np.testing.assert_allclose(spots.width, np.sqrt((minor**2 + major**2) / 2), rtol=1e-6)
    np.testing.assert_allclose(spots.ellipticity, theirs.ellipticity.value, atol=1e-6)
    turn = np.pi / 2 - theirs.orientation.to_value("rad")  # from the x axis towards the y axis
    np.testing.assert_allclose(np.cos(2 * (spots.angle - turn)), 1, atol=1e-9)


@pytest.mark.parametrize("radius", [2, 4])
def test_columns_of_trackpy(field, radius):
    """From the pixel at which trackpy ends, of an image without its background."""
    image, points = field
    theirs = trackpy.refine.refine_com(image, image - 30.0, radius, np.rint(points), engine="python", max_iterations=1)
    spots = npsubpix.measure_spots(image, np.rint(points), radius, background=30.0, error=2.0)
    for name in ("mass", "size", "ecc", "signal", "raw_mass"):
        np.testing.assert_allclose(getattr(spots, name), theirs[name], rtol=1e-10, err_msg=name)
    ep = trackpy.uncertainty.static_error(pd.DataFrame({"mass": spots.mass}), 2.0, 2 * radius + 1)
    np.testing.assert_allclose(spots.ep, ep, rtol=1e-12)
