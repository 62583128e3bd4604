"""Refinement of peaks by fits of Gaussians."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags

pytestmark = pytest.mark.usefixtures("backend")

SPOTS = np.array([[10.2, 11.7], [30.6, 25.1], [20.4, 40.3]])


def field(rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(5 + npsubpix.render_spots(SPOTS, (41, 52), std=1.2, amplitude=3000.0, integrate=True))


def test_peaks_are_at_the_fits(rng):
    """With the value of the fitted Gaussian; narrow spots have no bias."""
    image = field(rng)
    peaks = npsubpix.find_peaks(image, threshold_abs=100, refine="fit")
    assert peaks.ok.all()
    order = np.argsort(peaks.coords[:, 1])
    fits = npsubpix.fit_spots(image, peaks.indices, box=7)
    np.testing.assert_allclose(peaks.coords, fits.coords, rtol=1e-9)
    height = fits.background + fits.flux / (2 * np.pi * fits.sigma**2)
    np.testing.assert_allclose(peaks.values, height, rtol=1e-9)
    np.testing.assert_allclose(peaks.coords[order], SPOTS[np.argsort(SPOTS[:, 1])], atol=0.12)


@pytest.mark.exhaustive  # which compiles for volumes
def test_stacks_and_volumes(rng):
    movie = np.stack([field(rng)] * 2, axis=-1)
    peaks = npsubpix.find_peaks(movie, threshold_abs=100, refine="fit", frame_axis=-1)
    assert len(peaks) == 6
    assert peaks.ok.all()
    spot = np.array([[4.3, 10.2, 9.8]])
    volume = npsubpix.render_spots(spot, (10, 20, 20), std=1.3, amplitude=1000.0, integrate=True)
    found = npsubpix.refine_peaks(volume, [[4, 10, 10]], method="fit", radius=4)
    np.testing.assert_allclose(found.coords, spot, atol=1e-5)


def test_what_cannot_be_fitted_keeps_its_pixel(rng):
    """A minimum, a constant, and positions outside the image or not finite; one that moved says so."""
    image = field(rng).astype(float)
    image[:8, 20:30] = 7.0
    starts = [[10, 12], [11, 12], [4, 25], [-4, 3], [np.nan, 3]]
    peaks = npsubpix.refine_peaks(image, starts, method="fit")
    wanted = [0, PeakFlags.MOVED, PeakFlags.SINGULAR, PeakFlags.AT_BORDER, PeakFlags.NONFINITE]
    assert peaks.flags.tolist() == [int(flag) for flag in wanted]
    assert peaks.coords[2].tolist() == [4, 25]
    assert peaks.values[2] == 7
    assert np.isnan(peaks.values[3:]).all()
    assert peaks.coords[3].tolist() == [-4, 3]
    np.testing.assert_allclose(peaks.coords[0], peaks.coords[1], atol=0.01)  # in boxes a pixel apart
    dark = npsubpix.find_peaks(100.0 - image, minima=True, threshold_abs=-50, refine="fit")
    assert not dark[(dark.flags & int(PeakFlags.MINIMUM)) != 0].ok.any()


def test_periodic_images():
    image = npsubpix.render_spots([[10.3, 12.2]], (20, 24), std=1.3, amplitude=900.0, integrate=True)
    shifted = np.roll(image, (-10, -12), (0, 1))
    peaks = npsubpix.refine_peaks(shifted, [[0, 0]], method="fit", mode="wrap", radius=4)
    np.testing.assert_allclose(peaks.coords, [[0.3, 0.2]], atol=1e-4)
